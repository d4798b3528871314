/*
 * smtp/path - the address in a MAIL or RCPT command.
 *
 * In:     the argument of the command as smtp/command cuts it: `TO:<@relay:"a b"@example.net> NOTIFY=NEVER`.
 * Out:    spans into it.
 * Note:   read as liberally as servers do (blanks, no brackets, source routes); what can be read in two ways is not
 *         good: nothing is edited in it (case 8), and no list lets it pass.
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

/*
 * The mailbox as it is compared: the local part without its quotes and backslashes (RFC 5321 4.1.2: they do not belong
 * to it). A span into `out`, of `room` octets; of an address that is longer, the mailbox as it is written.
 */
struct span smtp_path_plain(const struct smtp_path *path, uint8_t *out, size_t room);

/* The address that MAIL or RCPT names by its argument, as smtp_path_plain; what cannot be read as one, as it is
 * written.
 */
struct span smtp_path_address(struct span argument, uint8_t *plain, size_t room);

#endif
