/*
 * engine/engine - the filter itself: packets and the time in, verdicts and events out.
 *
 * In:     every packet of the selected ports that crosses the gateway, in the order of arrival, each with a token
 *         that names it to the caller; and the time, from any clock that does not run backwards.
 * Out:    exactly one verdict for each packet, at once or later (law 5: `(packet, now) -> verdict` and
 *         `(now) -> verdicts due`); events, for those who want to know.
 * Owner:  the caller owns the memory given to engine_init and each packet's octets; both must stay in place until
 *         the verdicts of that call have been fetched.
 * Thread: one worker owns one engine; nothing is shared, nothing global.
 * Limits: struct engine_settings. All memory is laid out by engine_init; nothing is allocated afterwards.
 * Errors: a packet cannot fail. What is malformed, out of bounds or not understood has a verdict and a counter.
 *
 * The order of calls:
 *
 *     engine_packet(e, &packet, now)   or   engine_tick(e, now)
 *     while (engine_next_verdict(e, &verdict)) ...    carry them out in this order
 *     while (engine_next_event(e, &event)) ...        optional; events not fetched are overwritten and counted
 *     while (engine_next_question(e, &question)) ...  where settings.questions wants any; engine_answer, now or later,
 *                                                     is a call like engine_packet
 */
#ifndef POSTERN_ENGINE_ENGINE_H
#define POSTERN_ENGINE_ENGINE_H

#include "base/span.h"
#include "engine/event.h"
#include "engine/question.h"

#define ENGINE_PACKET_BYTES_MAX 65535 /* an IP packet, or an aggregate (GSO) of several */

#define ENGINE_BLOCK_BYTES 2048 /* the unit in which memory for octets is given */

struct engine;
struct policy;

/* Whether the TCP checksum in a packet is to be believed. */
enum engine_checksum {
    ENGINE_CHECKSUM_GOOD,   /* somebody (the kernel, a network card) has verified it */
    ENGINE_CHECKSUM_UNSEEN, /* nobody has: verify, and drop the packet where it is wrong */
    ENGINE_CHECKSUM_ABSENT, /* not computed yet (offload): an edited packet needs a whole new one */
};

struct engine_packet {
    uint8_t *bytes; /* an IPv4 or IPv6 packet from its version field on; the engine edits it in place */
    uint32_t len;   /* octets of the packet */
    uint32_t room;  /* octets that `bytes` has room for, at least len; an edit that needs more uses engine memory */
    uint64_t token; /* the caller's name for it, returned with the verdict */
    enum engine_checksum checksum;
    bool marked_offset; /* its connection was marked ENGINE_MARK_OFFSET, by this engine or an older one */
};

enum engine_action {
    ENGINE_ACCEPT, /* let it go on; with the octets of the verdict if there are any */
    ENGINE_DROP,   /* let it end here; the sender will send it again */
};

/* What may become of further packets of a connection; for those who set marks. */
enum engine_mark_class {
    ENGINE_MARK_NONE,
    ENGINE_MARK_RELEASED, /* nothing more is read of it and nothing changed: it may pass without the engine */
    ENGINE_MARK_OFFSET,   /* its streams became shorter or longer: no packet of it may pass without the engine */
};

struct engine_verdict {
    uint64_t token;
    enum engine_action action;
    bool edited;        /* `packet` replaces what came; else the packet goes on as it was */
    uint32_t mark;      /* what a rule wants this connection to be marked with; 0: nothing */
    struct span packet; /* lives until the next call of engine_next_verdict; empty unless edited */
    enum engine_mark_class mark_class;
};

/* Whether the endpoints answer to what leaves here, or have said all they will say. */
enum engine_peers {
    /* Live. An acknowledgment of what never left here is a lie, and dropped as the peer would (RFC 9293 3.10.7.4). A
       segment whose octets were all taken out leaves as one octet that its receiver has: the answer to that
       acknowledges what was taken out. */
    ENGINE_PEERS_LIVE,
    /* Recorded. Acknowledgments are in the sender's numbers and are moved forward, so that what leaves is one
       conversation, as the receiver of each octet saw it. One of octets that are not in the record shows that the
       recorder lost packets: from there on the flow passes unedited. Packets with nothing left in them end here. */
    ENGINE_PEERS_RECORDED,
};

