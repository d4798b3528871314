#include "engine/segment.h"

#include "engine/budget.h"
#include "engine/handshake.h"
#include "engine/judge.h"
#include "engine/names.h"
#include "engine/promise.h"
#include "engine/tarpit.h"
#include "engine/tell.h"

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

/*
 * Whether octets that nobody reads, or a FIN, up to `end` are part of the stream: what its receiver's window does not
 * hold is not, unless it is the very next, for the window may not be known yet.
 */
static bool is_of_stream(const struct engine *engine, const struct half *half, uint32_t seq, uint32_t end)
{
    return recorded(engine) || seq == half->log.end ||
           half_in_window(half, edit_forward(&half->log, &engine->entries, end - 1));
}

/* Nothing is read any more; but what comes before a TLS handshake is looked at, for it ought not to come. */
static bool is_unread(const struct flow *flow)
{
    return flow->smtp.opaque && !flow->smtp.tls_awaited;
}

/*
 * An acknowledgment in a record, of octets that have not come: it may have been recorded before them. What its sender
 * says from there on waits for them, for it was said with them in mind.
 */
static void note_ahead(struct half *half, uint32_t ack)
{
    half->ack_ahead = half->ahead_packets ? seq_max(ack, half->ack_ahead) : ack;
    half->ahead_packets = half->ahead_packets ? half->ahead_packets : 1;
}

/* Where they do not come within a few packets, or before the end, the record lacks them. */
static void look_for_missing(struct engine *engine, uint32_t index, enum smtp_side side, bool ends)
{
    enum { PACKETS_MAX = 8 };
    const struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    if (half->ahead_packets == 0)
        return;
    bool came = !seq_after(half->ack_ahead, half->next);
    bool waits = !came && !ends && !is_unread(flow) && half->ahead_packets < PACKETS_MAX;
    half->ahead_packets = waits ? (half->ahead_packets + 1u) & 15u : 0;
    if (came || waits)
        return;
    judge_give_up(engine, index, "packets-missing");
    follow_opaque(engine, half, half->ack_ahead);
    half->sent_egress = seq_max(half->sent_egress, half->log.end_egress);
}

