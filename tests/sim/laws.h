/*
 * tests/sim/laws - what leaves the gateway, held to what came: octets decided once (law 2), streams that never grow
 * (law 3), nothing longer than the path carries, and nothing shown that makes an end send, or acknowledge, what a
 * strict conntrack does not take.
 *
 * In:     packets as they come to the gateway, and as they leave it.
 * Out:    the fault.
 * Limits: ENDPOINT_STREAM_BYTES a direction.
 */
#ifndef POSTERN_TESTS_LAWS_H
#define POSTERN_TESTS_LAWS_H

#include "../lib/conntrack.h"
#include "endpoint.h"
#include "fault.h"
#include "gateway.h"

/* Of one direction. */
struct law_stream {
    uint32_t isn;
    uint32_t acked;                       /* octets that the other side has acknowledged: nobody looks at them again */
    uint32_t largest;                     /* octets of payload in a packet that came */
    uint8_t left[ENDPOINT_STREAM_BYTES];  /* by position as the receiver counts: the octet that left there, */
    bool has_left[ENDPOINT_STREAM_BYTES]; /* and whether one did */
};

struct laws {
    struct law_stream streams[2]; /* by side */
    struct conntrack conntrack;
    struct fault *fault;
};

void laws_init(struct laws *laws, const struct endpoint *ends, struct fault *fault);
void laws_note_arrival(struct laws *laws, int side, uint8_t *packet, uint32_t len);
void laws_check(struct laws *laws, const struct gateway_packet *arrived, uint8_t *packet, uint32_t len);

#endif
