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

#include "base/list.h"
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
    FLOW_RESET_NEXT, /* of whoever sends the next packet: neither end is to blame */
    FLOW_RESET_LOST, /* and where the streams are is not known: each packet by its own numbers */
};

/* What must be the same for a record to hold on: the rest of it follows from later packets, see handover.c. */
struct handover_shape {
    int32_t offset; /* the server's: a client's stream keeps its length towards a live server */
    uint16_t rest;  /* which directions are closed, whether octets may have to be rebuilt, how far the streams are */
    uint8_t kind;   /* of the record */
};

struct flow {
    uint32_t hash_next;        /* index */
    struct list_link age;      /* its neighbours in the list of its network and class, see engine/room */
    uint8_t state : 2;         /* enum flow_state */
    uint8_t age_class : 2;     /* enum flow_class */
    uint8_t reset : 3;         /* enum flow_reset */
    bool changed : 1;          /* class or deadlines may differ: see engine/progress */
    uint8_t ip_version : 4;    /* 4 or 6 */
    uint8_t client_pieces : 3; /* kept free for octets of the client that wait for the rest of their line */
    bool last_chunk : 1;       /* the last BDAT said LAST */
    uint8_t policy : 4;        /* index of the rules that it began under */
    uint8_t server_pieces : 3; /* as client_pieces, for octets of the server */
    bool name_pending : 1;     /* its client's name is being asked for, see engine/names */
    uint8_t promises;          /* what is outstanding, see engine/promise */
    uint16_t resets_sent; /* packets of that end since: RST and bare acknowledgments in turns; where the reset is LOST,
                               bits, see segment_reset_lost */
    uint16_t network;     /* of the client, see engine/room */
    bool told_unedited : 1;   /* EVENT_UNEDITED was sent */
    bool owes_end : 1;        /* EVENT_FLOW_START was sent, and no EVENT_FLOW_END yet */
    bool contested : 1;       /* the server answered another SYN than the last one seen: octets wait for its end */
    bool events_lost : 1;     /* since the last one told */
    bool marked : 1;          /* a packet of it left or came with ENGINE_MARK_PROMISED */
    bool in_doubt : 1;        /* it was taken over, and no packet has shown yet whether it is marked */
    bool reopening : 1;       /* the client sent another SYN into the open connection: `reopen` */
    bool answered : 1;        /* the client has acknowledged something, or of an older one the server has sent
                                something but a reset: both ends are there, and cross here */
    bool one_way : 1;         /* what the client sends does not cross here */
    bool heard_out : 1;       /* the client has acknowledged all that the server sent, its FIN included */
    uint8_t unheard : 2;      /* an older process read it: ends not heard of since, bits 1 << enum smtp_side */
    uint8_t resume : 4;       /* sides that may go on, bits 1 << enum smtp_side; or must, in their last form: bits
                                FLOW_RELEASE << enum smtp_side */
    bool encrypted : 1;       /* the server agreed to it */
    bool client_sought : 1;   /* it comes from a balancer, and has not said yet whose it is */
    uint8_t differs_told : 2; /* bits 1 << enum smtp_side: a resend of that end had other octets than the first time */
    uint8_t outcome : 4;      /* enum engine_outcome, so far */
    uint32_t undelayed;       /* replies to exchanges before this one may have waited in an older process */
    uint32_t inquiry;         /* what it asks and has to tell, see engine/inquiry; POOL_NONE for nothing */
    uint32_t tarpit;          /* see engine/tarpit; POOL_NONE where no reply of it was delayed */
    uint32_t handover_generation;         /* of its record, see handover.h; 0: none was kept */
    struct handover_shape handover_shape; /* what that record says */
    uint32_t told;          /* the client of whom a balancer told, see engine/client; POOL_NONE: nobody told of any */
    uint32_t mark;          /* that a rule gave it; 0: none */
    uint32_t marked_s;      /* while promised and marked: since when, in seconds of now_us; 0: not yet */
    uint32_t content;       /* block with the struct content of the message that goes on; POOL_NONE: none */
    uint64_t id;            /* never used twice */
    int64_t last_us;        /* when its last packet came */
    int64_t line_due_us[2]; /* by enum smtp_side: when what waits must leave; 0 while nothing waits */
    int64_t await_due_us;   /* when octets that wait for a reply must leave; 0 while none do */
    struct event_endpoint ends[2]; /* by enum smtp_side: the client opened the connection */
    struct half halves[2];         /* by enum smtp_side: what that end sends */
    uint32_t message_octets;       /* of the message that goes on; no more is counted than fits */
    struct smtp_session smtp;
    struct policy_facts facts;
    uint16_t handshake;     /* that is read in passing, see engine/handshake; POOL_NONE: none */
    struct half_syn reopen; /* that SYN: the connection is a new one once the server acknowledges it */
};

enum { FLOW_RELEASE = 4 };

/* What waits on this side may go on, once all is done that is being done: see engine/progress. */
static inline void flow_resume(struct flow *flow, enum smtp_side side)
{
    flow->resume = (flow->resume | 1u << side) & 15u;
}

/* What waits on this side must leave, though its rest, or the reply that it waits for, has not come. */
static inline void flow_release(struct flow *flow, enum smtp_side side)
{
    flow->resume = (flow->resume | (unsigned)FLOW_RELEASE << side) & 15u;
}

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
