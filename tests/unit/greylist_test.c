/* The greylist: what is remembered, and how it decides and learns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/attempts.h"
#include "../lib/random.h"

static const struct greylist_exempt nobody;

enum { NOW_MS = 1200000000 };
static const int64_t start_ms = (int64_t)NOW_MS * 1000;

/* ---- records ---- */

static void test_records(void **state)
{
    (void)state;
    struct greylist_record record = {
        .first_ms = start_ms,
        .last_ms = start_ms + 5,
        .waited_until_ms = start_ms + 0x89abcdef,
        .attempts = 0xfedcba98,
        .waited_ms = 0x89abcdef,
        .pace_min_s = 0x8001,
        .pace_max_s = 0xffff,
        .passes = 0xfffe,
        .patient = 0xfd,
        .excused = 0xfc,
        .hung_up = 1,
        .beside = 0xfb,
    };
    uint8_t value[GREYLIST_VALUE_BYTES];
    greylist_encode(&record, value);
    struct greylist_record back = {0};
    struct span whole = {value, sizeof value};
    assert_true(greylist_decode(whole, &back));
    assert_int_equal(back.first_ms, record.first_ms);
    assert_int_equal(back.last_ms, record.last_ms);
    assert_int_equal(back.waited_until_ms, record.waited_until_ms);
    assert_int_equal(back.attempts, record.attempts);
    assert_int_equal(back.waited_ms, record.waited_ms);
    assert_int_equal(back.pace_min_s, record.pace_min_s);
    assert_int_equal(back.pace_max_s, record.pace_max_s);
    assert_int_equal(back.passes, record.passes);
    assert_int_equal(back.patient, record.patient);
    assert_int_equal(back.excused, record.excused);
    assert_int_equal(back.hung_up, record.hung_up);
    assert_int_equal(back.beside, record.beside);
    for (size_t len = 0; len < sizeof value; len++)
        assert_false(greylist_decode(span_head(whole, len), &back));
    value[0]++;
    assert_false(greylist_decode(whole, &back));
    value[0]--;
    value[sizeof value - 1] = 1;
    assert_false(greylist_decode(whole, &back));
    record.waited_until_ms--; /* more was waited than there was time */
    greylist_encode(&record, value);
    assert_false(greylist_decode(whole, &back));
    record.waited_until_ms++;
    record.last_ms = record.first_ms - 1;
    greylist_encode(&record, value);
    assert_false(greylist_decode(whole, &back));
}

/* ---- decisions ---- */

static struct greylist_decision decide_with(const struct greylist_exempt *exempt, struct greylist_memory *memory,
                                            const struct greylist_attempt *attempt, int64_t now_ms)
{
    struct greylist_settings settings = greylist_settings_default();
    return greylist_decide(&settings, exempt, greylist_needs(&settings, exempt, attempt), memory, attempt, now_ms);
}

static struct greylist_decision decide(struct greylist_memory *memory, int64_t after_ms)
{
    struct greylist_attempt attempt = attempt_of(1, "a@example.net", "b@example.com");
    struct greylist_decision decision = decide_with(&nobody, memory, &attempt, start_ms + after_ms);
    memory->known |= decision.put;
    return decision;
}

static void test_delay(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    int64_t delay_ms = (int64_t)settings.delay_s * 1000, window_ms = (int64_t)settings.retry_window_s * 1000;
    struct greylist_memory memory = {0};
    struct greylist_decision decision = decide(&memory, 0);
    assert_false(decision.pass);
    assert_int_equal(decision.reason, GREYLIST_FIRST);
    assert_int_equal(decision.passes_from_ms, start_ms + delay_ms);
    decision = decide(&memory, delay_ms - 1);
    assert_false(decision.pass);
    assert_int_equal(decision.reason, GREYLIST_TOO_SOON);
    assert_int_equal(decision.passes_from_ms, start_ms + delay_ms);
    decision = decide(&memory, delay_ms);
    assert_true(decision.pass);
    assert_int_equal(decision.reason, GREYLIST_DELAY_OVER);
    assert_int_equal(memory.records[GREYLIST_TRIPLET].attempts, 3);
    assert_int_equal(decide(&memory, delay_ms + window_ms - 1000).reason, GREYLIST_DELAY_OVER);
    assert_int_equal(decide(&memory, delay_ms + 2 * window_ms).reason, GREYLIST_FIRST);
}

