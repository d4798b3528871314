#include "engine/memory.h"

#include "engine/client.h"
#include "engine/guard.h"
#include "engine/handshake.h"
#include "engine/held.h"
#include "engine/inquiry.h"
#include "engine/offer.h"
#include "engine/policies.h"
#include "engine/relief.h"
#include "engine/room.h"
#include "engine/tarpit.h"
#include "engine/tell.h"

enum { ALIGNMENT = 64, ENTRIES_PER_FLOW = 4 };

struct engine_settings engine_settings_default(void)
{
    return (struct engine_settings){
        .flows_max = 65536,
        .blocks_max = 32768,
        .held_max = 8192,
        .flow_blocks_max = 512,
        .guarded_max = 16384,
        .network_percent = 25,
        .prefix_v4 = 24,
        .prefix_v6 = 64,
        .flow_held_max = 64,
        .line_hold_ms = 30,
        .order_hold_ms = 3000,
        .idle_s = 3600,
        .offset_idle_s = 5 * 24 * 3600,
        .ask_hold_ms = 500,
        .handshakes = true,
        .ports_count = 3,
        .ports = {25, 587, 2525},
        .peers = ENGINE_PEERS_LIVE,
    };
}

/* Hands out pieces of one block of memory; with base NULL it only counts. */
struct layout {
    uint8_t *base;
    size_t used;
};

