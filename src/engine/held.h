/*
 * engine/held - packets without verdict: of each direction a list in the order of their sequence numbers.
 *
 * A packet that is made ready is on the list of those that leave: before the current packet as long as that has no
 * fate, behind it afterwards.
 *
 * Owner:  octets that do not fit in struct held are pieces of the engine's.
 * Limits: settings.held_max in all, settings.flow_held_max in a direction, and the share of a client network.
 */
#ifndef POSTERN_ENGINE_HELD_H
#define POSTERN_ENGINE_HELD_H

#include "engine/state.h"

#define HELD_HEADER_BYTES_MAX 256 /* IP and TCP headers of a packet that waits; longer ones are dropped */

/* How far a packet may leave. */
struct cut {
    bool cut;       /* up to `limit` only */
    uint32_t limit; /* egress */
};

/* A packet without verdict. */
struct held {
    uint64_t token;
    int64_t since_us;
    uint32_t next; /* in its half's list, later in the list of those ready */
    uint32_t flow;
    uint32_t seq; /* ingress */
    uint32_t len; /* sequence space it takes */
    uint32_t payload_len;
    struct retain payload; /* where it does not fit in `octets` */
    uint16_t header_len;
    uint8_t side;     /* enum smtp_side that sent it */
    uint8_t checksum; /* enum engine_checksum */
    bool drop;        /* its verdict, once ready */
    bool probe;       /* once ready: it leaves as a probe, its octets are given up */
    bool kept;        /* the copy that the reply will leave with whose tarpit is not over */
    struct cut cut;   /* once ready */
    bool told;        /* its sender was told that it is here, or will be by the answer to a probe on its way */
    uint8_t octets[HELD_HEADER_BYTES_MAX]; /* its headers, and its payload where that fits */
};

size_t held_bytes(const struct engine_settings *settings);

/* Keep the packet without a verdict, in order of sequence numbers. False where there is no room. */
bool held_add(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet);
/* The held packet that has all octets of this segment; NULL where none has. */
struct held *held_covering(const struct engine *engine, const struct half *half, const struct packet *packet);
/*
 * Octets [*left, *right) behind a gap that are held, in the sender's numbers: of several stretches the one with the
 * packet that came last (RFC 2018 4). Its sender will be told of them. False where nothing waits for a gap.
 */
bool held_tell_stretch(struct engine *engine, const struct half *half, uint32_t *left, uint32_t *right);
/*
 * When a packet that waits behind a gap should leave as a probe, INT64_MAX where none should: once the others are still
 * and outnumber those that their sender knows of. So of n packets log2(n) are spent, and reordering alone costs none.
 */
int64_t held_probe_due_us(const struct engine *engine, uint32_t index, enum smtp_side side);
/* It is due: make it ready. */
void held_probe(struct engine *engine, uint32_t index, enum smtp_side side);
/* Take the first held packet of a half off its list and make it ready, to leave up to `cut`. */
void held_ready(struct engine *engine, struct half *half, struct cut cut);
/* Those that have waited since `since_us` or longer, to be dropped; INT64_MAX: all. Returns their number. */
uint32_t held_drop_before(struct engine *engine, struct half *half, int64_t since_us);
/* All of both directions are dropped. */
void held_drop_all(struct engine *engine, struct flow *flow);
/* Octets of all packets of a half that are held. */
uint32_t held_octets(const struct engine *engine, const struct half *half);
/* The packet that is kept for a tarpit; NULL where none is. */
struct held *held_kept(const struct engine *engine, const struct half *half);
/* It is one like the others now. */
void held_keep_no_more(struct engine *engine, struct half *half);
/* The same of one that need not be its first. */
void held_ready_one(struct engine *engine, struct half *half, const struct held *held, struct cut cut);
/* The same to be dropped. */
void held_drop_one(struct engine *engine, struct half *half, const struct held *held);
/* Its payload, payload_len octets, into `out`. */
void held_read(const struct engine *engine, const struct held *held, uint8_t *out);
/* It has left. */
void held_return(struct engine *engine, uint32_t index);

#endif
