#include "engine/state.h"

enum { ALIGNMENT = 64, ENTRIES_PER_FLOW = 4 };

struct engine_settings engine_settings_default(void)
{
    return (struct engine_settings){
        .flows_max = 65536,
        .blocks_max = 32768,
        .held_max = 8192,
        .flow_blocks_max = 512,
        .guarded_max = 4096,
        .flow_held_max = 64,
        .line_hold_ms = 30,
        .order_hold_ms = 3000,
        .idle_s = 3600,
        .offset_idle_s = 5 * 24 * 3600,
        .ask_hold_ms = 500,
        .ports_count = 3,
        .ports = {25, 587, 2525},
        .peers = ENGINE_PEERS_LIVE,
    };
}

/* ---- memory ---- */

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
    void *inquiries, *inquiry_buckets, *questions, *tarpits, *offers, *guarded, *guarded_buckets;
    size_t bytes;
};

/* A quarter of the memory for octets is whole blocks: lines, ledgers, what is kept of a message. */
static uint32_t blocks_count(const struct engine_settings *settings)
{
    enum { LEAST = 4 };
    uint32_t count = settings->blocks_max / 4 + LEAST;
    return count < settings->blocks_max ? count : settings->blocks_max;
}

/* The rest is cut in pieces, most of which hold a reply that is not acknowledged. */
static uint32_t pieces_count(const struct engine_settings *settings)
{
    return (settings->blocks_max - blocks_count(settings)) * JUDGE_PIECES_A_BLOCK;
}

static struct pieces lay_out_all(void *memory, const struct engine_settings *s)
{
    struct layout layout = {.base = memory};
    struct pieces p = {0};
    p.engine = lay_out(&layout, sizeof *p.engine);
    p.flows = lay_out(&layout, pool_bytes(sizeof(struct flow), s->flows_max));
    p.buckets = lay_out(&layout, flow_table_buckets_bytes(s->flows_max));
    p.nodes = lay_out(&layout, ((size_t)s->flows_max + 1) * sizeof(struct timer_node));
    p.entries = lay_out(&layout, pool_bytes(EDIT_ENTRY_BYTES, s->flows_max * ENTRIES_PER_FLOW));
    p.blocks = lay_out(&layout, pool_bytes(ENGINE_BLOCK_BYTES, blocks_count(s)));
    p.pieces = lay_out(&layout, pool_bytes(RETAIN_BLOCK_BYTES, pieces_count(s)));
    p.held = lay_out(&layout, pool_bytes(sizeof(struct held), s->held_max));
    p.guarded = lay_out(&layout, pool_bytes(sizeof(struct guarded), s->guarded_max));
    p.guarded_buckets = lay_out(&layout, GUARDED_BUCKETS * sizeof(uint32_t));
    p.events = lay_out(&layout, (EVENTS_MAX + EVENT_ENDS_MAX) * sizeof(struct event));
    p.arena = lay_out(&layout, EVENT_ARENA_BYTES);
    p.tarpits = lay_out(&layout, pool_bytes(sizeof(struct tarpit), s->flows_max));
    p.offers = lay_out(&layout, OFFERS_MAX * sizeof(struct offer));
    if (s->questions) {
        p.inquiries = lay_out(&layout, pool_bytes(sizeof(struct inquiry), s->flows_max));
        p.inquiry_buckets = lay_out(&layout, flow_table_buckets_bytes(s->flows_max));
        p.questions = lay_out(&layout, EVENTS_MAX * sizeof(struct question_entry));
    }
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
    engine->policies[0] = policy;
    flow_table_init(&engine->table, p.flows, p.buckets, settings->flows_max, settings->seed);
    timer_init(&engine->wheel, p.nodes, settings->flows_max);
    pool_init(&engine->entries, p.entries, EDIT_ENTRY_BYTES, settings->flows_max * ENTRIES_PER_FLOW);
    pool_init(&engine->blocks, p.blocks, ENGINE_BLOCK_BYTES, blocks_count(settings));
    pool_init(&engine->pieces, p.pieces, RETAIN_BLOCK_BYTES, pieces_count(settings));
    pool_init(&engine->held, p.held, sizeof(struct held), settings->held_max);
    pool_init(&engine->tarpits, p.tarpits, sizeof(struct tarpit), settings->flows_max);
    if (settings->questions) {
        pool_init(&engine->inquiries, p.inquiries, sizeof(struct inquiry), settings->flows_max);
        engine->inquiry_buckets = p.inquiry_buckets;
        engine->inquiry_mask = (uint32_t)(flow_table_buckets_bytes(settings->flows_max) / sizeof(uint32_t)) - 1;
        engine->questions = p.questions;
    }
    pool_init(&engine->guarded, p.guarded, sizeof(struct guarded), settings->guarded_max);
    engine->guarded_buckets = p.guarded_buckets;
    engine->offers = p.offers;
    engine->events = p.events;
    engine->event_arena = p.arena;
    engine->scratch = p.scratch;
    engine->original = p.original;
    for (uint32_t i = 0; i < settings->ports_count; i++)
        engine->port_bits[settings->ports[i] / 8] |= (uint8_t)(1u << (settings->ports[i] % 8));
    return engine;
}

