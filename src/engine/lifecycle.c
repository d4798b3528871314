#include "engine/state.h"

/* How long a flow is kept after its last packet, in seconds, where settings do not say. */
enum {
    OPENING_S = 75,
    CLOSED_S = 60,
    MIDSTREAM_S = 600,
};

static bool port_selected(const struct engine *engine, uint16_t port)
{
    return engine->port_bits[port / 8] >> (port % 8) & 1;
}

/* ---- age: which flow is forgotten first ---- */

static void age_unlink(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->age_older)
        flow_at(&engine->table, flow->age_older)->age_newer = flow->age_newer;
    else
        engine->oldest[flow->age_class] = flow->age_newer;
    if (flow->age_newer)
        flow_at(&engine->table, flow->age_newer)->age_older = flow->age_older;
    else
        engine->newest[flow->age_class] = flow->age_older;
}

static void age_link(struct engine *engine, uint32_t index, enum flow_class class)
{
    struct flow *flow = flow_at(&engine->table, index);
    flow->age_class = (uint8_t) class;
    flow->age_newer = POOL_NONE;
    flow->age_older = engine->newest[class];
    if (flow->age_older)
        flow_at(&engine->table, flow->age_older)->age_newer = index;
    else
        engine->oldest[class] = index;
    engine->newest[class] = index;
}

static bool has_offset(const struct flow *flow)
{
    return edit_offset(&flow->halves[SMTP_CLIENT].log) != 0 || edit_offset(&flow->halves[SMTP_SERVER].log) != 0;
}

static enum flow_class class_of(const struct flow *flow)
{
    if (flow->state != FLOW_OPEN || !flow->answered)
        return FLOW_CLASS_CHEAP;
    if (has_offset(flow))
        return FLOW_CLASS_OFFSET;
    return FLOW_CLASS_PLAIN;
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
        seconds = class_of(flow) == FLOW_CLASS_OFFSET ? engine->settings.offset_idle_s : engine->settings.idle_s;
        break;
    case FLOW_CLOSED:
        /* A reset may not have arrived, or may be challenged: only two FINs are sure. */
        if (flow->halves[SMTP_CLIENT].closed && flow->halves[SMTP_SERVER].closed)
            seconds = CLOSED_S;
        break;
    case FLOW_MIDSTREAM:
        seconds = MIDSTREAM_S;
        break;
    }
    return seconds * 1000000;
}

static void tell_end(struct engine *engine, struct flow *flow, const char *reason)
{
    if (!flow->owes_end)
        return;
    engine->counters.flows_ended++;
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
    if (flow->state == FLOW_OPEN && flow->halves[SMTP_CLIENT].closed && flow->halves[SMTP_SERVER].closed) {
        flow->state = FLOW_CLOSED;
        tell_end(engine, flow, "closed");
    } else if (flow->state == FLOW_CLOSED) {
        tell_end(engine, flow, "reset");
    }
    enum flow_class class = class_of(flow);
    if (class != flow->age_class) {
        age_unlink(engine, index);
        age_link(engine, index, class);
    }
    lifecycle_arm(engine, index);
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
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        if (flow->line_due_us[side] && flow->line_due_us[side] < due)
            due = flow->line_due_us[side];
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

void lifecycle_due(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (tarpit_due_us(engine, flow) <= engine->now_us)
        tarpit_end(engine, index, TARPIT_END_TIME);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        if (flow->line_due_us[side] && flow->line_due_us[side] <= engine->now_us) {
            judge_feed(engine, index, (enum smtp_side)side, (struct span){0}, true);
            segment_settle(engine, index, (enum smtp_side)side);
        }
        if (held_probe_due_us(engine, index, (enum smtp_side)side) <= engine->now_us)
            held_probe(engine, index, (enum smtp_side)side);
        /* Packets whose gap did not fill in time: their sender sends them again. */
        int64_t stale_us = engine->now_us - (int64_t)engine->settings.order_hold_ms * 1000;
        engine->counters.stale += held_drop_before(engine, &flow->halves[side], stale_us);
    }
    if (flow->last_us + idle_us(engine, flow) > engine->now_us)
        lifecycle_arm(engine, index);
    else if (engine->before.head == POOL_NONE)
        lifecycle_end(engine, index, "timeout");
    else
        timer_set(&engine->wheel, index, engine->wheel.now_ms + 1); /* packets of it may be about to leave */
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
           engine->after.head == POOL_NONE && is_settled(&flow->halves[SMTP_CLIENT]) &&
           is_settled(&flow->halves[SMTP_SERVER]);
}

