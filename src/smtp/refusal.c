#include "smtp/refusal.h"

enum { FORMS_MAX = 4 };

/* From long to short; each begins with the same code, and the last is nothing else. */
static const char *const forms[SMTP_REFUSALS][FORMS_MAX] = {
    [SMTP_REFUSAL_NEED_TO_AUTHENTICATE] = {"504 Need to authenticate first", "504 Need to authenticate", "504 Refused",
                                           "504"},
    [SMTP_REFUSAL_VANISH] = {"", "", "", ""},
    [SMTP_REFUSAL_UNRECOGNIZED] = {"500 5.3.3 Unrecognized command", "500 Unrecognized", "500 Refused", "500"},
};

struct span smtp_refusal_form(enum smtp_refusal refusal, size_t room)
{
    assert(refusal > SMTP_REFUSAL_NONE && refusal < SMTP_REFUSALS);
    for (int i = 0; i < FORMS_MAX - 1; i++) {
        struct span form = span_of(forms[refusal][i]);
        if (form.len <= room)
            return form;
    }
    return span_of(forms[refusal][FORMS_MAX - 1]);
}
