#include "conf/entries.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complain.h"
#include "conf/regex.h"

enum { LIST_BYTES_MAX = 64 << 20 };

/* Where an entry stands: in the rule, or in a list's file. */
struct where {
    cfg_t *cfg;
    const char *file; /* NULL: in the rule */
    unsigned line;
    bool to_match; /* where nothing is in its list, nothing matches */
};

static bool wrong(const struct where *where, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(const struct where *where, const char *format, ...)
{
    char text[384], place[256] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (where->file)
        snprintf(place, sizeof place, "%s:%u: ", where->file, where->line);
    const char *title = cfg_title(where->cfg);
    if (title)
        complain(where->cfg, "rule \"%.64s\": %s%s", title, place, text);
    else
        complain(where->cfg, "%s%s", place, text);
    return false;
}

static bool no_room(const struct where *where)
{
    return wrong(where, "the rules have more text than there is room for");
}

/* ---- files of entries ---- */

typedef bool (*take_entry)(void *context, const struct where *where, const char *entry);

/* Blanks at both ends, and a comment, taken off. */
static char *trimmed(char *line)
{
    for (char *at = line; *at; at++) {
        if (*at == '#' && (at == line || at[-1] == ' ' || at[-1] == '\t')) { /* a local part may have one */
            *at = '\0';
            break;
        }
    }
    line += strspn(line, " \t\r");
    size_t len = strlen(line);
    while (len > 0 && strchr(" \t\r", line[len - 1]))
        line[--len] = '\0';
    return line;
}

/* Each line; *count of them have an entry. */
static bool take_lines(struct where where, char *text, take_entry take, void *context, unsigned *count)
{
    bool good = true;
    for (char *rest = text; rest;) {
        char *line = rest;
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = '\0';
        where.line++;
        line = trimmed(line);
        *count += *line != '\0';
        good = (!*line || take(context, &where, line)) && good;
    }
    return good;
}

static void warn_of_empty(const struct where *where, const char *path)
{
    const char *title = cfg_title(where->cfg);
    if (title)
        complain_warn(where->cfg,
                      "rule \"%.64s\" never matches: the list '%s' has no entry; write some, one a line, or "
                      "take the rule out",
                      title, path);
    else
        complain_warn(where->cfg, "the list '%s' has no entry; write some, one a line", path);
}

static bool take_file(const struct where *where, const char *name, take_entry take, void *context)
{
    size_t len = 0;
    char why[FILE_WHY_BYTES] = "no memory";
    char *path = source_path(complain_source(), where->cfg->line, name);
    char *text = path ? source_file(path, LIST_BYTES_MAX, &len, why) : NULL;
    struct where inside = {.cfg = where->cfg, .file = path};
    bool good = text != NULL;
    if (!good)
        wrong(where, "cannot read the list '%s': %s", path ? path : name, why);
    else if (strlen(text) != len)
        good = wrong(where, "the list '%s' is no text: it has a NUL at octet %zu", path, strlen(text) + 1);
    unsigned count = 0;
    good = good && take_lines(inside, text, take, context, &count);
    if (good && count == 0 && where->to_match)
        warn_of_empty(where, path);
    free(text);
    free(path);
    return good;
}

/* One entry as it stands in the rule file: itself, or those of a file. */
static bool take_written(const struct where *where, const char *entry, take_entry take, void *context)
{
    static const char file[] = "file:";
    if (strncmp(entry, file, sizeof file - 1) == 0)
        return take_file(where, entry + sizeof file - 1, take, context);
    return take(context, where, entry);
}

static bool take_all(const struct where *where, const char *key, take_entry take, void *context)
{
    bool good = true;
    for (unsigned i = 0; i < cfg_size(where->cfg, key); i++)
        good = take_written(where, cfg_getnstr(where->cfg, key, i), take, context) && good;
    return good;
}

/* ---- networks ---- */

/* The address and the prefix of a network as it is written; false where it is none. */
static bool split_network(const char *text, uint8_t *version, uint8_t octets[16], unsigned long *prefix)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof address)
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    *version = strchr(address, ':') ? 6 : 4;
    *prefix = *version == 4 ? 32 : 128;
    if (inet_pton(*version == 4 ? AF_INET : AF_INET6, address, octets) != 1)
        return false;
    char *end = NULL;
    unsigned long most = *prefix;
    if (slash)
        *prefix = strtoul(slash + 1, &end, 10);
    return !slash || (slash[1] >= '0' && slash[1] <= '9' && *end == '\0' && *prefix <= most);
}

bool entries_read_network(const char *text, struct network *network)
{
    uint8_t version, octets[16];
    unsigned long prefix;
    if (!split_network(text, &version, octets, &prefix))
        return false;
    *network = network_of(version, octets, (uint8_t)prefix);
    return true;
}

