#include "engine/state.h"

static bool recorded(const struct engine *engine)
{
    return engine->settings.peers == ENGINE_PEERS_RECORDED;
}

static struct held *first_held(const struct engine *engine, const struct half *half)
{
    return half->held == POOL_NONE ? NULL : pool_at(&engine->held, half->held);
}

/*
 * An opaque direction: octets leave as they come, in any order, at a constant distance. `next` and the log only
 * follow, so that positions stay comparable.
 */
static void follow_opaque(struct engine *engine, struct half *half, uint32_t end)
{
    if (!seq_after(end, half->log.end))
        return;
    uint32_t len = end - half->log.end;
    edit_decide(&half->log, &engine->entries, len, len);
    half->next = half->log.end;
}

/* Nothing is read any more; but what comes before a TLS handshake is looked at, for it ought not to come. */
static bool is_unread(const struct flow *flow)
{
    return flow->smtp.opaque && !flow->smtp.tls_awaited;
}

/* The acknowledgment in a segment. False where it is of something that was never sent. */
static bool take_acknowledgment(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    struct half *other = &flow->halves[!side];
    uint32_t ack = packet->ack;
    if (recorded(engine)) {
        if (seq_after(packet->ack, other->next)) {
            /* The record lacks octets that its receiver had. */
            judge_give_up(engine, index, "packets-missing");
            follow_opaque(engine, other, packet->ack);
            other->sent_egress = seq_max(other->sent_egress, other->log.end_egress);
        }
        ack = seq_min(edit_forward(&other->log, &engine->entries, packet->ack), other->sent_egress);
    } else if (seq_after(ack, other->sent_egress)) {
        return false;
    }
    half_acknowledge(other, &engine->entries, &engine->pieces, ack);
    tarpit_acknowledged(engine, index, !side);
    uint32_t window = (uint32_t)packet->window << half->window_shift;
    other->window_end_egress = seq_max(other->window_end_egress, ack + window);
    if (side == SMTP_CLIENT && !flow->answered) {
        flow->answered = true;
        lifecycle_classify(engine, index);
    }
    return true;
}

/* FIN is the last octet of the direction, so to speak: once all before it is decided, so is it. */
static void take_fin(struct engine *engine, uint32_t index, enum smtp_side side)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    if (half->closed || half->paused)
        return;
    judge_feed(engine, index, side, (struct span){0}, true);
    if (half->paused)
        return; /* the beginning of a line that waits for more than its end */
    edit_decide(&half->log, &engine->entries, 1, 1);
    half->next++;
    half->closed = true;
    tarpit_hung_up(engine, index, side);
    if (flow->halves[!side].closed)
        lifecycle_classify(engine, index);
}

/*
 * Octets [from, from + octets.len) of which the first `from` <= next are known already, and perhaps a FIN behind them.
 * True where the new ones leave as they came.
 */
static bool take_in_order(struct engine *engine, uint32_t index, enum smtp_side side, uint32_t from, struct span octets,
                          bool fin)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    struct span fresh = span_tail(octets, half->next - from);
    bool changed = fresh.len < octets.len;
    if (fresh.len)
        changed = judge_feed(engine, index, side, fresh, false) || changed;
    if (fin)
        take_fin(engine, index, side);
    return !changed;
}

/* The held packet is next in order: take its octets in. False where there is no room now. */
static bool take_held(struct engine *engine, const struct held *held)
{
    struct half *half = &flow_at(&engine->table, held->flow)->halves[held->side];
    uint32_t payload_len = held->payload_len;
    if (!judge_has_room(engine, half, payload_len))
        return false;
    held_read(engine, held, engine->original);
    take_in_order(engine, held->flow, (enum smtp_side)held->side, held->seq,
                  (struct span){engine->original, payload_len}, held->len > payload_len);
    return true;
}

