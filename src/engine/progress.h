/*
 * engine/progress - what follows from a change: the one loop that feeds, settles, classifies and arms.
 *
 * Who changes a connection changes its own state, and notes on the flow
 *
 *   resume    sides that may go on (bit 1 << side), or must, in their last form (bit FLOW_RELEASE << side);
 *   changed   class or deadlines may differ.
 *
 * At the end of each entry point of the engine (packet, tick, answer, stop), and of each connection that relief ends
 * something of, one of these functions does what follows from that, until nothing is noted any more.
 *
 * Limits: a round takes in a held packet, reads a line that waited, or has a cause that comes once in a call (the
 *         connection is reset, it is read no more, a delayed reply may leave); so their number has a bound, which is
 *         asserted.
 */
#ifndef POSTERN_ENGINE_PROGRESS_H
#define POSTERN_ENGINE_PROGRESS_H

#include "engine/state.h"

/* What follows from all that is noted on this flow, where anything is. */
void progress_all(struct engine *engine, uint32_t index);

static inline void progress(struct engine *engine, uint32_t index)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (flow->resume || flow->changed)
        progress_all(engine, index);
}

/*
 * The same at the end of a packet that is to have `fate`. What it set free leaves before it, what waited for it to fill
 * a gap behind it. Sets the fate that it has after all.
 */
void progress_packet(struct engine *engine, uint32_t index, enum fate fate);

/* The same for a flow whose timer has come: release, drop and forget what is due. */
void progress_due(struct engine *engine, uint32_t index);

#endif
