/* What the greylist would say to a client now, in sentences: what is known, when it passes, which setting decides. */
#include <inttypes.h>
#include <string.h>

#include "cmd/greylist.h"
#include "cmd/why_rules.h"
#include "conf/idna.h"
#include "report/json.h"
#include "report/text.h"

enum { MAILS_MAX = 1000 };

struct why {
    struct greylist greylist;
    struct greylist_attempt attempt;
    struct why_rules rules;
    uint8_t server[16];
    bool has_server;
    uint64_t mails, hashed;
    json_t *cuts;    /* of the mail that is asked about; NULL: not looked for */
    bool failed;     /* the store gave no answer */
    bool incomplete; /* an object could not be written */
};

/* ---- what is known ---- */

static bool fetch(struct why *why, const struct greylist_attempt *attempt, uint32_t needs,
                  struct greylist_memory *memory)
{
    for (int i = 0; i < GREYLIST_KINDS; i++) {
        enum greylist_kind kind = (enum greylist_kind)i;
        if (!(needs >> i & 1))
            continue;
        struct store_key key = keep_key(&why->greylist.keeper, kind, attempt);
        enum store_status status = greylist_fetch(&why->greylist, &key, kind, &memory->records[i], NULL);
        memory->known |= (uint32_t)(status == STORE_GOOD) << i;
        why->failed = why->failed || status == STORE_FAILED;
    }
    return !why->failed;
}

/* ---- settings ---- */

static void patience_text(const struct greylist_patience *patience, char *text, size_t size)
{
    char wait[GREYLIST_DURATION_BYTES], total[GREYLIST_DURATION_BYTES];
    snprintf(text, size, "patience-attempts = %" PRIu32 ", patience-wait = %s, patience-total = %s", patience->attempts,
             greylist_duration(patience->wait_ms, wait), greylist_duration(patience->total_ms, total));
}

/* A setting as it stands in a rule file. */
/* The named section of the greylist by which it would be asked; NULL: none. */
static const struct greylist_variant *variant_of(const struct why *why)
{
    uint8_t number = why->greylist.rules ? why->rules.variant : 0;
    return number ? &why->greylist.conf.variants[number - 1] : NULL;
}

static struct greylist_settings settings_of(const struct why *why)
{
    return greylist_settings_of(&why->greylist.conf.greylist, variant_of(why));
}

static const char *setting_text(const struct greylist_settings *settings, enum greylist_reason reason, char *text,
                                size_t size)
{
    char duration[GREYLIST_DURATION_BYTES];
    const char *name = greylist_reason_setting(reason);
    const struct {
        const char *name;
        uint32_t value_s;
    } durations[] = {{"delay", settings->delay_s},
                     {"hung-up-delay", settings->hung_up_delay_s},
                     {"lifetime", settings->lifetime_s},
                     {"answer-lifetime", settings->answer_lifetime_s}};
    snprintf(text, size, "%s", name);
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++)
        if (strcmp(name, durations[i].name) == 0)
            snprintf(text, size, "%s = %s", name, greylist_duration((uint64_t)durations[i].value_s * 1000, duration));
    if (strcmp(name, "client-passes") == 0)
        snprintf(text, size, "%s = %" PRIu32, name, settings->client_passes);
    if (strcmp(name, "pools") == 0)
        snprintf(text, size, "%s = %s", name, settings->pools ? "yes" : "no");
    if (strcmp(name, "patience") == 0)
        patience_text(&settings->patience, text, size);
    if (strcmp(name, "exempt") == 0)
        snprintf(text, size, "%s",
                 reason == GREYLIST_EXEMPT_CLIENT   ? "exempt-clients"
                 : reason == GREYLIST_EXEMPT_SENDER ? "exempt-senders"
                                                    : "exempt-recipients");
    return text;
}

/* ---- sentences ---- */

static const char *network_text(const struct why *why, char text[KEEP_NETWORK_BYTES])
{
    const struct greylist_attempt *attempt = &why->attempt;
    return keep_network(attempt->ip_version, attempt->client,
                        greylist_prefix(&why->greylist.conf.greylist, GREYLIST_CLIENT, attempt->ip_version), text);
}

static void client_text(const struct why *why, char text[KEEP_NETWORK_BYTES])
{
    const struct greylist_attempt *attempt = &why->attempt;
    keep_network(attempt->ip_version, attempt->client, attempt->ip_version == 4 ? 32 : 128, text);
    text[strcspn(text, "/")] = '\0';
}

