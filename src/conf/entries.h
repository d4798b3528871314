/*
 * conf/entries - the lists of a rule: networks, addresses, words, patterns; written in the rule, or in a file of their
 * own, one entry a line.
 *
 * Errors: false, with a complaint that names the entry, and the list's file and line where it has one.
 */
#ifndef POSTERN_CONF_ENTRIES_H
#define POSTERN_CONF_ENTRIES_H

#include <confuse.h>

#include "conf/conf.h"

/* The rule that is being read. */
struct rule_draft {
    struct conf *conf;
    cfg_t *cfg;
    struct rule rule;
};

/* Networks of `key` for one end of the connection. */
bool entries_take_networks(struct rule_draft *draft, const char *key, enum policy_end end, bool except);

/* A network outside of rules: one of `protected`. */
bool entries_take_ends(struct conf *conf, cfg_t *cfg, bool balancers, const char *entry);

/* One of the greylist's exempt-clients, exempt-senders, exempt-recipients. */
bool entries_take_exempt(struct conf *conf, cfg_t *cfg, const char *key, const char *entry);

/* One of `opt-out` of a section that has a name. */
bool entries_take_opt_out(struct conf *conf, struct greylist_variant *variant, cfg_t *cfg, const char *entry);

/* Give one text of `match` or `except` its place: a word that a table finds, or a pattern; or those of a list's file.
 */
bool entries_take_word(struct rule_draft *draft, const char *word, bool except);

/* A network as it is written; false, without a complaint, where it is none. */
bool entries_read_network(const char *text, struct network *network);

#endif
