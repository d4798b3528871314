/*
 * smtp/content - the lines of a message and the names of its attachments, for rules that look at them.
 *
 * In:     the octets of a message in order, cut anywhere, as they cross (dots stuffed).
 * Out:    one item a call: a line, or the name of an attachment once its header field is complete.
 * Owner:  the caller owns struct content; an item's text lives until the next call.
 * Thread: one worker, nothing shared.
 * Limits: of a line CONTENT_LINE_BYTES are kept; lengths are counted to the end. Names: see smtp/mime_field.
 * Note:   bodies are not decoded, and one that looks like a part's header is taken for one only where the message has
 *         said that it has parts. The header of a message inside (message/rfc822) is one like the first.
 * Source: RFC 5322 2.2 (fields, folding), RFC 2045 5.1, RFC 2046 5.1.1 (parts) and 5.2.1 (messages).
 */
#ifndef POSTERN_SMTP_CONTENT_H
#define POSTERN_SMTP_CONTENT_H

#include "smtp/mime_field.h"

#define CONTENT_LINE_BYTES 512

enum content_kind {
    CONTENT_HEADER_LINE, /* of the message, or of one of its parts; also the empty line behind it */
    CONTENT_BODY_LINE,
    CONTENT_FILE_NAME, /* that a Content-Disposition or Content-Type field gives, decoded; one for each that it has */
};

struct content_item {
    enum content_kind kind;
    size_t length;    /* octets, without line end */
    struct span text; /* as far as it was kept */
};

struct content {
    uint32_t length; /* of the line that goes on */
    uint16_t kept;   /* of it, in `line` */
    bool header;     /* lines are a header's */
    bool parts;      /* a field has named a boundary */
    bool message;    /* behind this header comes another one */
    bool whole;      /* the line is complete, and not given out yet */
    bool carriage;   /* its last octet is a CR */
    bool in_field;   /* `field` goes on */
    bool fed;        /* so does this line of it: what comes is not kept only */
    uint8_t names;   /* of a field that is over, those from this one on are not given out yet */
    uint8_t line[CONTENT_LINE_BYTES];
    struct mime_field field;
    uint8_t name[MIME_NAME_BYTES];
};

/* A message begins: its header. */
void content_begin(struct content *content);

/* The next item, taken from *octets, which shrinks from the front; false where all are taken. */
bool content_next(struct content *content, struct span *octets, struct content_item *item);

#endif
