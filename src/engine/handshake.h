/*
 * engine/handshake - TLS handshakes, read in passing: the octets leave as they came, whatever is seen.
 *
 * In:     octets of both sides of a connection that encrypts, as they cross, in any order, perhaps several times.
 * Out:    EVENT_TLS, once; counters.
 * Limits: HANDSHAKES_MAX at once, of which a client network has its share; HANDSHAKE_S each; of octets that came before
 *         those in front of them HANDSHAKE_AHEAD_BYTES. What is beyond is not seen, and counted.
 * Note:   while one is read its connection stays in the queue (lifecycle), where each packet leaves at once.
 */
#ifndef POSTERN_ENGINE_HANDSHAKE_H
#define POSTERN_ENGINE_HANDSHAKE_H

#include "engine/state.h"

size_t handshake_bytes(const struct engine_settings *settings);
void handshake_init(struct engine *engine, void *storage);

/* What both ends send from here on is TLS. */
void handshake_begin(struct engine *engine, uint32_t index);

/* Octets of the stream of a side, which has begun: `seq` is the first one's number. */
void handshake_take(struct engine *engine, uint32_t index, enum smtp_side side, uint32_t seq, struct span octets);

/* Nothing more comes of it, or is waited for: tell what was seen. Does nothing where none is read. */
void handshake_end(struct engine *engine, struct flow *flow);

/* When the handshake that is read is over at the latest. */
int64_t handshake_over_us(const struct engine *engine, const struct flow *flow);

/* The same; INT64_MAX where none is read, as nearly always. */
static inline int64_t handshake_due_us(const struct engine *engine, const struct flow *flow)
{
    return flow->handshake == POOL_NONE ? INT64_MAX : handshake_over_us(engine, flow);
}

#endif
