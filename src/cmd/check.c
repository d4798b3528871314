#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "conf/keys.h"

int cmd_check(int argc, char **argv)
{
    char message[CMD_MESSAGE_BYTES];
    int code = CMD_GOOD;
    if (argc == 2 && strcmp(argv[1], "--keys") == 0)
        return key_reference(stdout) ? CMD_GOOD : cmd_complain(CMD_FAILED, "cannot write: %m");
    if (argc < 2)
        return cmd_complain(CMD_USAGE,
                            "check needs a rule file: postern check RULES..., or --keys for all that one may say");
    if (argv[1][0] == '-')
        return cmd_usage("check");
    for (int i = 1; i < argc; i++) {
        static struct conf conf;
        conf_init(&conf);
        if (conf_read(&conf, argv[i], message, sizeof message))
            printf("%s: good\n", argv[i]);
        else
            code = cmd_complain(CMD_FAILED, "%s", message);
        conf_free(&conf);
    }
    return code;
}
