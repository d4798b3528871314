#include "store/record.h"

#include <pthread.h>

#include "base/octets.h"

enum { AT_FORM, AT_CHECK, AT_EXPIRES = AT_CHECK + 4, AT_REST = AT_EXPIRES + 4 };

/* The first octet: bits, and the kind where it is small. */
enum {
    FORM_NEWER = 0x80,  /* of a format to come */
    FORM_PACKED = 0x40, /* of the value, a bit for each octet, the highest first, then those octets that are not zero */
    FORM_SHORT = 0x20,  /* the value's length follows; else it is STORE_VALUE_BYTES */
    FORM_KIND = 0x1f,   /* this one: it follows */
};

/* ---- CRC-32 (ISO 3309) ---- */

static uint32_t steps[256];
static pthread_once_t steps_made = PTHREAD_ONCE_INIT;

static void make_steps(void)
{
    for (uint32_t octet = 0; octet < 256; octet++) {
        steps[octet] = octet;
        for (int bit = 0; bit < 8; bit++)
            steps[octet] = steps[octet] >> 1 ^ (steps[octet] & 1 ? 0xedb88320 : 0);
    }
}

static uint32_t check_on(uint32_t check, const uint8_t *octets, size_t len)
{
    for (; len > 0; len--, octets++)
        check = check >> 8 ^ steps[(check ^ *octets) & 0xff];
    return check;
}

uint32_t record_check(const struct store_key *key, struct span stored)
{
    pthread_once(&steps_made, make_steps);
    uint32_t check = check_on(UINT32_MAX, key->octets, sizeof key->octets);
    check = check_on(check, stored.ptr + AT_FORM, 1);
    return ~check_on(check, stored.ptr + AT_EXPIRES, stored.len - AT_EXPIRES);
}

uint32_t record_seconds(int64_t seconds)
{
    return seconds < 0 ? 0 : seconds > STORE_FOR_EVER ? STORE_FOR_EVER : (uint32_t)seconds;
}

/* ---- zeros ---- */

static size_t bits_bytes(size_t len)
{
    return (len + 7) / 8;
}

static size_t packed_len(const struct store_record *record)
{
    size_t len = bits_bytes(record->len);
    for (size_t i = 0; i < record->len; i++)
        len += record->value[i] != 0;
    return len;
}

static void pack(const struct store_record *record, uint8_t *out)
{
    uint8_t *octets = out + bits_bytes(record->len);
    memset(out, 0, bits_bytes(record->len));
    for (size_t i = 0; i < record->len; i++)
        if (record->value[i]) {
            out[i / 8] |= (uint8_t)(0x80 >> (i % 8));
            *octets++ = record->value[i];
        }
}

/* How many octets of `stored` the value took; more than there are where it is none. */
static size_t unpack(struct span stored, struct store_record *record)
{
    size_t used = bits_bytes(record->len);
    if (used > stored.len)
        return used;
    for (size_t i = 0; i < record->len; i++)
        if (stored.ptr[i / 8] & 0x80 >> (i % 8)) {
            if (used < stored.len)
                record->value[i] = stored.ptr[used];
            used++;
        }
    return used;
}

/* ---- records ---- */

size_t record_encode(uint8_t out[RECORD_BYTES_MAX], const struct store_key *key, const struct store_record *record,
                     struct span text)
{
    assert(record->len <= STORE_VALUE_BYTES);
    text = span_head(text, STORE_TEXT_BYTES_MAX);
    size_t value_len = packed_len(record);
    bool packed = value_len < record->len, is_short = record->len != STORE_VALUE_BYTES;
    uint8_t *at = out + AT_REST;
    out[AT_FORM] = (uint8_t)((packed ? FORM_PACKED : 0) | (is_short ? FORM_SHORT : 0) |
                             (record->kind < FORM_KIND ? record->kind : FORM_KIND));
    store_be32(out + AT_EXPIRES, record_seconds(record->expires_s));
    if (is_short)
        *at++ = record->len;
    if (record->kind >= FORM_KIND)
        *at++ = record->kind;
    if (packed) {
        pack(record, at);
    } else {
        value_len = record->len;
        memcpy(at, record->value, value_len);
    }
    at += value_len;
    if (text.len)
        memcpy(at, text.ptr, text.len);
    size_t len = (size_t)(at - out) + text.len;
    store_be32(out + AT_CHECK, record_check(key, (struct span){out, len}));
    return len;
}

/* The next octet, 0 where there is none. */
static uint8_t next_octet(struct span *rest, bool *missing)
{
    uint8_t octet = rest->len ? rest->ptr[0] : 0;
    *missing = *missing || rest->len == 0;
    *rest = span_tail(*rest, 1);
    return octet;
}

static bool decode_value(struct span rest, uint8_t form, struct store_record *record, struct span *text)
{
    bool missing = false;
    record->len = form & FORM_SHORT ? next_octet(&rest, &missing) : STORE_VALUE_BYTES;
    record->kind = (form & FORM_KIND) == FORM_KIND ? next_octet(&rest, &missing) : form & FORM_KIND;
    if (missing || record->len > STORE_VALUE_BYTES)
        return false;
    size_t used = form & FORM_PACKED ? unpack(rest, record) : record->len;
    if (used > rest.len)
        return false;
    if (!(form & FORM_PACKED) && used)
        memcpy(record->value, rest.ptr, used);
    *text = span_tail(rest, used);
    return text->len <= STORE_TEXT_BYTES_MAX;
}

enum record_status record_decode(const struct store_key *key, struct span stored, struct store_record *record,
                                 struct span *text)
{
    if (stored.len < AT_REST || stored.len > RECORD_BYTES_MAX)
        return RECORD_DAMAGED;
    if (load_be32(stored.ptr + AT_CHECK) != record_check(key, stored))
        return RECORD_DAMAGED;
    if (stored.ptr[AT_FORM] & FORM_NEWER)
        return RECORD_NEWER;
    struct store_record read = {.expires_s = load_be32(stored.ptr + AT_EXPIRES)};
    if (!decode_value(span_tail(stored, AT_REST), stored.ptr[AT_FORM], &read, text))
        return RECORD_DAMAGED;
    *record = read;
    return RECORD_GOOD;
}
