/*
 * tests/sim/links - a link on either side of the gateway that loses, repeats, reorders, delays and corrupts packets.
 *
 * In:     packets, one link at a time.
 * Out:    flights: what comes out of a link, when and where.
 * Owner:  links_cross takes the packet over.
 * Note:   they are never bad for ever: at most two in a row are lost, and none while an endpoint has sent the same
 *         thing four times. So nobody has to give up, and one who does was stalled.
 */
#ifndef POSTERN_TESTS_LINKS_H
#define POSTERN_TESTS_LINKS_H

#include "../lib/random.h"
#include "endpoint.h"
#include "flights.h"

struct impairments {
    uint32_t loss, repeat, reorder, corrupt; /* per 1000 */
    int64_t delay_us, jitter_us;             /* of one link */
};

struct links {
    struct impairments impairments;
    const struct endpoint *ends; /* both */
    struct random_source *random;
    struct flights flights;
    uint32_t lost_in_a_row[2]; /* by side */
};

void links_init(struct links *links, const struct impairments *impairments, const struct endpoint *ends,
                struct random_source *random);
/* A packet of `side` enters the link that leads to `to` (0, 1, FLIGHT_TO_GATEWAY). */
void links_cross(struct links *links, int side, int to, uint8_t *packet, uint32_t len, int64_t now_us);

#endif
