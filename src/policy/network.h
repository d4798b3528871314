/*
 * policy/network - networks of both families, and which of them an address lies in.
 *
 * In:     networks that rules name (network_table_add), then network_table_seal.
 * Out:    for an address, a class: what all rules say of the networks that it lies in.
 * Owner:  the table lives in its caller's arena.
 * Thread: read only once it is sealed.
 * Limits: NETWORK_CLASSES_MAX different sets of rules.
 * Cost:   a look-up is a binary search over the networks' ends, done once for each end of a connection.
 */
#ifndef POSTERN_POLICY_NETWORK_H
#define POSTERN_POLICY_NETWORK_H

#include "policy/arena.h"
#include "policy/rule_set.h"

#define NETWORK_CLASSES_MAX 4096

#define NETWORK_ADDRESS_BYTES 17

/* The family, 4 or 6, and the address behind it, so that one order holds for both and neither contains the other. */
struct network {
    uint8_t address[NETWORK_ADDRESS_BYTES];
    uint8_t prefix; /* bits, those of the family included */
};

struct network_entry {
    struct network network;
    uint16_t rule;
    bool except;
};

/* From `from` on, up to the next one's, addresses are of this class. */
struct network_range {
    uint8_t from[NETWORK_ADDRESS_BYTES];
    uint16_t class;
};

struct network_table {
    struct network_entry *entries;
    uint32_t count, room;
    struct network_range *ranges;
    uint32_t range_count;
    struct rule_marks *classes; /* number 0: in none of the networks */
    uint32_t class_count;
};

/* The network of one address with so many bits (of 32 or 128); bits behind them are cleared. */
struct network network_of(uint8_t ip_version, const uint8_t *address, uint8_t prefix);

bool network_contains(const struct network *outer, const struct network *inner);

/* One more network that `rule` names. False where there is no room. */
bool network_table_add(struct network_table *table, struct arena *arena, struct network network, uint32_t rule,
                       bool except);

/* Look-ups see what was added. False where there is no room. */
bool network_table_seal(struct network_table *table, struct arena *arena);

/* The class of an address of 4 or 16 octets. */
uint16_t network_table_class(const struct network_table *table, uint8_t ip_version, const uint8_t *address);

#endif
