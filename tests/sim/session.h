/*
 * tests/sim/session - one connection between two simulated endpoints, through an engine, in virtual time.
 *
 * In:     a plan; `talk` is called whenever something has happened, and lets the endpoints write and close.
 * Out:    both endpoints as they are at the end, and what was wrong.
 * Checks: both ends came to their end, no octet came twice in two versions (law 2), each packet got its verdict.
 * Limits: TOKENS_MAX packets.
 */
#ifndef POSTERN_TESTS_SESSION_H
#define POSTERN_TESTS_SESSION_H

#include "../lib/random.h"
#include "endpoint.h"
#include "engine/engine.h"
#include "policy/policy.h"

enum { SESSION_FLIGHTS_MAX = 64, SESSION_TOKENS_MAX = 20000 };

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

struct flight {
    int64_t at_us;
    uint64_t order;
    uint8_t *packet;
    uint32_t len;
    int from, to; /* 0, 1: endpoints; 2: the gateway */
};

struct session {
    const struct session_plan *plan;
    struct random_source random;
    struct endpoint ends[2]; /* the client, the server; their buffers live until session_fini */
    struct flight flights[SESSION_FLIGHTS_MAX];
    uint32_t flight_count;
    uint64_t order;
    unsigned lost_in_a_row;
    struct engine *engine;
    void *memory;                      /* the engine's, kept for the next session */
    uint8_t *kept[SESSION_TOKENS_MAX]; /* packets without a verdict */
    uint32_t kept_len[SESSION_TOKENS_MAX];
    uint8_t from[SESSION_TOKENS_MAX];
    uint64_t tokens;
    int64_t now_us;
    int64_t arrived_us[2]; /* when the last packet of either end came to the gateway */
    const char *wrong;
};

/* Play one; NULL, or what was wrong. */
const char *session_play(struct session *session, const struct session_plan *plan);

/* Give back what the last session left. */
void session_fini(struct session *session);

#endif
