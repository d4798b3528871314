/*
 * conf/complain - what is wrong with a rule file, in one line: where, what, and what to write instead.
 *
 * Thread: one file is read at a time in a thread; libConfuse gives its callbacks no context, so the place is kept here.
 */
#ifndef POSTERN_CONF_COMPLAIN_H
#define POSTERN_CONF_COMPLAIN_H

#include <confuse.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/source.h"

/* From here on messages are about `source` and go into `text`, of `size` octets; the first one stays. */
void complain_begin(char *text, size_t size, const struct source *source);

/* Keep a message about the place at which `cfg` is being read. Returns -1, for libConfuse's callbacks. */
int complain(cfg_t *cfg, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For cfg_set_error_function: libConfuse's own messages; of an unknown key, with the nearest known one. */
void complain_confuse(cfg_t *cfg, const char *format, va_list args);

/* The source that messages are about. */
const struct source *complain_source(void);

/* One of the `count` words that `word` is a few typing errors away from; NULL where there is none. */
const char *complain_nearest(const char *word, const char *const *words, size_t count);

#endif
