/*
 * conf/regex - regular expressions of rules, with PCRE2.
 *
 * Owner:  a list of the configuration's; regex_free_all gives it back.
 * Thread: regex_matches may be called by several threads: what it writes to is each one's own.
 * Limits: a match that takes more than REGEX_STEPS_MAX steps, or REGEX_HEAP_KIB of memory, is not decided. The memory
 *         is set aside, nothing is allocated while packets are judged.
 */
#ifndef POSTERN_CONF_REGEX_H
#define POSTERN_CONF_REGEX_H

#include "policy/rule.h"

#define REGEX_STEPS_MAX 20000
#define REGEX_HEAP_KIB  64

struct regex;

/* Compile an expression into the list; case of letters does not count. NULL, and what is wrong with it, where it
 * cannot. */
const struct regex *regex_add(struct regex **list, struct span expression, char *wrong, size_t size);

/* For struct rule_pattern. */
enum rule_match regex_matches(const void *regex, struct span text);

void regex_free_all(struct regex *list);

#endif
