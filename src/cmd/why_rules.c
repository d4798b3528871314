#include "cmd/why_rules.h"

#include <stdio.h>
#include <string.h>

#include "report/text.h"

/* ---- between whom ---- */

/* An address in one of the networks that are protected: which server is not said, a protected one it is. */
static void protected_address(const struct policy *policy, uint8_t ip_version, uint8_t address[16])
{
    const struct network_table *table = &policy->protected_networks;
    for (uint32_t i = 0; i < table->count; i++)
        if (table->entries[i].network.address[0] == ip_version) {
            memcpy(address, table->entries[i].network.address + 1, ip_version == 4 ? 4 : 16);
            return;
        }
}

static void find_facts(struct why_rules *rules, const struct greylist_attempt *attempt, const uint8_t *server,
                       const char *direction)
{
    static const char *const names[POLICY_DIRECTIONS] = {"inbound", "outbound", "internal", "neither"};
    const struct policy *policy = rules->policy;
    uint8_t assumed[16] = {0};
    bool ours = network_table_class(&policy->protected_networks, attempt->ip_version, attempt->client) != 0;
    bool to_ours = direction ? strcmp(direction, "outbound") != 0 : !ours;
    if (!server && to_ours)
        protected_address(policy, attempt->ip_version, assumed);
    policy_facts_begin(policy, (struct policy_address){attempt->ip_version, attempt->client},
                       (struct policy_address){attempt->ip_version, server ? server : assumed}, &rules->facts);
    rules->facts.may_be_acted_on = rules->facts.would_be_acted_on = true;
    rules->direction = names[rules->facts.direction];
}

/* ---- moment by moment ---- */

static void add_step(struct why_rules *rules, struct why_step step)
{
    if (rules->count < WHY_STEPS_MAX)
        rules->steps[rules->count++] = step;
}

static bool ends_session(const struct smtp_action *action)
{
    return action->kind == SMTP_ACTION_RESET || action->kind == SMTP_ACTION_CLOSE;
}

static void take(struct why_rules *rules, const char *moment, const struct policy_decision *decision)
{
    for (uint32_t i = 0; i < decision->taken_count; i++)
        add_step(rules, (struct why_step){.moment = moment,
                                          .rule = decision->taken[i],
                                          .decides = decision->taken[i] == decision->rule});
    bool alone = !decision->rule && decision->action.kind != SMTP_ACTION_PASS;
    if (alone)
        add_step(rules, (struct why_step){.moment = moment, .reason = decision->action.reason, .decides = true});
    rules->asks = decision->action.ask;
    rules->waits = rules->asks && decision->action.kind == SMTP_ACTION_WAIT;
    rules->variant = rules->asks && decision->rule ? decision->rule->variant : 0;
    rules->passed_over = rules->passed_over || ends_session(&decision->action);
}

static void judge_line(struct why_rules *rules, const char *moment, const char *line, uint16_t recipients)
{
    struct policy_decision decision;
    struct smtp_unit unit = {.kind = SMTP_UNIT_COMMAND, .side = SMTP_CLIENT, .role = SMTP_CLIENT};
    unit.whole = unit.octets = span_of(line);
    unit.command = smtp_command_parse(unit.whole);
    if (rules->passed_over)
        return;
    rules->facts.commands++;
    policy_judge(rules->policy, &unit, &rules->facts, recipients, 0, &decision);
    take(rules, moment, &decision);
}

static void judge_text(struct why_rules *rules, const char *moment, const char *before, struct span text,
                       const char *behind)
{
    char line[SMTP_LINE_BYTES_MAX];
    snprintf(line, sizeof line, "%s%.*s%s\r\n", before, (int)text.len, (const char *)text.ptr, behind);
    judge_line(rules, moment, line, 0);
}

static void judge_connect(struct why_rules *rules)
{
    struct policy_decision decision;
    struct rule_case what = {.event = RULE_ON_CONNECT, .verb = SMTP_VERB_CONNECT};
    policy_judge_case(rules->policy, &what, &rules->facts, &decision);
    take(rules, "connect", &decision);
}

