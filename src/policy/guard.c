#include "policy/guard.h"

#include "base/octets.h"

struct guard_settings guard_settings_default(void)
{
    return (struct guard_settings){.delay_ms = 110 * 1000, .attempts = 4, .retry_gap_s = 5 * 60};
}

enum { ADDRESS_BYTES_MAX = 320 };

/* One part behind the others, in upper case, with its length before it. */
static size_t add_address(uint8_t *text, size_t used, struct span address)
{
    address = span_head(address, ADDRESS_BYTES_MAX);
    text[used++] = (uint8_t)(address.len >> 8);
    text[used++] = (uint8_t)address.len;
    for (size_t i = 0; i < address.len; i++)
        text[used++] = ascii_upper(address.ptr[i]);
    return used;
}

void guard_key(const struct guard *guard, const struct guard_mail *mail, uint8_t key[SIPHASH_BYTES])
{
    /* Keys of the greylist begin with another kind: they have the same secret where a store is shared. */
    uint8_t text[2 + 16 + sizeof mail->size + 2 * (2 + ADDRESS_BYTES_MAX)] = {GUARD_KIND, mail->ip_version};
    size_t used = 2;
    memcpy(text + used, mail->server, mail->ip_version == 4 ? 4 : 16);
    used += 16;
    store_be64(text + used, mail->size);
    used = add_address(text, used + sizeof mail->size, mail->sender);
    used = add_address(text, used, mail->recipient);
    siphash128(guard->secret, (struct span){text, used}, key);
}

static uint32_t set_of(const uint8_t key[SIPHASH_BYTES])
{
    return (uint32_t)(key[0] | key[1] << 8) % GUARD_SETS;
}

static bool is_over(const struct guard_series *series, const struct guard_settings *settings, int64_t now_ms)
{
    return series->attempts == 0 || now_ms - series->left_ms > (int64_t)settings->retry_gap_s * 1000;
}

/* The message that is tried again now: of several the one that was refused first. NULL where none is. */
static struct guard_series *find(struct guard_series *set, const struct guard_settings *settings,
                                 const uint8_t key[SIPHASH_BYTES], int64_t now_ms)
{
    struct guard_series *found = NULL;
    for (int i = 0; i < GUARD_WAYS; i++) {
        bool candidate = !is_over(&set[i], settings, now_ms) && set[i].again_ms <= now_ms &&
                         memcmp(set[i].key, key, SIPHASH_BYTES) == 0;
        if (candidate && (!found || set[i].left_ms < found->left_ms))
            found = &set[i];
    }
    return found;
}

static struct guard_series *add(struct guard_series *set, const struct guard_settings *settings,
                                const uint8_t key[SIPHASH_BYTES], int64_t now_ms)
{
    struct guard_series *place = &set[0];
    for (int i = 1; i < GUARD_WAYS && !is_over(place, settings, now_ms); i++)
        if (is_over(&set[i], settings, now_ms) || set[i].left_ms < place->left_ms)
            place = &set[i];
    *place = (struct guard_series){0};
    memcpy(place->key, key, SIPHASH_BYTES);
    return place;
}

uint32_t guard_refused(struct guard *guard, const struct guard_settings *settings, const struct guard_mail *mail,
                       int64_t now_ms, uint32_t delay_ms)
{
    uint8_t key[SIPHASH_BYTES];
    guard_key(guard, mail, key);
    struct guard_series *set = guard->series[set_of(key)];
    struct guard_series *series = find(set, settings, key, now_ms);
    if (!series)
        series = add(set, settings, key, now_ms);
    series->again_ms = now_ms + delay_ms / 2;
    series->left_ms = now_ms + delay_ms;
    return ++series->attempts;
}

uint32_t guard_taken(struct guard *guard, const struct guard_settings *settings, const struct guard_mail *mail,
                     int64_t now_ms)
{
    uint8_t key[SIPHASH_BYTES];
    guard_key(guard, mail, key);
    struct guard_series *series = find(guard->series[set_of(key)], settings, key, now_ms);
    uint32_t attempts = series ? series->attempts : 0;
    if (series)
        series->attempts = 0;
    return attempts;
}

/* ---- counted by several gateways ---- */

enum { VERSION = 1, AT_LEFT = 0, AT_AGAIN = 8, AT_ATTEMPTS = 12, KEPT_BYTES = 13 };
static_assert(GUARD_VALUE_BYTES == 1 + GUARD_KEPT_MAX * KEPT_BYTES, "a value is a version and messages");

/* Of those with this key that were not seen the one that was refused last; NULL where there is none. */
static const struct guard_series *next_saved(const struct guard_series *set, const struct guard_settings *settings,
                                             const uint8_t key[SIPHASH_BYTES], int64_t now_ms, uint32_t *seen)
{
    int found = -1;
    for (int i = 0; i < GUARD_WAYS; i++) {
        bool candidate =
            !(*seen >> i & 1) && !is_over(&set[i], settings, now_ms) && memcmp(set[i].key, key, SIPHASH_BYTES) == 0;
        if (candidate && (found < 0 || set[i].left_ms > set[found].left_ms))
            found = i;
    }
    if (found < 0)
        return NULL;
    *seen |= 1u << found;
    return &set[found];
}

void guard_save(const struct guard *guard, const struct guard_settings *settings, const uint8_t key[SIPHASH_BYTES],
                int64_t now_ms, int64_t lag_ms, uint8_t value[GUARD_VALUE_BYTES])
{
    const struct guard_series *set = guard->series[set_of(key)], *series;
    uint32_t seen = 0;
    memset(value, 0, GUARD_VALUE_BYTES);
    *value++ = VERSION;
    for (int i = 0; i < GUARD_KEPT_MAX && (series = next_saved(set, settings, key, now_ms, &seen)); i++) {
        store_be64(value + AT_LEFT, (uint64_t)(series->left_ms - lag_ms));
        store_be32(value + AT_AGAIN, (uint32_t)(series->left_ms - series->again_ms));
        value[AT_ATTEMPTS] = series->attempts < UINT8_MAX ? (uint8_t)series->attempts : UINT8_MAX;
        value += KEPT_BYTES;
    }
}

bool guard_load(struct guard *guard, const struct guard_settings *settings, const uint8_t key[SIPHASH_BYTES],
                int64_t now_ms, int64_t lag_ms, struct span value)
{
    struct guard_series *set = guard->series[set_of(key)];
    if (value.len != GUARD_VALUE_BYTES || value.ptr[0] != VERSION)
        return false;
    for (int i = 0; i < GUARD_WAYS; i++)
        if (memcmp(set[i].key, key, SIPHASH_BYTES) == 0)
            set[i].attempts = 0;
    for (const uint8_t *at = value.ptr + 1; at < value.ptr + value.len; at += KEPT_BYTES) {
        if (at[AT_ATTEMPTS] == 0)
            continue;
        struct guard_series *series = add(set, settings, key, now_ms);
        series->left_ms = (int64_t)load_be64(at + AT_LEFT) + lag_ms;
        series->again_ms = series->left_ms - load_be32(at + AT_AGAIN);
        series->attempts = at[AT_ATTEMPTS];
    }
    return true;
}
