#include "policy/network.h"

enum { ADDRESS_BYTES = NETWORK_ADDRESS_BYTES, FAMILY_BITS = 8, NEST_MAX = 8 * ADDRESS_BYTES + 1 };

static void set_address(uint8_t ip_version, const uint8_t *address, uint8_t out[ADDRESS_BYTES])
{
    memset(out, 0, ADDRESS_BYTES);
    out[0] = ip_version;
    memcpy(out + 1, address, ip_version == 4 ? 4 : 16);
}

struct network network_of(uint8_t ip_version, const uint8_t *address, uint8_t prefix)
{
    struct network network = {.prefix = (uint8_t)(prefix + FAMILY_BITS)};
    set_address(ip_version, address, network.address);
    uint32_t whole = network.prefix / 8u;
    if (whole < ADDRESS_BYTES) {
        network.address[whole] &= (uint8_t)(0xff00u >> (network.prefix % 8u));
        memset(network.address + whole + 1, 0, ADDRESS_BYTES - whole - 1);
    }
    return network;
}

bool network_contains(const struct network *outer, const struct network *inner)
{
    if (inner->prefix < outer->prefix)
        return false;
    uint32_t whole = outer->prefix / 8u, rest = outer->prefix % 8u;
    uint8_t mask = (uint8_t)(0xff00u >> rest);
    return memcmp(outer->address, inner->address, whole) == 0 &&
           (rest == 0 || ((outer->address[whole] ^ inner->address[whole]) & mask) == 0);
}

bool network_table_add(struct network_table *table, struct arena *arena, struct network network, uint32_t rule,
                       bool except)
{
    if (table->count == table->room) {
        uint32_t room = table->room ? table->room * 2 : 64;
        struct network_entry *entries = arena_take(arena, room * sizeof *entries);
        if (!entries)
            return false;
        if (table->count)
            memcpy(entries, table->entries, table->count * sizeof *entries);
        table->entries = entries;
        table->room = room;
    }
    table->entries[table->count++] = (struct network_entry){network, (uint16_t)rule, except};
    return true;
}

/* ---- sealing: networks nest or lie apart, so one pass with a stack finds every range ---- */

/* By first address; of those that begin alike the wider one first. */
static int order(const struct network_entry *a, const struct network_entry *b)
{
    int addresses = memcmp(a->network.address, b->network.address, ADDRESS_BYTES);
    return addresses ? addresses : (int)a->network.prefix - (int)b->network.prefix;
}

static void sift_down(struct network_entry *heap, uint32_t root, uint32_t count)
{
    for (uint32_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && order(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (order(&heap[root], &heap[child]) >= 0)
            return;
        struct network_entry swapped = heap[root];
        heap[root] = heap[child];
        heap[child] = swapped;
    }
}

/* Heap sort: in place, and no worse for an order that somebody chose. */
static void sort(struct network_entry *entries, uint32_t count)
{
    for (uint32_t root = count / 2; root > 0; root--)
        sift_down(entries, root - 1, count);
    for (uint32_t end = count; end > 1; end--) {
        struct network_entry swapped = entries[0];
        entries[0] = entries[end - 1];
        entries[end - 1] = swapped;
        sift_down(entries, 0, end - 1);
    }
}

/* The address behind the last one of a network; false where there is none. */
static bool address_behind(const struct network *network, uint8_t out[ADDRESS_BYTES])
{
    memcpy(out, network->address, ADDRESS_BYTES);
    uint32_t bit = network->prefix - 1u;
    unsigned carry = 0x80u >> (bit % 8);
    for (uint32_t at = bit / 8 + 1; at-- > 0 && carry;) {
        carry += out[at];
        out[at] = (uint8_t)carry;
        carry >>= 8;
    }
    return carry == 0;
}

/* The class with these marks; a new one where there is none yet. Returns UINT16_MAX where there is no room. */
static uint16_t class_of(struct network_table *table, const struct rule_marks *marks)
{
    for (uint32_t i = table->class_count; i-- > 0;)
        if (rule_set_equal(&table->classes[i], marks))
            return (uint16_t)i;
    if (table->class_count == NETWORK_CLASSES_MAX)
        return UINT16_MAX;
    table->classes[table->class_count] = *marks;
    return (uint16_t)table->class_count++;
}

static void begin_range(struct network_table *table, const uint8_t from[ADDRESS_BYTES], uint16_t class)
{
    bool again = table->range_count > 0 && memcmp(table->ranges[table->range_count - 1].from, from, ADDRESS_BYTES) == 0;
    if (!again)
        table->range_count++;
    struct network_range *range = &table->ranges[table->range_count - 1];
    memcpy(range->from, from, ADDRESS_BYTES);
    range->class = class;
}

/* The networks that go on at the present place, the widest first. */
struct nest {
    const struct network *networks[NEST_MAX];
    uint16_t classes[NEST_MAX];
    uint32_t depth;
};

/* Leave the innermost network. */
static void leave(struct network_table *table, struct nest *nest)
{
    uint8_t behind[ADDRESS_BYTES];
    const struct network *left = nest->networks[--nest->depth];
    if (address_behind(left, behind))
        begin_range(table, behind, nest->depth ? nest->classes[nest->depth - 1] : 0);
}

/* Entries of one and the same network make one step. */
static bool enter(struct network_table *table, struct nest *nest, const struct network_entry *entry)
{
    const struct network *top = nest->depth ? nest->networks[nest->depth - 1] : NULL;
    bool same = top && top->prefix == entry->network.prefix && network_contains(top, &entry->network);
    struct rule_marks marks = table->classes[nest->depth ? nest->classes[nest->depth - 1] : 0];
    rule_set_add(entry->except ? &marks.except : &marks.match, entry->rule);
    uint16_t class = class_of(table, &marks);
    if (class == UINT16_MAX)
        return false;
    if (!same)
        nest->networks[nest->depth++] = &entry->network;
    nest->classes[nest->depth - 1] = class;
    begin_range(table, entry->network.address, class);
    return true;
}

bool network_table_seal(struct network_table *table, struct arena *arena)
{
    table->ranges = arena_take(arena, (2 * (size_t)table->count + 1) * sizeof *table->ranges);
    size_t classes = (size_t)table->count * 2 + 1;
    if (classes > NETWORK_CLASSES_MAX)
        classes = NETWORK_CLASSES_MAX;
    table->classes = arena_take(arena, classes * sizeof *table->classes);
    if (!table->ranges || !table->classes)
        return false;
    table->class_count = 1;
    table->range_count = 0;
    static const uint8_t lowest[ADDRESS_BYTES];
    begin_range(table, lowest, 0);
    sort(table->entries, table->count);
    struct nest nest = {.depth = 0};
    for (uint32_t i = 0; i < table->count; i++) {
        while (nest.depth && !network_contains(nest.networks[nest.depth - 1], &table->entries[i].network))
            leave(table, &nest);
        if (!enter(table, &nest, &table->entries[i]))
            return false;
    }
    while (nest.depth)
        leave(table, &nest);
    arena->used -= (classes - table->class_count) * sizeof *table->classes;
    return true;
}

uint16_t network_table_class(const struct network_table *table, uint8_t ip_version, const uint8_t *address)
{
    if (table->range_count < 2)
        return 0;
    uint8_t key[ADDRESS_BYTES];
    set_address(ip_version, address, key);
    uint32_t low = 0, high = table->range_count; /* the first range begins at or before every address */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(table->ranges[middle].from, key, ADDRESS_BYTES) <= 0)
            low = middle;
        else
            high = middle;
    }
    return table->ranges[low].class;
}
