/*
 * The tables that rules are compiled into against the rules themselves, one after the other: random rules about random
 * addresses, domains, keywords and networks, and the same verdict for each random session.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../lib/random.h"
#include "policy/policy.h"

enum { ROUNDS = 300, QUESTIONS = 200, RULES = 80, ENTRIES = 6 };

struct entry {
    enum word_kind kind;
    bool glob, except;
    char text[80];
};

struct net_entry {
    uint8_t version, address[16], prefix;
    bool except;
};

/* A rule as it was meant. */
struct meant {
    enum rule_event on;
    int entry_count, net_count;
    struct entry entries[ENTRIES];
    struct net_entry nets[ENTRIES];
    bool mark_only;
};

static struct policy policy;
static struct meant meant[RULES];
static struct random_source dice;

static uint32_t below(uint32_t limit)
{
    return random_below(&dice, limit);
}

static void make_domain(char *out, size_t size)
{
    static const char *const labels[] = {"a", "b", "Net", "co", "example"};
    size_t len = 0;
    for (uint32_t i = 0, count = 1 + below(4); i < count; i++)
        len += (size_t)snprintf(out + len, size - len, "%s%s", i ? "." : "", labels[below(5)]);
}

static void make_address(char *out, size_t size)
{
    static const char *const locals[] = {"x", "Y", "postmaster", "x+y"};
    char domain[40];
    make_domain(domain, sizeof domain);
    snprintf(out, size, "%s@%s", locals[below(4)], domain);
}

static void make_entry(struct entry *entry)
{
    char address[56];
    make_address(address, sizeof address);
    char *at = strchr(address, '@');
    entry->kind = (enum word_kind)below(5);
    entry->except = below(4) == 0;
    entry->glob = below(6) == 0;
    const char *text = entry->kind == WORD_EXACT ? address : at + 1;
    if (entry->kind == WORD_LOCAL)
        *at = '\0', text = address;
    snprintf(entry->text, sizeof entry->text, "%s%s", entry->glob ? "*" : "", text);
}

static void make_net(struct net_entry *net)
{
    memset(net, 0, sizeof *net);
    net->version = below(2) ? 4 : 6;
    for (int i = 0; i < 16; i++)
        net->address[i] = (uint8_t)(below(3) * 85);
    net->prefix = (uint8_t)below(net->version == 4 ? 33 : 129);
    net->except = below(4) == 0;
}

static void must(bool good)
{
    if (!good)
        abort();
}

static void add_rule(struct meant *m, const char *name)
{
    static const enum rule_event events[] = {RULE_ON_SENDER, RULE_ON_RECIPIENT, RULE_ON_CONNECT};
    struct rule rule = rule_of(name, events[below(3)]);
    *m = (struct meant){.on = rule.on, .mark_only = below(8) == 0};
    rule.action.kind = SMTP_ACTION_RESET;
    rule.goes_on = m->mark_only;
    if (rule.on != RULE_ON_CONNECT)
        m->entry_count = (int)below(ENTRIES + 1);
    m->net_count = below(3) ? 0 : (int)below(ENTRIES + 1);
    for (int i = 0; i < m->entry_count; i++) {
        struct entry *entry = &m->entries[i];
        make_entry(entry);
        struct span text = span_of(entry->text);
        if (entry->glob)
            must(policy_name_pattern(&policy, &rule, (struct rule_pattern){.glob = text}, entry->except));
        else
            must(policy_name_word(&policy, &rule, entry->kind, text, entry->except));
    }
    for (int i = 0; i < m->net_count; i++) {
        make_net(&m->nets[i]);
        struct network network = network_of(m->nets[i].version, m->nets[i].address, m->nets[i].prefix);
        must(policy_name_network(&policy, &rule, POLICY_CLIENT, network, m->nets[i].except));
    }
    must(policy_add_rule(&policy, &rule));
}

