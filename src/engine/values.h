/*
 * engine/values - what goes into the engine and comes out of it: packets, verdicts, settings, counters.
 *
 * Plain values, with nothing behind them: engine/engine has the calls that take and give them.
 */
#ifndef POSTERN_ENGINE_VALUES_H
#define POSTERN_ENGINE_VALUES_H

#include "base/span.h"
#include "policy/facts.h"

#define ENGINE_PACKET_BYTES_MAX 65535 /* an IP packet, or an aggregate (GSO) of several */

#define ENGINE_TICK_FLOWS_MAX 1024 /* connections that one engine_tick looks at */

#define ENGINE_BLOCK_BYTES 2048 /* the unit in which memory for octets is given */

#define ENGINE_PORTS_MAX 16 /* TCP ports of SMTP */

#define ENGINE_POLICIES_MAX 16 /* sets of rules that connections may have begun under */

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
    bool marked_promised;  /* its connection was marked ENGINE_MARK_PROMISED, by this engine, an older or another one */
    bool marked_elsewhere; /* the kernel sees its connection for the first time, in its middle: it began on another
                              gateway, where it may have been promised something */
};

enum engine_action {
    ENGINE_ACCEPT, /* let it go on; with the octets of the verdict if there are any */
    ENGINE_DROP,   /* let it end here; the sender will send it again */
};

/* What may become of further packets of a connection; for those who set marks. */
enum engine_mark_class {
    ENGINE_MARK_NONE,
    ENGINE_MARK_RELEASED, /* nothing more is read of it and nothing changed: it may pass without the engine */
    ENGINE_MARK_PROMISED, /* something was promised, see engine/promise: no packet of it may pass without the engine */
    ENGINE_MARK_KEPT,     /* all that was promised is kept: as if it had never been marked */
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
    uint32_t network_percent; /* of each of these, what the connections of one client network may have */
    uint8_t prefix_v4;        /* bits of an address that make a client's network */
    uint8_t prefix_v6;
    uint32_t line_hold_ms;  /* how long the beginning of a line waits for its rest (law 4) */
    uint32_t order_hold_ms; /* how long a segment waits for the one before it, from its last resend on */
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
    bool handshakes;        /* of TLS are read in passing; else a connection is let go as soon as it encrypts */
    bool release;           /* connections may pass without the engine: tell which, and forget them */
    uint32_t ports_count;   /* how many of `ports` are meant */
    uint16_t ports[ENGINE_PORTS_MAX]; /* a connection to one of these TCP ports is SMTP */
    uint16_t tls_ports;               /* bits by the place in `ports`: of which the first octet is TLS (RFC 8314 3.3) */
    enum engine_peers peers;          /* see above */
    uint32_t events;                  /* bit set of 1u << enum event_kind that are wanted */
    uint64_t seed; /* secret of the flow table's hash; random, so that nobody can choose collisions */
};