struct engine_settings {
    uint32_t flows_max;       /* connections followed at once; beyond, the least valuable makes room */
    uint32_t blocks_max;      /* blocks of 2 KiB for octets that were sent on and not acknowledged yet, held
                                 segments and unfinished lines, in all */
    uint32_t held_max;        /* packets without verdict at once, in all */
    uint32_t flow_blocks_max; /* of those blocks, in one direction of one flow */
    uint32_t flow_held_max;   /* of those packets, in one direction of one flow */
    uint32_t guarded_max;     /* senders and recipients of guarded connections that nothing has come of yet, in all */
    uint32_t line_hold_ms;    /* how long the beginning of a line waits for its rest (law 4) */
    uint32_t order_hold_ms;   /* how long a segment waits for the one before it, from its last resend on */
    uint32_t idle_s;        /* how long a connection is followed after its last packet; RFC 5321 4.5.3.2.6 lets a client
                               be silent for ten minutes */
    uint32_t offset_idle_s; /* the same of one with an offset, which nobody else can translate */
    uint32_t ask_hold_ms;   /* how long a line waits for the answer to a question; then it is as if nobody could tell */
    uint32_t questions;     /* bit set of 1u << enum question_kind that are wanted; others are as if unanswered */
    bool liberal_conntrack; /* nf_conntrack_tcp_be_liberal=1 on this gateway: a reply may grow without octets saved
                               before (else law 3: conntrack would call its acknowledgments INVALID) */
    bool pass_on_overload;  /* without room to follow it, a flow passes unedited; else its packets are dropped, for
                               their senders to send them again */
    bool strip_mptcp;       /* take the offer of MPTCP out of SYNs; else such a connection passes as it is */
    bool release;           /* connections may pass without the engine: tell which, and forget them */
    uint32_t ports_count;   /* how many of `ports` are meant */
    uint16_t ports[16];     /* a connection to one of these TCP ports is SMTP */
    enum engine_peers peers; /* see above */
    uint32_t events;         /* bit set of 1u << enum event_kind that are wanted */
    uint64_t seed;           /* secret of the flow table's hash; random, so that nobody can choose collisions */
};

/* Everything counted, each since engine_init. The name of a counter is its field's name everywhere. */
struct engine_counters {
    uint64_t packets;              /* packets given to engine_packet */
    uint64_t accepted;             /* verdicts: accept */
    uint64_t dropped;              /* verdicts: drop, for whatever reason below */
    uint64_t edited;               /* accepted with other octets than came (translation only, too) */
    uint64_t held;                 /* packets that waited for their verdict */
    uint64_t not_tcp;              /* passed: not TCP, a fragment, or not on a selected port */
    uint64_t malformed;            /* dropped: header length, option or truncation errors */
    uint64_t fragments_in;         /* dropped (passed, of a record): IP fragments of TCP segments */
    uint64_t bad_checksum;         /* dropped: TCP checksum wrong */
    uint64_t bad_acknowledgment;   /* dropped: acknowledges what was never sent */
    uint64_t bad_reset;            /* dropped: RST outside the window */
    uint64_t bad_syn;              /* dropped: a SYN that cannot belong to the connection */
    uint64_t out_of_bounds;        /* no room (blocks, held packets) to follow it: dropped, or behind a gap a probe */
    uint64_t probes;               /* left as one octet that the receiver has, to be answered: there is a gap */
    uint64_t offset_unknown;       /* dropped: marked as having an offset, and not known (any more) */
    uint64_t stale;                /* dropped: out of order, and the gap before it never filled in time */
    uint64_t flows_created;        /* connections seen from their SYN on */
    uint64_t flows_ended;          /* closed, reset or timed out */
    uint64_t flows_evicted;        /* forgotten to make room; they pass unedited */
    uint64_t unplaced;             /* packets passed: no flow could be forgotten to make room for theirs */
    uint64_t flows_midstream;      /* older than the filter; they pass unedited */
    uint64_t flows_taken_over;     /* followed by an older process: their numbers are translated, nothing is edited */
    uint64_t flows_released;       /* let go: nothing more was to be read of them, and nothing to be translated */
    uint64_t flows_unedited;       /* editing was switched off: pairing lost, not SMTP, an option that forbids it */
    uint64_t retransmissions;      /* segments with octets that had been decided before */
    uint64_t rewritten;            /* of these, with other octets than the first time: the first ones left */
    uint64_t fragments_out;        /* beginnings of lines that left because the rest did not come in time */
    uint64_t keywords_stripped;    /* lines taken out of EHLO replies */
    uint64_t commands_refused;     /* commands answered by the filter in the server's place */
    uint64_t connections_closed;   /* closed politely: the server read QUIT, the client 421 */
    uint64_t connections_reset;    /* reset by the filter */
    uint64_t replies_replaced;     /* replies of the server that the client saw in another form */
    uint64_t tarpits;              /* replies that were to leave later */
    uint64_t tarpit_ms;            /* by so much, in all */
    uint64_t tarpit_hangups;       /* of these, clients that hung up meanwhile */
    uint64_t tarpit_hangup_ms;     /* after so long, in all */
    uint64_t tarpits_shortened;    /* of these, over before their time: the server would have given up */
    uint64_t tarpits_relieved;     /* of these, over before their time: there was no room */
    uint64_t guarded;              /* mails of guarded servers, by recipients, that a server outside put off */
    uint64_t guarded_unknown;      /* recipients of theirs for whom there was no room: what comes of them is not told */
    uint64_t questions;            /* asked */
    uint64_t questions_unanswered; /* actions that depended on an answer which nobody gave in time, or could be asked */
    uint64_t questions_lost;       /* questions and lessons that nobody fetched, so that there was no room for more */
    uint64_t events_lost;          /* events that nobody fetched in time */
};

