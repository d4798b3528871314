#include <stdio.h>

#include "cmd/cmd.h"

int cmd_check(int argc, char **argv)
{
    char message[CMD_MESSAGE_BYTES];
    int code = CMD_GOOD;
    if (argc < 2 || argv[1][0] == '-')
        return cmd_complain(CMD_USAGE, "check needs a rule file: postern check RULES...");
    for (int i = 1; i < argc; i++) {
        static struct conf conf;
        conf_init(&conf);
        if (conf_read(&conf, argv[i], message, sizeof message))
            printf("%s: good\n", argv[i]);
        else
            code = cmd_complain(CMD_FAILED, "%s", message);
    }
    return code;
}
