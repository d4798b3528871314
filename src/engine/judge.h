/*
 * engine/judge - new octets to SMTP and the policy, decisions into the edit log.
 *
 * In:     the octets of a direction, in order.
 * Out:    what leaves, in the log and in what is retained; events, counters. What a decision sets free, of this side or
 *         of the other, is noted in flow->resume; that class or deadlines may differ, in flow->changed.
 */
#ifndef POSTERN_ENGINE_JUDGE_H
#define POSTERN_ENGINE_JUDGE_H

#include "engine/state.h"

/* The connection has begun: what rules say of its ends. Of one from a balancer, once that has said whose it is. */
void judge_connect(struct engine *engine, uint32_t index);

/* What rules may know of the connection: of the client, as far as it is known, and of the server. */
void judge_facts(struct engine *engine, struct flow *flow);

/*
 * The next octets in order; `release`: what waits for its rest, or for a reply, must leave. True where one of them
 * leaves in another form, or some waited before.
 */
bool judge_feed(struct engine *engine, uint32_t index, enum smtp_side side, struct span octets, bool release);

/* The reply that octets wait for has not come in time: they are to be read without it. */
void judge_await_no_more(struct flow *flow);

/* Bring up to date which side's next octets wait for a reply. */
void judge_note_awaits(struct flow *flow);

/* What waits on both sides is to have its last form, at the end of editing or of the filter. */
void judge_release(struct engine *engine, uint32_t index);

/* The connection is encrypted from its first octet on. */
void judge_tls(struct engine *engine, uint32_t index);

/* The flow is not edited from here on, and what waited is decided; `reason` is told once. */
void judge_give_up(struct engine *engine, uint32_t index, const char *reason);

#endif
