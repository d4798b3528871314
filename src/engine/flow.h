/*
 * engine/flow - the table of connections.
 *
 * In:     addresses and ports of a packet.
 * Out:    the flow, and which of its two ends sent the packet.
 * Owner:  the caller owns the storage; flows are pool objects named by an index.
 * Limits: flows_max. The hash is keyed with a secret, so that nobody can choose collisions.
 * Cost:   finding, creating and removing take constant time; nothing is ever resized.
 */
#ifndef POSTERN_ENGINE_FLOW_H
#define POSTERN_ENGINE_FLOW_H

#include "base/pool.h"
#include "engine/event.h"
#include "policy/facts.h"
#include "smtp/session.h"
#include "tcp/half.h"

enum flow_state {
    FLOW_OPENING,   /* a SYN was seen, not both: segments pass, nothing is edited */
    FLOW_OPEN,      /* both SYNs were seen: followed */
    FLOW_CLOSED,    /* reset, or closed by both ends: kept for what is still on its way */
    FLOW_MIDSTREAM, /* older than the filter, or protected from edits: passes as it is */
};

/* Whether the filter is ending the connection, and because of whose octets. */
enum flow_reset {
    FLOW_RESET_NONE,
    FLOW_RESET_CLIENT,
    FLOW_RESET_SERVER,
};

/* What must be the same for a record to hold on: the rest of it follows from later packets, see handover.c. */
struct handover_shape {
    int32_t offset[2];
    uint16_t rest; /* which directions are closed, whether octets may have to be rebuilt, how far the streams are */
};

struct flow {
    uint32_t hash_next; /* index */
    uint32_t age_older; /* index: neighbours in the list of its class, see engine.c */
    uint32_t age_newer;
    uint8_t state; /* enum flow_state */
    uint8_t age_class;
    uint8_t ip_version;           /* 4 or 6 */
    uint8_t reset;                /* enum flow_reset */
    uint16_t resets_sent;         /* packets of that end since: RST and bare acknowledgments in turns */
    bool told_unedited;           /* EVENT_UNEDITED was sent */
    uint8_t policy;               /* index of the rules that it began under */
    bool owes_end;                /* EVENT_FLOW_START was sent, and no EVENT_FLOW_END yet */
    bool contested;               /* the server answered another SYN than the last one seen: octets wait for its end */
    bool events_lost;             /* since the last one told */
    bool reopening;               /* the client sent another SYN into the open connection: `reopen` */
    uint32_t inquiry;             /* what it asks and has to tell, see question.c; POOL_NONE for nothing */
    uint32_t tarpit;              /* see tarpit.c; POOL_NONE where no reply of it was delayed */
    uint64_t id;                  /* never used twice */
    uint64_t handover_generation; /* of its record, see handover.h; 0: none was kept */
    struct handover_shape handover_shape; /* what that record says */
    uint32_t mark;                        /* that a rule gave it; 0: none */
    int64_t last_us;                      /* when its last packet came */
    int64_t line_due_us[2];               /* by enum smtp_side: when what waits must leave; 0 while nothing waits */
    struct event_endpoint ends[2];        /* by enum smtp_side: the client opened the connection */
    struct half halves[2];                /* by enum smtp_side: what that end sends */
    uint32_t content; /* block with the struct content of the message that goes on; POOL_NONE: none */
    struct smtp_session smtp;
    struct policy_facts facts;
    uint64_t message_octets; /* of it */
    bool last_chunk;         /* the last BDAT said LAST */
    bool answered;           /* the client has acknowledged something: both ends are there */
    struct half_syn reopen;  /* that SYN: the connection is a new one once the server acknowledges it */
};

struct flow_table {
    struct pool flows;
    uint32_t *buckets; /* indices */
    uint32_t bucket_mask;
    uint64_t seed[2];
};

/* Octets of `buckets` for so many flows; a power of two times four. */
size_t flow_table_buckets_bytes(uint32_t flows_max);

/* Both storages are zeroed. */
void flow_table_init(struct flow_table *table, void *flows, void *buckets, uint32_t flows_max, uint64_t seed);

/* The flow of a packet and who sent it; POOL_NONE where it is not known. */
uint32_t flow_table_find(const struct flow_table *table, const struct packet *packet, enum smtp_side *sender);

/* A new flow, zeroed but for its ends, with `packet` sent by `sender`; POOL_NONE where the table is full. */
uint32_t flow_table_add(struct flow_table *table, const struct packet *packet, enum smtp_side sender);

/* Take a flow out; its memory beyond struct flow must have been given back. */
void flow_table_remove(struct flow_table *table, uint32_t index);

static inline struct flow *flow_at(const struct flow_table *table, uint32_t index)
{
    return pool_at(&table->flows, index);
}

static inline uint32_t flow_index(const struct flow_table *table, const struct flow *flow)
{
    return pool_index(&table->flows, flow);
}

#endif
