/*
 * engine/handover - what the next process must know of connections that were promised something (engine/promise).
 *
 * While a promise is outstanding nobody but the filter may pass such a connection. So a record of it is kept in memory
 * of the caller's, which outlives the process (a mapped file), before a packet leaves that it is needed for. The next
 * engine takes these connections over, each by the kind of its record:
 *
 *   resume     the dialogue is read on and edited, from the very octet on, with its ledger. Renewed with each packet.
 *   translate  nothing but the offset is outstanding, and the session is encrypted or in the middle of a message: its
 *              numbers are translated, what is sent again leaves as it left, and it is edited no more. Renewed where
 *              its offset changes, and while octets that left may have to be rebuilt.
 *   reset      what is promised does not fit into a record, or a reset is on its way: both ends are reset.
 *
 * A record holds structures of this program as they are, so it is understood by a program made of the same headers only
 * (HANDOVER_LAYOUT, which the Makefile makes of them); connections with a record of another one are reset.
 *
 * What waited in the old engine is gone with the packets that held it; their senders send them again.
 *
 * In:     memory of handover_bytes octets, zeroed, aligned to 8; memory that an older engine left, damaged or not.
 * Out:    records: one place for each connection, two copies in a place, so that one is whole while the other is
 *         written; each with its generation and a checksum.
 * Limits: octets that may be sent again as far as there is room for them in a copy, which holds several replies; 16
 *         edits in each direction; SMTP_SAVED_SLOTS_MAX unanswered commands; no line of which a part has left.
 */
#ifndef POSTERN_ENGINE_HANDOVER_H
#define POSTERN_ENGINE_HANDOVER_H

#include <stddef.h>

#include "engine/event.h"

#define HANDOVER_COPY_BYTES  4096
#define HANDOVER_PLACE_BYTES (2 * HANDOVER_COPY_BYTES)

struct engine;

struct handover_result {
    uint32_t taken;   /* connections taken over: resumed, or translated */
    uint32_t reset;   /* connections that will be reset */
    uint32_t damaged; /* places whose newest record cannot be read */
    uint32_t left;    /* connections for which this engine has no room */
};

size_t handover_bytes(uint32_t flows_max);

/* Keep records in `memory` from here on; it must live as long as the engine. Before the first packet. */
void handover_begin(struct engine *engine, void *memory);

/* ---- for the engine ---- */

/* Bring the flow's record up to date: before a packet leaves. */
void handover_keep(struct engine *engine, uint32_t index);

/* It needs none any more. */
void handover_forget(struct engine *engine, uint32_t index);

struct record;

/* What a record says of whose it is. */
struct handover_flow {
    struct event_endpoint ends[2];
    int64_t last_us;
    uint8_t ip_version;
    bool closed;
    bool reset; /* both ends are to be reset */
};

/*
 * The newest record in a place of HANDOVER_PLACE_BYTES octets, aligned to 8, that can be read; NULL where there is
 * none. *damaged: there was one.
 */
const struct record *handover_newest(const void *place, bool *damaged);

struct handover_flow handover_flow(const struct record *record);

/* What a record says, into its flow, which is new. False where there is no room for it. */
bool handover_restore(struct engine *engine, uint32_t index, const struct record *record);

#endif
