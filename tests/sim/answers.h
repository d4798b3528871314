/*
 * tests/sim/answers - who answers the engine's questions about recipients: some at once, some later, some too late,
 * some never.
 *
 * In:     the engine that asks, the time.
 * Out:    answers, to the engine; which there were, for the reference.
 * Limits: ANSWERS_MAX questions.
 */
#ifndef POSTERN_TESTS_ANSWERS_H
#define POSTERN_TESTS_ANSWERS_H

#include "../lib/random.h"
#include "engine/engine.h"
#include "fault.h"

/* An answer within SURE counts, one after OVER does not; between them it may (ask_hold_ms is 500). */
enum { ANSWERS_MAX = 64, ANSWERS_SURE_US = 400000, ANSWERS_OVER_US = 600000 };

struct asked {
    uint64_t id;
    enum answer answer;
    int64_t asked_us;
    int64_t due_us; /* when its answer comes; INT64_MAX: never */
    bool answered;
    uint32_t transaction; /* the number in its sender's name */
};

struct answers {
    struct asked asked[ANSWERS_MAX];
    uint32_t count;
    struct random_source *random;
    struct fault *fault;
};

void answers_init(struct answers *answers, struct random_source *random, struct fault *fault);
/* Give the next answer that is due; false where none is. Carry out what the engine does then, and ask again. */
bool answers_give(struct answers *answers, struct engine *engine, int64_t now_us);
/* When the next one is; INT64_MAX: none. */
int64_t answers_due(const struct answers *answers);
/* Whether an answer that took less than `within_us` was to defer this transaction. */
bool answers_defer(const struct answers *answers, uint32_t transaction, int64_t within_us);

#endif