/* What decides about an attempt, where nobody else does. */
static enum greylist_kind kind_of(const struct greylist_attempt *attempt)
{
    return attempt->tls ? GREYLIST_TLS : GREYLIST_TRIPLET;
}

static bool is_exempt_client(const struct why *why)
{
    struct greylist_memory nothing = {0};
    return greylist_knows_client(&why->greylist.conf.greylist, &why->greylist.conf.exempt, &nothing, &why->attempt,
                                 why->greylist.now_us / 1000);
}

/* Nothing is asked of what it sends to servers outside. */
static bool is_protected_client(const struct why *why)
{
    return network_table_class(&why->greylist.conf.policy.protected_networks, why->attempt.ip_version,
                               why->attempt.client) != 0;
}

/* Whether a rule of the file has the greylist asked; true where no file was named, for nobody knows. */
static bool rules_ask(const struct why *why)
{
    const struct policy *policy = &why->greylist.conf.policy;
    bool asks = !why->greylist.rules;
    for (uint32_t i = 0; i < policy->rule_count; i++)
        asks = asks || policy->rules[i].action.ask;
    return asks;
}

/* What the rules say to this client, where there is a file of them; `memory` has what is known of its network. */
static void judge_by_rules(struct why *why, const struct greylist_attempt *attempt,
                           const struct greylist_memory *memory)
{
    const struct greylist *greylist = &why->greylist;
    struct greylist_memory copy = *memory;
    bool known = greylist_knows_client(&greylist->conf.greylist, &greylist->conf.exempt, &copy, attempt,
                                       greylist->now_us / 1000);
    why_rules_judge(&why->rules, &greylist->conf.policy, attempt, why->has_server ? why->server : NULL,
                    greylist->direction, known);
}

/* Whether the greylist would be asked about it: where other rules decide before, what it would say is of no use. */
static bool is_asked(const struct why *why)
{
    return !why->greylist.rules || why->rules.asks || !rules_ask(why);
}

/* Why nothing is put off, whatever is remembered. */
static void print_unasked(const struct why *why)
{
    if (is_protected_client(why))
        printf("  It is one of ours (protected): what it sends to servers outside is never put off.\n");
    if (why->greylist.conf.policy.dry_run)
        printf("  But nothing is put off: dry-run = yes.\n");
    if (!rules_ask(why))
        printf("  But nothing is put off: no rule has action = greylist.\n");
}

static void print_subject(const struct why *why, const struct greylist_attempt *attempt)
{
    char client[KEEP_NETWORK_BYTES], network[KEEP_NETWORK_BYTES];
    char sender[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)], recipient[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)];
    client_text(why, client);
    printf("%s (network %s)", client, network_text(why, network));
    if (attempt && attempt->tls)
        printf(" with STARTTLS as %s", text_escape(attempt->helo, sender, sizeof sender));
    else if (attempt)
        printf(" with mail from <%s> for <%s>", text_escape(attempt->sender, sender, sizeof sender),
               text_escape(attempt->recipient, recipient, sizeof recipient));
}

static void print_client(const struct why *why, const struct greylist_memory *memory)
{
    char last[GREYLIST_TIME_BYTES];
    const struct greylist_record *record = &memory->records[GREYLIST_CLIENT];
    uint32_t enough = why->greylist.conf.greylist.client_passes;
    print_subject(why, NULL);
    if (!greylist_knows(memory, GREYLIST_CLIENT))
        printf(": no mail of its network was taken, as far as is remembered.\n");
    else
        printf(": the server took %u mail%s of its network, the last on %s%s.\n", record->passes,
               record->passes == 1 ? "" : "s", greylist_time(record->last_ms, last),
               record->passes >= enough && enough ? "; it is known" : "");
    if (enough)
        printf("  %" PRIu32 " make a network known (client-passes = %" PRIu32 ").\n", enough, enough);
    if (is_exempt_client(why))
        printf("  All of its mail passes now: %s (exempt-clients).\n", greylist_reason_text(GREYLIST_EXEMPT_CLIENT));
}

