#include "conf/advice.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/units.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What rules/site.conf is shipped with: whole private ranges (RFC 1918, RFC 4193). */
static const char *const private_ranges[] = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"};

static bool is(cfg_t *rule, const char *key, const char *word)
{
    const char *text = cfg_getstr(rule, key);
    return text && strcmp(text, word) == 0;
}

/* Whether any of these keys says something. */
static bool has_any(cfg_t *rule, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (cfg_size(rule, keys[i]) > 0 && cfg_getnstr(rule, keys[i], 0))
            return true;
    return false;
}

/* ---- directions ---- */

static bool is_private_range(const char *entry)
{
    for (size_t i = 0; i < COUNT(private_ranges); i++)
        if (strcmp(entry, private_ranges[i]) == 0)
            return true;
    return false;
}

static bool is_private(const struct network *network)
{
    for (size_t i = 0; i < COUNT(private_ranges); i++) {
        struct network range;
        if (entries_read_network(private_ranges[i], &range) && network_contains(&range, network))
            return true;
    }
    return false;
}

/* How many of the entries of `protected` are a whole private range; lists in files are not looked into. */
static unsigned private_range_count(cfg_t *cfg)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cfg_size(cfg, "protected"); i++)
        count += is_private_range(cfg_getnstr(cfg, "protected", i));
    return count;
}

/* The line of the text at which site.conf says what is protected; 0: it is not included. */
static int site_line(void)
{
    const struct source *source = complain_source();
    for (size_t i = 0; i < source->line_count; i++) {
        const char *file = source->files[source->lines[i].file], *slash = strrchr(file, '/');
        if (strcmp(slash ? slash + 1 : file, "site.conf") == 0 &&
            strncmp(source->text + source->lines[i].at, "protected", 9) == 0)
            return (int)i + 1;
    }
    return 0;
}

/* The first rule that asks for a direction; NULL: none does. */
static cfg_t *directed_rule(cfg_t *cfg)
{
    for (unsigned i = 0; i < cfg_size(cfg, "rule"); i++) {
        cfg_t *rule = cfg_getnsec(cfg, "rule", i);
        if (cfg_getstr(rule, "direction") && !is(rule, "direction", "any"))
            return rule;
    }
    return NULL;
}

/* A network that is named as one of our servers, and is in none that is protected. */
static void check_server(cfg_t *cfg, cfg_t *section, const char *entry)
{
    struct network server, inside;
    if (!entries_read_network(entry, &server) || is_private(&server))
        return;
    for (unsigned i = 0; i < cfg_size(cfg, "protected"); i++) {
        const char *protected = cfg_getnstr(cfg, "protected", i);
        if (!entries_read_network(protected, &inside) || network_contains(&inside, &server))
            return; /* a file's, or it is */
    }
    complain_warn(section,
                  "no session to or from %s is inbound or outbound: it is in none of the networks of "
                  "'protected'; add it there",
                  entry);
}

static void check_servers(cfg_t *cfg)
{
    if (cfg_size(cfg, "guard") > 0)
        for (unsigned i = 0; i < cfg_size(cfg_getsec(cfg, "guard"), "servers"); i++)
            check_server(cfg, cfg_getsec(cfg, "guard"), cfg_getnstr(cfg_getsec(cfg, "guard"), "servers", i));
    for (unsigned i = 0; i < cfg_size(cfg, "rule"); i++) {
        cfg_t *rule = cfg_getnsec(cfg, "rule", i);
        const char *key = is(rule, "direction", "inbound") ? "server" : "client"; /* which end is ours */
        if (cfg_getstr(rule, "direction") && !is(rule, "direction", "any"))
            for (unsigned entry = 0; entry < cfg_size(rule, key); entry++)
                check_server(cfg, rule, cfg_getnstr(rule, key, entry));
    }
}

static void check_protected(cfg_t *cfg)
{
    cfg_t *rule = directed_rule(cfg);
    unsigned count = cfg_size(cfg, "protected");
    if (count == 0)
        return;
    check_servers(cfg);
    cfg_t site = {.line = site_line()};
    if (site.line > 0 && count == COUNT(private_ranges) && private_range_count(cfg) == count)
        complain_warn(&site, "site.conf is as it ships: write the networks of your servers, as this gateway sees them, "
                             "into it as 'protected'");
    else if (rule && private_range_count(cfg) == count)
        complain_warn(
            rule,
            "rule \"%.64s\": direction = %s matches no session of a server with a public address: 'protected' "
            "has private ranges only; write the networks of your servers, as this gateway sees them",
            cfg_title(rule), cfg_getstr(rule, "direction"));
}

/* ---- rules ---- */

static void check_greylist_rule(cfg_t *cfg, cfg_t *rule)
{
    static const char *const ends[] = {"client", "server", "peer", "except-client"};
    if (is(rule, "action", "greylist") && cfg_size(cfg, "protected") == 0 && !has_any(rule, ends, COUNT(ends)))
        complain_warn(rule,
                      "rule \"%.64s\" greylists our own mail, too: say which networks are ours with 'protected', and "
                      "add direction = inbound",
                      cfg_title(rule));
}