/*
 * During a tarpit: whether a packet goes on, cut to what may leave. One with the next octets that may not is kept; but
 * where octets before the reply have not left yet they do not wait with it.
 */
static bool leaves_in_part(struct engine *engine, const struct flow *flow, const struct half *half, struct held *held)
{
    uint32_t allowed = tarpit_allowed(engine, flow);
    uint32_t from = edit_forward(&half->log, &engine->entries, held->seq);
    uint32_t to = edit_forward(&half->log, &engine->entries, held->seq + held->len);
    if (held->kept || !seq_after(to, allowed))
        return !held->kept;
    if (seq_before(from, allowed))
        return true;
    held->kept = from == allowed && !held_kept(engine, half);
    return false;
}

/* Held packets at the front that are decided, as long as they begin before `limit` where there is one. */
static void let_go(struct engine *engine, uint32_t index, enum smtp_side side, const uint32_t *limit)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    for (struct held *held; (held = first_held(engine, half)) != NULL;) {
        uint32_t end = held->seq + held->len;
        if (limit && !seq_before(held->seq, *limit))
            return;
        if (tarpit_holds(engine, flow, side) && !leaves_in_part(engine, flow, half, held))
            return;
        if (is_unread(flow))
            follow_opaque(engine, half, end);
        if (seq_after(end, half->log.end) && !tarpit_holds(engine, flow, side))
            return;
        held_ready(engine, half, false);
    }
}

/* The held packet whose turn has come: it begins before the next octet in order and ends behind it. */
static const struct held *next_in_order(const struct engine *engine, const struct half *half)
{
    for (uint32_t id = half->held; id != POOL_NONE && !half->closed && !half->paused;) {
        const struct held *held = pool_at(&engine->held, id);
        if (seq_after(held->seq, half->next))
            return NULL;
        if (seq_after(held->seq + held->len, half->next))
            return held;
        id = held->next;
    }
    return NULL;
}

void segment_drop_held(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    held_drop_before(engine, &flow->halves[SMTP_CLIENT], INT64_MAX);
    held_drop_before(engine, &flow->halves[SMTP_SERVER], INT64_MAX);
}

void segment_settle(struct engine *engine, uint32_t index, enum smtp_side side)
{
    if (flow_at(&engine->table, index)->reset)
        return;
    const struct half *half = &flow_at(&engine->table, index)->halves[side];
    let_go(engine, index, side, NULL);
    for (const struct held *held; (held = next_in_order(engine, half)) != NULL && take_held(engine, held);)
        let_go(engine, index, side, NULL);
}

void segment_release_all(struct engine *engine, uint32_t index)
{
    if (tarpit_due_us(engine, flow_at(&engine->table, index)) != INT64_MAX)
        tarpit_end(engine, index, engine->stopping ? TARPIT_END_STOPPED : TARPIT_END_UNREAD);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        judge_feed(engine, index, (enum smtp_side)side, (struct span){0}, true);
        segment_settle(engine, index, (enum smtp_side)side);
    }
}

/* No verdict now. Where there is no room to wait, the sender will send it again. */
static enum fate hold(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    const struct half *half = &flow_at(&engine->table, index)->halves[side];
    if (half->held_count >= engine->settings.flow_held_max && half_waiting(half) > 0 && !half->paused) {
        /* A line in more pieces than may wait: its beginning goes on now, as it would when its time is up. */
        judge_feed(engine, index, side, (struct span){0}, true);
        let_go(engine, index, side, &packet->seq);
        engine->current.plain = false;
        if (!seq_after(packet->seq + packet_seq_len(packet), half->log.end))
            return FATE_CARRY;
    }
    if (held_add(engine, index, side, packet)) {
        lifecycle_arm(engine, index);
        return FATE_NONE;
    }
    engine->counters.out_of_bounds++;
    return FATE_DROP;
}

