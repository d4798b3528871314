#include "policy/policy.h"

void policy_init_empty(struct policy *policy)
{
    *policy = (struct policy){0};
}

void policy_init_default(struct policy *policy)
{
    policy_init_empty(policy);
    policy_strip(policy, span_of("XEXCH50"));
    policy_strip(policy, span_of("X-LINK2STATE"));
}

static bool is_letter_or_digit(uint8_t octet)
{
    uint8_t upper = ascii_upper(octet);
    return (upper >= 'A' && upper <= 'Z') || (octet >= '0' && octet <= '9');
}

/* RFC 5321 4.1.1.1: ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
static bool is_keyword(struct span word)
{
    if (word.len == 0 || !is_letter_or_digit(word.ptr[0]))
        return false;
    for (size_t i = 1; i < word.len; i++)
        if (!is_letter_or_digit(word.ptr[i]) && word.ptr[i] != '-')
            return false;
    return true;
}

bool policy_strip(struct policy *policy, struct span keyword)
{
    struct smtp_keyword_set *set = &policy->strip;
    if (!is_keyword(keyword) || keyword.len > POLICY_KEYWORD_BYTES_MAX)
        return false;
    if (smtp_keyword_in(set, keyword))
        return true;
    if (set->count == SMTP_KEYWORDS_MAX)
        return false;
    uint8_t *text = policy->strip_text[set->count];
    memcpy(text, keyword.ptr, keyword.len);
    smtp_keyword_add(set, (struct span){text, keyword.len});
    /* Standard verbs stay usable: a server may be asked for what it did not offer, and says so itself. */
    enum smtp_verb verb = smtp_verb_find(keyword);
    if (verb == SMTP_VERB_XEXCH50 || verb == SMTP_VERB_X_LINK2STATE)
        policy->refuse |= UINT64_C(1) << verb;
    return true;
}

static enum smtp_refusal refusal_of(enum smtp_verb verb)
{
    return verb == SMTP_VERB_XEXCH50 ? SMTP_REFUSAL_NEED_TO_AUTHENTICATE : SMTP_REFUSAL_UNRECOGNIZED;
}

/*
 * Whether all whole lines behind a reply line, up to the last one of the reply, will be taken out: then this one must
 * become the last. Where the reply is not all there yet, nobody knows; it then stays as it is.
 */
static bool all_behind_go(const struct policy *policy, struct span rest)
{
    enum { KEYWORD_AT = 4 }; /* behind the code and its hyphen or blank */
    for (;;) {
        if (rest.len <= KEYWORD_AT || !smtp_keyword_initial(&policy->strip, rest.ptr[KEYWORD_AT]))
            return false;
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        struct smtp_reply next;
        if (!end)
            return false;
        struct span line = span_head(rest, (size_t)(end - rest.ptr) + 1);
        if (!smtp_reply_parse(line, &next) || !smtp_keyword_in(&policy->strip, smtp_reply_keyword(next.text)))
            return false;
        if (next.last)
            return true;
        rest = span_tail(rest, line.len);
    }
}

static struct smtp_action judge_reply(const struct policy *policy, const struct smtp_unit *unit)
{
    if (unit->keyword.len && smtp_keyword_in(&policy->strip, unit->keyword))
        return (struct smtp_action){.kind = SMTP_ACTION_STRIP};
    if (unit->kind == SMTP_UNIT_REPLY && unit->verb == SMTP_VERB_EHLO && !unit->reply.last &&
        unit->reply.code / 100 == 2 && policy->strip.count && all_behind_go(policy, unit->rest))
        return (struct smtp_action){.kind = SMTP_ACTION_MAKE_LAST};
    return (struct smtp_action){.kind = SMTP_ACTION_PASS};
}

struct smtp_action policy_judge(const struct policy *policy, const struct smtp_unit *unit)
{
    bool line = unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY || unit->kind == SMTP_UNIT_FRAGMENT;
    if (!line || unit->judged)
        return (struct smtp_action){.kind = SMTP_ACTION_PASS};
    if (unit->side == SMTP_SERVER)
        return judge_reply(policy, unit);
    if (policy->refuse >> unit->command.verb & 1)
        return (struct smtp_action){SMTP_ACTION_REFUSE, refusal_of(unit->command.verb)};
    return (struct smtp_action){.kind = SMTP_ACTION_PASS};
}
