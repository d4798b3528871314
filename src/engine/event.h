/*
 * engine/event - what happened, told to whoever wants to know.
 *
 * Out:    plain values. Spans point into the engine's memory and live until its next call.
 * Note:   octets of `text` and `shown` come from the wire: escape and cap them before a log or a terminal.
 */
#ifndef POSTERN_ENGINE_EVENT_H
#define POSTERN_ENGINE_EVENT_H

#include "base/span.h"
#include "smtp/tls_seen.h"
#include "smtp/verb.h"

enum event_kind {
    EVENT_FLOW_START, /* a connection whose SYN was seen */
    EVENT_FLOW_END,   /* it closed, was reset or timed out; `reason` says which */
    EVENT_COMMAND,    /* one command line of the client: `text`; `shown` is what the server saw */
    EVENT_REPLY,      /* one line of a reply of the server: `text`; `shown` is what the client saw */
    EVENT_PAYLOAD,    /* octets that are no lines (message, chunk, authentication) have all come: `octets` of them */
    EVENT_ANOMALY,    /* something that ought not to be; `reason` is its name */
    EVENT_RULE,     /* a rule that logs has matched, or, in a dry run, one that would change something: `reason` is its
                       name, `action` what it does or would do, `text` what it looked at, `shown` the form in which a
                       command would leave that something looks at ("rewrite") */
    EVENT_GREYLIST, /* what was asked before a line could leave is settled: `action` says what becomes of it, `reason`
                       why; `verb` and `exchange` say of which line. Of RCPT, `text` is the recipient and `shown` the
                       sender; else `text` is the argument of EHLO */
    EVENT_TARPIT,   /* a reply that was to leave later need wait no longer: `reason` says why, `action` is the rule
                       whose delay it was; `verb` and `exchange` say of which reply */
    EVENT_GUARD, /* a server outside has put off (`action` is "refused") or taken ("taken") mail of one of ours that is
                    guarded: `text` is the first line of its reply, `sender` and `recipient` say whose mail; of a
                    reply to the message there is an event for each recipient. See policy/guard */
    EVENT_TLS,   /* `tls` is what was seen of the handshake of a connection that encrypts; nothing more will be */
    EVENT_RESEND_DIFFERS, /* `octets` octets came again as others, or among others; those of the first time leave */
    EVENT_UNEDITED,       /* editing was switched off for this flow; `reason` says why */
    EVENT_KINDS
};

enum event_change {
    EVENT_KEPT,     /* left as it came */
    EVENT_REMOVED,  /* did not leave at all */
    EVENT_REPLACED, /* left in the form of `shown` */
};

/* One end of a connection. IPv4 addresses are in the first 4 octets. */
struct event_endpoint {
    uint8_t address[16]; /* network byte order */
    uint16_t port;       /* host byte order */
};

/* The client of whom a load balancer told by a PROXY header; `ip_version` 0: none did. */
struct event_client {
    struct event_endpoint end;
    uint8_t ip_version, zero[5];
};

struct event {
    enum event_kind kind;
    int64_t time_us;     /* the `now_us` of the call in which it happened */
    uint64_t flow_id;    /* the same for all events of a connection, never used again while the engine lives */
    uint32_t flow_place; /* 1 to flows_max, of one connection at a time: for tables of those there are now */
    uint8_t ip_version;  /* 4 or 6 */
    struct event_endpoint client;
    struct event_endpoint server;
    struct event_client told; /* the client behind `client`, which is a load balancer */
    bool lost;                /* events of this connection before this one, and before its end, were lost */
    bool from_server;         /* who sent it */
    enum smtp_verb verb; /* EVENT_COMMAND: the verb; EVENT_REPLY: the verb that the server answers; EVENT_PAYLOAD: what
                            it is: END_OF_DATA (a message), BDAT (a chunk), AUTH_RESPONSE, XEXCH50_DATA */
    uint32_t exchange;   /* EVENT_COMMAND, EVENT_PAYLOAD: of the reply that it draws; EVENT_REPLY: of what it answers;
                            0 is the greeting. A chunk draws none, its BDAT does */
    uint16_t code;       /* EVENT_REPLY, EVENT_GUARD: as the server sent it; 0 where the line has none */
    bool last;           /* EVENT_REPLY: the last line of the reply. EVENT_GUARD: the last attempt, see `attempt` */
    bool closes;         /* EVENT_REPLY: nothing more answers the same (after 353, and in LMTP, several replies do) */
    enum event_change change; /* EVENT_COMMAND, EVENT_REPLY, EVENT_PAYLOAD */
    struct span text;         /* as it came, line end included; capped at 1024 octets, then without a line end */
    struct span shown;        /* as it left, capped likewise; only where change is EVENT_REPLACED */
    uint64_t
        octets; /* EVENT_GUARD: as MAIL announced them; 0: it did not. EVENT_PAYLOAD, with the line that ends a message;
                   EVENT_UNEDITED, EVENT_FLOW_END: of the payload `verb` (UNKNOWN: none) that was not complete */
    const char *action; /* EVENT_RULE; EVENT_GREYLIST: pass or defer; EVENT_GUARD; a word, static. EVENT_TARPIT: a
                           rule's name, as of `reason` */
    bool dry_run;       /* EVENT_RULE, EVENT_GREYLIST: it was not done */
    bool complete;      /* EVENT_RULE, EVENT_ANOMALY: `text` is all that there is, though it has no line end */
    bool unfinished;    /* EVENT_PAYLOAD: the filter stops before the rest of it has come */
    int32_t offset[2];  /* EVENT_FLOW_END: octets that the client's stream, and the server's, became longer */
    const char *reason; /* why it was changed, a rule's name or a verdict's; of other kinds the word that says what
                           happened. Lives as long as the policy; "" where none */

    struct span sender;    /* EVENT_GUARD */
    struct span recipient; /* EVENT_GUARD; empty where MAIL was refused */
    uint32_t attempt;  /* EVENT_GUARD: which one it was; left to those who hear of all connections. EVENT_GREYLIST */
    uint32_t attempts; /* EVENT_GUARD: that there are; likewise */

    uint32_t delay_ms;  /* EVENT_TARPIT, EVENT_GUARD: by so much later it was to leave, or leaves */
    uint32_t waited_ms; /* EVENT_TARPIT: so long it did wait */

    int64_t passes_from_us; /* EVENT_GREYLIST: the time from which on the same would pass; 0: not known, or it does */
    int64_t first_seen_us;  /* EVENT_GREYLIST: when it was tried first, and `attempt` says how often since, this time
                               included; 0: by its attempts nothing was decided */
    struct span rule;       /* EVENT_GREYLIST: the rule that asked */

    const struct tls_seen *tls; /* EVENT_TLS; else NULL */
};

/* The kind's name in JSON and in counters, for example "command"; static. */
const char *event_kind_name(enum event_kind kind);

#endif