/* ---- the slow way ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t text_len = strlen(text), end_len = strlen(end);
    return text_len >= end_len && span_equal_nocase(span_of(text + text_len - end_len), span_of(end));
}

static bool entry_holds(const struct entry *entry, const char *address)
{
    char buffer[96];
    const char *at = strrchr(address, '@');
    if (entry->glob)
        return rule_pattern_matches(span_of(entry->text), span_of(address));
    switch (entry->kind) {
    case WORD_EXACT:
        return span_equal_nocase(span_of(entry->text), span_of(address));
    case WORD_LOCAL:
        return span_equal_nocase(span_of(entry->text), (struct span){(const uint8_t *)address, (size_t)(at - address)});
    case WORD_DOMAIN:
        return span_equal_nocase(span_of(entry->text), span_of(at + 1));
    case WORD_DOMAINS:
        snprintf(buffer, sizeof buffer, ".%s", entry->text);
        return span_equal_nocase(span_of(entry->text), span_of(at + 1)) || ends_with(at + 1, buffer);
    case WORD_BELOW:
        snprintf(buffer, sizeof buffer, ".%s", entry->text);
        return ends_with(at + 1, buffer);
    }
    return false;
}

static bool net_holds(const struct net_entry *net, uint8_t version, const uint8_t *address)
{
    if (net->version != version)
        return false;
    for (uint32_t bit = 0; bit < net->prefix; bit++)
        if ((net->address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1)
            return false;
    return true;
}

static bool holds(const struct meant *m, const char *address, uint8_t version, const uint8_t *client)
{
    bool texts = false, any_text = false, nets = false, any_net = false;
    for (int i = 0; i < m->entry_count; i++) {
        bool found = entry_holds(&m->entries[i], address);
        if (found && m->entries[i].except)
            return false;
        any_text = any_text || !m->entries[i].except;
        texts = texts || (found && !m->entries[i].except);
    }
    for (int i = 0; i < m->net_count; i++) {
        bool found = net_holds(&m->nets[i], version, client);
        if (found && m->nets[i].except)
            return false;
        any_net = any_net || !m->nets[i].except;
        nets = nets || (found && !m->nets[i].except);
    }
    return (texts || !any_text) && (nets || !any_net);
}

static int decide_slowly(enum rule_event on, const char *address, uint8_t version, const uint8_t *client)
{
    for (int i = 0; i < RULES; i++)
        if (meant[i].on == on && !meant[i].mark_only && holds(&meant[i], address, version, client))
            return i;
    return -1;
}

/* ---- the tables ---- */

static int decide_by_tables(enum rule_event on, const char *address, uint8_t version, const uint8_t *client)
{
    struct policy_facts facts;
    struct policy_decision decision;
    char line[128];
    policy_facts_begin(&policy, (struct policy_address){version, client}, (struct policy_address){version, client},
                       &facts);
    if (on == RULE_ON_CONNECT) {
        struct rule_case what = {.event = on};
        policy_judge_case(&policy, &what, &facts, &decision);
    } else {
        snprintf(line, sizeof line, "%s:<%s>\r\n", on == RULE_ON_SENDER ? "MAIL FROM" : "RCPT TO", address);
        struct smtp_unit unit = {.kind = SMTP_UNIT_COMMAND, .whole = span_of(line), .octets = span_of(line)};
        unit.command = smtp_command_parse(unit.whole);
        policy_judge(&policy, &unit, &facts, 0, 0, &decision);
    }
    return decision.rule ? (int)(decision.rule - policy.rules) : -1;
}

static bool ask(uint32_t round)
{
    static const enum rule_event events[] = {RULE_ON_SENDER, RULE_ON_RECIPIENT, RULE_ON_CONNECT};
    uint8_t client[16], version = below(2) ? 4 : 6;
    char address[56];
    enum rule_event on = events[below(3)];
    make_address(address, sizeof address);
    for (int i = 0; i < 16; i++)
        client[i] = (uint8_t)(below(3) * 85);
    int slowly = decide_slowly(on, address, version, client), quickly = decide_by_tables(on, address, version, client);
    if (slowly == quickly)
        return true;
    printf("# round %u: %s of %s, IPv%u %u.%u.%u.%u: rule %d by tables, %d one by one\n", round, rule_event_name(on),
           address, version, client[0], client[1], client[2], client[3], quickly, slowly);
    for (int i = 0; quickly >= 0 && i < meant[quickly].entry_count; i++)
        printf("#   entry kind %d glob %d except %d '%s'\n", (int)meant[quickly].entries[i].kind,
               meant[quickly].entries[i].glob, meant[quickly].entries[i].except, meant[quickly].entries[i].text);
    for (int i = 0; quickly >= 0 && i < meant[quickly].net_count; i++)
        printf("#   IPv%u %u.%u.%u.%u/%u except %d\n", meant[quickly].nets[i].version,
               meant[quickly].nets[i].address[0], meant[quickly].nets[i].address[1], meant[quickly].nets[i].address[2],
               meant[quickly].nets[i].address[3], meant[quickly].nets[i].prefix, meant[quickly].nets[i].except);
    return false;
}

int main(void)
{
    static char names[RULES][16];
    static uint8_t memory[8 << 20] __attribute__((aligned(16)));
    bool good = true;
    for (uint32_t round = 1; good && round <= ROUNDS; round++) {
        dice.state = round;
        policy_init_empty(&policy);
        policy_use_memory(&policy, memory, sizeof memory);
        for (int i = 0; i < RULES; i++) {
            snprintf(names[i], sizeof names[i], "r%d", i);
            add_rule(&meant[i], names[i]);
        }
        must(policy_seal(&policy));
        for (int i = 0; good && i < QUESTIONS; i++)
            good = ask(round);
    }
    printf("%s 1 - %d sets of %d rules: tables decide as the rules do, one after the other\n1..1\n",
           good ? "ok" : "not ok", ROUNDS, RULES);
    return !good;
}
