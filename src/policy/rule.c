#include "policy/rule.h"

const char *rule_event_name(enum rule_event event)
{
    static const char *const names[RULE_EVENTS] = {
        [RULE_ON_CONNECT] = "connect",     [RULE_ON_GREETING] = "greeting",   [RULE_ON_KEYWORD] = "ehlo-keyword",
        [RULE_ON_COMMAND] = "command",     [RULE_ON_ARGUMENT] = "argument",   [RULE_ON_SENDER] = "sender",
        [RULE_ON_RECIPIENT] = "recipient", [RULE_ON_STARTTLS] = "starttls",   [RULE_ON_REPLY] = "reply",
        [RULE_ON_LINE] = "line",           [RULE_ON_FILE_NAME] = "file-name", [RULE_ON_MESSAGE] = "message",
        [RULE_ON_ANOMALY] = "anomaly",
    };
    return names[event];
}

struct rule rule_of(const char *name, enum rule_event on)
{
    return (struct rule){
        .name = name,
        .on = on,
        .after = RULE_ANY_OVER,
        .refused_over = RULE_ANY_OVER,
        .commands_over = RULE_ANY_OVER,
        .recipients_over = RULE_ANY_OVER,
        .length_over = RULE_ANY_OVER,
        .size_over = UINT64_MAX,
        .action = {.kind = SMTP_ACTION_PASS, .reason = name},
    };
}

