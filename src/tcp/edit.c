#include "tcp/edit.h"

#include <assert.h>

struct entry {
    uint32_t next;
    uint32_t at; /* ingress */
    uint32_t ingress_len;
    uint32_t egress_len;
};

static_assert(sizeof(struct entry) == EDIT_ENTRY_BYTES, "an entry fills its place in the pool");

static struct entry *entry_at(const struct pool *entries, uint32_t index)
{
    return index == POOL_NONE ? NULL : pool_at(entries, index);
}

void edit_init(struct edit_log *log, uint32_t start)
{
    *log = (struct edit_log){.anchor = start, .anchor_egress = start, .end = start, .end_egress = start};
}

void edit_decide(struct edit_log *log, struct pool *entries, uint32_t ingress_len, uint32_t egress_len)
{
    uint32_t at = log->end;
    log->end += ingress_len;
    log->end_egress += egress_len;
    if (ingress_len == egress_len)
        return;

    struct entry *last = entry_at(entries, log->tail);
    /* A deletion that follows a deletion is the same deletion: its inside maps to one place in any case. */
    if (last && egress_len == 0 && last->egress_len == 0 && last->at + last->ingress_len == at) {
        last->ingress_len += ingress_len;
        return;
    }
    uint32_t index = pool_borrow(entries);
    assert(index != POOL_NONE);
    *(struct entry *)pool_at(entries, index) = (struct entry){POOL_NONE, at, ingress_len, egress_len};
    if (last)
        last->next = index;
    else
        log->head = index;
    log->tail = index;
}

uint32_t edit_forward(const struct edit_log *log, const struct pool *entries, uint32_t seq)
{
    if (!seq_before(seq, log->end))
        return log->end_egress + (seq - log->end);
    uint32_t offset = log->anchor_egress - log->anchor;
    for (const struct entry *e = entry_at(entries, log->head); e; e = entry_at(entries, e->next)) {
        if (!seq_after(seq, e->at))
            break;
        uint32_t inside = seq - e->at;
        if (inside < e->ingress_len)
            return e->at + offset + (inside < e->egress_len ? inside : e->egress_len);
        offset += e->egress_len - e->ingress_len;
    }
    return seq + offset;
}

/* The last ingress position whose egress position is not after `ack`. */
uint32_t edit_backward(const struct edit_log *log, const struct pool *entries, uint32_t ack)
{
    if (!seq_before(ack, log->end_egress))
        return log->end + (ack - log->end_egress);
    uint32_t offset = log->anchor_egress - log->anchor;
    for (const struct entry *e = entry_at(entries, log->head); e; e = entry_at(entries, e->next)) {
        uint32_t egress_at = e->at + offset;
        if (seq_before(ack, egress_at))
            break;
        uint32_t inside = ack - egress_at;
        if (inside < e->egress_len)
            return e->at + (inside < e->ingress_len ? inside : e->ingress_len - 1);
        offset += e->egress_len - e->ingress_len;
    }
    return ack - offset;
}

bool edit_backward_block(const struct edit_log *log, const struct pool *entries, uint32_t *left, uint32_t *right)
{
    uint32_t from = edit_backward(log, entries, *left);
    if (edit_forward(log, entries, from) != *left)
        from++; /* the block begins inside what this octet stands for */
    uint32_t to = edit_backward(log, entries, *right);
    if (!seq_before(from, to))
        return false;
    *left = from;
    *right = to;
    return true;
}

void edit_acknowledge(struct edit_log *log, struct pool *entries, uint32_t ack)
{
    if (!seq_after(ack, log->anchor_egress) && log->head == POOL_NONE)
        return;
    if (seq_before(ack, log->anchor_egress))
        return;
    if (seq_after(ack, log->end_egress))
        ack = log->end_egress;
    for (struct entry *e; (e = entry_at(entries, log->head)) != NULL;) {
        uint32_t egress_at = e->at + (log->anchor_egress - log->anchor);
        if (seq_before(ack, egress_at + e->egress_len))
            break;
        log->anchor = e->at + e->ingress_len;
        log->anchor_egress = egress_at + e->egress_len;
        uint32_t index = log->head;
        log->head = e->next;
        if (log->head == POOL_NONE)
            log->tail = POOL_NONE;
        pool_return(entries, index);
    }
    struct entry *e = entry_at(entries, log->head);
    uint32_t limit = e ? e->at + (log->anchor_egress - log->anchor) : log->end_egress;
    uint32_t to = seq_min(ack, limit);
    if (seq_after(to, log->anchor_egress)) {
        log->anchor += to - log->anchor_egress;
        log->anchor_egress = to;
    }
}

static uint32_t look(const struct pool *entries, uint32_t id, struct edit_entry *entry)
{
    const struct entry *e = entry_at(entries, id);
    if (e)
        *entry = (struct edit_entry){e->at, e->ingress_len, e->egress_len};
    return id;
}

uint32_t edit_first(const struct edit_log *log, const struct pool *entries, struct edit_entry *entry)
{
    return look(entries, log->head, entry);
}

uint32_t edit_next(const struct pool *entries, uint32_t id, struct edit_entry *entry)
{
    return look(entries, entry_at(entries, id)->next, entry);
}

void edit_clear(struct edit_log *log, struct pool *entries)
{
    while (log->head != POOL_NONE) {
        uint32_t index = log->head;
        log->head = entry_at(entries, index)->next;
        pool_return(entries, index);
    }
    log->tail = POOL_NONE;
}
