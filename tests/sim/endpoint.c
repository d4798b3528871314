#include "endpoint.h"

#include <stdlib.h>

#include "base/octets.h"

enum { HEADERS_V4 = 40 };

void endpoint_init(struct endpoint *e, const struct endpoint_plan *plan, bool client, endpoint_send_fn *send,
                   void *context, struct random_source *random)
{
    *e = (struct endpoint){.plan = *plan, .client = client, .send = send, .context = context, .random = random};
    e->state = client ? ENDPOINT_CLOSED : ENDPOINT_LISTEN;
    e->out = calloc(1, ENDPOINT_STREAM_BYTES);
    e->sacked = calloc(1, ENDPOINT_STREAM_BYTES);
    e->in = calloc(1, ENDPOINT_STREAM_BYTES);
    e->have = calloc(1, ENDPOINT_STREAM_BYTES);
    e->peer_window = 1000;
    e->peer_mss = 536;
}

void endpoint_fini(struct endpoint *e)
{
    free(e->out);
    free(e->sacked);
    free(e->in);
    free(e->have);
}

static uint32_t own_window(const struct endpoint *e)
{
    if (!e->plan.drain_bytes)
        return e->plan.window;
    uint32_t unread = e->read - e->consumed;
    return unread < e->plan.window ? e->plan.window - unread : 0;
}

static void transmit(struct endpoint *e, uint8_t flags, uint32_t at, uint32_t len)
{
    bool syn = flags & PACKET_SYN;
    uint16_t port = e->plan.port ? e->plan.port : 40000;
    struct segment s = {
        .ip_version = e->plan.ip_version,
        .source = e->client ? 1 : 2,
        .destination = e->client ? 2 : 1,
        .source_port = e->client ? port : 25,
        .destination_port = e->client ? 25 : port,
        .seq = syn ? e->plan.isn : e->plan.isn + 1 + at,
        .ack = flags & PACKET_ACK ? e->irs + 1 + e->read + e->fin_read : 0,
        .flags = flags,
        .payload = {len ? e->out + at : NULL, len},
    };
    uint32_t window = own_window(e);
    uint8_t shift = e->both_scale && !syn ? e->plan.window_shift : 0;
    s.window = (uint16_t)(window >> shift > 65535 ? 65535 : window >> shift);
    if (syn) {
        segment_add_mss(&s.options, e->plan.mss);
        segment_add_window_scale(&s.options, e->plan.window_shift);
        if (e->plan.sack)
            segment_add_option(&s.options, 4, "", 0);
    }
    if (e->plan.timestamps && (syn || e->both_timestamps))
        segment_add_timestamps(&s.options, (uint32_t)(e->now_us / 1000) + 7, e->timestamp_recent);
    if (!syn && e->peer_sack && e->plan.sack) {
        /* The first block out of order, if there is one. */
        uint32_t from = e->read;
        while (from < e->in_end && !e->have[from])
            from++;
        uint32_t to = from;
        while (to < e->in_end && e->have[to])
            to++;
        if (to > from && from > e->read)
            segment_add_sack(&s.options, e->irs + 1 + from, e->irs + 1 + to);
    }
    uint32_t packet_len;
    uint8_t *packet = segment_build(&s, &packet_len);
    if (flags & PACKET_ACK) {
        e->ack_us = 0;
        e->unacknowledged = 0;
    }
    e->send(e->context, e, packet, packet_len);
}

static void start_timer(struct endpoint *e)
{
    e->timer_us = e->now_us + (e->plan.rto_us << (e->backoff < 7 ? e->backoff : 7));
}

static uint32_t segment_room(const struct endpoint *e, uint32_t at)
{
    uint32_t mss = e->peer_mss < e->plan.mss ? e->peer_mss : e->plan.mss;
    uint32_t options = e->both_timestamps ? 12 : 0;
    uint32_t room = mss > options + 8 ? mss - options : 8;
    if (e->plan.aggregate)
        room *= e->plan.aggregate;
    uint32_t left = e->out_len - at;
    uint32_t window_end = e->una + e->peer_window;
    uint32_t window_left = window_end > at ? window_end - at : 0;
    room = room < left ? room : left;
    return room < window_left ? room : window_left;
}

