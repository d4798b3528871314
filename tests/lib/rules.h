/*
 * tests/lib/rules - rules for tests that have no rule file.
 */
#ifndef POSTERN_TESTS_LIB_RULES_H
#define POSTERN_TESTS_LIB_RULES_H

#include "policy/policy.h"

/* A rule whose match is a verb (RULE_ON_COMMAND) or a pattern; NULL: everything. Ends the program where it cannot. */
void rules_add(struct policy *policy, const char *name, enum rule_event on, const char *match,
               enum smtp_action_kind kind, const char *line);

/* The clients of tests/lib/segment are ours, and guarded: replies 4xx like `mark` leave `delay_ms` later. */
void rules_guard(struct policy *policy, const char *mark, uint32_t delay_ms);

#endif
