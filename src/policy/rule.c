#include "policy/rule.h"

#include "smtp/path.h"

const char *rule_event_name(enum rule_event event)
{
    static const char *const names[RULE_EVENTS] = {
        [RULE_ON_COMMAND] = "command",   [RULE_ON_SENDER] = "sender",   [RULE_ON_RECIPIENT] = "recipient",
        [RULE_ON_STARTTLS] = "starttls", [RULE_ON_ANOMALY] = "anomaly",
    };
    return names[event];
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

/* The address of MAIL or RCPT; what cannot be read as one is compared as it is written. */
static bool address_matches(const struct rule *rule, struct span argument)
{
    struct smtp_path path = smtp_path_parse(argument);
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    struct span address = path.good ? smtp_path_plain(&path, plain, sizeof plain) : argument;
    if (path.good && address.len == 0)
        address = span_of("<>");
    for (uint32_t i = 0; i < rule->pattern_count; i++)
        if (rule_pattern_matches(rule->patterns[i], address))
            return true;
    return rule->pattern_count == 0;
}

bool rule_matches(const struct rule *rule, const struct smtp_unit *unit)
{
    if (rule->on == RULE_ON_ANOMALY)
        return rule->anomalies >> unit->anomaly & 1;
    if (unit->role != SMTP_CLIENT || (unit->kind != SMTP_UNIT_COMMAND && unit->kind != SMTP_UNIT_FRAGMENT))
        return false;
    enum smtp_verb verb = unit->command.verb;
    bool whole = unit->kind == SMTP_UNIT_COMMAND; /* before that there is no address to be judged */
    switch (rule->on) {
    case RULE_ON_COMMAND:
        return (whole || unit->command.separated) && rule->verbs >> verb & 1;
    case RULE_ON_SENDER:
        return whole && verb == SMTP_VERB_MAIL && address_matches(rule, unit->command.argument);
    case RULE_ON_RECIPIENT:
        return whole && verb == SMTP_VERB_RCPT && address_matches(rule, unit->command.argument);
    case RULE_ON_STARTTLS:
        return verb == SMTP_VERB_STARTTLS || verb == SMTP_VERB_X_ANONYMOUSTLS;
    case RULE_ON_ANOMALY:
    case RULE_EVENTS:
        break;
    }
    return false;
}
