/*
 * conf/complain - what is wrong with a rule file, and what is doubtful in it: each in one line, with where, what, and
 * what to write instead.
 *
 * Out:    remarks, in the order in which they are found.
 * Thread: one file is read at a time in a thread; libConfuse gives its callbacks no context, so the place is kept here.
 */
#ifndef POSTERN_CONF_COMPLAIN_H
#define POSTERN_CONF_COMPLAIN_H

#include <confuse.h>
#include <stdbool.h>
#include <stddef.h>

#include "conf/remarks.h"
#include "conf/source.h"

/* From here on remarks are about `source` and go into `remarks`. */
void complain_begin(struct remarks *remarks, const struct source *source);

/*
 * Keep a mistake at the place at which `cfg` is being read. Returns 0, for libConfuse's callbacks: it reads on, so that
 * all mistakes are found.
 */
int complain(cfg_t *cfg, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same of something that is allowed, and most likely not meant. */
void complain_warn(cfg_t *cfg, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Begin with a section that was read to its end, which `cfg` then says: it stands at its first line from here on. False
 * where a mistake is in one of its lines: then what its values are together is not worth asking.
 */
bool complain_section(cfg_t *cfg);

/* For cfg_set_error_function: libConfuse's own messages; of an unknown key, with the nearest known one. */
void complain_confuse(cfg_t *cfg, const char *format, va_list args);

/* The unknown key that libConfuse has stopped at since this was asked last, and its line; NULL: at none. */
const char *complain_unknown_key(int *line);

/* What a file or its name holds must not act on a terminal: `?` in place of what is not printable. Returns `text`. */
char *complain_printable(char *text);

/* The source that remarks are about. */
const struct source *complain_source(void);

/* One of the `count` words that `word` is a few typing errors away from; NULL where there is none. */
const char *complain_nearest(const char *word, const char *const *words, size_t count);

#endif
