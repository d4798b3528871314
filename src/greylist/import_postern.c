/*
 * Lines of `postern greylist export`, objects as greylist/export makes them. What a record is about is kept by its key
 * in the same store; another store needs it in clear.
 */
#include <stdio.h>

#include "base/hex.h"
#include "greylist/export.h"
#include "greylist/import_part.h"

static bool read_key(const char *text, struct store_key *key)
{
    return text && hex_read(span_of(text), key->octets, sizeof key->octets);
}

static bool read_kind(const char *name, enum greylist_kind *kind)
{
    for (int i = 0; name && i < GREYLIST_KINDS; i++)
        if (strcmp(name, greylist_kind_name((enum greylist_kind)i)) == 0) {
            *kind = (enum greylist_kind)i;
            return true;
        }
    return false;
}

/* ---- numbers ---- */

struct member {
    const json_t *object;
    bool wrong; /* one of them was missing, or out of its range */
};

static int64_t number(struct member *member, const char *name, int64_t most)
{
    const json_t *value = json_object_get(member->object, name);
    json_int_t number = json_integer_value(value);
    bool good = json_is_integer(value) && number >= 0 && number <= most;
    member->wrong = member->wrong || !good;
    return good ? number : 0;
}

static bool read_record(const json_t *object, int64_t now_ms, struct greylist_record *record)
{
    enum { DAY_MS = 86400000 };
    const int64_t time_max = (INT64_C(1) << 48) - 1;
    struct member member = {.object = object};
    uint8_t value[GREYLIST_VALUE_BYTES];
    *record = (struct greylist_record){
        .first_ms = number(&member, "first_ms", now_ms + DAY_MS),
        .last_ms = number(&member, "last_ms", now_ms + DAY_MS),
        .waited_until_ms = number(&member, "waited_until_ms", time_max),
        .attempts = (uint32_t)number(&member, "attempts", UINT32_MAX),
        .waited_ms = (uint32_t)number(&member, "waited_ms", UINT32_MAX),
        .pace_min_s = (uint16_t)number(&member, "pace_min_s", UINT16_MAX),
        .pace_max_s = (uint16_t)number(&member, "pace_max_s", UINT16_MAX),
        .passes = (uint16_t)number(&member, "passes", UINT16_MAX),
        .patient = (uint8_t)number(&member, "patient", UINT8_MAX),
        .beside = (uint8_t)number(&member, "beside", UINT8_MAX),
        .hung_up = (uint8_t)number(&member, "hung_up", 1),
        .excused = (uint8_t)number(&member, "excused", UINT8_MAX),
    };
    greylist_encode(record, value);
    return !member.wrong && greylist_decode((struct span){value, sizeof value}, record);
}

/* ---- texts ---- */

/* What report/text escaped, as it was; at most GREYLIST_ADDRESS_BYTES_MAX octets. */
static bool read_text(const json_t *value, uint8_t room[GREYLIST_ADDRESS_BYTES_MAX], struct span *text)
{
    const char *at = json_string_value(value);
    *text = (struct span){room, 0};
    if (!value)
        return true;
    for (; at && *at; text->len++) {
        if (text->len == GREYLIST_ADDRESS_BYTES_MAX)
            return false;
        if (*at != '\\') {
            room[text->len] = (uint8_t)*at++;
            continue;
        }
        int high = at[1] == 'x' ? hex_digit((uint8_t)at[2]) : -1;
        int low = high >= 0 ? hex_digit((uint8_t)at[3]) : -1;
        if (low < 0)
            return false;
        room[text->len] = (uint8_t)(high << 4 | low);
        at += 4;
    }
    return at != NULL;
}

static bool read_about(struct importer *importer, const json_t *object, enum greylist_kind kind,
                       struct greylist_attempt *attempt)
{
    struct keep_about about = {.network = span_of("")};
    const char *network = json_string_value(json_object_get(object, "network"));
    if (network)
        about.network = span_of(network);
    bool good = read_text(json_object_get(object, "helo"), importer->texts[0], &about.helo) &&
                read_text(json_object_get(object, "sender"), importer->texts[1], &about.sender) &&
                read_text(json_object_get(object, "recipient"), importer->texts[2], &about.recipient) &&
                read_text(json_object_get(object, "comment"), importer->texts[3], &about.comment) &&
                keep_read_attempt(importer->settings, kind, &about, attempt);
    return good;
}

/* ---- lines ---- */

static enum import_status take_object(struct importer *importer, const json_t *object, struct import_entry *entry,
                                      const char **wrong)
{
    char ours[EXPORT_STORE_BYTES];
    enum greylist_kind kind;
    const char *store = json_string_value(json_object_get(object, "store"));
    const json_t *about = json_object_get(object, "about");
    if (!read_kind(json_string_value(json_object_get(object, "kind")), &kind))
        return import_wrong(wrong, "no \"kind\" that this version knows");
    if (!read_record(object, importer->now_ms, &entry->record))
        return import_wrong(wrong, "a number that is missing, or cannot be");
    entry->kinds = 1u << kind;
    if (about)
        return read_about(importer, about, kind, &entry->attempt)
                   ? IMPORT_ENTRY
                   : import_wrong(wrong, "\"about\" does not fit the kind, or the width of networks in the settings");
    export_store_name(importer->secret, ours);
    if (!store || strcmp(store, ours) != 0)
        return import_wrong(wrong, "it comes from another store, and does not say in clear whom it is about");
    entry->keyed = true;
    return read_key(json_string_value(json_object_get(object, "key")), &entry->key)
               ? IMPORT_ENTRY
               : import_wrong(wrong, "a \"key\" that is none");
}

enum import_status import_postern_line(struct importer *importer, struct span line, struct import_entry *entry,
                                       const char **wrong)
{
    json_error_t error;
    json_t *object = json_loadb((const char *)line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    enum import_status status =
        json_is_object(object) ? take_object(importer, object, entry, wrong) : import_wrong(wrong, "no object of JSON");
    json_decref(object);
    return status;
}
