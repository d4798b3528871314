#include "conf/rule_section.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/keys.h"
#include "conf/reply_line.h"
#include "conf/units.h"
#include "conf/variant_section.h"

enum { RULE_NAME_BYTES_MAX = 64 };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* In the order of the words of the key `action`. */
enum action { PASS, STRIP, REFUSE, CLOSE, RESET, TARPIT, GREYLIST, MARK, LOG };

#define ALWAYS (1u << PASS | 1u << RESET | 1u << MARK | 1u << LOG)

static const uint32_t actions_of[RULE_EVENTS] = {
    [RULE_ON_CONNECT] = ALWAYS,
    [RULE_ON_GREETING] = ALWAYS | 1u << STRIP | 1u << TARPIT,
    [RULE_ON_KEYWORD] = 1u << PASS | 1u << STRIP | 1u << MARK | 1u << LOG,
    [RULE_ON_COMMAND] = ALWAYS | 1u << REFUSE | 1u << CLOSE,
    [RULE_ON_ARGUMENT] = ALWAYS | 1u << REFUSE | 1u << CLOSE,
    [RULE_ON_SENDER] = ALWAYS | 1u << REFUSE | 1u << CLOSE,
    [RULE_ON_RECIPIENT] = ALWAYS | 1u << REFUSE | 1u << CLOSE | 1u << GREYLIST,
    [RULE_ON_STARTTLS] = ALWAYS | 1u << REFUSE | 1u << CLOSE | 1u << GREYLIST,
    [RULE_ON_REPLY] = ALWAYS | 1u << TARPIT,
    [RULE_ON_LINE] = ALWAYS | 1u << REFUSE,
    [RULE_ON_FILE_NAME] = ALWAYS | 1u << REFUSE,
    [RULE_ON_MESSAGE] = ALWAYS | 1u << REFUSE,
    [RULE_ON_ANOMALY] = ALWAYS | 1u << REFUSE | 1u << CLOSE,
};

/* What a rule looks at, and what its `match` then is. */
static const struct {
    const char *moment, *match;
} about[RULE_EVENTS] = {
    [RULE_ON_CONNECT] = {"both ends have said SYN", "nothing"},
    [RULE_ON_GREETING] = {"each line of the server's greeting; strip takes product and version out",
                          "patterns of its text"},
    [RULE_ON_KEYWORD] = {"each keyword of the reply to EHLO; what a stripped keyword offers is refused, too",
                         "keywords, patterns"},
    [RULE_ON_COMMAND] = {"each command line", "verbs; `unknown` for all that are none; others by name where they begin "
                                              "with X"},
    [RULE_ON_ARGUMENT] = {"what follows the verb", "patterns"},
    [RULE_ON_SENDER] = {"the address in MAIL", "addresses, `<>` the null sender"},
    [RULE_ON_RECIPIENT] = {"the address in RCPT", "addresses"},
    [RULE_ON_STARTTLS] = {"STARTTLS and X-ANONYMOUSTLS", "nothing"},
    [RULE_ON_REPLY] = {"the first line of each reply but the greeting, as the client reads it",
                       "codes (`550`), classes (`5xx`), patterns of its text; where both are given both must match"},
    [RULE_ON_LINE] = {"each line of a message, undecoded", "patterns; of longer lines the first 512 octets are seen"},
    [RULE_ON_FILE_NAME] = {"each name of each attachment, decoded",
                           "patterns; of names longer than 252 octets the end is seen"},
    [RULE_ON_MESSAGE] = {"the end of a message", "nothing"},
    [RULE_ON_ANOMALY] = {"something that ought not to be", "names of anomalies"},
};

