/*
 * conf/keys - the keys that a place in a rule file knows, from the very table that it is read by.
 */
#ifndef POSTERN_CONF_KEYS_H
#define POSTERN_CONF_KEYS_H

#include <confuse.h>
#include <stddef.h>

#define CONF_KEYS_MAX 64

/* The keys of the section that is being read; returns how many. Static as long as the table. */
size_t conf_keys(const cfg_t *cfg, const char *keys[CONF_KEYS_MAX]);

#endif