/*
 * A segment behind a gap. What waits draws no answer from its receiver, so a segment that need not wait, because its
 * octets wait already, or cannot, for want of room, leaves as a probe. Its sender learns from the answer of the gap,
 * and what is kept here (see carry_sack); silence would leave it to its timer. An aggregate cannot become so short
 * (case 71).
 */
static enum fate take_behind_gap(struct engine *engine, uint32_t index, enum smtp_side side,
                                 const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct held *held = recorded(engine) ? NULL : held_covering(engine, &flow->halves[side], packet);
    if (!held) {
        enum fate fate = hold(engine, index, side, packet);
        if (fate == FATE_NONE || recorded(engine))
            return fate;
    } else {
        engine->counters.retransmissions++;
        held->since_us = engine->now_us; /* its sender still waits for it */
    }
    return packet->payload_len <= half_mss(&flow->halves[!side]) ? FATE_PROBE : FATE_DROP;
}

/*
 * Octets at or behind what waits for more than the next segment. Their sender resends them meanwhile: what is here need
 * not be held twice.
 */
static enum fate take_paused(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    struct held *held = held_covering(engine, half, packet);
    if (!held)
        return hold(engine, index, side, packet);
    engine->counters.retransmissions++;
    held->since_us = engine->now_us;
    return FATE_DROP;
}

/* The packet with the next octets of a reply that is delayed: it is kept, and the copy before it may carry some. */
static enum fate keep(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    struct held *older = held_kept(engine, half);
    uint32_t before = tarpit_allowed(engine, flow_at(&engine->table, index));
    bool unread = seq_before(edit_forward(&half->log, &engine->entries, packet->seq), before);
    if (!older && unread)
        return FATE_CARRY; /* cut to what stands before the reply; the rest comes again */
    switch (tarpit_resent(engine, index, older != NULL, unread)) {
    case TARPIT_OVER:
        tarpit_end(engine, index, TARPIT_END_SHORTENED);
        return seq_after(packet->seq + packet_seq_len(packet), half->log.end) ? hold(engine, index, side, packet)
                                                                              : FATE_CARRY;
    case TARPIT_KEEP:
        if (older && !unread && seq_after(older->seq + older->len, packet->seq + packet_seq_len(packet)))
            return FATE_DROP; /* the older one carries more */
        if (older)
            held_ready_one(engine, half, older, !unread);
        break;
    case TARPIT_STUTTER:
        held_ready_one(engine, half, older, false);
        break;
    }
    enum fate fate = hold(engine, index, side, packet);
    if (fate == FATE_NONE && (older = held_covering(engine, half, packet)) != NULL)
        older->kept = true;
    return fate;
}

/* Octets of a side in which a reply is delayed. */
static enum fate take_delayed(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    uint32_t allowed = tarpit_allowed(engine, flow);
    uint32_t to = edit_forward(&half->log, &engine->entries, packet->seq + packet_seq_len(packet));
    if (!seq_after(to, allowed))
        return FATE_CARRY;
    if (seq_after(edit_forward(&half->log, &engine->entries, packet->seq), allowed))
        return take_paused(engine, index, side, packet);
    return keep(engine, index, side, packet);
}

/* Octets that nobody reads: they leave as they come, translated. */
static enum fate take_unread(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    follow_opaque(engine, half, packet->seq + packet_seq_len(packet));
    engine->current.plain = half->retained.len == 0;
    if (packet->flags & PACKET_FIN && !half->closed) {
        half->closed = true;
        lifecycle_classify(engine, index);
    }
    return FATE_CARRY;
}