/* What a ruling is about: a network, an address, a domain. Returns a span of `text`. */
static struct span ruled_text(const struct why *why, const struct greylist_attempt *attempt, enum greylist_kind kind,
                              char text[STORE_TEXT_BYTES_MAX])
{
    struct span about = keep_text(&why->greylist.conf.greylist, kind, attempt, text);
    bool domain = kind == GREYLIST_RULED_SENDER_DOMAIN || kind == GREYLIST_RULED_RECIPIENT_DOMAIN;
    size_t at = about.len;
    while (domain && at > 0 && about.ptr[at - 1] != '@')
        at--;
    return domain ? span_tail(about, at) : about;
}

static void print_ruling(const struct why *why, const struct greylist_attempt *attempt, enum greylist_kind kind,
                         const struct greylist_record *record)
{
    char said[GREYLIST_TIME_BYTES], until[GREYLIST_TIME_BYTES], text[STORE_TEXT_BYTES_MAX];
    char shown[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)];
    struct span about = ruled_text(why, attempt, kind, text);
    for (size_t i = 0; i < about.len && kind == GREYLIST_RULED_MAIL; i++)
        if (text[i] == '\t') /* between sender and recipient */
            text[i] = ' ';
    const char *role = greylist_ruled_prefix(kind, 4)                                          ? "client"
                       : kind == GREYLIST_RULED_MAIL                                           ? "mail"
                       : kind == GREYLIST_RULED_SENDER || kind == GREYLIST_RULED_SENDER_DOMAIN ? "from"
                                                                                               : "to";
    printf("  An administrator %s %s %s on %s, %s%s.\n", record->passes ? "allowed" : "denied", role,
           text_escape(about, shown, sizeof shown), greylist_time(record->first_ms, said),
           record->waited_until_ms ? "until " : "for ever",
           record->waited_until_ms ? greylist_time(record->waited_until_ms, until) : "");
}

static void print_rulings(const struct why *why, const struct greylist_attempt *attempt,
                          const struct greylist_memory *memory)
{
    for (int kind = GREYLIST_RULED_HOST; kind < GREYLIST_KINDS; kind++)
        if (greylist_knows(memory, (enum greylist_kind)kind))
            print_ruling(why, attempt, (enum greylist_kind)kind, &memory->records[kind]);
}

static void print_attempts(const struct why *why, const struct greylist_attempt *attempt,
                           const struct greylist_memory *memory)
{
    char first[GREYLIST_TIME_BYTES], last[GREYLIST_TIME_BYTES], window[GREYLIST_DURATION_BYTES];
    const struct greylist_record *record = &memory->records[kind_of(attempt)];
    if (!greylist_knows(memory, kind_of(attempt))) {
        printf(": never seen, or forgotten (retry-window = %s).\n",
               greylist_duration((uint64_t)why->greylist.conf.greylist.retry_window_s * 1000, window));
        return;
    }
    printf(": first seen on %s, %" PRIu32 " attempt%s, the last on %s", greylist_time(record->first_ms, first),
           record->attempts, record->attempts == 1 ? "" : "s", greylist_time(record->last_ms, last));
    if (record->patient)
        printf(", waited for %u refusal%s to the end, %" PRIu32 " s in all", record->patient,
               record->patient == 1 ? "" : "s", record->waited_ms / 1000);
    printf(".\n");
    if (record->excused)
        printf("  The server itself put it off %u time%s.\n", record->excused, record->excused == 1 ? "" : "s");
    if (record->passes)
        printf(attempt->tls ? "  It was let through %u time%s.\n" : "  The server took %u mail%s of it.\n",
               record->passes, record->passes == 1 ? "" : "s");
}

/* What it has to show still, to pass before the delay is over. */
static void print_earlier(const struct greylist_settings *settings, enum greylist_kind kind,
                          const struct greylist_memory *memory)
{
    char text[160];
    const struct greylist_patience *patience = &settings->patience;
    const struct greylist_record *record = &memory->records[kind];
    uint32_t count = greylist_knows(memory, kind) ? (uint32_t)record->patient + record->excused : 0;
    if (patience->attempts == 0)
        return;
    patience_text(patience, text, sizeof text);
    if (count < patience->attempts)
        printf(", or earlier if it waits for %" PRIu32 " more refusal%s to the end, at an even pace (%s)",
               patience->attempts - count, patience->attempts - count == 1 ? "" : "s", text);
    else
        printf(", or earlier if it waits longer or more evenly (%s)", text);
}

