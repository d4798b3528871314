#include "engine/handover.h"

#include <stdalign.h>

#include "engine/client.h"
#include "engine/inquiry.h"
#include "engine/judge.h"
#include "engine/names.h"
#include "engine/promise.h"
#include "engine/tell.h"
#include "smtp/saved.h"

enum { ENTRIES_MAX = 16 };

/* What the next process is to do with a connection. */
enum record_kind {
    RECORD_NONE,
    RECORD_RESUME,    /* read it on, from the very octet on: each packet that leaves renews the record */
    RECORD_TRANSLATE, /* translate its numbers, and send again what left as it left */
    RECORD_RESET,     /* reset it: what is promised does not fit into a record */
};

/* The parts of a record are plain numbers in this machine's order: it does not leave the machine. */
struct entry_record {
    uint32_t at, ingress_len, egress_len;
};

struct half_record {
    uint32_t anchor, anchor_egress, end, end_egress;
    uint32_t isn, sent_egress, window_end_egress, changed_from, changed_to, timestamp;
    uint32_t ack_came, ack_left;
    uint32_t retained_len;
    uint16_t largest, mss;
    uint8_t window_shift, closed, timestamped, changed, entry_count, zero[3];
    struct entry_record entries[ENTRIES_MAX];
};

struct record {
    uint64_t checksum; /* of all behind it, up to `len` */
    uint64_t generation;
    uint32_t layout; /* HANDOVER_LAYOUT, or it is another program's */
    uint32_t len;    /* octets of the record, with what follows it */
    int64_t last_us;
    struct event_endpoint ends[2];
    uint8_t ip_version, closed, kind, marks_seen;
    uint8_t reset_turns; /* RESET: see turns_of */
    uint8_t heard_out;
    uint8_t zero[2];
    struct half_record halves[2];
    alignas(8) uint8_t octets[]; /* RESUME: a dialogue_record; then what each half retains, the client's first */
};

/* What is known of the dialogue besides the streams. */
struct dialogue_record {
    uint64_t refusals_sum; /* under other rules numbers of refusals mean something else */
    uint32_t message_octets;
    uint32_t mark;
    uint8_t last_chunk, zero[3];
    struct policy_facts facts;
    struct event_client told; /* see engine/client */
    struct inquiry_saved question;
    struct smtp_saved saved; /* as much of it as means something */
};

enum {
    OCTETS_MAX = HANDOVER_COPY_BYTES - sizeof(struct record),
    DIALOGUE_ALIGN = 8,
};

static_assert(offsetof(struct record, octets) == sizeof(struct record) &&
                  OCTETS_MAX > sizeof(struct dialogue_record) + 1024,
              "a copy holds a dialogue and replies");

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
        .sent_egress = half->sent_egress,
        .window_end_egress = half->window_end_egress,
        .changed_from = half->changed_from,
        .changed_to = half->changed_to,
        .timestamp = half->timestamp,
        .ack_came = half->ack_came,
        .ack_left = half->ack_left,
        .largest = half->largest,
        .mss = half->mss,
        .window_shift = half->window_shift,
        .closed = half->closed,
        .timestamped = half->timestamped,
        .changed = half->changed,
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

/*
 * Of what left and is not acknowledged, the octets that a record needs: who reads on needs all, for more will be
 * retained behind them; who translates needs those up to the last that left in another form.
 */
static uint32_t octets_needed(const struct half *half, const struct pool *entries, enum record_kind kind)
{
    if (kind == RECORD_RESUME)
        return half->retained.len;
    uint32_t changed_egress = edit_forward(&half->log, entries, half->changed_to);
    uint32_t changed = half->changed ? changed_egress - half->log.anchor_egress : 0;
    return changed < half->retained.len ? changed : half->retained.len;
}

/* The kind of record that a connection wants, before it is known whether it fits. */
static enum record_kind kind_wanted(const struct flow *flow)
{
    if (flow->reset)
        return RECORD_RESET;
    bool message = flow->smtp.phase == SMTP_PHASE_MESSAGE || flow->smtp.phase == SMTP_PHASE_CHUNK;
    bool quiet = message && !(flow->promises & PROMISE_SESSION); /* a record for each packet of a message is too many */
    return flow->smtp.opaque || quiet ? RECORD_TRANSLATE : RECORD_RESUME;
}

enum {
    STRETCH_BITS = 28,
    SHAPE_OVER = 1,
    SHAPE_CLOSED = 2,
    SHAPE_REBUILT = 8,
    SHAPE_ENDS = 16,
    SHAPE_HEARD_OUT = 4096,
};

