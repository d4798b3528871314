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

void rules_guard(struct policy *policy, const char *mark, uint32_t delay_ms)
{
    static const uint8_t v4[4] = {10, 1, 0, 1}, v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};
    const struct network ours[] = {network_of(4, v4, 32), network_of(6, v6, 128)};
    struct rule rule = rule_of("guard", RULE_ON_REPLY);
    bool good = policy_name_pattern(policy, &rule, (struct rule_pattern){.glob = span_of(mark)}, false);
    rule.directions = 1u << POLICY_OUTBOUND;
    rule.codes.count = 1;
    rule.codes.ranges[0].first = 400;
    rule.codes.ranges[0].last = 499;
    rule.action.delay_ms = delay_ms;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        good = good && policy_protect(policy, ours[i]) &&
               policy_name_network(policy, &rule, POLICY_CLIENT, ours[i], false);
    if (!good || !policy_set_guard(policy, &rule) || !policy_seal(policy))
        abort();
}
