/*
 * What a client sends, in lines. The first octet is the seed of its cuts. However it is cut, the lines are those that a
 * search for LF finds; a command is read alike whole and from each of its beginnings; nothing points outside the line.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "../lib/random.h"
#include "smtp/command.h"
#include "smtp/line.h"
#include "smtp/path.h"

enum { BLOCKS = 2, PREFIXES_MAX = 40 };

/* ---- commands ---- */

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

static enum smtp_verb naive_verb(struct span word)
{
    for (int verb = SMTP_VERB_UNKNOWN + 1; verb < SMTP_VERB_NAMED; verb++)
        if (span_equal_nocase(word, span_of(smtp_verb_name((enum smtp_verb)verb))))
            return (enum smtp_verb)verb;
    return SMTP_VERB_UNKNOWN;
}

/* RFC 3030 2: digits, then nothing or LAST. */
static void check_chunk(struct span argument)
{
    uint64_t octets = 0, value = 0;
    bool last = false, fits = true;
    size_t digits = 0;
    for (; digits < argument.len && argument.ptr[digits] >= '0' && argument.ptr[digits] <= '9'; digits++) {
        unsigned digit = argument.ptr[digits] - (unsigned)'0';
        fits = fits && value <= ((uint64_t)INT64_MAX - digit) / 10;
        value = fits ? value * 10 + digit : value;
    }
    struct span rest = span_tail(argument, digits);
    bool separated = rest.len == 0 || is_blank(rest.ptr[0]);
    while (rest.len && is_blank(rest.ptr[0]))
        rest = span_tail(rest, 1);
    bool of_last = span_equal_nocase(rest, span_of("LAST"));
    bool good = digits > 0 && fits && separated && (rest.len == 0 || of_last);
    MUST((smtp_chunk_parse(argument, &octets, &last) == SMTP_CHUNK_GOOD) == good);
    if (good)
        MUST(octets == value && last == of_last);
    if (smtp_xexch50_parse(argument, &octets) == SMTP_CHUNK_GOOD)
        MUST(octets == value && octets <= 1u << 30);
}

static void check_path(struct span argument)
{
    struct smtp_path path = smtp_path_parse(argument);
    MUST(inside(argument, path.inside) && inside(path.inside, path.mailbox) && inside(argument, path.parameters));
    MUST(inside(path.mailbox, path.local) && inside(path.mailbox, path.domain));
    if (!path.good) {
        MUST(path.inside.len == 0 && path.mailbox.len == 0 && path.parameters.len == 0);
        return;
    }
    MUST(path.domain.len == 0 ? path.local.len <= path.mailbox.len
                              : path.local.len + 1 + path.domain.len == path.mailbox.len);
    size_t room = argument.len / 2 + 1;
    uint8_t *plain = malloc(room);
    struct span mailbox = smtp_path_plain(&path, plain, room);
    MUST(mailbox.len <= path.mailbox.len);
    look_at(mailbox.ptr, mailbox.len);
    free(plain);
}

/* What a beginning of the line is taken for, beside what the line turned out to be. */
static void check_beginning(struct span line, size_t len, const struct smtp_command *whole)
{
    uint8_t *copy = exact_copy(span_head(line, len));
    struct smtp_command so_far = smtp_command_parse((struct span){copy, len});
    MUST(inside((struct span){copy, len}, so_far.word) && inside((struct span){copy, len}, so_far.argument));
    if (so_far.separated) {
        MUST(so_far.verb == whole->verb && span_equal(so_far.word, whole->word));
    } else {
        MUST(span_equal(so_far.word, span_head(whole->word, so_far.word.len)));
        if (whole->verb < SMTP_VERB_NAMED && whole->verb != SMTP_VERB_UNKNOWN)
            MUST(smtp_verb_may_begin(UINT64_C(1) << whole->verb, so_far.word));
    }
    free(copy);
}