/* What the mail that is named contained when it came before. */
static bool print_cut(void *context, const struct greylist_cut *cut)
{
    char text[GREYLIST_CUT_BYTES];
    struct why *why = context;
    if (why->greylist.as_json)
        why->incomplete = json_array_append_new(why->cuts, greylist_cut_json(&why->greylist, cut)) != 0;
    else
        printf("  For what it contains it was %s.\n", greylist_cut_text(cut, text));
    return !why->incomplete;
}

static void print_decision(const struct why *why, const struct greylist_attempt *attempt,
                           const struct greylist_memory *memory, const struct greylist_decision *decision)
{
    enum greylist_kind kind = kind_of(attempt);
    char from[GREYLIST_TIME_BYTES], setting[160];
    const struct greylist_settings settings = settings_of(why);
    setting_text(&settings, decision->reason, setting, sizeof setting);
    if (decision->pass)
        printf("  It passes now: %s.\n", greylist_reason_text(decision->reason));
    else if (decision->reason >= GREYLIST_DENIED_CLIENT)
        printf("  It does not pass: %s; 'postern greylist forget' ends that.\n",
               greylist_reason_text(decision->reason));
    else {
        printf("  It does not pass now: %s.\n", greylist_reason_text(decision->reason));
        printf(decision->reason == GREYLIST_FIRST ? "  If it came now, it would pass from %s on (%s"
                                                  : "  It passes from %s on (%s",
               greylist_time(decision->passes_from_ms, from), setting);
        if (greylist_knows(memory, kind) && memory->records[kind].waited_ms)
            printf(", and the time that it waited for refusals");
        putchar(')');
        if (why->rules.waits)
            printf("; before, it passes once it has waited for the server's consent (encrypted = patience)");
        else
            print_earlier(&settings, kind, memory);
        printf(".\n");
    }
    if (setting[0])
        printf("  Decided by: %s.\n", setting);
}

/* ---- JSON ---- */

static void add_client(const struct why *why, struct json_members *object, const struct greylist_memory *memory)
{
    char client[KEEP_NETWORK_BYTES], network[KEEP_NETWORK_BYTES];
    bool known = greylist_knows(memory, GREYLIST_CLIENT);
    const struct greylist_record *record = &memory->records[GREYLIST_CLIENT];
    client_text(why, client);
    json_add(object, "client", json_string(client));
    json_add(object, "network", json_string(network_text(why, network)));
    json_add_number(object, "client_passes", known ? record->passes : 0);
    if (known)
        json_add_number(object, "client_last_ms", record->last_ms);
    json_add(object, "exempt_client", json_boolean(is_exempt_client(why)));
    json_add(object, "protected", json_boolean(is_protected_client(why)));
    json_add(object, "dry_run", json_boolean(why->greylist.conf.policy.dry_run));
    json_add(object, "rules_ask", json_boolean(rules_ask(why)));
    if (why->greylist.rules)
        json_add(object, "rules", why_rules_json(&why->rules));
    if (why->greylist.rules)
        json_add(object, "asked", json_boolean(why->rules.asks));
}

static json_t *rulings_json(const struct why *why, const struct greylist_attempt *attempt,
                            const struct greylist_memory *memory)
{
    char text[STORE_TEXT_BYTES_MAX];
    json_t *rulings = json_array();
    bool whole = rulings != NULL;
    for (int kind = GREYLIST_RULED_HOST; kind < GREYLIST_KINDS; kind++) {
        const struct greylist_record *record = &memory->records[kind];
        if (!greylist_knows(memory, (enum greylist_kind)kind))
            continue;
        struct json_members ruling = {json_object(), false};
        json_add(&ruling, "kind", json_string(greylist_kind_name((enum greylist_kind)kind)));
        json_add(&ruling, "about", json_text(ruled_text(why, attempt, (enum greylist_kind)kind, text)));
        json_add(&ruling, "allowed", json_boolean(record->passes));
        json_add_number(&ruling, "said_ms", record->first_ms);
        if (record->waited_until_ms)
            json_add_number(&ruling, "until_ms", record->waited_until_ms);
        whole = json_array_append_new(rulings, json_whole(&ruling)) == 0 && whole;
    }
    if (whole)
        return rulings;
    json_decref(rulings);
    return NULL;
}

