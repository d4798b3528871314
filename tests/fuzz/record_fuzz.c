/*
 * A stored record, as a disk or a server gives it: sixteen octets of key, then the record. What is taken for good is
 * what an encoder makes of it again; what an encoder makes is taken for good, and not under another key.
 */
#include "fuzz.h"

#include "base/octets.h"
#include "store/record.h"

static void check_round(const struct store_key *key, const struct store_record *record, struct span text)
{
    uint8_t stored[RECORD_BYTES_MAX];
    struct store_record again;
    struct span text_again;
    struct store_key other = *key;
    size_t len = record_encode(stored, key, record, text);
    MUST(len <= sizeof stored);
    uint8_t *copy = exact_copy((struct span){stored, len});
    MUST(record_decode(key, (struct span){copy, len}, &again, &text_again) == RECORD_GOOD);
    MUST(again.kind == record->kind && again.len == record->len && again.expires_s == record->expires_s);
    MUST(memcmp(again.value, record->value, record->len) == 0 && span_equal(text, text_again));
    MUST(inside((struct span){copy, len}, text_again));
    other.octets[len % STORE_KEY_BYTES] ^= 1;
    MUST(record_decode(&other, (struct span){copy, len}, &again, &text_again) == RECORD_DAMAGED);
    copy[record->kind % len] ^= 0x10;
    MUST(record_decode(key, (struct span){copy, len}, &again, &text_again) == RECORD_DAMAGED);
    free(copy);
}

/* Octets of which only the check is mended, so that what comes behind it is reached. */
static void check_mended(const struct store_key *key, uint8_t *stored, size_t len)
{
    struct store_record record = {0};
    struct span text = {0};
    if (len < 5)
        return;
    store_be32(stored + 1, record_check(key, (struct span){stored, len}));
    enum record_status status = record_decode(key, (struct span){stored, len}, &record, &text);
    MUST(status != RECORD_GOOD || (record.len <= STORE_VALUE_BYTES && inside((struct span){stored, len}, text)));
    MUST(!(stored[0] & 0x80) || status != RECORD_GOOD);
    if (status == RECORD_GOOD) {
        look_at(text.ptr, text.len);
        check_round(key, &record, text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_key key;
    struct store_record record = {0};
    struct span text;
    if (size < sizeof key + 1)
        return 0;
    memcpy(key.octets, data, sizeof key.octets);
    struct span rest = {data + sizeof key, size - sizeof key};
    uint8_t *stored = exact_copy(rest);
    if (record_decode(&key, (struct span){stored, rest.len}, &record, &text) == RECORD_GOOD)
        check_round(&key, &record, text);
    check_mended(&key, stored, rest.len);
    free(stored);
    record = (struct store_record){.kind = rest.ptr[0], .len = rest.ptr[rest.len / 2] % (STORE_VALUE_BYTES + 1)};
    record.expires_s = rest.ptr[rest.len - 1];
    memcpy(record.value, rest.ptr, rest.len < record.len ? rest.len : record.len);
    check_round(&key, &record, span_head(rest, STORE_TEXT_BYTES_MAX));
    return 0;
}