/* Everything counted, each since engine_init. The name of a counter is its field's name everywhere. */
struct engine_counters {
    uint64_t packets;              /* packets given to engine_packet */
    uint64_t accepted;             /* verdicts: accept */
    uint64_t dropped;              /* verdicts: drop, for whatever reason below */
    uint64_t edited;               /* accepted with other octets than came (translation only, too) */
    uint64_t held;                 /* packets that waited for their verdict */
    uint64_t not_tcp;              /* passed: not TCP, a fragment, or not on a selected port */
    uint64_t malformed;            /* dropped: header length or truncation errors, octets behind a FIN */
    uint64_t fragments_in;         /* dropped (passed, of a record): IP fragments of TCP segments */
    uint64_t bad_checksum;         /* dropped: TCP checksum wrong */
    uint64_t bad_acknowledgment;   /* dropped: acknowledges what was never sent */
    uint64_t bad_reset;            /* dropped: RST outside the window */
    uint64_t bad_syn;              /* dropped: a SYN that cannot belong to the connection */
    uint64_t out_of_bounds;        /* no room (blocks, held packets) to follow it: dropped, or behind a gap a probe */
    uint64_t probes;               /* left as one octet that the receiver has, to be answered: there is a gap */
    uint64_t promises_unknown;     /* became resets: what was promised to their connection is not known (any more) */
    uint64_t promises_broken;      /* connections reset by the filter: it could not keep what it had promised */
    uint64_t promises_unmarked;    /* packets of connections that were marked as promised, and came without the mark */
    uint64_t connection_unknown;   /* dropped: of no known connection, after one that may go on was forgotten; or an
                                      acknowledgment that the kernel knows no connection of */
    uint64_t stale;                /* dropped: out of order, and the gap before it never filled in time */
    uint64_t flows_created;        /* connections seen from their SYN on */
    uint64_t flows_ended;          /* closed, reset or timed out */
    uint64_t flows_evicted;        /* forgotten to make room; they pass unedited */
    uint64_t unplaced;             /* packets for whose flow no other could be forgotten to make room: dropped, or
                                      passed where settings.pass_on_overload says so */
    uint64_t flows_midstream;      /* older than the filter; they pass unedited */
    uint64_t flows_taken_over;     /* promised something by an older process, and gone on with */
    uint64_t flows_resumed;        /* of these, read on and edited; of the others the numbers are translated */
    uint64_t flows_released;       /* let go: nothing more was to be read of them, and nothing to be translated */
    uint64_t flows_unedited;       /* editing was switched off: pairing lost, not SMTP, an option that forbids it */
    uint64_t retransmissions;      /* segments with octets that had been decided before */
    uint64_t resend_differs;       /* of these, with other octets than the first time: the first ones left */
    uint64_t rewritten;            /* segments that left with other octets than they came with, whatever for: edits,
                                      resends of what was edited, parts of a delayed reply, resends with others */
    uint64_t fragments_out;        /* beginnings of lines that left because the rest did not come in time */
    uint64_t keywords_stripped;    /* lines taken out of EHLO replies */
    uint64_t offset_bounded;       /* lines changed at their length, for the offset must not become larger */
    uint64_t expression_limits;    /* texts on which an expression of a rule ran into its limits */
    uint64_t commands_refused;     /* commands answered by the filter in the server's place */
    uint64_t connections_closed;   /* closed politely: the server read QUIT, the client 421 */
    uint64_t connections_reset;    /* reset by the filter */
    uint64_t connections_relieved; /* of these, to make room: the oldest of the client network that had most */
    uint64_t held_relieved;        /* held packets dropped to make room, likewise */
    uint64_t shares_used_up;       /* times that a client network was given no more because it had its share */
    uint64_t messages_cut;         /* connections reset in a message, that a rule refuses for what it contains */
    uint64_t recipients_refused_again; /* recipients refused since their mail was cut so before */
    uint64_t replies_replaced;         /* replies of the server that the client saw in another form */
    uint64_t tarpits;                  /* replies that were to leave later */
    uint64_t tarpit_ms;                /* by so much, in all */
    uint64_t tarpit_hangups;           /* of these, clients that hung up meanwhile */
    uint64_t tarpit_hangup_ms;         /* after so long, in all */
    uint64_t tarpits_shortened;        /* of these, over before their time: the server would have given up */
    uint64_t tarpits_relieved;         /* of these, over before their time: there was no room */
    uint64_t guarded;                  /* mails of guarded servers, by recipients, that a server outside put off */
    uint64_t guarded_unknown;      /* recipients of theirs for whom there was no room: what comes of them is not told */
    uint64_t questions;            /* asked */
    uint64_t questions_unanswered; /* actions that depended on an answer which nobody gave in time, or could be asked */
    uint64_t questions_lost;       /* questions and lessons that nobody fetched, so that there was no room for more */
    uint64_t handshakes_failed;    /* of TLS: one end gave up, and said so in clear */
    uint64_t handshakes_unseen;    /* of TLS, that were not read, for there was no room */
    uint64_t events_lost;          /* events that nobody fetched in time */

    /* Of flows_created, by enum policy_direction. */
    uint64_t flows_by_direction[POLICY_DIRECTIONS];
};

/* What became of a connection, as its client has read it. Of several things the last one in this order counts. */
enum engine_outcome {
    ENGINE_OUTCOME_NO_MAIL, /* nothing of what follows */
    ENGINE_OUTCOME_REFUSED, /* a greeting, a sender, a recipient or a message drew 5xx; or a command, from the filter */
    ENGINE_OUTCOME_PUT_OFF, /* the same with 4xx; or 421 to anything */
    ENGINE_OUTCOME_UNREAD,  /* from some point on it was not read: encrypted, or the pairing was lost */
    ENGINE_OUTCOME_RESET,   /* by the filter */
    ENGINE_OUTCOME_ACCEPTED, /* the server took a mail */
    ENGINE_OUTCOMES
};

/* What a server chose of TLS. */
enum engine_tls {
    ENGINE_TLS_UNKNOWN, /* it said nothing, or nothing that is known */
    ENGINE_TLS_OLDER,   /* than 1.2 */
    ENGINE_TLS_1_2,
    ENGINE_TLS_1_3,
    ENGINE_TLS_VERSIONS
};

/* Connections followed from their SYN on that have ended: by enum policy_direction, by outcome, and whether the server
   agreed to encryption. Of those whose handshake was read, the versions. */
struct engine_sessions {
    uint64_t ended[POLICY_DIRECTIONS][ENGINE_OUTCOMES][2];
    uint64_t handshakes[ENGINE_TLS_VERSIONS];
};

/* What there is now, as opposed to what has been. */
struct engine_gauges {
    uint32_t flows;
    uint32_t held;
    uint32_t blocks;
    uint32_t tarpitted; /* connections in which a reply waits for its time */
    size_t flow_bytes;  /* memory of one idle flow, all tables included */
};

#endif
