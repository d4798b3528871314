#include "engine/handover.h"

#include <stdalign.h>

#include "engine/state.h"

enum { ENTRIES_MAX = 16 };

/* The parts of a record are plain numbers in this machine's order: it does not leave the machine. */
struct entry_record {
    uint32_t at, ingress_len, egress_len;
};

struct half_record {
    uint32_t anchor, anchor_egress, end, end_egress;
    uint32_t isn, window_end_egress, timestamp;
    uint32_t ack_came, ack_left;
    uint32_t retained_len;
    uint16_t largest, mss;
    uint8_t window_shift, closed, timestamped, entry_count;
    struct entry_record entries[ENTRIES_MAX];
};

struct record {
    uint64_t checksum; /* of all behind it, up to `len` */
    uint64_t generation;
    uint32_t layout; /* LAYOUT, or it is another program's */
    uint32_t len;    /* octets of the record, with what follows it */
    int64_t last_us;
    struct event_endpoint ends[2];
    uint8_t ip_version, closed, zero[6];
    struct half_record halves[2];
    uint8_t octets[]; /* what each half retains, the client's first */
};

enum { OCTETS_MAX = HANDOVER_COPY_BYTES - sizeof(struct record), LAYOUT = 0x504f0002 };

static_assert(sizeof(struct record) % 8 == 0 && OCTETS_MAX > 1024, "a copy holds replies");

size_t handover_bytes(uint32_t flows_max)
{
    return (size_t)flows_max * HANDOVER_PLACE_BYTES;
}

static uint64_t checksum(const struct record *record)
{
    const uint8_t *at = (const uint8_t *)record + sizeof record->checksum;
    uint64_t sum = UINT64_C(0x9e3779b97f4a7c15), word;
    for (size_t left = record->len - sizeof record->checksum; left > 0;
         left -= left < sizeof word ? left : sizeof word) {
        word = 0;
        memcpy(&word, at, left < sizeof word ? left : sizeof word);
        sum = (sum ^ word) * UINT64_C(0xff51afd7ed558ccd);
        sum ^= sum >> 32;
        at += sizeof word;
    }
    return sum;
}

/* ---- keeping ---- */

static uint8_t *place_of(const struct engine *engine, uint32_t index)
{
    return engine->handover + (size_t)(index - 1) * HANDOVER_PLACE_BYTES;
}

/* False where it has more edits than a record takes. */
static bool keep_half(const struct engine *engine, const struct half *half, struct half_record *out)
{
    const struct edit_log *log = &half->log;
    *out = (struct half_record){
        .anchor = log->anchor,
        .anchor_egress = log->anchor_egress,
        .end = log->end,
        .end_egress = log->end_egress,
        .isn = half->isn,
        .window_end_egress = half->window_end_egress,
        .timestamp = half->timestamp,
        .ack_came = half->ack_came,
        .ack_left = half->ack_left,
        .largest = half->largest,
        .mss = half->mss,
        .window_shift = half->window_shift,
        .closed = half->closed,
        .timestamped = half->timestamped,
    };
    struct edit_entry entry = {0};
    for (uint32_t id = edit_first(log, &engine->entries, &entry); id != POOL_NONE;
         id = edit_next(&engine->entries, id, &entry)) {
        if (out->entry_count == ENTRIES_MAX)
            return false;
        out->entries[out->entry_count++] = (struct entry_record){entry.at, entry.ingress_len, entry.egress_len};
    }
    return true;
}

/* What came unchanged may be sent again unchanged: a direction without edits needs none of its octets. */
static uint32_t octets_needed(const struct half *half, enum smtp_side side)
{
    return side == SMTP_SERVER ? half->retained.len : 0;
}

enum { STRETCH_BITS = 28, SHAPE_OVER = 1, SHAPE_CLOSED = 2, SHAPE_REBUILT = 8, SHAPE_ENDS = 16 };

/*
 * A record holds until the offset changes. While octets may have to be rebuilt it is renewed with every packet; and so
 * often that its positions stay comparable, each 2^28 octets.
 */
