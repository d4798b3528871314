/*
 * conf/rule_section - one `rule "name" { ... }` of a rule file.
 *
 *     rule "no guests" {
 *       on     = recipient                    command, sender, recipient, starttls, anomaly
 *       match  = {"guest*@example.net"}       addresses with * and ?, verbs, or names of anomalies
 *       action = refuse                       pass, refuse, close, reset
 *       code   = 550
 *       text   = "5.7.1 No guests here"
 *       method = spoil                        void or spoil: how one recipient is refused
 *     }
 */
#ifndef POSTERN_CONF_RULE_SECTION_H
#define POSTERN_CONF_RULE_SECTION_H

#include <confuse.h>

#include "policy/policy.h"

/* The keys of a rule, for CFG_SEC. Static. */
cfg_opt_t *rule_section_options(void);

/* Add the rule to the policy; false, with a complaint, where something in it is wrong. */
bool rule_section_take(cfg_t *cfg, struct policy *policy);

#endif
