#include "engine/lifecycle.h"

#include "engine/budget.h"
#include "engine/client.h"
#include "engine/guard.h"
#include "engine/handover.h"
#include "engine/handshake.h"
#include "engine/held.h"
#include "engine/inquiry.h"
#include "engine/judge.h"
#include "engine/message.h"
#include "engine/names.h"
#include "engine/promise.h"
#include "engine/room.h"
#include "engine/tarpit.h"
#include "engine/tell.h"

/* How long a flow is kept after its last packet, in seconds, where settings do not say. */
enum {
    OPENING_S = 75,
    CLOSED_S = 60,
    CLOSING_S = 300, /* a server that has closed sends it again at least every two minutes, or has given up */
    MIDSTREAM_S = 600,
};

static bool port_selected(const struct engine *engine, uint16_t port)
{
    return engine->port_bits[port / 8] >> (port % 8) & 1;
}

static bool has_two_fins(const struct flow *flow)
{
    return flow->halves[SMTP_CLIENT].closed && flow->halves[SMTP_SERVER].closed;
}

/*
 * Who has read all that a server had to say, and that it has closed, has no more mail to lose, nor to send again.
 * Anybody could fill the table with such connections, by QUIT and never a FIN of his own, if promises kept them in it.
 */
static enum flow_class class_of(const struct flow *flow)
{
    bool over = flow->heard_out || (flow->state == FLOW_CLOSED && !has_two_fins(flow));
    if (flow->state == FLOW_MIDSTREAM && flow->answered)
        return FLOW_CLASS_PLAIN; /* without marks it comes here again, and is to pass */
    if (flow->state == FLOW_MIDSTREAM || flow->state == FLOW_OPENING || !flow->answered || over)
        return FLOW_CLASS_CHEAP;
    return flow->promises ? FLOW_CLASS_PROMISED : FLOW_CLASS_PLAIN;
}

static int64_t idle_us(const struct engine *engine, const struct flow *flow)
{
    int64_t seconds = engine->settings.idle_s;
    switch ((enum flow_state)flow->state) {
    case FLOW_OPENING:
        seconds = OPENING_S;
        break;
    case FLOW_OPEN:
        if (!flow->answered) {
            seconds = OPENING_S; /* a server gives up after about a minute */
            break;
        }
        if (flow->halves[SMTP_SERVER].closed) {
            seconds = CLOSING_S;
            break;
        }
        seconds = flow->promises & PROMISE_OFFSET ? engine->settings.offset_idle_s : engine->settings.idle_s;
        break;
    case FLOW_CLOSED:
        /* A reset may not have arrived, or may be challenged: only two FINs are sure. */
        if (has_two_fins(flow))
            seconds = flow->heard_out ? CLOSED_S : CLOSING_S;
        break;
    case FLOW_MIDSTREAM:
        seconds = MIDSTREAM_S;
        break;
    }
    return seconds * 1000000;
}

static void tell_end(struct engine *engine, struct flow *flow, const char *reason)
{
    handshake_end(engine, flow);
    if (!flow->owes_end)
        return;
    engine->counters.flows_ended++;
    enum engine_outcome outcome = flow->outcome;
    if (flow->reset && outcome < ENGINE_OUTCOME_RESET)
        outcome = ENGINE_OUTCOME_RESET;
    engine->sessions.ended[flow->facts.direction][outcome][flow->encrypted]++;
    struct event *event = tell_break(engine, EVENT_FLOW_END, flow, reason);
    flow->owes_end = false;
    if (!event)
        return;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        event->offset[side] = edit_offset(&flow->halves[side].log);
}

void lifecycle_classify(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->state == FLOW_OPEN && has_two_fins(flow)) {
        flow->state = FLOW_CLOSED;
        tell_end(engine, flow, "closed");
        smtp_session_fini(&flow->smtp, &engine->blocks); /* nothing is read any more */
        message_forget(engine, flow);
    } else if (flow->state == FLOW_CLOSED) {
        tell_end(engine, flow, "reset");
    }
    flow->promises = (uint8_t)promise_of(flow);
    enum flow_class class = class_of(flow);
    if (class != flow->age_class) {
        room_unlink(engine, index);
        room_link(engine, index, class);
    }
}

