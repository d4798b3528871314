/*
 * conf/guard_section - the section `guard { }` of a rule file.
 */
#ifndef POSTERN_CONF_GUARD_SECTION_H
#define POSTERN_CONF_GUARD_SECTION_H

#include <confuse.h>

#include "conf/conf.h"

/* Whose mail is guarded, and what marks a greylist. False, with a complaint, where anything in it is wrong. */
bool guard_section_take(cfg_t *cfg, struct conf *conf);

#endif
