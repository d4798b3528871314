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
    bool of_mail = kind == GREYLIST_TRIPLET || kind == GREYLIST_POOL || kind == GREYLIST_RULED_MAIL;
    struct json_members members = {json_object(), false};
    if (parts.network.len)
        json_add(&members, "network", json_text(parts.network));
    if (parts.helo.len)
        json_add(&members, "helo", json_text(parts.helo));
    if (parts.sender.len || of_mail)
        json_add(&members, "sender", json_text(parts.sender));
    if (parts.recipient.len)
        json_add(&members, "recipient", json_text(parts.recipient));
    if (parts.comment.len)
        json_add(&members, "comment", json_text(parts.comment));
    return json_whole(&members);
}

json_t *export_record(const char *store, const struct store_key *key, enum greylist_kind kind,
                      const struct greylist_record *record, int64_t expires_s, struct span text)
{
    char hex[2 * STORE_KEY_BYTES];
    struct json_members members = {json_object(), false};
    hex_write(key->octets, sizeof key->octets, hex);
    json_add(&members, "kind", json_string(greylist_kind_name(kind)));
    json_add(&members, "store", json_string(store));
    json_add(&members, "key", json_stringn(hex, sizeof hex));
    if (text.len)
        json_add(&members, "about", about(kind, text));
    json_add_number(&members, "first_ms", record->first_ms);
    json_add_number(&members, "last_ms", record->last_ms);
    json_add_number(&members, "waited_until_ms", record->waited_until_ms);
    json_add_number(&members, "attempts", record->attempts);
    json_add_number(&members, "waited_ms", record->waited_ms);
    json_add_number(&members, "pace_min_s", record->pace_min_s);
    json_add_number(&members, "pace_max_s", record->pace_max_s);
    json_add_number(&members, "passes", record->passes);
    json_add_number(&members, "patient", record->patient);
    json_add_number(&members, "beside", record->beside);
    json_add_number(&members, "hung_up", record->hung_up);
    json_add_number(&members, "excused", record->excused);
    json_add_number(&members, "expires_s", expires_s);
    return json_whole(&members);
}
