/*
 * base/pool - objects of one size in storage laid out beforehand.
 *
 * In:     storage of pool_bytes() octets, zeroed.
 * Out:    objects named by an index from 1 on; POOL_NONE (0) names none, so zeroed structures hold no object.
 * Owner:  the caller owns the storage; whoever borrowed an object returns it once.
 * Limits: `count` objects; running out is an ordinary status (POOL_NONE).
 * Note:   objects are handed out in ascending order before any is used again, so that storage never needed is never
 *         touched. A borrowed object's octets are what the last user left in them.
 */
#ifndef POSTERN_BASE_POOL_H
#define POSTERN_BASE_POOL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define POOL_NONE 0u

struct pool {
    uint8_t *storage;
    uint32_t object_bytes; /* a multiple of 8 */
    uint32_t count;        /* objects in all */
    uint32_t fresh;        /* objects that were handed out at least once */
    uint32_t free_head;    /* the last one returned; each free object begins with the index of the next */
    uint32_t used;         /* objects out now */
    struct pool *smaller;  /* one of smaller objects, for those who ask by size (base/fit); NULL: none */
};

static inline size_t pool_bytes(uint32_t object_bytes, uint32_t count)
{
    return (size_t)object_bytes * count;
}

static inline void pool_init(struct pool *pool, void *storage, uint32_t object_bytes, uint32_t count)
{
    assert(object_bytes % 8 == 0 && object_bytes >= sizeof(uint32_t));
    *pool = (struct pool){.storage = storage, .object_bytes = object_bytes, .count = count};
}

/* The object with this index; it must be out. */
static inline void *pool_at(const struct pool *pool, uint32_t index)
{
    assert(index - 1 < pool->fresh); /* POOL_NONE is not */
    return pool->storage + (size_t)(index - 1) * pool->object_bytes;
}

/* The index of an object that is out. */
static inline uint32_t pool_index(const struct pool *pool, const void *object)
{
    return (uint32_t)((size_t)((const uint8_t *)object - pool->storage) / pool->object_bytes) + 1;
}

/* Where the object lies that is handed out next; not to be read. */
static inline const void *pool_next(const struct pool *pool)
{
    uint32_t index = pool->free_head ? pool->free_head : pool->fresh < pool->count ? pool->fresh + 1 : pool->count;
    return pool->storage + (size_t)(index - 1) * pool->object_bytes;
}

/* One object, not cleared; POOL_NONE where all are out. */
static inline uint32_t pool_borrow(struct pool *pool)
{
    uint32_t index = pool->free_head;
    if (index != POOL_NONE)
        memcpy(&pool->free_head, pool_at(pool, index), sizeof pool->free_head);
    else if (pool->fresh < pool->count)
        index = ++pool->fresh;
    else
        return POOL_NONE;
    pool->used++;
    return index;
}

static inline void pool_return(struct pool *pool, uint32_t index)
{
    assert(pool->used > 0);
    memcpy(pool_at(pool, index), &pool->free_head, sizeof pool->free_head);
    pool->free_head = index;
    pool->used--;
}

static inline uint32_t pool_free_count(const struct pool *pool)
{
    return pool->count - pool->used;
}

#endif
