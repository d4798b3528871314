/*
 * policy/rule - one rule: at which moment of a session it looks, at what, and what then happens.
 *
 * Owner:  texts belong to the policy's maker and live as long as the policy.
 */
#ifndef POSTERN_POLICY_RULE_H
#define POSTERN_POLICY_RULE_H

#include "smtp/session.h"

#define RULE_PATTERNS_MAX 16

/* The moments. */
enum rule_event {
    RULE_ON_COMMAND,   /* a command line; matches are verbs */
    RULE_ON_SENDER,    /* MAIL; matches are patterns of the address, `<>` the null sender */
    RULE_ON_RECIPIENT, /* RCPT; matches are patterns of the address */
    RULE_ON_STARTTLS,  /* STARTTLS or X-ANONYMOUSTLS; nothing to match */
    RULE_ON_ANOMALY,   /* something that ought not to be; matches are names of anomalies */
    RULE_EVENTS
};

/* A word in lower case, static. */
const char *rule_event_name(enum rule_event event);

struct rule {
    const char *name; /* for reports */
    enum rule_event on;
    uint32_t pattern_count; /* none: it matches always */
    struct span patterns[RULE_PATTERNS_MAX];
    uint64_t verbs;            /* RULE_ON_COMMAND: bits 1 << enum smtp_verb, in place of patterns */
    uint32_t anomalies;        /* RULE_ON_ANOMALY: bits 1 << enum smtp_anomaly, likewise */
    struct smtp_action action; /* first match decides */
};

/* Whether the rule looks at this unit, and finds what it looks for. */
bool rule_matches(const struct rule *rule, const struct smtp_unit *unit);

/*
 * Whether `text` is like `pattern`, in which `*` stands for any octets, also none, and `?` for one; without regard to
 * the case of ASCII letters. Takes time proportional to the product of the lengths at worst.
 */
bool rule_pattern_matches(struct span pattern, struct span text);

#endif
