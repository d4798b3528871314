/*
 * conf/rule_section - one `rule "name" { }` of a rule file.
 */
#ifndef POSTERN_CONF_RULE_SECTION_H
#define POSTERN_CONF_RULE_SECTION_H

#include <confuse.h>
#include <stdio.h>

#include "conf/conf.h"

/* Add the rule in this section to the policy. False, with a complaint, where anything in it is wrong. */
bool rule_section_take(cfg_t *cfg, struct conf *conf);

/* Whether the rules behind it are looked at, too, where it matches; of a section with its action. */
bool rule_section_goes_on(cfg_t *cfg);

/* The moments, what is matched there and what may happen, as Markdown, for the reference. */
void rule_section_reference(FILE *out);

#endif
