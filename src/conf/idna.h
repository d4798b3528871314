/*
 * conf/idna - a domain in A-labels, as domains are compared (RFC 5890 2.3.2.1, RFC 5891 5).
 *
 * In:     labels in UTF-8, in any case, with or without `xn--`.
 * Out:    the same in ASCII, in lower case.
 * Errors: what is no domain name of IDNA2008 (as UTS 46 maps it) has no such form.
 * Note:   it allocates. A policy calls it for rules, and for addresses with octets beyond ASCII alone.
 */
#ifndef POSTERN_CONF_IDNA_H
#define POSTERN_CONF_IDNA_H

#include "base/span.h"

/* Into `out`, which has room for `room` octets: how many it took, 0 where there is no such form or no room for it. */
size_t idna_to_ascii(struct span domain, uint8_t *out, size_t room);

#endif
