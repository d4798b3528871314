/*
 * engine/room - who pays for what connections share: counts, and connections by age.
 *
 * Each resource that connections share has a bound for all and a smaller one for each client network (base/share: the
 * counts). A connection is charged to the network of the end that opened it. What one network can use up is its own
 * share: beyond, what is more of it waits, comes again, or takes the place of its own oldest; connections of other
 * networks go on. Where many networks together use up what all share, the oldest of the one that has most ends
 * (engine/relief).
 *
 * How it counts: everything that a pool gives while a connection is worked on is charged to that connection's network.
 * So whoever begins to work on another one calls room_turn_to; no other place counts.
 *
 * Thread: as the engine.
 * Source: ../../docs/overload.md has a table of the resources, their bounds, and what happens at each.
 */
#ifndef POSTERN_ENGINE_ROOM_H
#define POSTERN_ENGINE_ROOM_H

#include "engine/state.h"

#define ROOM_PIECES_A_BLOCK (ENGINE_BLOCK_BYTES / RETAIN_BLOCK_BYTES)

/* The most pieces that the release of a line may take. */
#define ROOM_PIECES_A_LINE ((SMTP_LINE_BYTES_MAX + SMTP_REFUSAL_BYTES_MAX) / RETAIN_BLOCK_PAYLOAD + 2)

/* What one packet may take of the blocks of each size: a line, a long ledger. */
#define ROOM_BLOCKS_A_PACKET 2u

/* Octets of memory that room_init needs. */
size_t room_bytes(void);

/* `storage` is zeroed; settings and pools are there. */
void room_init(struct engine *engine, void *storage);

/* What is taken and given back from here on is of this network, another one than before: for room_turn_to. */
void room_change_network(struct engine *engine, uint16_t network);

/* All connections, one after the other, by network; POOL_NONE (0) behind the last. */
uint32_t room_first(const struct engine *engine);
uint32_t room_next(const struct engine *engine, uint32_t index);

/* What the network that is worked on has of a resource. */
uint32_t room_count(struct engine *engine, enum room_resource resource);

/* The same of connections: of any class. */
bool room_allows_flow(const struct engine *engine, uint16_t network);

/* Put the flow on the list of its network and class, as the newest; off it; and behind all others of it. */
void room_link(struct engine *engine, uint32_t index, enum flow_class flow_class);
void room_unlink(struct engine *engine, uint32_t index);
void room_renew(struct engine *engine, uint32_t index);

/* Bring all counts up to date. */
void room_settle(struct engine *engine);

/* How much of a resource is in use; of connections the counts are always right. */
static inline uint32_t room_in_use(const struct engine *engine, enum room_resource resource)
{
    switch (resource) {
    case ROOM_BLOCKS:
        return engine->blocks.used;
    case ROOM_MIDDLE_BLOCKS:
        return engine->middle_blocks.used;
    case ROOM_SMALL_BLOCKS:
        return engine->small_blocks.used;
    case ROOM_PIECES:
        return engine->pieces.used + engine->reserved_pieces;
    case ROOM_HELD:
        return engine->held.used;
    case ROOM_TARPITS:
        return engine->tarpitted;
    case ROOM_QUESTIONS:
        return engine->room.asking;
    case ROOM_ENVELOPES:
        return engine->guarded.used;
    case ROOM_EDITS:
        return engine->entries.used;
    case ROOM_HANDSHAKES:
        return engine->handshakes.used;
    case ROOM_CHEAP:
    case ROOM_PLAIN:
    case ROOM_PROMISED:
    case ROOM_RESOURCES:
        break;
    }
    return 0;
}

/* What is taken and given back from here on is of this connection. */
static inline void room_turn_to(struct engine *engine, uint32_t index)
{
    uint16_t network = flow_at(&engine->table, index)->network;
    if (network != engine->room.network)
        room_change_network(engine, network);
}

/* Whether the network of the connection that is worked on may have `more` of a resource. */
static inline bool room_allows(struct engine *engine, enum room_resource resource, uint32_t more)
{
    uint32_t bound = engine->room.share.bounds[resource];
    if (room_in_use(engine, resource) + more <= bound)
        return true; /* no network has more than all have */
    uint32_t count = room_count(engine, resource);
    return count <= bound && more <= bound - count;
}

#endif