/* The acknowledgment in a segment. False where it is of something that was never sent. */
static bool take_acknowledgment(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    struct half *other = &flow->halves[!side];
    uint32_t ack = packet->ack;
    if (recorded(engine)) {
        if (seq_after(packet->ack, other->next))
            note_ahead(other, packet->ack);
        look_for_missing(engine, index, side, false);
        look_for_missing(engine, index, !side, false);
        ack = seq_min(edit_forward(&other->log, &engine->entries, packet->ack), other->sent_egress);
    } else if (seq_after(ack, other->sent_egress)) {
        if (side == SMTP_CLIENT || (flow->answered && !flow->one_way))
            return false;
        /* Nothing of its client's has crossed here, so that takes another way, and is nothing that one could read. */
        flow->answered = flow->one_way = true;
        judge_give_up(engine, index, "one-way");
        follow_opaque(engine, other, ack);
        other->sent_egress = seq_max(other->sent_egress, ack);
    }
    bool unread = other->changed;
    half_acknowledge(other, &engine->entries, &engine->pieces, ack);
    if (unread && !other->changed)
        promise_note(flow);
    tarpit_acknowledged(engine, index, !side);
    uint32_t window = (uint32_t)packet->window << half->window_shift;
    other->window_end_egress = seq_max(other->window_end_egress, ack + window);
    other->window_least = window < other->window_least ? window : other->window_least;
    bool heard_out = flow->heard_out || (other->closed && ack == other->sent_egress);
    if (side == SMTP_CLIENT && !flow->answered && !flow->client_sought)
        names_ask(engine, index);
    if (side == SMTP_CLIENT && (!flow->answered || heard_out != flow->heard_out)) {
        flow->answered = true;
        flow->heard_out = heard_out;
        flow->changed = true;
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
    judge_await_no_more(flow); /* who has closed will not reply */
    tarpit_hung_up(engine, index, side);
    flow->changed = true;
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
    if (fin && half->next == from + (uint32_t)octets.len)
        take_fin(engine, index, side);
    return !changed;
}

/* The held packet is next in order: take its octets in. False where there is no room now. */
static bool take_held(struct engine *engine, const struct held *held)
{
    struct half *half = &flow_at(&engine->table, held->flow)->halves[held->side];
    uint32_t payload_len = held->payload_len;
    bool bounded;
    if (payload_len > 0 && !budget_has_room(engine, half, payload_len, &bounded))
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

struct cut segment_cut(const struct engine *engine, const struct flow *flow, enum smtp_side side)
{
    const struct half *half = &flow->halves[side];
    bool delayed = tarpit_holds(engine, flow, side);
    return (struct cut){delayed || half->awaits, delayed ? tarpit_allowed(engine, flow) : half->log.end_egress};
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
        if (is_unread(flow) && is_of_stream(engine, half, held->seq, end))
            follow_opaque(engine, half, end);
        bool in_part = tarpit_holds(engine, flow, side) || (half->awaits && seq_before(held->seq, half->log.end));
        if (seq_after(end, half->log.end) && !in_part)
            return;
        held_ready(engine, half, segment_cut(engine, flow, side));
    }
}

/* The held packet whose turn has come: it begins before the next octet in order and ends behind it. */
static const struct held *next_in_order(const struct engine *engine, const struct half *half)
{
    for (uint32_t id = half->held; id != POOL_NONE && !half->closed && !half_stops(half);) {
        const struct held *held = pool_at(&engine->held, id);
        if (seq_after(held->seq, half->next))
            return NULL;
        if (seq_after(held->seq + held->len, half->next))
            return held;
        id = held->next;
    }
    return NULL;
}

void segment_settle(struct engine *engine, uint32_t index, enum smtp_side side)
{
    const struct flow *flow = flow_at(&engine->table, index);
    if (flow->reset || flow->halves[!side].ahead_packets)
        return;
    const struct half *half = &flow_at(&engine->table, index)->halves[side];
    let_go(engine, index, side, NULL);
    for (const struct held *held; (held = next_in_order(engine, half)) != NULL && take_held(engine, held);)
        let_go(engine, index, side, NULL);
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
    if (flow_at(&engine->table, index)->reset)
        return FATE_DROP; /* what it brought is the reset, which takes its place */
    if (held_add(engine, index, side, packet)) {
        flow_at(&engine->table, index)->changed = true;
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

/*
 * Octets that a reply of the other side gives their meaning, perhaps behind others. Those leave, without them; their
 * sender resends what it was not acknowledged. Of what comes then a little is held until the reply is there.
 */
static enum fate take_awaiting(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    enum {
        OCTETS_MAX = 4096, /* more of one connection would be at the expense of others */
        HOLD_S = 120,      /* RFC 5321 4.5.3.2.4: the reply to DATA comes before */
    };
    struct flow *flow = flow_at(&engine->table, index);
    const struct half *half = &flow->halves[side];
    if (flow->await_due_us == 0) {
        flow->await_due_us = engine->now_us + INT64_C(1000000) * HOLD_S;
        flow->changed = true;
    }
    if (seq_before(packet->seq, half->log.end))
        return FATE_CARRY; /* cut, see segment_cut */
    if (held_covering(engine, half, packet) || held_octets(engine, half) + packet->payload_len <= OCTETS_MAX)
        return take_paused(engine, index, side, packet);
    engine->counters.out_of_bounds++;
    return FATE_DROP;
}

/* The packet with the next octets of a reply that is delayed: it is kept, and the copy before it may carry some. */
static enum fate keep(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    struct held *older = held_kept(engine, half);
    uint32_t before = tarpit_allowed(engine, flow);
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
        if (older && unread)
            held_ready_one(engine, half, older, segment_cut(engine, flow, side));
        else if (older)
            held_drop_one(engine, half, older);
        break;
    case TARPIT_STUTTER:
        held_ready_one(engine, half, older, segment_cut(engine, flow, side));
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

/* Octets that nobody reads: they leave as they come, translated. Those outside the window are no part of the stream. */
static enum fate take_unread(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    uint32_t end = packet->seq + packet_seq_len(packet);
    bool in_window = is_of_stream(engine, half, packet->seq, end);
    if (in_window)
        follow_opaque(engine, half, end);
    engine->current.plain = half->retained.len == 0;
    if (packet->flags & PACKET_FIN && in_window && !half->closed) {
        half->closed = true;
        flow->changed = true;
    }
    return FATE_CARRY;
}

/*
 * Octets that came before, as others: the first ones leave again (law 2), in a dry run too, for those were judged. Told
 * once of each side.
 */
static void note_resend(struct engine *engine, struct flow *flow, enum smtp_side side, const struct packet *packet)
{
    struct half *half = &flow->halves[side];
    struct span octets = packet_payload(packet);
    uint32_t differ = half_differs(half, &engine->entries, &engine->pieces, packet->seq, octets);
    struct span waits = smtp_session_waiting_octets(&flow->smtp, &engine->blocks, side);
    uint32_t from = seq_max(packet->seq, half->log.end);
    uint32_t to = seq_min(packet->seq + packet->payload_len, half->next);
    if (waits.len == half_waiting(half) && seq_before(from, to)) {
        struct span again = span_head(span_tail(octets, from - packet->seq), to - from);
        struct span first = span_head(span_tail(waits, from - half->log.end), to - from);
        differ += span_equal(first, again) ? 0 : to - from;
    }
    if (differ == 0)
        return;
    engine->counters.resend_differs++;
    struct event *event = flow->differs_told >> side & 1 ? NULL : tell(engine, EVENT_RESEND_DIFFERS, flow);
    if (event) {
        event->from_server = side == SMTP_SERVER;
        event->octets = differ;
    }
    if (event)
        flow->differs_told = (flow->differs_told | 1u << side) & 3u;
}

/* Whether the server closes while its consent to STARTTLS waits, be it behind other octets. */
static bool closes_on_consent(const struct engine *engine, const struct flow *flow, enum smtp_side side,
                              const struct packet *packet)
{
    const struct half *half = &flow->halves[side];
    uint32_t end = packet->seq + packet_seq_len(packet);
    return packet->flags & PACKET_FIN && tarpit_holds(engine, flow, side) && tarpit_holds_consent(engine, flow) &&
           seq_after(end, half->next) && is_of_stream(engine, half, packet->seq, end);
}

static enum fate take_octets(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    uint32_t end = packet->seq + packet_seq_len(packet);
    if (packet->payload_len > half->largest)
        half->largest = (uint16_t)packet->payload_len;
    if (flow->handshake != POOL_NONE && is_of_stream(engine, half, packet->seq, end))
        handshake_take(engine, index, side, packet->seq, packet_payload(packet));
    if (is_unread(flow))
        return take_unread(engine, index, side, packet);
    if (packet->payload_len > 0 && seq_before(packet->seq, half->next))
        note_resend(engine, flow, side, packet);
    if (half->closed && seq_after(end, half->next)) {
        engine->counters.malformed++;
        return FATE_DROP; /* behind the FIN there is nothing (RFC 9293 3.10.7.4, seventh) */
    }
    if (closes_on_consent(engine, flow, side, packet)) {
        tarpit_reset_consent(engine, index);
        return FATE_DROP; /* it becomes the reset */
    }
    if (tarpit_holds(engine, flow, side) && (half->paused || !seq_after(end, half->next)))
        return take_delayed(engine, index, side, packet);
    bool closes = packet->payload_len == 0 && packet->seq == half->next; /* a FIN means the same whatever the reply */
    if (half->awaits && seq_after(end, half->log.end) && !closes)
        return take_awaiting(engine, index, side, packet);
    if (half->paused && seq_after(end, half->log.end))
        return take_paused(engine, index, side, packet);
    if (flow->halves[!side].ahead_packets && seq_after(end, half->next))
        return hold(engine, index, side, packet);
    if (seq_after(packet->seq, half->next))
        return take_behind_gap(engine, index, side, packet);
    if (!seq_after(end, half->next)) {
        engine->counters.retransmissions += packet->payload_len > 0;
        return seq_after(end, half->log.end) ? hold(engine, index, side, packet) : FATE_CARRY;
    }
    bool bounded;
    /* A bare FIN takes nothing, and gives much back. */
    if (packet->payload_len > 0 && !budget_has_room(engine, half, packet->payload_len, &bounded)) {
        engine->counters.out_of_bounds++;
        engine->counters.shares_used_up += bounded;
        if (!engine->settings.pass_on_overload || bounded)
            return FATE_DROP; /* who uses up his share does not pass unread for it */
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
    if (half->awaits && seq_after(end, half->log.end))
        return take_awaiting(engine, index, side, packet);
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
    if (recorded(engine))
        for (int one = SMTP_CLIENT; one <= SMTP_SERVER; one++)
            look_for_missing(engine, index, (enum smtp_side)one, true);
    /* The receiver may yet answer with a challenge (RFC 5961 3.2), so the flow is followed on, but not for long. */
    if (tarpit_holds(engine, flow, side) && tarpit_holds_consent(engine, flow) && packet->seq == half->next)
        tarpit_reset_consent(engine, index); /* the client may take it for forged, for it stands behind the consent */
    tarpit_hung_up(engine, index, side);
    flow->state = FLOW_CLOSED;
    flow->changed = true;
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
    enum flow_reset of_sender = side == SMTP_CLIENT ? FLOW_RESET_CLIENT : FLOW_RESET_SERVER;
    if (flow->reset == FLOW_RESET_NEXT)
        flow->reset = of_sender & 7u;
    bool guilty = flow->reset == of_sender;
    if (packet->flags & PACKET_RST)
        return FATE_CARRY;
    if (flow->state == FLOW_OPEN) {
        flow->state = FLOW_CLOSED;
        flow->changed = true;
    }
    if (recorded(engine) && flow->resets_sent > 0)
        return FATE_DROP;
    if (!guilty)
        return FATE_BARE;
    return flow->resets_sent++ % 2 ? FATE_BARE : FATE_RESET;
}

enum fate segment_reset_lost(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    /* Bits of flow->resets_sent, shifted by the side that they are about. */
    enum { BARE_NEXT = 1, HEARD = 4, HIT = 16 };
    struct flow *flow = flow_at(&engine->table, index);
    if (packet->flags & PACKET_RST)
        return FATE_PASS;
    engine->counters.promises_unknown++;
    unsigned sent = flow->resets_sent;
    bool challenges =
        sent & (unsigned)BARE_NEXT << !side && !(sent & (unsigned)HIT << side) && packet->payload_len == 0;
    bool aims = sent & (unsigned)HEARD << !side && !(sent & (unsigned)HIT << !side);
    bool bare = aims ? challenges : sent & (unsigned)BARE_NEXT << side;
    if (aims)
        packet_set_seq(packet, flow->halves[!side].ack_came - challenges, true);
    flow->halves[side].ack_came = packet->ack;
    sent |= (unsigned)HEARD << side | (aims && !challenges ? (unsigned)HIT << !side : 0u);
    flow->resets_sent = (uint16_t)(bare ? sent & ~((unsigned)BARE_NEXT << side) : sent | (unsigned)BARE_NEXT << side);
    packet_set_payload_len(packet, 0);
    packet_set_flags(packet, bare ? PACKET_ACK : PACKET_RST | PACKET_ACK, true);
    return FATE_EDITED;
}

/*
 * Whether a packet may be the first of its sender after a time in which nobody saw the connection: it acknowledges what
 * was never sent here, and both its numbers are not far ahead. Who cannot see the connection does not guess both.
 */
static bool went_unseen(const struct flow *flow, enum smtp_side side, const struct packet *packet)
{
    enum { AHEAD_MAX = 1 << 24 };
    uint32_t seq_ahead = packet->seq - flow->halves[side].log.anchor;
    uint32_t ack_ahead = packet->ack - flow->halves[!side].sent_egress;
    return flow->unheard >> side & 1 && !flow->reset && seq_ahead < AHEAD_MAX && ack_ahead < AHEAD_MAX;
}

/*
 * A record is kept before its packet leaves. Where its process ended in between, and marks are set here, the connection
 * has none: nothing was promised, and what was sent since has passed as it came. Where no marks were ever seen nobody
 * can say that. Of a dialogue that is read on an offset shows itself in the numbers that come; of one whose numbers are
 * translated only an offset that was acknowledged has left for sure.
 */
void segment_end_doubt(struct engine *engine, uint32_t index, bool marked)
{
    struct flow *flow = flow_at(&engine->table, index);
    unsigned unsure = flow->unheard ? PROMISE_SESSION : PROMISE_UNREAD;
    flow->in_doubt = false;
    if (marked || flow->reset)
        return;
    if (engine->marks_seen[flow->ip_version == 6]) {
        smtp_session_give_up(&flow->smtp, &engine->blocks);
        judge_give_up(engine, index, "midstream");
        flow->state = FLOW_MIDSTREAM;
        flow->changed = true;
    } else if (promise_break(engine, flow, flow->promises & unsure, "passed-unseen")) {
        flow->reset = FLOW_RESET_LOST;
    }
}

/* A connection that an older process promised something has gone on while nobody saw it: the kernel sets no marks. */
static enum fate take_unseen(struct engine *engine, uint32_t index, enum smtp_side side, struct packet *packet)
{
    struct flow *flow = flow_at(&engine->table, index);
    held_drop_all(engine, flow);
    promise_break(engine, flow, flow->promises, "passed-unseen");
    flow->reset = FLOW_RESET_LOST;
    return segment_reset_lost(engine, index, side, packet);
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
        return went_unseen(flow, side, packet) ? take_unseen(engine, index, side, packet) : FATE_DROP;
    }
    flow->unheard = flow->unheard & ~(1u << side) & 3u;
    if (flow->reset)
        return reset(engine, index, side, packet);
    if (packet_seq_len(packet) == 0) {
        engine->current.plain = true;
        return FATE_CARRY;
    }
    if (flow->state == FLOW_CLOSED && !flow->halves[side].closed) {
        flow->state = FLOW_OPEN;
        flow->changed = true;
    }
    engine->current.settles = true;
    return take_octets(engine, index, side, packet);
}

enum fate segment_fate(struct engine *engine, uint32_t index, enum smtp_side side, enum fate fate)
{
    return flow_at(&engine->table, index)->reset ? reset(engine, index, side, &engine->current.packet) : fate;
}

void segment_look_ahead(struct engine *engine, uint32_t index, enum smtp_side side)
{
    if (!recorded(engine) || flow_at(&engine->table, index)->halves[side].ahead_packets == 0)
        return;
    look_for_missing(engine, index, side, false);
    segment_settle(engine, index, (enum smtp_side) !side);
}
