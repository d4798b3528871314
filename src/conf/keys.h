/*
 * conf/keys - every key of a rule file: one table that the parser reads by and the reference is written from.
 *
 * Thread: read only.
 */
#ifndef POSTERN_CONF_KEYS_H
#define POSTERN_CONF_KEYS_H

#include <confuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define KEYS_MAX 64 /* in one section */

enum key_type {
    KEY_CHOICE, /* yes, no: bool */
    KEY_NUMBER,
    KEY_DURATION, /* stored in units of `unit_ms` */
    KEY_SIZE,     /* octets */
    KEY_WORD,     /* one of `words`: its index */
    KEY_TEXT,     /* const char * */
    KEY_LIST,     /* texts; taken by code of their own */
};

/* How a key of a rule narrows what the rule matches: what conf/unreachable compares rules by. */
enum key_narrows {
    NARROWS_NOT,    /* it says what happens, or is compared by its own (`on`) */
    NARROWS_LIST,   /* to what is in the list; empty: to nothing */
    NARROWS_EXCEPT, /* by what is in the list */
    NARROWS_WORD,   /* to that word; the first of them, and none, leaves it open */
    NARROWS_LIMIT,  /* to what is more */
};

/* In the order in which a row of the table is read. */
struct key {             // NOLINT(clang-analyzer-optin.performance.Padding)
    const char *section; /* "" outside of sections */
    const char *name;
    enum key_type type;
    const char *fallback; /* as it would be written; NULL: nothing is set */
    uint64_t least, most; /* of NUMBER, DURATION (ms), SIZE */
    const char *words;    /* of WORD, separated by blanks */
    size_t at;            /* where its value is kept in the section's structure */
    uint8_t width;        /* octets of that; 0: taken by code of its own */
    uint16_t unit_ms;     /* of a DURATION: 1, or 1000 for seconds */
    enum key_narrows narrows;
    const char *about; /* a sentence or two for the reference */
};

/* The table; its end has no name. */
extern const struct key keys[];

/* The key of that name in a section; NULL where there is none. */
const struct key *key_find(const char *section, const char *name);

/* The names of a section's keys into `names`, of KEYS_MAX; returns how many. */
size_t key_names(const char *section, const char *names[KEYS_MAX]);

/* The words of a KEY_WORD, separately, into `words` of KEYS_MAX, whose texts are in `room` of `size` octets. */
size_t key_words(const struct key *key, char *room, size_t size, const char *words[KEYS_MAX]);

/* libConfuse's options for a section, of KEYS_MAX + 1; returns how many, without an end. */
size_t key_options(const char *section, cfg_opt_t *options);

/*
 * What is wrong with a value as it is written; true where nothing is. `wrong` of `size` octets says what to write.
 */
bool key_check(const struct key *key, const char *text, char *wrong, size_t size);

/* The values of a section, which were checked, into its structure; what is not set stays. */
void key_store(const char *section, cfg_t *cfg, void *structure);

/* The reference of all keys, as Markdown. */
bool key_reference(FILE *out);

#endif
