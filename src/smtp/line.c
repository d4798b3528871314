#include "smtp/line.h"

static void gather(struct smtp_line *line, struct pool *blocks, struct span octets)
{
    uint32_t len = line->len + (uint32_t)octets.len;
    line->block = line->block == POOL_NONE ? fit_borrow(blocks, len) : fit_grow(blocks, line->block, line->len, len);
    assert(line->block != POOL_NONE);
    memcpy((uint8_t *)fit_at(blocks, line->block) + line->len, octets.ptr, octets.len);
    line->len = (uint16_t)len;
}

enum smtp_line_status smtp_line_feed(struct smtp_line *line, struct pool *blocks, struct span *bytes,
                                     struct span *whole)
{
    if (bytes->len == 0)
        return SMTP_LINE_PARTIAL;
    const uint8_t *end = memchr(bytes->ptr, '\n', bytes->len);
    struct span part = span_head(*bytes, end ? (size_t)(end - bytes->ptr) + 1 : bytes->len);
    size_t room = SMTP_LINE_BYTES_MAX - line->len;
    if (part.len > room || (part.len == room && !end))
        return SMTP_LINE_LONG;
    *bytes = span_tail(*bytes, part.len);
    if (end && line->len == 0) {
        *whole = part;
        return SMTP_LINE_WHOLE;
    }
    gather(line, blocks, part);
    if (!end)
        return SMTP_LINE_PARTIAL;
    *whole = smtp_line_so_far(line, blocks);
    return SMTP_LINE_WHOLE;
}

void smtp_line_gather(struct smtp_line *line, struct pool *blocks, struct span *bytes)
{
    struct span part = span_head(*bytes, SMTP_LINE_BYTES_MAX - line->len);
    gather(line, blocks, part);
    *bytes = span_tail(*bytes, part.len);
}

struct span smtp_line_so_far(const struct smtp_line *line, const struct pool *blocks)
{
    if (line->block == POOL_NONE)
        return (struct span){0};
    return (struct span){fit_at(blocks, line->block), line->len};
}

void smtp_line_done(struct smtp_line *line, struct pool *blocks)
{
    if (line->block != POOL_NONE)
        fit_return(blocks, line->block);
    *line = (struct smtp_line){0};
}
