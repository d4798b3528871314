/*
 * smtp/refusal - the replies that the filter gives in the server's place, in several lengths.
 *
 * A reply may take no more room than the server's reply and what was saved before it (law 3), so each has a long form
 * and shorter ones, down to the bare code, which fits in place of any reply.
 */
#ifndef POSTERN_SMTP_REFUSAL_H
#define POSTERN_SMTP_REFUSAL_H

#include "base/span.h"

enum smtp_refusal {
    SMTP_REFUSAL_NONE,
    /* Exchange 2003 answers XEXCH50 so before authentication; its senders go on without (KB 812455). */
    SMTP_REFUSAL_NEED_TO_AUTHENTICATE,
    /* Nothing at all: the reply answers octets that were taken out of a record. */
    SMTP_REFUSAL_VANISH,
    /* A verb that this gateway does not let through. */
    SMTP_REFUSAL_UNRECOGNIZED,
    SMTP_REFUSALS
};

#define SMTP_REFUSAL_CODE_LEN  3
#define SMTP_REFUSAL_BYTES_MAX 512 /* a reply line, RFC 5321 4.5.3.1.5 */

/* The longest form of at most `room` octets, without line end; the bare code where none fits. Static. */
struct span smtp_refusal_form(enum smtp_refusal refusal, size_t room);

#endif
