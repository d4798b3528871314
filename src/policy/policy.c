#include "policy/policy.h"

void policy_init_observer(struct policy *policy)
{
    memset(policy, 0, sizeof *policy);
    smtp_refusals_init(&policy->refusals);
}

static void set_verdict(struct policy *policy, enum smtp_anomaly anomaly, enum smtp_action_kind kind,
                        enum smtp_refusal refusal)
{
    policy->verdicts[anomaly] =
        (struct smtp_action){.kind = kind, .refusal = (uint8_t)refusal, .reason = smtp_anomaly_name(anomaly)};
}

void policy_init_empty(struct policy *policy)
{
    policy_init_observer(policy);
    /* What no mail needs, and servers were broken with. */
    set_verdict(policy, SMTP_ANOMALY_AMBIGUOUS_CHUNK, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict(policy, SMTP_ANOMALY_COMMAND_BEFORE_354, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict(policy, SMTP_ANOMALY_OCTETS_BEFORE_TLS, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict(policy, SMTP_ANOMALY_XEXCH50_OVERFLOW, SMTP_ACTION_REFUSE, SMTP_REFUSAL_NEED_TO_AUTHENTICATE);
    set_verdict(policy, SMTP_ANOMALY_LINK2STATE_OVERFLOW, SMTP_ACTION_REFUSE, SMTP_REFUSAL_UNRECOGNIZED);
    static const enum smtp_verb judged[] = {SMTP_VERB_BDAT, SMTP_VERB_STARTTLS, SMTP_VERB_X_ANONYMOUSTLS,
                                            SMTP_VERB_XEXCH50, SMTP_VERB_X_LINK2STATE};
    for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++)
        policy->watched |= UINT64_C(1) << judged[i];
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
    if (span_equal_nocase(keyword, span_of("CHUNKING")))
        policy->refuse |= UINT64_C(1) << SMTP_VERB_BDAT; /* a client may use it unasked (case 30) */
    policy->watched |= policy->refuse;
    return true;
}

const char *policy_keep(struct policy *policy, struct span text)
{
    if (text.len >= POLICY_TEXT_BYTES_MAX - policy->text_used)
        return NULL;
    uint8_t *kept = policy->text + policy->text_used;
    if (text.len)
        memcpy(kept, text.ptr, text.len);
    kept[text.len] = '\0';
    policy->text_used += (uint32_t)text.len + 1;
    return (const char *)kept;
}

/* The verbs whose lines a rule looks at. */
static uint64_t verbs_of(const struct rule *rule)
{
    switch (rule->on) {
    case RULE_ON_COMMAND:
        return rule->verbs;
    case RULE_ON_SENDER:
        return UINT64_C(1) << SMTP_VERB_MAIL;
    case RULE_ON_RECIPIENT:
        return UINT64_C(1) << SMTP_VERB_RCPT;
    case RULE_ON_STARTTLS:
        return UINT64_C(1) << SMTP_VERB_STARTTLS | UINT64_C(1) << SMTP_VERB_X_ANONYMOUSTLS;
    case RULE_ON_ANOMALY:
    case RULE_EVENTS:
        break;
    }
    return 0;
}

bool policy_add_rule(struct policy *policy, const struct rule *rule)
{
    if (policy->rule_count == POLICY_RULES_MAX)
        return false;
    policy->rules[policy->rule_count++] = *rule;
    policy->watched |= verbs_of(rule);
    return true;
}

static struct smtp_action refuse_private(enum smtp_verb verb)
{
    enum smtp_refusal refusal =
        verb == SMTP_VERB_XEXCH50 ? SMTP_REFUSAL_NEED_TO_AUTHENTICATE : SMTP_REFUSAL_UNRECOGNIZED;
    return (struct smtp_action){.kind = SMTP_ACTION_REFUSE, .refusal = (uint8_t)refusal, .reason = "strip"};
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
        return (struct smtp_action){.kind = SMTP_ACTION_STRIP, .reason = "strip"};
    if (unit->kind == SMTP_UNIT_REPLY && unit->verb == SMTP_VERB_EHLO && !unit->reply.last &&
        unit->reply.code / 100 == 2 && policy->strip.count && all_behind_go(policy, unit->rest))
        return (struct smtp_action){.kind = SMTP_ACTION_MAKE_LAST};
    return (struct smtp_action){.kind = SMTP_ACTION_PASS};
}

/* The first rule that has to do with the unit; NULL where there is none. */
static const struct rule *find_rule(const struct policy *policy, const struct smtp_unit *unit)
{
    for (uint32_t i = 0; i < policy->rule_count; i++)
        if (rule_matches(&policy->rules[i], unit))
            return &policy->rules[i];
    return NULL;
}

struct smtp_action policy_judge(const struct policy *policy, const struct smtp_unit *unit)
{
    static const struct smtp_action pass = {.kind = SMTP_ACTION_PASS};
    bool line = unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY || unit->kind == SMTP_UNIT_FRAGMENT;
    bool looked_at = unit->anomaly ||
                     (line && !unit->judged && unit->role == SMTP_CLIENT && policy->watched >> unit->command.verb & 1);
    if (looked_at) {
        const struct rule *rule = find_rule(policy, unit);
        if (rule)
            return rule->action;
        if (unit->anomaly && policy->verdicts[unit->anomaly].kind != SMTP_ACTION_PASS)
            return policy->verdicts[unit->anomaly];
    }
    if (!line || unit->judged)
        return pass;
    if (unit->role == SMTP_SERVER)
        return judge_reply(policy, unit);
    return policy->refuse >> unit->command.verb & 1 ? refuse_private(unit->command.verb) : pass;
}
