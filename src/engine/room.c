#include "engine/room.h"

#include "engine/question.h"

enum { CLASSES = FLOW_CLASS_PROMISED + 1 };

static size_t flows_bytes(void)
{
    return SHARE_NETWORKS * sizeof(struct list[CLASSES]);
}

size_t room_bytes(void)
{
    return share_bytes(ROOM_RESOURCES) + flows_bytes() + SHARE_NETWORKS * sizeof(struct list);
}

/* What one connection needs in any case, or what so few are that nobody is in the way of others. */
enum {
    LEAST_FLOWS = 64,
    LEAST_EDITS = 4 * LEAST_FLOWS,
    LEAST_BLOCKS = 4 * ROOM_BLOCKS_A_PACKET,
    LEAST_PIECES = 256, /* an aggregate of 64 KiB, and as much again */
    LEAST_OTHERS = 64,
    LEAST_ENVELOPES = 128, /* RFC 5321 4.5.3.1.8: 100 recipients */
};

void room_init(struct engine *engine, void *storage)
{
    const struct engine_settings *settings = &engine->settings;
    struct room *room = &engine->room;
    uint8_t *at = storage;
    share_init(&room->share, at, settings->prefix_v4, settings->prefix_v6, settings->seed);
    at += share_bytes(ROOM_RESOURCES);
    room->flows = (void *)at;
    at += flows_bytes();
    room->tarpits = (void *)at;
    const struct {
        enum room_resource resource;
        uint32_t total, least;
    } bounds[] = {
        {ROOM_CHEAP, settings->flows_max, LEAST_FLOWS},
        {ROOM_BLOCKS, engine->blocks.count, LEAST_BLOCKS},
        {ROOM_MIDDLE_BLOCKS, engine->middle_blocks.count, LEAST_BLOCKS},
        {ROOM_SMALL_BLOCKS, engine->small_blocks.count, LEAST_OTHERS},
        {ROOM_PIECES, engine->pieces.count, LEAST_PIECES},
        {ROOM_HELD, settings->held_max, LEAST_OTHERS},
        {ROOM_TARPITS, settings->held_max, LEAST_OTHERS},
        {ROOM_QUESTIONS, ENGINE_QUESTIONS_MAX, LEAST_OTHERS},
        {ROOM_ENVELOPES, settings->guarded_max, LEAST_ENVELOPES},
        {ROOM_EDITS, engine->entries.count, LEAST_EDITS},
        {ROOM_HANDSHAKES, engine->handshakes.count, LEAST_OTHERS},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        share_bound(&room->share, bounds[i].resource, bounds[i].total, settings->network_percent, bounds[i].least);
}

/* ---- counting ---- */

/* What was taken of a resource since the last time is the network's that is worked on. */
static inline void settle(struct engine *engine, enum room_resource resource)
{
    struct room *room = &engine->room;
    uint32_t now = room_in_use(engine, resource);
    if (now == room->settled[resource])
        return;
    share_add(&room->share, resource, room->network, (int32_t)(now - room->settled[resource]));
    room->settled[resource] = now;
}

void room_settle(struct engine *engine)
{
    settle(engine, ROOM_BLOCKS);
    settle(engine, ROOM_MIDDLE_BLOCKS);
    settle(engine, ROOM_SMALL_BLOCKS);
    settle(engine, ROOM_PIECES);
    settle(engine, ROOM_HELD);
    settle(engine, ROOM_TARPITS);
    settle(engine, ROOM_QUESTIONS);
    settle(engine, ROOM_ENVELOPES);
    settle(engine, ROOM_EDITS);
    settle(engine, ROOM_HANDSHAKES);
}

void room_change_network(struct engine *engine, uint16_t network)
{
    room_settle(engine);
    engine->room.network = network;
}

uint32_t room_count(struct engine *engine, enum room_resource resource)
{
    settle(engine, resource);
    return share_count(&engine->room.share, resource, engine->room.network);
}

bool room_allows_flow(const struct engine *engine, uint16_t network)
{
    const struct share *share = &engine->room.share;
    uint32_t others = share_count(share, ROOM_PLAIN, network) + share_count(share, ROOM_PROMISED, network);
    return share_allows(share, ROOM_CHEAP, network, others + 1);
}

/* ---- by age ---- */

void room_unlink(struct engine *engine, uint32_t index)
{
    const struct flow *flow = flow_at(&engine->table, index);
    struct list *list = &engine->room.flows[flow->network][flow->age_class];
    list_remove(list, &engine->table.flows, offsetof(struct flow, age), index);
    share_add(&engine->room.share, ROOM_CHEAP + flow->age_class, flow->network, -1);
}

void room_link(struct engine *engine, uint32_t index, enum flow_class flow_class)
{
    struct flow *flow = flow_at(&engine->table, index);
    flow->age_class = flow_class & 3u;
    list_append(&engine->room.flows[flow->network][flow_class], &engine->table.flows, offsetof(struct flow, age),
                index);
    share_add(&engine->room.share, ROOM_CHEAP + flow_class, flow->network, 1);
}

void room_renew(struct engine *engine, uint32_t index)
{
    room_unlink(engine, index);
    room_link(engine, index, (enum flow_class)flow_at(&engine->table, index)->age_class);
}

/* ---- all of them ---- */

static uint32_t first_behind(const struct engine *engine, uint32_t network, uint32_t flow_class)
{
    for (; network < SHARE_NETWORKS; network++, flow_class = 0)
        for (; flow_class < CLASSES; flow_class++)
            if (engine->room.flows[network][flow_class].oldest != POOL_NONE)
                return engine->room.flows[network][flow_class].oldest;
    return POOL_NONE;
}

uint32_t room_first(const struct engine *engine)
{
    return first_behind(engine, 0, 0);
}

uint32_t room_next(const struct engine *engine, uint32_t index)
{
    const struct flow *flow = flow_at(&engine->table, index);
    return flow->age.newer != POOL_NONE ? flow->age.newer : first_behind(engine, flow->network, flow->age_class + 1u);
}
