#define PCRE2_CODE_UNIT_WIDTH 8
#include "conf/regex.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

struct regex {
    struct regex *next;
    pcre2_code *code;
};

/* What PCRE2 asks for while it matches: at first use in a thread, and when its stack of alternatives grows. */
enum { MATCH_BYTES = 256 * 1024 };

static _Thread_local struct {
    _Alignas(16) unsigned char memory[MATCH_BYTES];
    size_t used;
    pcre2_match_data *data;
    pcre2_match_context *context;
} own;

static void *take(size_t octets, void *unused)
{
    (void)unused;
    octets = (octets + 15) & ~(size_t)15;
    if (octets > MATCH_BYTES - own.used)
        return NULL;
    void *piece = own.memory + own.used;
    own.used += octets;
    return piece;
}

/* What grew is small and grows at most to REGEX_HEAP_KIB, doubling: it is not worth taking back. */
static void leave(void *piece, void *unused)
{
    (void)piece;
    (void)unused;
}

static bool prepare(void)
{
    if (own.data)
        return true;
    pcre2_general_context *general = pcre2_general_context_create(take, leave, NULL);
    if (!general)
        return false;
    own.context = pcre2_match_context_create(general);
    own.data = pcre2_match_data_create(1, general);
    if (!own.context || !own.data)
        return false;
    pcre2_set_match_limit(own.context, REGEX_STEPS_MAX);
    pcre2_set_heap_limit(own.context, REGEX_HEAP_KIB);
    return true;
}

enum rule_match regex_matches(const void *regex, struct span text)
{
    static const unsigned char nothing[1];
    if (!prepare())
        return RULE_MATCH_UNDECIDED;
    const struct regex *compiled = regex;
    int result = pcre2_match(compiled->code, text.len ? text.ptr : nothing, text.len, 0, 0, own.data, own.context);
    return result >= 0 ? RULE_MATCH_YES : result == PCRE2_ERROR_NOMATCH ? RULE_MATCH_NO : RULE_MATCH_UNDECIDED;
}

const struct regex *regex_add(struct regex **list, struct span expression, char *wrong, size_t size)
{
    int fault;
    PCRE2_SIZE at;
    struct regex *regex = calloc(1, sizeof *regex);
    if (!regex) {
        snprintf(wrong, size, "no memory");
        return NULL;
    }
    regex->code = pcre2_compile(expression.ptr, expression.len,
                                PCRE2_CASELESS | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C, &fault, &at, NULL);
    if (!regex->code) {
        unsigned char text[128];
        pcre2_get_error_message(fault, text, sizeof text);
        snprintf(wrong, size, "%s at character %zu", (const char *)text, (size_t)at + 1);
        free(regex);
        return NULL;
    }
    regex->next = *list;
    *list = regex;
    return regex;
}

void regex_free_all(struct regex *list)
{
    while (list) {
        struct regex *next = list->next;
        pcre2_code_free(list->code);
        free(list);
        list = next;
    }
}
