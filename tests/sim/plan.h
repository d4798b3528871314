/*
 * tests/sim/plan - what a seed decides before a simulated run begins: the network, both endpoints, what they say, and
 * how little room the engine has.
 *
 * In:     a seed.
 * Out:    a plan; the same with one difficulty less, to find those that a failure needs.
 */
#ifndef POSTERN_TESTS_PLAN_H
#define POSTERN_TESTS_PLAN_H

#include "apps.h"
#include "endpoint.h"
#include "engine/engine.h"
#include "links.h"

enum { PLAN_LESS_COUNT = 12 };

struct plan {
    struct impairments net;
    struct endpoint_plan ends[2]; /* the client's, the server's */
    struct apps_plan apps;
    struct engine_settings engine;
    bool slow; /* replies to RCPT and DATA, and refusals, leave later */
};

void plan_make(struct plan *plan, uint64_t seed);
/* Difficulty `index`, from 0 to PLAN_LESS_COUNT - 1, taken away. */
struct plan plan_less(const struct plan *plan, int index);
/* On a line of its own, which the caller has begun and ends. */
void plan_print(const struct plan *plan);

#endif
