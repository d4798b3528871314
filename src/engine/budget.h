/*
 * engine/budget - what is left of the memory for octets, and what of it is promised to what waits.
 *
 * A line that waits for its rest leaves one day, and its release must not fail: so many pieces are kept free.
 * Everything else may run out, and then packets are dropped for their senders to send again. Who has his share is told
 * apart from what all have used up (engine/room).
 */
#ifndef POSTERN_ENGINE_BUDGET_H
#define POSTERN_ENGINE_BUDGET_H

#include "engine/room.h"

/* Free pieces that are not reserved for what waits. */
uint32_t budget_spare_pieces(const struct engine *engine);

/*
 * Whether there is room to take in `len` more octets of this half of the connection that is worked on. *bounded: there
 * is none because its network has its share.
 */
bool budget_has_room(struct engine *engine, const struct half *half, uint32_t len, bool *bounded);

/* The widest window that may be advertised in the connection that is worked on: what is then sent can be retained. */
uint32_t budget_window_max(struct engine *engine);

/* Keep as many pieces free as the release of `waiting` octets of this side may take; of 0 none. */
void budget_reserve(struct engine *engine, struct flow *flow, enum smtp_side side, uint32_t waiting);

#endif