static const char *const entries_reference =
    "\nAddresses are written `user@example.net`, `user@` (whatever the domain), `example.net` (and all below it),\n"
    "`@example.net` (it alone), `.example.net` (only below it), as a pattern or as an expression. A pattern has `*`\n"
    "for any octets and `?` for one. An expression stands between slashes, best in single quotes: `'/^a+@/'` (PCRE2).\n"
    "Case never counts. A domain is the same in U-labels and A-labels (RFC 5890) and with a final dot, here, in the\n"
    "lists of who is exempt and in rulings; patterns and expressions see no A-labels. Letters of an address\n"
    "beyond ASCII are compared in lower case, and those that are ASCII's then as such (U+017F is s, U+212A k, U+00DF\n"
    "ss, ligatures), as with servers; patterns and expressions see it so and as it is written.\n"
    "`user+x@example.net` is another address than `user@example.net`: where the server takes them for\n"
    "one, write `'/^user(\\+.*)?@example\\.net$/'`. `file:PATH` stands for the entries of a file, one a line; a\n"
    "relative path is taken from the directory of the rule file. Lists in files are found as fast with 10,000 entries\n"
    "as with one, patterns and expressions are tried one after the other. A text on which an expression takes more\n"
    "than 20000 steps is not decided by it: a rule that refuses or delays then does, one that lets pass does not; the\n"
    "anomaly `expression-limit` is told.\n";

void rule_section_reference(FILE *out)
{
    char room[256];
    const char *words[KEYS_MAX];
    size_t count = key_words(key_find("rule", "action"), room, sizeof room, words);
    fputs("\n## Moments and actions\n\n| `on` | looks at | `match` | actions |\n| --- | --- | --- | --- |\n", out);
    for (int event = 0; event < RULE_EVENTS; event++) {
        fprintf(out, "| `%s` | %s | %s | ", rule_event_name((enum rule_event)event), about[event].moment,
                about[event].match);
        const char *comma = "";
        for (size_t i = 0; i < count; i++)
            if (actions_of[event] >> i & 1) {
                fprintf(out, "%s%s", comma, words[i]);
                comma = ", ";
            }
        fputs(" |\n", out);
    }
    fputs(entries_reference, out);
    fputs("\nAnomalies: ", out);
    for (int i = 1; i < SMTP_ANOMALIES; i++)
        fprintf(out, "%s`%s`%s", i > 1 ? ", " : "", smtp_anomaly_name((enum smtp_anomaly)i),
                smtp_anomaly_loses_pairing((enum smtp_anomaly)i) ? " (p)" : "");
    fputs(". Behind those with (p) nobody can say which reply answers which command: see `on-lost-pairing`.\n", out);
}

static bool wrong(cfg_t *cfg, const char *text)
{
    complain(cfg, "rule \"%.64s\": %s", cfg_title(cfg), text);
    return false;
}

/* `word` is not one of `words`. */
static bool unknown(cfg_t *cfg, const char *key, const char *word, const char *const *words, size_t count)
{
    const char *nearest = complain_nearest(word, words, count);
    char all[512] = "";
    for (size_t i = 0, len = 0; i < count && len < sizeof all; i++)
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", words[i]);
    if (nearest)
        complain(cfg, "rule \"%.64s\": unknown %s '%.60s'; did you mean '%s'?", cfg_title(cfg), key, word, nearest);
    else
        complain(cfg, "rule \"%.64s\": unknown %s '%.60s'; write one of %s", cfg_title(cfg), key, word, all);
    return false;
}

