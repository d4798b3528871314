/*
 * engine/guard - what a server outside says of mail of one of ours that must not be lost (policy/guard).
 *
 * Replies do not name whom they are about: so the sender and recipients of a transaction are kept until something has
 * come of them.
 *
 * In:     commands that went to the server, and the first lines of its replies, of guarded connections.
 * Out:    EVENT_GUARD.
 * Limits: settings.guarded_max in all, and the share of a client network; of what does not fit nothing is told, and it
 *         is counted.
 */
#ifndef POSTERN_ENGINE_GUARD_H
#define POSTERN_ENGINE_GUARD_H

#include "engine/state.h"

size_t guard_bytes(const struct engine_settings *settings);
size_t guard_buckets_bytes(void);

/* `storage` and `buckets` are zeroed. */
void guard_init(struct engine *engine, void *storage, void *buckets);

/* A command went to the server, and draws the reply of this exchange. */
void guard_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange);

/* The reply to a command. */
struct guard_reply {
    uint32_t exchange;
    bool put_off;      /* it has the marks of a greylist */
    uint32_t delay_ms; /* by so much later it leaves */
};

/* The first line of a reply has come. */
void guard_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                      const struct guard_reply *reply);

/* Nothing more can be read of a connection. */
void guard_forget(struct engine *engine, uint32_t index);

#endif