/* ---- deadlines ---- */

/* Microseconds to the millisecond that is not before them. */
static uint64_t to_ms(int64_t us)
{
    return us <= 0 ? 0 : ((uint64_t)us + 999) / 1000;
}

static int64_t deadline_us(const struct engine *engine, uint32_t index)
{
    const struct flow *flow = flow_at(&engine->table, index);
    int64_t due = flow->last_us + idle_us(engine, flow);
    due = tarpit_due_us(engine, flow) < due ? tarpit_due_us(engine, flow) : due;
    if (flow->await_due_us && flow->await_due_us < due)
        due = flow->await_due_us;
    int64_t handshake_us = handshake_due_us(engine, flow);
    due = handshake_us < due ? handshake_us : due;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        if (flow->line_due_us[side] && flow->line_due_us[side] < due)
            due = flow->line_due_us[side];
        if (flow->halves[side].held == POOL_NONE)
            continue; /* as nearly always */
        int64_t probe_us = held_probe_due_us(engine, index, (enum smtp_side)side);
        due = probe_us < due ? probe_us : due;
        for (uint32_t id = flow->halves[side].held; id != POOL_NONE;) {
            const struct held *held = pool_at(&engine->held, id);
            int64_t held_due = held->kept ? INT64_MAX : held->since_us + (int64_t)engine->settings.order_hold_ms * 1000;
            due = held_due < due ? held_due : due;
            id = held->next;
        }
    }
    return due;
}

void lifecycle_arm(struct engine *engine, uint32_t index)
{
    uint64_t due = to_ms(deadline_us(engine, index));
    if (due < timer_due_ms(&engine->wheel, index))
        timer_set(&engine->wheel, index, due);
}

/* Whether a connection that was read may go on once it is forgotten. */
static bool may_go_on(const struct flow *flow)
{
    return flow->state != FLOW_MIDSTREAM && !has_two_fins(flow);
}

bool lifecycle_is_idle(const struct engine *engine, const struct flow *flow)
{
    return flow->last_us + idle_us(engine, flow) <= engine->now_us;
}

void lifecycle_expire(struct engine *engine, uint32_t index)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (engine->before.head != POOL_NONE) { /* packets of it may be about to leave */
        timer_set(&engine->wheel, index, engine->wheel.now_ms + 1);
        return;
    }
    /* Of one that the client never answered, the server has given up by now. */
    engine->forgetful = engine->forgetful || (flow->answered && may_go_on(flow));
    lifecycle_end(engine, index, "timeout");
}

/* ---- what may pass without the engine ---- */

/* Nothing waits, and all that left otherwise than it came was acknowledged: no resend needs to be rebuilt. */
static bool is_settled(const struct half *half)
{
    return half->held == POOL_NONE && half->retained.len == 0 && half->log.head == POOL_NONE;
}

static bool may_pass_by(const struct engine *engine, const struct flow *flow)
{
    return flow->state == FLOW_OPEN && flow->smtp.opaque && !flow->smtp.tls_awaited && !flow->reset &&
           flow->handshake == POOL_NONE && engine->after.head == POOL_NONE && is_settled(&flow->halves[SMTP_CLIENT]) &&
           is_settled(&flow->halves[SMTP_SERVER]);
}

static enum engine_mark_class mark_class_of(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->state != FLOW_MIDSTREAM && flow->promises) {
        flow->marked_s = flow->marked_s ? flow->marked_s : engine_seconds(engine);
        flow->marked = true;
        return ENGINE_MARK_PROMISED;
    }
    flow->marked_s = 0;
    if (engine->settings.release && may_pass_by(engine, flow)) {
        engine->counters.flows_released++;
        tell_end(engine, flow, "released");
        flow->state = FLOW_MIDSTREAM;
        handover_forget(engine, index);
        flow->changed = true;
    }
    /* A packet of the client's alone is no proof of an older connection: the next one may be a SYN. */
    if (engine->settings.release && flow->state == FLOW_MIDSTREAM && flow->answered)
        return ENGINE_MARK_RELEASED;
    return flow->marked ? ENGINE_MARK_KEPT : ENGINE_MARK_NONE;
}