static void learn(struct greylist_memory *memory, enum greylist_kind kind, enum greylist_lesson lesson,
                  uint32_t waited_ms, int64_t after_ms)
{
    struct greylist_settings settings = greylist_settings_default();
    switch (greylist_learn(&settings, kind, lesson, waited_ms, greylist_knows(memory, kind), &memory->records[kind],
                           start_ms + after_ms)) {
    case GREYLIST_KEEP:
        break;
    case GREYLIST_PUT:
        memory->known |= 1u << kind;
        break;
    case GREYLIST_DROP:
        memory->known &= ~(1u << kind);
        break;
    }
}

static void test_lifetime(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    int64_t lifetime_ms = (int64_t)settings.lifetime_s * 1000;
    struct greylist_memory memory = {0};
    decide(&memory, 0);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_TOOK, 0, 400000);
    struct greylist_memory later = memory;
    assert_int_equal(decide(&memory, 400001).reason, GREYLIST_KNOWN);
    assert_int_equal(decide(&later, 400000 + lifetime_ms - 1000).reason, GREYLIST_KNOWN);
    assert_int_equal(decide(&later, 400000 + 3 * lifetime_ms).reason, GREYLIST_FIRST);
}

static void test_client_known(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    int64_t spacing_ms = (int64_t)settings.pass_spacing_s * 1000, at = 0;
    struct greylist_memory memory = {0};
    for (uint32_t i = 0; i + 1 < settings.client_passes; i++, at += spacing_ms) {
        learn(&memory, GREYLIST_CLIENT, GREYLIST_TOOK, 0, at);
        learn(&memory, GREYLIST_CLIENT, GREYLIST_TOOK, 0, at + spacing_ms / 2);
    }
    assert_int_equal(memory.records[GREYLIST_CLIENT].passes, settings.client_passes - 1);
    assert_int_equal(decide(&memory, at).reason, GREYLIST_FIRST);
    learn(&memory, GREYLIST_CLIENT, GREYLIST_TOOK, 0, at);
    assert_int_equal(decide(&memory, at).reason, GREYLIST_CLIENT_KNOWN);
    assert_int_equal(decide(&memory, at + (int64_t)settings.client_lifetime_s * 1000 - 1000).reason,
                     GREYLIST_CLIENT_KNOWN);
    assert_int_equal(decide(&memory, at + (int64_t)settings.client_lifetime_s * 1000).reason, GREYLIST_FIRST);
}

static void test_answer(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    for (int kind = GREYLIST_ANSWER_ADDRESS; kind <= GREYLIST_ANSWER_NETWORK; kind++) {
        struct greylist_memory memory = {0};
        learn(&memory, (enum greylist_kind)kind, GREYLIST_ADDRESSED, 0, 0);
        assert_int_equal(decide(&memory, 1000).reason, GREYLIST_ANSWER);
        assert_int_equal(decide(&memory, (int64_t)settings.answer_lifetime_s * 1000).reason, GREYLIST_FIRST);
    }
}

/* The same from a network that was not seen before. */
static enum greylist_reason decide_elsewhere(struct greylist_memory *memory, int64_t after_ms)
{
    memory->known &= ~(1u << GREYLIST_TRIPLET);
    return decide(memory, after_ms).reason;
}

static void test_pool(void **state)
{
    (void)state;
    struct greylist_memory memory = {0};
    learn(&memory, GREYLIST_TLS, GREYLIST_TOOK, 0, 0); /* mail has come from there that said this domain */
    decide(&memory, 0);
    assert_int_equal(decide_elsewhere(&memory, 200000), GREYLIST_FIRST);
    assert_int_equal(decide_elsewhere(&memory, 300000), GREYLIST_POOL_DELAY_OVER);
    learn(&memory, GREYLIST_POOL, GREYLIST_TOOK, 0, 300000);
    assert_int_equal(decide_elsewhere(&memory, 300001), GREYLIST_POOL_KNOWN);
}

