/*
 * greylist/import - what other greylists remembered, and ours exported, line by line.
 *
 * In:     lines of a dump, without their line ends: of postgrey's databases as db_dump writes them, or as
 *         "client/sender/recipient first last"; of spamdb; or of `postern greylist export`.
 * Out:    entries for a store. Lines come from strangers: what is wrong with one is said in a few words, the others
 *         are taken.
 * Owner:  an entry's texts lie in the reader until the next line; those of a line in the caller's.
 * Thread: no state but the reader's.
 * Limits: IMPORT_LINE_BYTES_MAX a line.
 * Source: postgrey 1.37; spamdb(8) of OpenBSD; db_dump of Berkeley DB 5.3.
 */
#ifndef POSTERN_GREYLIST_IMPORT_H
#define POSTERN_GREYLIST_IMPORT_H

#include "greylist/keep.h"

#define IMPORT_LINE_BYTES_MAX 8192

enum import_format { IMPORT_POSTGREY, IMPORT_SPAMD, IMPORT_POSTERN, IMPORT_FORMATS };

/* False where there is no format of this name. */
bool import_format_of(const char *name, enum import_format *format);

enum import_status {
    IMPORT_NOTHING, /* the line says nothing of a mail: blank, a comment, part of a dump's head */
    IMPORT_ENTRY,
    IMPORT_WRONG,
};

struct import_entry {
    uint32_t kinds; /* of which this is a record: bits 1u << enum greylist_kind */
    struct greylist_attempt attempt;
    struct greylist_record record;
    bool keyed; /* `key` is known, and what it is about is not: `attempt` is empty */
    struct store_key key;
};

struct importer {
    enum import_format format;
    const struct greylist_settings *settings;
    const uint8_t *secret; /* the store's */
    int64_t now_ms;

    enum {
        DUMP_NONE, /* lines of text, or behind a dump */
        DUMP_HEAD,
        DUMP_KEY,   /* the next line is a key */
        DUMP_VALUE, /* or its value */
    } dump;
    bool dump_hex;   /* as db_dump writes without -p */
    bool dump_wrong; /* the key of the next value is */
    size_t key_len;
    uint8_t key[IMPORT_LINE_BYTES_MAX];
    uint8_t texts[4][GREYLIST_ADDRESS_BYTES_MAX];
};

/* Before the first line of a file. Settings and secret are borrowed until the last one. */
void import_begin(struct importer *importer, enum import_format format, const struct greylist_settings *settings,
                  const uint8_t *secret, int64_t now_ms);

/* A line: IMPORT_ENTRY with *entry set, which lives until the next line; IMPORT_WRONG with *wrong set, static words. */
enum import_status import_line(struct importer *importer, struct span line, struct import_entry *entry,
                               const char **wrong);

/* After the last line: NULL, or what is missing; static. */
const char *import_end(const struct importer *importer);

/*
 * The record of an attempt that is known already, and the same imported, as one: it was first seen when the first was,
 * and has passed if one has. Of rulings the imported one holds.
 */
struct greylist_record import_merge(enum greylist_kind kind, const struct greylist_record *known,
                                    const struct greylist_record *imported);

#endif
