/*
 * cmd/greylist - what the commands about the greylist share: its store, while a filter may be using it, and what is
 * known of an attempt.
 *
 * Owner:  greylist_open's caller calls greylist_close, also after a failure.
 * Errors: said on standard error; a function that returns an exit code has said why.
 */
#ifndef POSTERN_CMD_GREYLIST_H
#define POSTERN_CMD_GREYLIST_H

#include <jansson.h>
#include <stdio.h>

#include "cmd/cmd.h"
#include "greylist/keep.h"
#include "policy/refused.h"

#define GREYLIST_TIME_BYTES     32
#define GREYLIST_DURATION_BYTES 32

struct greylist {
    /* What the command line says. */
    const char *rules, *store_uri;              /* NULL: what holds without; what the rules say */
    const char *helo, *format;                  /* NULL: not said */
    const char *comment;                        /* on a ruling; NULL: none */
    const char *from, *to, *server, *direction; /* of `why` alone; NULL likewise */
    const char *control;                        /* where the filter is asked for its rules; NULL: at its usual place */
    int64_t hold_ms;                            /* how long a ruling holds; 0: for ever */
    bool as_json, all;
    bool at;   /* the time was said: it is now_us */
    bool told; /* what is wrong with one of them */

    bool changes; /* a store may be made for it, where there is none yet */

    char *found_rules; /* those of the running filter, where none were named; `rules` is it then */
    struct conf conf;
    struct store *store;
    struct keeper keeper;
    int64_t now_us;
    uint64_t unread; /* records that a walk could not read; it has said so */
};

/* Each takes its arguments without its own name, and returns an exit code, or -1 where they are not its own: usage. */
int greylist_list(struct greylist *greylist, int count, char **words);
int greylist_show(struct greylist *greylist, int count, char **words);
int greylist_stats(struct greylist *greylist, int count, char **words);
int greylist_allow(struct greylist *greylist, int count, char **words);
int greylist_deny(struct greylist *greylist, int count, char **words);
int greylist_forget(struct greylist *greylist, int count, char **words);
int greylist_import(struct greylist *greylist, int count, char **words);
int greylist_export(struct greylist *greylist, int count, char **words);

/* postgrey's lists of who is never put off, read from these files and printed as rules. Returns an exit code. */
int greylist_whitelist(bool clients, int count, char **words);

/* Options into *greylist; words are put behind them, the first is at *first. CMD_USAGE, having said why where `told`.
 */
int greylist_options(struct greylist *greylist, int argc, char **argv, int *first);

/*
 * Read the rules, those of the filter that runs where none are named, and open the store; waits up to 3 s for a server.
 * CMD_FAILED or CMD_USAGE, having said why.
 */
int greylist_open(struct greylist *greylist);
void greylist_close(struct greylist *greylist); /* writes what waits, for up to 10 s */

/* Wait until what was put is written, for up to 10 s. CMD_FAILED, having said how much was not. */
int greylist_finish(struct greylist *greylist);

/* Wait until less than so many puts wait to be written, or the store fails. */
void greylist_pause(struct greylist *greylist, uint64_t most);

/* ---- records ---- */

/*
 * Look a key up, and wait for the answer, for 3 s at most. Where it is GOOD, sets *record, and *expires_s (of 1970)
 * where that is not NULL; a record of another kind is ABSENT, a store that does not answer FAILED. Never LATER.
 */
enum store_status greylist_fetch(struct greylist *greylist, const struct store_key *key, enum greylist_kind kind,
                                 struct greylist_record *record, int64_t *expires_s);

/* One of a walk. */
struct greylist_entry {
    struct store_key key;
    enum greylist_kind kind;
    struct greylist_record record;
    int64_t expires_s;
    struct span text; /* of the walk */
    struct keep_about about;
};

/*
 * All records that have not expired, in no order, of redis some perhaps twice; *foreign of others that this version
 * does not know. False from `visit` ends it. CMD_FAILED, having said why. Records that cannot be read are left out:
 * that is said and counted in greylist->unread.
 */
int greylist_walk(struct greylist *greylist, bool (*visit)(void *context, const struct greylist_entry *entry),
                  void *context, uint64_t *foreign);

/* Whether it is about this attempt, as far as that is known: its network or EHLO domain, and addresses that are given.
 */
bool greylist_is_about(const struct greylist *greylist, const struct greylist_entry *entry,
                       const struct greylist_attempt *attempt);

/* An address of a command line, with or without brackets, as compared. CMD_USAGE, having said why. */
int greylist_address(const char *word, uint8_t room[ADDRESS_BYTES_MAX], struct span *address);

/* CLIENT [FROM [TO]] of a command line: the null sender is `<>`. CMD_USAGE, having said why. */
int greylist_attempt_of(const struct greylist *greylist, int count, char **words, struct greylist_attempt *attempt);

/* ---- mails that were cut for what they contain ---- */

struct greylist_cut {
    struct greylist_entry entry; /* as of a triplet, without its record */
    struct refused refused;
    const struct rule *rule; /* of the rules that were read; NULL: they have it no more */
};

/* False ends a walk. */
typedef bool greylist_visit_cut(void *context, const struct greylist_cut *cut);

/* Those about an attempt as far as that is known, whatever its size; NULL: all. A client of no family is anybody. As
   greylist_walk. */
int greylist_walk_cuts(struct greylist *greylist, const struct greylist_attempt *attempt, greylist_visit_cut *visit,
                       void *context);

#define GREYLIST_CUT_BYTES 512

/* When it was cut, by which rule, what is refused and until when, without a full stop. Returns `text`. */
const char *greylist_cut_text(const struct greylist_cut *cut, char text[GREYLIST_CUT_BYTES]);

/* A line of a list; an object of JSON. */
void greylist_print_cut(const struct greylist_cut *cut);
json_t *greylist_cut_json(const struct greylist *greylist, const struct greylist_cut *cut);

/* ---- words ---- */

/* What was printed has left; `whole`: there was memory for all of it. */
int greylist_printed(bool whole);

/* Local, with its zone: 2008-04-20 22:11:50 UTC, or 2008-04-20 22:11:50+02:00, as --now takes it. Returns `text`. */
const char *greylist_time(int64_t time_ms, char text[GREYLIST_TIME_BYTES]);

/* As rule files have them: 5m, 36d, 90s. Returns `text`. */
const char *greylist_duration(uint64_t duration_ms, char text[GREYLIST_DURATION_BYTES]);

/* The decision about such a record, at greylist->now_us, if it were all that is known; not of rulings. */
struct greylist_decision greylist_standing(const struct greylist *greylist, enum greylist_kind kind,
                                           const struct greylist_record *record);

#endif
