/*
 * A message. The first octet is the seed of its cuts. However it is cut, the lines and the names of files in it are the
 * same; each line comes once, with the length that a search for LF finds.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "../lib/random.h"
#include "smtp/content.h"

/* What came out, in short: a sum over all items, in order. */
struct outcome {
    uint64_t sum, lines, names;
};

static void add(struct outcome *outcome, const uint8_t *octets, size_t len)
{
    for (size_t i = 0; i < len; i++)
        outcome->sum = (outcome->sum ^ octets[i]) * UINT64_C(1099511628211);
}

static void take(struct outcome *outcome, const struct content_item *item, struct span *lines)
{
    uint8_t kind = (uint8_t)item->kind;
    add(outcome, &kind, 1);
    add(outcome, item->text.ptr, item->text.len);
    if (item->kind == CONTENT_FILE_NAME) {
        MUST(item->length >= item->text.len && item->text.len > 0 && item->text.len <= MIME_NAME_BYTES);
        outcome->names++;
        return;
    }
    const uint8_t *end = lines->len ? memchr(lines->ptr, '\n', lines->len) : NULL;
    MUST(end);
    size_t len = (size_t)(end - lines->ptr);
    MUST(item->length == len - (len && end[-1] == '\r'));
    MUST(item->text.len == (item->length < CONTENT_LINE_BYTES ? item->length : CONTENT_LINE_BYTES));
    MUST(span_equal(item->text, span_head(*lines, item->text.len)));
    *lines = span_tail(*lines, len + 1);
    outcome->lines++;
}

static struct outcome play(struct span message, struct random_source *random, uint32_t longest)
{
    struct outcome outcome = {0};
    struct content *content = malloc(sizeof *content);
    struct span lines = message;
    content_begin(content);
    while (message.len) {
        struct span part = longest ? span_head(message, 1 + random_below(random, longest)) : message;
        uint8_t *copy = exact_copy(part);
        struct span octets = {copy, part.len};
        for (struct content_item item; content_next(content, &octets, &item);)
            take(&outcome, &item, &lines);
        MUST(octets.len == 0);
        free(copy);
        message = span_tail(message, part.len);
    }
    MUST(lines.len == 0 || !memchr(lines.ptr, '\n', lines.len));
    free(content);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct random_source random = {data[0]};
    struct span message = {data + 1, size - 1};
    struct outcome whole = play(message, &random, 0);
    struct outcome cut = play(message, &random, data[0] % 4 == 0 ? 1 : 40);
    MUST(whole.sum == cut.sum && whole.lines == cut.lines && whole.names == cut.names);
    return 0;
}
