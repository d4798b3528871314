/*
 * policy/words - texts that rules name, each found at once however many there are.
 *
 * In:     words, addresses and domains (words_add), then those of a session.
 * Out:    what all rules say of it.
 * Owner:  the table and its texts live in its caller's arena.
 * Thread: read only once it is filled.
 * Limits: WORD_BYTES_MAX; longer texts are in no table. Of a longer address the domain is found.
 * Cost:   a look-up takes time by the length of the text and the labels of its domain, not by the number of entries.
 */
#ifndef POSTERN_POLICY_WORDS_H
#define POSTERN_POLICY_WORDS_H

#include "base/span.h"
#include "policy/arena.h"
#include "policy/rule_set.h"

#define WORD_BYTES_MAX 320 /* RFC 5321 4.5.3.1: a local part of 64, `@`, a domain of 255 octets */

enum word_kind {
    WORD_EXACT,   /* the whole text: a keyword, an address, `<>` */
    WORD_LOCAL,   /* the local part, whatever the domain: written `user@` */
    WORD_DOMAIN,  /* the domain itself: written `@example.net` */
    WORD_DOMAINS, /* the domain and all below it: written `example.net` */
    WORD_BELOW,   /* what is below the domain: written `.example.net` */
};

struct word_entry {
    const uint8_t *text; /* in lower case; NULL: free */
    uint16_t len;
    uint8_t kind;
    uint32_t marks; /* index */
};

struct word_table {
    struct word_entry *entries;
    uint32_t count, room; /* room: a power of two, or none */
    struct rule_marks *marks;
    uint32_t marks_count, marks_room;
};

/* One more text that `rule` names. False where there is no room, or it is too long. */
bool words_add(struct word_table *table, struct arena *arena, enum word_kind kind, struct span text, uint32_t rule,
               bool except);

/* Add to *marks what rules say of a text as a whole. */
void words_find(const struct word_table *table, struct span text, struct rule_marks *marks);

/* Add to *marks what rules say of an address: as a whole, of its local part, its domain and those above. */
void words_find_address(const struct word_table *table, struct span address, struct rule_marks *marks);

#endif
