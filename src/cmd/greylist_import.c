/* Dumps of other greylists, and ours, into the store. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cmd/greylist.h"
#include "greylist/import.h"
#include "report/text.h"

enum { PUTS_AT_ONCE = 65536, LINE_BYTES = IMPORT_LINE_BYTES_MAX + 1 };

struct import {
    struct greylist *greylist;
    struct importer reader;
    const char *path;
    uint64_t line, taken, expired, wrong, puts;
};

static void tell_wrong(struct import *import, const char *words)
{
    char path[256];
    import->wrong++;
    cmd_complain(CMD_FAILED, "%s:%" PRIu64 ": %s", text_escape(span_of(import->path), path, sizeof path), import->line,
                 words);
}

/* With what is known already. False where the store fails. */
static bool put(struct import *import, const struct import_entry *entry, enum greylist_kind kind)
{
    struct greylist *greylist = import->greylist;
    struct store_key key = entry->keyed ? entry->key : keep_key(&greylist->keeper, kind, &entry->attempt);
    struct greylist_record known, record = entry->record;
    switch (greylist_fetch(greylist, &key, kind, &known, NULL)) {
    case STORE_GOOD:
        record = import_merge(kind, &known, &record);
        break;
    case STORE_ABSENT:
        break;
    case STORE_LATER:
    case STORE_FAILED:
        return false;
    }
    struct store_record kept = keep_record(&greylist->keeper, kind, &record);
    if (entry->keyed)
        store_put(greylist->keeper.client, &key, &kept);
    else
        keep_put(&greylist->keeper, kind, &key, &entry->attempt, &record);
    if (++import->puts % PUTS_AT_ONCE == 0)
        greylist_pause(greylist, PUTS_AT_ONCE);
    return true;
}

static bool take_entry(struct import *import, const struct import_entry *entry)
{
    const struct greylist_settings *settings = &import->greylist->conf.greylist;
    bool expired = true;
    for (int kind = 0; kind < GREYLIST_KINDS; kind++) {
        if (!(entry->kinds >> kind & 1) || greylist_expires_s(settings, (enum greylist_kind)kind, &entry->record) <=
                                               import->greylist->now_us / 1000000)
            continue;
        expired = false;
        if (!put(import, entry, (enum greylist_kind)kind))
            return false;
    }
    import->expired += expired;
    import->taken += !expired;
    return true;
}

static bool take_line(struct import *import, struct span line)
{
    struct import_entry entry;
    const char *wrong;
    import->line++;
    switch (import_line(&import->reader, line, &entry, &wrong)) {
    case IMPORT_NOTHING:
        break;
    case IMPORT_WRONG:
        tell_wrong(import, wrong);
        break;
    case IMPORT_ENTRY:
        return take_entry(import, &entry);
    }
    return true;
}

/* A line without its end; of a longer one the beginning. False at the end of the file. */
static bool read_line(FILE *in, uint8_t line[LINE_BYTES], size_t *len)
{
    int octet = getc_unlocked(in);
    if (octet == EOF)
        return false;
    for (*len = 0; octet != EOF && octet != '\n'; octet = getc_unlocked(in))
        if (*len < LINE_BYTES)
            line[(*len)++] = (uint8_t)octet;
    return true;
}

static int read_lines(struct import *import, FILE *in)
{
    uint8_t line[LINE_BYTES];
    size_t len;
    bool answers = true;
    while (answers && read_line(in, line, &len))
        answers = take_line(import, (struct span){line, len});
    if (!answers)
        return cmd_complain(CMD_FAILED, "%s:%" PRIu64 ": the store does not answer", import->path, import->line);
    return ferror(in) ? cmd_complain(CMD_FAILED, "%s: %s", import->path, strerror(errno)) : CMD_GOOD;
}

static int read_file(struct import *import, const char *path)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!in)
        return cmd_complain(CMD_FAILED, "%s: %s", path, strerror(errno));
    import->path = path;
    import->line = 0;
    import_begin(&import->reader, import->reader.format, &import->greylist->conf.greylist,
                 import->greylist->keeper.secret, import->greylist->now_us / 1000);
    int code = read_lines(import, in);
    const char *missing = code == CMD_GOOD ? import_end(&import->reader) : NULL;
    if (missing)
        tell_wrong(import, missing);
    if (in != stdin)
        fclose(in);
    return code;
}

int greylist_import(struct greylist *greylist, int count, char **words)
{
    static struct import import;
    import.greylist = greylist;
    if (count < 1 || !greylist->format)
        return -1;
    bool clients = strcmp(greylist->format, "postgrey-clients") == 0;
    if (clients || strcmp(greylist->format, "postgrey-recipients") == 0)
        return greylist_whitelist(clients, count, words);
    if (!import_format_of(greylist->format, &import.reader.format))
        return cmd_complain(
            CMD_USAGE, "unknown format '%s'; choose postgrey, spamd, postern, postgrey-clients or postgrey-recipients",
            greylist->format);
    int code = greylist_open(greylist);
    for (int i = 0; i < count && code == CMD_GOOD; i++)
        code = read_file(&import, words[i]);
    if (!greylist->store)
        return code;
    int written = greylist_finish(greylist);
    printf("taken: %" PRIu64 ", expired: %" PRIu64 ", wrong: %" PRIu64 "\n", import.taken, import.expired,
           import.wrong);
    return code != CMD_GOOD ? code : import.wrong ? CMD_FAILED : written;
}
