#include "engine/state.h"

static struct held *held_at(const struct engine *engine, uint32_t index)
{
    return pool_at(&engine->held, index);
}

bool held_add(struct engine *engine, uint32_t index, enum smtp_side side, const struct packet *packet)
{
    struct half *half = &flow_at(&engine->table, index)->halves[side];
    if (half->held_count >= engine->settings.flow_held_max || packet->payload_at > HELD_HEADER_BYTES_MAX)
        return false;
    uint32_t id = pool_borrow(&engine->held);
    if (id == POOL_NONE)
        return false;
    struct held *held = held_at(engine, id);
    held->payload = (struct retain){0};
    /* Half of the blocks are for what comes in order: what waits for it must not keep it from coming. */
    if (retain_blocks_needed(&held->payload, packet->payload_len) + engine->settings.blocks_max / 2 >
            judge_spare_blocks(engine) ||
        !retain_append(&held->payload, &engine->blocks, packet_payload(packet))) {
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
    held->drop = false;
    memcpy(held->header, packet->bytes, packet->payload_at);

    uint32_t *place = &half->held;
    while (*place != POOL_NONE && !seq_after(held_at(engine, *place)->seq, held->seq))
        place = &held_at(engine, *place)->next;
    held->next = *place;
    *place = id;
    half->held_count++;
    engine->counters.held++;
    return true;
}

/* Take the packet that `place` in the half's list names off it, and make it ready. */
static void make_ready(struct engine *engine, struct half *half, uint32_t *place, bool drop)
{
    uint32_t id = *place;
    struct held *held = held_at(engine, id);
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

void held_ready(struct engine *engine, struct half *half, bool drop)
{
    make_ready(engine, half, &half->held, drop);
}

uint32_t held_drop_before(struct engine *engine, struct half *half, int64_t since_us)
{
    uint32_t dropped = 0;
    for (uint32_t *place = &half->held; *place != POOL_NONE;) {
        struct held *held = held_at(engine, *place);
        if (held->since_us > since_us) {
            place = &held->next;
            continue;
        }
        make_ready(engine, half, place, true);
        dropped++;
    }
    return dropped;
}

void held_return(struct engine *engine, uint32_t index)
{
    struct held *held = held_at(engine, index);
    retain_release(&held->payload, &engine->blocks, held->payload.len);
    pool_return(&engine->held, index);
}