void lifecycle_mark(struct engine *engine, uint32_t index, struct engine_verdict *verdict)
{
    verdict->mark_class = mark_class_of(engine, index);
    verdict->mark = flow_at(&engine->table, index)->mark;
}

/* ---- beginning and end ---- */

void lifecycle_end(struct engine *engine, uint32_t index, const char *reason)
{
    struct flow *flow = flow_at(&engine->table, index);
    uint16_t network = engine->room.network;
    room_turn_to(engine, index);
    tarpit_forget(engine, index);
    if (flow->state == FLOW_OPEN)
        tell_end(engine, flow, reason);
    handshake_end(engine, flow);
    inquiry_end(engine, index);
    guard_forget(engine, index);
    handover_forget(engine, index);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        budget_reserve(engine, flow, (enum smtp_side)side, 0);
        held_drop_before(engine, &flow->halves[side], INT64_MAX);
        half_clear(&flow->halves[side], &engine->entries, &engine->pieces);
    }
    smtp_session_fini(&flow->smtp, &engine->blocks);
    message_forget(engine, flow);
    client_forget(engine, flow);
    engine->policy_flows[flow->policy]--;
    timer_clear(&engine->wheel, index);
    room_unlink(engine, index);
    flow_table_remove(&engine->table, index);
    if (network != engine->room.network)
        room_change_network(engine, network);
}

/* Forget the oldest flow of a network and class; false where there is none. */
static bool evict_oldest(struct engine *engine, uint16_t network, enum flow_class flow_class)
{
    uint32_t oldest = engine->room.flows[network][flow_class].oldest;
    if (oldest == POOL_NONE)
        return false;
    engine->counters.flows_evicted++;
    engine->forgetful = engine->forgetful || may_go_on(flow_at(&engine->table, oldest));
    lifecycle_end(engine, oldest, "evicted");
    return true;
}

/*
 * Forget the flow that is missed least, of those of the network that has most of them. False where only flows that were
 * promised something are left.
 */
static bool make_room(struct engine *engine)
{
    const struct share *share = &engine->room.share;
    return evict_oldest(engine, share_greediest(share, ROOM_CHEAP), FLOW_CLASS_CHEAP) ||
           evict_oldest(engine, share_greediest(share, ROOM_PLAIN), FLOW_CLASS_PLAIN);
}

/* Whether a network may have one flow more; where it has its share, one of its own makes room. */
static bool may_add(struct engine *engine, uint16_t network)
{
    if (room_allows_flow(engine, network))
        return true;
    engine->counters.shares_used_up++;
    return evict_oldest(engine, network, FLOW_CLASS_CHEAP) || evict_oldest(engine, network, FLOW_CLASS_PLAIN);
}

static uint32_t add_flow(struct engine *engine, const struct packet *packet, enum smtp_side side, enum flow_state state)
{
    struct span client = side == SMTP_CLIENT ? packet_source(packet) : packet_destination(packet);
    uint16_t network = share_network(&engine->room.share, packet->ip_version, client.ptr);
    if (!may_add(engine, network))
        return POOL_NONE;
    uint32_t index = flow_table_add(&engine->table, packet, side);
    if (index == POOL_NONE && make_room(engine))
        index = flow_table_add(&engine->table, packet, side);
    if (index == POOL_NONE)
        return POOL_NONE;
    struct flow *flow = flow_at(&engine->table, index);
    flow->id = ++engine->flow_ids;
    flow->network = network;
    flow->policy = engine->policy & 15u;
    engine->policy_flows[flow->policy]++;
    flow->state = state & 3u;
    flow->last_us = engine->now_us;
    room_link(engine, index, FLOW_CLASS_CHEAP);
    flow->changed = true;
    return index;
}