static enum engine_mark_class mark_class_of(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->state != FLOW_MIDSTREAM && has_offset(flow))
        return ENGINE_MARK_OFFSET;
    if (!engine->settings.release)
        return ENGINE_MARK_NONE;
    if (may_pass_by(engine, flow)) {
        engine->counters.flows_released++;
        tell_end(engine, flow, "released");
        flow->state = FLOW_MIDSTREAM;
        handover_forget(engine, index);
        lifecycle_classify(engine, index);
    }
    return flow->state == FLOW_MIDSTREAM ? ENGINE_MARK_RELEASED : ENGINE_MARK_NONE;
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
    tarpit_forget(engine, index);
    if (flow->state == FLOW_OPEN)
        tell_end(engine, flow, reason);
    question_end(engine, index);
    guard_forget(engine, index);
    handover_forget(engine, index);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        engine->waiting_count -= flow->line_due_us[side] != 0;
        held_drop_before(engine, &flow->halves[side], INT64_MAX);
        half_clear(&flow->halves[side], &engine->entries, &engine->pieces);
    }
    smtp_session_fini(&flow->smtp, &engine->blocks);
    message_forget(engine, flow);
    engine->policy_flows[flow->policy]--;
    timer_clear(&engine->wheel, index);
    age_unlink(engine, index);
    flow_table_remove(&engine->table, index);
}

/* Forget the flow that is missed least; false where only flows with an offset are left. */
static bool make_room(struct engine *engine)
{
    for (int class = FLOW_CLASS_CHEAP; class <= FLOW_CLASS_PLAIN; class ++)
        if (engine->oldest[class] != POOL_NONE) {
            engine->counters.flows_evicted++;
            lifecycle_end(engine, engine->oldest[class], "evicted");
            return true;
        }
    return false;
}

static uint32_t add_flow(struct engine *engine, const struct packet *packet, enum smtp_side side, enum flow_state state)
{
    uint32_t index = flow_table_add(&engine->table, packet, side);
    if (index == POOL_NONE && make_room(engine))
        index = flow_table_add(&engine->table, packet, side);
    if (index == POOL_NONE)
        return POOL_NONE;
    struct flow *flow = flow_at(&engine->table, index);
    flow->id = ++engine->flow_ids;
    flow->policy = engine->policy;
    engine->policy_flows[flow->policy]++;
    flow->state = (uint8_t)state;
    flow->last_us = engine->now_us;
    age_link(engine, index, FLOW_CLASS_CHEAP);
    lifecycle_arm(engine, index);
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

bool lifecycle_begin(struct engine *engine, const struct packet *packet, uint32_t *index, enum smtp_side *side)
{
    bool to_server = port_selected(engine, packet->destination_port);
    if (packet->flags & PACKET_RST)
        return false;
    *side = to_server ? SMTP_CLIENT : SMTP_SERVER;
    bool opens = packet->flags & PACKET_SYN && !(packet->flags & PACKET_ACK);
    if (opens && !to_server)
        return false; /* a connection from an SMTP port to some other: not SMTP */
    *index = add_flow(engine, packet, *side, opens ? FLOW_OPENING : FLOW_MIDSTREAM);
    if (*index == POOL_NONE) {
        engine->counters.unplaced++;
        return false;
    }
    if (!opens) {
        struct flow *flow = flow_at(&engine->table, *index);
        engine->counters.flows_midstream++;
        flow->told_unedited = true;
        struct event *event = tell(engine, EVENT_UNEDITED, flow);
        if (event)
            event->reason = "midstream";
    }
    return true;
}

uint32_t lifecycle_take_over(struct engine *engine, const struct packet *ends, bool closed, int64_t last_us)
{
    uint32_t index = add_flow(engine, ends, SMTP_CLIENT, closed ? FLOW_CLOSED : FLOW_OPEN);
    if (index == POOL_NONE)
        return POOL_NONE;
    struct flow *flow = flow_at(&engine->table, index);
    flow->last_us = last_us < engine->now_us ? last_us : engine->now_us;
    smtp_session_init(&flow->smtp);
    smtp_session_give_up(&flow->smtp, &engine->blocks);
    flow->told_unedited = flow->answered = true;
    engine->counters.flows_taken_over++;
    struct event *event = tell(engine, EVENT_UNEDITED, flow);
    if (event)
        event->reason = "taken-over";
    return index;
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
    flow->smtp.may_begin = offer_stands(engine, flow);
    engine->counters.flows_created++;
    tell(engine, EVENT_FLOW_START, flow);
    flow->owes_end = true;
    judge_connect(engine, flow);
    question_client(engine, index);
    lifecycle_classify(engine, index);
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
    if (index == POOL_NONE)
        return FATE_PASS;
    struct flow *flow = flow_at(&engine->table, index);
    half_start(&flow->halves[SMTP_CLIENT], syn);
    half_start(&flow->halves[SMTP_SERVER], half_syn_of(packet));
    engine->current.flow = index;
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
