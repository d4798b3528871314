#include "smtp/command.h"

/* Servers that split with isspace() see the end of a verb in these, too. */
static bool ends_verb(uint8_t octet)
{
    return ascii_is_blank(octet) || octet == '\r' || octet == '\v' || octet == '\f';
}

static struct span trim(struct span s)
{
    while (s.len && ascii_is_blank(s.ptr[0]))
        s = span_tail(s, 1);
    while (s.len && ascii_is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

/* Take the leading octets that end no word. */
static struct span take_word(struct span *s, bool (*ends)(uint8_t octet))
{
    size_t len = 0;
    while (len < s->len && !ends(s->ptr[len]))
        len++;
    struct span word = span_head(*s, len);
    *s = trim(span_tail(*s, len));
    return word;
}

struct span smtp_line_text(struct span line)
{
    if (line.len && line.ptr[line.len - 1] == '\n') {
        line.len--;
        while (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
    }
    return line;
}

struct smtp_command smtp_command_parse(struct span line)
{
    struct span text = smtp_line_text(line);
    bool ended = text.len < line.len;
    size_t start = 0;
    while (start < text.len && ends_verb(text.ptr[start]))
        start++;
    struct span rest = span_tail(text, start);
    struct smtp_command command = {.word = take_word(&rest, ends_verb)};
    while (rest.len && ends_verb(rest.ptr[0])) /* what servers skip that split with isspace() */
        rest = span_tail(rest, 1);
    while (ended && rest.len && ends_verb(rest.ptr[rest.len - 1]))
        rest.len--;
    command.argument = rest;
    command.separated = ended || start + command.word.len < text.len;
    if (command.word.len == 0)
        command.verb = ended ? SMTP_VERB_EMPTY : SMTP_VERB_UNKNOWN;
    else
        command.verb = smtp_verb_find(command.word);
    return command;
}

/* A decimal number up to `limit`, digits only, at least one. */
static bool parse_number(struct span word, uint64_t limit, uint64_t *number)
{
    if (word.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < word.len; i++) {
        unsigned digit = (unsigned)word.ptr[i] - '0';
        if (digit > 9 || value > (limit - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

enum smtp_chunk_status smtp_chunk_parse(struct span argument, uint64_t *octets, bool *last)
{
    *last = false;
    if (!parse_number(take_word(&argument, ascii_is_blank), INT64_MAX, octets))
        return SMTP_CHUNK_AMBIGUOUS;
    if (argument.len == 0)
        return SMTP_CHUNK_GOOD;
    *last = span_equal_nocase(argument, span_of("LAST"));
    return *last ? SMTP_CHUNK_GOOD : SMTP_CHUNK_AMBIGUOUS;
}

enum smtp_chunk_status smtp_xexch50_parse(struct span argument, uint64_t *octets)
{
    return parse_number(take_word(&argument, ascii_is_blank), 1u << 30, octets) ? SMTP_CHUNK_GOOD
                                                                                : SMTP_CHUNK_AMBIGUOUS;
}

uint64_t smtp_announced_size(struct span argument)
{
    const struct span name = span_of("SIZE=");
    uint64_t size = 0;
    while (argument.len) {
        struct span word = take_word(&argument, ascii_is_blank);
        if (span_equal_nocase(span_head(word, name.len), name) &&
            parse_number(span_tail(word, name.len), INT64_MAX, &size))
            return size;
    }
    return 0;
}