/*
 * A flow that is followed ends by what both ends do, never by a SYN alone, which may be answered with a challenge or
 * not at all (see `reopen`). One that is not followed hides nothing: a SYN in it is better followed.
 */
bool lifecycle_begins_anew(const struct flow *flow, enum smtp_side side, const struct packet *packet)
{
    if (side != SMTP_CLIENT || (packet->flags & (PACKET_SYN | PACKET_ACK)) != PACKET_SYN)
        return false;
    bool followed = flow->halves[SMTP_CLIENT].synchronized && flow->halves[SMTP_SERVER].synchronized;
    return flow->state == FLOW_MIDSTREAM || (flow->state == FLOW_CLOSED && !followed);
}

/* A SYN-ACK whose SYN is not known any more: it says what that was, but for how far the client's windows are scaled. */
static void begin_at_answer(struct flow *flow, const struct packet *packet)
{
    struct half *client = &flow->halves[SMTP_CLIENT];
    half_start(client, (struct half_syn){.isn = packet->ack - 1, .window_scaled = packet->window_scaled});
    client->shielded = packet->protected || packet->mptcp_at;
}

/* A connection that is older than the filter, for none that may go on was forgotten since it began. */
static void begin_midstream(struct engine *engine, struct flow *flow)
{
    engine->counters.flows_midstream++;
    flow->told_unedited = true;
    struct event *event = tell(engine, EVENT_UNEDITED, flow);
    if (event)
        event->reason = "midstream";
}

enum fate lifecycle_begin(struct engine *engine, const struct packet *packet, bool promised, uint32_t *index,
                          enum smtp_side *side)
{
    bool to_server = port_selected(engine, packet->destination_port);
    bool may_drop = engine->settings.peers == ENGINE_PEERS_LIVE && !engine->settings.pass_on_overload;
    if (packet->flags & PACKET_RST && !promised)
        return FATE_PASS;
    *side = to_server ? SMTP_CLIENT : SMTP_SERVER;
    bool asks = (packet->flags & (PACKET_SYN | PACKET_ACK)) == PACKET_SYN;
    bool answers = packet->flags & PACKET_SYN && !asks && !to_server;
    if (asks && !to_server)
        return FATE_PASS; /* a connection from an SMTP port to some other: not SMTP */
    if (!asks && !answers && !promised && engine_forgets(engine)) {
        engine->counters.connection_unknown++;
        return FATE_DROP; /* it may have begun under our eyes: it ends, and mail is sent again */
    }
    enum flow_state begins = promised ? FLOW_CLOSED : FLOW_MIDSTREAM;
    *index = add_flow(engine, packet, *side, asks || answers ? FLOW_OPENING : begins);
    if (*index == POOL_NONE) {
        engine->counters.unplaced += !promised;
        return may_drop || promised ? FATE_DROP : FATE_PASS;
    }
    if (promised) /* nobody knows what: it is to be reset, by the next process too */
        flow_at(&engine->table, *index)->reset = FLOW_RESET_LOST;
    else if (answers)
        begin_at_answer(flow_at(&engine->table, *index), packet);
    else if (!asks)
        begin_midstream(engine, flow_at(&engine->table, *index));
    return FATE_NONE;
}

uint32_t lifecycle_take_over(struct engine *engine, const struct packet *ends, bool closed, int64_t last_us)
{
    uint32_t index = add_flow(engine, ends, SMTP_CLIENT, closed ? FLOW_CLOSED : FLOW_OPEN);
    if (index == POOL_NONE)
        return POOL_NONE;
    struct flow *flow = flow_at(&engine->table, index);
    flow->last_us = last_us < engine->now_us ? last_us : engine->now_us;
    flow->answered = true;
    engine->counters.flows_taken_over++;
    return index;
}

static bool begins_with_tls(const struct engine *engine, const struct flow *flow)
{
    for (uint32_t i = 0; engine->settings.tls_ports >> i; i++)
        if (engine->settings.tls_ports >> i & 1 && engine->settings.ports[i] == flow->ends[SMTP_SERVER].port)
            return !flow->reset;
    return false;
}

