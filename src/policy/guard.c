#include "policy/guard.h"

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

static void make_key(const struct guard *guard, const struct guard_mail *mail, uint8_t key[SIPHASH_BYTES])
{
    uint8_t text[1 + 16 + sizeof mail->size + 2 * (2 + ADDRESS_BYTES_MAX)] = {mail->ip_version};
    size_t used = 1;
    memcpy(text + used, mail->server, mail->ip_version == 4 ? 4 : 16);
    used += 16;
    memcpy(text + used, &mail->size, sizeof mail->size);
    used = add_address(text, used + sizeof mail->size, mail->sender);
    used = add_address(text, used, mail->recipient);
    siphash128(guard->secret, (struct span){text, used}, key);
}

static struct guard_series *set_of(struct guard *guard, const uint8_t key[SIPHASH_BYTES])
{
    return guard->series[(key[0] | key[1] << 8) % GUARD_SETS];
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
    make_key(guard, mail, key);
    struct guard_series *set = set_of(guard, key);
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
    make_key(guard, mail, key);
    struct guard_series *series = find(set_of(guard, key), settings, key, now_ms);
    uint32_t attempts = series ? series->attempts : 0;
    if (series)
        series->attempts = 0;
    return attempts;
}
