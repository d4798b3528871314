/*
 * engine/handover - what the next process must know of connections whose streams became shorter or longer.
 *
 * While they live, nobody but the filter can translate their sequence numbers. So a record of each is kept in memory of
 * the caller's, which outlives the process (a mapped file), before a packet leaves that it is needed for. The next
 * engine takes these connections over: it translates, rebuilds what is sent again, and edits nothing any more. What
 * waited in the old one is gone with the packets that held it; their senders send them again, and they pass as they
 * are.
 * A record is renewed where its offset changes, and with each packet while octets that left may have to be rebuilt.
 *
 * In:     memory of handover_bytes octets, zeroed, aligned to 8; memory that an older engine left, damaged or not.
 * Out:    records: one place for each connection, two copies in a place, so that one is whole while the other is
 *         written; each with its generation and a checksum.
 * Limits: octets that may be sent again as far as there is room for them in a copy, which holds several replies. A
 *         connection of which more is unacknowledged just then is not taken over.
 */
#ifndef POSTERN_ENGINE_HANDOVER_H
#define POSTERN_ENGINE_HANDOVER_H

#include <stddef.h>
#include <stdint.h>

#define HANDOVER_COPY_BYTES  2048
#define HANDOVER_PLACE_BYTES (2 * HANDOVER_COPY_BYTES)

struct engine;

struct handover_result {
    uint32_t taken;   /* connections taken over */
    uint32_t damaged; /* places whose newest record cannot be read */
    uint32_t left;    /* connections for which this engine has no room */
};

size_t handover_bytes(uint32_t flows_max);

/* Keep records in `memory` from here on; it must live as long as the engine. Before the first packet. */
void handover_begin(struct engine *engine, void *memory);

/* Take over what an older engine kept in `memory`, of any length. */
struct handover_result handover_take(struct engine *engine, const void *memory, size_t len, int64_t now_us);

#endif
