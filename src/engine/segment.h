/*
 * engine/segment - positions: acknowledgments, order, what is new in a segment, what must wait.
 *
 * In:     a segment of a connection that is followed.
 * Out:    its fate. What follows from it for other packets is noted in flow->resume.
 * Source: RFC 9293 3.10.7.4, RFC 5961 3.
 */
#ifndef POSTERN_ENGINE_SEGMENT_H
#define POSTERN_ENGINE_SEGMENT_H

#include "engine/held.h"

/* A segment without SYN in a flow that is followed. */
enum fate segment_take(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet);
/*
 * A packet of a connection that is reset because nobody knows what was promised to it, or by how much its numbers are
 * to be moved. It becomes a RST where its receiver has acknowledged up to, which is exact, or else by its own numbers.
 * Who challenges such a RST (RFC 5961 3.2) says where the next one must stand; his challenge becomes a probe for the
 * other end (RFC 9293 3.8.4), whose answer is that next one. Once both are hit, packets become bare acknowledgments and
 * RSTs in turns: an end that has closed answers the first with a RST.
 */
enum fate segment_reset_lost(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet);
/* The fate of the current packet, which is `fate`, unless the connection came to be reset because of it. */
enum fate segment_fate(struct engine *engine, uint32_t index, enum smtp_side side, enum fate fate);
/* Octets of a record that were acknowledged before they came: whether they have come with the current packet. */
void segment_look_ahead(struct engine *engine, uint32_t index, enum smtp_side side);
/* How far packets of this side may leave now. */
struct cut segment_cut(const struct engine *engine, const struct flow *flow, enum smtp_side side);
/* The first packet of a connection that was taken over: whether its connection is `marked`. */
void segment_end_doubt(struct engine *engine, uint32_t index, bool marked);
/* Let go of held packets whose octets are decided by now, and take in those whose turn has come. */
void segment_settle(struct engine *engine, uint32_t index, enum smtp_side side);

#endif
