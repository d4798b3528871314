/*
 * smtp/path - the address in a MAIL or RCPT command.
 *
 * In:     the argument of the command as smtp/command cuts it: `TO:<@relay:"a b"@example.net> NOTIFY=NEVER`.
 * Out:    spans into it.
 * Note:   read as liberally as servers do (blanks, no brackets, source routes); what can be read in two ways is not
 *         good, and nothing is edited in it (case 8).
 * Source: RFC 5321 4.1.2, 4.1.1.11, appendix C (source routes); RFC 6531 3.3 (UTF-8).
 */
#ifndef POSTERN_SMTP_PATH_H
#define POSTERN_SMTP_PATH_H

#include "base/span.h"

struct smtp_path {
    bool good;              /* it can be read in one way; else all spans are empty */
    struct span inside;     /* what is between the brackets, or the bare address; empty for `<>` */
    struct span mailbox;    /* the same without a source route */
    struct span local;      /* before the last `@`, quotes as written */
    struct span domain;     /* behind it, an address literal with its brackets; empty where there is no `@` */
    struct span parameters; /* what follows the path, without blanks at either end */
};

struct smtp_path smtp_path_parse(struct span argument);

#endif
