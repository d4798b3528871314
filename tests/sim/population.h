/*
 * tests/sim/population - who sends mail, how each tries again, and what becomes of it behind a greylist.
 *
 * In:     a seed, a size and the policy of a gate.
 * Out:    for each kind of sender: mails, those lost, how long they took; of spam, how much came through.
 * Note:   the clock is virtual. Senders know nothing of the gate: they see replies, and how long each took. The gate is
 *         the greylist's service on a store memory:, asked as the engine asks it (engine/question.h).
 */
#ifndef POSTERN_TESTS_POPULATION_H
#define POSTERN_TESTS_POPULATION_H

#include "../lib/random.h"
#include "policy/greylist.h"

enum {
    POPULATION_ATTEMPTS_MAX = 64,
    POPULATION_RECIPIENTS_MAX = 3,
    POPULATION_TEXT_BYTES = 96,
};

/* How a kind of sender behaves. */
struct sender_kind {
    const char *name;
    bool spam;
    uint32_t share; /* of 1000 of its side */
    /* Fill in the seconds from one attempt's end to the next one's beginning; returns how many there are. */
    uint32_t (*schedule)(struct random_source *random, uint32_t *pauses_s);
    uint32_t patience_s; /* hangs up where a reply takes longer */
    uint32_t parallel;   /* connections at once; 0 is 1 */
    uint32_t networks;   /* an attempt comes from any of so many; 0 is 1 */
    uint32_t hosts;      /* of a network; 0 is 1 */
    bool provider;       /* its senders share networks and EHLO domain */
    bool forges;         /* says the EHLO domain of such a provider */
    uint32_t mails_max;  /* of one sender, in the time that is looked at; 0 is 1 */
    uint32_t encrypts;   /* of 100 senders so many use STARTTLS */
    bool verp;           /* a new envelope sender for each message */
    bool burst;          /* several mails of one sender to one recipient at nearly the same time */
    bool many;           /* several recipients */
    bool callback;       /* verifies a sender: null sender, and no message */
    bool answers;        /* mail of ours came before */
};

extern const struct sender_kind sender_kinds[];
extern const uint32_t sender_kind_count;

/* A gate to be compared. */
struct population_policy {
    const char *name;
    struct greylist_settings settings;
    bool behind_tls;    /* it sees recipients of encrypted sessions, too */
    bool defers_tls;    /* strangers who encrypt are put off, in place of waiting */
    bool counts_unread; /* mail that the server did not take counts as a pass, too */
};

struct kind_result {
    uint32_t mails;
    uint32_t lost; /* of a legitimate sender, by the gate; what the server itself put off at last is not */
    uint32_t came; /* through the gate */
    uint32_t attempts;
    double median_s, p95_s; /* from the first attempt to the one that came through */
};

struct population_result {
    struct kind_result *kinds; /* by sender_kinds */
    struct kind_result legitimate, spam;
};

/* `mails`: of each side. The caller frees it with population_free. */
struct population_result population_run(const struct population_policy *policy, uint32_t mails, uint64_t seed);
void population_free(struct population_result *result);

#endif