static void check_command(struct span line)
{
    struct smtp_command command = smtp_command_parse(line);
    struct span text = smtp_line_text(line);
    MUST(command.separated && inside(text, command.word) && inside(text, command.argument));
    for (size_t i = 0; i < command.word.len; i++)
        MUST(!is_blank(command.word.ptr[i]));
    if (command.argument.len)
        MUST(!is_blank(command.argument.ptr[0]) && !is_blank(command.argument.ptr[command.argument.len - 1]));
    MUST(command.verb == (command.word.len ? naive_verb(command.word) : SMTP_VERB_EMPTY));
    check_chunk(command.argument);
    check_path(command.argument);
    for (size_t len = 0; len < line.len && len < PREFIXES_MAX; len++)
        check_beginning(line, len, &command);
    check_beginning(line, line.len - 1, &command);
}

/* ---- lines ---- */

struct gatherer {
    struct pool blocks;
    struct smtp_line line;
    struct span stream; /* all of it, as it is cut */
    size_t line_at;     /* where the line that is gathered begins in it */
    size_t fed;         /* octets of it that were given */
    bool too_long;      /* the line has no end within bounds: on to the next LF */
};

static void end_line(struct gatherer *g, size_t len)
{
    smtp_line_done(&g->line, &g->blocks);
    MUST(g->blocks.used == 0);
    g->line_at += len;
    g->too_long = false;
}

static void skip_rest(struct gatherer *g, struct span *bytes)
{
    const uint8_t *end = memchr(bytes->ptr, '\n', bytes->len);
    size_t len = end ? (size_t)(end - bytes->ptr) + 1 : bytes->len;
    *bytes = span_tail(*bytes, len);
    if (end)
        end_line(g, g->fed - bytes->len - g->line_at);
}

static void feed(struct gatherer *g, struct span bytes)
{
    g->fed += bytes.len;
    while (bytes.len) {
        if (g->too_long) {
            skip_rest(g, &bytes);
            continue;
        }
        struct span whole, so_far = span_tail(span_head(g->stream, g->fed), g->line_at);
        const uint8_t *end = memchr(so_far.ptr, '\n', so_far.len);
        size_t len = end ? (size_t)(end - so_far.ptr) + 1 : so_far.len;
        switch (smtp_line_feed(&g->line, &g->blocks, &bytes, &whole)) {
        case SMTP_LINE_WHOLE:
            MUST(end && len <= SMTP_LINE_BYTES_MAX && span_equal(whole, span_head(so_far, len)));
            check_command(whole);
            end_line(g, len);
            break;
        case SMTP_LINE_PARTIAL:
            MUST(!end && len < SMTP_LINE_BYTES_MAX && bytes.len == 0 &&
                 span_equal(smtp_line_so_far(&g->line, &g->blocks), so_far));
            break;
        case SMTP_LINE_LONG:
            MUST(len > SMTP_LINE_BYTES_MAX || (!end && len == SMTP_LINE_BYTES_MAX));
            MUST(smtp_line_so_far(&g->line, &g->blocks).len < SMTP_LINE_BYTES_MAX);
            smtp_line_gather(&g->line, &g->blocks, &bytes);
            MUST(span_equal(smtp_line_so_far(&g->line, &g->blocks), span_head(so_far, SMTP_LINE_BYTES_MAX)));
            g->too_long = true;
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t storage[BLOCKS * SMTP_LINE_BYTES_MAX];
    if (size < 1)
        return 0;
    struct random_source random = {data[0]};
    struct gatherer g = {.stream = {data + 1, size - 1}};
    pool_init(&g.blocks, storage, SMTP_LINE_BYTES_MAX, BLOCKS);
    uint32_t longest = data[0] % 4 == 0 ? 5000 : 40;
    for (struct span rest = g.stream; rest.len;) {
        struct span part = span_head(rest, 1 + random_below(&random, longest));
        uint8_t *copy = exact_copy(part);
        feed(&g, (struct span){copy, part.len});
        free(copy);
        rest = span_tail(rest, part.len);
    }
    smtp_line_done(&g.line, &g.blocks);
    MUST(g.blocks.used == 0);
    return 0;
}