/* ---- rules ---- */

/* Connections of which nothing is read any more need no rules: they go over to the present ones. */
static void let_go_of(struct engine *engine, uint8_t policy)
{
    for (int class = FLOW_CLASS_CHEAP; class <= FLOW_CLASS_OFFSET; class ++)
        for (uint32_t i = engine->oldest[class]; i != POOL_NONE; i = flow_at(&engine->table, i)->age_newer) {
            struct flow *flow = flow_at(&engine->table, i);
            if (flow->policy != policy || (flow->state == FLOW_OPEN && !flow->smtp.opaque))
                continue;
            engine->policy_flows[policy]--;
            flow->policy = engine->policy;
            engine->policy_flows[engine->policy]++;
        }
}

/* A place for another policy; ENGINE_POLICIES_MAX where there is none. */
static uint8_t free_place(struct engine *engine)
{
    uint8_t place = ENGINE_POLICIES_MAX;
    for (uint8_t i = 0; i < ENGINE_POLICIES_MAX; i++) {
        if (i != engine->policy && engine->policies[i])
            let_go_of(engine, i);
        if (i != engine->policy && engine->policy_flows[i] == 0)
            engine->policies[i] = NULL;
        if (!engine->policies[i])
            place = i;
    }
    return place;
}

bool engine_has_policy_room(struct engine *engine)
{
    return free_place(engine) < ENGINE_POLICIES_MAX;
}

bool engine_use_policy(struct engine *engine, const struct policy *policy)
{
    uint8_t place = free_place(engine);
    if (place == ENGINE_POLICIES_MAX)
        return false;
    engine->policies[place] = policy;
    engine->policy = place;
    return true;
}

bool engine_needs_policy(const struct engine *engine, const struct policy *policy)
{
    if (engine->event_next < engine->event_count)
        return true; /* reasons point into it */
    for (uint8_t i = 0; i < ENGINE_POLICIES_MAX; i++)
        if (engine->policies[i] == policy)
            return i == engine->policy || engine->policy_flows[i] > 0;
    return false;
}

/* ---- packets and time ---- */

void engine_begin_call(struct engine *engine, int64_t now_us)
{
    assert(engine->current.fate == FATE_NONE && engine->before.head == POOL_NONE && engine->after.head == POOL_NONE);
    if (now_us > engine->now_us)
        engine->now_us = now_us;
    engine->counters.events_lost += engine->event_count - engine->event_next;
    engine->event_count = engine->event_next = 0;
    engine->event_arena_used = 0;
    if (engine->now_us >= engine->next_ms_us || engine->wheel.begun) {
        uint64_t ms = engine->now_us > 0 ? (uint64_t)engine->now_us / 1000 : 0;
        timer_advance(&engine->wheel, ms);
        engine->next_ms_us = (int64_t)(ms + 1) * 1000;
    }
}

static bool selected(const struct engine *engine, const struct packet *packet)
{
    const uint8_t *bits = engine->port_bits;
    return (bits[packet->source_port / 8] >> (packet->source_port % 8) & 1) ||
           (bits[packet->destination_port / 8] >> (packet->destination_port % 8) & 1);
}

