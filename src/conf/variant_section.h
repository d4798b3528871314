/*
 * conf/variant_section - sections of the greylist that have a name: greylist "NAME" { }.
 *
 * In the text that libConfuse reads their word is VARIANT_SECTION (conf/source).
 */
#ifndef POSTERN_CONF_VARIANT_SECTION_H
#define POSTERN_CONF_VARIANT_SECTION_H

#include <confuse.h>

#include "conf/conf.h"
#include "conf/source.h"

/* A section that was read to its end, into *conf. False, with a complaint, where anything in it is wrong. */
bool variant_section_take(cfg_t *cfg, struct conf *conf);

/* Its number, from 1; 0 where none of that name was read so far. */
uint8_t variant_section_find(const struct conf *conf, const char *name);

/* All is read: what sections leave open is as for all. */
void variant_sections_settle(struct conf *conf);

#endif
