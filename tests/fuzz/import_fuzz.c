/*
 * Dumps of other greylists: the first octet chooses the format and the settings, the rest are lines. What is taken says
 * no more than it was given, is a record that a store takes, and comes back as it was from an export.
 */
#include "fuzz.h"

#include <jansson.h>

#include "greylist/export.h"
#include "greylist/import.h"

static const uint8_t secret[GREYLIST_SECRET_BYTES] = "of the fuzzer...";
enum { NOW_S = 1200000000 };

static struct keeper keeper_of(const struct greylist_settings *settings)
{
    return (struct keeper){.settings = settings, .secret = secret};
}

static void check_again(const struct keeper *keeper, enum greylist_kind kind, const struct import_entry *entry,
                        json_t *object)
{
    static struct importer reader;
    struct import_entry again;
    const char *wrong = NULL;
    char *text = json_dumps(object, JSON_COMPACT);
    MUST(text != NULL);
    import_begin(&reader, IMPORT_POSTERN, keeper->settings, secret, (int64_t)NOW_S * 1000);
    MUST(import_line(&reader, span_of(text), &again, &wrong) == IMPORT_ENTRY);
    struct store_key key = keep_key(keeper, kind, &entry->attempt), key_again = keep_key(keeper, kind, &again.attempt);
    MUST(again.kinds == 1u << kind);
    MUST(again.keyed || memcmp(&key, &key_again, sizeof key) == 0);
    MUST(!again.keyed || !entry->attempt.recipient.len);
    uint8_t value[GREYLIST_VALUE_BYTES], value_again[GREYLIST_VALUE_BYTES];
    greylist_encode(&entry->record, value);
    greylist_encode(&again.record, value_again);
    MUST(memcmp(value, value_again, sizeof value) == 0);
    free(text);
}

static void check_kind(const struct keeper *keeper, enum greylist_kind kind, const struct import_entry *entry)
{
    char store[EXPORT_STORE_BYTES], room[STORE_TEXT_BYTES_MAX];
    struct greylist_record back;
    struct store_record kept = keep_record(keeper, kind, &entry->record);
    struct store_key key = entry->keyed ? entry->key : keep_key(keeper, kind, &entry->attempt);
    struct span text = {0};
    MUST(keep_read_record(keeper, &kept, &back));
    if (!entry->keyed)
        text = keep_text(keeper->settings, kind, &entry->attempt, room);
    export_store_name(secret, store);
    json_t *object = export_record(store, &key, kind, &entry->record, kept.expires_s, text);
    check_again(keeper, kind, entry, object);
    json_decref(object);
}

static void check_entry(const struct keeper *keeper, const struct import_entry *entry)
{
    MUST(entry->kinds != 0 && entry->kinds < 1u << GREYLIST_KINDS);
    const struct span texts[] = {entry->attempt.helo, entry->attempt.sender, entry->attempt.recipient};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        MUST(texts[i].len <= GREYLIST_ADDRESS_BYTES_MAX);
        look_at(texts[i].ptr, texts[i].len);
    }
    for (int kind = 0; kind < GREYLIST_KINDS; kind++)
        if (entry->kinds >> kind & 1)
            check_kind(keeper, (enum greylist_kind)kind, entry);
}

static void check_line(struct importer *reader, const struct keeper *keeper, struct span line)
{
    struct import_entry entry;
    const char *wrong = NULL;
    uint8_t *copy = exact_copy(line);
    switch (import_line(reader, (struct span){copy, line.len}, &entry, &wrong)) {
    case IMPORT_NOTHING:
        MUST(wrong == NULL);
        break;
    case IMPORT_WRONG:
        MUST(wrong != NULL && wrong[0] != '\0' && strchr(wrong, '\n') == NULL);
        break;
    case IMPORT_ENTRY:
        MUST(wrong == NULL);
        check_entry(keeper, &entry);
        break;
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct importer reader;
    struct greylist_settings settings = greylist_settings_default();
    if (size == 0)
        return 0;
    settings.pools = data[0] & 4;
    settings.prefix_v4 = data[0] & 8 ? 32 : 24;
    struct keeper keeper = keeper_of(&settings);
    import_begin(&reader, (enum import_format)((data[0] & 3) % IMPORT_FORMATS), &settings, secret,
                 (int64_t)NOW_S * 1000);
    for (struct span rest = {data + 1, size - 1}; rest.len;) {
        const uint8_t *end = memchr(rest.ptr, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
        check_line(&reader, &keeper, span_head(rest, len));
        rest = span_tail(rest, len + 1);
    }
    const char *missing = import_end(&reader);
    MUST((missing == NULL) == (reader.dump == DUMP_NONE));
    return 0;
}