/* Whose next packet becomes a bare acknowledgment, for the last one became a RST: bits 1 << enum smtp_side. */
static uint8_t turns_of(const struct flow *flow)
{
    switch ((enum flow_reset)flow->reset) {
    case FLOW_RESET_CLIENT:
        return (uint8_t)(flow->resets_sent % 2 << SMTP_CLIENT);
    case FLOW_RESET_SERVER:
        return (uint8_t)(flow->resets_sent % 2 << SMTP_SERVER);
    case FLOW_RESET_LOST:
        return flow->resets_sent & (1 << SMTP_CLIENT | 1 << SMTP_SERVER);
    case FLOW_RESET_NONE:
    case FLOW_RESET_NEXT:
        break;
    }
    return 0;
}

/*
 * A record from which numbers are translated holds until the offset changes. While octets may have to be rebuilt it is
 * renewed with every packet; and so often that its positions stay comparable, each 2^28 octets.
 */
static struct handover_shape shape_of(const struct flow *flow, enum record_kind kind)
{
    struct handover_shape shape = {
        .offset = edit_offset(&flow->halves[SMTP_SERVER].log),
        .kind = (uint8_t)kind,
    };
    unsigned rest = (flow->state == FLOW_CLOSED ? SHAPE_OVER : 0u) | (flow->heard_out ? SHAPE_HEARD_OUT : 0u);
    if (kind == RECORD_RESET)
        return (struct handover_shape){.kind = (uint8_t)kind, .rest = turns_of(flow)};
    for (unsigned side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        const struct half *half = &flow->halves[side];
        bool rebuilt = half->changed || half->log.head != POOL_NONE;
        rest |= rebuilt ? SHAPE_REBUILT : 0u;
        rest |= half->closed ? (unsigned)SHAPE_CLOSED << side : 0u;
        rest |= (half->log.end >> STRETCH_BITS) * SHAPE_ENDS << (side * 4);
    }
    shape.rest = (uint16_t)rest;
    return shape;
}

/* Whether the record that there is says all that one of this shape would. */
static bool record_holds(const struct flow *flow, struct handover_shape shape)
{
    struct handover_shape kept = flow->handover_shape;
    if (flow->handover_generation == 0 || kept.kind != shape.kind || shape.kind == RECORD_RESUME)
        return false;
    if (shape.kind == RECORD_RESET)
        return kept.rest == shape.rest;
    return !(shape.rest & SHAPE_REBUILT) && kept.offset == shape.offset && kept.rest == shape.rest;
}

/* False where the session cannot be saved just now. */
static bool fill_dialogue(const struct engine *engine, const struct flow *flow, struct record *record, uint32_t *used)
{
    struct dialogue_record *dialogue = (void *)record->octets;
    *dialogue = (struct dialogue_record){
        .refusals_sum = engine->refusals_sums[flow->policy],
        .message_octets = flow->message_octets,
        .mark = flow->mark,
        .last_chunk = flow->last_chunk,
        .facts = flow->facts,
        .told = client_told(engine, flow),
    };
    inquiry_save(engine, flow, &dialogue->question);
    if (!smtp_session_save(&flow->smtp, &engine->blocks, &dialogue->saved))
        return false;
    size_t bytes = offsetof(struct dialogue_record, saved) + smtp_saved_bytes(&dialogue->saved);
    *used = (uint32_t)((bytes + DIALOGUE_ALIGN - 1) / DIALOGUE_ALIGN * DIALOGUE_ALIGN);
    return true;
}

