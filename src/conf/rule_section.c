#include "conf/rule_section.h"

#include <stdio.h>
#include <stdlib.h>

#include "conf/complain.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

cfg_opt_t *rule_section_options(void)
{
    static cfg_opt_t options[] = {
        CFG_STR("on", NULL, CFGF_NONE),
        CFG_STR_LIST("match", NULL, CFGF_NONE),
        CFG_STR("action", NULL, CFGF_NONE),
        CFG_INT("code", 0, CFGF_NONE),
        CFG_STR("text", NULL, CFGF_NONE),
        CFG_STR("method", NULL, CFGF_NONE),
        CFG_END(),
    };
    return options;
}

static bool wrong(cfg_t *cfg, const char *text)
{
    complain(cfg, "rule \"%s\": %s", cfg_title(cfg), text);
    return false;
}

/* `word` is not one of `words`. */
static bool unknown(cfg_t *cfg, const char *key, const char *word, const char *const *words, size_t count)
{
    const char *nearest = word ? complain_nearest(word, words, count) : NULL;
    char all[256] = "";
    for (size_t i = 0, len = 0; i < count && len < sizeof all; i++)
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", words[i]);
    if (!word)
        complain(cfg, "rule \"%s\": '%s' is missing; write one of %s", cfg_title(cfg), key, all);
    else if (nearest)
        complain(cfg, "rule \"%s\": unknown %s '%s'; did you mean '%s'?", cfg_title(cfg), key, word, nearest);
    else
        complain(cfg, "rule \"%s\": unknown %s '%s'; write one of %s", cfg_title(cfg), key, word, all);
    return false;
}

static bool find(cfg_t *cfg, const char *key, const char *const *words, size_t count, size_t *found)
{
    const char *word = cfg_getstr(cfg, key);
    for (*found = 0; word && *found < count; ++*found)
        if (strcmp(word, words[*found]) == 0)
            return true;
    return unknown(cfg, key, word, words, count);
}

static bool take_event(cfg_t *cfg, struct rule *rule)
{
    const char *names[RULE_EVENTS];
    size_t event;
    for (int i = 0; i < RULE_EVENTS; i++)
        names[i] = rule_event_name((enum rule_event)i);
    if (!find(cfg, "on", names, COUNT(names), &event))
        return false;
    rule->on = (enum rule_event)event;
    return true;
}

static bool take_verb(cfg_t *cfg, struct rule *rule, const char *word)
{
    const char *names[SMTP_VERB_NAMED];
    for (int verb = 0; verb < SMTP_VERB_NAMED; verb++) {
        names[verb] = smtp_verb_name((enum smtp_verb)verb);
        if (span_equal_nocase(span_of(word), span_of(names[verb]))) {
            rule->verbs |= UINT64_C(1) << verb;
            return true;
        }
    }
    return unknown(cfg, "verb", word, names, COUNT(names));
}

static bool take_anomaly(cfg_t *cfg, struct rule *rule, const char *word)
{
    enum smtp_anomaly anomaly = smtp_anomaly_find(span_of(word));
    rule->anomalies |= UINT32_C(1) << anomaly;
    if (anomaly != SMTP_ANOMALY_NONE)
        return true;
    const char *names[SMTP_ANOMALIES - 1];
    for (int i = 1; i < SMTP_ANOMALIES; i++)
        names[i - 1] = smtp_anomaly_name((enum smtp_anomaly)i);
    return unknown(cfg, "anomaly", word, names, COUNT(names));
}

static bool take_pattern(cfg_t *cfg, struct policy *policy, struct rule *rule, const char *word)
{
    if (rule->pattern_count == RULE_PATTERNS_MAX)
        return wrong(cfg, "more than 16 entries in 'match'; make it two rules");
    const char *kept = policy_keep(policy, span_of(word));
    if (!kept)
        return wrong(cfg, "the rules have more text than there is room for");
    rule->patterns[rule->pattern_count++] = span_of(kept);
    return true;
}

static bool take_matches(cfg_t *cfg, struct policy *policy, struct rule *rule)
{
    unsigned count = cfg_size(cfg, "match");
    if (count == 0 && (rule->on == RULE_ON_COMMAND || rule->on == RULE_ON_ANOMALY))
        return wrong(cfg, "'match' is missing; say which, for example match = {\"VRFY\"}");
    if (count > 0 && rule->on == RULE_ON_STARTTLS)
        return wrong(cfg, "with on = starttls there is nothing to match; take 'match' out");
    for (unsigned i = 0; i < count; i++) {
        const char *word = cfg_getnstr(cfg, "match", i);
        bool good = rule->on == RULE_ON_COMMAND   ? take_verb(cfg, rule, word)
                    : rule->on == RULE_ON_ANOMALY ? take_anomaly(cfg, rule, word)
                                                  : take_pattern(cfg, policy, rule, word);
        if (!good)
            return false;
    }
    return true;
}

/* What is said where the rule says nothing, by event. */
static const char *const default_lines[RULE_EVENTS] = {
    [RULE_ON_COMMAND] = "502 5.5.1 Command not available here",
    [RULE_ON_SENDER] = "450 4.7.1 Try again later",
    [RULE_ON_RECIPIENT] = "450 4.7.1 Try again later",
    [RULE_ON_STARTTLS] = "454 4.7.0 TLS not available",
    [RULE_ON_ANOMALY] = "550 5.7.1 Refused",
};

/* The code and text of a rule as one line, `fallback` where it has neither; NULL, with a complaint, where they are
 * wrong. */
