/*
 * conf/unreachable - rules that never decide, because one before them matches whatever they match.
 *
 * Note:   it finds what can be told from the text: lists whose entries stand in, or fit, the other's; networks inside
 *         others; conditions that are the same or narrower. What it does not find may still be unreachable.
 */
#ifndef POSTERN_CONF_UNREACHABLE_H
#define POSTERN_CONF_UNREACHABLE_H

#include <confuse.h>
#include <stdbool.h>

/*
 * A complaint about each such rule among those of a file; a warning about each that another one takes a part of what it
 * names from.
 */
void unreachable_check(cfg_t *cfg);

#endif
