/*
 * policy/arena - memory that a policy is laid out in: handed out piece by piece, given back all at once by its owner.
 */
#ifndef POSTERN_POLICY_ARENA_H
#define POSTERN_POLICY_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct arena {
    uint8_t *base; /* aligned to 16 */
    size_t size;
    size_t used;
    bool full; /* something did not fit */
};

/* Zeroed, aligned to 16; NULL where there is not so much left. */
static inline void *arena_take(struct arena *arena, size_t octets)
{
    size_t need = (octets + 15) & ~(size_t)15;
    if (need < octets || need > arena->size - arena->used) {
        arena->full = true;
        return NULL;
    }
    uint8_t *piece = arena->base + arena->used;
    arena->used += need;
    memset(piece, 0, need);
    return piece;
}

#endif
