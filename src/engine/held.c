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
    if (retain_blocks_needed(&held->payload, packet->payload_len) > judge_spare_blocks(engine) ||
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

void held_ready(struct engine *engine, struct half *half, bool drop)
{
    uint32_t id = half->held;
    struct held *held = held_at(engine, id);
    half->held = held->next;
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

void held_drop_all(struct engine *engine, struct half *half)
{
    while (half->held != POOL_NONE)
        held_ready(engine, half, true);
}

void held_return(struct engine *engine, uint32_t index)
{
    struct held *held = held_at(engine, index);
    retain_release(&held->payload, &engine->blocks, held->payload.len);
    pool_return(&engine->held, index);
}
