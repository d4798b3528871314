#include "greylist/import.h"

#include "greylist/import_part.h"

static const struct {
    const char *name;
    enum import_status (*line)(struct importer *importer, struct span line, struct import_entry *entry,
                               const char **wrong);
} formats[IMPORT_FORMATS] = {
    [IMPORT_POSTGREY] = {"postgrey", import_postgrey_line},
    [IMPORT_SPAMD] = {"spamd", import_spamd_line},
    [IMPORT_POSTERN] = {"postern", import_postern_line},
};

bool import_format_of(const char *name, enum import_format *format)
{
    for (int i = 0; i < IMPORT_FORMATS; i++)
        if (strcmp(name, formats[i].name) == 0) {
            *format = (enum import_format)i;
            return true;
        }
    return false;
}

void import_begin(struct importer *importer, enum import_format format, const struct greylist_settings *settings,
                  const uint8_t *secret, int64_t now_ms)
{
    memset(importer, 0, sizeof *importer);
    importer->format = format;
    importer->settings = settings;
    importer->secret = secret;
    importer->now_ms = now_ms;
}

static bool is_blank(struct span line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.ptr[i] != ' ' && line.ptr[i] != '\t')
            return false;
    return true;
}

/* In a dump keys and values go on in turns. */
static void skip_line(struct importer *importer)
{
    bool key = importer->dump == DUMP_KEY;
    if (key || importer->dump == DUMP_VALUE)
        importer->dump = key ? DUMP_VALUE : DUMP_KEY;
    importer->dump_wrong = key;
}

enum import_status import_line(struct importer *importer, struct span line, struct import_entry *entry,
                               const char **wrong)
{
    *entry = (struct import_entry){0};
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (line.len > IMPORT_LINE_BYTES_MAX) {
        skip_line(importer);
        return import_wrong(wrong, "a line longer than 8192 octets");
    }
    if (importer->dump == DUMP_NONE && (is_blank(line) || line.ptr[0] == '#'))
        return IMPORT_NOTHING;
    return formats[importer->format].line(importer, line, entry, wrong);
}

const char *import_end(const struct importer *importer)
{
    return importer->dump == DUMP_NONE ? NULL : "the dump ends before its DATA=END; is it whole?";
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

struct greylist_record import_merge(enum greylist_kind kind, const struct greylist_record *known,
                                    const struct greylist_record *imported)
{
    if (greylist_is_ruling(kind))
        return *imported;
    struct greylist_record record = *known;
    record.first_ms = known->first_ms < imported->first_ms ? known->first_ms : imported->first_ms;
    record.last_ms = known->last_ms > imported->last_ms ? known->last_ms : imported->last_ms;
    record.attempts = larger(known->attempts, imported->attempts);
    record.passes = (uint16_t)larger(known->passes, imported->passes);
    return record;
}

/* ---- what the readers share ---- */

enum import_status import_wrong(const char **wrong, const char *words)
{
    *wrong = words;
    return IMPORT_WRONG;
}

bool import_number(struct span text, int64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || *number >= INT64_C(1) << 44)
            return false;
        *number = 10 * *number + (text.ptr[i] - '0');
    }
    return text.len > 0;
}

bool import_time(const struct importer *importer, struct span text, int64_t *time_ms)
{
    enum { DAY_MS = 86400000 };
    int64_t seconds;
    if (!import_number(text, &seconds) || seconds > (importer->now_ms + DAY_MS) / 1000)
        return false;
    *time_ms = seconds * 1000 < importer->now_ms ? seconds * 1000 : importer->now_ms;
    return true;
}

size_t import_find(struct span text, uint8_t octet)
{
    const uint8_t *at = text.len ? memchr(text.ptr, octet, text.len) : NULL;
    return at ? (size_t)(at - text.ptr) : text.len;
}

bool import_is_address(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return false;
    return text.len <= GREYLIST_ADDRESS_BYTES_MAX;
}
