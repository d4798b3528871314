#include "policy/policy.h"

#include "smtp/path.h"

/* ---- making one ---- */

void policy_use_memory(struct policy *policy, void *memory, size_t size)
{
    policy->arena = (struct arena){.base = memory, .size = size};
}

void policy_init_observer(struct policy *policy)
{
    memset(policy, 0, offsetof(struct policy, own));
    policy_use_memory(policy, policy->own, sizeof policy->own);
    policy->guard = RULES_MAX;
    smtp_refusals_init(&policy->refusals);
}

static void set_verdict(struct policy *policy, enum smtp_anomaly anomaly, enum smtp_action_kind kind,
                        enum smtp_refusal refusal)
{
    policy->verdicts[anomaly] =
        (struct smtp_action){.kind = kind, .refusal = (uint8_t)refusal, .reason = smtp_anomaly_name(anomaly)};
    policy->verdicts_if_acting &= ~(UINT32_C(1) << anomaly);
}

static void set_verdict_if_acting(struct policy *policy, enum smtp_anomaly anomaly, enum smtp_action_kind kind,
                                  enum smtp_refusal refusal)
{
    set_verdict(policy, anomaly, kind, refusal);
    policy->verdicts_if_acting |= UINT32_C(1) << anomaly;
}

void policy_set_lost(struct policy *policy, enum policy_lost lost)
{
    policy->lost = (uint8_t)lost;
    for (int i = SMTP_ANOMALY_NONE + 1; i < SMTP_ANOMALIES; i++) {
        enum smtp_anomaly anomaly = (enum smtp_anomaly)i;
        bool other = policy->verdicts[i].kind != SMTP_ACTION_PASS && !(policy->verdicts_if_acting >> i & 1);
        if (!smtp_anomaly_loses_pairing(anomaly) || other)
            continue;
        if (lost == POLICY_LOST_CLOSE)
            set_verdict_if_acting(policy, anomaly, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
        else
            set_verdict(policy, anomaly, lost == POLICY_LOST_RESET ? SMTP_ACTION_RESET : SMTP_ACTION_PASS,
                        SMTP_REFUSAL_NONE);
    }
}

void policy_init_empty(struct policy *policy)
{
    policy_init_observer(policy);
    policy_set_lost(policy, POLICY_LOST_CLOSE);
    set_verdict_if_acting(policy, SMTP_ANOMALY_NUL_IN_COMMAND, SMTP_ACTION_REFUSE, SMTP_REFUSAL_UNREADABLE);
    set_verdict_if_acting(policy, SMTP_ANOMALY_UNREADABLE_COMMAND, SMTP_ACTION_REFUSE, SMTP_REFUSAL_UNREADABLE);
    set_verdict_if_acting(policy, SMTP_ANOMALY_UNREADABLE_ADDRESS, SMTP_ACTION_REFUSE, SMTP_REFUSAL_ADDRESS);
    set_verdict_if_acting(policy, SMTP_ANOMALY_AMBIGUOUS_END, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict_if_acting(policy, SMTP_ANOMALY_CHUNK_NOT_OFFERED, SMTP_ACTION_REFUSE, SMTP_REFUSAL_UNRECOGNIZED);
    /* What no mail needs, and servers were broken with. */
    set_verdict(policy, SMTP_ANOMALY_AMBIGUOUS_CHUNK, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict(policy, SMTP_ANOMALY_COMMAND_BEFORE_354, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict(policy, SMTP_ANOMALY_OCTETS_BEFORE_TLS, SMTP_ACTION_CLOSE, SMTP_REFUSAL_CLOSING);
    set_verdict(policy, SMTP_ANOMALY_XEXCH50_OVERFLOW, SMTP_ACTION_REFUSE, SMTP_REFUSAL_NEED_TO_AUTHENTICATE);
    set_verdict(policy, SMTP_ANOMALY_LINK2STATE_OVERFLOW, SMTP_ACTION_REFUSE, SMTP_REFUSAL_UNRECOGNIZED);
    policy->watched |= smtp_verbs_that_are(SMTP_TRAIT_ENCRYPTS | SMTP_TRAIT_CHUNK) | UINT64_C(1) << SMTP_VERB_XEXCH50 |
                       UINT64_C(1) << SMTP_VERB_X_LINK2STATE;
}

void policy_init_default(struct policy *policy)
{
    policy_init_empty(policy);
    policy_strip(policy, span_of("XEXCH50"));
    policy_strip(policy, span_of("X-LINK2STATE"));
}

/* RFC 5321 4.1.1.1: ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-") */
bool policy_is_keyword(struct span word)
{
    if (word.len == 0 || word.len > POLICY_KEYWORD_BYTES_MAX || !ascii_is_alnum(word.ptr[0]))
        return false;
    for (size_t i = 1; i < word.len; i++)
        if (!ascii_is_alnum(word.ptr[i]) && word.ptr[i] != '-')
            return false;
    return true;
}

bool policy_strip(struct policy *policy, struct span keyword)
{
    struct smtp_keyword_set *set = &policy->strip;
    if (!policy_is_keyword(keyword))
        return false;
    if (smtp_keyword_in(set, keyword))
        return true;
    if (set->count == SMTP_KEYWORDS_MAX)
        return false;
    uint8_t *text = policy->strip_text[set->count];
    memcpy(text, keyword.ptr, keyword.len);
    smtp_keyword_add(set, (struct span){text, keyword.len});
    enum smtp_verb verb = smtp_verb_offered_by(keyword);
    policy->refuse |= verb ? UINT64_C(1) << verb : 0;
    policy->watched |= policy->refuse;
    return true;
}

const char *policy_keep(struct policy *policy, struct span text)
{
    uint8_t *kept = arena_take(&policy->arena, text.len + 1);
    if (kept && text.len)
        memcpy(kept, text.ptr, text.len);
    return (const char *)kept;
}

bool policy_name_word(struct policy *policy, struct rule *rule, enum word_kind kind, struct span text, bool except)
{
    uint8_t room[ADDRESS_BYTES_MAX];
    text = address_word(policy->domain_to_ascii, kind, text, room);
    if (!except)
        rule->has_words = true;
    return words_add(&policy->words, &policy->arena, kind, text, policy->rule_count, except);
}

/* Room for a power of two of them; what is outgrown stays in the arena. */
bool policy_name_pattern(struct policy *policy, struct rule *rule, struct rule_pattern pattern, bool except)
{
    struct rule_patterns *patterns = except ? &rule->except : &rule->match;
    if ((patterns->count & (patterns->count - 1)) == 0) {
        size_t room = patterns->count ? 2 * (size_t)patterns->count : 1;
        struct rule_pattern *moved = arena_take(&policy->arena, room * sizeof *moved);
        if (!moved)
            return false;
        if (patterns->count)
            memcpy(moved, patterns->list, patterns->count * sizeof *moved);
        patterns->list = moved;
    }
    patterns->list[patterns->count++] = pattern;
    return true;
}

static struct network_table *networks_of(struct policy *policy, enum policy_end end)
{
    return end == POLICY_CLIENT ? &policy->clients : end == POLICY_SERVER ? &policy->servers : &policy->peers;
}

bool policy_name_network(struct policy *policy, struct rule *rule, enum policy_end end, struct network network,
                         bool except)
{
    if (!except && end == POLICY_CLIENT)
        rule->has_clients = true;
    else if (!except && end == POLICY_SERVER)
        rule->has_servers = true;
    else if (!except)
        rule->has_peers = true;
    return network_table_add(networks_of(policy, end), &policy->arena, network, policy->rule_count, except);
}

bool policy_protect(struct policy *policy, struct network network)
{
    return network_table_add(&policy->protected_networks, &policy->arena, network, 0, false);
}

bool policy_name_balancer(struct policy *policy, struct network network)
{
    return network_table_add(&policy->balancers, &policy->arena, network, 0, false);
}

bool policy_seal(struct policy *policy)
{
    return network_table_seal(&policy->balancers, &policy->arena) &&
           network_table_seal(&policy->clients, &policy->arena) &&
           network_table_seal(&policy->servers, &policy->arena) && network_table_seal(&policy->peers, &policy->arena) &&
           network_table_seal(&policy->protected_networks, &policy->arena);
}

/* The verbs whose lines a rule looks at. */
static uint64_t verbs_of(const struct rule *rule)
{
    switch (rule->on) {
    case RULE_ON_COMMAND:
        return rule->verbs && !rule->has_words ? rule->verbs : UINT64_MAX;
    case RULE_ON_ARGUMENT:
        return rule->verbs ? rule->verbs : UINT64_MAX;
    case RULE_ON_SENDER:
        return UINT64_C(1) << SMTP_VERB_MAIL;
    case RULE_ON_RECIPIENT:
        return UINT64_C(1) << SMTP_VERB_RCPT;
    case RULE_ON_STARTTLS:
        return smtp_verbs_that_are(SMTP_TRAIT_ENCRYPTS);
    case RULE_ON_KEYWORD:
        return rule->keyword_verbs;
    default:
        return 0;
    }
}

/* Whether the rule matches only what a table finds. */
static bool needs_table(const struct rule *rule)
{
    bool by_verb = rule->on == RULE_ON_COMMAND && rule->verbs;
    return rule->has_words && rule->match.count == 0 && !by_verb;
}

/* What the keywords offer that a rule means, which has the next number: bits 1 << enum smtp_verb. */
static uint64_t verbs_offered(const struct policy *policy, const struct rule *rule)
{
    uint64_t verbs = 0;
    for (int i = SMTP_VERB_UNKNOWN + 1; rule->on == RULE_ON_KEYWORD && i < SMTP_VERB_NAMED; i++) {
        const char *keyword = smtp_verb_keyword((enum smtp_verb)i);
        struct rule_marks marks = {0};
        if (!keyword)
            continue;
        words_find(&policy->words, span_of(keyword), &marks);
        bool named = rule_set_has(&marks.match, policy->rule_count);
        if (!rule_set_has(&marks.except, policy->rule_count) && rule_means(rule, span_of(keyword), named))
            verbs |= UINT64_C(1) << i;
    }
    return verbs;
}

/* The next number is this rule's. */
static bool number_rule(struct policy *policy, const struct rule *rule)
{
    uint32_t number = policy->rule_count;
    if (number == RULES_MAX)
        return false;
    policy->rules[number] = *rule;
    policy->rules[number].keyword_verbs = rule->goes_on ? 0 : verbs_offered(policy, rule);
    policy->rule_count++;
    if (rule->on != RULE_ON_CONNECT && (rule->action.kind != SMTP_ACTION_PASS || rule->action.delay_ms || rule->marks))
        rule_set_add(&policy->acting, number);
    if (needs_table(rule))
        rule_set_add(&policy->by_table, number);
    if (rule->has_clients)
        rule_set_add(&policy->has_clients, number);
    if (rule->has_servers)
        rule_set_add(&policy->has_servers, number);
    if (rule->has_peers)
        rule_set_add(&policy->has_peers, number);
    if (rule->for_session)
        rule_set_add(&policy->exempting, number);
    if (rule_refuses_content(rule))
        rule_set_add(&policy->refusing_content, number);
    return true;
}

bool policy_set_guard(struct policy *policy, const struct rule *rule)
{
    assert(rule->on == RULE_ON_REPLY);
    if (policy->guard != RULES_MAX || !number_rule(policy, rule))
        return false;
    policy->guard = policy->rule_count - 1;
    policy->whole_replies = true;
    return true;
}

bool policy_add_rule(struct policy *policy, const struct rule *added)
{
    uint32_t number = policy->rule_count;
    if (!number_rule(policy, added))
        return false;
    const struct rule *rule = &policy->rules[number];
    policy->watched |= verbs_of(rule);
    if (rule_refuses_content(rule)) /* the next attempt is refused by its envelope */
        policy->watched |= UINT64_C(1) << SMTP_VERB_MAIL | UINT64_C(1) << SMTP_VERB_RCPT;
    if (rule->helo_number) {
        policy->watched |= smtp_verbs_that_are(SMTP_TRAIT_HELLO);
        policy->helo_count = rule->helo_number;
    }
    if (rule->name_number)
        policy->name_count = rule->name_number;
    if (rule->on != RULE_ON_COMMAND && rule_set_has(&policy->acting, number))
        policy->addresses |= verbs_of(rule) & (UINT64_C(1) << SMTP_VERB_MAIL | UINT64_C(1) << SMTP_VERB_RCPT);
    rule_set_add(&policy->on[rule->on], number);
    policy->moments |= 1u << rule->on;
    if (rule->keyword_verbs)
        rule_set_add(&policy->on_keyword_verb, number);
    if (rule->on == RULE_ON_GREETING || rule->on == RULE_ON_REPLY || rule->on == RULE_ON_KEYWORD)
        policy->whole_replies = true;
    bool changes = rule->action.kind != SMTP_ACTION_PASS;
    if (rule->on == RULE_ON_ANOMALY && changes && rule->anomalies >> SMTP_ANOMALY_EARLY_TALKER & 1)
        policy->judges_early = true;
    return true;
}

/* ---- sessions ---- */

static uint32_t words_in_use(const struct policy *policy)
{
    return (policy->rule_count + 63) / 64;
}

/* Rules that name no network, or the one that the connection is in. */
static uint64_t networks_let(const struct network_table *table, const struct rule_set *conditioned, uint16_t class,
                             uint32_t word)
{
    if (table->class_count == 0)
        return UINT64_MAX;
    const struct rule_marks *marks = &table->classes[class];
    return (marks->match.words[word] | ~conditioned->words[word]) & ~marks->except.words[word];
}

/* The rules of a word of the set that may be for a connection: by its networks, and as no rule exempts it from them. */
static uint64_t rules_let(const struct policy *policy, const struct policy_facts *facts, uint32_t word)
{
    uint64_t networks = networks_let(&policy->clients, &policy->has_clients, facts->client_class, word) &
                        networks_let(&policy->servers, &policy->has_servers, facts->server_class, word) &
                        networks_let(&policy->peers, &policy->has_peers, facts->peer_class, word);
    uint32_t first = word * 64, end = facts->exempt_from ? facts->exempt_from : RULES_MAX;
    if (end >= first + 64)
        return networks;
    return end <= first ? 0 : networks & ((UINT64_C(1) << (end - first)) - 1);
}

/* Whether a rule is for a connection between these networks. */
static bool rule_lets(const struct policy *policy, const struct policy_facts *facts, uint32_t number)
{
    return rules_let(policy, facts, number / 64) >> number % 64 & 1;
}

static bool directions_hold(const struct rule *rule, const struct policy_facts *facts)
{
    return rule->directions == 0 || rule->directions >> facts->direction & 1;
}

static bool is_exempt(const struct policy_facts *facts)
{
    return facts->exempt_from != 0;
}

/* The first rule of the set that is for the connection and, where `tag` is not NULL, has that. */
static const struct rule *first_for(const struct policy *policy, const struct policy_facts *facts,
                                    const struct rule_set *set, const uint32_t *tag)
{
    for (uint32_t i = 0; i < words_in_use(policy); i++)
        for (uint64_t left = set->words[i] & rules_let(policy, facts, i); left; left &= left - 1) {
            const struct rule *rule = &policy->rules[i * 64 + (uint32_t)__builtin_ctzll(left)];
            if (directions_hold(rule, facts) && (!tag || policy_rule_tag(rule->name) == *tag))
                return rule;
        }
    return NULL;
}

/* The number behind the first rule that exempts the connection; 0: none does. */
static uint16_t exempt_from(const struct policy *policy, const struct policy_facts *facts)
{
    const struct rule *rule = first_for(policy, facts, &policy->exempting, NULL);
    return rule ? (uint16_t)(rule - policy->rules + 1) : 0;
}

static uint16_t class_of(const struct network_table *table, struct policy_address end)
{
    return network_table_class(table, end.ip_version, end.octets);
}

bool policy_is_balancer(const struct policy *policy, struct policy_address end)
{
    return policy->balancers.count > 0 && class_of(&policy->balancers, end) != 0;
}

void policy_facts_begin(const struct policy *policy, struct policy_address client, struct policy_address server,
                        struct policy_facts *facts)
{
    const struct network_table *inside = &policy->protected_networks;
    bool from_inside = class_of(inside, client) != 0;
    bool to_inside = inside->count == 0 || class_of(inside, server) != 0;
    *facts = (struct policy_facts){
        .client_class = class_of(&policy->clients, client),
        .server_class = class_of(&policy->servers, server),
        .direction = from_inside && to_inside ? POLICY_INTERNAL
                     : to_inside              ? POLICY_INBOUND
                     : from_inside            ? POLICY_OUTBOUND
                                              : POLICY_TRANSIT,
    };
    facts->peer_class = class_of(&policy->peers, facts->direction == POLICY_OUTBOUND ? server : client);
    facts->exempt_from = exempt_from(policy, facts);
    facts->would_be_acted_on = policy_would_act(policy, facts);
    facts->may_be_acted_on = facts->would_be_acted_on && !policy->dry_run;
    facts->content_counts = policy_refuses_content(policy, facts);
}

void policy_note_helo(const struct policy *policy, struct span name, struct policy_facts *facts)
{
    facts->helo_holds = 0;
    for (uint32_t i = 0; policy->helo_count && i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        if (rule->helo_number && rule_names_helo(rule, name))
            facts->helo_holds = (uint16_t)(facts->helo_holds | 1u << (rule->helo_number - 1));
    }
}

void policy_note_name(const struct policy *policy, struct span name, struct policy_facts *facts)
{
    facts->name_holds = 0;
    for (uint32_t i = 0; policy->name_count && i < policy->rule_count; i++) {
        const struct rule *rule = &policy->rules[i];
        if (rule->name_number && rule_names_client(rule, name))
            facts->name_holds = (uint16_t)(facts->name_holds | 1u << (rule->name_number - 1));
    }
}

/* ---- deciding ---- */

/* What there is to look at, by the moments of one unit, and the rules that may have to do with it. */
struct look {
    const struct policy *policy;
    const struct policy_facts *facts;
    struct rule_case cases[RULE_EVENTS]; /* by event, those of `events` are set */
    struct rule_set named;               /* rules whose texts the tables have found */
    struct rule_set candidates;
};

uint32_t policy_rule_tag(const char *name)
{
    uint32_t tag = 2166136261u; /* FNV-1a */
    for (; *name; name++)
        tag = (tag ^ (uint8_t)*name) * 16777619u;
    return tag;
}

bool policy_refuses_content(const struct policy *policy, const struct policy_facts *facts)
{
    return !policy->dry_run && first_for(policy, facts, &policy->refusing_content, NULL);
}

const struct rule *policy_content_rule(const struct policy *policy, const struct policy_facts *facts, uint32_t tag)
{
    const struct rule *rule = policy->dry_run ? NULL : first_for(policy, facts, &policy->refusing_content, &tag);
    return rule && rule_is_for(rule, facts) ? rule : NULL;
}

bool policy_would_act(const struct policy *policy, const struct policy_facts *facts)
{
    return (policy->strip.count && !is_exempt(facts)) || policy_guards(policy, facts) ||
           first_for(policy, facts, &policy->acting, NULL);
}

bool policy_may_act(const struct policy *policy, const struct policy_facts *facts)
{
    return !policy->dry_run && policy_would_act(policy, facts);
}

bool policy_ends_unread(const struct policy *policy, const struct policy_facts *facts)
{
    return (policy->lost == POLICY_LOST_RESET && !is_exempt(facts)) ||
           (policy->lost == POLICY_LOST_CLOSE && policy_may_act(policy, facts));
}

bool policy_guards(const struct policy *policy, const struct policy_facts *facts)
{
    return policy->guard != RULES_MAX && policy->rules[policy->guard].directions >> facts->direction & 1 &&
           rule_lets(policy, facts, policy->guard);
}

static bool is_address(enum rule_event event)
{
    return event == RULE_ON_SENDER || event == RULE_ON_RECIPIENT;
}

static void look_for(struct look *look, const struct rule_case *what, const struct rule_set *on)
{
    const struct policy *policy = look->policy;
    struct rule_marks marks = {0};
    uint8_t room[ADDRESS_BYTES_MAX];
    look->cases[what->event] = *what;
    if (is_address(what->event)) {
        words_find_address(&policy->words, address_compared(policy->domain_to_ascii, what->written, room), &marks);
        if (what->text.ptr != what->written.ptr)
            words_find_address(&policy->words, address_compared(policy->domain_to_ascii, what->text, room), &marks);
    } else if (what->text.len)
        words_find(&policy->words, what->text, &marks);
    for (uint32_t i = 0; i < words_in_use(policy); i++) {
        uint64_t by_text = (marks.match.words[i] | ~policy->by_table.words[i]) & ~marks.except.words[i];
        uint64_t also = what->event == RULE_ON_COMMAND ? policy->on_keyword_verb.words[i] : 0;
        look->candidates.words[i] |= ((on->words[i] & by_text) | also) & rules_let(policy, look->facts, i);
        look->named.words[i] |= marks.match.words[i] & on->words[i];
    }
}

/* One more moment: the rules that look at it, and may match. */
static void look_at(struct look *look, const struct rule_case *what)
{
    look_for(look, what, &look->policy->on[what->event]);
}

/* Exchange's answer to its own verb, which its senders go on after; nobody knows the others. */
static struct smtp_action refuse_offered(enum smtp_verb verb, const char *reason)
{
    enum smtp_refusal refusal =
        verb == SMTP_VERB_XEXCH50 ? SMTP_REFUSAL_NEED_TO_AUTHENTICATE : SMTP_REFUSAL_UNRECOGNIZED;
    return (struct smtp_action){.kind = SMTP_ACTION_REFUSE, .refusal = (uint8_t)refusal, .reason = reason};
}

static uint32_t delay_of(const struct rule *rule, const struct policy_facts *facts)
{
    uint32_t since = rule->after == RULE_ANY_OVER ? 0 : rule->after;
    uint64_t steps = facts->errors > since ? facts->errors - since : 0;
    uint64_t delay_ms = rule->action.delay_ms + steps * rule->delay_step_ms;
    return delay_ms > rule->delay_max_ms && rule->delay_max_ms ? rule->delay_max_ms : (uint32_t)delay_ms;
}

/* What a rule that matches adds to the decision; true where it decides. */
static bool take(const struct rule *rule, const struct look *look, struct policy_decision *decision)
{
    if (rule->marks) {
        decision->marks = true;
        decision->mark = rule->mark;
    }
    if (decision->taken_count < POLICY_TAKEN_MAX)
        decision->taken[decision->taken_count++] = rule;
    uint32_t delay_ms = rule->action.delay_ms ? delay_of(rule, look->facts) : decision->action.delay_ms;
    if (rule->goes_on) {
        decision->action.delay_ms = delay_ms;
        if (rule->action.delay_ms)
            decision->action.reason = rule->name;
        return false;
    }
    decision->action = rule->action;
    decision->action.delay_ms = delay_ms;
    decision->rule = rule;
    return true;
}

/* The first of the candidates that holds decides. */
static bool decide(const struct look *look, struct policy_decision *decision)
{
    const struct policy *policy = look->policy;
    for (uint32_t i = 0; i < words_in_use(policy); i++)
        for (uint64_t left = look->candidates.words[i]; left; left &= left - 1) {
            uint32_t number = i * 64 + (uint32_t)__builtin_ctzll(left);
            const struct rule *rule = &policy->rules[number];
            const struct rule_case *what = &look->cases[rule->on];
            bool offered = what->event != rule->on;
            if (offered && decision->offered)
                continue;
            if (offered)
                what = &look->cases[RULE_ON_COMMAND];
            bool named = rule_set_has(&look->named, number);
            if (!rule_holds(rule, what, look->facts, named, &decision->undecided) || !take(rule, look, decision))
                continue;
            if (offered && rule->action.kind == SMTP_ACTION_PASS) {
                decision->offered = true; /* what other rules say of the command itself holds all the same */
                decision->rule = NULL;
                continue;
            }
            if (offered)
                decision->action = refuse_offered(what->verb, rule->name);
            return true;
        }
    return false;
}

/* Nothing is decided; what was taken is as long as `taken_count` says. */
static void begin(struct policy_decision *decision)
{
    decision->action = (struct smtp_action){.kind = SMTP_ACTION_PASS};
    decision->rule = NULL;
    decision->marks = false;
    decision->mark = 0;
    decision->undecided = false;
    decision->offered = false;
    decision->taken_count = 0;
}

void policy_judge_case(const struct policy *policy, const struct rule_case *what, const struct policy_facts *facts,
                       struct policy_decision *decision)
{
    begin(decision);
    struct look look = {.policy = policy, .facts = facts};
    look_at(&look, what);
    decide(&look, decision);
}

/* The address of MAIL or RCPT; what cannot be read as one is compared as it is written. */
static struct span address_of(struct span argument, uint8_t plain[ADDRESS_BYTES_MAX], bool *unread)
{
    struct smtp_path path = smtp_path_parse(argument);
    *unread = !path.good;
    if (!path.good)
        return argument;
    struct span address = smtp_path_plain(&path, plain, ADDRESS_BYTES_MAX);
    return address.len ? address : span_of("<>");
}

/* Room for an address, plain and folded, for as long as it is looked at. */
struct rooms {
    uint8_t plain[ADDRESS_BYTES_MAX], folded[ADDRESS_BYTES_MAX];
};

static void look_at_address(struct look *look, const struct smtp_unit *unit, enum rule_event event, uint16_t recipients,
                            struct rooms *rooms)
{
    if (!policy_looks_at(look->policy, event))
        return;
    struct rule_case what = {.event = event, .verb = unit->command.verb, .recipients = recipients};
    what.written = address_of(unit->command.argument, rooms->plain, &what.unread);
    what.text = address_folded(what.written, rooms->folded);
    what.length = what.written.len;
    look_at(look, &what);
}

static void look_at_command(struct look *look, const struct smtp_unit *unit, uint16_t recipients, struct rooms *rooms)
{
    bool whole = unit->kind == SMTP_UNIT_COMMAND; /* before that there is no argument to be judged */
    enum smtp_verb verb = unit->command.verb;
    struct rule_case what = {
        .event = RULE_ON_COMMAND, .verb = verb, .length = unit->whole.len, .recipients = recipients};
    static const struct rule_set none; /* but those about what a keyword offers, as with policy->refuse */
    what.text = unit->command.word;
    look_for(look, &what, whole || unit->command.separated ? &look->policy->on[RULE_ON_COMMAND] : &none);
    if (smtp_verb_is(verb, SMTP_TRAIT_ENCRYPTS)) {
        what.event = RULE_ON_STARTTLS;
        what.text = span_of("");
        look_at(look, &what);
    }
    if (whole && policy_looks_at(look->policy, RULE_ON_ARGUMENT)) {
        what.event = RULE_ON_ARGUMENT;
        what.text = unit->command.argument;
        what.length = what.text.len;
        look_at(look, &what);
    }
    if (whole && verb == SMTP_VERB_MAIL)
        look_at_address(look, unit, RULE_ON_SENDER, recipients, rooms);
    if (whole && verb == SMTP_VERB_RCPT)
        look_at_address(look, unit, RULE_ON_RECIPIENT, (uint16_t)(recipients + 1), rooms);
}

static bool is_line(const struct smtp_unit *unit)
{
    return unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY || unit->kind == SMTP_UNIT_FRAGMENT;
}

/* A command or an anomaly. True where a rule decides. */
static bool judge_by_rules(const struct policy *policy, const struct smtp_unit *unit, const struct policy_facts *facts,
                           uint16_t recipients, struct policy_decision *decision)
{
    struct rooms rooms;
    struct look look = {.policy = policy, .facts = facts};
    if (unit->anomaly) {
        struct rule_case what = {.event = RULE_ON_ANOMALY, .anomaly = unit->anomaly};
        look_at(&look, &what);
    }
    if (unit->role == SMTP_CLIENT && is_line(unit) && !unit->judged)
        look_at_command(&look, unit, recipients, &rooms);
    return decide(&look, decision);
}

/* ---- replies ---- */

static bool strips(const struct policy *policy, struct span keyword, const struct policy_facts *facts,
                   struct policy_decision *decision)
{
    if (keyword.len == 0)
        return false;
    if (policy_looks_at(policy, RULE_ON_KEYWORD)) {
        struct rule_case what = {
            .event = RULE_ON_KEYWORD, .verb = SMTP_VERB_EHLO, .text = keyword, .length = keyword.len};
        policy_judge_case(policy, &what, facts, decision);
        if (decision->rule)
            return decision->action.kind == SMTP_ACTION_STRIP;
    }
    if (is_exempt(facts) || !smtp_keyword_in(&policy->strip, keyword))
        return false;
    decision->action = (struct smtp_action){.kind = SMTP_ACTION_STRIP, .reason = "strip"};
    return true;
}

/*
 * Whether all whole lines behind a reply line, up to the last one of the reply, will be taken out: then this one must
 * become the last. Where the reply is not all there yet, nobody knows; it then stays as it is.
 */
static bool all_behind_go(const struct policy *policy, const struct policy_facts *facts, struct span rest)
{
    for (;;) {
        struct span line = smtp_line_first(rest);
        struct smtp_reply next;
        struct policy_decision behind = {.action = {.kind = SMTP_ACTION_PASS}};
        if (!smtp_reply_parse(line, &next) || !strips(policy, smtp_reply_keyword(next.text), facts, &behind))
            return false;
        if (next.last)
            return true;
        rest = span_tail(rest, line.len);
    }
}

/* Whether any line behind may have to be taken out, at a glance. */
static bool may_strip(const struct policy *policy, struct span rest)
{
    enum { KEYWORD_AT = 4 }; /* behind the code and its hyphen or blank */
    if (policy_looks_at(policy, RULE_ON_KEYWORD))
        return true;
    for (size_t at = KEYWORD_AT; at < rest.len && at < KEYWORD_AT + POLICY_KEYWORD_BYTES_MAX; at++)
        if (ascii_is_alnum(rest.ptr[at]))
            return smtp_keyword_initial(&policy->strip, rest.ptr[at]);
    return false;
}

/* A reply that has the marks of a greylist, to a server whose mail is guarded: besides what else is said of it. */
static void judge_guarded(const struct policy *policy, const struct rule_case *what, const struct policy_facts *facts,
                          struct policy_decision *decision)
{
    if (!policy_guards(policy, facts))
        return;
    struct smtp_action *action = &decision->action;
    const struct rule *rule = &policy->rules[policy->guard];
    if (action->kind != SMTP_ACTION_PASS || !rule_holds(rule, what, facts, false, &decision->undecided))
        return;
    action->guard = true;
    if (action->delay_ms >= rule->action.delay_ms)
        return;
    action->delay_ms = rule->action.delay_ms;
    action->reason = rule->name;
}

static void judge_reply(const struct policy *policy, const struct smtp_unit *unit, const struct policy_facts *facts,
                        uint16_t code, struct policy_decision *decision)
{
    enum rule_event event = unit->verb == SMTP_VERB_CONNECT ? RULE_ON_GREETING : RULE_ON_REPLY;
    bool first = unit->line_index == 0 || event == RULE_ON_GREETING;
    if (strips(policy, unit->keyword, facts, decision))
        return;
    bool whole = unit->kind == SMTP_UNIT_REPLY;
    if (first && whole && unit->has_reply) {
        struct rule_case what = {.event = event, .verb = unit->verb, .code = code, .text = unit->reply.text};
        what.length = unit->whole.len;
        if (policy_looks_at(policy, event))
            policy_judge_case(policy, &what, facts, decision);
        if (event == RULE_ON_REPLY)
            judge_guarded(policy, &what, facts, decision);
    }
    bool ehlo = unit->kind == SMTP_UNIT_REPLY && smtp_verb_is(unit->verb, SMTP_TRAIT_OFFERS) && unit->has_reply &&
                !unit->reply.last;
    if (ehlo && decision->action.kind == SMTP_ACTION_PASS && may_strip(policy, unit->rest) &&
        all_behind_go(policy, facts, unit->rest))
        decision->action.kind = SMTP_ACTION_MAKE_LAST;
}

static bool has_verdict(const struct policy *policy, enum smtp_anomaly anomaly, const struct policy_facts *facts)
{
    return policy->verdicts[anomaly].kind != SMTP_ACTION_PASS && !is_exempt(facts) &&
           (!(policy->verdicts_if_acting >> anomaly & 1) || policy_would_act(policy, facts));
}

void policy_judge(const struct policy *policy, const struct smtp_unit *unit, const struct policy_facts *facts,
                  uint16_t recipients, uint16_t code, struct policy_decision *decision)
{
    begin(decision);
    if (unit->role == SMTP_CLIENT && unit->verb == SMTP_VERB_PROXY_HEADER && !unit->anomaly)
        return; /* it is no command */
    bool to_judge = is_line(unit) && !unit->judged;
    bool command = to_judge && unit->role == SMTP_CLIENT && policy->watched >> unit->command.verb & 1;
    if (command || unit->anomaly) {
        if (policy->rule_count && judge_by_rules(policy, unit, facts, recipients, decision))
            return;
        if (unit->anomaly && has_verdict(policy, unit->anomaly, facts)) {
            decision->action = policy->verdicts[unit->anomaly];
            return;
        }
    }
    if (!to_judge)
        return;
    if (unit->role == SMTP_SERVER)
        judge_reply(policy, unit, facts, code, decision);
    else if (policy->refuse >> unit->command.verb & 1 && !is_exempt(facts) && !decision->offered)
        decision->action = refuse_offered(unit->command.verb, "strip");
}
