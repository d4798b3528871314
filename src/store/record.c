#include "store/record.h"

#include "base/octets.h"

enum { AT_LEN, AT_KIND, AT_EXPIRES, AT_CHECK = 6 };

enum { LEN_BITS = 6, LEN_MASK = (1 << LEN_BITS) - 1 };

static_assert(STORE_VALUE_BYTES <= LEN_MASK, "the length stands beside the format in one octet");

/* CRC-32 (ISO 3309), four bits at a time. */
static uint32_t check_on(uint32_t check, const uint8_t *octets, size_t len)
{
    static const uint32_t steps[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
                                       0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
                                       0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};
    for (size_t i = 0; i < len; i++) {
        check ^= octets[i];
        check = check >> 4 ^ steps[check & 15];
        check = check >> 4 ^ steps[check & 15];
    }
    return check;
}

/* Of the key and all of a stored record but the check itself. */
static uint32_t check_of(const struct store_key *key, struct span stored)
{
    uint32_t check = check_on(UINT32_MAX, key->octets, sizeof key->octets);
    check = check_on(check, stored.ptr, AT_CHECK);
    return ~check_on(check, stored.ptr + RECORD_HEADER, stored.len - RECORD_HEADER);
}

static uint32_t clamp_seconds(int64_t seconds)
{
    return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

size_t record_encode(uint8_t out[RECORD_BYTES_MAX], const struct store_key *key, const struct store_record *record,
                     struct span text)
{
    assert(record->len <= STORE_VALUE_BYTES);
    text = span_head(text, STORE_TEXT_BYTES_MAX);
    size_t len = RECORD_HEADER + (size_t)record->len + text.len;
    out[AT_LEN] = (uint8_t)(RECORD_FORMAT << LEN_BITS | record->len);
    out[AT_KIND] = record->kind;
    store_be32(out + AT_EXPIRES, clamp_seconds(record->expires_s));
    memcpy(out + RECORD_HEADER, record->value, record->len);
    if (text.len)
        memcpy(out + RECORD_HEADER + record->len, text.ptr, text.len);
    store_be32(out + AT_CHECK, check_of(key, (struct span){out, len}));
    return len;
}

enum record_status record_decode(const struct store_key *key, struct span stored, struct store_record *record,
                                 struct span *text)
{
    if (stored.len < RECORD_HEADER || stored.len > RECORD_BYTES_MAX)
        return RECORD_DAMAGED;
    if (load_be32(stored.ptr + AT_CHECK) != check_of(key, stored))
        return RECORD_DAMAGED;
    if (stored.ptr[AT_LEN] >> LEN_BITS != RECORD_FORMAT)
        return stored.ptr[AT_LEN] >> LEN_BITS > RECORD_FORMAT ? RECORD_NEWER : RECORD_DAMAGED;
    uint8_t len = stored.ptr[AT_LEN] & LEN_MASK;
    if (len > STORE_VALUE_BYTES || stored.len < RECORD_HEADER + (size_t)len)
        return RECORD_DAMAGED;
    *record =
        (struct store_record){.kind = stored.ptr[AT_KIND], .len = len, .expires_s = load_be32(stored.ptr + AT_EXPIRES)};
    memcpy(record->value, stored.ptr + RECORD_HEADER, len);
    *text = span_tail(stored, RECORD_HEADER + (size_t)len);
    return RECORD_GOOD;
}
