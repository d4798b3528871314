/*
 * engine/state - one engine, as its parts share it; struct flow is in engine/flow. Nobody else sees either.
 *
 * The parts are a staircase (README.md has it step by step): each calls those below it, and none above. What a part
 * keeps for itself is in its .c file; what stands here more than one of them reads.
 */
#ifndef POSTERN_ENGINE_STATE_H
#define POSTERN_ENGINE_STATE_H

#include "base/list.h"
#include "base/share.h"
#include "engine/event.h"
#include "engine/flow.h"
#include "engine/question.h"
#include "engine/timer.h"
#include "engine/values.h"
#include "policy/policy.h"
#include "smtp/change.h"

/* Packets that have their verdict, in the order in which they leave. */
struct ready_list {
    uint32_t head, tail;
};

/* What becomes of the packet that engine_packet was given. */
enum fate {
    FATE_NONE, /* none, or it is held */
    FATE_PASS, /* as it came */
    FATE_DROP,
    FATE_CARRY,  /* translated, and rebuilt where needed */
    FATE_PROBE,  /* as one octet that its receiver has, to be answered */
    FATE_EDITED, /* edited in place already */
    FATE_RESET,  /* as a RST */
    FATE_BARE,   /* without octets and FIN, as an acknowledgment */
};

struct current {
    struct packet packet;
    uint64_t token;
    enum fate fate;
    enum smtp_side side;
    uint32_t flow;
    bool checksum_absent;
    bool marked;  /* its connection's mark says that something was promised, and it does not open one */
    bool plain;   /* all its octets are new, and leave as they came */
    bool settles; /* it brought octets, or a FIN, which others may have waited for */
};

/* What connections share: who pays for it, see engine/room. */
enum room_resource {
    ROOM_CHEAP, /* connections, by enum flow_class */
    ROOM_PLAIN, /* the three have one bound together */
    ROOM_PROMISED,
    ROOM_BLOCKS, /* unfinished lines, long ledgers, messages that are looked into: of ENGINE_BLOCK_BYTES */
    ROOM_MIDDLE_BLOCKS,
    ROOM_SMALL_BLOCKS,
    ROOM_PIECES,     /* octets that are not acknowledged, or held; with those that the release of lines will need */
    ROOM_HELD,       /* packets without verdict */
    ROOM_TARPITS,    /* replies that leave later */
    ROOM_QUESTIONS,  /* lines that wait for an answer */
    ROOM_ENVELOPES,  /* senders and recipients of guarded connections */
    ROOM_EDITS,      /* changes of length that are not acknowledged */
    ROOM_HANDSHAKES, /* of TLS, that are read in passing */
    ROOM_RESOURCES
};

static_assert(ROOM_RESOURCES <= SHARE_RESOURCES_MAX, "there is a count for each");

struct room {
    struct share share;
    uint32_t settled[ROOM_RESOURCES]; /* what was in use of each when the counts were right */
    uint16_t network;                 /* what was taken since is this one's */
    uint32_t calm[ROOM_RESOURCES];    /* while no more is in use of each nobody is near a bound */
    uint32_t asking;                  /* lines that wait for an answer */
    struct list (*flows)[3];          /* by network, by enum flow_class: by age */
    struct list *tarpits;             /* by network: those that hold */
};

struct engine {
    struct engine_settings settings;
    const struct policy *policies[ENGINE_POLICIES_MAX]; /* NULL: free */
    uint32_t policy_flows[ENGINE_POLICIES_MAX];         /* flows that began under it */
    uint64_t refusals_sums[ENGINE_POLICIES_MAX];        /* of its refusals, in order: those of equal sums are equal */
    uint8_t policy;                                     /* of new flows */
    uint64_t rule_hits[RULES_MAX];                      /* times that each of its rules held, since it is in use */
    int64_t now_us;
    int64_t next_ms_us; /* when the timer wheel has a new millisecond to look at */
    uint64_t flow_ids;

    struct flow_table table;
    struct timer_wheel wheel;
    struct pool told;    /* clients of whom balancers told: of engine/client */
    struct pool entries; /* of the edit logs */
    struct pool blocks;  /* of lines, ledgers, and what is kept of a message; smaller ones hang on it (base/fit) */
    struct pool middle_blocks, small_blocks;
    struct pool pieces; /* of octets that left and are not acknowledged, and of held packets */
    struct pool held;
    struct room room;

    struct ready_list before; /* verdicts that leave before the current packet */
    struct current current;
    struct ready_list after;

    struct engine_counters counters;
    struct engine_sessions sessions;
    struct event *events;
    uint8_t *event_arena;
    uint32_t event_count, event_next;
    uint32_t event_arena_used;

    struct question_entry *questions; /* a ring of EVENTS_MAX */
    uint32_t question_first, question_count;
    struct engine_name_query name_queries[ENGINE_NAME_QUERIES_MAX]; /* a ring */
    uint32_t name_query_first, name_query_count;
    struct pool inquiries;
    uint32_t *inquiry_buckets; /* by flow id */
    uint32_t inquiry_mask;     /* 0 where nothing is asked */
    struct offer *offers;
    struct pool guarded;
    uint32_t *guarded_buckets; /* by flow */
    struct pool tarpits;
    struct pool handshakes;
    uint32_t tarpitted; /* that hold */
    bool stopping;      /* nothing new waits */
    bool marks_seen[2]; /* of IPv4 and IPv6: packets come with marks that were set, here or in an older process */
    bool forgetful;     /* a connection was forgotten that may go on: what is not known may have begun under our eyes */

    uint8_t *handover; /* the caller's, see handover.h; NULL: nothing is kept */

    uint32_t reserved_pieces; /* kept free for octets that wait for the rest of their line */

    struct smtp_change change;              /* large, so not on the stack */
    uint8_t line_left[SMTP_LINE_BYTES_MAX]; /* for events */
    uint8_t canonical[SMTP_LINE_BYTES_MAX]; /* of the command that is judged */
    uint8_t *scratch;                       /* packets that leave with other octets */
    uint8_t *original;                      /* held packets as they came */
    uint8_t port_bits[65536 / 8];
};

/* The time of this call in whole seconds, never 0. */
static inline uint32_t engine_seconds(const struct engine *engine)
{
    return (uint32_t)(engine->now_us / 1000000) + 1;
}

/* Flows in order of what is lost when one is forgotten. */
enum flow_class {
    FLOW_CLASS_CHEAP,    /* nothing: opening, closed, or not followed and nothing heard of the server */
    FLOW_CLASS_PLAIN,    /* inspection: followed, nothing promised; or that nothing more need be read */
    FLOW_CLASS_PROMISED, /* the connection: something was promised, so it is never forgotten to make room */
};

/* Whether what belongs to no known connection may be part of one that was read, and so must not pass. */
static inline bool engine_forgets(const struct engine *engine)
{
    return engine->forgetful && engine->settings.peers == ENGINE_PEERS_LIVE && !engine->settings.pass_on_overload;
}

/* The rules that a flow began under. */
static inline const struct policy *policy_of(const struct engine *engine, const struct flow *flow)
{
    return engine->policies[flow->policy];
}

#endif
