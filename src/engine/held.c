#include "engine/held.h"

#include "engine/budget.h"

size_t held_bytes(const struct engine_settings *settings)
{
    return pool_bytes(sizeof(struct held), settings->held_max);
}

static struct held *held_at(const struct engine *engine, uint32_t index)
{
    return pool_at(&engine->held, index);
}

bool held_add(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    if (half->held_count >= engine->settings.flow_held_max || packet->payload_at > HELD_HEADER_BYTES_MAX)
        return false;
    if (!room_allows(engine, ROOM_HELD, 1)) {
        engine->counters.shares_used_up++;
        return false;
    }
    uint32_t id = pool_borrow(&engine->held);
    if (id == POOL_NONE)
        return false;
    struct held *held = held_at(engine, id);
    held->payload = (struct retain){0};
    bool fits = packet->payload_at + packet->payload_len <= sizeof held->octets;
    /* Half of the pieces are for what comes in order: what waits for it must not keep it from coming. */
    uint32_t needed = retain_blocks_needed(&held->payload, packet->payload_len);
    if (!fits && (needed + engine->pieces.count / 2 > budget_spare_pieces(engine) ||
                  !room_allows(engine, ROOM_PIECES, needed + engine->room.share.bounds[ROOM_PIECES] / 2) ||
                  !retain_append(&held->payload, &engine->pieces, packet_payload(packet)))) {
        pool_return(&engine->held, id);
        return false;
    }
    held->token = engine->current.token;
    held->since_us = engine->now_us;
    held->flow = index;
    held->seq = packet->seq;
    held->len = packet_seq_len(packet);
    held->header_len = packet->payload_at;
    held->side = (uint8_t)side;
    held->checksum = engine->current.checksum_absent ? ENGINE_CHECKSUM_ABSENT : ENGINE_CHECKSUM_GOOD;
    held->drop = held->probe = held->told = held->kept = false;
    held->payload_len = packet->payload_len;
    memcpy(held->octets, packet->bytes, fits ? packet->payload_at + packet->payload_len : packet->payload_at);

    uint32_t *place = &half->held;
    while (*place != POOL_NONE && !seq_after(held_at(engine, *place)->seq, held->seq))
        place = &held_at(engine, *place)->next;
    held->next = *place;
    *place = id;
    half->held_count++;
    engine->counters.held++;
    return true;
}

struct held *held_covering(const struct engine *engine, const struct half *half, const struct packet *packet)
{
    uint32_t end = packet->seq + packet_seq_len(packet);
    for (uint32_t id = half->held; id != POOL_NONE; id = held_at(engine, id)->next) {
        struct held *held = held_at(engine, id);
        if (seq_after(held->seq, packet->seq))
            return NULL;
        if (!seq_before(held->seq + held->len, end))
            return held;
    }
    return NULL;
}

static bool behind_gap(const struct half *half, const struct held *held)
{
    return !half_stops(half) && seq_after(held->seq, half->next); /* else it waits for its line, or a reply */
}

/* The stretch of octets behind a gap that has the packet that came last. */
static bool newest_stretch(const struct engine *engine, const struct half *half, uint32_t *left, uint32_t *right)
{
    uint32_t from = half->next, to = half->next;
    int64_t newest_us = -1;
    bool newest = false;
    *left = *right = from;
    for (uint32_t id = half->held; id != POOL_NONE; id = held_at(engine, id)->next) {
        const struct held *held = held_at(engine, id);
        if (!behind_gap(half, held))
            continue;
        if (seq_after(held->seq, to)) {
            from = to = held->seq;
            newest = false;
        }
        to = seq_max(to, held->seq + held->len);
        if (held->since_us >= newest_us) {
            newest_us = held->since_us;
            newest = true;
            *left = from;
        }
        if (newest)
            *right = to;
    }
    return newest_us >= 0;
}

bool held_tell_stretch(struct engine *engine, const struct half *half, uint32_t *left, uint32_t *right)
{
    if (!newest_stretch(engine, half, left, right))
        return false;
    for (uint32_t id = half->held; id != POOL_NONE; id = held_at(engine, id)->next) {
        struct held *held = held_at(engine, id);
        held->told = held->told || (!seq_before(held->seq, *left) && seq_before(held->seq, *right));
    }
    return true;
}

