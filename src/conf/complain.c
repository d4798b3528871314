#include "conf/complain.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/uri.h"
#include "conf/keys.h"
#include "conf/synonyms.h"

enum { KEY_BYTES_MAX = 63 };

static _Thread_local struct {
    struct remarks *remarks;
    const struct source *source;
    char unknown_key[KEY_BYTES_MAX + 1]; /* empty: none */
    int unknown_line;
} out;

void complain_begin(struct remarks *remarks, const struct source *source)
{
    out.remarks = remarks;
    out.source = source;
    out.unknown_key[0] = '\0';
}

const struct source *complain_source(void)
{
    return out.source;
}

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Edits between two words (Levenshtein); words over 63 octets are as far as can be. */
static size_t distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b), row[64];
    if (a_len >= 64 || b_len >= 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

const char *complain_nearest(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t least = strlen(word) < 4 ? 2 : 4;
    for (size_t i = 0; i < count; i++) {
        size_t edits = distance(word, words[i]);
        if (edits < least) {
            least = edits;
            best = words[i];
        }
    }
    return best;
}

char *complain_printable(char *text)
{
    for (char *at = text; *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    return text;
}

static void keep(cfg_t *cfg, bool warns, const char *text)
{
    char line[1024];
    struct source_line place = source_place(out.source, cfg ? cfg->line : 0);
    snprintf(line, sizeof line, "%s:%u: %s%s", out.source->files[place.file], place.line, warns ? "warning: " : "",
             text);
    complain_printable(line);
    remarks_add(out.remarks, &(struct remark){.text = line, .file = place.file, .line = place.line, .warns = warns});
}

int complain(cfg_t *cfg, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    keep(cfg, false, text);
    return 0;
}

void complain_warn(cfg_t *cfg, const char *format, ...)
{
    char text[700];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    keep(cfg, true, text);
}

bool complain_section(cfg_t *cfg)
{
    struct source_line last = source_place(out.source, cfg->line);
    cfg->line = source_section_line(out.source, cfg->line, cfg_name(cfg), cfg_title(cfg));
    struct source_line first = source_place(out.source, cfg->line);
    for (unsigned i = 0; i < out.remarks->kept; i++) {
        const struct remark *known = &out.remarks->list[i];
        if (!known->warns && known->file == first.file && known->line >= first.line && known->line <= last.line)
            return false;
    }
    return true;
}

const char *complain_unknown_key(int *line)
{
    static _Thread_local char key[sizeof out.unknown_key];
    memcpy(key, out.unknown_key, sizeof key);
    *line = out.unknown_line;
    out.unknown_key[0] = '\0';
    return key[0] ? key : NULL;
}

/* libConfuse: "no such option 'WORD'", whose end a long word has lost. */
static bool unknown_word(const char *text, char *word, size_t size)
{
    const char *from = strchr(text, '\'');
    const char *to = from ? strrchr(text, '\'') : NULL;
    if (to && to == from)
        to += strlen(to);
    if (strncmp(text, "no such option", 14) != 0 || !from || (size_t)(to - from) > size)
        return false;
    memcpy(word, from + 1, (size_t)(to - from) - 1);
    word[to - from - 1] = '\0';
    return true;
}

/* Where a key that is not of this section has its place; false where there is none. */
static bool places_of(const char *word, char *places, size_t size)
{
    size_t used = 0;
    for (const struct key *key = keys; key->name; key++) {
        bool again = used && strcmp(key->section, VARIANT_SECTION) == 0; /* it is said of greylist { } */
        if (strcmp(key->name, word) != 0 || used >= size || again)
            continue;
        const char *before = used ? " or " : "";
        used += (size_t)(*key->section ? snprintf(places + used, size - used, "%sin %s { }", before, key->section)
                                       : snprintf(places + used, size - used, "%soutside of sections", before));
    }
    return used > 0;
}

void complain_confuse(cfg_t *cfg, const char *format, va_list args)
{
    char text[512], word[512];
    vsnprintf(text, sizeof text, format, args);
    if (!unknown_word(text, word, sizeof word)) {
        keep(cfg, false, text);
        return;
    }
    const char *names[KEYS_MAX + 4];
    const char *section = cfg_name(cfg);
    bool outside = !section || strcmp(section, "root") == 0;
    size_t count = key_names(outside ? "" : section, names);
    if (outside) {
        names[count++] = "rule";
        names[count++] = "greylist";
        names[count++] = "guard";
        names[count++] = "include";
    }
    const char *nearest = complain_nearest(word, names, count);
    const char *advice = synonym_advice(NULL, word);
    char places[96];
    char shown[64];
    snprintf(out.unknown_key, sizeof out.unknown_key, "%.*s", KEY_BYTES_MAX, word);
    out.unknown_line = cfg->line;
    if (strcmp(word, "include") == 0)
        complain(cfg, "write include \"FILE\", in quotes and on a line of its own outside of sections");
    else if (advice)
        complain(cfg, "unknown key '%s'; %s", word, advice);
    else if (nearest)
        complain(cfg, "unknown key '%s'; did you mean '%s'?", word, nearest);
    else if (places_of(word, places, sizeof places))
        complain(cfg, "'%s' has no place here; it belongs %s", word, places);
    else
        complain(cfg, "unknown key '%s'; `postern check --keys` lists the known ones",
                 uri_shown(word, shown, sizeof shown));
}
