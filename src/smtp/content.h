/*
 * smtp/content - the lines of a message and the names of its attachments, for rules that look at them.
 *
 * In:     the octets of a message in order, cut anywhere, as they cross (dots stuffed).
 * Out:    one item a call: a line, or the name of an attachment once its header field is complete.
 * Owner:  the caller owns struct content; an item's text lives until the next call.
 * Thread: one worker, nothing shared.
 * Limits: of a line CONTENT_LINE_BYTES are kept, of a header field CONTENT_FIELD_BYTES; lengths are counted to the end.
 * Note:   an onlooker's view: nothing is decoded, and a body that looks like a part's header is taken for one only
 * where the message has said that it has parts. Source: RFC 5322 2.2 (fields, folding), RFC 2045 5.1, RFC 2046 5.1.1
 * (parts), RFC 2183 2.3 and RFC 2231 (names).
 */
#ifndef POSTERN_SMTP_CONTENT_H
#define POSTERN_SMTP_CONTENT_H

#include "base/span.h"

#define CONTENT_LINE_BYTES  512
#define CONTENT_FIELD_BYTES 1024

enum content_kind {
    CONTENT_HEADER_LINE, /* of the message, or of one of its parts; also the empty line behind it */
    CONTENT_BODY_LINE,
    CONTENT_FILE_NAME, /* as written in a Content-Disposition or Content-Type field, without quotes */
};

struct content_item {
    enum content_kind kind;
    size_t length;    /* octets, without line end */
    struct span text; /* as far as it was kept */
};

struct content {
    uint32_t length;    /* of the line that goes on */
    uint16_t kept;      /* of it, in `line` */
    uint16_t field_len; /* of the header field that goes on, where it may have a name */
    bool header;        /* lines are a header's */
    bool parts;         /* a field has named a boundary */
    bool whole;         /* the line is complete, and not given out yet */
    bool carriage;      /* its last octet is a CR */
    uint8_t line[CONTENT_LINE_BYTES];
    uint8_t field[CONTENT_FIELD_BYTES];
};

/* A message begins: its header. */
void content_begin(struct content *content);

/* The next item, taken from *octets, which shrinks from the front; false where all are taken. */
bool content_next(struct content *content, struct span *octets, struct content_item *item);

#endif