/* Send what may be sent now. */
static void push(struct endpoint *e)
{
    if (e->state != ENDPOINT_OPEN)
        return;
    while (e->nxt < e->out_len) {
        uint32_t len = segment_room(e, e->nxt);
        uint32_t mss = e->peer_mss < e->plan.mss ? e->peer_mss : e->plan.mss;
        if (len == 0)
            break;
        bool small = len + 12 < mss && e->nxt + len == e->out_len && !e->fin_wanted;
        if (e->plan.nagle && small && e->nxt > e->una)
            break; /* RFC 896 */
        bool last = e->nxt + len == e->out_len;
        bool fin = last && e->fin_wanted;
        transmit(e, (uint8_t)(PACKET_ACK | (last ? PACKET_PSH : 0) | (fin ? PACKET_FIN : 0)), e->nxt, len);
        e->nxt += len + fin;
        if (e->timer_us == 0)
            start_timer(e);
    }
    if (e->fin_wanted && e->nxt == e->out_len) {
        transmit(e, PACKET_ACK | PACKET_FIN, e->nxt, 0);
        e->nxt++;
        if (e->timer_us == 0)
            start_timer(e);
    }
    if (e->timer_us == 0 && e->nxt < e->out_len)
        start_timer(e); /* the window is closed: probe it */
    if (e->nxt > e->out_max_sent)
        e->out_max_sent = e->nxt;
}

static void resend(struct endpoint *e)
{
    if (e->state == ENDPOINT_SYN_SENT) {
        transmit(e, PACKET_SYN, 0, 0);
    } else if (e->state == ENDPOINT_SYN_RECEIVED) {
        transmit(e, PACKET_SYN | PACKET_ACK, 0, 0);
    } else if (e->una < e->out_len) {
        uint32_t window = e->peer_window;
        e->peer_window = window ? window : 1; /* a window probe */
        uint32_t len = segment_room(e, e->una);
        e->peer_window = window;
        if (e->plan.resegment && len > 1)
            len = 1 + random_below(e->random, len);
        bool fin = e->fin_wanted && e->una + len == e->out_len && e->out_max_sent > e->out_len;
        transmit(e, (uint8_t)(PACKET_ACK | PACKET_PSH | (fin ? PACKET_FIN : 0)), e->una, len);
        if (e->una + len > e->nxt)
            e->nxt = e->una + len;
        if (e->nxt > e->out_max_sent)
            e->out_max_sent = e->nxt;
    } else if (e->fin_wanted && !e->fin_acked) {
        transmit(e, PACKET_ACK | PACKET_FIN, e->out_len, 0);
    }
}

void endpoint_open(struct endpoint *e, int64_t now_us)
{
    e->now_us = now_us;
    e->state = ENDPOINT_SYN_SENT;
    transmit(e, PACKET_SYN, 0, 0);
    start_timer(e);
}

void endpoint_write(struct endpoint *e, const void *octets, uint32_t len, int64_t now_us)
{
    e->now_us = now_us;
    if (len > ENDPOINT_STREAM_BYTES - 1 - e->out_len)
        abort();
    memcpy(e->out + e->out_len, octets, len);
    e->out_len += len;
    push(e);
}

void endpoint_close(struct endpoint *e, int64_t now_us)
{
    e->now_us = now_us;
    e->fin_wanted = true;
    push(e);
}

void endpoint_abort(struct endpoint *e, int64_t now_us)
{
    e->now_us = now_us;
    if (e->state != ENDPOINT_DEAD)
        transmit(e, PACKET_RST | PACKET_ACK, e->nxt, 0);
    e->state = ENDPOINT_DEAD;
}

static void take_ack(struct endpoint *e, const struct packet *p, bool only_ack)
{
    uint32_t ack = p->ack - (e->plan.isn + 1);
    uint32_t scaled = (uint32_t)p->window << (e->both_scale ? e->peer_shift : 0);
    if ((int32_t)ack < 0 || ack > e->out_max_sent)
        return;
    if (ack == e->una && only_ack && e->nxt > e->una && scaled == e->peer_window) {
        if (++e->duplicates == 3 && e->plan.fast_retransmit && e->una >= e->recover)
            resend(e); /* once for each octet that is waited for: RFC 6582 */
        return;
    }
    if (ack >= e->una)
        e->peer_window = scaled;
    if (ack > e->una) {
        e->una = ack < e->out_len ? ack : e->out_len;
        e->fin_acked = e->fin_wanted && ack > e->out_len;
        e->resends = 0;
        e->duplicates = 0;
        e->timer_us = 0;
        if (!e->plan.keep_backoff || ack > e->recover)
            e->backoff = 0;
        if (e->nxt < ack)
            e->nxt = ack;
        bool outstanding = e->una < e->out_len ? e->nxt > e->una : e->fin_wanted && !e->fin_acked && e->nxt > e->una;
        if (outstanding)
            start_timer(e);
        if (outstanding && e->una < e->recover)
            resend(e);
    }
}

