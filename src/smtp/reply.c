#include "smtp/reply.h"

#include "smtp/command.h"

enum { CODE_LEN = 3 };

bool smtp_reply_parse(struct span line, struct smtp_reply *reply)
{
    struct span text = smtp_line_text(line);
    if (text.len < CODE_LEN || text.ptr[0] < '2' || text.ptr[0] > '5' || !ascii_is_digit(text.ptr[1]) ||
        !ascii_is_digit(text.ptr[2]))
        return false;
    if (text.len > CODE_LEN && text.ptr[CODE_LEN] != '-' && text.ptr[CODE_LEN] != ' ')
        return false;
    reply->code = (uint16_t)((text.ptr[0] - '0') * 100 + (text.ptr[1] - '0') * 10 + (text.ptr[2] - '0'));
    reply->last = text.len == CODE_LEN || text.ptr[CODE_LEN] == ' ';
    reply->text = span_tail(text, CODE_LEN + 1);
    return true;
}

bool smtp_reply_may_begin(struct span line_so_far)
{
    for (size_t i = 0; i < line_so_far.len && i <= CODE_LEN; i++) {
        uint8_t octet = line_so_far.ptr[i];
        bool good = i == 0         ? octet >= '2' && octet <= '5'
                    : i < CODE_LEN ? ascii_is_digit(octet)
                                   : octet == '-' || octet == ' ' || octet == '\r' || octet == '\n';
        if (!good)
            return false;
    }
    return true;
}

struct span smtp_reply_keyword(struct span text)
{
    const uint8_t *at = text.ptr, *end = text.ptr + text.len;
    while (at < end && !ascii_is_alnum(*at))
        at++;
    const uint8_t *begin = at;
    while (at < end && (ascii_is_alnum(*at) || *at == '-'))
        at++;
    return (struct span){begin, (size_t)(at - begin)};
}

bool smtp_keyword_add(struct smtp_keyword_set *set, struct span name)
{
    if (set->count == SMTP_KEYWORDS_MAX)
        return false;
    set->initials |= UINT32_C(1) << (name.ptr[0] & 31);
    set->names[set->count++] = name;
    return true;
}

bool smtp_keyword_search(const struct smtp_keyword_set *set, struct span keyword)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (span_equal_nocase(set->names[i], keyword))
            return true;
    return false;
}

bool smtp_keyword_may_come(const struct smtp_keyword_set *set, struct span line_so_far)
{
    if (!smtp_reply_may_begin(line_so_far))
        return false;
    struct span text = span_tail(line_so_far, CODE_LEN + 1);
    struct span keyword = smtp_reply_keyword(text);
    if (keyword.len && keyword.ptr + keyword.len < text.ptr + text.len)
        return smtp_keyword_in(set, keyword);
    for (uint32_t i = 0; i < set->count; i++)
        if (keyword.len <= set->names[i].len && span_equal_nocase(keyword, span_head(set->names[i], keyword.len)))
            return true;
    return false;
}
