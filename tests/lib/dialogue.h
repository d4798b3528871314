/*
 * tests/lib/dialogue - what two sides say in turns, and what must come of it, however it is cut.
 *
 * In:     rows of turns, changes and what is told.
 * Checks: by failing the running cmocka test with the row's label:
 *         - each side reads what the other said, with the row's changes and no others
 *         - whole, octet by octet, line by line, with each turn in two segments cut at each place, and at seeded random
 *           cuts, with IPv4 and IPv6: the same streams and the same events
 *         - the same streams where nobody wants to be told of reply lines
 *         - what leaves unchanged and is followed to its end does so too where the sender pauses behind every octet
 *           (law 4)
 */
#ifndef POSTERN_TESTS_DIALOGUE_H
#define POSTERN_TESTS_DIALOGUE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drive.h"

enum { DIALOGUE_TURNS_MAX = 26, DIALOGUE_CHANGES_MAX = 6 };

struct dialogue_turn {
    enum smtp_side side;
    struct span octets;
};

/* In what was said: the first `from` behind the last change becomes `to`. */
struct dialogue_change {
    struct span from, to;
};

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                                             \
    }
#define C(literal)                                                                                                     \
    {                                                                                                                  \
        SMTP_CLIENT, TEXT(literal)                                                                                     \
    }
#define S(literal)                                                                                                     \
    {                                                                                                                  \
        SMTP_SERVER, TEXT(literal)                                                                                     \
    }
#define CHANGE(from, to)                                                                                               \
    {                                                                                                                  \
        TEXT(from), TEXT(to)                                                                                           \
    }

struct dialogue {
    const char *label;
    struct dialogue_turn turns[DIALOGUE_TURNS_MAX];            /* to the first empty one */
    struct dialogue_change client_reads[DIALOGUE_CHANGES_MAX]; /* of what the server said */
    struct dialogue_change or_reads[DIALOGUE_CHANGES_MAX];     /* where the lines before had left; none: never so */
    struct dialogue_change server_reads[DIALOGUE_CHANGES_MAX]; /* of what the client said */
    bool live_only, recorded_only;                             /* what makes sense only so */
    bool never_slow;       /* a verb that must leave before it is whole is covered, and might have become another one */
    const char *of_client; /* dialogue_told of each side; NULL is not looked at */
    const char *of_server;
    const struct policy *policy; /* NULL is the default */
    uint32_t questions;          /* struct drive_plan; with them, each is answered by `answer` */
    enum answer (*answer)(const struct question *question, int64_t *later_us);
    const char *asked; /* dialogue_asked; NULL is not looked at */
};

/* The same events and streams at every cut, and those that the row states. */
void dialogue_check(const struct dialogue *dialogue, enum engine_peers peers);

/* One run, finished; the caller frees it with drive_free. */
struct drive *dialogue_play(const char *label, const struct dialogue_turn *turns, size_t count,
                            const struct drive_plan *plan);

/*
 * What was told of one side, in words with a blank between them; the caller frees it.
 *     EHLO          a command               EHLO=250     the last line of a reply: what it answers, and its code
 *     XEXCH50~      that left changed       XEXCH50=250~
 *     (12)          a payload's octets      ?            a line without a code
 *     !roles-swapped   an anomaly           #encrypted   no longer edited (told of the client)
 *     &a>b=refused  of guarded mail: refused or taken
 *     a>b=defer,first  what was asked of a recipient is settled; >EHLO's argument of STARTTLS
 */
char *dialogue_told(const struct drive *drive, enum smtp_side side);

/*
 * What was asked and taught, in words with a blank between them; the caller frees it.
 *     a>b          may this client bring mail of a for b?     tls    may it encrypt?     client    is it known?
 *     a->b         LESSON_ADDRESSED
 *     b=250        LESSON_RECIPIENT about b                   message=250     reset     end
 *     cut          LESSON_CONTENT
 */
char *dialogue_asked(const struct drive *drive);

/* Whether both sides read the same in both runs. */
bool dialogue_same_streams(const struct drive *a, const struct drive *b);

/* Whether the same was told of each side; with `tell` the first difference is printed. */
bool dialogue_same_events(const struct drive *a, const struct drive *b, bool tell);

/* A line of comment in TAP. */
void dialogue_print_span(const char *what, struct span octets);

/* Run rows as tests, each with live and with recorded peers, then `more`; prints TAP. Returns how many failed. */
int dialogue_run(const char *group, const struct dialogue *rows, size_t count, const struct CMUnitTest *more,
                 size_t more_count);

#endif
