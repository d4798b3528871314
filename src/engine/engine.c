#include "engine/engine.h"

#include <stdalign.h>

#include "engine/carrier.h"
#include "engine/held.h"
#include "engine/inquiry.h"
#include "engine/judge.h"
#include "engine/lifecycle.h"
#include "engine/names.h"
#include "engine/progress.h"
#include "engine/relief.h"
#include "engine/room.h"
#include "engine/segment.h"
#include "engine/tarpit.h"
#include "engine/tell.h"

/* ---- packets and time ---- */

/* The time of a call; what the last one left unfetched of its events is lost. */
static void begin_call(struct engine *engine, int64_t now_us)
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
    if (flow->state == FLOW_OPENING && engine->current.marked) {
        /* Nothing was promised to what begins: a SYN, which anybody can forge, hides an older connection. */
        flow->state = FLOW_CLOSED;
        flow->reset = FLOW_RESET_LOST;
        flow->changed = true;
    }
    if (flow->reset == FLOW_RESET_LOST)
        return segment_reset_lost(engine, index, side, packet);
    flow->marked = flow->marked || engine->current.marked;
    if (packet->flags & PACKET_SYN)
        return lifecycle_syn(engine, index, side, packet);
    switch ((enum flow_state)flow->state) {
    case FLOW_MIDSTREAM:
        if (!flow->answered && side == SMTP_SERVER && !(packet->flags & PACKET_RST)) {
            flow->answered = true;
            flow->changed = true;
        }
        return FATE_PASS;
    case FLOW_OPENING:
        /* A reset, too: it may be the answer to what came before the SYN, and then the client will not look at it. */
        if (packet->payload_len > 0 && (flow->contested || engine_forgets(engine))) {
            /* Of the connection that another SYN has begun, which may be one that was forgotten. */
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

/*
 * Whether the kernel's rules know of marks: what was queued before a mark was set comes without it for a while; and
 * what comes behind a reset is INVALID to conntrack, which then has no mark for it. A SYN may belong to the next
 * connection.
 */
static void note_mark(struct engine *engine, uint32_t index, bool marked)
{
    enum { QUEUED_S = 5 };
    const struct flow *flow = flow_at(&engine->table, index);
    bool *seen = &engine->marks_seen[flow->ip_version == 6];
    *seen = *seen || marked;
    if (flow->in_doubt)
        segment_end_doubt(engine, index, marked);
    bool open = flow->state == FLOW_OPEN && !flow->reset;
    if (open && flow->marked_s && !marked && engine_seconds(engine) - flow->marked_s > QUEUED_S) {
        engine->counters.promises_unmarked++;
        *seen = false;
    }
}

/*
 * A packet of no known connection. Of one that began on another gateway nobody knows what was promised to it, so it is
 * reset; but not for an acknowledgment: it may be one of nothing, and who is there will send more.
 */
static enum fate begin_flow(struct engine *engine, const struct engine_packet *in, uint32_t *index)
{
    struct current *current = &engine->current;
    bool opens = current->packet.flags & PACKET_SYN;
    bool elsewhere = in->marked_elsewhere && !opens && !engine->policies[engine->policy]->dry_run;
    if (elsewhere && packet_seq_len(&current->packet) == 0) {
        engine->counters.connection_unknown++;
        return FATE_DROP;
    }
    return lifecycle_begin(engine, &current->packet, current->marked || elsewhere, index, &current->side);
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
    bool opens = packet->flags & PACKET_SYN;
    current->marked = in->marked_promised && !opens;
    if (index == POOL_NONE) {
        enum fate fate = begin_flow(engine, in, &index);
        if (fate != FATE_NONE)
            return fate;
    }
    current->flow = index;
    room_turn_to(engine, index);
    if (packet_seq_len(packet) > 0)
        relief_look(engine, index);
    if (!opens)
        note_mark(engine, index, in->marked_promised || in->marked_elsewhere);
    flow_at(&engine->table, index)->last_us = engine->now_us;
    return judge_segment(engine, index, current->side, packet);
}

void engine_packet(struct engine *engine, const struct engine_packet *packet, int64_t now_us)
{
    begin_call(engine, now_us);
    engine->counters.packets++;
    engine->current.token = packet->token;
    engine->current.checksum_absent = packet->checksum == ENGINE_CHECKSUM_ABSENT;
    engine->current.plain = engine->current.settles = false;
    engine->current.flow = POOL_NONE;
    enum fate fate = judge_packet(engine, packet);
    if (engine->current.flow == POOL_NONE)
        engine->current.fate = fate;
    else
        progress_packet(engine, engine->current.flow, fate);
}

void engine_tick(struct engine *engine, int64_t now_us)
{
    begin_call(engine, now_us);
    uint32_t index;
    for (int i = 0; i < ENGINE_TICK_FLOWS_MAX && (index = timer_expired(&engine->wheel)) != 0; i++)
        progress_due(engine, index);
}

int64_t engine_next_due(const struct engine *engine)
{
    uint64_t ms = timer_next_ms(&engine->wheel);
    return ms >= INT64_MAX / 1000 ? INT64_MAX : (int64_t)ms * 1000;
}

static bool has_held(const struct flow *flow)
{
    return flow->halves[SMTP_CLIENT].held != POOL_NONE || flow->halves[SMTP_SERVER].held != POOL_NONE;
}

/*
 * What waits in a connection leaves in its last form, for what comes will pass without the filter; but where something
 * was promised, a line that waits is left to whoever keeps the promise: its sender sends it again.
 */
static void stop_flow(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    room_turn_to(engine, index);
    if (engine->settings.peers == ENGINE_PEERS_RECORDED) {
        judge_release(engine, index);
        progress(engine, index);
        if (has_held(flow))
            judge_give_up(engine, index, "packets-missing");
    } else if (flow->promises == 0) {
        judge_release(engine, index);
    } else if (tarpit_due_us(engine, flow) != INT64_MAX) {
        tarpit_end(engine, index, TARPIT_END_STOPPED);
    }
    progress(engine, index);
    held_drop_all(engine, flow);
}

/* Of a message that is still coming it is told how much has come: nobody else will. */
static void tell_unfinished(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->smtp.opaque || !flow->owes_end || smtp_session_payload(&flow->smtp) == SMTP_VERB_UNKNOWN)
        return;
    struct event *event = tell_break(engine, EVENT_PAYLOAD, flow, "");
    if (event)
        event->unfinished = true;
}

void engine_stop(struct engine *engine, int64_t now_us)
{
    begin_call(engine, now_us);
    engine->stopping = true;
    for (uint32_t index = room_first(engine), next; index != POOL_NONE; index = next) {
        const struct flow *flow = flow_at(&engine->table, index);
        next = room_next(engine, index);
        if (has_held(flow))
            stop_flow(engine, index);
        tell_unfinished(engine, index);
    }
}

void engine_answer(struct engine *engine, uint64_t id, struct finding finding, int64_t now_us)
{
    begin_call(engine, now_us);
    uint32_t index = inquiry_answer(engine, id, &finding);
    if (index != POOL_NONE)
        progress(engine, index);
}

bool engine_next_name_query(struct engine *engine, struct engine_name_query *query)
{
    return names_next(engine, query);
}

void engine_name(struct engine *engine, const struct engine_name_query *query, struct span name, int64_t now_us)
{
    begin_call(engine, now_us);
    if (names_take(engine, query, name) && inquiry_name_known(engine, query->flow_place))
        progress(engine, query->flow_place);
}

/* ---- taking over ---- */

/* False where there is no room for the connection of this record. */
static bool take_over(struct engine *engine, const struct record *record)
{
    uint8_t addresses[32];
    struct handover_flow known = handover_flow(record);
    uint16_t len = known.ip_version == 4 ? 4 : 16;
    memcpy(addresses, known.ends[SMTP_CLIENT].address, len);
    memcpy(addresses + len, known.ends[SMTP_SERVER].address, len);
    struct packet packet = {
        .bytes = addresses,
        .len = 2u * len,
        .ip_version = known.ip_version,
        .address_len = len,
        .source_port = known.ends[SMTP_CLIENT].port,
        .destination_port = known.ends[SMTP_SERVER].port,
    };
    enum smtp_side sender;
    if (flow_table_find(&engine->table, &packet, &sender) != POOL_NONE)
        return true; /* a damaged file may name one twice */
    uint32_t index = lifecycle_take_over(engine, &packet, known.closed, known.last_us);
    if (index == POOL_NONE)
        return false;
    room_turn_to(engine, index);
    if (!handover_restore(engine, index, record)) {
        lifecycle_end(engine, index, "evicted");
        return false;
    }
    progress(engine, index);
    handover_keep(engine, index);
    return true;
}

struct handover_result engine_take_over(struct engine *engine, const void *memory, size_t len, int64_t now_us)
{
    struct handover_result result = {0};
    engine->now_us = now_us > engine->now_us ? now_us : engine->now_us;
    for (size_t at = 0; len - at >= HANDOVER_PLACE_BYTES; at += HANDOVER_PLACE_BYTES) {
        alignas(8) uint8_t place[HANDOVER_PLACE_BYTES];
        bool damaged;
        memcpy(place, (const uint8_t *)memory + at, sizeof place);
        const struct record *newest = handover_newest(place, &damaged);
        result.damaged += damaged;
        if (newest && !take_over(engine, newest))
            result.left++;
        else if (newest && handover_flow(newest).reset)
            result.reset++;
        else if (newest)
            result.taken++;
    }
    return result;
}

/* ---- verdicts ---- */

/* What a verdict says of the flow; what the next process must know of it is kept before the packet leaves. */
static void mark(struct engine *engine, uint32_t index, struct engine_verdict *verdict)
{
    if (verdict->action == ENGINE_DROP)
        return;
    lifecycle_mark(engine, index, verdict);
    progress(engine, index);
    if (!engine->handover)
        return;
    const struct flow *flow = flow_at(&engine->table, index);
    if (flow->state != FLOW_MIDSTREAM && flow->promises)
        handover_keep(engine, index);
    else
        handover_forget(engine, index);
}

static void next_ready(struct engine *engine, struct ready_list *list, struct engine_verdict *verdict)
{
    uint32_t id = list->head;
    const struct held *held = pool_at(&engine->held, id);
    list->head = held->next;
    uint32_t index = held->flow;
    uint16_t network = engine->room.network; /* of the current packet, which may be next */
    room_turn_to(engine, index);
    carrier_load_held(engine, held, verdict);
    held_return(engine, id);
    if (network != engine->room.network)
        room_change_network(engine, network);
    mark(engine, index, verdict);
}

static void next_current(struct engine *engine, struct engine_verdict *verdict)
{
    const struct current *current = &engine->current;
    struct cut cut = {0};
    if (current->fate >= FATE_CARRY)
        cut = segment_cut(engine, flow_at(&engine->table, current->flow), current->side);
    carrier_load_current(engine, cut, verdict);
    engine->current.fate = FATE_NONE;
    if (current->flow != POOL_NONE)
        mark(engine, current->flow, verdict);
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

bool engine_next_question(struct engine *engine, struct question *question)
{
    return inquiry_next(engine, question);
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

const struct engine_sessions *engine_sessions(const struct engine *engine)
{
    return &engine->sessions;
}