static enum fate judge_segment(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (packet->flags & PACKET_SYN)
        return lifecycle_syn(engine, index, side, packet);
    switch ((enum flow_state)flow->state) {
    case FLOW_MIDSTREAM:
        return FATE_PASS;
    case FLOW_OPENING:
        if (packet->flags & PACKET_RST && side == SMTP_SERVER) {
            flow->state = FLOW_CLOSED;
            lifecycle_classify(engine, index);
        }
        if (flow->contested && packet->payload_len > 0) {
            engine->counters.bad_syn++;
            return FATE_DROP;
        }
        return FATE_PASS; /* what the peers make of it comes to nothing before both SYNs (case 64) */
    case FLOW_OPEN:
        return segment_take(engine, index, side, packet);
    case FLOW_CLOSED:
        return flow->halves[!side].synchronized && flow->halves[side].synchronized
                   ? segment_take(engine, index, side, packet)
                   : FATE_PASS;
    }
    assert(false);
    return FATE_DROP;
}

static enum fate judge_packet(struct engine *engine, const struct engine_packet *in)
{
    struct current *current = &engine->current;
    struct packet *packet = &current->packet;
    switch (packet_parse(packet, in->bytes, in->len)) {
    case PACKET_OTHER:
        engine->counters.not_tcp++;
        return FATE_PASS;
    case PACKET_FRAGMENT:
        /* Conntrack puts fragments together; where there is none, nobody could say what their receiver reads. */
        engine->counters.fragments_in++;
        return engine->settings.peers == ENGINE_PEERS_RECORDED ? FATE_PASS : FATE_DROP;
    case PACKET_MALFORMED:
        engine->counters.malformed++;
        return FATE_DROP;
    case PACKET_TCP:
        break;
    }
    if (!selected(engine, packet)) {
        engine->counters.not_tcp++;
        return FATE_PASS;
    }
    if (in->checksum == ENGINE_CHECKSUM_UNSEEN && !packet_checksum_good(packet)) {
        engine->counters.bad_checksum++;
        return FATE_DROP;
    }
    uint32_t index = flow_table_find(&engine->table, packet, &current->side);
    if (index != POOL_NONE && lifecycle_begins_anew(flow_at(&engine->table, index), current->side, packet)) {
        lifecycle_end(engine, index, "reused");
        index = POOL_NONE;
    }
    if (index == POOL_NONE && in->marked_offset && !(packet->flags & PACKET_SYN)) {
        /* Nobody knows any more by how much its numbers are to be moved. Its ends give up, and mail is sent again. */
        engine->counters.offset_unknown++;
        return FATE_DROP;
    }
    if (index == POOL_NONE && !lifecycle_begin(engine, packet, &index, &current->side))
        return FATE_PASS;
    current->flow = index;
    flow_at(&engine->table, index)->last_us = engine->now_us;
    return judge_segment(engine, index, current->side, packet);
}

/* Whether what must be held or retained may soon find no room. */
static bool is_scarce(const struct engine *engine)
{
    enum { HELD_PART = 16, PIECES_PART = 4 };
    return pool_free_count(&engine->held) <= engine->settings.held_max / HELD_PART ||
           judge_spare_pieces(engine) <= engine->pieces.count / PIECES_PART;
}

void engine_packet(struct engine *engine, const struct engine_packet *packet, int64_t now_us)
{
    engine_begin_call(engine, now_us);
    engine->counters.packets++;
    if (engine->oldest_tarpit != POOL_NONE && is_scarce(engine))
        tarpit_relieve(engine);
    engine->current.token = packet->token;
    engine->current.checksum_absent = packet->checksum == ENGINE_CHECKSUM_ABSENT;
    engine->current.plain = false;
    engine->current.flow = POOL_NONE;
    enum fate fate = judge_packet(engine, packet);
    engine->current.fate = fate;
}

void engine_tick(struct engine *engine, int64_t now_us)
{
    engine_begin_call(engine, now_us);
    uint32_t index;
    for (int i = 0; i < ENGINE_TICK_FLOWS_MAX && (index = timer_expired(&engine->wheel)) != 0; i++)
        lifecycle_due(engine, index);
}

