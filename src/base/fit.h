/*
 * base/fit - objects as large as they must be, of pools of several sizes.
 *
 * In:     a pool, with others of ever smaller objects hanging on it (pool->smaller); without any it is as a pool alone.
 * Out:    objects named by an index that says of which pool they are; POOL_NONE (0) names none.
 * Owner:  as of a pool. An index is of use with the same first pool only, and not with pool_at.
 * Limits: FIT_POOLS pools. The smallest that fits gives its own, or nothing: what is small in number stays for what is
 *         large.
 */
#ifndef POSTERN_BASE_FIT_H
#define POSTERN_BASE_FIT_H

#include "base/pool.h"

#define FIT_POOLS 4

enum { FIT_DEPTH_SHIFT = 30 };

/* The pool of an object. */
static inline struct pool *fit_pool(struct pool *largest, uint32_t index)
{
    struct pool *pool = largest;
    for (uint32_t depth = index >> FIT_DEPTH_SHIFT; depth > 0; depth--)
        pool = pool->smaller;
    return pool;
}

static inline void *fit_at(const struct pool *largest, uint32_t index)
{
    const struct pool *pool = largest;
    for (uint32_t depth = index >> FIT_DEPTH_SHIFT; depth > 0; depth--)
        pool = pool->smaller;
    return pool_at(pool, index & ((1u << FIT_DEPTH_SHIFT) - 1));
}

/* Octets that the object has room for. */
static inline uint32_t fit_bytes(const struct pool *largest, uint32_t index)
{
    const struct pool *pool = largest;
    for (uint32_t depth = index >> FIT_DEPTH_SHIFT; depth > 0; depth--)
        pool = pool->smaller;
    return pool->object_bytes;
}

/* An object with room for `bytes` octets, at most those of the largest; POOL_NONE where none is left. */
uint32_t fit_borrow(struct pool *largest, uint32_t bytes);

void fit_return(struct pool *largest, uint32_t index);

uint32_t fit_move(struct pool *largest, uint32_t index, uint32_t kept, uint32_t bytes);

/*
 * The object, or another one in its place, with room for `bytes` octets, of which the first `kept` are the same as
 * before. POOL_NONE, and the object is what it was, where none is left.
 */
static inline uint32_t fit_grow(struct pool *largest, uint32_t index, uint32_t kept, uint32_t bytes)
{
    return bytes <= fit_bytes(largest, index) ? index : fit_move(largest, index, kept, bytes);
}

/* Octets of all objects that are out. */
uint64_t fit_used_bytes(const struct pool *largest);

#endif
