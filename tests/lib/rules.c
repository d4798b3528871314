#include "rules.h"

#include <stdlib.h>

void rules_add(struct policy *policy, const char *name, enum rule_event on, const char *match,
               enum smtp_action_kind kind, const char *line)
{
    struct rule rule = rule_of(name, on);
    bool good = true;
    rule.action.kind = kind;
    if (on == RULE_ON_COMMAND)
        rule.verbs = UINT64_C(1) << smtp_verb_find(span_of(match));
    else if (match)
        good = policy_name_pattern(policy, &rule, (struct rule_pattern){.glob = span_of(match)}, false);
    if (line)
        rule.action.refusal = smtp_refusal_add(&policy->refusals, span_of(line), rule.name);
    if (!good || !policy_add_rule(policy, &rule))
        abort();
}