int64_t engine_next_due(const struct engine *engine)
{
    uint64_t ms = timer_next_ms(&engine->wheel);
    return ms >= INT64_MAX / 1000 ? INT64_MAX : (int64_t)ms * 1000;
}

void engine_stop(struct engine *engine, int64_t now_us)
{
    engine_begin_call(engine, now_us);
    engine->stopping = true;
    for (int class = FLOW_CLASS_CHEAP; class <= FLOW_CLASS_OFFSET; class ++)
        for (uint32_t index = engine->oldest[class], next; index != POOL_NONE; index = next) {
            struct flow *flow = flow_at(&engine->table, index);
            next = flow->age_newer;
            if (flow->halves[SMTP_CLIENT].held == POOL_NONE && flow->halves[SMTP_SERVER].held == POOL_NONE)
                continue;
            segment_release_all(engine, index);
            if (engine->settings.peers == ENGINE_PEERS_RECORDED)
                judge_give_up(engine, index, "packets-missing");
            held_drop_before(engine, &flow->halves[SMTP_CLIENT], INT64_MAX);
            held_drop_before(engine, &flow->halves[SMTP_SERVER], INT64_MAX);
        }
}

/* ---- verdicts ---- */

/* What a verdict says of the flow; what the next process must know of it is kept before the packet leaves. */
static void mark(struct engine *engine, uint32_t index, struct engine_verdict *verdict)
{
    if (verdict->action == ENGINE_DROP)
        return;
    lifecycle_mark(engine, index, verdict);
    const struct flow *flow = flow_at(&engine->table, index);
    if (engine->handover && flow->state != FLOW_MIDSTREAM &&
        (verdict->mark_class == ENGINE_MARK_OFFSET || flow->handover_generation > 0))
        handover_keep(engine, index);
}

static void next_ready(struct engine *engine, struct ready_list *list, struct engine_verdict *verdict)
{
    uint32_t id = list->head;
    const struct held *held = pool_at(&engine->held, id);
    list->head = held->next;
    uint32_t index = held->flow;
    carrier_load_held(engine, held, verdict);
    held_return(engine, id);
    mark(engine, index, verdict);
}

static void next_current(struct engine *engine, struct engine_verdict *verdict)
{
    carrier_load_current(engine, verdict);
    engine->current.fate = FATE_NONE;
    if (engine->current.flow != POOL_NONE)
        mark(engine, engine->current.flow, verdict);
}

bool engine_next_verdict(struct engine *engine, struct engine_verdict *verdict)
{
    if (engine->before.head != POOL_NONE)
        next_ready(engine, &engine->before, verdict);
    else if (engine->current.fate != FATE_NONE)
        next_current(engine, verdict);
    else if (engine->after.head != POOL_NONE)
        next_ready(engine, &engine->after, verdict);
    else
        return false;
    if (verdict->action == ENGINE_DROP)
        engine->counters.dropped++;
    else
        engine->counters.accepted++;
    engine->counters.edited += verdict->edited;
    return true;
}

bool engine_next_event(struct engine *engine, struct event *event)
{
    if (engine->event_next == engine->event_count)
        return false;
    *event = engine->events[engine->event_next++];
    return true;
}

const struct engine_counters *engine_counters(const struct engine *engine)
{
    return &engine->counters;
}

struct engine_gauges engine_gauges(const struct engine *engine)
{
    uint32_t flows_max = engine->settings.flows_max;
    return (struct engine_gauges){
        .flows = engine->table.flows.used,
        .held = engine->held.used,
        .blocks = engine->blocks.used + (engine->pieces.used + JUDGE_PIECES_A_BLOCK - 1) / JUDGE_PIECES_A_BLOCK,
        .tarpitted = engine->tarpitted,
        .flow_bytes = sizeof(struct flow) + sizeof(struct timer_node) +
                      flow_table_buckets_bytes(flows_max) / (flows_max ? flows_max : 1) +
                      (size_t)ENTRIES_PER_FLOW * EDIT_ENTRY_BYTES,
    };
}
