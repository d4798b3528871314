#include "engine/relief.h"

#include "engine/budget.h"
#include "engine/guard.h"
#include "engine/held.h"
#include "engine/inquiry.h"
#include "engine/message.h"
#include "engine/progress.h"
#include "engine/promise.h"
#include "engine/tarpit.h"
#include "engine/tell.h"

enum {
    SCARCE_PART = 16,       /* what is left for all, when little is */
    TARPITS_HELD_PART = 16, /* and at what tarpits end: their packets, or octets, are what others need */
    TARPITS_PIECES_PART = 4,
    WANTED_PIECES_PART = 8, /* what of its share a network is to have left */
};

/*
 * No network has more than all have: while that is so far below its bound, and enough is left for all, nothing is to be
 * done.
 */
void relief_init(struct engine *engine)
{
    static const struct {
        enum room_resource resource;
        uint32_t part; /* of bound and total that must be left, besides `count` */
        uint32_t count;
    } spare[] = {
        {ROOM_BLOCKS, SCARCE_PART, 2 * ROOM_BLOCKS_A_PACKET},
        {ROOM_MIDDLE_BLOCKS, SCARCE_PART, 2 * ROOM_BLOCKS_A_PACKET},
        {ROOM_SMALL_BLOCKS, SCARCE_PART, 2 * ROOM_BLOCKS_A_PACKET},
        {ROOM_PIECES, TARPITS_PIECES_PART, 2 * ROOM_PIECES_A_LINE},
        {ROOM_HELD, TARPITS_HELD_PART, 1},
        {ROOM_TARPITS, SCARCE_PART, 1},
    };
    struct room *room = &engine->room;
    const uint32_t totals[ROOM_RESOURCES] = {
        [ROOM_BLOCKS] = engine->blocks.count,
        [ROOM_MIDDLE_BLOCKS] = engine->middle_blocks.count,
        [ROOM_SMALL_BLOCKS] = engine->small_blocks.count,
        [ROOM_PIECES] = engine->pieces.count,
        [ROOM_HELD] = engine->held.count,
        [ROOM_TARPITS] = engine->held.count,
    };
    for (size_t i = 0; i < sizeof spare / sizeof spare[0]; i++) {
        enum room_resource resource = spare[i].resource;
        uint32_t bound = room->share.bounds[resource], least = bound < totals[resource] ? bound : totals[resource];
        uint32_t left = least / spare[i].part + spare[i].count;
        room->calm[resource] = least > left ? least - left : 0;
    }
}

/* The blocks of one size. */
static const struct pool *blocks_of(const struct engine *engine, enum room_resource size)
{
    return size == ROOM_BLOCKS          ? &engine->blocks
           : size == ROOM_MIDDLE_BLOCKS ? &engine->middle_blocks
                                        : &engine->small_blocks;
}

/* Whether the connection has one of this size. */
static bool has_block(const struct engine *engine, const struct flow *flow, enum room_resource size)
{
    const uint32_t blocks[] = {flow->smtp.lines[SMTP_CLIENT].block, flow->smtp.lines[SMTP_SERVER].block,
                               flow->smtp.ledger.block};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        if (blocks[i] != POOL_NONE && fit_bytes(&engine->blocks, blocks[i]) == blocks_of(engine, size)->object_bytes)
            return true;
    return size == ROOM_BLOCKS && flow->content != POOL_NONE;
}

/* Whether ending the connection would give back some of a resource. */
static bool keeps(const struct engine *engine, const struct flow *flow, enum room_resource resource)
{
    const struct half *client = &flow->halves[SMTP_CLIENT], *server = &flow->halves[SMTP_SERVER];
    bool holds = client->held != POOL_NONE || server->held != POOL_NONE;
    bool followed = flow->state == FLOW_OPEN || flow->state == FLOW_CLOSED;
    if (!followed || flow->reset || tarpit_due_us(engine, flow) != INT64_MAX)
        return false;
    if (resource == ROOM_HELD)
        return holds;
    if (resource == ROOM_PIECES)
        return holds || client->retained.len || server->retained.len || flow->client_pieces || flow->server_pieces;
    return has_block(engine, flow, resource);
}

/*
 * The oldest connection of a network that keeps some of a resource, but not this one; with `quiet`, one that has been
 * silent for a while: others are about to give it back. POOL_NONE where a few looks find none. Those that keep nothing
 * go to the end of their list, so that the next look finds others.
 */
static uint32_t oldest_keeper(struct engine *engine, uint16_t network, enum room_resource resource, bool quiet,
                              uint32_t but)
{
    enum { LOOKS = 32, QUIET_US = 10000000 };
    static const enum flow_class order[] = {FLOW_CLASS_CHEAP, FLOW_CLASS_PLAIN, FLOW_CLASS_PROMISED};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        uint32_t index = engine->room.flows[network][order[i]].oldest, next;
        for (int look = 0; look < LOOKS && index != POOL_NONE; look++, index = next) {
            const struct flow *flow = flow_at(&engine->table, index);
            next = flow->age.newer;
            bool keeper = keeps(engine, flow, resource);
            if (keeper && index != but && (!quiet || engine->now_us - flow->last_us >= QUIET_US))
                return index;
            if (!keeper)
                room_renew(engine, index);
        }
    }
    return POOL_NONE;
}