/* The place in the half's list of the packet that should be a probe, and since when all are still; NULL where none. */
static uint32_t *probe_place(const struct engine *engine, uint32_t index, enum smtp_side side, int64_t *still_us)
{
    struct flow *flow = flow_at(&engine->table, index);
    struct half *half = &flow->halves[side];
    uint32_t *first = NULL;
    uint32_t told = 0, untold = 0;
    *still_us = 0;
    for (uint32_t *place = &half->held; *place != POOL_NONE; place = &held_at(engine, *place)->next) {
        const struct held *held = held_at(engine, *place);
        if (!behind_gap(half, held))
            continue;
        *still_us = held->since_us > *still_us ? held->since_us : *still_us;
        told += held->told;
        untold += !held->told;
        /* The lowest: the gap grows by it, and all behind is one stretch. An aggregate cannot be one (case 71). */
        if (!first && !held->told && held->payload_len <= half_mss(&flow->halves[!side]))
            first = place;
    }
    return untold > 1 && untold > told ? first : NULL;
}

int64_t held_probe_due_us(const struct engine *engine, uint32_t index, enum smtp_side side)
{
    enum { STILL_US = 5000 }; /* longer than most reordering takes, and short beside any sender's timer */
    int64_t still_us;
    if (engine->settings.peers == ENGINE_PEERS_RECORDED || !probe_place(engine, index, side, &still_us))
        return INT64_MAX;
    return still_us + STILL_US;
}

uint32_t held_octets(const struct engine *engine, const struct half *half)
{
    uint32_t octets = 0;
    for (uint32_t id = half->held; id != POOL_NONE; id = held_at(engine, id)->next)
        octets += held_at(engine, id)->payload_len;
    return octets;
}

/* Take the packet that `place` in the half's list names off it, and make it ready. */
static void make_ready(struct engine *engine, struct half *half, uint32_t *place, bool drop, struct cut cut)
{
    uint32_t id = *place;
    struct held *held = held_at(engine, id);
    held->cut = cut;
    *place = held->next;
    half->held_count--;
    held->drop = drop;
    held->next = POOL_NONE;
    /* Once the current packet has its fate, what follows leaves after it. */
    struct ready_list *list = engine->current.fate == FATE_NONE ? &engine->before : &engine->after;
    if (list->head == POOL_NONE)
        list->head = id;
    else
        held_at(engine, list->tail)->next = id;
    list->tail = id;
}

void held_ready(struct engine *engine, struct half *half, struct cut cut)
{
    make_ready(engine, half, &half->held, false, cut);
}

struct held *held_kept(const struct engine *engine, const struct half *half)
{
    for (uint32_t id = half->held; id != POOL_NONE; id = held_at(engine, id)->next)
        if (held_at(engine, id)->kept)
            return held_at(engine, id);
    return NULL;
}

void held_keep_no_more(struct engine *engine, struct half *half)
{
    struct held *held = held_kept(engine, half);
    if (!held)
        return;
    held->kept = false;
    held->since_us = engine->now_us;
}

static uint32_t *place_of(const struct engine *engine, struct half *half, const struct held *held)
{
    uint32_t *place = &half->held;
    while (held_at(engine, *place) != held)
        place = &held_at(engine, *place)->next;
    return place;
}

void held_ready_one(struct engine *engine, struct half *half, const struct held *held, struct cut cut)
{
    make_ready(engine, half, place_of(engine, half, held), false, cut);
}

void held_drop_one(struct engine *engine, struct half *half, const struct held *held)
{
    make_ready(engine, half, place_of(engine, half, held), true, (struct cut){0});
}

void held_probe(struct engine *engine, uint32_t index, enum smtp_side side)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    int64_t still_us;
    uint32_t *place = probe_place(engine, index, side, &still_us);
    held_at(engine, *place)->probe = true;
    make_ready(engine, half, place, false, (struct cut){0});
    for (uint32_t id = half->held; id != POOL_NONE; id = held_at(engine, id)->next)
        held_at(engine, id)->told = true;
}

uint32_t held_drop_before(struct engine *engine, struct half *half, int64_t since_us)
{
    uint32_t dropped = 0;
    for (uint32_t *place = &half->held; *place != POOL_NONE;) {
        struct held *held = held_at(engine, *place);
        if (held->since_us > since_us || (held->kept && since_us != INT64_MAX)) {
            place = &held->next;
            continue;
        }
        make_ready(engine, half, place, true, (struct cut){0});
        dropped++;
    }
    return dropped;
}

void held_drop_all(struct engine *engine, struct flow *flow)
{
    held_drop_before(engine, &flow->halves[SMTP_CLIENT], INT64_MAX);
    held_drop_before(engine, &flow->halves[SMTP_SERVER], INT64_MAX);
}

void held_read(const struct engine *engine, const struct held *held, uint8_t *out)
{
    if (held->payload.len)
        retain_read(&held->payload, &engine->pieces, 0, out, held->payload_len);
    else if (held->payload_len)
        memcpy(out, held->octets + held->header_len, held->payload_len);
}

void held_return(struct engine *engine, uint32_t index)
{
    struct held *held = held_at(engine, index);
    retain_release(&held->payload, &engine->pieces, held->payload.len);
    pool_return(&engine->held, index);
}
