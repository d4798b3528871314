#include "engine/timer.h"

#include <assert.h>

enum {
    DIGIT_BITS = 6,
    LIST_BEGUN = TIMER_LEVELS * TIMER_SLOTS, /* and one for each further level */
    LIST_DUE = LIST_BEGUN + TIMER_LEVELS,
};

#define DUE_MAX UINT64_C(0xffffffffffff)

void timer_init(struct timer_wheel *wheel, struct timer_node *nodes, uint32_t count)
{
    *wheel = (struct timer_wheel){.nodes = nodes, .count = count};
}

static void link_node(struct timer_wheel *wheel, uint32_t id, uint32_t list)
{
    struct timer_node *node = &wheel->nodes[id];
    node->list = (list + 1) & 0xffff;
    node->prev = 0;
    node->next = wheel->heads[list];
    if (node->next)
        wheel->nodes[node->next].prev = id;
    wheel->heads[list] = id;
    if (list < LIST_BEGUN)
        wheel->occupied[list / TIMER_SLOTS] |= UINT64_C(1) << (list % TIMER_SLOTS);
}

static void empty_slot(struct timer_wheel *wheel, uint32_t list)
{
    wheel->heads[list] = 0;
    if (list < LIST_BEGUN)
        wheel->occupied[list / TIMER_SLOTS] &= ~(UINT64_C(1) << (list % TIMER_SLOTS));
    else if (list < LIST_DUE)
        wheel->begun &= ~(1u << (list - LIST_BEGUN));
}

static void unlink_node(struct timer_wheel *wheel, uint32_t id)
{
    struct timer_node *node = &wheel->nodes[id];
    if (node->next)
        wheel->nodes[node->next].prev = node->prev;
    if (node->prev) {
        wheel->nodes[node->prev].next = node->next;
    } else if (node->next) {
        wheel->heads[node->list - 1] = node->next;
        wheel->nodes[node->next].list = node->list;
    } else {
        empty_slot(wheel, (uint32_t)node->list - 1);
    }
    node->list = 0;
}

static void place(struct timer_wheel *wheel, uint32_t id)
{
    uint64_t due = wheel->nodes[id].due;
    if (due <= wheel->now_ms) {
        link_node(wheel, id, LIST_DUE);
        return;
    }
    uint32_t level = (63u - (uint32_t)__builtin_clzll(due ^ wheel->now_ms)) / DIGIT_BITS;
    link_node(wheel, id, level * TIMER_SLOTS + (uint32_t)(due >> (level * DIGIT_BITS) & (TIMER_SLOTS - 1)));
}

void timer_set(struct timer_wheel *wheel, uint32_t id, uint64_t due_ms)
{
    assert(id > 0 && id <= wheel->count);
    timer_clear(wheel, id);
    wheel->nodes[id].due = (due_ms < DUE_MAX ? due_ms : DUE_MAX) & DUE_MAX;
    place(wheel, id);
}

void timer_clear(struct timer_wheel *wheel, uint32_t id)
{
    if (wheel->nodes[id].list)
        unlink_node(wheel, id);
}

/* Move up to `limit` nodes from the front of a list to where they belong now. Returns how many. */
static uint32_t move_nodes(struct timer_wheel *wheel, uint32_t list, uint32_t limit)
{
    uint32_t moved = 0;
    for (uint32_t id; moved < limit && (id = wheel->heads[list]) != 0; moved++) {
        unlink_node(wheel, id);
        place(wheel, id);
    }
    return moved;
}

/* The time of a slot has begun: its nodes go to the list of its level, all at once. */
static void begin_slot(struct timer_wheel *wheel, uint32_t level, uint32_t slot)
{
    uint32_t begun = LIST_BEGUN + level;
    if (wheel->heads[begun]) {
        move_nodes(wheel, slot, UINT32_MAX); /* one is still being moved: rare, and small lists after a long pause */
        return;
    }
    uint32_t first = wheel->heads[slot];
    empty_slot(wheel, slot);
    wheel->begun |= 1u << level;
    wheel->heads[begun] = first;
    wheel->nodes[first].list = (begun + 1) & 0xffff;
}

void timer_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    if (now_ms > DUE_MAX)
        now_ms = DUE_MAX;
    uint64_t before = wheel->now_ms;
    if (now_ms > before)
        wheel->now_ms = now_ms;
    for (uint32_t level = 0; now_ms > before && level < TIMER_LEVELS; level++) {
        /* Slots whose time has begun: all, where a higher digit moved on; else those up to the present digit. */
        bool higher_moved = before >> ((level + 1) * DIGIT_BITS) != now_ms >> ((level + 1) * DIGIT_BITS);
        uint64_t digit = now_ms >> (level * DIGIT_BITS) & (TIMER_SLOTS - 1);
        uint64_t begun = higher_moved ? UINT64_MAX : UINT64_MAX >> (TIMER_SLOTS - 1 - digit);
        for (uint64_t slots = wheel->occupied[level] & begun; slots; slots &= slots - 1)
            begin_slot(wheel, level, level * TIMER_SLOTS + (uint32_t)__builtin_ctzll(slots));
        if (!higher_moved)
            break;
    }
    uint32_t left = TIMER_MOVES_MAX;
    while (wheel->begun && left)
        left -= move_nodes(wheel, LIST_BEGUN + (uint32_t)__builtin_ctz(wheel->begun), left);
}

uint32_t timer_expired(struct timer_wheel *wheel)
{
    uint32_t id = wheel->heads[LIST_DUE];
    if (id)
        unlink_node(wheel, id);
    return id;
}

uint64_t timer_next_ms(const struct timer_wheel *wheel)
{
    if (wheel->begun || wheel->heads[LIST_DUE])
        return wheel->now_ms;
    for (uint32_t level = 0; level < TIMER_LEVELS; level++)
        if (wheel->occupied[level]) {
            uint32_t shift = level * DIGIT_BITS;
            uint64_t digit = (uint64_t)__builtin_ctzll(wheel->occupied[level]);
            uint64_t upper = wheel->now_ms >> shift >> DIGIT_BITS << DIGIT_BITS;
            return (upper | digit) << shift;
        }
    return UINT64_MAX;
}

uint64_t timer_due_ms(const struct timer_wheel *wheel, uint32_t id)
{
    return wheel->nodes[id].list ? wheel->nodes[id].due : UINT64_MAX;
}
