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

struct members {
    json_t *object;
    bool missing; /* one found no memory */
};

static void add(struct members *members, const char *name, json_t *value)
{
    if (json_object_set_new(members->object, name, value) != 0)
        members->missing = true;
}

static void add_number(struct members *members, const char *name, int64_t number)
{
    add(members, name, json_integer(number));
}

/* NULL where a member is missing. */
static json_t *whole(const struct members *members)
{
    if (!members->missing)
        return members->object;
    json_decref(members->object);
    return NULL;
}

static json_t *about(enum greylist_kind kind, struct span text)
{
    struct keep_about parts = keep_read_text(kind, text);
    bool of_mail = kind == GREYLIST_TRIPLET || kind == GREYLIST_POOL;
    struct members members = {.object = json_object()};
    if (parts.network.len)
        add(&members, "network", json_text(parts.network));
    if (parts.helo.len)
        add(&members, "helo", json_text(parts.helo));
    if (parts.sender.len || of_mail)
        add(&members, "sender", json_text(parts.sender));
    if (parts.recipient.len)
        add(&members, "recipient", json_text(parts.recipient));
    return whole(&members);
}

json_t *export_record(const char *store, const struct store_key *key, enum greylist_kind kind,
                      const struct greylist_record *record, int64_t expires_s, struct span text)
{
    char hex[2 * STORE_KEY_BYTES];
    struct members members = {.object = json_object()};
    hex_write(key->octets, sizeof key->octets, hex);
    add(&members, "kind", json_string(greylist_kind_name(kind)));
    add(&members, "store", json_string(store));
    add(&members, "key", json_stringn(hex, sizeof hex));
    if (text.len)
        add(&members, "about", about(kind, text));
    add_number(&members, "first_ms", record->first_ms);
    add_number(&members, "last_ms", record->last_ms);
    add_number(&members, "waited_until_ms", record->waited_until_ms);
    add_number(&members, "attempts", record->attempts);
    add_number(&members, "waited_ms", record->waited_ms);
    add_number(&members, "pace_min_s", record->pace_min_s);
    add_number(&members, "pace_max_s", record->pace_max_s);
    add_number(&members, "passes", record->passes);
    add_number(&members, "patient", record->patient);
    add_number(&members, "beside", record->beside);
    add_number(&members, "hung_up", record->hung_up);
    add_number(&members, "excused", record->excused);
    add_number(&members, "expires_s", expires_s);
    return whole(&members);
}
