/*
 * tests/lib/attempts - attempts of a greylist, and whether two have the same key.
 */
#ifndef POSTERN_TESTS_ATTEMPTS_H
#define POSTERN_TESTS_ATTEMPTS_H

#include "policy/greylist.h"

static const uint8_t secret[GREYLIST_SECRET_BYTES] = "secret of a test";

static inline struct greylist_attempt attempt_of(uint8_t host, const char *sender, const char *recipient)
{
    return (struct greylist_attempt){
        .ip_version = 4,
        .client = {192, 0, 2, host},
        .helo = span_of("mx1.example.net"),
        .sender = span_of(sender),
        .recipient = span_of(recipient),
    };
}

static inline bool same_key(enum greylist_kind kind, const struct greylist_attempt *a, const struct greylist_attempt *b)
{
    struct greylist_settings settings = greylist_settings_default();
    struct greylist_key one = greylist_key(&settings, secret, kind, a),
                        other = greylist_key(&settings, secret, kind, b);
    return memcmp(&one, &other, sizeof one) == 0;
}

#endif