static void add_attempts(struct json_members *object, const struct greylist_record *record)
{
    json_add_number(object, "first_ms", record->first_ms);
    json_add_number(object, "last_ms", record->last_ms);
    json_add_number(object, "attempts", record->attempts);
    json_add_number(object, "waited_ms", record->waited_ms);
    json_add_number(object, "patient", record->patient);
    json_add_number(object, "excused", record->excused);
    json_add_number(object, "passes", record->passes);
}

static void add_decision(const struct why *why, struct json_members *object, const struct greylist_decision *decision)
{
    char setting[160];
    const struct greylist_settings settings = settings_of(why);
    setting_text(&settings, decision->reason, setting, sizeof setting);
    json_add(object, "pass", json_boolean(decision->pass));
    json_add(object, "reason", json_string(greylist_reason_name(decision->reason)));
    json_add(object, "text", json_string(greylist_reason_text(decision->reason)));
    json_add(object, "setting", json_string(setting));
    if (decision->passes_from_ms)
        json_add_number(object, "passes_from_ms", decision->passes_from_ms);
}

/* `decision`: NULL of a client alone. */
static void write_json(struct why *why, const struct greylist_attempt *attempt, const struct greylist_memory *memory,
                       const struct greylist_decision *decision)
{
    enum greylist_kind kind = kind_of(attempt);
    struct json_members object = {json_object(), false};
    add_client(why, &object, memory);
    json_add(&object, "rulings", rulings_json(why, attempt, memory));
    if (decision && attempt->tls) {
        json_add(&object, "helo", json_text(attempt->helo));
    } else if (decision) {
        json_add(&object, "sender", json_text(attempt->sender));
        json_add(&object, "recipient", json_text(attempt->recipient));
    }
    if (decision)
        json_add(&object, "known", json_boolean(greylist_knows(memory, kind)));
    if (decision && greylist_knows(memory, kind))
        add_attempts(&object, &memory->records[kind]);
    if (decision)
        add_decision(why, &object, decision);
    if (why->cuts)
        json_add(&object, "cut", json_incref(why->cuts));
    why->incomplete = !json_write_line(stdout, json_whole(&object)) || why->incomplete;
}

/* ---- one mail, or all of a client's ---- */

static void explain(struct why *why, const struct greylist_attempt *attempt)
{
    const struct greylist_exempt *exempt = &why->greylist.conf.exempt;
    struct greylist_memory memory = {0};
    struct greylist_needs needs = greylist_needs(&why->greylist.conf.greylist, exempt, attempt);
    uint32_t kinds = needs.first | needs.rest | 1u << kind_of(attempt) | GREYLIST_CLIENT_KINDS;
    if (!fetch(why, attempt, kinds, &memory))
        return;
    judge_by_rules(why, attempt, &memory);
    const struct greylist_settings settings = settings_of(why);
    exempt = greylist_exempt_of(exempt, variant_of(why), attempt);
    needs = greylist_needs(&settings, exempt, attempt);
    struct greylist_memory after = memory; /* deciding notes an attempt */
    struct greylist_decision decision =
        greylist_decide(&settings, exempt, needs, &after, attempt, why->greylist.now_us / 1000);
    if (why->greylist.as_json) {
        write_json(why, attempt, &memory, &decision);
        return;
    }
    print_subject(why, attempt);
    print_attempts(why, attempt, &memory);
    print_rulings(why, attempt, &memory);
    if (why->greylist.rules)
        why_rules_print(&why->rules, why->greylist.rules);
    if (is_asked(why))
        print_decision(why, attempt, &memory, &decision);
    else
        printf("  The greylist is not asked about it.\n");
    print_unasked(why);
}

/* Who was put off at STARTTLS named no mail: that is remembered of its network and EHLO domain. */
static void explain_tls(struct why *why)
{
    struct greylist_attempt attempt = why->attempt;
    struct greylist_memory memory = {0};
    attempt.sender = attempt.recipient = (struct span){0};
    attempt.tls = true;
    if (why->greylist.helo && fetch(why, &attempt, 1u << GREYLIST_TLS, &memory) &&
        greylist_knows(&memory, GREYLIST_TLS))
        explain(why, &attempt);
}

