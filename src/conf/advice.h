/*
 * conf/advice - what is allowed in a rule file, and most likely not meant.
 *
 * In:     a file that was read without a mistake.
 * Out:    warnings (conf/complain). Rules that take from one another are conf/unreachable's, empty lists conf/entries'.
 */
#ifndef POSTERN_CONF_ADVICE_H
#define POSTERN_CONF_ADVICE_H

#include <confuse.h>

void advice_check(cfg_t *cfg);

#endif
