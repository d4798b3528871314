/*
 * postgrey's databases: "network/sender/recipient" with "first,last" and, of clients that it knows, "address" with
 * "count,last". As db_dump writes them, a key and its value are a line each, behind a blank.
 */
#include "base/hex.h"
#include "greylist/import_part.h"

/* ---- db_dump ---- */

static bool take_hex(struct span *from, uint8_t *octet)
{
    int high = from->len > 1 ? hex_digit_any(from->ptr[0]) : -1;
    int low = from->len > 1 ? hex_digit_any(from->ptr[1]) : -1;
    if (high < 0 || low < 0)
        return false;
    *octet = (uint8_t)(high << 4 | low);
    *from = span_tail(*from, 2);
    return true;
}

/* A key or a value as db_dump writes it, into `to`, which has room for the line. False where it is none. */
static bool undump(const struct importer *importer, struct span from, uint8_t *to, size_t *len)
{
    if (from.len == 0 || from.ptr[0] != ' ')
        return false;
    from = span_tail(from, 1);
    for (*len = 0; from.len; ++*len) {
        bool escaped = !importer->dump_hex && from.ptr[0] == '\\';
        bool backslash = escaped && from.len > 1 && from.ptr[1] == '\\';
        if (!importer->dump_hex && (!escaped || backslash)) {
            to[*len] = from.ptr[0];
            from = span_tail(from, backslash ? 2 : 1);
            continue;
        }
        from = span_tail(from, escaped);
        if (!take_hex(&from, &to[*len]))
            return false;
    }
    return true;
}

static enum import_status head_line(struct importer *importer, struct span line, const char **wrong)
{
    if (span_equal(line, span_of("HEADER=END")))
        importer->dump = DUMP_KEY;
    else if (span_begins(line, "format="))
        importer->dump_hex = !span_equal(line, span_of("format=print"));
    else if (span_begins(line, "type=") && !span_equal(line, span_of("type=btree")) &&
             !span_equal(line, span_of("type=hash")))
        return import_wrong(wrong, "a database of another type; postgrey's are btree");
    return IMPORT_NOTHING;
}

/* ---- entries ---- */

static bool take_client(struct span text, struct greylist_attempt *attempt)
{
    uint8_t prefix;
    char whole[24];
    size_t dots = 0;
    for (size_t i = 0; i < text.len; i++)
        dots += text.ptr[i] == '.';
    if (dots != 2 || text.len + 2 > sizeof whole)
        return import_find(text, '/') == text.len &&
               keep_read_network(text, &attempt->ip_version, attempt->client, &prefix);
    memcpy(whole, text.ptr, text.len); /* older versions leave out the host */
    whole[text.len] = '.';
    whole[text.len + 1] = '0';
    return keep_read_network((struct span){(uint8_t *)whole, text.len + 2}, &attempt->ip_version, attempt->client,
                             &prefix);
}

/* A slash may be part of a local part; the sender ends at the first one behind its domain. */
static bool take_addresses(struct span text, struct greylist_attempt *attempt)
{
    size_t at = text.len && text.ptr[0] == '/' ? 0 : import_find(text, '@');
    size_t slash = at + import_find(span_tail(text, at), '/');
    if (slash >= text.len)
        slash = import_find(text, '/');
    attempt->sender = span_head(text, slash);
    attempt->recipient = span_tail(text, slash + 1);
    return slash < text.len && attempt->recipient.len && import_is_address(attempt->sender) &&
           import_is_address(attempt->recipient);
}

static bool is_hash(struct span key)
{
    for (size_t i = 0; i < key.len; i++)
        if (hex_digit_any(key.ptr[i]) < 0)
            return false;
    return key.len == 40;
}

static enum import_status take_triplet(const struct importer *importer, struct import_entry *entry, struct span first,
                                       struct span last, const char **wrong)
{
    struct greylist_record *record = &entry->record;
    if (!import_time(importer, first, &record->first_ms) || !import_time(importer, last, &record->last_ms) ||
        record->first_ms > record->last_ms)
        return import_wrong(wrong, "times that cannot be: write the first and the last attempt in seconds since 1970");
    entry->kinds = 1u << GREYLIST_TRIPLET;
    record->passes = record->last_ms - record->first_ms >= (int64_t)importer->settings->delay_s * 1000;
    record->attempts = record->last_ms > record->first_ms ? 2 : 1;
    return IMPORT_ENTRY;
}

