#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "cmd/cmd.h"

/* A way to call a command; one with several has them in a row. */
struct form {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *synopsis; /* behind the program's name */
};

#define STORE_OPTIONS " [-r RULES] [--control PATH] [--store URI]"
#define LOOK_OPTIONS  " [--now TIME]" STORE_OPTIONS

static const struct form forms[] = {
    {"run", cmd_run,
     "run [-r RULES] [-q FIRST[:LAST]] [--store URI] [-e EVENTS.jsonl|syslog:] [--control PATH] [--control-group "
     "GROUP] [--metrics ADDRESS:PORT] [--mark-mask MASK] [--state FOLDER] [--user NAME | --stay-root]"},
    {"status", cmd_status, "status [--json | --list] [--control PATH]"},
    {"reload", cmd_reload, "reload [--control PATH]"},
    {"reopen", cmd_reopen, "reopen [--control PATH]"},
    {"top", cmd_top, "top [--once] [--control PATH]"},
    {"setup", cmd_setup,
     "setup [--print | --apply | --remove | --check | --watch] [-r RULES] [--ports 25,587] [-q FIRST[:LAST]] "
     "[--interface NAME]... [--protect ADDRESS[/BITS]]... [--mark-mask MASK] "
     "[--variant nftables|iptables-nft|iptables-legacy]"},
    {"replay", cmd_replay,
     "replay [-r RULES] [-w OUT.pcap|-] [-e EVENTS.jsonl] [--store URI] [--format dialogue|table|json|html|none] "
     "[--html] [--stats] CAPTURE|-..."},
    {"greylist", cmd_greylist, "greylist list [--json]" LOOK_OPTIONS},
    {"greylist", cmd_greylist, "greylist show CLIENT [FROM [TO]] [--helo NAME] [--json]" LOOK_OPTIONS},
    {"greylist", cmd_greylist, "greylist stats [--json]" LOOK_OPTIONS},
    {"greylist", cmd_greylist,
     "greylist allow client NETWORK...|from ADDRESS...|to ADDRESS...|mail FROM TO [--for DURATION] "
     "[--comment TEXT]" STORE_OPTIONS},
    {"greylist", cmd_greylist,
     "greylist deny client NETWORK...|from ADDRESS...|to ADDRESS...|mail FROM TO [--for DURATION] "
     "[--comment TEXT]" STORE_OPTIONS},
    {"greylist", cmd_greylist,
     "greylist forget CLIENT [FROM [TO]] [--helo NAME]|client NETWORK...|from ADDRESS...|to "
     "ADDRESS...|mail FROM TO|--all" STORE_OPTIONS},
    {"greylist", cmd_greylist,
     "greylist import --format postgrey|spamd|postern|postgrey-clients|postgrey-recipients FILE..." STORE_OPTIONS},
    {"greylist", cmd_greylist, "greylist export" LOOK_OPTIONS},
    {"why", cmd_why,
     "why CLIENT [FROM [TO]] [--helo NAME] [--server ADDRESS] [--direction inbound|outbound|internal] "
     "[--json]" LOOK_OPTIONS},
    {"why", cmd_why, "why [--from ADDRESS] [--to ADDRESS]" LOOK_OPTIONS},
    {"track", cmd_track,
     "track [--from ADDRESS] [--to ADDRESS] [--client NETWORK] [--since DURATION] [--json] [FILE...]"},
    {"report", cmd_report, "report [--since DURATION] [--json | --html] [FILE...]"},
    {"check", cmd_check, "check [--root FOLDER] RULES... | --keys"},
};

enum { FORMS = sizeof forms / sizeof forms[0] };

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

int cmd_usage(const char *words)
{
    size_t len = strlen(words);
    for (size_t i = 0; i < FORMS; i++)
        if (strncmp(forms[i].synopsis, words, len) == 0 && strchr(" ", forms[i].synopsis[len]))
            return cmd_complain(CMD_USAGE, "usage: postern %s", forms[i].synopsis);
    return CMD_USAGE;
}

static const struct form *form_of(const char *name)
{
    for (size_t i = 0; i < FORMS; i++)
        if (strcmp(name, forms[i].name) == 0)
            return &forms[i];
    cmd_complain(CMD_USAGE, "unknown command '%s'; 'postern --help' lists the commands", name);
    return NULL;
}

/* The forms of a command; NULL: of all. */
static void print_forms(FILE *out, const char *name)
{
    fputs("usage:\n", out);
    for (size_t i = 0; i < FORMS; i++)
        if (!name || strcmp(name, forms[i].name) == 0)
            fprintf(out, "    postern %s\n", forms[i].synopsis);
    if (!name)
        fputs("    postern help [COMMAND]\n    postern --version | --help\n", out);
    fputs("'man postern' has what each of them does.\n", out);
}

static int help(const char *name)
{
    if (name && !form_of(name))
        return CMD_USAGE;
    print_forms(stdout, name);
    return CMD_GOOD;
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int run(int argc, char **argv)
{
    static char program[] = "postern";
    const struct form *form = form_of(argv[0]);
    if (!form)
        return CMD_USAGE;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (is_help(argv[i]))
            return help(form->name);
    argv[0] = program; /* who complains of an unknown option */
    return form->run(argc, argv);
}

/* What nobody could read was not told. */
static int written(int code)
{
    bool good = fflush(stdout) == 0 && !ferror(stdout);
    return code == CMD_GOOD && !good ? cmd_complain(CMD_FAILED, "cannot write: %m") : code;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_forms(stderr, NULL);
        return CMD_USAGE;
    }
    if (is_help(argv[1]) || strcmp(argv[1], "help") == 0)
        return written(help(argc > 2 ? argv[2] : NULL));
    if (strcmp(argv[1], "--version") == 0) {
        puts("postern " POSTERN_VERSION);
        return written(CMD_GOOD);
    }
    return written(run(argc - 1, argv + 1));
}
