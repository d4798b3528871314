#include <getopt.h>
#include <stdio.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/service.h"

/* A request without arguments, and what the service says to it. */
static int request(const char *name, int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, 'c'}, {0}};
    const char *path = SERVICE_CONTROL_PATH;
    bool good = true;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1; path = optarg)
        good = good && c == 'c';
    if (!good || optind != argc)
        return cmd_usage(name);
    json_t *answer = ask(path, name);
    if (!answer)
        return CMD_FAILED;
    int code = (int)json_integer_value(json_object_get(answer, "code"));
    const char *message = json_string_value(json_object_get(answer, "message"));
    if (code == CMD_GOOD)
        puts(message);
    else
        cmd_complain(CMD_FAILED, "%s", message);
    json_decref(answer);
    return code;
}

int cmd_reload(int argc, char **argv)
{
    return request("reload", argc, argv);
}

int cmd_reopen(int argc, char **argv)
{
    return request("reopen", argc, argv);
}
