/*
 * smtp/body - find the end of a message sent with DATA.
 *
 * In:     octets in stream order; they may end anywhere.
 * Out:    how many of them belong to the message, the terminator included, and whether it has come.
 * Note:   only CRLF . CRLF ends a message (RFC 5321 4.1.1.4). Whatever some server might take for an end besides
 *         (LF . LF and the like: CVE-2023-51764, -51765, -51766) is reported as ambiguous, and the message goes on.
 * Cost:   smtp/dot's search; no octet is copied or kept.
 */
#ifndef POSTERN_SMTP_BODY_H
#define POSTERN_SMTP_BODY_H

#include "base/span.h"

enum smtp_body_state {
    SMTP_BODY_LINE,      /* at the beginning of a line, after CRLF; also the beginning of the message */
    SMTP_BODY_TEXT,      /* inside a line */
    SMTP_BODY_CR,        /* after a CR */
    SMTP_BODY_LOOSE,     /* where a lenient server might begin a line: after a bare LF or a NUL */
    SMTP_BODY_DOT,       /* CRLF . */
    SMTP_BODY_DOT_CR,    /* CRLF . CR */
    SMTP_BODY_LOOSE_DOT, /* a dot at such a place, or after a bare CR */
    SMTP_BODY_END,       /* CRLF . CRLF */
};

struct smtp_body_scan {
    size_t taken;   /* octets that belong to the message */
    bool ended;     /* the terminator is the last of them */
    bool ambiguous; /* something among them may end the message for a lenient server */
};

/* Scan on from `*state`; start a message with SMTP_BODY_LINE. */
struct smtp_body_scan smtp_body_scan(enum smtp_body_state *state, struct span octets);

#endif
