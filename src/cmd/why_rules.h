/*
 * cmd/why_rules - what the rules of a file say to a client, moment by moment, by the code that the filter judges with.
 *
 * In:     who the client is, what it would say, and which server it would say it to, as far as that is known.
 * Out:    sentences, or a list of JSON: each rule that holds, where it stands, and which one decides.
 * Note:   of what nobody said the beginning of a session is taken: not authenticated, no errors, no early talker. Rules
 *         about replies, messages and anomalies are counted and not gone through.
 */
#ifndef POSTERN_CMD_WHY_RULES_H
#define POSTERN_CMD_WHY_RULES_H

#include <jansson.h>

#include "conf/conf.h"

#define WHY_STEPS_MAX 64

/* A rule that held, or a verdict that no rule is behind. */
struct why_step {
    const char *moment;      /* static */
    const struct rule *rule; /* NULL: none; `reason` says what refuses or strips */
    const char *reason;
    bool decides;
};

struct why_rules {
    const struct policy *policy;
    struct policy_facts facts;
    struct why_step steps[WHY_STEPS_MAX];
    unsigned count;
    unsigned others;       /* rules at moments that were not gone through */
    bool passed_over;      /* a decision before the last moment ends what the client says */
    bool asks;             /* the greylist is asked about the last moment */
    bool waits;            /* and who does not pass waits (encrypted = patience) */
    uint8_t variant;       /* by which named section of it, from 1; 0: by none */
    const char *direction; /* static */
};

/*
 * Go through the rules. `server`: an address of the client's family; NULL: one of those that `direction` says (the word
 * of a rule, or NULL). `known`: the greylist knows the client's network.
 */
void why_rules_judge(struct why_rules *rules, const struct policy *policy, const struct greylist_attempt *attempt,
                     const uint8_t *server, const char *direction, bool known);

/* As sentences of `path`, the rule file. */
void why_rules_print(const struct why_rules *rules, const char *path);

/* As an array; NULL where there is no memory. */
json_t *why_rules_json(const struct why_rules *rules);

#endif
