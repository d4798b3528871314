/*
 * engine/lifecycle - connections: from the SYN to the end, timeouts, and which is forgotten to make room for another.
 *
 * In:     packets of no known connection, SYNs.
 * Out:    connections, with their class and deadline, for which engine/progress asks.
 * Limits: settings.flows_max, and the share of a client network.
 * Source: RFC 9293 3.10.7, RFC 5961 4, RFC 7413, RFC 8684.
 */
#ifndef POSTERN_ENGINE_LIFECYCLE_H
#define POSTERN_ENGINE_LIFECYCLE_H

#include "engine/state.h"

/*
 * A packet that belongs to no known flow: creates one where it should, and is FATE_NONE then. `promised`: its mark says
 * that its connection was promised something, so that it is to be reset.
 */
enum fate lifecycle_begin(struct engine *engine, const struct packet *packet, bool promised, uint32_t *index,
                          enum smtp_side *side);
/* Whether a packet shows that the flow known by its addresses is no more: a new SYN where nothing was open. */
bool lifecycle_begins_anew(const struct flow *flow, enum smtp_side side, const struct packet *packet);
/* A segment with SYN in a known flow. */
enum fate lifecycle_syn(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet);
/* Put the flow into the class it now belongs to; for engine/progress. */
void lifecycle_classify(struct engine *engine, uint32_t index);
/* Set the flow's timer to its earliest deadline, where that is earlier than what is set; likewise. */
void lifecycle_arm(struct engine *engine, uint32_t index);
/* The marks of a verdict about a packet of this flow; where the flow may pass without the engine, it is let go. */
void lifecycle_mark(struct engine *engine, uint32_t index, struct engine_verdict *verdict);
/* Whether it has been silent for so long that it is forgotten. */
bool lifecycle_is_idle(const struct engine *engine, const struct flow *flow);
/* It is, and is forgotten. */
void lifecycle_expire(struct engine *engine, uint32_t index);
/* A flow that an older engine followed, to be filled in. POOL_NONE where there is no room. */
uint32_t lifecycle_take_over(struct engine *engine, const struct packet *ends, bool closed, int64_t last_us);
/* Forget a flow; packets it holds are dropped. */
void lifecycle_end(struct engine *engine, uint32_t index, const char *reason);

#endif