static const char *take_line(cfg_t *cfg, struct policy *policy, const char *fallback)
{
    long code = cfg_getint(cfg, "code");
    const char *text = cfg_getstr(cfg, "text");
    char line[SMTP_REFUSAL_BYTES_MAX];
    if (cfg_size(cfg, "code") == 0 || code == 0) {
        if (!text)
            return fallback;
        code = strtol(fallback, NULL, 10);
    }
    if (code < 400 || code > 599)
        return wrong(cfg, "'code' is no refusal; write a number from 400 to 599"), NULL;
    bool enhanced = text && strlen(text) > 2 && text[0] >= '2' && text[0] <= '5' && text[1] == '.';
    if (enhanced && text[0] - '0' != code / 100)
        return wrong(cfg, "the enhanced code in 'text' must begin with the digit that 'code' begins with (RFC 3463)"),
               NULL;
    int len = snprintf(line, sizeof line, "%ld%s%s", code, text && *text ? " " : "", text ? text : "");
    if (len < 0 || (size_t)len > SMTP_REFUSAL_BYTES_MAX - 2)
        return wrong(cfg, "'text' is too long for a reply line; RFC 5321 allows 510 octets"), NULL;
    for (int i = 0; i < len; i++)
        if (line[i] < ' ' || line[i] > '~')
            return wrong(cfg, "'text' may hold printable ASCII only, and no line end"), NULL;
    const char *kept = policy_keep(policy, span_of(line));
    if (!kept)
        wrong(cfg, "the rules have more text than there is room for");
    return kept;
}

/* How the transaction goes on, of a recipient that is refused. */
static bool take_method(cfg_t *cfg, struct rule *rule, bool temporary)
{
    static const char *const methods[] = {"void", "spoil"};
    size_t method = temporary ? 0 : 1;
    if (cfg_getstr(cfg, "method") && rule->on != RULE_ON_RECIPIENT)
        return wrong(cfg, "'method' belongs to on = recipient with action = refuse");
    if (cfg_getstr(cfg, "method") && !find(cfg, "method", methods, COUNT(methods), &method))
        return false;
    if (rule->on == RULE_ON_RECIPIENT && method == 0)
        rule->action.kind = SMTP_ACTION_VOID;
    return true;
}

static bool take_refusal(cfg_t *cfg, struct policy *policy, struct rule *rule)
{
    const uint64_t never =
        UINT64_C(1) << SMTP_VERB_RSET | UINT64_C(1) << SMTP_VERB_NOOP | UINT64_C(1) << SMTP_VERB_QUIT;
    const uint32_t polite = UINT32_C(1) << SMTP_ANOMALY_XEXCH50_OVERFLOW | UINT32_C(1)
                                                                               << SMTP_ANOMALY_LINK2STATE_OVERFLOW;
    if (rule->verbs & never)
        return wrong(cfg, "RSET, NOOP and QUIT cannot be refused: the client needs them; use close or reset");
    if (rule->anomalies & ~polite)
        return wrong(cfg, "only xexch50-overflow and link2state-overflow can be refused; use pass, close or reset");
    const char *line = take_line(cfg, policy, default_lines[rule->on]);
    if (!line)
        return false;
    if (strncmp(line, "421", 3) == 0)
        return wrong(cfg, "421 says that the connection ends; write action = close, or another code");
    rule->action.kind = SMTP_ACTION_REFUSE;
    rule->action.refusal = smtp_refusal_add(&policy->refusals, span_of(line), rule->name);
    if (rule->action.refusal == SMTP_REFUSAL_NONE)
        return wrong(cfg, "more than 250 rules that refuse");
    return take_method(cfg, rule, line[0] == '4');
}

static bool take_close(cfg_t *cfg, struct policy *policy, struct rule *rule)
{
    rule->action.kind = SMTP_ACTION_CLOSE;
    const char *line = take_line(cfg, policy, "421 4.7.0 Closing connection");
    if (!line)
        return false;
    if (strncmp(line, "421", 3) != 0)
        return wrong(cfg, "action = close answers with 421; take 'code' out");
    rule->action.refusal = smtp_refusal_add(&policy->refusals, span_of(line), rule->name);
    return rule->action.refusal != SMTP_REFUSAL_NONE || wrong(cfg, "more than 250 rules that refuse");
}

static bool take_action(cfg_t *cfg, struct policy *policy, struct rule *rule)
{
    static const char *const actions[] = {"pass", "refuse", "close", "reset"};
    enum { PASS, REFUSE, CLOSE, RESET };
    size_t action;
    if (!find(cfg, "action", actions, COUNT(actions), &action))
        return false;
    rule->action = (struct smtp_action){.kind = SMTP_ACTION_PASS, .reason = rule->name};
    if (action == REFUSE)
        return take_refusal(cfg, policy, rule);
    if (action == CLOSE)
        return take_close(cfg, policy, rule);
    if (cfg_getint(cfg, "code") || cfg_getstr(cfg, "text") || cfg_getstr(cfg, "method"))
        return wrong(cfg, "'code', 'text' and 'method' belong to action = refuse");
    if (action == RESET)
        rule->action.kind = SMTP_ACTION_RESET;
    return true;
}

bool rule_section_take(cfg_t *cfg, struct policy *policy)
{
    struct rule rule = {.name = policy_keep(policy, span_of(cfg_title(cfg)))};
    if (!rule.name)
        return wrong(cfg, "the rules have more text than there is room for");
    if (!take_event(cfg, &rule) || !take_matches(cfg, policy, &rule) || !take_action(cfg, policy, &rule))
        return false;
    return policy_add_rule(policy, &rule) || wrong(cfg, "more than 500 rules");
}