/* Both SYNs are known: the connection is followed from here on. */
static void open_flow(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *client = &flow->halves[SMTP_CLIENT];
    struct half *server = &flow->halves[SMTP_SERVER];
    if (!client->window_scaled || !server->window_scaled)
        client->window_shift = server->window_shift = 0;
    flow->state = FLOW_OPEN;
    smtp_session_init(&flow->smtp);
    engine->counters.flows_created++;
    tell(engine, EVENT_FLOW_START, flow);
    flow->owes_end = true;
    judge_connect(engine, index);
    if (begins_with_tls(engine, flow))
        judge_tls(engine, index);
    flow->changed = true;
}

/* A signature covers the segments, or only some of them cross here (MPTCP): not followed. */
static enum fate leave_alone(struct engine *engine, struct flow *flow)
{
    flow->state = FLOW_MIDSTREAM;
    if (!flow->told_unedited) {
        flow->told_unedited = true;
        engine->counters.flows_unedited++;
        struct event *event = tell(engine, EVENT_UNEDITED, flow);
        if (event)
            event->reason = "protected";
    }
    return FATE_PASS;
}

/*
 * A SYN as it leaves: octets in it come again in a segment of their own (RFC 7413 4.2.2: the server acknowledges none),
 * and MPTCP is not offered where the rules say so.
 */
static enum fate syn_leaves(const struct engine *engine, struct packet *packet)
{
    enum fate fate = FATE_PASS;
    if (packet->payload_len > 0) {
        packet_set_payload_len(packet, 0);
        fate = FATE_EDITED;
    }
    if (packet->mptcp_at && engine->settings.strip_mptcp) {
        packet_blank_option(packet, packet->mptcp_at);
        fate = FATE_EDITED;
    }
    return fate;
}

/* The server acknowledged the other SYN: what follows is a connection of its own (case 65). */
static enum fate reopen(struct engine *engine, uint32_t index, struct packet *packet)
{
    struct half_syn syn = flow_at(&engine->table, index)->reopen;
    lifecycle_end(engine, index, "reopened");
    index = add_flow(engine, packet, SMTP_SERVER, FLOW_OPENING);
    engine->current.flow = index;
    if (index == POOL_NONE)
        return FATE_PASS;
    struct flow *flow = flow_at(&engine->table, index);
    half_start(&flow->halves[SMTP_CLIENT], syn);
    half_start(&flow->halves[SMTP_SERVER], half_syn_of(packet));
    open_flow(engine, index);
    return syn_leaves(engine, packet);
}

/* A SYN into an open connection: the old one repeated, or its sender knows nothing of the connection any more. */
static enum fate syn_into_open(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool answers = packet->flags & PACKET_ACK;
    /* The SYN that opened the connection may come again, late; any other may open the next one. */
    if (side == SMTP_CLIENT && !answers && packet->seq != flow->halves[SMTP_CLIENT].isn) {
        flow->reopening = true;
        flow->reopen = half_syn_of(packet);
    } else if (side == SMTP_SERVER && answers && flow->reopening && packet->ack == flow->reopen.isn + 1) {
        return reopen(engine, index, packet);
    }
    return syn_leaves(engine, packet);
}

enum fate lifecycle_syn(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    struct half *other = &flow->halves[!side];
    if (flow->state == FLOW_MIDSTREAM)
        return FATE_PASS;
    if (flow->state != FLOW_OPENING)
        return syn_into_open(engine, index, side, packet);
    if (packet->flags & PACKET_ACK && (!other->synchronized || packet->ack != other->log.end)) {
        flow->contested = true;
        engine->counters.bad_syn++;
        return FATE_DROP;
    }
    half_start(half, half_syn_of(packet));
    half->shielded = packet->protected || (packet->mptcp_at && !engine->settings.strip_mptcp);
    if (half->shielded && other->shielded)
        return leave_alone(engine, flow);
    if (other->synchronized)
        open_flow(engine, index);
    return syn_leaves(engine, packet);
}