/* Anybody can say any domain. */
static void test_forged_pool(void **state)
{
    (void)state;
    int64_t hour_ms = (int64_t)greylist_settings_default().hung_up_delay_s * 1000;
    struct greylist_memory memory = {0};
    decide(&memory, 0);
    learn(&memory, GREYLIST_POOL, GREYLIST_TOOK, 0, 300000);
    assert_int_equal(decide_elsewhere(&memory, 300001), GREYLIST_FIRST); /* not known, nor tried before */
    assert_int_equal(decide_elsewhere(&memory, 600001), GREYLIST_FIRST);
    assert_int_equal(decide_elsewhere(&memory, 300000 + hour_ms),
                     GREYLIST_FIRST); /* one more, and it was tried enough */
    assert_int_equal(decide_elsewhere(&memory, 300001 + hour_ms), GREYLIST_POOL_DELAY_OVER);
    memory.known &= ~(1u << GREYLIST_POOL);
    for (int i = 0; i < 2 * GREYLIST_POOL_ATTEMPTS; i++) /* often, but not for long */
        assert_int_equal(decide_elsewhere(&memory, 2 * hour_ms + i * hour_ms / 10), GREYLIST_FIRST);
}

/* Refusals that take `wait_ms`, `pause_ms` between them: which attempt passes; -1: not before the delay. */
static int passes_at(uint32_t wait_ms, int64_t pause_ms, int64_t more_each_ms)
{
    struct greylist_settings settings = greylist_settings_default();
    struct greylist_memory memory = {0};
    int64_t at = 0;
    for (int i = 0; at < (int64_t)settings.delay_s * 1000; i++) {
        struct greylist_decision decision = decide(&memory, at);
        if (decision.pass) {
            assert_int_equal(decision.reason, GREYLIST_PATIENT);
            return i;
        }
        at += wait_ms;
        learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, wait_ms, at);
        at += pause_ms + i * more_each_ms;
    }
    return -1;
}

static void test_patience(void **state)
{
    (void)state;
    assert_int_equal(passes_at(30000, 1000, 0), 3);    /* Exchange 2003, GlitchRetrySeconds 1 */
    assert_int_equal(passes_at(30000, 60000, 0), 3);   /* 60 */
    assert_int_equal(passes_at(30000, 120000, 0), -1); /* 120: the delay is over by then */
    assert_int_equal(passes_at(5000, 1000, 0), -1);    /* does not wait long enough */
    assert_int_equal(passes_at(20000, 1000, 0), 4);    /* not long enough in all */
}

static void test_impatience(void **state)
{
    (void)state;
    for (int at_once = 1; at_once <= 6; at_once++) {
        struct greylist_memory memory = {0};
        decide(&memory, 0);
        for (int round = 0; round < 3; round++)
            for (int i = 0; i < at_once; i++)
                learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, 30000 + round * 40000 + i * 100);
        assert_int_equal(memory.records[GREYLIST_TRIPLET].patient, 3);
        assert_int_equal(decide(&memory, 120000).reason, at_once <= 3 ? GREYLIST_PATIENT : GREYLIST_TOO_SOON);
    }
    struct greylist_memory memory = {0};
    decide(&memory, 0);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, 30000);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, 61000);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, 61000 + 125000); /* 31 s, then 125 s */
    assert_int_equal(memory.records[GREYLIST_TRIPLET].patient, 3);
    assert_int_equal(decide(&memory, 190000).reason, GREYLIST_TOO_SOON);
}

static void read_refusal(struct greylist_memory *memory, enum greylist_lesson lesson, uint32_t ms, int64_t after_ms)
{
    learn(memory, GREYLIST_TRIPLET, lesson, ms, after_ms);
    learn(memory, GREYLIST_POOL, lesson, ms, after_ms);
}