static bool parse_network(const struct where *where, const char *text, struct network *network)
{
    uint8_t version, octets[16];
    unsigned long prefix;
    if (!split_network(text, &version, octets, &prefix)) {
        if (strchr(text, '-'))
            return wrong(where, "'%.60s' looks like a range; write networks, for example 192.0.2.0/28", text);
        if (strspn(text, "0123456789.:/abcdefABCDEF") != strlen(text))
            return wrong(where, "'%.60s' is no address; names are not looked up, write networks like 192.0.2.0/24",
                         text);
        return wrong(where, "'%.60s' is no network; write it like 192.0.2.0/24 or 2001:db8::/32", text);
    }
    *network = network_of(version, octets, (uint8_t)prefix);
    struct network itself = network_of(version, octets, version == 4 ? 32 : 128);
    if (memcmp(network->address, itself.address, sizeof itself.address) == 0)
        return true;
    char begins[INET6_ADDRSTRLEN];
    inet_ntop(version == 4 ? AF_INET : AF_INET6, network->address + 1, begins, sizeof begins);
    return wrong(where, "'%s' has bits set behind its prefix; did you mean %s/%lu?", text, begins, prefix);
}

struct network_place {
    struct conf *conf;
    struct rule *rule; /* NULL: protected, or balancers */
    enum policy_end end;
    bool except, balancers;
};

static bool take_network(void *context, const struct where *where, const char *entry)
{
    struct network_place *place = context;
    struct network network = {0};
    if (!parse_network(where, entry, &network))
        return false;
    struct policy *policy = &place->conf->policy;
    bool good = place->rule        ? policy_name_network(policy, place->rule, place->end, network, place->except)
                : place->balancers ? policy_name_balancer(policy, network)
                                   : policy_protect(policy, network);
    return good || no_room(where);
}

bool entries_take_networks(struct rule_draft *draft, const char *key, enum policy_end end, bool except)
{
    struct network_place place = {.conf = draft->conf, .rule = &draft->rule, .end = end, .except = except};
    /* With one list of several that is empty the others still match. */
    struct where where = {.cfg = draft->cfg, .to_match = !except && cfg_size(draft->cfg, key) == 1};
    if (!take_all(&where, key, take_network, &place))
        return false;
    bool empty = cfg_size(draft->cfg, key) > 0 && !except &&
                 !(end == POLICY_CLIENT   ? draft->rule.has_clients
                   : end == POLICY_SERVER ? draft->rule.has_servers
                                          : draft->rule.has_peers);
    /* A list file with nothing in it: no address is in no network. */
    if (empty && end == POLICY_CLIENT)
        draft->rule.has_clients = true;
    else if (empty && end == POLICY_SERVER)
        draft->rule.has_servers = true;
    else if (empty)
        draft->rule.has_peers = true;
    return true;
}

bool entries_take_ends(struct conf *conf, cfg_t *cfg, bool balancers, const char *entry)
{
    struct network_place place = {.conf = conf, .balancers = balancers};
    struct where where = {.cfg = cfg, .to_match = true};
    return take_written(&where, entry, take_network, &place);
}

/* ---- texts ---- */

static bool add_pattern(struct rule_draft *draft, const struct where *where, struct rule_pattern pattern, bool except)
{
    return policy_name_pattern(&draft->conf->policy, &draft->rule, pattern, except) || no_room(where);
}

static bool add_regex(struct rule_draft *draft, const struct where *where, const char *text, bool except)
{
    char cause[192];
    struct span expression = {(const uint8_t *)text + 1, strlen(text) - 2};
    const struct regex *regex = regex_add(&draft->conf->regexes, expression, cause, sizeof cause);
    if (!regex)
        return wrong(where, "%.60s is no regular expression: %s", text, cause);
    return add_pattern(draft, where, (struct rule_pattern){.matches = regex_matches, .regex = regex}, except);
}

static bool add_glob(struct rule_draft *draft, const struct where *where, const char *text, bool except)
{
    const char *kept = policy_keep(&draft->conf->policy, span_of(text));
    return kept ? add_pattern(draft, where, (struct rule_pattern){.glob = span_of(kept)}, except) : no_room(where);
}

static bool add_word(struct rule_draft *draft, const struct where *where, enum word_kind kind, struct span text,
                     bool except)
{
    if (text.len == 0 || text.len > WORD_BYTES_MAX)
        return wrong(where, "an entry of %zu octets; write 1 to %d", text.len, WORD_BYTES_MAX);
    return policy_name_word(&draft->conf->policy, &draft->rule, kind, text, except) || no_room(where);
}

/*
 * What an address, a domain or a part of an address is, see enum word_kind, and the text to look it up by. False, with
 * a complaint, where it is none of them.
 */