static enum import_status take_known_client(const struct importer *importer, struct import_entry *entry,
                                            struct span count, struct span last, const char **wrong)
{
    int64_t passes;
    struct greylist_record *record = &entry->record;
    if (!import_number(count, &passes) || !import_time(importer, last, &record->last_ms))
        return import_wrong(wrong, "no count and time: write how often it passed, and when last in seconds since 1970");
    entry->kinds = 1u << GREYLIST_CLIENT;
    record->first_ms = record->waited_until_ms = record->last_ms;
    record->attempts = 1;
    record->passes = (uint16_t)(passes < UINT16_MAX ? passes : UINT16_MAX);
    return IMPORT_ENTRY;
}

static enum import_status take_entry(const struct importer *importer, struct span key, struct span value,
                                     struct import_entry *entry, const char **wrong)
{
    if (is_hash(key))
        return import_wrong(wrong, "a hash, as postgrey --privacy keeps them: it cannot be told whom it is about");
    size_t client = import_find(key, '/'), comma = import_find(value, ',');
    struct span second = span_tail(value, comma + 1);
    second = span_head(second, import_find(second, ',')); /* a third is the host's part of the address */
    if (!take_client(span_head(key, client), &entry->attempt))
        return import_wrong(wrong, "it begins with no address of a client");
    if (comma == value.len)
        return import_wrong(wrong, "its value has no comma between two numbers");
    if (client == key.len)
        return take_known_client(importer, entry, span_head(value, comma), second, wrong);
    if (!take_addresses(span_tail(key, client + 1), &entry->attempt))
        return import_wrong(wrong, "no sender and recipient behind the client: client/sender/recipient");
    return take_triplet(importer, entry, span_head(value, comma), second, wrong);
}

/* "key first last", or "key first,last". */
static enum import_status text_line(struct importer *importer, struct span line, struct import_entry *entry,
                                    const char **wrong)
{
    uint8_t value[64];
    size_t key = import_find(line, ' ');
    struct span rest = span_tail(line, key + 1);
    if (key == 0 || rest.len == 0 || rest.len > sizeof value)
        return import_wrong(wrong, "this is no line of postgrey: client/sender/recipient, first and last attempt");
    memcpy(value, rest.ptr, rest.len);
    size_t blank = import_find(rest, ' ');
    if (blank < rest.len)
        value[blank] = ',';
    return take_entry(importer, span_head(line, key), (struct span){value, rest.len}, entry, wrong);
}

static enum import_status value_line(struct importer *importer, struct span line, struct import_entry *entry,
                                     const char **wrong)
{
    uint8_t value[IMPORT_LINE_BYTES_MAX];
    size_t len;
    importer->dump = DUMP_KEY;
    if (importer->dump_wrong)
        return IMPORT_NOTHING;
    if (!undump(importer, line, value, &len))
        return import_wrong(wrong, "a value that db_dump does not write like this");
    return take_entry(importer, (struct span){importer->key, importer->key_len}, (struct span){value, len}, entry,
                      wrong);
}

enum import_status import_postgrey_line(struct importer *importer, struct span line, struct import_entry *entry,
                                        const char **wrong)
{
    if (span_begins(line, "VERSION=")) {
        importer->dump = DUMP_HEAD;
        importer->dump_hex = true;
        return IMPORT_NOTHING;
    }
    switch (importer->dump) {
    case DUMP_NONE:
        return text_line(importer, line, entry, wrong);
    case DUMP_HEAD:
        return head_line(importer, line, wrong);
    case DUMP_KEY:
        if (span_equal(line, span_of("DATA=END"))) {
            importer->dump = DUMP_NONE;
            return IMPORT_NOTHING;
        }
        importer->dump = DUMP_VALUE;
        importer->dump_wrong = !undump(importer, line, importer->key, &importer->key_len);
        return importer->dump_wrong ? import_wrong(wrong, "a key that db_dump does not write like this")
                                    : IMPORT_NOTHING;
    case DUMP_VALUE:
        return value_line(importer, line, entry, wrong);
    }
    return IMPORT_NOTHING;
}
