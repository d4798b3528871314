/*
 * conf/units - durations, sizes and times as people write them.
 *
 * Errors: false, and *wrong says in a few words what to write instead.
 */
#ifndef POSTERN_CONF_UNITS_H
#define POSTERN_CONF_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* `500ms`, `30s`, `5m`, `4h`, `2d`, `5w`: milliseconds. A bare 0 needs no unit. */
bool units_duration(const char *text, uint64_t *ms, const char **wrong);

/* `100`, `64k`, `1M`, `2G`, powers of 1024: octets. */
bool units_size(const char *text, uint64_t *octets, const char **wrong);

/* A number without sign. */
bool units_number(const char *text, uint64_t *number, const char **wrong);

/*
 * `2026-11-21T12:00:00Z` (RFC 3339): microseconds since 1970. A blank may stand for the T; without an offset it is UTC,
 * as commands print it. `@1795262400`: seconds since 1970. Years 1970 to 9999.
 */
bool units_time(const char *text, int64_t *us, const char **wrong);

/* yes, no; also on, off, true, false. */
bool units_choice(const char *text, bool *yes, const char **wrong);

#endif
