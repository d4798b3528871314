/*
 * engine/carrier - a packet as it leaves: in the numbers of its receiver, with the octets that were decided.
 *
 * In:     the current packet with its fate, or a held one that is ready.
 * Out:    its verdict; the octets of an edited packet are in engine->scratch or where they came.
 * Source: RFC 9293 3.8 and 3.10.7.4, RFC 2018, RFC 2883, RFC 7323 5.
 */
#ifndef POSTERN_ENGINE_CARRIER_H
#define POSTERN_ENGINE_CARRIER_H

#include "engine/held.h"

/* The verdict of the current packet, which leaves up to `cut` only. */
void carrier_load_current(struct engine *engine, struct cut cut, struct engine_verdict *verdict);

/* The verdict of a held packet that is ready. */
void carrier_load_held(struct engine *engine, const struct held *held, struct engine_verdict *verdict);

#endif
