/*
 * smtp/refusal - replies of the filter's own, each in several lengths.
 *
 * A reply may take no more room than the server's reply and what was saved before it (law 3), so each has a long form
 * and shorter ones, down to the bare code, which fits in place of any reply.
 *
 * Owner:  the texts belong to the caller and live as long as the table.
 * Thread: may be shared: read only once it is filled.
 */
#ifndef POSTERN_SMTP_REFUSAL_H
#define POSTERN_SMTP_REFUSAL_H

#include "base/span.h"

/* What the filter has to say without being told by a rule; numbers behind these are those of smtp_refusal_add. */
enum smtp_refusal {
    SMTP_REFUSAL_NONE,
    SMTP_REFUSAL_NEED_TO_AUTHENTICATE, /* Exchange 2003's answer to XEXCH50 before authentication; its senders go on
                                          without (KB 812455) */
    SMTP_REFUSAL_UNRECOGNIZED,         /* a verb that this gateway does not let through */
    SMTP_REFUSAL_TRY_AGAIN,            /* to those who share a transaction with what was refused */
    SMTP_REFUSAL_CLOSING,              /* 421: the connection ends here */
    SMTP_REFUSAL_UNREADABLE,           /* a command that servers may read in another way */
    SMTP_REFUSAL_ADDRESS,              /* the same of an address */
    SMTP_REFUSALS_OWN
};

#define SMTP_REFUSALS_MAX      256
#define SMTP_REFUSAL_FORMS_MAX 4
#define SMTP_REFUSAL_CODE_LEN  3
#define SMTP_REFUSAL_BYTES_MAX 512 /* a reply line, RFC 5321 4.5.3.1.5 */

/* From long to short; each begins with the same code. */
struct smtp_refusal_text {
    struct span forms[SMTP_REFUSAL_FORMS_MAX];
    const char *reason; /* for reports: the rule or verdict that refuses so; "" where the action says why */
    uint32_t delay_ms;  /* so much later than the server's reply it leaves: the stutter that asks for patience */
};

struct smtp_refusals {
    uint32_t count;
    struct smtp_refusal_text texts[SMTP_REFUSALS_MAX];
};

/* The filter's own. */
void smtp_refusals_init(struct smtp_refusals *refusals);

/*
 * One more reply: `line` is a code and text without line end (`450 4.2.0 Greylisted`). Its short forms are the code
 * with the enhanced code (RFC 2034), where the line has one, and the bare code. Returns its number, or
 * SMTP_REFUSAL_NONE where the table is full or the line does not begin with a code from 400 to 599 or is too long.
 */
uint8_t smtp_refusal_add(struct smtp_refusals *refusals, struct span line, const char *reason);

/* The longest form of at most `room` octets, without line end; the bare code where none fits. */
struct span smtp_refusal_form(const struct smtp_refusals *refusals, uint8_t refusal, size_t room);

#endif