/* The time of refusals is none of the delay's; a client that hangs up waits longer, until it waits. */
static void test_hanging_up(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    int64_t delay_ms = (int64_t)settings.delay_s * 1000, longer_ms = (int64_t)settings.hung_up_delay_s * 1000;
    struct greylist_memory memory = {0};
    decide(&memory, 0);
    read_refusal(&memory, GREYLIST_WAITED, 30000, 30000);
    struct greylist_memory other = memory;
    assert_int_equal(decide(&memory, delay_ms + 29999).reason, GREYLIST_TOO_SOON);
    assert_int_equal(decide(&memory, delay_ms + 30000).reason, GREYLIST_DELAY_OVER);
    read_refusal(&other, GREYLIST_HUNG_UP, 10000, 50000);
    struct greylist_decision decision = decide(&other, delay_ms + 50000);
    assert_int_equal(decision.reason, GREYLIST_HUNG_UP_ON);
    assert_int_equal(decision.passes_from_ms, start_ms + longer_ms + 40000);
    struct greylist_memory waits = other;
    read_refusal(&waits, GREYLIST_WAITED, 30000, delay_ms + 80000);
    assert_int_equal(decide(&waits, delay_ms + 80000).reason, GREYLIST_DELAY_OVER);
    assert_int_equal(decide(&other, longer_ms + 40000).reason, GREYLIST_DELAY_OVER);
}

static void test_attempts_given_back(void **state)
{
    (void)state;
    struct greylist_memory memory = {0};
    decide(&memory, 0);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_PUT_OFF, 0, 0);
    decide(&memory, 1000);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, 31000);
    assert_int_equal(decide(&memory, 32000).reason, GREYLIST_TOO_SOON);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, 62000);
    assert_int_equal(decide(&memory, 63000).reason, GREYLIST_PATIENT);
    struct greylist_memory busy = {0}; /* the server alone put it off: that proves no patience */
    decide(&busy, 0);
    for (int i = 0; i < 300; i++)
        learn(&busy, GREYLIST_TRIPLET, GREYLIST_PUT_OFF, 0, i);
    assert_int_equal(decide(&busy, 1000).reason, GREYLIST_TOO_SOON);
}

static void test_unwanted_recipient(void **state)
{
    (void)state;
    struct greylist_memory memory = {0};
    decide(&memory, 0);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_REFUSED, 0, 1);
    assert_false(greylist_knows(&memory, GREYLIST_TRIPLET));
    decide(&memory, 2);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_TOOK, 0, 3);
    learn(&memory, GREYLIST_TRIPLET, GREYLIST_REFUSED, 0, 4);
    assert_true(greylist_knows(&memory, GREYLIST_TRIPLET));
}

/* Addresses of which one cannot be read, and stands there as it was written. */
static struct greylist_attempt unread_of(uint8_t host, const char *sender, const char *recipient)
{
    struct greylist_attempt attempt = attempt_of(host, sender, recipient);
    attempt.unread = true;
    return attempt;
}

