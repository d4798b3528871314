#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cmd/cmd.h"

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *synopsis;
};

static const struct subcommand subcommands[] = {
    {"run", cmd_run,
     "run     [-r RULES] [-q FIRST[:LAST]] [--store URI] [-e EVENTS.jsonl|syslog:] [--control PATH] [--control-group "
     "GROUP] "
     "[--metrics ADDRESS:PORT] [--mark-mask MASK] [--state FOLDER] [--user NAME | --stay-root]"},
    {"status", cmd_status, "status  [--json | --list] [--control PATH]"},
    {"reload", cmd_reload, "reload  [--control PATH]"},
    {"reopen", cmd_reopen, "reopen  [--control PATH]"},
    {"top", cmd_top, "top     [--once] [--control PATH]"},
    {"setup", cmd_setup,
     "setup   [--print | --apply | --remove] [--ports 25,587] [-q FIRST[:LAST]] [--interface NAME]... "
     "[--protect ADDRESS]... [--mark-mask MASK]"},
    {"replay", cmd_replay,
     "replay  [-r RULES] [-w OUT.pcap] [-e EVENTS.jsonl] [--store URI] [--format dialogue|table|json|none] CAPTURE..."},
    {"greylist", cmd_greylist,
     "greylist list|show|allow|deny|forget|import|export|stats ... [--json] [-r RULES] [--store URI]"},
    {"why", cmd_why, "why     CLIENT [FROM [TO]] [--helo NAME] [--json] [-r RULES] [--store URI]"},
    {"check", cmd_check, "check   RULES... | --keys"},
};

int cmd_complain(enum cmd_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("postern: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return (int)code;
}

struct engine *cmd_engine_new(const struct engine_settings *settings, const struct policy *policy)
{
    void *memory =
        mmap(NULL, engine_bytes(settings), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : engine_init(memory, settings, policy);
}

void cmd_engine_free(struct engine *engine, const struct engine_settings *settings)
{
    if (engine)
        munmap(engine, engine_bytes(settings));
}

static void usage(FILE *out)
{
    fputs("usage:\n", out);
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++)
        fprintf(out, "    postern %s\n", subcommands[i].synopsis);
    fputs("    postern --version | --help\n", out);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return CMD_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return CMD_GOOD;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("postern " POSTERN_VERSION);
        return CMD_GOOD;
    }
    for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(argc - 1, argv + 1);
    cmd_complain(CMD_USAGE, "unknown command '%s'; 'postern --help' lists the commands", argv[1]);
    return CMD_USAGE;
}