static struct handover_shape shape_of(const struct flow *flow)
{
    struct handover_shape shape = {0};
    unsigned rest = flow->state == FLOW_CLOSED ? SHAPE_OVER : 0u;
    for (unsigned side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        const struct half *half = &flow->halves[side];
        bool rebuilt = octets_needed(half, (enum smtp_side)side) > 0 || half->log.head != POOL_NONE;
        shape.offset[side] = edit_offset(&half->log);
        rest |= rebuilt ? SHAPE_REBUILT : 0u;
        rest |= half->closed ? (unsigned)SHAPE_CLOSED << side : 0u;
        rest |= (half->log.end >> STRETCH_BITS) * SHAPE_ENDS << (side * 4);
    }
    shape.rest = (uint16_t)rest;
    return shape;
}

static bool same_shape(struct handover_shape one, struct handover_shape other)
{
    return one.offset[0] == other.offset[0] && one.offset[1] == other.offset[1] && one.rest == other.rest;
}

static bool fill(const struct engine *engine, const struct flow *flow, struct record *record)
{
    *record = (struct record){
        .layout = LAYOUT,
        .last_us = flow->last_us,
        .ends = {flow->ends[SMTP_CLIENT], flow->ends[SMTP_SERVER]},
        .ip_version = flow->ip_version,
        .closed = flow->state == FLOW_CLOSED,
    };
    uint32_t used = 0;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        const struct half *half = &flow->halves[side];
        uint32_t len = octets_needed(half, (enum smtp_side)side);
        if (!keep_half(engine, half, &record->halves[side]) || len > OCTETS_MAX - used)
            return false;
        record->halves[side].retained_len = len;
        if (len)
            retain_read(&half->retained, &engine->pieces, 0, record->octets + used, len);
        used += len;
    }
    record->len = (uint32_t)sizeof *record + used;
    return true;
}

/* Only what is whole replaces the older copy: its checksum comes last. */
void handover_keep(struct engine *engine, uint32_t index)
{
    alignas(8) uint8_t copy[HANDOVER_COPY_BYTES];
    struct record *record = (void *)copy;
    struct flow *flow = flow_at(&engine->table, index);
    if (!engine->handover)
        return;
    struct handover_shape shape = shape_of(flow);
    if (flow->handover_generation > 0 && !(shape.rest & SHAPE_REBUILT) && same_shape(shape, flow->handover_shape))
        return;
    flow->handover_shape = shape;
    if (!fill(engine, flow, record)) {
        handover_forget(engine, index); /* an older record would be a wrong one */
        return;
    }
    record->generation = ++flow->handover_generation;
    record->checksum = checksum(record);
    uint8_t *at = place_of(engine, index) + (record->generation & 1) * HANDOVER_COPY_BYTES;
    memset(at, 0, sizeof record->checksum);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(at + sizeof record->checksum, copy + sizeof record->checksum, record->len - sizeof record->checksum);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(at, copy, sizeof record->checksum);
}

void handover_forget(struct engine *engine, uint32_t index)
{
    if (engine->handover && flow_at(&engine->table, index)->handover_generation > 0)
        memset(place_of(engine, index), 0, HANDOVER_PLACE_BYTES);
}

void handover_begin(struct engine *engine, void *memory)
{
    engine->handover = memory;
}

/* ---- taking over ---- */

static bool is_sound_half(const struct half_record *half)
{
    uint32_t at = half->anchor, offset = half->anchor_egress - half->anchor;
    for (uint8_t i = 0; i < half->entry_count; i++) {
        const struct entry_record *entry = &half->entries[i];
        uint32_t room = half->end - at;
        if (entry->at - at > room || entry->ingress_len > room - (entry->at - at))
            return false;
        at = entry->at + entry->ingress_len;
        offset += entry->egress_len - entry->ingress_len;
    }
    return half->end + offset == half->end_egress && half->window_shift <= 14;
}