static void *lay_out(struct layout *layout, size_t octets)
{
    void *piece = layout->base ? layout->base + layout->used : NULL;
    layout->used += (octets + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return piece;
}

struct pieces {
    struct engine *engine;
    void *flows, *buckets, *nodes, *entries, *blocks, *pieces, *held, *events, *arena, *scratch, *original;
    void *handshakes, *inquiries, *inquiry_buckets, *questions, *tarpits, *offers, *guarded, *guarded_buckets;
    void *middle_blocks, *small_blocks, *room, *told;
    size_t bytes;
};

/*
 * A quarter of the memory for octets is blocks: lines, ledgers, what is kept of a message. Where there are enough of
 * them a quarter is cut into middle ones, and another into small ones, so that a short line costs little.
 */
static uint32_t blocks_count(const struct engine_settings *settings)
{
    enum { LEAST = 4 };
    uint32_t count = settings->blocks_max / 4 + LEAST;
    return count < settings->blocks_max ? count : settings->blocks_max;
}

enum { MIDDLE_BYTES = 512, SMALL_BYTES = 64 };

static uint32_t cut_blocks_count(const struct engine_settings *settings)
{
    enum { LEAST = 8, PART = 4 };
    return blocks_count(settings) < LEAST ? 0 : blocks_count(settings) / PART;
}

static uint32_t whole_blocks_count(const struct engine_settings *settings)
{
    return blocks_count(settings) - 2 * cut_blocks_count(settings);
}

/* The rest is cut in pieces, most of which hold a reply that is not acknowledged. */
static uint32_t pieces_count(const struct engine_settings *settings)
{
    return (settings->blocks_max - blocks_count(settings)) * ROOM_PIECES_A_BLOCK;
}

static struct pieces lay_out_all(void *memory, const struct engine_settings *s)
{
    struct layout layout = {.base = memory};
    struct pieces p = {0};
    p.engine = lay_out(&layout, sizeof *p.engine);
    p.flows = lay_out(&layout, pool_bytes(sizeof(struct flow), s->flows_max));
    p.buckets = lay_out(&layout, flow_table_buckets_bytes(s->flows_max));
    p.told = lay_out(&layout, client_bytes(s));
    p.nodes = lay_out(&layout, ((size_t)s->flows_max + 1) * sizeof(struct timer_node));
    p.entries = lay_out(&layout, pool_bytes(EDIT_ENTRY_BYTES, s->flows_max * ENTRIES_PER_FLOW));
    p.blocks = lay_out(&layout, pool_bytes(ENGINE_BLOCK_BYTES, whole_blocks_count(s)));
    p.middle_blocks = lay_out(&layout, pool_bytes(ENGINE_BLOCK_BYTES, cut_blocks_count(s)));
    p.small_blocks = lay_out(&layout, pool_bytes(ENGINE_BLOCK_BYTES, cut_blocks_count(s)));
    p.room = lay_out(&layout, room_bytes());
    p.pieces = lay_out(&layout, pool_bytes(RETAIN_BLOCK_BYTES, pieces_count(s)));
    p.held = lay_out(&layout, held_bytes(s));
    p.guarded = lay_out(&layout, guard_bytes(s));
    p.guarded_buckets = lay_out(&layout, guard_buckets_bytes());
    p.events = lay_out(&layout, tell_events_bytes());
    p.arena = lay_out(&layout, tell_texts_bytes());
    p.handshakes = lay_out(&layout, handshake_bytes(s));
    p.tarpits = lay_out(&layout, tarpit_bytes(s));
    p.offers = lay_out(&layout, offer_bytes());
    p.inquiries = lay_out(&layout, inquiry_bytes(s));
    p.inquiry_buckets = lay_out(&layout, inquiry_buckets_bytes(s));
    p.questions = lay_out(&layout, inquiry_questions_bytes(s));
    p.scratch = lay_out(&layout, ENGINE_PACKET_BYTES_MAX + 1);
    p.original = lay_out(&layout, ENGINE_PACKET_BYTES_MAX + 1);
    p.bytes = layout.used;
    return p;
}

size_t engine_bytes(const struct engine_settings *settings)
{
    return lay_out_all(NULL, settings).bytes;
}

struct engine *engine_init(void *memory, const struct engine_settings *settings, const struct policy *policy)
{
    assert(memory != NULL);
    struct pieces p = lay_out_all(memory, settings);
    struct engine *engine = p.engine;
    engine->settings = *settings;
    policies_set(engine, 0, policy);
    flow_table_init(&engine->table, p.flows, p.buckets, settings->flows_max, settings->seed);
    client_init(engine, p.told);
    timer_init(&engine->wheel, p.nodes, settings->flows_max);
    pool_init(&engine->entries, p.entries, EDIT_ENTRY_BYTES, settings->flows_max * ENTRIES_PER_FLOW);
    pool_init(&engine->blocks, p.blocks, ENGINE_BLOCK_BYTES, whole_blocks_count(settings));
    pool_init(&engine->middle_blocks, p.middle_blocks, MIDDLE_BYTES,
              cut_blocks_count(settings) * (ENGINE_BLOCK_BYTES / MIDDLE_BYTES));
    pool_init(&engine->small_blocks, p.small_blocks, SMALL_BYTES,
              cut_blocks_count(settings) * (ENGINE_BLOCK_BYTES / SMALL_BYTES));
    if (cut_blocks_count(settings) > 0) {
        engine->blocks.smaller = &engine->middle_blocks;
        engine->middle_blocks.smaller = &engine->small_blocks;
    }
    pool_init(&engine->pieces, p.pieces, RETAIN_BLOCK_BYTES, pieces_count(settings));
    pool_init(&engine->held, p.held, sizeof(struct held), settings->held_max);
    handshake_init(engine, p.handshakes);
    tarpit_init(engine, p.tarpits);
    inquiry_init(engine, p.inquiries, p.inquiry_buckets, p.questions);
    guard_init(engine, p.guarded, p.guarded_buckets);
    engine->offers = p.offers;
    engine->events = p.events;
    engine->event_arena = p.arena;
    engine->scratch = p.scratch;
    engine->original = p.original;
    room_init(engine, p.room);
    relief_init(engine);
    for (uint32_t i = 0; i < settings->ports_count; i++)
        engine->port_bits[settings->ports[i] / 8] |= (uint8_t)(1u << (settings->ports[i] % 8));
    return engine;
}

struct engine_gauges engine_gauges(const struct engine *engine)
{
    uint32_t flows_max = engine->settings.flows_max;
    return (struct engine_gauges){
        .flows = engine->table.flows.used,
        .held = engine->held.used,
        .blocks = (uint32_t)((fit_used_bytes(&engine->blocks) + (uint64_t)engine->pieces.used * RETAIN_BLOCK_BYTES +
                              ENGINE_BLOCK_BYTES - 1) /
                             ENGINE_BLOCK_BYTES),
        .tarpitted = engine->tarpitted,
        .flow_bytes = sizeof(struct flow) + sizeof(struct timer_node) +
                      flow_table_buckets_bytes(flows_max) / (flows_max ? flows_max : 1) +
                      (size_t)ENTRIES_PER_FLOW * EDIT_ENTRY_BYTES,
    };
}