/* The index of a KEY_WORD's value, which was checked; `otherwise` where it is not set. */
static size_t word_of(cfg_t *cfg, const char *name, size_t otherwise)
{
    char room[256];
    const char *words[KEYS_MAX];
    const char *text = cfg_getstr(cfg, name);
    size_t count = key_words(key_find("rule", name), room, sizeof room, words);
    for (size_t i = 0; text && i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    return otherwise;
}

static void missing(cfg_t *cfg, const char *name)
{
    complain(cfg, "rule \"%.64s\": '%s' is missing; write one of: %s", cfg_title(cfg), name,
             key_find("rule", name)->words);
}

/* ---- what it looks at ---- */

static bool find_verb(cfg_t *cfg, const char *word, uint64_t *verbs)
{
    const char *names[SMTP_VERBS];
    size_t count = 0;
    for (int verb = 1; verb < SMTP_VERBS; verb++) {
        const char *name = smtp_verb_name((enum smtp_verb)verb);
        names[count++] = name;
        if (span_equal_nocase(span_of(word), span_of(name))) {
            *verbs |= UINT64_C(1) << verb;
            return true;
        }
    }
    return cfg && unknown(cfg, "verb", word, names, count);
}

static bool take_verb_key(struct rule_draft *draft)
{
    cfg_t *cfg = draft->cfg;
    if (cfg_size(cfg, "verb") > 0 && draft->rule.on != RULE_ON_ARGUMENT && draft->rule.on != RULE_ON_REPLY)
        return wrong(cfg, "'verb' belongs to on = argument and on = reply; with on = command write match");
    bool good = true;
    for (unsigned i = 0; i < cfg_size(cfg, "verb"); i++)
        good = find_verb(cfg, cfg_getnstr(cfg, "verb", i), &draft->rule.verbs) && good;
    return good;
}

/* A verb of SMTP, `unknown` for those that are none, or any other word. */
static bool take_command(struct rule_draft *draft, const char *word, bool except)
{
    uint64_t *verbs = except ? &draft->rule.except_verbs : &draft->rule.verbs;
    if (strcmp(word, "unknown") == 0) {
        *verbs |= UINT64_C(1) << SMTP_VERB_UNKNOWN;
        return true;
    }
    if (find_verb(NULL, word, verbs))
        return true;
    const char *names[SMTP_VERB_NAMED];
    for (int verb = 0; verb < SMTP_VERB_NAMED; verb++)
        names[verb] = smtp_verb_name((enum smtp_verb)verb);
    /* A verb that nobody knows is most often a slip of the pen: then say so. Else it starts with X (RFC 5321 4.1.5). */
    bool is_file = strncmp(word, "file:", 5) == 0;
    if (!is_file && ascii_upper((uint8_t)word[0]) != 'X')
        return unknown(draft->cfg, "verb", word, names + 1, SMTP_VERB_NAMED - 1);
    if (!is_file && !policy_is_keyword(span_of(word)))
        return wrong(draft->cfg, "a verb is a word of letters, digits and hyphens");
    return entries_take_word(draft, word, except);
}

static bool take_anomaly(struct rule_draft *draft, const char *word)
{
    enum smtp_anomaly anomaly = smtp_anomaly_find(span_of(word));
    draft->rule.anomalies |= UINT32_C(1) << anomaly;
    if (anomaly != SMTP_ANOMALY_NONE)
        return true;
    const char *names[SMTP_ANOMALIES - 1];
    for (int i = 1; i < SMTP_ANOMALIES; i++)
        names[i - 1] = smtp_anomaly_name((enum smtp_anomaly)i);
    return unknown(draft->cfg, "anomaly", word, names, COUNT(names));
}

static bool is_digit(char octet)
{
    return octet >= '0' && octet <= '9';
}

/* `550` or `5xx`; any other text is a pattern. */
static bool take_reply(struct rule_draft *draft, const char *word)
{
    struct rule_codes *codes = &draft->rule.codes;
    bool code = strlen(word) == 3 && is_digit(word[0]) && is_digit(word[1]) && is_digit(word[2]);
    bool class = strlen(word) == 3 && is_digit(word[0]) && (strcmp(word + 1, "xx") == 0 || strcmp(word + 1, "XX") == 0);
    if (!code && !class)
        return entries_take_word(draft, word, false);
    if (word[0] < '2' || word[0] > '5')
        return wrong(draft->cfg, "reply codes are 200 to 599 (RFC 5321 4.2.1); write for example 550 or 5xx");
    if (codes->count == RULE_CODES_MAX)
        return wrong(draft->cfg, "more than 16 codes in 'match'; make it two rules");
    uint16_t first = (uint16_t)(code ? atoi(word) : (word[0] - '0') * 100);
    codes->ranges[codes->count].first = first;
    codes->ranges[codes->count++].last = (uint16_t)(code ? first : first + 99);
    return true;
}

static bool take_match(struct rule_draft *draft, const char *word)
{
    switch (draft->rule.on) {
    case RULE_ON_COMMAND:
        return take_command(draft, word, false);
    case RULE_ON_ANOMALY:
        return take_anomaly(draft, word);
    case RULE_ON_REPLY:
        return take_reply(draft, word);
    default:
        return entries_take_word(draft, word, false);
    }
}

static bool compares_nothing(enum rule_event on)
{
    return on == RULE_ON_STARTTLS || on == RULE_ON_CONNECT || on == RULE_ON_MESSAGE;
}

static bool take_matches(struct rule_draft *draft)
{
    cfg_t *cfg = draft->cfg;
    enum rule_event on = draft->rule.on;
    char text[128];
    unsigned count = cfg_size(cfg, "match");
    bool counted = cfg_getstr(cfg, "length-over") || cfg_getstr(cfg, "commands-over") || cfg_size(cfg, "except") > 0;
    if (count == 0 && (on == RULE_ON_ANOMALY || (on == RULE_ON_COMMAND && !counted)))
        return wrong(cfg, "'match' is missing; say which, for example match = {\"VRFY\"}");
    if (compares_nothing(on) && (count > 0 || cfg_size(cfg, "except") > 0)) {
        snprintf(text, sizeof text, "with on = %s there is nothing to match; take 'match' and 'except' out",
                 rule_event_name(on));
        return wrong(cfg, text);
    }
    if (on == RULE_ON_ANOMALY && cfg_size(cfg, "except") > 0)
        return wrong(cfg, "with on = anomaly name the anomalies in 'match'; take 'except' out");
    bool good = true;
    for (unsigned i = 0; i < count; i++)
        good = take_match(draft, cfg_getnstr(cfg, "match", i)) && good;
    /* Of a list file with nothing in it nothing is in the list. */
    if (count > 0 && draft->rule.match.count == 0 && on != RULE_ON_REPLY && on != RULE_ON_ANOMALY &&
        on != RULE_ON_COMMAND)
        draft->rule.has_words = true;
    for (unsigned i = 0; i < cfg_size(cfg, "except"); i++) {
        const char *word = cfg_getnstr(cfg, "except", i);
        good = (on == RULE_ON_COMMAND ? take_command(draft, word, true) : entries_take_word(draft, word, true)) && good;
    }
    return good;
}

static bool take_ends(struct rule_draft *draft)
{
    static const struct {
        const char *key;
        enum policy_end end;
        bool except;
    } ends[] = {
        {"client", POLICY_CLIENT, false},       {"server", POLICY_SERVER, false},
        {"peer", POLICY_PEER, false},           {"except-client", POLICY_CLIENT, true},
        {"except-server", POLICY_SERVER, true}, {"except-peer", POLICY_PEER, true},
    };
    bool good = true;
    for (size_t i = 0; i < COUNT(ends); i++)
        good = entries_take_networks(draft, ends[i].key, ends[i].end, ends[i].except) && good;
    enum { ANY, INBOUND, OUTBOUND, INTERNAL };
    static const uint8_t directions[] = {
        [ANY] = 0,
        [INBOUND] = 1u << POLICY_INBOUND,
        [OUTBOUND] = 1u << POLICY_OUTBOUND,
        [INTERNAL] = 1u << POLICY_INTERNAL,
    };
    draft->rule.directions = directions[word_of(draft->cfg, "direction", ANY)];
    return good;
}

/* Names of the client, read as patterns of an argument are, into *patterns; the condition gets a number. */
static bool take_names(struct rule_draft *draft, const char *key, uint8_t count, struct rule_patterns *patterns,
                       uint8_t *number)
{
    cfg_t *cfg = draft->cfg;
    char text[160];
    struct rule_draft names = *draft;
    bool good = true;
    if (cfg_size(cfg, key) == 0)
        return true;
    if (draft->rule.on == RULE_ON_CONNECT || draft->rule.on == RULE_ON_GREETING) {
        snprintf(text, sizeof text, "'%s' belongs to a moment behind EHLO: the client's name is not known yet", key);
        return wrong(cfg, text);
    }
    if (count == POLICY_NAMES_MAX) {
        snprintf(text, sizeof text, "more than %d rules have '%s'; join those that do the same", POLICY_NAMES_MAX, key);
        return wrong(cfg, text);
    }
    names.rule = rule_of("", RULE_ON_ARGUMENT);
    for (unsigned i = 0; i < cfg_size(cfg, key); i++)
        good = entries_take_word(&names, cfg_getnstr(cfg, key, i), false) && good;
    *patterns = names.rule.match;
    *number = (uint8_t)(count + 1);
    return good;
}

static bool take_client_names(struct rule_draft *draft)
{
    struct rule *rule = &draft->rule;
    const struct policy *policy = &draft->conf->policy;
    bool good = take_names(draft, "helo", policy->helo_count, &rule->helo, &rule->helo_number);
    return take_names(draft, "client-name", policy->name_count, &rule->client_names, &rule->name_number) && good;
}

/* Conditions at a moment that has nothing of the kind. */
static bool check_conditions(struct rule_draft *draft)
{
    enum rule_event on = draft->rule.on;
    cfg_t *cfg = draft->cfg;
    if (cfg_getstr(cfg, "recipients-over") && on != RULE_ON_RECIPIENT)
        return wrong(cfg, "'recipients-over' belongs to on = recipient");
    if (cfg_getstr(cfg, "size-over") && on != RULE_ON_MESSAGE)
        return wrong(cfg, "'size-over' belongs to on = message");
    if (cfg_getstr(cfg, "part") && on != RULE_ON_LINE)
        return wrong(cfg, "'part' belongs to on = line");
    if (cfg_getstr(cfg, "length-over") && (compares_nothing(on) || on == RULE_ON_ANOMALY))
        return wrong(cfg, "'length-over' belongs to a moment with a text");
    return true;
}

/* ---- what happens ---- */

#define CONTENT_LINE "550 5.7.1 Content not accepted here"

/* What is said where the rule says nothing, by event. */
static const char *const default_lines[RULE_EVENTS] = {
    [RULE_ON_COMMAND] = "502 5.5.1 Command not available here",
    [RULE_ON_ARGUMENT] = "501 5.5.4 Argument not accepted here",
    [RULE_ON_SENDER] = "450 4.7.1 Try again later",
    [RULE_ON_RECIPIENT] = "450 4.7.1 Try again later",
    [RULE_ON_STARTTLS] = "454 4.7.0 TLS not available",
    [RULE_ON_LINE] = CONTENT_LINE,
    [RULE_ON_FILE_NAME] = CONTENT_LINE,
    [RULE_ON_MESSAGE] = CONTENT_LINE,
    [RULE_ON_ANOMALY] = "550 5.7.1 Refused",
};

/*
 * The code and text of a rule as one line, `fallback` where it has neither; NULL, with a complaint, where they are
 * wrong.
 */
static const char *take_line(struct rule_draft *draft, const char *fallback)
{
    cfg_t *cfg = draft->cfg;
    const char *code_text = cfg_getstr(cfg, "code");
    const char *text = cfg_getstr(cfg, "text");
    char why[REPLY_LINE_WHY_BYTES];
    if (!code_text && !text)
        return fallback;
    const char *line = reply_line(&draft->conf->policy, code_text, text, fallback, why);
    if (!line)
        wrong(cfg, why);
    return line;
}

static bool add_refusal(struct rule_draft *draft, const char *line)
{
    struct smtp_refusals *refusals = &draft->conf->policy.refusals;
    uint8_t number = smtp_refusal_add(refusals, span_of(line), draft->rule.name);
    if (number == SMTP_REFUSAL_NONE)
        return wrong(draft->cfg, "more than 250 rules that refuse");
    /* The delay is the refusal's: it is its reply that leaves later. */
    refusals->texts[number].delay_ms = draft->rule.action.delay_ms;
    draft->rule.action.delay_ms = 0;
    draft->rule.action.refusal = number;
    return true;
}

enum method { METHOD_VOID, METHOD_SPOIL };

/* How the transaction goes on, of a recipient that is refused. */
static bool take_method(struct rule_draft *draft, enum method otherwise)
{
    bool recipient = draft->rule.on == RULE_ON_RECIPIENT;
    if (cfg_getstr(draft->cfg, "method") && !recipient)
        return wrong(draft->cfg, "'method' belongs to on = recipient with action = refuse or greylist");
    size_t method = word_of(draft->cfg, "method", otherwise);
    draft->rule.action.kind = recipient && method == METHOD_VOID ? SMTP_ACTION_VOID : SMTP_ACTION_REFUSE;
    return true;
}

static bool take_refusal(struct rule_draft *draft)
{
    cfg_t *cfg = draft->cfg;
    const uint64_t never =
        UINT64_C(1) << SMTP_VERB_RSET | UINT64_C(1) << SMTP_VERB_NOOP | UINT64_C(1) << SMTP_VERB_QUIT;
    const uint32_t polite = UINT32_C(1) << SMTP_ANOMALY_XEXCH50_OVERFLOW | UINT32_C(1)
                                                                               << SMTP_ANOMALY_LINK2STATE_OVERFLOW;
    if (draft->rule.on == RULE_ON_COMMAND && draft->rule.verbs & never)
        return wrong(cfg, "RSET, NOOP and QUIT cannot be refused: the client needs them; use close or reset");
    if (draft->rule.anomalies & ~polite)
        return wrong(cfg, "only xexch50-overflow and link2state-overflow can be refused; use pass, close or reset");
    if (draft->rule.on == RULE_ON_COMMAND || draft->rule.on == RULE_ON_ARGUMENT)
        draft->rule.except_verbs |= never; /* of a rule for any verb */
    const char *line = take_line(draft, default_lines[draft->rule.on]);
    if (!line)
        return false;
    if (strncmp(line, "421", 3) == 0)
        return wrong(cfg, "421 says that the connection ends; write action = close, or another code");
    if (!add_refusal(draft, line) || !take_method(draft, METHOD_SPOIL))
        return false;
    if (rule_refuses_content(&draft->rule) && line[0] != '5')
        return wrong(cfg, "what a mail contains does not change until its next attempt: write a code from 500 to 599");
    draft->rule.logs = draft->rule.logs || rule_refuses_content(&draft->rule); /* nobody else tells why it was cut */
    return true;
}

static bool take_close(struct rule_draft *draft)
{
    draft->rule.action.kind = SMTP_ACTION_CLOSE;
    const char *line = take_line(draft, "421 4.7.0 Closing connection");
    if (!line)
        return false;
    if (strncmp(line, "421", 3) != 0)
        return wrong(draft->cfg, "action = close answers with 421; take 'code' out");
    return add_refusal(draft, line);
}

/* The section that a rule chooses stands before it. */
static bool wrong_name(struct rule_draft *draft, const char *name)
{
    const char *names[GREYLIST_VARIANTS_MAX];
    for (uint32_t i = 0; i < draft->conf->variant_count; i++)
        names[i] = draft->conf->variants_say[i].name;
    const char *nearest = complain_nearest(name, names, draft->conf->variant_count);
    if (nearest)
        complain(draft->cfg, "rule \"%.64s\": no section greylist \"%.64s\" stands before it; did you mean \"%s\"?",
                 cfg_title(draft->cfg), name, nearest);
    else
        complain(draft->cfg, "rule \"%.64s\": no section greylist \"%.64s\" { } stands before it; write one there",
                 cfg_title(draft->cfg), name);
    return false;
}

enum encrypted { PATIENCE, CLOSED, DEFERRED };

/* What becomes of a stranger who wants to encrypt. */
static bool take_encrypted(struct rule_draft *draft)
{
    static const enum smtp_action_kind kinds[] = {
        [PATIENCE] = SMTP_ACTION_WAIT, [CLOSED] = SMTP_ACTION_RESET, [DEFERRED] = SMTP_ACTION_REFUSE_ALL};
    size_t encrypted = word_of(draft->cfg, "encrypted", PATIENCE);
    bool says = cfg_getstr(draft->cfg, "code") || cfg_getstr(draft->cfg, "text");
    draft->rule.action.kind = kinds[encrypted];
    if (says && encrypted != DEFERRED)
        return wrong(draft->cfg,
                     "nobody reads 'code' and 'text' here: STARTTLS is not refused; take them out, or write "
                     "encrypted = defer");
    return encrypted != CLOSED || !cfg_getstr(draft->cfg, "stutter") ||
           wrong(draft->cfg, "'stutter' has no meaning with encrypted = close: nobody waits");
}

static bool take_greylist(struct rule_draft *draft)
{
    bool tls = draft->rule.on == RULE_ON_STARTTLS;
    const char *name = cfg_getstr(draft->cfg, "greylist");
    draft->rule.variant = name ? variant_section_find(draft->conf, name) : 0;
    if (name && draft->rule.variant == 0)
        return wrong_name(draft, name);
    const struct conf_variant none = {0}, *says = name ? &draft->conf->variants_say[draft->rule.variant - 1] : &none;
    const char *own = says->line && !tls ? says->line : tls ? "454 4.7.0 Greylisted" : "450 4.2.0 Greylisted";
    const char *line = take_line(draft, own);
    if (!line)
        return false;
    if (line[0] != '4')
        return wrong(draft->cfg, "the greylist puts off, it does not refuse: write a code from 400 to 499");
    draft->rule.action.ask = true;
    const char *stutter = cfg_getstr(draft->cfg, "stutter"), *instead;
    uint64_t stutter_ms = 0;
    draft->rule.action.delay_ms = says->stutter_ms;
    if (stutter && units_duration(stutter, &stutter_ms, &instead))
        draft->rule.action.delay_ms = (uint32_t)stutter_ms;
    if (!tls && cfg_getstr(draft->cfg, "encrypted"))
        return wrong(draft->cfg, "'encrypted' belongs to on = starttls");
    return add_refusal(draft, line) && take_method(draft, METHOD_VOID) && (!tls || take_encrypted(draft));
}

static bool belongs(struct rule_draft *draft, const char *key, enum action action, uint32_t actions)
{
    char text[160];
    if (!cfg_getstr(draft->cfg, key) || actions >> action & 1)
        return true;
    snprintf(text, sizeof text, "'%s' has no meaning with this action", key);
    return wrong(draft->cfg, text);
}

static bool take_action(struct rule_draft *draft)
{
    cfg_t *cfg = draft->cfg;
    struct rule *rule = &draft->rule;
    char room[256], text[160];
    const char *words[KEYS_MAX];
    key_words(key_find("rule", "action"), room, sizeof room, words);
    enum action action = (enum action)word_of(cfg, "action", PASS);
    if (!(actions_of[rule->on] >> action & 1)) {
        snprintf(text, sizeof text, "action = %s is not possible with on = %s", words[action],
                 rule_event_name(rule->on));
        return wrong(cfg, text);
    }
    const uint32_t refusing = 1u << REFUSE | 1u << GREYLIST;
    if (action == GREYLIST && cfg_getstr(cfg, "delay"))
        return wrong(cfg, "how long a stranger is put off is 'delay' in greylist { }; how late the refusal leaves is "
                          "'stutter' here");
    if (!belongs(draft, "code", action, refusing | 1u << CLOSE) ||
        !belongs(draft, "text", action, refusing | 1u << CLOSE) || !belongs(draft, "method", action, refusing) ||
        !belongs(draft, "delay", action, 1u << REFUSE | 1u << TARPIT) ||
        !belongs(draft, "stutter", action, 1u << GREYLIST) || !belongs(draft, "greylist", action, 1u << GREYLIST) ||
        !belongs(draft, "encrypted", action, 1u << GREYLIST) || !belongs(draft, "delay-step", action, 1u << TARPIT) ||
        !belongs(draft, "delay-max", action, 1u << TARPIT))
        return false;
    if (cfg_getstr(cfg, "delay-max") && rule->delay_max_ms < rule->action.delay_ms)
        return wrong(cfg, "'delay-max' is less than 'delay'");
    rule->marks = cfg_getstr(cfg, "mark") != NULL;
    if (action == MARK && !rule->marks)
        return wrong(cfg, "action = mark needs the number: mark = 1");
    rule->logs = rule->logs || action == LOG;
    switch (action) {
    case PASS:
    case MARK:
    case LOG:
        return true;
    case STRIP:
        rule->action.kind = SMTP_ACTION_STRIP;
        return true;
    case RESET:
        rule->action.kind = SMTP_ACTION_RESET;
        return true;
    case TARPIT:
        return rule->action.delay_ms > 0 || wrong(cfg, "action = tarpit needs a delay: delay = 30s");
    case REFUSE:
        return take_refusal(draft);
    case CLOSE:
        return take_close(draft);
    case GREYLIST:
        return take_greylist(draft);
    }
    return false;
}

/* What is only told or marked is decided by another rule. */
bool rule_section_goes_on(cfg_t *cfg)
{
    const char *text = cfg_getstr(cfg, "continue"), *instead;
    size_t action = word_of(cfg, "action", PASS);
    bool yes = action == MARK || action == LOG;
    if (text)
        units_choice(text, &yes, &instead);
    return yes;
}

/* A rule that exempts a session: decided when it begins, by what is known then. */
static bool take_for(struct rule_draft *draft)
{
    static const char *const unknown[] = {"client-known", "authenticated", "early-talker",
                                          "after",        "refused-over",  "commands-over"};
    enum { MOMENT, SESSION };
    if (word_of(draft->cfg, "for", MOMENT) == MOMENT)
        return true;
    draft->rule.for_session = true;
    if (draft->rule.on != RULE_ON_CONNECT || word_of(draft->cfg, "action", PASS) != PASS)
        return wrong(draft->cfg, "'for = session' goes with on = connect and action = pass");
    for (size_t i = 0; i < COUNT(unknown); i++)
        if (cfg_getstr(draft->cfg, unknown[i]))
            return wrong(draft->cfg, "'for = session' is decided when the connection begins: name networks and a "
                                     "direction, and nothing that comes later");
    return true;
}

static bool check_continue(struct rule_draft *draft)
{
    return !draft->rule.goes_on || draft->rule.action.kind == SMTP_ACTION_PASS ||
           wrong(draft->cfg, "'continue' goes with mark, log and tarpit; what refuses or strips decides");
}

/*
 * A rule that limits recipients may refuse many of one message. Each refusal inside a group is an error to the server,
 * and Postfix hangs up at the twentieth; of a client that sends one command at a time they are none (smtp/treatment).
 */
static bool hide_pipelining(struct rule_draft *draft)
{
    const struct rule *rule = &draft->rule;
    bool limits = rule->on == RULE_ON_RECIPIENT && rule->recipients_over != RULE_ANY_OVER;
    return !limits || rule->action.kind != SMTP_ACTION_REFUSE ||
           policy_strip(&draft->conf->policy, span_of("PIPELINING")) ||
           wrong(draft->cfg, "no room to strip PIPELINING, which 'recipients-over' does");
}

static const char *keep_place(struct policy *policy, cfg_t *cfg)
{
    struct source_line at = source_place(complain_source(), cfg->line);
    char *place = NULL;
    if (asprintf(&place, "%s:%u", complain_source()->files[at.file], at.line) < 0)
        return NULL;
    const char *kept = policy_keep(policy, span_of(place));
    free(place);
    return kept;
}

bool rule_section_take(cfg_t *cfg, struct conf *conf)
{
    struct policy *policy = &conf->policy;
    struct rule_draft draft = {.conf = conf, .cfg = cfg};
    if (!complain_section(cfg))
        return false;
    if (strlen(cfg_title(cfg)) > RULE_NAME_BYTES_MAX || strpbrk(cfg_title(cfg), "\r\n"))
        return wrong(cfg, "a rule's name has at most 64 characters, on one line");
    if (!cfg_getstr(cfg, "on"))
        missing(cfg, "on");
    if (!cfg_getstr(cfg, "action"))
        missing(cfg, "action");
    if (!cfg_getstr(cfg, "on") || !cfg_getstr(cfg, "action"))
        return false;
    enum rule_event on = (enum rule_event)word_of(cfg, "on", 0);
    const char *name = policy_keep(policy, span_of(cfg_title(cfg)));
    if (!name)
        return wrong(cfg, "the rules have more text than there is room for");
    draft.rule = rule_of(name, on);
    draft.rule.does = policy_keep(policy, span_of(cfg_getstr(cfg, "action")));
    draft.rule.place = keep_place(policy, cfg);
    key_store("rule", cfg, &draft.rule);
    bool good = take_verb_key(&draft);
    good = take_matches(&draft) && good;
    good = take_ends(&draft) && good;
    good = take_client_names(&draft) && good;
    good = check_conditions(&draft) && good;
    good = take_action(&draft) && good;
    good = take_for(&draft) && good;
    draft.rule.goes_on = rule_section_goes_on(cfg);
    return good && check_continue(&draft) && hide_pipelining(&draft) &&
           (policy_add_rule(policy, &draft.rule) || wrong(cfg, "more than 512 rules"));
}
