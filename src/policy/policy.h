/*
 * policy/policy - what to do with a unit of SMTP.
 *
 * In:     a unit as smtp/session cuts it.
 * Out:    a plain decision; nothing is changed here.
 * Owner:  the policy owns its strings; it does not change while an engine uses it.
 * Thread: may be shared: read only.
 */
#ifndef POSTERN_POLICY_POLICY_H
#define POSTERN_POLICY_POLICY_H

#include "policy/rule.h"

#define POLICY_KEYWORD_BYTES_MAX 64
#define POLICY_RULES_MAX         500
#define POLICY_TEXT_BYTES_MAX    65536

struct policy {
    struct smtp_keyword_set strip;                                   /* EHLO keywords that no client shall see */
    uint8_t strip_text[SMTP_KEYWORDS_MAX][POLICY_KEYWORD_BYTES_MAX]; /* where their names are kept */
    uint64_t refuse;                             /* verbs that no server shall see: bits 1 << enum smtp_verb */
    uint64_t watched;                            /* verbs that a rule or a verdict may look at, likewise */
    struct smtp_refusals refusals;               /* what actions number */
    struct smtp_action verdicts[SMTP_ANOMALIES]; /* where no rule says otherwise */
    uint32_t rule_count;
    struct rule rules[POLICY_RULES_MAX]; /* in order; the first that matches decides */
    uint32_t text_used;
    uint8_t text[POLICY_TEXT_BYTES_MAX]; /* of rules */
};

/* Exchange's private verbs that no stranger needs: XEXCH50 and X-LINK2STATE stripped, and refused if used all the same.
 */
void policy_init_default(struct policy *policy);

/* No keyword stripped, no verb refused, no rule; security verdicts as they are by default. */
void policy_init_empty(struct policy *policy);

/* Nothing is changed or refused, whatever comes; anomalies are only told. */
void policy_init_observer(struct policy *policy);

/*
 * Strip one more keyword, and refuse the verb of that name where it is one of Exchange's private ones. False where the
 * set is full, or the keyword is no RFC 5321 ehlo-keyword or too long.
 */
bool policy_strip(struct policy *policy, struct span keyword);

/* Keep a copy of a text of a rule, ended by NUL; NULL where there is no room. Lives as long as the policy. */
const char *policy_keep(struct policy *policy, struct span text);

/* One more rule, behind the others. False where there is no room. */
bool policy_add_rule(struct policy *policy, const struct rule *rule);

/* The decision about a unit. */
struct smtp_action policy_judge(const struct policy *policy, const struct smtp_unit *unit);

#endif
