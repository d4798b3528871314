/*
 * base/list - objects of a pool in a row, by age.
 *
 * In:     objects that have a struct list_link, at the same place in each.
 * Owner:  the caller's; a zeroed list is empty.
 * Cost:   constant time.
 */
#ifndef POSTERN_BASE_LIST_H
#define POSTERN_BASE_LIST_H

#include "base/pool.h"

struct list {
    uint32_t oldest, newest; /* indices; POOL_NONE where it is empty */
};

struct list_link {
    uint32_t older, newer; /* POOL_NONE at the ends */
};

/* The link of an object: `at` octets behind its beginning. */
static inline struct list_link *list_link_at(const struct pool *pool, size_t at, uint32_t index)
{
    return (void *)((uint8_t *)pool_at(pool, index) + at);
}

/* As the newest; it is on no list. */
static inline void list_append(struct list *list, const struct pool *pool, size_t at, uint32_t index)
{
    *list_link_at(pool, at, index) = (struct list_link){.older = list->newest};
    if (list->newest != POOL_NONE)
        list_link_at(pool, at, list->newest)->newer = index;
    else
        list->oldest = index;
    list->newest = index;
}

/* It is on this list. */
static inline void list_remove(struct list *list, const struct pool *pool, size_t at, uint32_t index)
{
    const struct list_link *link = list_link_at(pool, at, index);
    if (link->older != POOL_NONE)
        list_link_at(pool, at, link->older)->newer = link->newer;
    else
        list->oldest = link->newer;
    if (link->newer != POOL_NONE)
        list_link_at(pool, at, link->newer)->older = link->older;
    else
        list->newest = link->older;
}

#endif
