#include "smtp/refusal.h"

static const char *const own[SMTP_REFUSALS_OWN][SMTP_REFUSAL_FORMS_MAX] = {
    [SMTP_REFUSAL_NONE] = {"451", "451", "451", "451"},
    [SMTP_REFUSAL_NEED_TO_AUTHENTICATE] = {"504 Need to authenticate first", "504 Need to authenticate", "504 Refused",
                                           "504"},
    [SMTP_REFUSAL_UNRECOGNIZED] = {"500 5.5.1 Unrecognized command", "500 Unrecognized", "500 Refused", "500"},
    [SMTP_REFUSAL_TRY_AGAIN] = {"451 4.3.0 Try again later", "451 Try again later", "451 4.3.0", "451"},
    [SMTP_REFUSAL_UNREADABLE] = {"500 5.5.2 Syntax error", "500 Syntax error", "500 5.5.2", "500"},
    [SMTP_REFUSAL_ADDRESS] = {"501 5.1.3 Bad address syntax", "501 Bad address", "501 5.1.3", "501"},
    [SMTP_REFUSAL_CLOSING] = {"421 4.7.0 Closing connection", "421 4.7.0 Closing", "421 4.7.0", "421"},
};

/* Octets of the code and, where one follows it, of the enhanced code: class "." 1*3digit "." 1*3digit (RFC 3463 2). */
static size_t enhanced_len(struct span line)
{
    enum { CLASS_AT = SMTP_REFUSAL_CODE_LEN + 1 };
    size_t at = CLASS_AT;
    if (line.len < CLASS_AT + 5 || line.ptr[at] != line.ptr[0])
        return SMTP_REFUSAL_CODE_LEN;
    at++;
    for (int part = 0; part < 2; part++) {
        size_t digits = 0;
        if (at >= line.len || line.ptr[at++] != '.')
            return SMTP_REFUSAL_CODE_LEN;
        for (; at < line.len && ascii_is_digit(line.ptr[at]); at++)
            digits++;
        if (digits < 1 || digits > 3)
            return SMTP_REFUSAL_CODE_LEN;
    }
    return at == line.len || line.ptr[at] == ' ' ? at : SMTP_REFUSAL_CODE_LEN;
}

static bool is_refusal(struct span line)
{
    if (line.len < SMTP_REFUSAL_CODE_LEN || line.len > SMTP_REFUSAL_BYTES_MAX - 2)
        return false;
    if (line.len > SMTP_REFUSAL_CODE_LEN && line.ptr[SMTP_REFUSAL_CODE_LEN] != ' ')
        return false;
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] < ' ' || line.ptr[i] > '~')
            return false;
    return (line.ptr[0] == '4' || line.ptr[0] == '5') && ascii_is_digit(line.ptr[1]) && ascii_is_digit(line.ptr[2]);
}

void smtp_refusals_init(struct smtp_refusals *refusals)
{
    for (int i = 0; i < SMTP_REFUSALS_OWN; i++) {
        refusals->texts[i].reason = i == SMTP_REFUSAL_TRY_AGAIN ? "void" : "";
        for (int form = 0; form < SMTP_REFUSAL_FORMS_MAX; form++)
            refusals->texts[i].forms[form] = span_of(own[i][form]);
    }
    refusals->count = SMTP_REFUSALS_OWN;
}

uint8_t smtp_refusal_add(struct smtp_refusals *refusals, struct span line, const char *reason)
{
    if (!is_refusal(line) || refusals->count == SMTP_REFUSALS_MAX)
        return SMTP_REFUSAL_NONE;
    struct span code = span_head(line, SMTP_REFUSAL_CODE_LEN);
    refusals->texts[refusals->count] = (struct smtp_refusal_text){
        .forms = {line, span_head(line, enhanced_len(line)), code, code},
        .reason = reason,
    };
    return (uint8_t)refusals->count++;
}

struct span smtp_refusal_form(const struct smtp_refusals *refusals, uint8_t refusal, size_t room)
{
    assert(refusal < refusals->count);
    const struct smtp_refusal_text *text = &refusals->texts[refusal];
    for (int i = 0; i < SMTP_REFUSAL_FORMS_MAX - 1; i++)
        if (text->forms[i].len <= room)
            return text->forms[i];
    return text->forms[SMTP_REFUSAL_FORMS_MAX - 1];
}