/* Octets at `at` of the peer's stream. True where something new came in order. */
static void take_octets(struct endpoint *e, uint32_t at, struct span octets)
{
    for (size_t i = 0; i < octets.len; i++) {
        uint32_t place = at + (uint32_t)i;
        if (place >= ENDPOINT_STREAM_BYTES)
            return;
        if (place < e->read)
            continue; /* long read: RFC 9293 trims it */
        if (e->have[place] && e->in[place] != octets.ptr[i])
            e->conflict = true;
        e->in[place] = octets.ptr[i];
        e->have[place] = 1;
        e->in_end = place + 1 > e->in_end ? place + 1 : e->in_end;
    }
}

static void owe_ack(struct endpoint *e, bool at_once)
{
    e->unacknowledged++;
    if (at_once || !e->plan.delayed_ack || e->unacknowledged >= 2)
        transmit(e, PACKET_ACK, e->nxt, 0);
    else if (e->ack_us == 0)
        e->ack_us = e->now_us + 40000;
}

static void take_syn(struct endpoint *e, const struct packet *p)
{
    e->irs = p->seq;
    e->peer_mss = p->mss ? p->mss : 536;
    e->peer_shift = p->window_shift;
    e->both_scale = p->window_scaled;
    e->peer_sack = p->sack_permitted;
    e->both_timestamps = e->plan.timestamps && p->timestamp_at;
    e->peer_window = p->window;
    if (p->timestamp_at)
        e->timestamp_recent = load_be32(p->bytes + p->timestamp_at + 2);
}

static void receive_segment(struct endpoint *e, const struct packet *p)
{
    uint32_t at = p->seq - (e->irs + 1);
    int32_t relative = (int32_t)(at - e->read);
    if (e->both_timestamps && p->timestamp_at) {
        uint32_t value = load_be32(p->bytes + p->timestamp_at + 2);
        if ((int32_t)(value - e->timestamp_recent) < 0) {
            transmit(e, PACKET_ACK, e->nxt, 0); /* PAWS */
            return;
        }
        if (relative <= 0)
            e->timestamp_recent = value;
    }
    uint32_t len = p->payload_len;
    bool fin = p->flags & PACKET_FIN;
    bool too_old = relative + (int32_t)(len + fin) <= (int32_t)e->fin_read && (relative < 0 || len + fin == 0) &&
                   !(relative == 0 && len + fin == 0) && !(e->fin_read && relative == 1 && len == 0);
    if (too_old || relative > (int32_t)own_window(e)) {
        transmit(e, PACKET_ACK, e->nxt, 0);
        return;
    }
    take_ack(e, p, len + fin == 0);
    uint32_t before = e->read;
    if (len > 0) {
        uint32_t keep = own_window(e) + e->read - at; /* what lies beyond the window is not taken */
        take_octets(e, at, span_head(packet_payload(p), (int32_t)keep > 0 ? keep : 0));
    }
    if (fin) {
        e->fin_seen = true;
        e->fin_at = at + len;
    }
    while (e->read < e->in_end && e->have[e->read])
        e->read++;
    if (e->plan.drain_bytes && e->read > e->consumed && !e->drain_due_us)
        e->drain_due_us = e->now_us + e->plan.drain_us;
    if (e->plan.keep_alive && !e->keep_alive_us)
        e->keep_alive_us = e->now_us + 700000;
    bool fin_now = e->fin_seen && !e->fin_read && e->read == e->fin_at;
    e->fin_read = e->fin_read || fin_now;
    if (len + fin > 0)
        owe_ack(e, e->read == before || fin_now || relative != 0);
    push(e);
}

static void take_reset(struct endpoint *e, const struct packet *p)
{
    uint32_t beside = p->seq - (e->irs + 1 + e->read + e->fin_read);
    if (e->state == ENDPOINT_SYN_SENT) {
        if (e->plan.answers_unknown && p->flags & PACKET_ACK && p->ack == e->plan.isn + 1)
            e->state = ENDPOINT_DEAD;
    } else if (e->state == ENDPOINT_OPEN || (e->state == ENDPOINT_SYN_RECEIVED && e->plan.answers_unknown)) {
        if (beside == 0)
            e->state = ENDPOINT_DEAD;
        else if (e->plan.answers_unknown && beside <= own_window(e))
            transmit(e, PACKET_ACK, e->nxt, 0);
    }
}

