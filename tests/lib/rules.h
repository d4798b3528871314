/*
 * tests/lib/rules - rules for tests that have no rule file.
 */
#ifndef POSTERN_TESTS_LIB_RULES_H
#define POSTERN_TESTS_LIB_RULES_H

#include "policy/policy.h"

/* A rule whose match is a verb (RULE_ON_COMMAND) or a pattern; NULL: everything. Ends the program where it cannot. */
void rules_add(struct policy *policy, const char *name, enum rule_event on, const char *match,
               enum smtp_action_kind kind, const char *line);

#endif