static void test_exempt(void **state)
{
    (void)state;
    static uint8_t storage[65536] __attribute__((aligned(16)));
    struct arena arena = {.base = storage, .size = sizeof storage};
    struct greylist_settings settings = greylist_settings_default();
    struct greylist_exempt exempt = {0};
    static const uint8_t client[4] = {192, 0, 2, 128};
    assert_true(greylist_exempt_network(&exempt, &arena, network_of(4, client, 25)));
    assert_true(greylist_exempt_seal(&exempt, &arena));
    assert_true(greylist_exempt_word(&exempt, &arena, GREYLIST_SENDERS, WORD_DOMAINS, span_of("example.org")));
    assert_true(greylist_exempt_word(&exempt, &arena, GREYLIST_RECIPIENTS, WORD_LOCAL, span_of("abuse")));
    const struct {
        struct greylist_attempt attempt;
        enum greylist_reason reason;
    } rows[] = {
        {attempt_of(1, "a@example.net", "b@example.com"), GREYLIST_FIRST},
        {attempt_of(128, "a@example.net", "b@example.com"), GREYLIST_EXEMPT_CLIENT},
        {attempt_of(1, "a@Mail.Example.org", "b@example.com"), GREYLIST_EXEMPT_SENDER},
        {attempt_of(1, "a@example.net", "Abuse@example.com"), GREYLIST_EXEMPT_RECIPIENT},
        {attempt_of(1, "a@example.net", "Postmaster"), GREYLIST_EXEMPT_RECIPIENT},
        {attempt_of(1, "abuse@example.net", "example.org"), GREYLIST_FIRST},
        {unread_of(1, "a@example.net", "TO:postmaster@x <abuse@example.com"), GREYLIST_FIRST},
        {unread_of(1, "FROM:x <a@example.org", "b@example.com"), GREYLIST_FIRST},
        {unread_of(128, "a@example.net", "TO:x <y"), GREYLIST_EXEMPT_CLIENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct greylist_memory memory = {0};
        struct greylist_needs needs = greylist_needs(&settings, &exempt, &rows[i].attempt);
        assert_int_equal(needs.first != 0, rows[i].reason == GREYLIST_FIRST);
        assert_int_equal(needs.rest != 0, rows[i].reason == GREYLIST_FIRST);
        struct greylist_decision decision = decide_with(&exempt, &memory, &rows[i].attempt, start_ms);
        assert_int_equal(decision.reason, rows[i].reason);
        assert_int_equal(decision.pass, rows[i].reason != GREYLIST_FIRST);
    }
    struct greylist_attempt tls = {.ip_version = 4, .client = {192, 0, 2, 1}, .tls = true};
    struct greylist_needs needs = greylist_needs(&settings, &exempt, &tls);
    assert_int_equal(needs.first, 1u << GREYLIST_TLS | GREYLIST_CLIENT_KINDS);
    assert_int_equal(needs.rest, 0);
}

/* ---- rulings ---- */

/* What one ruling says of an attempt: made for one, found for the other by its key. */
static bool rules(enum greylist_kind kind, const struct greylist_attempt *made, const struct greylist_attempt *found)
{
    struct greylist_settings settings = greylist_settings_default();
    return greylist_needs(&settings, &nobody, found).first >> kind & 1 && same_key(kind, made, found);
}

static void test_whom_rulings_are_about(void **state)
{
    (void)state;
    struct greylist_attempt made = attempt_of(1, "a+1@example.net", "B@example.com");
    struct greylist_attempt found = attempt_of(1, "A+2@Example.NET", "b@example.com");
    for (int kind = GREYLIST_RULED_HOST; kind < GREYLIST_KINDS; kind++) {
        assert_true(greylist_is_ruling((enum greylist_kind)kind));
        assert_true(rules((enum greylist_kind)kind, &made, &found));
    }
    static const uint8_t prefixes[][2] = {{32, 128}, {24, 64}, {16, 48}, {8, 32}};
    for (unsigned i = 0; i < 4; i++) {
        enum greylist_kind kind = (enum greylist_kind)(GREYLIST_RULED_HOST + i);
        assert_int_equal(greylist_ruled_prefix(kind, 4), prefixes[i][0]);
        assert_int_equal(greylist_ruled_prefix(kind, 6), prefixes[i][1]);
        struct greylist_attempt outside = found;
        outside.client[(prefixes[i][0] - 1) / 8] ^= 1;
        assert_false(rules(kind, &made, &outside));
    }
    found = attempt_of(1, "c@example.net", "d@example.com");
    assert_false(rules(GREYLIST_RULED_SENDER, &made, &found));
    assert_true(rules(GREYLIST_RULED_SENDER_DOMAIN, &made, &found));
    assert_false(rules(GREYLIST_RULED_RECIPIENT, &made, &found));
    assert_true(rules(GREYLIST_RULED_RECIPIENT_DOMAIN, &made, &found));
    found = attempt_of(1, "a@mail.example.net", "b@mail.example.com");
    assert_false(rules(GREYLIST_RULED_SENDER_DOMAIN, &made, &found));
    assert_false(rules(GREYLIST_RULED_RECIPIENT_DOMAIN, &made, &found));
    found = attempt_of(1, "example.net", "example.com");
    assert_false(rules(GREYLIST_RULED_SENDER_DOMAIN, &made, &found));
    assert_false(rules(GREYLIST_RULED_RECIPIENT_DOMAIN, &made, &found));
    found.tls = true;
    assert_true(rules(GREYLIST_RULED_BLOCK, &made, &found));
    assert_false(rules(GREYLIST_RULED_SENDER, &made, &found));
}

static void rule(struct greylist_memory *memory, enum greylist_kind kind, bool allowed)
{
    memory->known |= 1u << kind;
    memory->records[kind] = greylist_ruling(allowed, start_ms, 0);
}

static void test_rulings(void **state)
{
    (void)state;
    static const struct {
        enum greylist_kind allowed, denied;
        enum greylist_reason reason;
    } rows[] = {
        {GREYLIST_RULED_HOST, GREYLIST_KINDS, GREYLIST_ALLOWED_CLIENT},
        {GREYLIST_RULED_BLOCK, GREYLIST_KINDS, GREYLIST_ALLOWED_CLIENT},
        {GREYLIST_RULED_SENDER_DOMAIN, GREYLIST_KINDS, GREYLIST_ALLOWED_SENDER},
        {GREYLIST_RULED_RECIPIENT, GREYLIST_KINDS, GREYLIST_ALLOWED_RECIPIENT},
        {GREYLIST_KINDS, GREYLIST_RULED_SITE, GREYLIST_DENIED_CLIENT},
        {GREYLIST_KINDS, GREYLIST_RULED_SENDER, GREYLIST_DENIED_SENDER},
        {GREYLIST_KINDS, GREYLIST_RULED_RECIPIENT_DOMAIN, GREYLIST_DENIED_RECIPIENT},
        {GREYLIST_RULED_HOST, GREYLIST_RULED_NETWORK, GREYLIST_ALLOWED_CLIENT}, /* the narrower */
        {GREYLIST_RULED_BLOCK, GREYLIST_RULED_NETWORK, GREYLIST_DENIED_CLIENT},
        {GREYLIST_RULED_SENDER, GREYLIST_RULED_SENDER_DOMAIN, GREYLIST_ALLOWED_SENDER},
        {GREYLIST_RULED_RECIPIENT, GREYLIST_RULED_RECIPIENT_DOMAIN, GREYLIST_ALLOWED_RECIPIENT},
        {GREYLIST_RULED_HOST, GREYLIST_RULED_SENDER, GREYLIST_DENIED_SENDER}, /* of two, the denial */
        {GREYLIST_RULED_RECIPIENT, GREYLIST_RULED_SENDER_DOMAIN, GREYLIST_DENIED_SENDER},
        {GREYLIST_RULED_RECIPIENT, GREYLIST_RULED_BLOCK, GREYLIST_DENIED_CLIENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct greylist_memory memory = {0};
        if (rows[i].allowed != GREYLIST_KINDS)
            rule(&memory, rows[i].allowed, true);
        if (rows[i].denied != GREYLIST_KINDS)
            rule(&memory, rows[i].denied, false);
        struct greylist_decision decision = decide(&memory, 0);
        assert_int_equal(decision.reason, rows[i].reason);
        assert_int_equal(decision.pass, rows[i].reason < GREYLIST_FIRST);
    }
}

/* Not by waiting, nor by what was known; until the ruling is forgotten, or its time is over. */
static void test_denied_does_not_pass(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    struct greylist_attempt attempt = attempt_of(1, "a@example.net", "b@example.com");
    struct greylist_memory memory = {.known = 1u << GREYLIST_CLIENT | 1u << GREYLIST_ANSWER_ADDRESS};
    memory.records[GREYLIST_CLIENT] =
        (struct greylist_record){.first_ms = start_ms, .last_ms = start_ms, .passes = 1000};
    memory.records[GREYLIST_ANSWER_ADDRESS] = (struct greylist_record){.first_ms = start_ms, .last_ms = start_ms};
    assert_true(greylist_knows_client(&settings, &nobody, &memory, &attempt, start_ms));
    rule(&memory, GREYLIST_RULED_NETWORK, false);
    assert_false(greylist_knows_client(&settings, &nobody, &memory, &attempt, start_ms));
    for (int64_t at_ms = 0; at_ms < 86400000; at_ms += 600000) {
        struct greylist_decision decision = decide(&memory, at_ms);
        assert_int_equal(decision.reason, GREYLIST_DENIED_CLIENT);
        assert_int_equal(decision.passes_from_ms, 0);
    }
    assert_int_equal(memory.records[GREYLIST_TRIPLET].attempts, 144);
    memory.records[GREYLIST_RULED_NETWORK].waited_until_ms = start_ms + 5000;
    assert_int_equal(decide(&memory, 4999).reason, GREYLIST_DENIED_CLIENT);
    assert_int_equal(decide(&memory, 5000).reason, GREYLIST_CLIENT_KNOWN);
    rule(&memory, GREYLIST_RULED_HOST, true);
    memory.known &= ~(1u << GREYLIST_CLIENT);
    assert_true(greylist_knows_client(&settings, &nobody, &memory, &attempt, start_ms));
    assert_true(greylist_expires_s(&settings, GREYLIST_RULED_HOST, &memory.records[GREYLIST_RULED_HOST]) >
                start_ms / 1000 + INT64_C(100) * 365 * 86400);
}

static void test_reasons(void **state)
{
    (void)state;
    for (int i = 0; i < GREYLIST_REASONS; i++) {
        assert_true(strlen(greylist_reason_name((enum greylist_reason)i)) > 0);
        assert_true(strlen(greylist_reason_text((enum greylist_reason)i)) > 0);
        assert_non_null(greylist_reason_setting((enum greylist_reason)i));
        for (int other = 0; other < i; other++)
            assert_string_not_equal(greylist_reason_name((enum greylist_reason)i),
                                    greylist_reason_name((enum greylist_reason)other));
    }
}

/* Whatever a store holds: what decodes is decided about, an attempt more does no harm, and after the delay it passes.
 */
static void test_any_record(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    struct random_source source = {4};
    int decoded = 0;
    for (int run = 0; run < 100000; run++) {
        uint8_t value[GREYLIST_VALUE_BYTES] = {1};
        for (size_t i = 1; i < sizeof value; i++)
            value[i] = (uint8_t)random_next(&source);
        value[1] = value[7] = value[13] = 1; /* times within decades of now */
        value[19] = value[20] = 0;           /* waited for a minute or less */
        value[36] &= 1;
        memset(value + 37, 0, sizeof value - 37);
        struct greylist_memory memory = {0};
        struct greylist_record *record = &memory.records[GREYLIST_TRIPLET];
        bool known = greylist_decode((struct span){value, sizeof value}, record);
        memory.known = (uint32_t)known << GREYLIST_TRIPLET;
        decoded += known;
        struct greylist_attempt attempt = attempt_of(1, "a@example.net", "b@example.com");
        struct greylist_decision decision = decide_with(&nobody, &memory, &attempt, start_ms);
        assert_true(decision.pass || (decision.passes_from_ms > start_ms &&
                                      decision.passes_from_ms <= start_ms + (int64_t)settings.hung_up_delay_s * 1000));
        memory.known = 1u << GREYLIST_TRIPLET;
        greylist_learn(&settings, GREYLIST_TRIPLET, GREYLIST_WAITED, 30000, true, record, start_ms + 40000);
        assert_true(decide(&memory, (int64_t)settings.hung_up_delay_s * 1000 + 30000).pass);
    }
    assert_true(decoded > 1000);
}

/* Any memory: where the first look-ups are enough they say what all would say, and else nothing is noted yet. */
static void test_early(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    struct greylist_attempt attempt = attempt_of(1, "a@example.net", "b@example.com");
    struct greylist_needs needs = greylist_needs(&settings, &nobody, &attempt);
    struct random_source source = {9};
    uint32_t early = 0, runs = 20000, seen = 0;
    for (uint32_t run = 0; run < runs; run++) {
        struct greylist_memory memory = {0};
        for (int kind = 0; kind < GREYLIST_KINDS; kind++) {
            int64_t age_ms = random_below(&source, 2 * settings.delay_s * 1000);
            bool known = random_below(&source, greylist_is_ruling((enum greylist_kind)kind) ? 40 : 3) == 0;
            memory.known |= (uint32_t)known << kind;
            memory.records[kind] = (struct greylist_record){.first_ms = start_ms - age_ms,
                                                            .last_ms = start_ms - age_ms / 2,
                                                            .attempts = 1,
                                                            .passes = (uint16_t)random_below(&source, 8)};
        }
        struct greylist_memory all = memory, first = memory, before;
        first.known &= needs.first;
        before = first;
        struct greylist_decision whole = greylist_decide(&settings, &nobody, needs, &all, &attempt, start_ms), part;
        if (!greylist_decide_early(&settings, &nobody, needs, &first, &attempt, start_ms, &part)) {
            assert_memory_equal(&first, &before, sizeof first);
            assert_true(!whole.pass || whole.reason >= GREYLIST_ANSWER);
            continue;
        }
        early++;
        seen |= 1u << part.reason;
        assert_true(part.pass && whole.pass);
        assert_int_equal(part.reason, whole.reason);
        assert_int_equal(part.put, whole.put);
        assert_int_equal(part.put & ~(1u << GREYLIST_TRIPLET), 0);
        assert_memory_equal(&first.records[GREYLIST_TRIPLET], &all.records[GREYLIST_TRIPLET],
                            sizeof first.records[GREYLIST_TRIPLET]);
    }
    assert_in_range(early, runs / 10, runs - runs / 10);
    assert_int_equal(seen, 1u << GREYLIST_ALLOWED_CLIENT | 1u << GREYLIST_ALLOWED_SENDER |
                               1u << GREYLIST_ALLOWED_RECIPIENT | 1u << GREYLIST_ALLOWED_MAIL |
                               1u << GREYLIST_CLIENT_KNOWN | 1u << GREYLIST_KNOWN | 1u << GREYLIST_DELAY_OVER);
}

/* Run from the project's folder, as all tests are. */
static void test_described(void **state)
{
    (void)state;
    static char page[64 * 1024];
    FILE *file = fopen("docs/events.md", "r");
    assert_non_null(file);
    size_t len = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    assert_true(len < sizeof page - 1);
    const char *section = strstr(page, "## `greylist`");
    assert_non_null(section);
    for (int reason = 0; reason < GREYLIST_REASONS; reason++) {
        char word[64];
        snprintf(word, sizeof word, "`%s`", greylist_reason_name((enum greylist_reason)reason));
        if (!strstr(section, word))
            fail_msg("docs/events.md does not describe the reason %s", word);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"records come back as they were, or not at all", test_records, NULL, NULL, NULL},
        {"a retry passes after the delay, within the window", test_delay, NULL, NULL, NULL},
        {"what has passed passes for its lifetime", test_lifetime, NULL, NULL, NULL},
        {"a network that has brought enough mail passes", test_client_known, NULL, NULL, NULL},
        {"answers pass", test_answer, NULL, NULL, NULL},
        {"each reason is described where events are", test_described, NULL, NULL, NULL},
        {"a retry from elsewhere with the same EHLO domain", test_pool, NULL, NULL, NULL},
        {"an EHLO domain that nothing bears out", test_forged_pool, NULL, NULL, NULL},
        {"who waits for refusals to their end passes before the delay", test_patience, NULL, NULL, NULL},
        {"who fires in parallel, or unevenly, does not", test_impatience, NULL, NULL, NULL},
        {"who hangs up waits longer; the time of refusals does not count", test_hanging_up, NULL, NULL, NULL},
        {"an attempt that the server put off is given back", test_attempts_given_back, NULL, NULL, NULL},
        {"a recipient that the server does not want is forgotten", test_unwanted_recipient, NULL, NULL, NULL},
        {"who is never greylisted", test_exempt, NULL, NULL, NULL},
        {"whom a ruling is about", test_whom_rulings_are_about, NULL, NULL, NULL},
        {"the narrower ruling holds, and of two the denial", test_rulings, NULL, NULL, NULL},
        {"what was denied does not pass by waiting", test_denied_does_not_pass, NULL, NULL, NULL},
        {"each reason has a name and a sentence of its own", test_reasons, NULL, NULL, NULL},
        {"any record of a store leads to a decision, and passes after the delay", test_any_record, NULL, NULL, NULL},
        {"what is looked up first decides as all does, where it is enough", test_early, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("greylist", tests, NULL, NULL);
}