bool rule_pattern_matches(struct span pattern, struct span text)
{
    size_t p = 0, t = 0;
    size_t star = SIZE_MAX, star_text = 0; /* where to go on when the part behind the last `*` does not fit */
    while (t < text.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            star_text = t;
        } else if (p < pattern.len &&
                   (pattern.ptr[p] == '?' || ascii_upper(pattern.ptr[p]) == ascii_upper(text.ptr[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

static enum rule_match any_matches(const struct rule_patterns *patterns, struct span text)
{
    enum rule_match any = RULE_MATCH_NO;
    for (uint32_t i = 0; i < patterns->count; i++) {
        const struct rule_pattern *pattern = &patterns->list[i];
        enum rule_match one = pattern->matches ? pattern->matches(pattern->regex, text)
                                               : (enum rule_match)rule_pattern_matches(pattern->glob, text);
        if (one == RULE_MATCH_YES)
            return one;
        any = one == RULE_MATCH_UNDECIDED ? one : any;
    }
    return any;
}

/* Of an address as it is folded, or as it is written. */
static enum rule_match any_matches_case(const struct rule_patterns *patterns, const struct rule_case *what)
{
    enum rule_match folded = any_matches(patterns, what->text);
    if (folded == RULE_MATCH_YES || what->written.len == 0 || what->written.ptr == what->text.ptr)
        return folded;
    enum rule_match written = any_matches(patterns, what->written);
    return written == RULE_MATCH_NO ? folded : written;
}

static bool code_matches(const struct rule_codes *codes, uint16_t code)
{
    for (uint32_t i = 0; i < codes->count; i++)
        if (code >= codes->ranges[i].first && code <= codes->ranges[i].last)
            return true;
    return codes->count == 0;
}

static bool choice_holds(uint8_t choice, bool fact)
{
    return choice == RULE_EITHER || (choice == RULE_YES) == fact;
}

static bool is_over(uint32_t limit, uint64_t count)
{
    return limit == RULE_ANY_OVER || count > limit;
}

/* Whether the condition of this number is among those that hold; 0: there is none. */
static bool bit_holds(uint8_t number, uint32_t holds)
{
    return number == 0 || holds >> (number - 1) & 1;
}

bool rule_is_for(const struct rule *rule, const struct policy_facts *facts)
{
    return (rule->directions == 0 || rule->directions >> facts->direction & 1) &&
           bit_holds(rule->helo_number, facts->helo_holds) && bit_holds(rule->name_number, facts->name_holds) &&
           choice_holds(rule->known, facts->known) && choice_holds(rule->authenticated, facts->authenticated) &&
           choice_holds(rule->early_talker, facts->early_talker);
}

static bool facts_hold(const struct rule *rule, const struct rule_case *what, const struct policy_facts *facts)
{
    return rule_is_for(rule, facts) && is_over(rule->after, facts->errors) &&
           is_over(rule->refused_over, facts->refused) && is_over(rule->commands_over, facts->commands) &&
           is_over(rule->recipients_over, what->recipients);
}

/* A command whose verb is named, or whose word is in a table; each where either is asked for. */
static bool verb_matches(const struct rule *rule, const struct rule_case *what, bool named)
{
    if (what->event != rule->on) /* the command that a keyword offers */
        return true;
    if (rule->except_verbs >> what->verb & 1)
        return false;
    bool any = rule->verbs == 0 && !(rule->on == RULE_ON_COMMAND && rule->has_words);
    return any || rule->verbs >> what->verb & 1 || (rule->on == RULE_ON_COMMAND && named);
}

static bool rule_restricts(const struct rule *rule)
{
    return rule->action.kind != SMTP_ACTION_PASS || rule->action.delay_ms > 0;
}

static bool match_holds(const struct rule *rule, enum rule_match match)
{
    return match == RULE_MATCH_YES || (match == RULE_MATCH_UNDECIDED && rule_restricts(rule));
}

bool rule_refuses_content(const struct rule *rule)
{
    return rule->action.kind == SMTP_ACTION_REFUSE &&
           (rule->on == RULE_ON_LINE || rule->on == RULE_ON_FILE_NAME || rule->on == RULE_ON_MESSAGE);
}

bool rule_names_helo(const struct rule *rule, struct span name)
{
    return match_holds(rule, any_matches(&rule->helo, name));
}

/* Whether an entry without an expression names a domain that the name is in: `.example.net` only what is below. */
static bool names_domain(struct span entry, struct span name)
{
    bool below = entry.len && entry.ptr[0] == '.';
    for (size_t at = 0; at < name.len; at++) {
        bool begins = below ? name.ptr[at] == '.' : at == 0 || name.ptr[at - 1] == '.';
        if (begins && rule_pattern_matches(entry, span_tail(name, at)))
            return true;
    }
    return false;
}

bool rule_names_client(const struct rule *rule, struct span name)
{
    for (uint32_t i = 0; i < rule->client_names.count; i++) {
        const struct rule_pattern *entry = &rule->client_names.list[i];
        if (entry->matches ? match_holds(rule, entry->matches(entry->regex, name)) : names_domain(entry->glob, name))
            return true;
    }
    return false;
}

static bool text_matches(const struct rule *rule, const struct rule_case *what, bool named, bool *undecided)
{
    if (what->event != rule->on)
        return rule->keyword_verbs >> what->verb & 1;
    bool restricts = rule_restricts(rule);
    bool any = rule->on == RULE_ON_COMMAND || (!rule->has_words && rule->match.count == 0);
    if (what->unread && !any && !restricts)
        return false;
    enum rule_match match = any || named ? RULE_MATCH_YES : any_matches_case(&rule->match, what);
    enum rule_match except = match == RULE_MATCH_NO ? RULE_MATCH_NO : any_matches_case(&rule->except, what);
    if (match == RULE_MATCH_NO || except == RULE_MATCH_YES)
        return false;
    if (match == RULE_MATCH_YES && except == RULE_MATCH_NO)
        return true;
    *undecided = true;
    return restricts;
}

bool rule_means(const struct rule *rule, struct span text, bool named)
{
    bool undecided = false;
    struct rule_case what = {.event = rule->on, .text = text};
    return is_over(rule->length_over, text.len) && text_matches(rule, &what, named, &undecided);
}

bool rule_holds(const struct rule *rule, const struct rule_case *what, const struct policy_facts *facts, bool named,
                bool *undecided)
{
    if (rule->on == RULE_ON_ANOMALY)
        return rule->anomalies >> what->anomaly & 1 && facts_hold(rule, what, facts);
    if (rule->on == RULE_ON_LINE && rule->part != RULE_PART_ANY && rule->part != what->part)
        return false;
    if (rule->size_over != UINT64_MAX && what->size <= rule->size_over)
        return false;
    return facts_hold(rule, what, facts) && verb_matches(rule, what, named) && code_matches(&rule->codes, what->code) &&
           (what->event != rule->on || is_over(rule->length_over, what->length)) &&
           text_matches(rule, what, named, undecided);
}