/* A copy with a right checksum is what we wrote; what it says is looked at all the same. */
static bool is_sound(const struct record *record)
{
    if (record->layout != LAYOUT || record->len < sizeof *record || record->len > HANDOVER_COPY_BYTES ||
        record->checksum != checksum(record) || (record->ip_version != 4 && record->ip_version != 6))
        return false;
    uint64_t octets = 0;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        const struct half_record *half = &record->halves[side];
        if (half->entry_count > ENTRIES_MAX || !is_sound_half(half))
            return false;
        octets += half->retained_len;
    }
    return octets == record->len - sizeof *record;
}

static bool restore_half(struct engine *engine, struct half *half, const struct half_record *in, const uint8_t *octets)
{
    edit_init(&half->log, in->anchor);
    half->log.anchor_egress = half->log.end_egress = in->anchor_egress;
    for (uint8_t i = 0; i < in->entry_count; i++) {
        const struct entry_record *entry = &in->entries[i];
        uint32_t before = entry->at - half->log.end;
        edit_decide(&half->log, &engine->entries, before, before);
        if (!edit_room(&engine->entries))
            return false;
        edit_decide(&half->log, &engine->entries, entry->ingress_len, entry->egress_len);
    }
    uint32_t rest = in->end - half->log.end;
    edit_decide(&half->log, &engine->entries, rest, rest);
    half->isn = in->isn;
    half->next = in->end;
    /* More may have left since: what acknowledges it must not be taken for a lie. */
    half->sent_egress = in->end_egress + (UINT32_C(1) << (STRETCH_BITS + 2));
    half->window_end_egress = in->window_end_egress;
    half->timestamp = in->timestamp;
    half->ack_came = in->ack_came;
    half->ack_left = in->ack_left;
    half->largest = in->largest;
    half->mss = in->mss;
    half->window_shift = in->window_shift;
    half->closed = in->closed;
    half->timestamped = in->timestamped;
    half->synchronized = true;
    return retain_append(&half->retained, &engine->pieces, (struct span){octets, in->retained_len});
}

static bool restore(struct engine *engine, const struct record *record)
{
    uint8_t addresses[32];
    uint16_t len = record->ip_version == 4 ? 4 : 16;
    memcpy(addresses, record->ends[SMTP_CLIENT].address, len);
    memcpy(addresses + len, record->ends[SMTP_SERVER].address, len);
    struct packet packet = {
        .bytes = addresses,
        .len = 2u * len,
        .ip_version = record->ip_version,
        .address_len = len,
        .source_port = record->ends[SMTP_CLIENT].port,
        .destination_port = record->ends[SMTP_SERVER].port,
    };
    enum smtp_side sender;
    if (flow_table_find(&engine->table, &packet, &sender) != POOL_NONE)
        return true; /* a damaged file may name one twice */
    uint32_t index = lifecycle_take_over(engine, &packet, record->closed, record->last_us);
    if (index == POOL_NONE)
        return false;
    struct flow *flow = flow_at(&engine->table, index);
    const uint8_t *octets = record->octets;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        if (!restore_half(engine, &flow->halves[side], &record->halves[side], octets)) {
            lifecycle_end(engine, index, "evicted");
            return false;
        }
        octets += record->halves[side].retained_len;
    }
    flow->handover_generation = record->generation;
    lifecycle_classify(engine, index);
    handover_keep(engine, index);
    return true;
}

struct handover_result handover_take(struct engine *engine, const void *memory, size_t len, int64_t now_us)
{
    struct handover_result result = {0};
    engine->now_us = now_us > engine->now_us ? now_us : engine->now_us;
    for (size_t at = 0; len - at >= HANDOVER_PLACE_BYTES; at += HANDOVER_PLACE_BYTES) {
        alignas(8) uint8_t copies[2][HANDOVER_COPY_BYTES];
        const struct record *newest = NULL;
        bool any = false;
        memcpy(copies, (const uint8_t *)memory + at, sizeof copies);
        for (int i = 0; i < 2; i++) {
            const struct record *record = (const void *)copies[i];
            any = any || record->generation != 0;
            if (is_sound(record) && (!newest || record->generation > newest->generation))
                newest = record;
        }
        if (!newest)
            result.damaged += any;
        else if (restore(engine, newest))
            result.taken++;
        else
            result.left++;
    }
    return result;
}
