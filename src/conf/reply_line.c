#include "conf/reply_line.h"

#include <stdio.h>
#include <stdlib.h>

static const char *wrong(char why[REPLY_LINE_WHY_BYTES], const char *text)
{
    snprintf(why, REPLY_LINE_WHY_BYTES, "%s", text);
    return NULL;
}

const char *reply_line(struct policy *policy, const char *code_text, const char *text, const char *fallback,
                       char why[REPLY_LINE_WHY_BYTES])
{
    char line[SMTP_REFUSAL_BYTES_MAX];
    long code = strtol(code_text ? code_text : fallback, NULL, 10);
    bool enhanced = text && strlen(text) > 2 && text[0] >= '2' && text[0] <= '5' && text[1] == '.';
    if (enhanced && text[0] - '0' != code / 100)
        return wrong(why, "the enhanced code in 'text' must begin with the digit that 'code' begins with (RFC 3463)");
    int len = snprintf(line, sizeof line, "%ld%s%s", code, text && *text ? " " : "", text ? text : "");
    if (len < 0 || (size_t)len > SMTP_REFUSAL_BYTES_MAX - 2)
        return wrong(why, "'text' is too long for a reply line; RFC 5321 allows 510 octets");
    for (int i = 0; i < len; i++)
        if (line[i] < ' ' || line[i] > '~')
            return wrong(why, "'text' may hold printable ASCII only, and no line end");
    const char *kept = policy_keep(policy, span_of(line));
    return kept ? kept : wrong(why, "the rules have more text than there is room for");
}
