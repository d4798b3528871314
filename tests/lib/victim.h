/*
 * tests/lib/victim - a TCP receiver for those who would deceive the filter about it.
 *
 * In:     IP packets as they leave the gateway, flawed ones too: it decides itself what it drops.
 * Out:    what its application reads; whether it has an acknowledgment to send.
 * Owner:  the caller; all zero is a victim that listens, keeps the first copy of an octet, and is strict.
 * Limits: VICTIM_READ_MAX octets of a packet, and of the stream. One connection.
 * Errors: fails the running cmocka test where a packet is longer.
 * Source: RFC 9293 3.10.7, RFC 5961, RFC 7323 5.3, RFC 2385; a parser of its own, so that none of the filter's mistakes
 *         are made twice.
 */
#ifndef POSTERN_TESTS_VICTIM_H
#define POSTERN_TESTS_VICTIM_H

#include "base/span.h"

#define VICTIM_ISN UINT32_C(777000)

enum {
    VICTIM_WINDOW = 30000,
    VICTIM_HOPS = 3, /* from the gateway to it */
    VICTIM_READ_MAX = 4096,
};

enum victim_state { VICTIM_LISTEN, VICTIM_SYN_RECEIVED, VICTIM_OPEN, VICTIM_GONE };

struct victim {
    bool last_wins;  /* of two copies of an octet that the application has not read yet */
    bool lax;        /* takes segments with a bad checksum, acknowledgment or timestamp, or an unwanted signature */
    unsigned losses; /* bit k % 8: the k-th segment with octets is lost on its way from the gateway */
    unsigned arrived;

    enum victim_state state;
    uint32_t irs;  /* the client's initial sequence number */
    uint32_t read; /* octets that the application has */
    uint8_t in[VICTIM_READ_MAX];
    bool have[VICTIM_READ_MAX];
    uint32_t timestamp;
    bool timestamps; /* were in the SYN */
    bool owes_ack;   /* whoever sends it takes this back */

    uint8_t fragment[VICTIM_READ_MAX]; /* the payload of the IP packet that is being put together again */
    bool fragment_have[VICTIM_READ_MAX];
    uint32_t fragment_len;
};

void victim_receive(struct victim *v, struct span leaves);

#endif
