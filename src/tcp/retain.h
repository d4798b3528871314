/*
 * tcp/retain - octets kept in order in blocks of a shared pool.
 *
 * In:     octets appended at the end.
 * Out:    the same octets, read at any offset, released from the front.
 * Owner:  the blocks belong to the pool; a queue that is not empty holds some and must be cleared in the end.
 * Limits: the pool, and the caller's own count of blocks; running out is a status, and nothing is half done.
 * Use:    what left and is not acknowledged yet (law 2: a resend leaves with the same octets), and out-of-order
 *         segments that wait for the one before them.
 */
#ifndef POSTERN_TCP_RETAIN_H
#define POSTERN_TCP_RETAIN_H

#include "base/pool.h"
#include "base/span.h"

#define RETAIN_BLOCK_BYTES   512
#define RETAIN_BLOCK_PAYLOAD (RETAIN_BLOCK_BYTES - 4)

struct retain {
    uint32_t head;    /* first block */
    uint32_t tail;    /* last block */
    uint32_t len;     /* octets kept */
    uint32_t head_at; /* where the first octet is in the first block */
};

/* Blocks that `len` more octets will need. */
static inline uint32_t retain_blocks_needed(const struct retain *retain, uint32_t len)
{
    uint32_t used = retain->len ? (retain->head_at + retain->len + RETAIN_BLOCK_PAYLOAD - 1) / RETAIN_BLOCK_PAYLOAD : 0;
    uint32_t at = retain->len ? retain->head_at + retain->len : 0;
    return (at + len + RETAIN_BLOCK_PAYLOAD - 1) / RETAIN_BLOCK_PAYLOAD - used;
}

/* Blocks held now. */
static inline uint32_t retain_blocks(const struct retain *retain)
{
    return retain->len ? (retain->head_at + retain->len + RETAIN_BLOCK_PAYLOAD - 1) / RETAIN_BLOCK_PAYLOAD : 0;
}

/* Append all of `octets`; false, and nothing changed, where the pool has not enough blocks. */
bool retain_append(struct retain *retain, struct pool *blocks, struct span octets);

/* Let go of the first `count` octets, at most all. */
void retain_release(struct retain *retain, struct pool *blocks, uint32_t count);

/* Copy `len` octets from `offset` on; all of them must be there. */
void retain_read(const struct retain *retain, const struct pool *blocks, uint32_t offset, uint8_t *to, uint32_t len);

/* Whether the octets from `offset` on begin with `octets`; all of them must be there. */
bool retain_equal(const struct retain *retain, const struct pool *blocks, uint32_t offset, struct span octets);

#endif
