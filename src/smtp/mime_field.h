/*
 * smtp/mime_field - what a Content-Type or Content-Disposition field says, as lenient mail clients read it.
 *
 * In:     the octets of the field's body in order, cut anywhere, line ends included.
 * Out:    once it is over: the names of a file, whether it has a boundary, whether the part is a message.
 * Owner:  the caller owns all storage.
 * Thread: one worker, nothing shared.
 * Limits: MIME_NAME_BYTES of each name, with four for each piece that does not follow the one before. Of what is longer
 *         the end is kept, for that is what decides how a file is opened. A field may have any length.
 * Note:   clients differ in which name they take where a field has several, so all of them are given out. Comments are
 *         skipped, quoted pairs resolved, pieces joined by their numbers, character sets left as they are.
 * Source: RFC 2045 5.1, RFC 2183 2.3, RFC 2231 3 and 4 (pieces, percent signs), RFC 2047 (encoded words, which RFC 2231
 *         forbids here and clients decode all the same), RFC 5322 3.2.
 */
#ifndef POSTERN_SMTP_MIME_FIELD_H
#define POSTERN_SMTP_MIME_FIELD_H

#include "base/span.h"

#define MIME_NAME_BYTES  256
#define MIME_FIELD_NAMES 4 /* filename, filename*, name, name* */

/* The pieces of a name, each behind a head, see mime_field.c. */
struct mime_name {
    uint16_t len;
    uint16_t piece;   /* where the octets of the last one begin; 0: there is none */
    uint32_t dropped; /* octets that found no room */
    uint8_t octets[MIME_NAME_BYTES];
};

struct mime_field {
    uint8_t state;    /* enum mime_state, see mime_field.c */
    uint8_t depth;    /* of comments */
    bool quoted;      /* inside a quoted string */
    bool escaped;     /* behind a backslash */
    bool boundary;    /* there is one */
    bool message;     /* the part is a message with a header of its own (RFC 2046 5.2.1) */
    bool begun;       /* the value that goes on has an octet */
    uint8_t kept;     /* which name that is a piece of; MIME_FIELD_NAMES: none */
    uint8_t word_len; /* of `word` */
    uint8_t word[24]; /* the beginning of the type, or of a parameter's name */
    struct mime_name names[MIME_FIELD_NAMES];
};

/* A field begins, behind its colon. */
void mime_field_begin(struct mime_field *field);

void mime_field_feed(struct mime_field *field, struct span octets);

/* It is over; before what follows is called. */
void mime_field_end(struct mime_field *field);

/*
 * Its name number `index` (below MIME_FIELD_NAMES), decoded, into `out` (MIME_NAME_BYTES octets); empty where it has
 * none, or it is the same as the one before. *length is how many octets it has, those that are not kept included.
 */
struct span mime_field_name(const struct mime_field *field, unsigned index, uint8_t *out, size_t *length);

#endif
