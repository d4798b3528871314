#include "conf/conf.h"
#include "conf/idna.h"

#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/uri.h"
#include "conf/advice.h"
#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/guard_section.h"
#include "conf/keys.h"
#include "conf/regex.h"
#include "conf/rule_section.h"
#include "conf/synonyms.h"
#include "conf/units.h"
#include "conf/unreachable.h"
#include "conf/variant_section.h"
#include "report/types.h"

/* What a callback of libConfuse adds rules to: it has no context of ours. */
static _Thread_local struct conf *taking;

static_assert(CONF_HASH_BYTES == SOURCE_HASH_BYTES, "one hash");

static const char *section_of(cfg_t *cfg)
{
    const char *name = cfg_name(cfg);
    return strcmp(name, "root") == 0 ? "" : name;
}

/* Called at each value as it is read, so that the complaint names its line. */
static int check_value(cfg_t *cfg, cfg_opt_t *option)
{
    char wrong[128], room[256], shown[61];
    const char *words[KEYS_MAX];
    const struct key *key = key_find(section_of(cfg), cfg_opt_name(option));
    const char *text = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    if (!text || key_check(key, text, wrong, sizeof wrong))
        return 0;
    text = uri_shown(text, shown, sizeof shown); /* a store's, at another key */
    char title[96] = "";
    if (cfg_title(cfg))
        snprintf(title, sizeof title, "rule \"%.64s\": ", cfg_title(cfg));
    if (key->type != KEY_WORD)
        return complain(cfg, "%s%s = %s: %s", title, key->name, text, wrong);
    const char *advice = synonym_advice(key->name, text);
    if (advice)
        return complain(cfg, "%sunknown %s '%s'; %s", title, key->name, text, advice);
    size_t count = key_words(key, room, sizeof room, words);
    const char *nearest = complain_nearest(text, words, count);
    if (nearest)
        return complain(cfg, "%sunknown %s '%s'; did you mean '%s'?", title, key->name, text, nearest);
    return complain(cfg, "%sunknown %s '%s'; write one of: %s", title, key->name, text, key->words);
}

static int check_port(cfg_t *cfg, cfg_opt_t *option)
{
    const char *text = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    char *end;
    long port = strtol(text, &end, 10);
    if (end == text || *end || port < 1 || port > 65535)
        return complain(cfg, "%.20s is no TCP port; write numbers from 1 to 65535", text);
    if (cfg_opt_size(option) > ENGINE_PORTS_MAX)
        return complain(cfg, "more than %d ports", ENGINE_PORTS_MAX);
    return 0;
}