static void explain_client(struct why *why)
{
    struct greylist_memory memory = {0};
    uint32_t kinds = GREYLIST_CLIENT_KINDS;
    if (why->attempt.sender.ptr)
        kinds |= 1u << GREYLIST_RULED_SENDER | 1u << GREYLIST_RULED_SENDER_DOMAIN;
    if (!fetch(why, &why->attempt, kinds, &memory))
        return;
    judge_by_rules(why, &why->attempt, &memory);
    if (why->greylist.as_json) {
        write_json(why, &why->attempt, &memory, NULL);
        return;
    }
    print_client(why, &memory);
    print_rulings(why, &why->attempt, &memory);
    print_unasked(why);
    if (why->greylist.rules)
        why_rules_print(&why->rules, why->greylist.rules);
}

static bool explain_entry(void *context, const struct greylist_entry *entry)
{
    struct why *why = context;
    struct greylist_attempt attempt = why->attempt;
    bool tls = entry->kind == GREYLIST_TLS && !attempt.sender.ptr && !attempt.helo.len;
    if ((entry->kind != GREYLIST_TRIPLET && !tls) || !greylist_is_about(&why->greylist, entry, &why->attempt))
        return true;
    attempt.sender = entry->about.sender;
    attempt.recipient = entry->about.recipient;
    attempt.tls = tls;
    if (tls)
        attempt.helo = entry->about.helo;
    explain(why, &attempt);
    return ++why->mails < MAILS_MAX && !why->failed;
}

/* Which mails of a client there are is known where they are kept in clear. */
static int explain_mails(struct why *why)
{
    uint64_t foreign;
    int code = greylist_walk(&why->greylist, explain_entry, why, &foreign);
    if (code == CMD_GOOD && why->mails == 0 && !why->greylist.as_json)
        printf("  No mail of it is kept in clear (keep-addresses = %s); name one: CLIENT FROM TO.\n",
               why->greylist.conf.keep_addresses ? "yes" : "no");
    if (code == CMD_GOOD && why->mails == MAILS_MAX)
        return cmd_complain(CMD_FAILED, "there are more than %d mails of it; name one: CLIENT FROM TO", MAILS_MAX);
    return code;
}

/* ---- whoever the client is ---- */

static bool same_address(const char *wanted, struct span address)
{
    struct span plain = span_of(wanted);
    if (plain.len > 1 && wanted[0] == '<' && wanted[plain.len - 1] == '>')
        plain = span_head(span_tail(plain, 1), plain.len - 2);
    uint8_t a_room[GREYLIST_ADDRESS_BYTES_MAX], b_room[GREYLIST_ADDRESS_BYTES_MAX], room[ADDRESS_BYTES_MAX];
    plain = address_compared(idna_to_ascii, plain, room);
    if (plain.len > sizeof a_room)
        return false;
    return span_equal_nocase(greylist_fold(plain, a_room), greylist_fold(address, b_room));
}

static bool show_client(void *context, const struct greylist_entry *entry)
{
    struct why *why = context;
    struct greylist *greylist = &why->greylist;
    char first[GREYLIST_TIME_BYTES], from[GREYLIST_TIME_BYTES], network[TEXT_BYTES(KEEP_NETWORK_BYTES)];
    char sender[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)], recipient[TEXT_BYTES(GREYLIST_ADDRESS_BYTES_MAX)];
    if (entry->kind != GREYLIST_TRIPLET)
        return true;
    why->hashed += entry->text.len == 0;
    if (entry->text.len == 0 || (greylist->from && !same_address(greylist->from, entry->about.sender)) ||
        (greylist->to && !same_address(greylist->to, entry->about.recipient)))
        return true;
    struct greylist_decision standing = greylist_standing(greylist, entry->kind, &entry->record);
    bool early = !standing.pass && standing.passes_from_ms;
    printf("%s  from <%s> for <%s>: first seen on %s, %" PRIu32 " attempt%s; %s%s%s\n",
           text_escape(entry->about.network, network, sizeof network),
           text_escape(entry->about.sender, sender, sizeof sender),
           text_escape(entry->about.recipient, recipient, sizeof recipient),
           greylist_time(entry->record.first_ms, first), entry->record.attempts, entry->record.attempts == 1 ? "" : "s",
           standing.pass ? (entry->record.passes ? "it was let through" : "it passes when it comes again")
                         : "it waits to be tried again",
           early ? ", and passes from " : "", early ? greylist_time(standing.passes_from_ms, from) : "");
    return ++why->mails < MAILS_MAX && !ferror(stdout);
}

