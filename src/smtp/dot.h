/*
 * smtp/dot - find a dot that may be the first octet of a line for somebody.
 *
 * In:     octets of a message.
 * Out:    a place in them.
 * Note:   this is where the time goes that a message takes (`make bench`). Processors of the x86 family look at blocks
 *         of octets at once, those with AVX2 at twice as many; the others search for dots with memchr.
 */
#ifndef POSTERN_SMTP_DOT_H
#define POSTERN_SMTP_DOT_H

#include "base/span.h"

/* The first place from `at` (at least 1) on with a dot behind CR, LF or NUL; the end where there is none. */
size_t smtp_dot_find(struct span octets, size_t at);

#endif