static bool fill(const struct engine *engine, const struct flow *flow, enum record_kind kind, struct record *record)
{
    *record = (struct record){
        .layout = HANDOVER_LAYOUT,
        .last_us = flow->last_us,
        .ends = {flow->ends[SMTP_CLIENT], flow->ends[SMTP_SERVER]},
        .ip_version = flow->ip_version,
        .closed = flow->state == FLOW_CLOSED,
        .kind = (uint8_t)kind,
        .marks_seen = engine->marks_seen[flow->ip_version == 6],
        .reset_turns = turns_of(flow),
        .heard_out = flow->heard_out,
    };
    uint32_t used = 0;
    if (kind == RECORD_RESUME && !fill_dialogue(engine, flow, record, &used))
        return false;
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER && kind != RECORD_RESET; side++) {
        const struct half *half = &flow->halves[side];
        uint32_t len = octets_needed(half, &engine->entries, kind);
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

/* The most that fits of what the connection wants. */
static enum record_kind fill_best(const struct engine *engine, const struct flow *flow, struct record *record)
{
    enum record_kind kind = kind_wanted(flow);
    if (kind == RECORD_RESUME && !fill(engine, flow, RECORD_RESUME, record))
        kind = flow->promises & PROMISE_SESSION ? RECORD_RESET : RECORD_TRANSLATE;
    if (kind == RECORD_TRANSLATE && !fill(engine, flow, RECORD_TRANSLATE, record))
        kind = RECORD_RESET;
    if (kind == RECORD_RESET)
        (void)fill(engine, flow, RECORD_RESET, record);
    return kind;
}

/* Only what is whole replaces the older copy: its checksum comes last. */
void handover_keep(struct engine *engine, uint32_t index)
{
    alignas(8) uint8_t copy[HANDOVER_COPY_BYTES];
    struct record *record = (void *)copy;
    struct flow *flow = flow_at(&engine->table, index);
    if (!engine->handover || record_holds(flow, shape_of(flow, kind_wanted(flow))))
        return;
    enum record_kind kind = fill_best(engine, flow, record);
    struct handover_shape shape = shape_of(flow, kind);
    if (record_holds(flow, shape))
        return;
    flow->handover_shape = shape;
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
    struct flow *flow = flow_at(&engine->table, index);
    if (!engine->handover || flow->handover_generation == 0)
        return;
    memset(place_of(engine, index), 0, HANDOVER_PLACE_BYTES); /* all of it: it may have had a password */
    flow->handover_generation = 0;
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

/* Octets of the dialogue in front of those that are retained. */
static uint32_t dialogue_bytes(const struct record *record)
{
    const struct dialogue_record *dialogue = (const void *)record->octets;
    uint32_t room = record->len - (uint32_t)sizeof *record;
    if (record->kind != RECORD_RESUME)
        return 0;
    if (room < offsetof(struct dialogue_record, saved.slots) || dialogue->saved.slot_count > SMTP_SAVED_SLOTS_MAX)
        return UINT32_MAX;
    size_t bytes = offsetof(struct dialogue_record, saved) + smtp_saved_bytes(&dialogue->saved);
    return (uint32_t)((bytes + DIALOGUE_ALIGN - 1) / DIALOGUE_ALIGN * DIALOGUE_ALIGN);
}

/* A copy with a right checksum is what we wrote; what it says is looked at all the same. */
static bool is_sound(const struct record *record)
{
    if (record->layout != HANDOVER_LAYOUT || record->len < sizeof *record || record->len > HANDOVER_COPY_BYTES ||
        record->checksum != checksum(record) || (record->ip_version != 4 && record->ip_version != 6) ||
        record->kind == RECORD_NONE || record->kind > RECORD_RESET)
        return false;
    uint64_t octets = dialogue_bytes(record);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER && record->kind != RECORD_RESET; side++) {
        const struct half_record *half = &record->halves[side];
        if (half->entry_count > ENTRIES_MAX || !is_sound_half(half))
            return false;
        octets += half->retained_len;
    }
    return octets == record->len - sizeof *record;
}

static bool restore_half(struct engine *engine, struct half *half, const struct half_record *in, const uint8_t *octets,
                         enum record_kind kind)
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
    /* Where records are few, more may have left since: what acknowledges it must not be taken for a lie. They are not
       while octets may have to be rebuilt, which a forged acknowledgment would take away. */
    bool exact = kind == RECORD_RESUME || in->changed || in->entry_count > 0;
    half->sent_egress = exact ? in->sent_egress : in->end_egress + (UINT32_C(1) << (STRETCH_BITS + 2));
    half->changed = in->changed;
    half->changed_from = in->changed_from;
    half->changed_to = in->changed_to;
    half->window_end_egress = in->window_end_egress;
    half->window_least = UINT32_MAX;
    half->timestamp = in->timestamp;
    half->ack_came = in->ack_came;
    half->ack_left = in->ack_left;
    half->largest = in->largest;
    half->mss = in->mss;
    half->window_shift = in->window_shift & 15u;
    half->closed = in->closed;
    half->timestamped = in->timestamped;
    half->synchronized = true;
    return retain_append(&half->retained, &engine->pieces, (struct span){octets, in->retained_len});
}

