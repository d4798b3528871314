#include "conf/unreachable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "conf/complain.h"
#include "conf/entries.h"
#include "conf/keys.h"
#include "conf/rule_section.h"
#include "conf/units.h"

/* Whether a domain is `wide`, or below it. */
static bool is_in_domain(const char *wide, const char *domain)
{
    size_t wide_len = strlen(wide), len = strlen(domain);
    const char *end = len >= wide_len ? domain + (len - wide_len) : "";
    return len >= wide_len && strcasecmp(end, wide) == 0 && (end == domain || end[-1] == '.');
}

/* Whether `wide`, written like user@, example.net, @example.net or .example.net, names the address `narrow`. */
static bool names_address(const char *wide, const char *narrow)
{
    const char *at = strrchr(narrow, '@'), *wide_at = strrchr(wide, '@');
    if (!at || at == narrow || strpbrk(wide, "*?/"))
        return false;
    if (wide_at && wide_at[1] == '\0')
        return (size_t)(at - narrow) == strlen(wide) - 1 && strncasecmp(wide, narrow, (size_t)(at - narrow)) == 0;
    if (wide[0] == '@')
        return strcasecmp(wide, at) == 0;
    if (wide[0] == '.')
        return is_in_domain(wide + 1, at + 1) && strcasecmp(wide + 1, at + 1) != 0;
    return !wide_at && strchr(wide, '.') && is_in_domain(wide, at + 1);
}

/* Whether what `narrow` names is named by `wide`, too. */
static bool names(const char *wide, const char *narrow, bool addresses)
{
    if (strcasecmp(wide, narrow) == 0)
        return true;
    struct network outer, inner;
    if (entries_read_network(wide, &outer) && entries_read_network(narrow, &inner))
        return network_contains(&outer, &inner);
    if (strlen(wide) == 3 && strcasecmp(wide + 1, "xx") == 0 && strlen(narrow) == 3)
        return wide[0] == narrow[0];
    if (strpbrk(narrow, "*?/:"))
        return false;
    return (strpbrk(wide, "*?") && rule_pattern_matches(span_of(wide), span_of(narrow))) ||
           (addresses && names_address(wide, narrow));
}

static bool is_about_addresses(cfg_t *rule)
{
    const char *on = cfg_getstr(rule, "on");
    return strcmp(on, "sender") == 0 || strcmp(on, "recipient") == 0;
}

static bool list_names(cfg_t *cfg, const char *key, const char *entry)
{
    for (unsigned i = 0; i < cfg_size(cfg, key); i++)
        if (names(cfg_getnstr(cfg, key, i), entry, is_about_addresses(cfg)))
            return true;
    return false;
}

/* How many of the entries in the narrow rule's list the wide one names. */
static unsigned covered_count(cfg_t *wide, cfg_t *narrow, const char *key)
{
    unsigned count = 0;
    for (unsigned i = 0; i < cfg_size(narrow, key); i++)
        count += list_names(wide, key, cfg_getnstr(narrow, key, i));
    return count;
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
static bool word_covers(cfg_t *wide, cfg_t *narrow, const struct key *key)
{
    const char *a = cfg_getstr(wide, key->name), *b = cfg_getstr(narrow, key->name);
    size_t open_len = strcspn(key->words, " ");
    bool is_open = !a || (strlen(a) == open_len && strncmp(a, key->words, open_len) == 0);
    return is_open || (b && strcmp(a, b) == 0);
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

/* How much of what a rule matches another one matches, too. */
enum cover {
    COVER_NOT,  /* nothing that could be told, or by its design: an exception stands before what it is one of */
    COVER_PART, /* some of the entries of one list */
    COVER_ALL,
};

/* The wide rule's list lets everything that is in the narrow one's, or a part of it. */
static enum cover list_covers(cfg_t *wide, cfg_t *narrow, const char *key)
{
    if (cfg_size(wide, key) == 0)
        return COVER_ALL;
    unsigned count = covered_count(wide, narrow, key);
    return count == 0 ? COVER_NOT : count < cfg_size(narrow, key) ? COVER_PART : COVER_ALL;
}

static enum cover key_covers(cfg_t *wide, cfg_t *narrow, const struct key *key)
{
    bool covers = true;
    switch (key->narrows) {
    case NARROWS_LIST:
        return list_covers(wide, narrow, key->name);
    case NARROWS_EXCEPT:
        covers = exceptions_cover(wide, narrow, key->name);
        break;
    case NARROWS_WORD:
        covers = word_covers(wide, narrow, key);
        break;
    case NARROWS_LIMIT:
        covers = limit_covers(wide, narrow, key->name);
        break;
    case NARROWS_NOT:
        break;
    }
    return covers ? COVER_ALL : COVER_NOT;
}

/* COVER_PART: *part is the one list of which not all is covered. */
static enum cover rule_covers(cfg_t *wide, cfg_t *narrow, const char **part)
{
    enum cover cover = COVER_ALL;
    if (strcmp(cfg_getstr(wide, "on"), cfg_getstr(narrow, "on")) != 0)
        return COVER_NOT;
    for (const struct key *key = keys; key->name; key++) {
        enum cover one = strcmp(key->section, "rule") == 0 ? key_covers(wide, narrow, key) : COVER_ALL;
        if (one == COVER_NOT || (one == COVER_PART && cover == COVER_PART))
            return COVER_NOT;
        if (one == COVER_PART) {
            cover = COVER_PART;
            *part = key->name;
        }
    }
    return cover;
}

/* The entries of a list that another rule names, too, as a text. */
static void write_part(cfg_t *wide, cfg_t *narrow, const char *key, char *out, size_t size)
{
    out[0] = '\0';
    for (unsigned i = 0; i < cfg_size(narrow, key); i++) {
        const char *entry = cfg_getnstr(narrow, key, i);
        size_t len = strlen(out);
        if (list_names(wide, key, entry) && len + 4 < size)
            snprintf(out + len, size - len, "%s%s", len ? ", " : "", entry);
    }
}

static void check_pair(cfg_t *before, cfg_t *behind)
{
    const char *key = NULL;
    char part[200];
    enum cover cover = rule_covers(before, behind, &key);
    if (cover == COVER_ALL)
        complain(behind,
                 "rule \"%.64s\" is never reached: rule \"%.64s\" before it matches whatever it does; put it first, or "
                 "narrow the other",
                 cfg_title(behind), cfg_title(before));
    if (cover != COVER_PART)
        return;
    write_part(before, behind, key, part, sizeof part);
    complain_warn(behind,
                  "rule \"%.64s\" is not reached for %s = {%s}: rule \"%.64s\" before it decides there; put it first, "
                  "or take these out of one of them",
                  cfg_title(behind), key, part, cfg_title(before));
}

static bool is_whole(cfg_t *rule)
{
    return cfg_getstr(rule, "on") && cfg_getstr(rule, "action");
}

void unreachable_check(cfg_t *cfg)
{
    for (unsigned j = 1; j < cfg_size(cfg, "rule"); j++) {
        cfg_t *behind = cfg_getnsec(cfg, "rule", j);
        for (unsigned i = 0; i < j && is_whole(behind); i++) {
            cfg_t *before = cfg_getnsec(cfg, "rule", i);
            if (is_whole(before) && !rule_section_goes_on(before))
                check_pair(before, behind);
        }
    }
}
