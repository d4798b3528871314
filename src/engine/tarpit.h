/*
 * engine/tarpit - a reply that leaves later.
 *
 * Its packet is held; each time its server sends it again, the newer copy is held in place of the older one. As long as
 * the server's patience allows, nothing leaves: some clients take the first segment for the whole reply. Where it would
 * run out before the deadline, the older copy leaves, cut to the next few octets. The client acknowledges those, which
 * the server takes for progress. At the deadline the copy that is held carries all that remains. See docs/tarpit.md.
 *
 * Its end is noted in flow->resume: what it kept, and what stood behind it, may go on.
 *
 * Limits: one at a time in a connection; what is held for it are packets and pieces like others (engine/room).
 */
#ifndef POSTERN_ENGINE_TARPIT_H
#define POSTERN_ENGINE_TARPIT_H

#include "engine/state.h"

/* Why a reply that was to leave later need wait no longer. */
enum tarpit_end {
    TARPIT_END_TIME,      /* its time has come */
    TARPIT_END_HUNG_UP,   /* the client has closed or reset the connection */
    TARPIT_END_SHORTENED, /* the server would have given up */
    TARPIT_END_RELIEVED,  /* there is no room for what must wait */
    TARPIT_END_UNREAD,    /* the connection is not followed on */
    TARPIT_END_RESET,     /* the filter resets it */
    TARPIT_END_STOPPED,   /* the filter stops */
    TARPIT_END_FORGOTTEN, /* the connection is forgotten */
    TARPIT_END_RECORDED,  /* it is in a capture: it came when it came */
};

/* What becomes of a packet with octets that are not allowed to leave. */
enum tarpit_turn {
    TARPIT_KEEP,    /* it is kept in place of the older copy */
    TARPIT_STUTTER, /* the same, and the older copy leaves with what is allowed now */
    TARPIT_OVER,    /* nothing can be kept any longer */
};

size_t tarpit_bytes(const struct engine_settings *settings);

/* `storage` is zeroed. */
void tarpit_init(struct engine *engine, void *storage);

/* How much later the reply should leave that begins with this unit, which is not committed yet. */
uint32_t tarpit_delay_ms(const struct flow *flow, const struct smtp_context *context, const struct smtp_unit *unit,
                         struct smtp_action action);
/* A unit of the server's was decided, the first of its octets at `from_egress`. It may begin a tarpit, or go on with
   it; behind the reply its side is paused. */
struct tarpit_reply {
    uint32_t delay_ms;
    const char *rule; /* whose delay it is */
    uint32_t from_egress;
    uint32_t exchange;
    bool shared;   /* once in a transaction is enough */
    bool consents; /* it agrees to STARTTLS: behind it the client is read no more */
};
void tarpit_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                       const struct tarpit_reply *reply);
/* Whether nothing waits, nor is about to be learnt of what did: the client has acknowledged it, or is gone. */
bool tarpit_is_over(const struct engine *engine, const struct flow *flow);
/* Whether the server's consent to STARTTLS waits. */
bool tarpit_holds_consent(const struct engine *engine, const struct flow *flow);
/* The server closes meanwhile. A client that read the consent all the same would fail to encrypt, and come again in
   clear: the connection is reset instead. */
void tarpit_reset_consent(struct engine *engine, uint32_t index);
/* By how much later the reply of this exchange leaves. */
uint32_t tarpit_imposed_ms(const struct engine *engine, const struct flow *flow, uint32_t exchange);
/* Whether octets of this side are held back from tarpit_allowed on (egress). */
bool tarpit_holds(const struct engine *engine, const struct flow *flow, enum smtp_side side);
uint32_t tarpit_allowed(const struct engine *engine, const struct flow *flow);
/* A packet with the next octets that are not allowed has come; `again`: one is kept already; `unread`: its sender does
   not know that what is allowed was read. */
enum tarpit_turn tarpit_resent(struct engine *engine, uint32_t index, bool again, bool unread);
/* When the tarpit is over, INT64_MAX where there is none; then, or sooner, what it keeps is let go. */
int64_t tarpit_due_us(const struct engine *engine, const struct flow *flow);
void tarpit_end(struct engine *engine, uint32_t index, enum tarpit_end why);
/* The end of this side has closed the connection, or reset it. */
void tarpit_hung_up(struct engine *engine, uint32_t index, enum smtp_side side);
/* Octets of this side were acknowledged. */
void tarpit_acknowledged(struct engine *engine, uint32_t index, enum smtp_side side);
/* The connection of this client network whose reply has waited longest; POOL_NONE where none does. */
uint32_t tarpit_oldest(const struct engine *engine, uint16_t network);
/* The connection is forgotten. */
void tarpit_forget(struct engine *engine, uint32_t index);

#endif