/* Reset both ends, for want of what is named, and give back at once all that the flow keeps but its place. */
static void reset_for(struct engine *engine, uint32_t index, const char *what)
{
    struct flow *flow = flow_at(&engine->table, index);
    engine->counters.connections_relieved++;
    engine->counters.connections_reset++;
    tell_anomaly(engine, flow, false, "no-room", span_of(what), true);
    flow->reset = FLOW_RESET_NEXT;
    inquiry_end(engine, index);
    guard_forget(engine, index);
    message_forget(engine, flow);
    smtp_session_give_up(&flow->smtp, &engine->blocks);
    smtp_session_fini(&flow->smtp, &engine->blocks);
    flow->await_due_us = 0;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        struct half *half = &flow->halves[side];
        half->next = half->log.end;
        half->paused = half->awaits = false;
        retain_release(&half->retained, &engine->pieces, half->retained.len);
        budget_reserve(engine, flow, (enum smtp_side)side, 0);
        flow->line_due_us[side] = 0;
    }
    held_drop_all(engine, flow);
    promise_note(flow);
}

/* End what the oldest connection of a network keeps of a resource. False where none was found. */
static bool relieve(struct engine *engine, uint16_t network, enum room_resource resource, bool quiet, uint32_t but)
{
    uint32_t index = oldest_keeper(engine, network, resource, quiet, but);
    if (index == POOL_NONE)
        return false;
    room_turn_to(engine, index);
    if (resource == ROOM_HELD) {
        struct flow *flow = flow_at(&engine->table, index);
        engine->counters.held_relieved += flow->halves[SMTP_CLIENT].held_count + flow->halves[SMTP_SERVER].held_count;
        held_drop_all(engine, flow); /* their senders send them again */
    } else {
        reset_for(engine, index, resource == ROOM_PIECES ? "octets" : "lines");
    }
    progress(engine, index);
    return true;
}

/* Whether little of a resource is left for all. */
static bool is_scarce(const struct engine *engine, enum room_resource resource)
{
    if (resource == ROOM_HELD)
        return pool_free_count(&engine->held) <= engine->held.count / SCARCE_PART;
    if (resource == ROOM_PIECES)
        return budget_spare_pieces(engine) <= engine->pieces.count / SCARCE_PART + 2 * ROOM_PIECES_A_LINE;
    const struct pool *blocks = blocks_of(engine, resource);
    return blocks->count > 0 && pool_free_count(blocks) < blocks->count / SCARCE_PART + 2 * ROOM_BLOCKS_A_PACKET;
}

/* What a packet may need of a resource. */
static uint32_t wanted(const struct engine *engine, enum room_resource resource)
{
    if (resource == ROOM_PIECES)
        return engine->room.share.bounds[ROOM_PIECES] / WANTED_PIECES_PART;
    return resource == ROOM_HELD ? 1 : ROOM_BLOCKS_A_PACKET;
}

static void make(struct engine *engine, uint32_t index, enum room_resource resource)
{
    enum { AT_ONCE = 4 };
    struct room *room = &engine->room;
    uint16_t mine = room->network, most;
    bool bounded = !room_allows(engine, resource, wanted(engine, resource));
    if (!bounded && !is_scarce(engine, resource))
        return;
    most = bounded ? mine : share_greediest(&room->share, resource);
    /* Who has hardly more than this one does not make room for it. */
    if (!bounded && share_count(&room->share, resource, most) / 2 < share_count(&room->share, resource, mine) + 1)
        return;
    for (int i = 0; i < AT_ONCE; i++)
        if (!relieve(engine, most, resource, true, index) &&
            (bounded || i > 0 || !relieve(engine, most, resource, false, index)))
            break;
    room_turn_to(engine, index);
}

/* The oldest tarpits of a client network end. */
static void end_tarpits(struct engine *engine, uint16_t network)
{
    enum { AT_ONCE = 4 };
    uint32_t index;
    for (int i = 0; i < AT_ONCE && (index = tarpit_oldest(engine, network)) != POOL_NONE; i++) {
        room_turn_to(engine, index);
        tarpit_end(engine, index, TARPIT_END_RELIEVED);
        progress(engine, index);
    }
}

/* Tarpits end before anything else does: all that is lost is time. */
static void relieve_tarpits(struct engine *engine, uint32_t index)
{
    struct room *room = &engine->room;
    const uint32_t *bounds = room->share.bounds;
    bool bounded = !room_allows(engine, ROOM_TARPITS, 1) ||
                   !room_allows(engine, ROOM_HELD, bounds[ROOM_HELD] / TARPITS_HELD_PART + 1) ||
                   !room_allows(engine, ROOM_PIECES, bounds[ROOM_PIECES] / TARPITS_PIECES_PART);
    bool scarce = pool_free_count(&engine->held) <= engine->held.count / TARPITS_HELD_PART ||
                  budget_spare_pieces(engine) <= engine->pieces.count / TARPITS_PIECES_PART;
    if (bounded)
        end_tarpits(engine, room->network);
    if (scarce)
        end_tarpits(engine, share_greediest(&room->share, ROOM_TARPITS));
    room_turn_to(engine, index);
}

void relief_make_room(struct engine *engine, uint32_t index)
{
    room_settle(engine); /* it is looked who has most */
    if (engine->tarpitted)
        relieve_tarpits(engine, index);
    if (engine->before.head != POOL_NONE)
        return; /* what those kept is about to leave */
    for (enum room_resource resource = ROOM_BLOCKS; resource <= ROOM_HELD; resource++)
        make(engine, index, resource);
}