void why_rules_judge(struct why_rules *rules, const struct policy *policy, const struct greylist_attempt *attempt,
                     const uint8_t *server, const char *direction, bool known)
{
    const uint32_t shown = 1u << RULE_ON_CONNECT | 1u << RULE_ON_COMMAND | 1u << RULE_ON_ARGUMENT |
                           1u << RULE_ON_SENDER | 1u << RULE_ON_RECIPIENT | 1u << RULE_ON_STARTTLS;
    *rules = (struct why_rules){.policy = policy};
    find_facts(rules, attempt, server, direction);
    rules->facts.known = known;
    for (uint32_t i = 0; i < policy->rule_count; i++)
        rules->others += policy->rules[i].does && !(shown >> policy->rules[i].on & 1);
    judge_connect(rules);
    if (attempt->helo.len)
        judge_text(rules, "EHLO", "EHLO ", attempt->helo, "");
    policy_note_helo(policy, attempt->helo, &rules->facts);
    if (attempt->tls)
        judge_line(rules, "STARTTLS", "STARTTLS\r\n", 0);
    else if (attempt->sender.ptr)
        judge_text(rules, "MAIL", "MAIL FROM:<", attempt->sender, ">");
    if (attempt->recipient.ptr && !attempt->tls)
        judge_text(rules, "RCPT", "RCPT TO:<", attempt->recipient, ">");
}

/* ---- words ---- */

static void print_step(const struct why_rules *rules, const struct why_step *step)
{
    if (!step->rule) {
        printf("    %s: refused: %s.\n", step->moment, step->reason ? step->reason : "a verdict");
        return;
    }
    char name[TEXT_BYTES(64)];
    const struct rule *rule = step->rule;
    printf("    %s: rule \"%s\" (%s) %s: %s", step->moment, text_escape(span_of(rule->name), name, sizeof name),
           rule->place ? rule->place : "?", step->decides ? "decides" : "holds, and goes on", rule->does);
    uint8_t refusal = rule->action.refusal;
    if (step->decides && rule->action.ask && rule->action.kind == SMTP_ACTION_WAIT) {
        printf(", encrypted = patience");
    } else if (step->decides && rule->action.ask && rule->action.kind == SMTP_ACTION_RESET) {
        printf(", encrypted = close");
    } else if (step->decides && refusal) {
        struct span line = smtp_refusal_form(&rules->policy->refusals, refusal, SMTP_REFUSAL_BYTES_MAX);
        printf(", %.*s", (int)line.len, (const char *)line.ptr);
    }
    if (rule->for_session)
        printf(", for the session: no rule behind it counts");
    printf(".\n");
}

void why_rules_print(const struct why_rules *rules, const char *path)
{
    bool decided = false;
    printf("  By the rules of %s, in a session that is %s:\n", path, rules->direction);
    for (unsigned i = 0; i < rules->count; i++) {
        print_step(rules, &rules->steps[i]);
        decided = decided || rules->steps[i].decides;
    }
    if (!decided)
        printf("    No rule decides: it passes.\n");
    if (rules->others)
        printf("    %u rule%s about replies, messages and anomalies %s not gone through.\n", rules->others,
               rules->others == 1 ? "" : "s", rules->others == 1 ? "was" : "were");
    if (rules->policy->dry_run)
        printf("    Nothing of that is done: dry-run = yes.\n");
}

json_t *why_rules_json(const struct why_rules *rules)
{
    json_t *list = json_array();
    for (unsigned i = 0; list && i < rules->count; i++) {
        const struct why_step *step = &rules->steps[i];
        json_t *object =
            step->rule ? json_pack("{s:s, s:s, s:s*, s:s, s:b}", "moment", step->moment, "rule", step->rule->name,
                                   "place", step->rule->place, "action", step->rule->does, "decides", step->decides)
                       : json_pack("{s:s, s:s, s:b}", "moment", step->moment, "reason",
                                   step->reason ? step->reason : "", "decides", true);
        if (json_array_append_new(list, object) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