bool conf_is_store(const char *uri)
{
    static const char *const schemes[] = {"sqlite:",       "redis://",          "rediss://",
                                          "redis+unix://", "redis+sentinel://", "rediss+sentinel://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (strncmp(uri, schemes[i], strlen(schemes[i])) == 0)
            return uri[strlen(schemes[i])] != '\0' && strlen(uri) < CONF_STORE_BYTES;
    return strcmp(uri, "memory:") == 0;
}

static int check_store(cfg_t *cfg, cfg_opt_t *option)
{
    const char *uri = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    char shown[64];
    if (conf_is_store(uri))
        return 0;
    return complain(cfg, "store = \"%s\": %s", uri_shown(uri, shown, sizeof shown), CONF_STORE_ADVICE);
}

static int check_event_type(cfg_t *cfg, cfg_opt_t *option)
{
    const char *words[TYPES_WORDS_MAX], *word = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    char all[512] = "";
    uint32_t types = 0;
    if (types_add(word, &types))
        return 0;
    size_t count = types_words(words), len = 0;
    const char *nearest = complain_nearest(word, words, count);
    if (nearest)
        return complain(cfg, "unknown event type '%.60s'; did you mean '%s'?", word, nearest);
    for (size_t i = 0; i < count && len < sizeof all; i++)
        len += (size_t)snprintf(all + len, sizeof all - len, "%s%s", i ? ", " : "", words[i]);
    return complain(cfg, "unknown event type '%.60s'; write some of: %s", word, all);
}

static int check_network(cfg_t *cfg, cfg_opt_t *option)
{
    bool balancers = strcmp(cfg_opt_name(option), "balancers") == 0;
    entries_take_ends(taking, cfg, balancers, cfg_opt_getnstr(option, cfg_opt_size(option) - 1));
    return 0;
}

/* A list of who is never greylisted. */
static int check_exempt(cfg_t *cfg, cfg_opt_t *option)
{
    const char *entry = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    entries_take_exempt(taking, cfg, cfg_opt_name(option), entry);
    return 0;
}

static int check_keyword(cfg_t *cfg, cfg_opt_t *option)
{
    const char *word = cfg_opt_getnstr(option, cfg_opt_size(option) - 1);
    if (!policy_is_keyword(span_of(word)))
        return complain(cfg, "'%.60s' is no EHLO keyword; write letters, digits and hyphens, for example \"XEXCH50\"",
                        word);
    if (cfg_opt_size(option) > SMTP_KEYWORDS_MAX)
        return complain(cfg, "more than %d keywords to strip", SMTP_KEYWORDS_MAX);
    return 0;
}

static int check_rule(cfg_t *cfg, cfg_opt_t *option)
{
    (void)cfg;
    rule_section_take(cfg_opt_getnsec(option, cfg_opt_size(option) - 1), taking);
    return 0;
}

static int check_variant(cfg_t *cfg, cfg_opt_t *option)
{
    (void)cfg;
    variant_section_take(cfg_opt_getnsec(option, cfg_opt_size(option) - 1), taking);
    return 0;
}

static int check_guard(cfg_t *cfg, cfg_opt_t *option)
{
    (void)cfg;
    guard_section_take(cfg_opt_getnsec(option, cfg_opt_size(option) - 1), taking);
    return 0;
}

void conf_init(struct conf *conf)
{
    conf->engine = engine_settings_default();
    conf->greylist = greylist_settings_default();
    conf->guard = guard_settings_default();
    conf->event_types = TYPES_DEFAULT;
    conf->queue_length = 65536;
    conf->queue_buffer = 64 << 20;
    snprintf(conf->store, sizeof conf->store, "%s", CONF_STORE_DEFAULT);
    policy_init_default(&conf->policy);
    conf->policy.domain_to_ascii = idna_to_ascii;
}

void conf_free(struct conf *conf)
{
    regex_free_all(conf->regexes);
    free(conf->memory);
    conf->regexes = NULL;
    conf->memory = NULL;
}

/* ---- settings ---- */

static bool is(cfg_t *cfg, const char *key, const char *word)
{
    return strcmp(cfg_getstr(cfg, key), word) == 0;
}

static uint64_t number_of(cfg_t *cfg, const char *key)
{
    uint64_t number = 0;
    const char *wrong;
    units_number(cfg_getstr(cfg, key), &number, &wrong);
    return number;
}

static uint64_t duration_of(cfg_t *cfg, const char *key)
{
    uint64_t duration_ms = 0;
    const char *wrong;
    units_duration(cfg_getstr(cfg, key), &duration_ms, &wrong);
    return duration_ms;
}

static uint32_t blocks_for(cfg_t *cfg, const char *key)
{
    uint64_t octets = 0;
    const char *wrong;
    units_size(cfg_getstr(cfg, key), &octets, &wrong);
    return (uint32_t)(octets / ENGINE_BLOCK_BYTES);
}

/* A refusal of the greylist takes as long as its rule says, or else as all do. */
static void take_stutter(struct conf *conf)
{
    struct policy *policy = &conf->policy;
    for (uint32_t i = 0; i < policy->rule_count; i++) {
        struct smtp_refusal_text *text = &policy->refusals.texts[policy->rules[i].action.refusal];
        if (policy->rules[i].action.ask && text->delay_ms == 0)
            text->delay_ms = conf->greylist.stutter_ms;
    }
}

/* The filter sees it as one of its ports, of another kind. Where there is no place for it check_together complains. */
static void take_tls_port(struct engine_settings *settings, uint16_t port)
{
    uint32_t at = 0;
    while (at < settings->ports_count && settings->ports[at] != port)
        at++;
    if (at == ENGINE_PORTS_MAX)
        return;
    settings->ports[at] = port;
    settings->ports_count = at == settings->ports_count ? at + 1 : settings->ports_count;
    settings->tls_ports = (uint16_t)(settings->tls_ports | 1u << at);
}

static void take_settings(struct conf *conf, cfg_t *cfg)
{
    key_store("", cfg, conf);
    key_store("greylist", cfg_getsec(cfg, "greylist"), conf);
    variant_sections_settle(conf);
    take_stutter(conf);
    snprintf(conf->store, sizeof conf->store, "%s", cfg_getstr(cfg, "store"));
    const char *events = cfg_getstr(cfg, "events");
    snprintf(conf->events, sizeof conf->events, "%s", events ? events : "");
    conf->event_types = 0;
    for (unsigned i = 0; i < cfg_size(cfg, "event-types"); i++)
        types_add(cfg_getnstr(cfg, "event-types", i), &conf->event_types);
    conf->engine.flow_blocks_max = blocks_for(cfg, "flow-memory");
    conf->engine.blocks_max = blocks_for(cfg, "memory");
    conf->engine.prefix_v4 = conf->greylist.prefix_v4;
    conf->engine.prefix_v6 = conf->greylist.prefix_v6;
    conf->engine.pass_on_overload = is(cfg, "on-overload", "pass");
    conf->policy.defers_without_store = is(cfg, "on-lost-store", "defer");
    policy_set_lost(&conf->policy, is(cfg, "on-lost-pairing", "pass")    ? POLICY_LOST_PASS
                                   : is(cfg, "on-lost-pairing", "reset") ? POLICY_LOST_RESET
                                                                         : POLICY_LOST_CLOSE);
    conf->engine.ports_count = cfg_size(cfg, "ports");
    for (unsigned i = 0; i < conf->engine.ports_count; i++)
        conf->engine.ports[i] = (uint16_t)strtol(cfg_getnstr(cfg, "ports", i), NULL, 10);
    for (unsigned i = 0; i < cfg_size(cfg, "tls-ports"); i++)
        take_tls_port(&conf->engine, (uint16_t)strtol(cfg_getnstr(cfg, "tls-ports", i), NULL, 10));
    for (unsigned i = 0; i < cfg_size(cfg, "strip"); i++)
        policy_strip(&conf->policy, span_of(cfg_getnstr(cfg, "strip", i)));
}

/* A first attempt that is forgotten before the delay is over would be put off for ever. */
static void check_greylist(cfg_t *greylist)
{
    if (duration_of(greylist, "retry-window") <= duration_of(greylist, "delay"))
        complain(greylist,
                 "greylist: retry-window = %s is not longer than delay = %s: who waits for its end would begin anew; "
                 "make it longer",
                 cfg_getstr(greylist, "retry-window"), cfg_getstr(greylist, "delay"));
}

/* The same by the delay of a section with a name. */
static void check_variant_delay(cfg_t *greylist, cfg_t *variant)
{
    if (cfg_getstr(variant, "delay") && duration_of(greylist, "retry-window") <= duration_of(variant, "delay"))
        complain(
            variant,
            "greylist \"%.64s\": delay = %s is not shorter than retry-window = %s of greylist { }: who waits for its "
            "end would begin anew; make it shorter",
            cfg_title(variant), cfg_getstr(variant, "delay"), cfg_getstr(greylist, "retry-window"));
}

/* Where nothing is protected every session is inbound. */
static void check_directions(cfg_t *cfg)
{
    if (cfg_size(cfg, "guard") > 0)
        complain(cfg_getsec(cfg, "guard"),
                 "guard: no session is outbound: say which networks are ours with 'protected'");
    for (unsigned i = 0; i < cfg_size(cfg, "rule"); i++) {
        cfg_t *rule = cfg_getnsec(cfg, "rule", i);
        const char *direction = cfg_getstr(rule, "direction");
        if (direction && strcmp(direction, "any") != 0 && strcmp(direction, "inbound") != 0)
            complain(rule, "rule \"%.64s\": direction = %s never holds: say which networks are ours with 'protected'",
                     cfg_title(rule), direction);
    }
}

/* Ports named by either key. */
static unsigned ports_together(cfg_t *cfg)
{
    unsigned count = cfg_size(cfg, "ports"), others = cfg_size(cfg, "tls-ports");
    for (unsigned i = 0; i < others; i++) {
        bool known = false;
        for (unsigned j = 0; j < cfg_size(cfg, "ports"); j++)
            known = known || strcmp(cfg_getnstr(cfg, "ports", j), cfg_getnstr(cfg, "tls-ports", i)) == 0;
        count += !known;
    }
    return count;
}

/* Settings that are good alone, and not together. */
static void check_together(cfg_t *cfg)
{
    if (ports_together(cfg) > ENGINE_PORTS_MAX)
        complain(cfg, "ports and tls-ports are more than %d together", ENGINE_PORTS_MAX);
    if (cfg_size(cfg, "ports") == 0)
        complain(cfg, "ports is empty: no connection would be SMTP; write for example ports = {25}");
    if (blocks_for(cfg, "memory") < blocks_for(cfg, "flow-memory"))
        complain(cfg, "memory = %s is less than flow-memory = %s, which one connection may take",
                 cfg_getstr(cfg, "memory"), cfg_getstr(cfg, "flow-memory"));
    if (number_of(cfg, "queue-length") <= number_of(cfg, "held-packets"))
        complain(cfg,
                 "queue-length = %s leaves no room beside held-packets = %s, which wait in the kernel's queue; make it "
                 "larger",
                 cfg_getstr(cfg, "queue-length"), cfg_getstr(cfg, "held-packets"));
    if (cfg_size(cfg, "protected") == 0)
        check_directions(cfg);
    check_greylist(cfg_getsec(cfg, "greylist"));
    for (unsigned i = 0; i < cfg_size(cfg, VARIANT_SECTION); i++)
        check_variant_delay(cfg_getsec(cfg, "greylist"), cfg_getnsec(cfg, VARIANT_SECTION, i));
}

/* ---- reading ---- */

/* libConfuse's options, as long as a file is parsed. */
struct options {
    cfg_opt_t outside[KEYS_MAX + 5], rule[KEYS_MAX + 1], greylist[KEYS_MAX + 1], variant[KEYS_MAX + 1],
        guard[KEYS_MAX + 1];
};

static cfg_t *set_up(struct options *options)
{
    options->rule[key_options("rule", options->rule)] = (cfg_opt_t)CFG_END();
    options->greylist[key_options("greylist", options->greylist)] = (cfg_opt_t)CFG_END();
    options->variant[key_options(VARIANT_SECTION, options->variant)] = (cfg_opt_t)CFG_END();
    options->guard[key_options("guard", options->guard)] = (cfg_opt_t)CFG_END();
    cfg_opt_t *outside = options->outside;
    size_t count = key_options("", outside);
    outside[count++] = (cfg_opt_t)CFG_SEC("rule", options->rule, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    outside[count++] = (cfg_opt_t)CFG_SEC("greylist", options->greylist, CFGF_NONE);
    outside[count++] =
        (cfg_opt_t)CFG_SEC(VARIANT_SECTION, options->variant, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);
    outside[count++] = (cfg_opt_t)CFG_SEC("guard", options->guard, CFGF_NODEFAULT);
    outside[count] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(outside, CFGF_NONE);
    if (!cfg)
        return NULL;
    cfg_set_error_function(cfg, complain_confuse);
    for (const struct key *key = keys; key->name; key++) {
        char path[96];
        if (key->type == KEY_LIST)
            continue;
        snprintf(path, sizeof path, "%s%s%s", key->section, *key->section ? "|" : "", key->name);
        cfg_set_validate_func(cfg, path, check_value);
    }
    cfg_set_validate_func(cfg, "strip", check_keyword);
    cfg_set_validate_func(cfg, "ports", check_port);
    cfg_set_validate_func(cfg, "tls-ports", check_port);
    cfg_set_validate_func(cfg, "store", check_store);
    cfg_set_validate_func(cfg, "event-types", check_event_type);
    cfg_set_validate_func(cfg, "protected", check_network);
    cfg_set_validate_func(cfg, "balancers", check_network);
    cfg_set_validate_func(cfg, "greylist|exempt-clients", check_exempt);
    cfg_set_validate_func(cfg, "greylist|exempt-senders", check_exempt);
    cfg_set_validate_func(cfg, "greylist|exempt-recipients", check_exempt);
    cfg_set_validate_func(cfg, "rule", check_rule);
    cfg_set_validate_func(cfg, VARIANT_SECTION, check_variant);
    cfg_set_validate_func(cfg, "guard", check_guard);
    return cfg;
}

/* What was read of a file, and what is to be done then. */
enum outcome {
    OUTCOME_READ,        /* with its mistakes, if it has any */
    OUTCOME_FULL,        /* there was no room for its texts */
    OUTCOME_UNKNOWN_KEY, /* it ends at a key that nobody knows */
};

/* Seal the policy and take the settings of a file that was read without a mistake. */
static void finish(struct conf *conf, cfg_t *cfg)
{
    if (policy_seal(&conf->policy) && greylist_exempt_seal(&conf->exempt, &conf->policy.arena))
        take_settings(conf, cfg);
    else
        complain(cfg, "the rules have more text than there is room for");
}

/* Parse into a policy with `arena_bytes` for its texts. */
static enum outcome parse(struct conf *conf, struct source *source, size_t arena_bytes, const struct remarks *remarks)
{
    struct options options;
    conf_free(conf);
    conf->exempt = (struct greylist_exempt){0};
    conf->variant_count = 0;
    policy_init_empty(&conf->policy);
    conf->policy.domain_to_ascii = idna_to_ascii;
    if (arena_bytes > POLICY_OWN_BYTES) {
        conf->memory = malloc(arena_bytes);
        if (conf->memory)
            policy_use_memory(&conf->policy, conf->memory, arena_bytes);
    }
    taking = conf;
    cfg_t *cfg = set_up(&options);
    if (!cfg || (arena_bytes > POLICY_OWN_BYTES && !conf->memory)) {
        complain(NULL, "no memory to read the rules");
        cfg_free(cfg);
        return OUTCOME_READ;
    }
    unsigned before = remarks->mistakes;
    bool whole = cfg_parse_buf(cfg, source->text) == CFG_SUCCESS;
    int line;
    const char *key = complain_unknown_key(&line);
    bool to_go_on = !whole && key && source_blank(source, line, key);
    if (!whole && remarks->mistakes == before)
        complain(cfg, "syntax error");
    if (whole && remarks->mistakes == before)
        check_together(cfg);
    if (whole)
        unreachable_check(cfg);
    if (remarks->mistakes == 0)
        finish(conf, cfg);
    if (remarks->mistakes == 0)
        advice_check(cfg);
    cfg_free(cfg);
    return conf->policy.arena.full ? OUTCOME_FULL : to_go_on ? OUTCOME_UNKNOWN_KEY : OUTCOME_READ;
}

/* Parse until everything has its room and every unknown key is told. */
static void parse_all(struct conf *conf, struct source *source, struct remarks *remarks)
{
    enum { ARENA_BYTES_MAX = 1 << 30 };
    size_t bytes = POLICY_OWN_BYTES;
    for (;;) {
        unsigned kept = remarks->kept;
        enum outcome outcome = parse(conf, source, bytes, remarks);
        bool full = outcome == OUTCOME_FULL;
        if (outcome == OUTCOME_READ || (full ? bytes >= ARENA_BYTES_MAX : remarks->kept == REMARKS_MAX))
            return;
        if (full) {
            bytes *= 4;
            remarks_drop(remarks, kept);
        }
    }
}

bool conf_check(struct conf *conf, const char *path, const char *root, struct remarks *remarks)
{
    struct source source = {0};
    char message[1024];
    source_hash_begin();
    source_root(root);
    complain_begin(remarks, &source);
    if (source_read(&source, path, message, sizeof message))
        parse_all(conf, &source, remarks);
    else
        remarks_add(remarks, &(struct remark){.text = complain_printable(message)});
    source_hash(conf->hash);
    remarks_sort(remarks);
    conf->warnings = remarks->warnings;
    if (remarks->mistakes > 0)
        conf_free(conf);
    source_free(&source);
    return remarks->mistakes == 0;
}

bool conf_read(struct conf *conf, const char *path, char *message, size_t size)
{
    struct remarks remarks = {0};
    bool good = conf_check(conf, path, NULL, &remarks);
    if (!good)
        snprintf(message, size, "%s", remarks.kept ? remarks.list[0].text : "no memory to read the rules");
    size_t len = good ? size : strlen(message);
    if (remarks.mistakes > 1 && len < size)
        snprintf(message + len, size - len, " (and %u more: postern check %s)", remarks.mistakes - 1, path);
    remarks_free(&remarks);
    return good;
}
