/*
 * engine/timer - deadlines for flows: a hierarchical wheel of milliseconds.
 *
 * In:     one deadline for each id from 1 to count.
 * Out:    the ids whose deadline has come, one at a time.
 * Owner:  the caller owns the storage.
 * Cost:   setting, clearing and expiring take constant time, however far the deadline and however long nobody looked.
 *         One call of timer_advance moves at most TIMER_MOVES_MAX nodes nearer; where more wait to be moved,
 *         timer_next_ms says that the next call is due now.
 * Note:   a node lies on the level of the highest base-64 digit in which its deadline differs from the present, in the
 *         slot of that digit; so no level ever wraps, and a coarse node moves down as its time comes near.
 */
#ifndef POSTERN_ENGINE_TIMER_H
#define POSTERN_ENGINE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_LEVELS    8 /* 2^48 ms: for ever */
#define TIMER_SLOTS     64
#define TIMER_MOVES_MAX 2048

struct timer_node {
    uint32_t next, prev; /* ids; 0 where none */
    uint64_t due : 48;   /* ms */
    uint64_t list : 16;  /* 1 + the list it is on, 0 while not set; exact for the first of a list only */
};

struct timer_wheel {
    struct timer_node *nodes; /* by id; the first is not used */
    uint64_t now_ms;
    uint64_t occupied[TIMER_LEVELS]; /* a bit for each slot */
    /* A list for each slot; one for each level, of nodes whose slot has begun and that are not moved yet; and the last,
       of those that are due. */
    uint32_t heads[TIMER_LEVELS * (TIMER_SLOTS + 1) + 1];
    uint32_t begun; /* levels whose slots have begun and are not empty: bits 1 << level */
    uint32_t count;
};

/* `nodes` has count + 1 zeroed nodes. */
void timer_init(struct timer_wheel *wheel, struct timer_node *nodes, uint32_t count);

/* Set, or set anew. A deadline that has passed is due at once. */
void timer_set(struct timer_wheel *wheel, uint32_t id, uint64_t due_ms);

void timer_clear(struct timer_wheel *wheel, uint32_t id);

/* The time has come to now_ms; it never goes back (an earlier time changes nothing). */
void timer_advance(struct timer_wheel *wheel, uint64_t now_ms);

/* An id whose deadline has come; it is not set any more. 0 where there is none. */
uint32_t timer_expired(struct timer_wheel *wheel);

/* When timer_advance is worth calling next: never later than the next deadline; UINT64_MAX where none is set. */
uint64_t timer_next_ms(const struct timer_wheel *wheel);

/* The deadline of an id, UINT64_MAX where it is not set. */
uint64_t timer_due_ms(const struct timer_wheel *wheel, uint32_t id);

#endif
