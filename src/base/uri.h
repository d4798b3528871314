/*
 * base/uri - a URI that an administrator wrote, as it may be shown.
 *
 * A mistake in a URI moves its password to where nobody expects one. So what may be a password is left out before
 * anything is understood of the URI: all between the scheme and the last @, or, where there is no @, all behind the
 * scheme that is no HOST or HOST:PORT, or several of them with commas. What is left out reads `...`.
 *
 * Source: RFC 3986 3.2.1.
 */
#ifndef POSTERN_BASE_URI_H
#define POSTERN_BASE_URI_H

#include "base/span.h"

/* Into `out`, of `size` octets, ended by NUL; cut where it does not fit. Returns `out`. */
const char *uri_shown(const char *uri, char *out, size_t size);

#endif
