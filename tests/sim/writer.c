#include "writer.h"

#include <string.h>

bool writer_put(struct writer *writer, const void *octets, uint32_t len)
{
    if (len > WRITER_BYTES - writer->len)
        return false;
    memcpy(writer->octets + writer->len, octets, len);
    for (uint32_t i = 0; writer->encrypts && i < len; i++)
        writer->octets[writer->len + i] ^= WRITER_CIPHER;
    writer->len += len;
    return true;
}

static uint32_t next_len(const struct writer *writer, struct random_source *random)
{
    uint32_t left = writer->len - writer->written;
    const uint8_t *at = writer->octets + writer->written;
    const uint8_t *end = memchr(at, '\n', left);
    switch (writer->cut) {
    case APP_CUT_LINES:
        return end ? (uint32_t)(end - at) + 1 : left;
    case APP_CUT_OCTETS:
        return left < 120 ? 1 : left - 100; /* of a long message not each */
    case APP_CUT_RANDOM:
        return 1 + random_below(random, left < 300 ? left : 300);
    case APP_CUT_WHOLE:
    case APP_CUTS:
        break;
    }
    return left;
}

void writer_tick(struct writer *writer, struct endpoint *end, struct random_source *random, int64_t now_us)
{
    while (writer->written < writer->len && writer->next_us <= now_us) {
        uint32_t len = next_len(writer, random);
        endpoint_write(end, writer->octets + writer->written, len, now_us);
        writer->written += len;
        writer->next_us = now_us + writer->pause_us;
    }
    if (writer->close_after && writer->written == writer->len && !end->fin_wanted)
        endpoint_close(end, now_us);
}

int64_t writer_due(const struct writer *writer)
{
    return writer->written < writer->len ? writer->next_us : INT64_MAX;
}
