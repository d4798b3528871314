#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/cmd.h"
#include "cmd/setup.h"
#include "sys/nft.h"
#include "sys/notify.h"
#include "sys/tables.h"

enum { WATCH_S = 5 };

/* ---- what is wrong ---- */

/* Complaints of one place into `out`. */
static void print_lines(FILE *out, const char *place, const char *variant, const char *wrong)
{
    for (const char *line = wrong, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        fprintf(out, "%s%s: %.*s\n", place, variant, (int)(end - line), line);
    }
}

/* About one family of iptables; false where it cannot be looked at. */
static bool look_at(const struct setup *setup, enum setup_family family, FILE *out)
{
    char message[CMD_MESSAGE_BYTES] = "no memory";
    char *saved = setup_saved(family, setup->variant, message, sizeof message);
    char *wanted = saved ? setup_rules(setup, family) : NULL;
    char *wrong = wanted ? tables_complaints(saved, wanted) : NULL;
    bool good = wrong != NULL;
    if (good)
        print_lines(out, setup_programs[family], setup->variant, wrong);
    else
        cmd_complain(CMD_FAILED, "%s", message);
    free(saved);
    free(wanted);
    free(wrong);
    return good;
}

/* About nftables. What is wanted is asked of nft once: its words stay the same. */
static bool look_at_nftables(const struct setup *setup, char **wanted, FILE *out)
{
    char message[CMD_MESSAGE_BYTES] = "no memory";
    char *listed = nft_list(message, sizeof message);
    char *rules = listed && !*wanted ? setup_nftables(setup) : NULL;
    if (rules)
        *wanted = nft_wanted(rules, message, sizeof message);
    char *wrong = listed && *wanted ? nft_complaints(listed, *wanted) : NULL;
    bool good = wrong != NULL;
    if (good)
        print_lines(out, "nftables", "", wrong);
    else
        cmd_complain(CMD_FAILED, "%s%s", message, setup_advice(setup, message));
    free(listed);
    free(rules);
    free(wrong);
    return good;
}

static void look_at_others(const struct setup *setup, FILE *out)
{
    char message[CMD_MESSAGE_BYTES], name[32];
    struct setup_places others = setup_find(setup, message, sizeof message);
    for (unsigned i = 0; i < others.count; i++) {
        setup_place_name(&others.at[i], name, sizeof name);
        fprintf(out,
                "%s: has rules of postern, too: with those of two variants each packet is queued twice; 'postern "
                "setup --apply' replaces them\n",
                name);
    }
    setup_forget(&others);
}

/* All complaints, a line each, empty where there is none; from malloc. NULL where it cannot be told: it was said why.
   `nft_lines` is kept from one look to the next, see nft_wanted. */
static char *look(const struct setup *setup, char **nft_lines)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    bool good = out != NULL && (!setup->nftables || look_at_nftables(setup, nft_lines, out));
    for (enum setup_family family = SETUP_IPV4; family < SETUP_FAMILIES && good && !setup->nftables; family++)
        good = !setup_has_family(family) || look_at(setup, family, out);
    if (good)
        look_at_others(setup, out);
    if (out)
        fclose(out);
    if (good)
        return text;
    free(text);
    return NULL;
}

int setup_check(const struct setup *setup)
{
    char *nft_lines = NULL, *wrong = look(setup, &nft_lines);
    bool good = wrong && !*wrong;
    if (wrong)
        fputs(good ? "the rules are in force\n" : wrong, stdout);
    free(wrong);
    free(nft_lines);
    return good ? CMD_GOOD : CMD_FAILED;
}

/* ---- putting them back ---- */

/* Each complaint is said when it is new: what cannot be put right is not said again and again. */
static void put_right(const struct setup *setup, char **said, char **nft_lines)
{
    char *wrong = look(setup, nft_lines);
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
    char *said = NULL, *nft_lines = NULL;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    notify("READY=1");
    do
        put_right(setup, &said, &nft_lines);
    while (sigtimedwait(&ends, NULL, &pause) < 0);
    free(said);
    free(nft_lines);
    return CMD_GOOD;
}
