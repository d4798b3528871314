/*
 * policy/rule_set - a set of rules by number: what the tables that rules are compiled into hold.
 *
 * Limits: RULES_MAX.
 */
#ifndef POSTERN_POLICY_RULE_SET_H
#define POSTERN_POLICY_RULE_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define RULES_MAX      512
#define RULE_SET_WORDS (RULES_MAX / 64)

struct rule_set {
    uint64_t words[RULE_SET_WORDS];
};

/* What a table says of one of its entries. */
struct rule_marks {
    struct rule_set match;  /* these rules name it */
    struct rule_set except; /* these rules name it as an exception */
};

static inline void rule_set_add(struct rule_set *set, uint32_t rule)
{
    set->words[rule / 64] |= UINT64_C(1) << (rule % 64);
}

static inline bool rule_set_has(const struct rule_set *set, uint32_t rule)
{
    return set->words[rule / 64] >> (rule % 64) & 1;
}

static inline bool rule_set_equal(const struct rule_marks *a, const struct rule_marks *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

#endif
