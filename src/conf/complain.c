#include "conf/complain.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "conf/keys.h"

static _Thread_local struct {
    char *text;
    size_t size;
    const struct source *source;
} out;

void complain_begin(char *text, size_t size, const struct source *source)
{
    text[0] = '\0';
    out.text = text;
    out.size = size;
    out.source = source;
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

static void keep(cfg_t *cfg, const char *text)
{
    if (out.text[0])
        return; /* the first is the cause */
    struct source_line place = source_place(out.source, cfg ? cfg->line : 0);
    int before = snprintf(out.text, out.size, "%s:%u: ", out.source->files[place.file], place.line);
    if (before < 0 || (size_t)before >= out.size)
        return;
    snprintf(out.text + before, out.size - (size_t)before, "%s", text);
}

int complain(cfg_t *cfg, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    keep(cfg, text);
    return -1;
}

/* libConfuse: "no such option 'WORD'" */
static bool unknown_word(const char *text, char *word, size_t size)
{
    const char *from = strchr(text, '\'');
    const char *to = from ? strrchr(text, '\'') : NULL;
    if (strncmp(text, "no such option", 14) != 0 || to <= from || (size_t)(to - from) > size)
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
        if (strcmp(key->name, word) != 0 || used >= size)
            continue;
        const char *before = used ? " or " : "";
        used += (size_t)(*key->section ? snprintf(places + used, size - used, "%sin %s { }", before, key->section)
                                       : snprintf(places + used, size - used, "%soutside of sections", before));
    }
    return used > 0;
}

void complain_confuse(cfg_t *cfg, const char *format, va_list args)
{
    char text[512], word[64];
    vsnprintf(text, sizeof text, format, args);
    if (!unknown_word(text, word, sizeof word)) {
        keep(cfg, text);
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
    char places[96];
    if (strcmp(word, "include") == 0)
        complain(cfg, "write include \"FILE\", in quotes and on a line of its own outside of sections");
    else if (nearest)
        complain(cfg, "unknown key '%s'; did you mean '%s'?", word, nearest);
    else if (places_of(word, places, sizeof places))
        complain(cfg, "'%s' has no place here; it belongs %s", word, places);
    else
        complain(cfg, "unknown key '%s'; `postern check --keys` lists the known ones", word);
}
