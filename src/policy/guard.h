/*
 * policy/guard - which attempt it was, when a greylist outside put a message of one of our servers off.
 *
 * In:     refusals with the marks of a greylist, and messages taken, each of whom and when.
 * Out:    the number of the attempt.
 * Owner:  the caller owns the memory; nothing is allocated.
 * Thread: none; whoever shares it locks it.
 * Limits: GUARD_SERIES_MAX messages at once, of those that the hash puts together GUARD_WAYS; beyond, the one that was
 *         refused longest ago makes room, and its next attempt counts as a first one.
 * Source: Microsoft KB 950757 and the field's reports of what Exchange 2003 does: a 4xx is a "glitch", tried again
 *         three times GlitchRetrySeconds apart; some versions then lose the message.
 *
 * A message is known by our server, its sender, its recipient and the size that MAIL announced; the server outside may
 * be another one each time. Messages that are alike are told apart by time: an attempt that comes before the last
 * refusal can have left is of another message, and of several the one that was refused first is tried again first.
 *
 * Gateways that share a store count together: guard_load before an attempt is counted, guard_save behind it.
 */
#ifndef POSTERN_POLICY_GUARD_H
#define POSTERN_POLICY_GUARD_H

#include "base/siphash.h"

enum {
    GUARD_SETS = 512,
    GUARD_WAYS = 8,
    GUARD_SERIES_MAX = GUARD_SETS * GUARD_WAYS,
};

struct guard_settings {
    uint32_t delay_ms;    /* so much later a refusal leaves, once in a transaction */
    uint32_t attempts;    /* of one message, its first one included; behind the last of them it may be lost */
    uint32_t retry_gap_s; /* an attempt later than that behind a refusal comes from the server's queue: a first one */
};

/* 110 s, 4, 5 min. */
struct guard_settings guard_settings_default(void);

/* One that is on its way. All zero is free. */
struct guard_series {
    uint8_t key[SIPHASH_BYTES];
    int64_t again_ms; /* its next attempt does not come before; its refusal may leave sooner than it was meant to */
    int64_t left_ms;  /* when its last refusal has left, or will have */
    uint32_t attempts;
};

/* All zero but for the secret. */
struct guard {
    uint8_t secret[SIPHASH_KEY_BYTES]; /* random, so that nobody can choose collisions */
    struct guard_series series[GUARD_SETS][GUARD_WAYS];
};

/* Whose message, from whom, for whom; addresses are compared without regard to the case of ASCII letters. */
struct guard_mail {
    uint8_t ip_version;
    uint8_t server[16]; /* ours */
    struct span sender;
    struct span recipient; /* empty where none was named yet */
    uint64_t size;         /* octets, as MAIL announced them; 0: it did not */
};

/*
 * It was refused at `now_ms`, and the refusal leaves `delay_ms` later. Returns which attempt that was: 1 of the first.
 */
uint32_t guard_refused(struct guard *guard, const struct guard_settings *settings, const struct guard_mail *mail,
                       int64_t now_ms, uint32_t delay_ms);

/* It was taken. Returns how many attempts were refused before; 0 where none was. */
uint32_t guard_taken(struct guard *guard, const struct guard_settings *settings, const struct guard_mail *mail,
                     int64_t now_ms);

/* ---- counted by several gateways ---- */

enum {
    GUARD_KIND = 30,    /* struct store_record's `kind`, none of enum greylist_kind */
    GUARD_KEPT_MAX = 3, /* messages that are alike of which a record tells; of more those that were refused last */
    GUARD_VALUE_BYTES = 1 + GUARD_KEPT_MAX * 13,
};

/* The key of the record of a message and of those that are alike; gateways need the same secret. */
void guard_key(const struct guard *guard, const struct guard_mail *mail, uint8_t key[SIPHASH_BYTES]);

/* What is known of messages with this key, none included; times are those of here less `lag_ms`. */
void guard_save(const struct guard *guard, const struct guard_settings *settings, const uint8_t key[SIPHASH_BYTES],
                int64_t now_ms, int64_t lag_ms, uint8_t value[GUARD_VALUE_BYTES]);

/* From here on that is known of them, and nothing else. False, and nothing has changed, where `value` is none that
   guard_save makes. */
bool guard_load(struct guard *guard, const struct guard_settings *settings, const uint8_t key[SIPHASH_BYTES],
                int64_t now_ms, int64_t lag_ms, struct span value);

#endif
