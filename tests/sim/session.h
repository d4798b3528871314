/*
 * tests/sim/session - one connection between two simulated endpoints, through an engine, in virtual time.
 *
 * In:     a plan; `talk` is called whenever something has happened, and lets the endpoints write and close.
 * Out:    both endpoints as they are at the end, and what was wrong.
 * Checks: both ends came to their end, no octet came twice in two versions (law 2), and what gateway.h says.
 * Note:   packets are lost on either link, whatever the endpoints have met before: links.h has mercy on one that sends
 *         again and again, but here that is what a delayed reply looks like.
 */
#ifndef POSTERN_TESTS_SESSION_H
#define POSTERN_TESTS_SESSION_H

#include "../lib/random.h"
#include "endpoint.h"
#include "engine/engine.h"
#include "flights.h"
#include "gateway.h"
#include "policy/policy.h"

struct session;

struct session_plan {
    const struct policy *policy;
    struct endpoint_plan endpoint; /* of both; isn comes from the seed */
    int64_t link_us;               /* from an end to the gateway */
    uint32_t loss;                 /* of packets, per 1000; never three in a row */
    uint32_t events;               /* wanted of the engine */
    uint64_t seed;
    int64_t from_us, until_us;
    void (*talk)(struct session *session, void *context);
    void (*tell)(const struct event *event, void *context); /* NULL: nobody hears of events */
    void *context;
};

struct session {
    const struct session_plan *plan;
    struct random_source random;
    struct endpoint ends[2]; /* the client, the server; their buffers live until session_fini */
    struct flights flights;
    unsigned lost_in_a_row;
    struct gateway gateway;
    int64_t now_us;
    int64_t arrived_us[2]; /* when the last packet of either end came to the gateway */
    struct fault fault;
};

/* Play one, the first time in zeroed storage; NULL, or what was wrong: a text that lives until the next one. */
const char *session_play(struct session *session, const struct session_plan *plan);

/* Give back what the last session left. */
void session_fini(struct session *session);

#endif
