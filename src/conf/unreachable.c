#include "conf/unreachable.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/keys.h"
#include "conf/units.h"

/* Whether what `narrow` names is named by `wide`, too. */
static bool names(const char *wide, const char *narrow)
{
    if (strcasecmp(wide, narrow) == 0)
        return true;
    struct network outer, inner;
    if (entries_read_network(wide, &outer) && entries_read_network(narrow, &inner))
        return network_contains(&outer, &inner);
    bool literal = !strpbrk(narrow, "*?/:");
    if (strlen(wide) == 3 && strcasecmp(wide + 1, "xx") == 0 && strlen(narrow) == 3)
        return wide[0] == narrow[0];
    return literal && strpbrk(wide, "*?") && rule_pattern_matches(span_of(wide), span_of(narrow));
}

static bool list_names(cfg_t *cfg, const char *key, const char *entry)
{
    for (unsigned i = 0; i < cfg_size(cfg, key); i++)
        if (names(cfg_getnstr(cfg, key, i), entry))
            return true;
    return false;
}

/* An open list lets everything; else it must name all that the other one does. */
static bool list_covers(cfg_t *wide, cfg_t *narrow, const char *key)
{
    if (cfg_size(wide, key) == 0)
        return true;
    for (unsigned i = 0; i < cfg_size(narrow, key); i++)
        if (!list_names(wide, key, cfg_getnstr(narrow, key, i)))
            return false;
    return cfg_size(narrow, key) > 0;
}

/* Exceptions of the wide rule must be exceptions of the narrow one. */
static bool exceptions_cover(cfg_t *wide, cfg_t *narrow, const char *key)
{
    for (unsigned i = 0; i < cfg_size(wide, key); i++)
        if (!list_names(narrow, key, cfg_getnstr(wide, key, i)))
            return false;
    return true;
}

/* A condition that only one of the two has, or another value of it. */
static bool word_covers(cfg_t *wide, cfg_t *narrow, const char *key, const char *open)
{
    const char *a = cfg_getstr(wide, key), *b = cfg_getstr(narrow, key);
    return !a || strcmp(a, open) == 0 || (b && strcmp(a, b) == 0);
}

/* Limits: the wide rule's is no higher. */
static bool limit_covers(cfg_t *wide, cfg_t *narrow, const char *key)
{
    const char *a = cfg_getstr(wide, key), *b = cfg_getstr(narrow, key), *wrong;
    uint64_t least = 0, other = 0;
    if (!a)
        return true;
    return b && units_size(a, &least, &wrong) && units_size(b, &other, &wrong) && least <= other;
}

static bool covers(cfg_t *wide, cfg_t *narrow)
{
    static const char *const lists[] = {"match", "verb", "client", "server", "peer"};
    static const char *const exceptions[] = {"except", "except-client", "except-server", "except-peer"};
    static const char *const choices[] = {"client-known", "authenticated", "early-talker"};
    static const char *const limits[] = {"after",           "refused-over", "commands-over",
                                         "recipients-over", "length-over",  "size-over"};
    bool yes = false;
    const char *goes_on = cfg_getstr(wide, "continue"), *wrong;
    if (strcmp(cfg_getstr(wide, "on"), cfg_getstr(narrow, "on")) != 0)
        return false;
    if (goes_on && units_choice(goes_on, &yes, &wrong) && yes)
        return false;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (!list_covers(wide, narrow, lists[i]))
            return false;
    for (size_t i = 0; i < sizeof exceptions / sizeof exceptions[0]; i++)
        if (!exceptions_cover(wide, narrow, exceptions[i]))
            return false;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
        if (!word_covers(wide, narrow, choices[i], "either"))
            return false;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (!limit_covers(wide, narrow, limits[i]))
            return false;
    return word_covers(wide, narrow, "direction", "any") && word_covers(wide, narrow, "part", "any");
}

bool unreachable_check(cfg_t *cfg)
{
    for (unsigned j = 1; j < cfg_size(cfg, "rule"); j++)
        for (unsigned i = 0; i < j; i++) {
            cfg_t *before = cfg_getnsec(cfg, "rule", i), *behind = cfg_getnsec(cfg, "rule", j);
            if (!covers(before, behind))
                continue;
            complain(
                behind,
                "rule \"%.64s\" is never reached: rule \"%.64s\" before it matches whatever it does; put it first, or "
                "narrow the other",
                cfg_title(behind), cfg_title(before));
            return false;
        }
    return true;
}