/* Of a mail that is named in full, whoever brings it. */
static int explain_cuts(struct why *why)
{
    uint8_t rooms[2][ADDRESS_BYTES_MAX];
    struct greylist_attempt attempt = {0};
    const struct greylist *greylist = &why->greylist;
    if (!greylist->from || !greylist->to)
        return CMD_GOOD;
    int code = greylist_address(greylist->from, rooms[0], &attempt.sender);
    if (code == CMD_GOOD)
        code = greylist_address(greylist->to, rooms[1], &attempt.recipient);
    return code == CMD_GOOD ? greylist_walk_cuts(&why->greylist, &attempt, print_cut, why) : code;
}

/* Which clients tried a mail. */
static int explain_clients(struct why *why)
{
    uint64_t foreign;
    int code = greylist_walk(&why->greylist, show_client, why, &foreign);
    if (code == CMD_GOOD && why->mails == 0)
        printf("no client is known that tried it\n");
    if (code == CMD_GOOD && why->hashed)
        printf("%" PRIu64 " mails are hashes, of which only a client that is named can be told (keep-addresses = yes "
               "keeps them in clear from then on); 'postern track' looks into the event files\n",
               why->hashed);
    return code;
}

/* ---- the command ---- */

static int take_server(struct why *why)
{
    uint8_t version = 0, prefix;
    const char *server = why->greylist.server, *direction = why->greylist.direction;
    why->has_server = server != NULL;
    if (server && (strchr(server, '/') || !keep_read_network(span_of(server), &version, why->server, &prefix)))
        return cmd_complain(CMD_USAGE, "--server %s: write an address like 192.0.2.25", server);
    if (server && version != why->attempt.ip_version)
        return cmd_complain(CMD_USAGE, "--server %s: client and server are of one family, IPv4 or IPv6", server);
    if (direction && strcmp(direction, "inbound") != 0 && strcmp(direction, "outbound") != 0 &&
        strcmp(direction, "internal") != 0)
        return cmd_complain(CMD_USAGE, "--direction %s: write inbound, outbound or internal", direction);
    return CMD_GOOD;
}

static int explain_all(struct why *why)
{
    if (why->attempt.recipient.ptr) {
        why->cuts = why->greylist.as_json ? json_array() : NULL;
        int code = why->greylist.as_json ? greylist_walk_cuts(&why->greylist, &why->attempt, print_cut, why) : CMD_GOOD;
        explain(why, &why->attempt);
        json_decref(why->cuts);
        why->cuts = NULL;
        if (!why->greylist.as_json)
            code = greylist_walk_cuts(&why->greylist, &why->attempt, print_cut, why);
        explain_tls(why);
        return code;
    }
    explain_client(why);
    explain_tls(why);
    return why->failed ? CMD_GOOD : explain_mails(why);
}

/* What stands on the command line besides options: a client, or none where sender or recipient are options. */
static int take_words(struct why *why, int count, char **words)
{
    struct greylist *greylist = &why->greylist;
    bool named = greylist->from || greylist->to;
    if (named && count == 0)
        return greylist->server || greylist->direction || greylist->as_json ? cmd_usage("why") : CMD_GOOD;
    if (named || count < 1 || count > 3)
        return cmd_usage("why");
    int code = greylist_attempt_of(greylist, count, words, &why->attempt);
    return code == CMD_GOOD ? take_server(why) : code;
}

int cmd_why(int argc, char **argv)
{
    struct why why = {0};
    int first;
    struct greylist *greylist = &why.greylist;
    if (greylist_options(greylist, argc, argv, &first) != CMD_GOOD || greylist->all || greylist->hold_ms ||
        greylist->comment || greylist->format)
        return greylist->told ? CMD_USAGE : cmd_usage("why");
    int code = take_words(&why, argc - first, argv + first);
    if (code != CMD_GOOD)
        return code;
    code = greylist_open(greylist);
    if (code == CMD_GOOD)
        code = first == argc ? explain_clients(&why) : explain_all(&why);
    if (code == CMD_GOOD && first == argc)
        code = explain_cuts(&why);
    if (why.failed)
        code = cmd_complain(CMD_FAILED, "the store does not answer");
    if (code == CMD_GOOD)
        code = greylist_printed(!why.incomplete);
    greylist_close(greylist);
    return code;
}
