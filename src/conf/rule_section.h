/*
 * conf/rule_section - one `rule "name" { }` of a rule file.
 */
#ifndef POSTERN_CONF_RULE_SECTION_H
#define POSTERN_CONF_RULE_SECTION_H

#include <confuse.h>

#include "conf/conf.h"

/* Add the rule in this section to the policy. False, with a complaint, where anything in it is wrong. */
bool rule_section_take(cfg_t *cfg, struct conf *conf);

/* What may happen at a moment: for the reference. Bits 1 << index in the words of `action`. */
uint32_t rule_section_actions(enum rule_event event);

#endif
