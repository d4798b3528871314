/*
 * What a server sends, line by line, and the same as a text of our own: codes, keywords, and whether a beginning may
 * still become something, beside what the line turned out to be.
 */
#include "fuzz.h"

#include <ctype.h>
#include <stdlib.h>

#include "smtp/command.h"
#include "smtp/refusal.h"
#include "smtp/reply.h"

enum { PREFIXES_MAX = 40 };

static struct smtp_keyword_set set;

static bool is_alnum(uint8_t octet)
{
    return octet < 0x80 && isalnum(octet);
}

static bool naive_in_set(struct span keyword)
{
    bool found = false;
    for (uint32_t i = 0; i < set.count; i++)
        found = found || span_equal_nocase(set.names[i], keyword);
    return found;
}

static void check_beginnings(struct span line, struct span keyword)
{
    for (size_t len = 0; len <= line.len && len < PREFIXES_MAX; len++) {
        uint8_t *copy = exact_copy(span_head(line, len));
        struct span so_far = {copy, len};
        MUST(smtp_reply_may_begin(so_far));
        if (smtp_keyword_in(&set, keyword))
            MUST(smtp_keyword_may_come(&set, so_far));
        free(copy);
    }
}

static void check_line(struct span line)
{
    struct smtp_reply reply;
    (void)smtp_keyword_may_come(&set, line);
    if (!smtp_reply_parse(line, &reply))
        return;
    struct span text = smtp_line_text(line);
    MUST(reply.code >= 200 && reply.code <= 599 && inside(text, reply.text));
    MUST(reply.code == (text.ptr[0] - '0') * 100 + (text.ptr[1] - '0') * 10 + (text.ptr[2] - '0'));
    MUST(reply.last == !(text.len > 3 && text.ptr[3] == '-'));
    struct span keyword = smtp_reply_keyword(reply.text);
    MUST(inside(reply.text, keyword));
    size_t from = (size_t)(keyword.ptr - reply.text.ptr), to = from + keyword.len;
    for (size_t i = 0; i < from; i++)
        MUST(!is_alnum(reply.text.ptr[i]));
    for (size_t i = from; i < to; i++)
        MUST(is_alnum(reply.text.ptr[i]) || (i > from && reply.text.ptr[i] == '-'));
    if (to < reply.text.len)
        MUST(keyword.len && !is_alnum(reply.text.ptr[to]) && reply.text.ptr[to] != '-');
    MUST(smtp_keyword_in(&set, keyword) == naive_in_set(keyword));
    check_beginnings(line, keyword);
}

/* As the text of a rule: each form fits where it is asked for, and begins with the same code. */
static void check_refusal(struct span text)
{
    static struct smtp_refusals refusals;
    smtp_refusals_init(&refusals);
    uint8_t number = smtp_refusal_add(&refusals, text, "fuzz");
    if (number == SMTP_REFUSAL_NONE)
        return;
    struct smtp_reply reply;
    MUST(smtp_reply_parse(text, &reply) && reply.last && reply.code >= 400);
    for (size_t room = 0; room <= text.len + 1; room++) {
        struct span form = smtp_refusal_form(&refusals, number, room);
        struct smtp_reply of_form;
        MUST(form.len <= room || form.len == SMTP_REFUSAL_CODE_LEN);
        MUST(smtp_reply_parse(form, &of_form) && of_form.last && of_form.code == reply.code);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (set.count == 0) {
        static const char *const names[] = {"XEXCH50", "X-LINK2STATE", "AUTH", "8BITMIME", "X"};
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            MUST(smtp_keyword_add(&set, span_of(names[i])));
    }
    for (struct span rest = {data, size}; rest.len;) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        struct span line = span_head(rest, end ? (size_t)(end - rest.ptr) + 1 : rest.len);
        uint8_t *copy = exact_copy(line);
        check_line((struct span){copy, line.len});
        check_refusal(smtp_line_text((struct span){copy, line.len}));
        free(copy);
        rest = span_tail(rest, line.len);
    }
    return 0;
}