void endpoint_receive(struct endpoint *e, uint8_t *bytes, uint32_t len, int64_t now_us)
{
    struct packet p;
    e->now_us = now_us;
    if (!segment_checksums_good(bytes, len) || packet_parse(&p, bytes, len) != PACKET_TCP)
        return;
    if (p.flags & PACKET_RST) {
        take_reset(e, &p);
        return;
    }
    switch (e->state) {
    case ENDPOINT_CLOSED:
        return;
    case ENDPOINT_DEAD:
        if (e->plan.answers_unknown && p.flags & PACKET_ACK)
            transmit(e, PACKET_RST, p.ack - (e->plan.isn + 1), 0);
        return;
    case ENDPOINT_LISTEN:
        if ((p.flags & (PACKET_SYN | PACKET_ACK)) != PACKET_SYN)
            return;
        take_syn(e, &p);
        e->state = ENDPOINT_SYN_RECEIVED;
        transmit(e, PACKET_SYN | PACKET_ACK, 0, 0);
        start_timer(e);
        return;
    case ENDPOINT_SYN_SENT:
        if ((p.flags & (PACKET_SYN | PACKET_ACK)) != (PACKET_SYN | PACKET_ACK) || p.ack != e->plan.isn + 1)
            return;
        take_syn(e, &p);
        e->state = ENDPOINT_OPEN;
        e->timer_us = 0;
        e->resends = e->backoff = 0;
        transmit(e, PACKET_ACK, 0, 0);
        push(e);
        return;
    case ENDPOINT_SYN_RECEIVED:
        if (p.flags & PACKET_SYN) {
            transmit(e, PACKET_SYN | PACKET_ACK, 0, 0);
            return;
        }
        if (p.ack != e->plan.isn + 1)
            return;
        e->state = ENDPOINT_OPEN;
        e->timer_us = 0;
        e->resends = e->backoff = 0;
        push(e);
        receive_segment(e, &p);
        return;
    case ENDPOINT_OPEN:
        if (p.flags & PACKET_SYN)
            transmit(e, PACKET_ACK, e->nxt, 0);
        else if (p.flags & PACKET_ACK)
            receive_segment(e, &p);
        return;
    }
}

void endpoint_tick(struct endpoint *e, int64_t now_us)
{
    e->now_us = now_us;
    if (e->state == ENDPOINT_DEAD)
        return;
    if (e->ack_us && e->ack_us <= now_us)
        transmit(e, PACKET_ACK, e->nxt, 0);
    if (e->drain_due_us && e->drain_due_us <= now_us) {
        uint32_t before = own_window(e);
        uint32_t left = e->read - e->consumed;
        e->consumed += left < e->plan.drain_bytes ? left : e->plan.drain_bytes;
        e->drain_due_us = e->consumed < e->read ? now_us + e->plan.drain_us : 0;
        uint32_t shift = e->both_scale ? e->plan.window_shift : 0;
        if (before >> shift == 0 ? own_window(e) >> shift > 0
                                 : before < e->plan.window / 2 && own_window(e) >= e->plan.window / 2)
            transmit(e, PACKET_ACK, e->nxt, 0); /* a window update */
    }
    if (e->keep_alive_us && e->keep_alive_us <= now_us) {
        e->keep_alive_us = now_us + 700000;
        if (e->state == ENDPOINT_OPEN && e->una == e->nxt && e->una > 0 && e->una <= e->out_len && !e->fin_wanted)
            transmit(e, PACKET_ACK, e->una - 1, random_below(e->random, 2));
    }
    if (e->timer_us && e->timer_us <= now_us) {
        bool waits_for_window = e->una < e->out_len && e->peer_window == 0;
        e->backoff++;
        if (!waits_for_window && e->resends++ >= e->plan.resends_max) {
            e->state = ENDPOINT_DEAD;
            e->timer_us = 0;
            return;
        }
        e->duplicates = 0;
        e->recover = e->out_max_sent;
        resend(e);
        start_timer(e);
    }
}

int64_t endpoint_due(const struct endpoint *e)
{
    if (e->state == ENDPOINT_DEAD)
        return INT64_MAX;
    int64_t due = e->timer_us ? e->timer_us : INT64_MAX;
    due = e->drain_due_us && e->drain_due_us < due ? e->drain_due_us : due;
    due = e->keep_alive_us && e->keep_alive_us < due ? e->keep_alive_us : due;
    return e->ack_us && e->ack_us < due ? e->ack_us : due;
}

bool endpoint_finished(const struct endpoint *e)
{
    return e->fin_acked && e->fin_read;
}