static enum fate take_octets(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    uint32_t end = packet->seq + packet_seq_len(packet);
    if (packet->payload_len > half->largest)
        half->largest = (uint16_t)packet->payload_len;
    if (is_unread(flow))
        return take_unread(engine, index, side, packet);
    if (half->closed && seq_after(end, half->next)) {
        engine->counters.malformed++;
        return FATE_DROP; /* behind the FIN there is nothing (RFC 9293 3.10.7.4, seventh) */
    }
    if (tarpit_holds(engine, flow, side) && (half->paused || !seq_after(end, half->next)))
        return take_delayed(engine, index, side, packet);
    if (half->paused && seq_after(end, half->log.end))
        return take_paused(engine, index, side, packet);
    if (seq_after(packet->seq, half->next))
        return take_behind_gap(engine, index, side, packet);
    if (!seq_after(end, half->next)) {
        engine->counters.retransmissions += packet->payload_len > 0;
        return seq_after(end, half->log.end) ? hold(engine, index, side, packet) : FATE_CARRY;
    }
    if (!judge_has_room(engine, half, packet->payload_len)) {
        engine->counters.out_of_bounds++;
        if (!engine->settings.pass_on_overload)
            return FATE_DROP;
        judge_give_up(engine, index, "overload");
        return take_unread(engine, index, side, packet);
    }
    if (packet->seq != half->next)
        engine->counters.retransmissions++;
    engine->current.plain =
        take_in_order(engine, index, side, packet->seq, packet_payload(packet), packet->flags & PACKET_FIN);
    let_go(engine, index, side, &packet->seq); /* those that waited for these octets leave before them */
    if (tarpit_holds(engine, flow, side))
        return take_delayed(engine, index, side, packet);
    return seq_after(end, half->log.end) ? hold(engine, index, side, packet) : FATE_CARRY;
}

static enum fate take_reset(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    if (!half_reset_in_window(half, edit_forward(&half->log, &engine->entries, packet->seq))) {
        engine->counters.bad_reset++;
        return FATE_DROP;
    }
    /* The receiver may yet answer with a challenge (RFC 5961 3.2), so the flow is followed on, but not for long. */
    tarpit_hung_up(engine, index, side);
    flow->state = FLOW_CLOSED;
    lifecycle_classify(engine, index);
    return FATE_CARRY;
}

/*
 * The connection is being reset because of what one end sent. Its packets become RST for the other end and, in turns,
 * bare acknowledgments: an end that has closed answers those with a RST of its own, which reaches the first (RFC 9293
 * 3.10.7.1). An end that challenges a RST (RFC 5961 3.2) says in its acknowledgment where the next one must stand.
 */
static enum fate reset(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    bool guilty = flow->reset == (side == SMTP_CLIENT ? FLOW_RESET_CLIENT : FLOW_RESET_SERVER);
    if (packet->flags & PACKET_RST)
        return FATE_CARRY;
    if (flow->state == FLOW_OPEN) {
        flow->state = FLOW_CLOSED;
        lifecycle_classify(engine, index);
    }
    if (recorded(engine) && flow->resets_sent > 0)
        return FATE_DROP;
    if (!guilty)
        return FATE_BARE;
    return flow->resets_sent++ % 2 ? FATE_BARE : FATE_RESET;
}

enum fate segment_take(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (packet->flags & PACKET_RST)
        return take_reset(engine, index, side, packet);
    if (!(packet->flags & PACKET_ACK)) {
        engine->counters.malformed++;
        return FATE_DROP; /* RFC 9293 3.10.7.4: without ACK a segment is dropped */
    }
    if (!take_acknowledgment(engine, index, side, packet)) {
        engine->counters.bad_acknowledgment++;
        return FATE_DROP;
    }
    if (flow->reset)
        return reset(engine, index, side, packet);
    if (packet_seq_len(packet) == 0) {
        engine->current.plain = true;
        return FATE_CARRY;
    }
    if (flow->state == FLOW_CLOSED && !flow->halves[side].closed) {
        flow->state = FLOW_OPEN;
        lifecycle_classify(engine, index);
    }
    enum fate fate = take_octets(engine, index, side, packet);
    engine->current.fate = flow->reset ? reset(engine, index, side, packet) : fate;
    segment_settle(engine, index, side); /* those that waited for this one to fill the gap leave after it */
    return engine->current.fate;
}
