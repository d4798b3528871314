#include "tcp/retain.h"

struct block {
    uint32_t next;
    uint8_t octets[RETAIN_BLOCK_PAYLOAD];
};

static_assert(sizeof(struct block) == RETAIN_BLOCK_BYTES, "a block fills its place in the pool");

bool retain_append(struct retain *retain, struct pool *blocks, struct span octets)
{
    if (octets.len == 0)
        return true;
    if (retain_blocks_needed(retain, (uint32_t)octets.len) > pool_free_count(blocks))
        return false;
    if (retain->len == 0)
        retain->head_at = 0;
    uint32_t at = retain->len ? (retain->head_at + retain->len) % RETAIN_BLOCK_PAYLOAD : 0;
    while (octets.len) {
        if (at == 0) {
            uint32_t index = pool_borrow(blocks);
            struct block *fresh = pool_at(blocks, index);
            fresh->next = POOL_NONE;
            if (retain->len)
                ((struct block *)pool_at(blocks, retain->tail))->next = index;
            else
                retain->head = index;
            retain->tail = index;
        }
        struct block *block = pool_at(blocks, retain->tail);
        struct span part = span_head(octets, RETAIN_BLOCK_PAYLOAD - at);
        memcpy(block->octets + at, part.ptr, part.len);
        retain->len += (uint32_t)part.len;
        octets = span_tail(octets, part.len);
        at = 0;
    }
    return true;
}

void retain_release(struct retain *retain, struct pool *blocks, uint32_t count)
{
    if (count > retain->len)
        count = retain->len;
    retain->len -= count;
    retain->head_at += count;
    while (retain->head != POOL_NONE && (retain->len == 0 || retain->head_at >= RETAIN_BLOCK_PAYLOAD)) {
        uint32_t index = retain->head;
        retain->head = ((struct block *)pool_at(blocks, index))->next;
        pool_return(blocks, index);
        retain->head_at = retain->len ? retain->head_at - RETAIN_BLOCK_PAYLOAD : 0;
    }
    if (retain->len == 0)
        *retain = (struct retain){0};
}

/* The block that holds the octet at *at (from the first octet of the first block), which becomes its place in there. */
static const struct block *seek(const struct retain *retain, const struct pool *blocks, uint32_t *at)
{
    const struct block *block = pool_at(blocks, retain->head);
    for (; *at >= RETAIN_BLOCK_PAYLOAD; *at -= RETAIN_BLOCK_PAYLOAD)
        block = pool_at(blocks, block->next);
    return block;
}

void retain_read(const struct retain *retain, const struct pool *blocks, uint32_t offset, uint8_t *to, uint32_t len)
{
    assert(offset <= retain->len && len <= retain->len - offset);
    if (len == 0)
        return;
    uint32_t at = retain->head_at + offset;
    const struct block *block = seek(retain, blocks, &at);
    for (;;) {
        uint32_t part = RETAIN_BLOCK_PAYLOAD - at < len ? RETAIN_BLOCK_PAYLOAD - at : len;
        memcpy(to, block->octets + at, part);
        to += part;
        len -= part;
        if (len == 0)
            return;
        block = pool_at(blocks, block->next);
        at = 0;
    }
}

bool retain_equal(const struct retain *retain, const struct pool *blocks, uint32_t offset, struct span octets)
{
    assert(offset <= retain->len && octets.len <= retain->len - offset);
    if (octets.len == 0)
        return true;
    uint32_t at = retain->head_at + offset;
    const struct block *block = seek(retain, blocks, &at);
    for (;;) {
        struct span part = span_head(octets, RETAIN_BLOCK_PAYLOAD - at);
        if (memcmp(block->octets + at, part.ptr, part.len) != 0)
            return false;
        octets = span_tail(octets, part.len);
        if (octets.len == 0)
            return true;
        block = pool_at(blocks, block->next);
        at = 0;
    }
}