/* The dialogue goes on where it was. False where it is not understood. */
static bool restore_dialogue(struct engine *engine, uint32_t index, const struct dialogue_record *dialogue)
{
    struct flow *flow = flow_at(&engine->table, index);
    const struct policy *policy = policy_of(engine, flow);
    bool same_rules = dialogue->refusals_sum == engine->refusals_sums[flow->policy];
    if (!inquiry_restore(engine, index, &dialogue->question) ||
        !smtp_session_restore(&flow->smtp, &engine->blocks, &dialogue->saved, &policy->refusals, same_rules))
        return false;
    if (dialogue->told.ip_version == 4 || dialogue->told.ip_version == 6)
        client_set_told(engine, flow, &dialogue->told);
    judge_facts(engine, flow);
    if (dialogue->question.helo_len > 0)
        policy_note_helo(policy, (struct span){dialogue->question.helo, dialogue->question.helo_len}, &flow->facts);
    flow->facts.helo_before = flow->facts.helo_holds;
    names_ask(engine, index);
    flow->facts.commands = dialogue->facts.commands;
    flow->facts.errors = dialogue->facts.errors;
    flow->facts.refused = dialogue->facts.refused;
    flow->facts.known = dialogue->facts.known;
    flow->facts.authenticated = dialogue->facts.authenticated;
    flow->facts.early_talker = dialogue->facts.early_talker;
    flow->mark = dialogue->mark;
    flow->message_octets = dialogue->message_octets;
    flow->last_chunk = dialogue->last_chunk;
    judge_note_awaits(flow);
    flow->unheard = 1u << SMTP_CLIENT | 1u << SMTP_SERVER;
    flow->undelayed = flow->smtp.answered + flow->smtp.ledger.count;
    if (flow->state == FLOW_CLOSED)
        return true; /* its end was told */
    engine->counters.flows_resumed++;
    tell(engine, EVENT_FLOW_START, flow);
    flow->owes_end = true;
    return true;
}

/* Nothing is read of it any more. */
static void restore_unread(struct engine *engine, struct flow *flow)
{
    smtp_session_init(&flow->smtp);
    smtp_session_give_up(&flow->smtp, &engine->blocks);
    flow->told_unedited = true;
    struct event *event = tell(engine, EVENT_UNEDITED, flow);
    if (event)
        event->reason = "taken-over";
}

/* Both ends will be reset: what was promised is not known, or the reset is on its way, and was counted. */
static void restore_reset(struct engine *engine, struct flow *flow)
{
    bool counted = flow->state == FLOW_CLOSED;
    flow->state = FLOW_CLOSED;
    flow->reset = FLOW_RESET_LOST;
    if (counted)
        return;
    engine->counters.promises_broken++;
    engine->counters.connections_reset++;
}

/* What a record says, into its flow. False where there is no room for it. */
static bool restore_streams(struct engine *engine, uint32_t index, const struct record *record)
{
    struct flow *flow = flow_at(&engine->table, index);
    const uint8_t *octets = record->octets + dialogue_bytes(record);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        if (!restore_half(engine, &flow->halves[side], &record->halves[side], octets, (enum record_kind)record->kind))
            return false;
        octets += record->halves[side].retained_len;
    }
    if (record->kind != RECORD_RESUME)
        restore_unread(engine, flow);
    else if (!restore_dialogue(engine, index, (const void *)record->octets))
        restore_reset(engine, flow);
    return true;
}

const struct record *handover_newest(const void *place, bool *damaged)
{
    const struct record *newest = NULL;
    *damaged = false;
    for (int i = 0; i < 2; i++) {
        const struct record *record = (const void *)((const uint8_t *)place + (size_t)i * HANDOVER_COPY_BYTES);
        *damaged = *damaged || record->generation != 0;
        if (is_sound(record) && (!newest || record->generation > newest->generation))
            newest = record;
    }
    *damaged = *damaged && !newest;
    return newest;
}

struct handover_flow handover_flow(const struct record *record)
{
    return (struct handover_flow){
        .ends = {record->ends[SMTP_CLIENT], record->ends[SMTP_SERVER]},
        .last_us = record->last_us,
        .ip_version = record->ip_version,
        .closed = record->closed,
        .reset = record->kind == RECORD_RESET,
    };
}

bool handover_restore(struct engine *engine, uint32_t index, const struct record *record)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (record->kind == RECORD_RESET) {
        restore_reset(engine, flow);
        flow->resets_sent = record->reset_turns; /* as segment_reset_lost has them */
    } else if (!restore_streams(engine, index, record)) {
        return false;
    }
    bool *seen = &engine->marks_seen[record->ip_version == 6];
    *seen = *seen || record->marks_seen;
    flow->heard_out = record->heard_out != 0;
    flow->in_doubt = true;
    flow->marked = true;
    flow->marked_s = engine_seconds(engine);
    flow->handover_generation = (uint32_t)record->generation;
    flow->changed = true;
    return true;
}