static bool classify(const struct where *where, const char *text, enum word_kind *kind, struct span *word)
{
    struct span all = span_of(text);
    const char *at = strrchr(text, '@');
    *word = all;
    *kind = WORD_EXACT;
    if (strcmp(text, "<>") == 0)
        return true;
    if (strpbrk(text, "<> \t"))
        return wrong(where, "'%.60s' is no address; write it without brackets and blanks; \"<>\" is the null sender",
                     text);
    if (at == text)
        *word = span_tail(all, 1), *kind = WORD_DOMAIN;
    else if (at && at[1] == '\0')
        *word = span_head(all, all.len - 1), *kind = WORD_LOCAL;
    else if (!at && text[0] == '.')
        *word = span_tail(all, 1), *kind = WORD_BELOW;
    else if (!at)
        *kind = WORD_DOMAINS;
    if (!at && !strchr(text, '.') && text[0] != '[')
        return wrong(where,
                     "'%.60s' is neither address nor domain; write user@example.net, user@, example.net, "
                     "@example.net, .example.net%s",
                     text, cfg_title(where->cfg) ? ", a pattern with * or '/an expression/'" : "");
    return true;
}

/* An address, a domain or a part of an address; what a table can find goes there. */
static bool add_address(struct rule_draft *draft, const struct where *where, const char *text, bool except)
{
    enum word_kind kind;
    struct span word;
    if (strncmp(text, "*@", 2) == 0 && text[2] != '*' && !strpbrk(text + 2, "*?@"))
        text++;
    else if (strncmp(text, "*@*.", 4) == 0 && !strpbrk(text + 4, "*?@"))
        text += 3;
    else if (strpbrk(text, "*?"))
        return add_glob(draft, where, text, except);
    return classify(where, text, &kind, &word) && add_word(draft, where, kind, word, except);
}

static bool is_expression(const char *text)
{
    size_t len = strlen(text);
    return len > 2 && text[0] == '/' && text[len - 1] == '/';
}

static bool add_text(struct rule_draft *draft, const struct where *where, const char *text, bool except)
{
    if (is_expression(text))
        return add_regex(draft, where, text, except);
    switch (draft->rule.on) {
    case RULE_ON_SENDER:
    case RULE_ON_RECIPIENT:
        return add_address(draft, where, text, except);
    case RULE_ON_KEYWORD:
        if (strpbrk(text, "*?"))
            return add_glob(draft, where, text, except);
        if (!policy_is_keyword(span_of(text)))
            return wrong(
                where, "'%.60s' is no EHLO keyword; write letters, digits and hyphens, for example \"XEXCH50\"", text);
        return add_word(draft, where, WORD_EXACT, span_of(text), except);
    case RULE_ON_COMMAND:
        return add_word(draft, where, WORD_EXACT, span_of(text), except);
    default:
        return add_glob(draft, where, text, except);
    }
}

struct text_place {
    struct rule_draft *draft;
    bool except;
};

static bool take_text(void *context, const struct where *where, const char *entry)
{
    const struct text_place *place = context;
    return add_text(place->draft, where, entry, place->except);
}

bool entries_take_word(struct rule_draft *draft, const char *word, bool except)
{
    struct text_place place = {draft, except};
    struct where where = {.cfg = draft->cfg,
                          .to_match = !except && cfg_title(draft->cfg) && cfg_size(draft->cfg, "match") == 1};
    return take_written(&where, word, take_text, &place);
}

/* ---- who is never greylisted ---- */

struct exempt_place {
    struct conf *conf;
    struct greylist_exempt *exempt;
    const char *key;
};

static bool take_exempt(void *context, const struct where *where, const char *entry)
{
    const struct exempt_place *place = context;
    struct arena *arena = &place->conf->policy.arena;
    struct network network = {0};
    enum word_kind kind;
    struct span word;
    if (strcmp(place->key, "exempt-clients") == 0)
        return parse_network(where, entry, &network) &&
               (greylist_exempt_network(place->exempt, arena, network) || no_room(where));
    enum greylist_list list = strcmp(place->key, "exempt-senders") == 0 ? GREYLIST_SENDERS : GREYLIST_RECIPIENTS;
    if (strpbrk(entry, "*?") || is_expression(entry))
        return wrong(where, "'%.60s': patterns and expressions have no place here; write a rule with action = pass",
                     entry);
    if (!classify(where, entry, &kind, &word))
        return false;
    if (word.len == 0 || word.len > WORD_BYTES_MAX)
        return wrong(where, "an entry of %zu octets; write 1 to %d", word.len, WORD_BYTES_MAX);
    uint8_t room[ADDRESS_BYTES_MAX];
    word = address_word(place->conf->policy.domain_to_ascii, kind, word, room);
    return greylist_exempt_word(place->exempt, arena, list, kind, word) || no_room(where);
}

bool entries_take_exempt(struct conf *conf, cfg_t *cfg, const char *key, const char *entry)
{
    struct exempt_place place = {conf, &conf->exempt, key};
    struct where where = {.cfg = cfg};
    return take_written(&where, entry, take_exempt, &place);
}

bool entries_take_opt_out(struct conf *conf, struct greylist_variant *variant, cfg_t *cfg, const char *entry)
{
    struct exempt_place place = {conf, &variant->opt_out, "opt-out"};
    struct where where = {.cfg = cfg};
    return take_written(&where, entry, take_exempt, &place);
}
