/*
 * smtp/line - cut one direction of a session into lines.
 *
 * In:     octets in stream order; they may end anywhere.
 * Out:    whole lines, ended by LF (a CR before it belongs to the line). A line that came in one piece is a span into
 *         the caller's octets, one that did not is gathered in a block of the pool, as large as it must be (base/fit).
 * Owner:  a gathered line holds one block until smtp_line_done.
 * Limits: SMTP_LINE_BYTES_MAX octets are gathered; a longer line is LONG, and what follows in it is only counted.
 * Note:   octets of an unfinished line may have to leave before its end has come (law 4). `left` counts them; the
 *         text from the line's beginning stays, so that it can be judged when it is whole.
 * Source: RFC 5321 2.3.8, 4.5.3.1.4-6. A bare LF ends a line at Postfix, Exim and OpenSMTPD, so it does here; a bare
 *         CR never does.
 */
#ifndef POSTERN_SMTP_LINE_H
#define POSTERN_SMTP_LINE_H

#include "base/fit.h"
#include "base/span.h"

#define SMTP_LINE_BYTES_MAX                                                                                            \
    2048 /* RFC 5321: 512 and extensions; Postfix reads 2048; also the largest block of the pool */

struct smtp_line {
    uint32_t block; /* where the line is gathered; POOL_NONE while there is none */
    uint16_t len;   /* octets of it that came, and are gathered */
    uint16_t left;  /* octets of it that left */
};

enum smtp_line_status {
    SMTP_LINE_PARTIAL, /* all octets taken, the end of the line has not come */
    SMTP_LINE_WHOLE,
    SMTP_LINE_LONG, /* SMTP_LINE_BYTES_MAX octets without an end; none of those fed was taken, and some fit in */
};

/*
 * Take octets from the front of *bytes, at most to the end of the line. WHOLE: *whole is the line from its
 * first octet on, and lives until smtp_line_done or as long as the octets fed. The pool must have one free block.
 */
enum smtp_line_status smtp_line_feed(struct smtp_line *line, struct pool *blocks, struct span *bytes,
                                     struct span *whole);

/* The first line of some octets, its LF included; empty where its end is not among them. */
static inline struct span smtp_line_first(struct span bytes)
{
    const uint8_t *end = bytes.len ? memchr(bytes.ptr, '\n', bytes.len) : NULL;
    return (struct span){bytes.ptr, end ? (size_t)(end - bytes.ptr) + 1 : 0};
}

/* Gather the first octets of *bytes as far as there is room; for the beginning of a line that is LONG. */
void smtp_line_gather(struct smtp_line *line, struct pool *blocks, struct span *bytes);

/* What has been gathered of an unfinished line, from its first octet on. Lives until more is fed, or gathered. */
struct span smtp_line_so_far(const struct smtp_line *line, const struct pool *blocks);

/* The line is over: forget it, give its block back. */
void smtp_line_done(struct smtp_line *line, struct pool *blocks);

#endif
