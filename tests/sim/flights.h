/*
 * tests/sim/flights - packets on their way, in virtual time.
 *
 * In:     packets, where each goes and when it is there.
 * Out:    those that are there, in the order of their times; of two at the same time the one that was sent first.
 * Owner:  packets on their way belong to the flights; one that was taken belongs to the caller.
 * Limits: FLIGHTS_MAX; what is sent beyond it is lost.
 */
#ifndef POSTERN_TESTS_FLIGHTS_H
#define POSTERN_TESTS_FLIGHTS_H

#include <stdbool.h>
#include <stdint.h>

enum { FLIGHTS_MAX = 4096, FLIGHT_TO_GATEWAY = 2 };

struct flight {
    int64_t at_us;
    int side; /* whose packet: 0 the client's, 1 the server's */
    int to;   /* 0, 1: that endpoint; FLIGHT_TO_GATEWAY */
    uint8_t *packet;
    uint32_t len;
    uint64_t order; /* flights_add numbers them */
};

/* Zeroed: none on their way. */
struct flights {
    struct flight each[FLIGHTS_MAX]; /* in no order */
    uint32_t count;
    uint64_t order;
};

void flights_add(struct flights *flights, struct flight flight);
/* The next one that is there by now; false where there is none. */
bool flights_take(struct flights *flights, int64_t now_us, struct flight *flight);
/* When the next one is there; INT64_MAX: none is on its way. */
int64_t flights_due(const struct flights *flights);
void flights_fini(struct flights *flights);

#endif
