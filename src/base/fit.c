#include "base/fit.h"

uint32_t fit_borrow(struct pool *largest, uint32_t bytes)
{
    struct pool *pool = largest;
    uint32_t depth = 0;
    assert(bytes <= largest->object_bytes);
    for (; pool->smaller && pool->smaller->object_bytes >= bytes; depth++)
        pool = pool->smaller;
    assert(depth < FIT_POOLS && pool->count < 1u << FIT_DEPTH_SHIFT);
    uint32_t index = pool_borrow(pool);
    return index == POOL_NONE ? POOL_NONE : index | depth << FIT_DEPTH_SHIFT;
}

void fit_return(struct pool *largest, uint32_t index)
{
    pool_return(fit_pool(largest, index), index & ((1u << FIT_DEPTH_SHIFT) - 1));
}

uint32_t fit_move(struct pool *largest, uint32_t index, uint32_t kept, uint32_t bytes)
{
    uint32_t grown = fit_borrow(largest, bytes);
    if (grown == POOL_NONE)
        return POOL_NONE;
    memcpy(fit_at(largest, grown), fit_at(largest, index), kept);
    fit_return(largest, index);
    return grown;
}

uint64_t fit_used_bytes(const struct pool *largest)
{
    uint64_t bytes = 0;
    for (const struct pool *pool = largest; pool; pool = pool->smaller)
        bytes += (uint64_t)pool->used * pool->object_bytes;
    return bytes;
}