static void check_spoil(cfg_t *cfg, cfg_t *rule)
{
    /* One that counts recipients strips PIPELINING, so that each is sent alone and nothing is spoiled. */
    bool refuses = is(rule, "on", "recipient") && is(rule, "action", "refuse") && !cfg_getstr(rule, "recipients-over");
    if (refuses && !is(rule, "method", "void") && !is(rule, "direction", "inbound") && cfg_size(cfg, "protected") > 0)
        complain_warn(rule,
                      "rule \"%.64s\" refuses recipients of our own mail, too: servers outside see an address that "
                      "breaks the syntax in their place, and count an error; add direction = inbound",
                      cfg_title(rule));
}

/* A refusal that holds whenever it is tried again. */
static void check_static_4xx(cfg_t *rule)
{
    static const char *const passing[] = {"recipients-over", "refused-over", "commands-over", "after"};
    static const char *const deferring[] = {"sender",
                                            "recipient"}; /* whose refusal has a code 4xx where none is said */
    const char *code = cfg_getstr(rule, "code");
    bool by_default = false;
    for (size_t i = 0; i < COUNT(deferring); i++)
        by_default = by_default || is(rule, "on", deferring[i]);
    bool defers = code ? code[0] == '4' : by_default;
    bool depends = has_any(rule, passing, COUNT(passing)) || is(rule, "client-known", "no") ||
                   is(rule, "authenticated", "no") || is(rule, "early-talker", "yes");
    if (is(rule, "action", "refuse") && !is(rule, "on", "starttls") && defers && !depends)
        complain_warn(rule,
                      "rule \"%.64s\" refuses with a code 4xx what it refuses at each attempt: senders try again for "
                      "days; write code = 550, or action = greylist where a later attempt is to pass",
                      cfg_title(rule));
}

static void check_greeting(cfg_t *rule)
{
    static const char *const limits[] = {"client", "except-client", "peer", "except-peer", "client-known"};
    if (is(rule, "on", "greeting") && is(rule, "action", "tarpit") && !has_any(rule, limits, COUNT(limits)))
        complain_warn(rule,
                      "rule \"%.64s\" delays the greeting of every client, our own servers and monitors among them: "
                      "write client-known = no, or except-peer with their networks",
                      cfg_title(rule));
}

/* What is refused encryption many senders send in clear. */
static void check_starttls(cfg_t *cfg, cfg_t *rule)
{
    static const char *const ends[] = {"client", "server", "peer"};
    uint64_t stutter_ms = 1;
    const char *wrong;
    if (!is(rule, "on", "starttls"))
        return;
    if ((is(rule, "action", "refuse") || is(rule, "action", "close")) && !has_any(rule, ends, COUNT(ends)))
        complain_warn(
            rule,
            "rule \"%.64s\" refuses encryption to everybody: most senders then go on in clear, for all on the "
            "path to read; name for whom with client or peer, or write action = greylist",
            cfg_title(rule));
    if (!cfg_getstr(rule, "stutter"))
        units_duration(cfg_getstr(cfg_getsec(cfg, "greylist"), "stutter"), &stutter_ms, &wrong);
    bool patience = !cfg_getstr(rule, "encrypted") || is(rule, "encrypted", "patience");
    if (is(rule, "action", "greylist") && patience && stutter_ms == 0 && !cfg_getstr(rule, "greylist"))
        complain_warn(rule,
                      "rule \"%.64s\": with stutter = 0 nobody waits, and every stranger who encrypts passes; write "
                      "stutter = 30s here",
                      cfg_title(rule));
}

/* A reply of ours is as long as the server's and what was saved before it, see smtp/refusal. */
static void check_text(cfg_t *cfg, cfg_t *rule)
{
    enum { LIKELY_BYTES = 60, CODE_BYTES = 4 };
    const char *text = cfg_getstr(rule, "text");
    size_t len = text ? strlen(text) + CODE_BYTES : 0;
    bool grows = false;
    const char *wrong;
    units_choice(cfg_getstr(cfg, "liberal-conntrack"), &grows, &wrong);
    if (len > LIKELY_BYTES && !grows)
        complain_warn(rule,
                      "rule \"%.64s\": a reply of %zu octets has no room in place of a server's, and is shortened to "
                      "its codes; write a text of at most %d",
                      cfg_title(rule), len, LIKELY_BYTES - CODE_BYTES);
}

void advice_check(cfg_t *cfg)
{
    check_protected(cfg);
    for (unsigned i = 0; i < cfg_size(cfg, "rule"); i++) {
        cfg_t *rule = cfg_getnsec(cfg, "rule", i);
        check_greylist_rule(cfg, rule);
        check_spoil(cfg, rule);
        check_static_4xx(rule);
        check_greeting(rule);
        check_starttls(cfg, rule);
        check_text(cfg, rule);
    }
}
