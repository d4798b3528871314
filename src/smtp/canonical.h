/*
 * smtp/canonical - a command in the one form that servers and the filter read alike, at the same length (laws 3 and 8).
 *
 * In:     a whole command line, and what smtp_command_parse reads in it.
 * Out:    verb, one blank, argument; of MAIL and RCPT the path in brackets, without comments, parts in quotes, routes,
 *         blanks, a final dot or a display name, and the parameters as they were. Blanks fill what is left.
 * Errors: what has more than one reading, or more octets in this form, is unreadable.
 * Note:   what is in this form already is left as it is. A path without brackets stays so where there is no room.
 * Source: RFC 5321 4.1.1.2-3, 4.1.2, appendix C (routes); RFC 5322 3.2.2 (comments), 3.4 (display names).
 */
#ifndef POSTERN_SMTP_CANONICAL_H
#define POSTERN_SMTP_CANONICAL_H

#include "smtp/command.h"

enum smtp_canonical {
    SMTP_CANONICAL_SAME,       /* as it came */
    SMTP_CANONICAL_REWRITTEN,  /* into `out` */
    SMTP_CANONICAL_UNREADABLE, /* the command */
    SMTP_CANONICAL_BAD_ADDRESS,
};

/* `address`: so is its path, which is MAIL's or RCPT's. `out` has room for SMTP_LINE_BYTES_MAX octets, as the line. */
enum smtp_canonical smtp_canonical(struct span line, const struct smtp_command *command, bool address, uint8_t *out);

#endif
