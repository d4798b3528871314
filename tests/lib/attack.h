/*
 * tests/lib/attack - a hostile client, the engine, and behind it a victim that answers and says nothing but its
 * greeting.
 *
 * In:     segments, flawed or not. The time goes on by a millisecond with each.
 * Out:    what the victim read, and what the engine told of it in its events.
 * Owner:  attack_new's is the caller's; attack_free. Fields are read at any time; those above `victim`, and how the
 *         victim is, are changed too.
 * Limits: ATTACK_PACKETS_MAX packets of both sides.
 * Errors: fails the running cmocka test where a packet gets no verdict, or two.
 */
#ifndef POSTERN_TESTS_ATTACK_H
#define POSTERN_TESTS_ATTACK_H

#include "engine/engine.h"
#include "policy/policy.h"
#include "random.h"
#include "segment.h"
#include "victim.h"

#define ATTACK_ISN (UINT32_MAX - 20) /* wraps inside the stream */

enum { ATTACK_PACKETS_MAX = 8192 };

struct attack {
    uint8_t ip_version;
    const char *real, *chaff; /* what is to arrive; what is sent beside it, as long */
    uint32_t piece;           /* octets a segment */
    bool timestamps;
    struct random_source random;

    struct victim victim;
    struct engine *engine;
    int64_t now_us;
    uint64_t token;
    struct {
        uint8_t *bytes; /* as it came; NULL once it has its verdict */
        uint32_t len;
        bool from_server;
    } packets[ATTACK_PACKETS_MAX]; /* by token */
    uint8_t told[VICTIM_READ_MAX]; /* the commands as the events have them */
    uint32_t told_len;
    const char *unedited; /* why the engine ceased to edit; NULL where it did not */
    bool greeted;
};

/* What makes a packet one that an endpoint, or the network, drops. */
struct attack_flaw {
    uint8_t ttl;         /* 0: enough */
    uint8_t header_len;  /* in words; 0: the right one */
    uint32_t ip_shorter; /* octets that the IP header does not count */
    bool fragments;      /* in pieces of 8 octets */
};

/* Nothing was sent yet; the seed is the engine's, too. */
struct attack *attack_new(uint8_t ip_version, uint64_t seed);

/* The engine stops: every packet has its verdict. */
void attack_finish(struct attack *attack);
void attack_free(struct attack *attack);

/* A segment of the client without octets. To be changed, then sent. */
struct segment attack_bare(const struct attack *attack, uint8_t flags, uint32_t seq, bool timestamps);

/* One with octets [from, from + len) of a stream, as many of them as there are. */
struct segment attack_piece(const struct attack *attack, const char *stream, uint32_t from, uint32_t len);

/* Send it; the victim answers where it owes an acknowledgment. */
void attack_send(struct attack *attack, const struct segment *segment);
void attack_send_flawed(struct attack *attack, const struct segment *segment, struct attack_flaw flaw);

/* attack_piece and attack_send, attack->piece octets of it. */
void attack_send_piece(struct attack *attack, const char *stream, uint32_t from);

/* With an MSS. */
void attack_send_syn(struct attack *attack, uint32_t isn);

/* What ends a handshake that began with ATTACK_ISN. */
void attack_send_third_ack(struct attack *attack);

/* The victim says 220. */
void attack_greet(struct attack *attack);

/* The time goes on by so much; what falls due happens. */
void attack_wait_us(struct attack *attack, int64_t us);

#endif
