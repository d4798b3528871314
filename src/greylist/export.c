#include "greylist/export.h"

#include "base/hex.h"
#include "base/siphash.h"
#include "report/json.h"

void export_store_name(const uint8_t secret[GREYLIST_SECRET_BYTES], char name[EXPORT_STORE_BYTES])
{
    uint8_t hash[GREYLIST_KEY_BYTES];
    siphash128(secret, span_of("the name of this store"), hash);
    hex_write(hash, sizeof hash, name);
    name[EXPORT_STORE_BYTES - 1] = '\0';
}

static json_t *about(enum greylist_kind kind, struct span text)
{
    struct keep_about parts = keep_read_text(kind, text);
    bool of_mail = kind == GREYLIST_TRIPLET || kind == GREYLIST_POOL;
    json_t *object = json_object();
    if (parts.network.len)
        json_object_set_new(object, "network", json_text(parts.network));
    if (parts.helo.len)
        json_object_set_new(object, "helo", json_text(parts.helo));
    if (parts.sender.len || of_mail)
        json_object_set_new(object, "sender", json_text(parts.sender));
    if (parts.recipient.len)
        json_object_set_new(object, "recipient", json_text(parts.recipient));
    return object;
}

json_t *export_record(const char *store, const struct store_key *key, enum greylist_kind kind,
                      const struct greylist_record *record, int64_t expires_s, struct span text)
{
    char hex[2 * STORE_KEY_BYTES];
    json_t *object = json_object();
    hex_write(key->octets, sizeof key->octets, hex);
    json_object_set_new(object, "kind", json_string(greylist_kind_name(kind)));
    json_object_set_new(object, "store", json_string(store));
    json_object_set_new(object, "key", json_stringn(hex, sizeof hex));
    if (text.len)
        json_object_set_new(object, "about", about(kind, text));
    json_object_set_new(object, "first_ms", json_integer(record->first_ms));
    json_object_set_new(object, "last_ms", json_integer(record->last_ms));
    json_object_set_new(object, "waited_until_ms", json_integer(record->waited_until_ms));
    json_object_set_new(object, "attempts", json_integer(record->attempts));
    json_object_set_new(object, "waited_ms", json_integer(record->waited_ms));
    json_object_set_new(object, "pace_min_s", json_integer(record->pace_min_s));
    json_object_set_new(object, "pace_max_s", json_integer(record->pace_max_s));
    json_object_set_new(object, "passes", json_integer(record->passes));
    json_object_set_new(object, "patient", json_integer(record->patient));
    json_object_set_new(object, "beside", json_integer(record->beside));
    json_object_set_new(object, "hung_up", json_integer(record->hung_up));
    json_object_set_new(object, "excused", json_integer(record->excused));
    json_object_set_new(object, "expires_s", json_integer(expires_s));
    return object;
}