/* What there is now, as opposed to what has been. */
struct engine_gauges {
    uint32_t flows;
    uint32_t held;
    uint32_t blocks;
    uint32_t tarpitted; /* connections in which a reply waits for its time */
    size_t flow_bytes;  /* memory of one idle flow, all tables included */
};

/* Sensible values for a gateway: 65,536 flows, 64 MiB of blocks; no events. */
struct engine_settings engine_settings_default(void);

/* Octets of memory that engine_init needs for these settings. */
size_t engine_bytes(const struct engine_settings *settings);

/*
 * Lay out an engine in `memory`: engine_bytes octets, zeroed, aligned to 64 (a fresh mapping is both; pages that are
 * never needed are never touched). `policy` must live as long as the engine needs it. Returns the engine, which is the
 * memory.
 */
struct engine *engine_init(void *memory, const struct engine_settings *settings, const struct policy *policy);

#define ENGINE_POLICIES_MAX 16

/*
 * Connections that begin from here on follow `policy`; those that have begun keep the one that they began under, as
 * long as it is of use to them. False where connections still need ENGINE_POLICIES_MAX older ones: try again later.
 */
bool engine_use_policy(struct engine *engine, const struct policy *policy);

/* Whether engine_use_policy would succeed now. */
bool engine_has_policy_room(struct engine *engine);

/* Whether connections, or what was not fetched yet, still need `policy`; else it may be freed. */
bool engine_needs_policy(const struct engine *engine, const struct policy *policy);

/* One packet, at time `now_us` (microseconds). Fetch the verdicts afterwards; there may be none, one or many. */
void engine_packet(struct engine *engine, const struct engine_packet *packet, int64_t now_us);

#define ENGINE_TICK_FLOWS_MAX 1024

/*
 * The time has come to `now_us`: whatever fell due gets its verdict, for ENGINE_TICK_FLOWS_MAX connections at most, so
 * that packets need not wait for it long; call again while engine_next_due says now.
 */
void engine_tick(struct engine *engine, int64_t now_us);

/* When engine_tick is needed next, in microseconds; INT64_MAX where nothing waits. May be early, never late. */
int64_t engine_next_due(const struct engine *engine);

/*
 * The filter ends: every held packet gets a verdict now, in order. What was understood goes on, what was not is
 * dropped for the sender to send again, or, of recorded peers, goes on as it came.
 */
void engine_stop(struct engine *engine, int64_t now_us);

/* The next verdict to carry out; false where there is none. */
bool engine_next_verdict(struct engine *engine, struct engine_verdict *verdict);

/* The next question or lesson; false where there is none. See engine/question.h. */
bool engine_next_question(struct engine *engine, struct question *question);

/*
 * The answer to question `id`; of one that is unknown, answered or too old it changes nothing. All verdicts must have
 * been fetched before; fetch verdicts, events and questions afterwards, as of engine_packet.
 */
void engine_answer(struct engine *engine, uint64_t id, struct finding finding, int64_t now_us);

/* The next event; false where there is none. Its spans live until the next engine_packet, engine_tick or engine_stop.
 */
bool engine_next_event(struct engine *engine, struct event *event);

const struct engine_counters *engine_counters(const struct engine *engine);
struct engine_gauges engine_gauges(const struct engine *engine);

#endif
