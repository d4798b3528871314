#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "conf/keys.h"

/* What was found in a file, a line each; true where it may be used. */
static bool check_file(const char *path, const char *root)
{
    static struct conf conf;
    struct remarks remarks = {0};
    conf_init(&conf);
    bool good = conf_check(&conf, path, root, &remarks);
    for (unsigned i = 0; i < remarks.kept; i++)
        cmd_complain(CMD_FAILED, "%s", remarks.list[i].text);
    unsigned found = remarks.mistakes + remarks.warnings;
    if (found > remarks.kept)
        cmd_complain(CMD_FAILED, "%s: %u more", path, found - remarks.kept);
    if (good && remarks.warnings)
        printf("%s: good, with warnings\n", path);
    else if (good)
        printf("%s: good\n", path);
    remarks_free(&remarks);
    conf_free(&conf);
    return good;
}

int cmd_check(int argc, char **argv)
{
    static const struct option options[] = {
        {"keys", no_argument, NULL, 'k'}, {"root", required_argument, NULL, 'r'}, {0}};
    const char *root = NULL;
    bool reference = false;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (c == 'k')
            reference = true;
        else if (c == 'r')
            root = optarg;
        else
            return cmd_usage("check");
    if (reference && argc == 2)
        return key_reference(stdout) ? CMD_GOOD : cmd_complain(CMD_FAILED, "cannot write: %m");
    if (reference)
        return cmd_usage("check");
    if (optind == argc)
        return cmd_complain(CMD_USAGE,
                            "check needs a rule file: postern check RULES..., or --keys for all that one may say");
    int code = CMD_GOOD;
    for (int i = optind; i < argc; i++)
        if (!check_file(argv[i], root))
            code = CMD_FAILED;
    return code;
}
