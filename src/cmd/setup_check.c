#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/cmd.h"
#include "cmd/setup.h"
#include "sys/notify.h"
#include "sys/tables.h"

enum { WATCH_S = 5 };

/* ---- what is wrong ---- */

static char *saved_of(enum setup_family family, const char *variant, char *message, size_t message_size)
{
    char save[48];
    snprintf(save, sizeof save, "%s%s-save", setup_programs[family], variant);
    return tables_save(save, message, message_size);
}

/* Rules in both variants queue each packet twice. Where the older one was never used, asking would begin it. */
static bool is_twice(enum setup_family family)
{
    static const char *const variants[] = {"-nft", "-legacy"};
    static const char *const names[SETUP_FAMILIES] = {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"};
    char message[CMD_MESSAGE_BYTES];
    unsigned count = 0;
    for (size_t i = 0; i < 2 && (i == 0 || tables_legacy_has(names[family], "mangle")); i++) {
        char *saved = saved_of(family, variants[i], message, sizeof message);
        count += saved && tables_has_ours(saved);
        free(saved);
    }
    return count == 2;
}

/* The complaints about one family into `out`; false where it cannot be looked at. */
static bool look_at(const struct setup *setup, enum setup_family family, FILE *out)
{
    char message[CMD_MESSAGE_BYTES];
    char *saved = saved_of(family, setup->variant, message, sizeof message);
    char *wanted = saved ? setup_rules(setup, family) : NULL;
    char *wrong = wanted ? tables_complaints(saved, wanted) : NULL;
    if (saved && !wrong)
        snprintf(message, sizeof message, "no memory");
    if (!wrong)
        cmd_complain(CMD_FAILED, "%s", message);
    for (char *line = wrong, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        fprintf(out, "%s%s: %.*s\n", setup_programs[family], setup->variant, (int)(end - line), line);
    }
    if (wrong && is_twice(family))
        fprintf(out,
                "%s: rules of both variants, legacy and nft, are in force: each packet is queued twice; run "
                "'postern setup --remove', then --apply\n",
                setup_programs[family]);
    free(saved);
    free(wanted);
    free(wrong);
    return wrong != NULL;
}

/* All complaints, a line each, empty where there is none; from malloc. NULL where it cannot be told: it was said why */
static char *look(const struct setup *setup)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    bool good = out != NULL;
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES && good; family++)
        good = !setup_has_family(family) || look_at(setup, family, out);
    if (out)
        fclose(out);
    if (good)
        return text;
    free(text);
    return NULL;
}

int setup_check(const struct setup *setup)
{
    char *wrong = look(setup);
    bool good = wrong && !*wrong;
    if (wrong)
        fputs(good ? "the rules are in force\n" : wrong, stdout);
    free(wrong);
    return good ? CMD_GOOD : CMD_FAILED;
}

/* ---- putting them back ---- */

/* Each complaint is said when it is new: what cannot be put right is not said again and again. */
static void put_right(const struct setup *setup, char **said)
{
    char *wrong = look(setup);
    bool is_new = wrong && (!*said || strcmp(wrong, *said) != 0);
    for (char *line = wrong, *end; is_new && *line; line = end + 1) {
        end = strchr(line, '\n');
        cmd_complain(CMD_GOOD, "%.*s", (int)(end - line), line);
    }
    if (is_new && *wrong && setup_apply(setup) == CMD_GOOD)
        is_new = false; /* so that the same is said again when it happens again */
    fflush(stdout);
    if (is_new) {
        free(*said);
        *said = wrong;
    } else {
        free(wrong);
    }
}

int setup_watch(const struct setup *setup)
{
    const struct timespec pause = {.tv_sec = WATCH_S};
    char *said = NULL;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    notify("READY=1");
    do
        put_right(setup, &said);
    while (sigtimedwait(&ends, NULL, &pause) < 0);
    free(said);
    return CMD_GOOD;
}
