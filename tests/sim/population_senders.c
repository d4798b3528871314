/*
 * The senders. Schedules are those of the programs' manuals: Postfix qmgr(8), Exim's default retry rule, sendmail's
 * queue runs, qmail-send(8), Microsoft KB 950757 and the TechNet pages on message retry intervals of Exchange 2007 to
 * 2016. What a sender of spam does is not documented; the kinds are those that the literature tells apart (RFC 6647).
 */
#include "population.h"

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* Equal pauses. */
static uint32_t even(uint32_t *pauses_s, uint32_t from, uint32_t count, uint32_t pause_s)
{
    for (uint32_t i = 0; i < count && from < POPULATION_ATTEMPTS_MAX; i++)
        pauses_s[from++] = pause_s;
    return from;
}

/* The queue is looked at every 300 s; a deferred message is left alone for 300 s, then twice as long each time. */
static uint32_t postfix(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 0, backoff_s = 300, at = random_below(random, 300), age = at;
    while (age < 5 * DAY && count < POPULATION_ATTEMPTS_MAX) {
        uint32_t wanted = at + backoff_s, next = (wanted + 299) / 300 * 300;
        pauses_s[count++] = next - at;
        age += next - at;
        at = next;
        backoff_s = backoff_s * 2 < 4000 ? backoff_s * 2 : 4000;
    }
    return count;
}

/* F,2h,15m; G,16h,1h,1.5; F,4d,6h, looked at by a queue runner every 30 minutes. */
static uint32_t exim(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 0, age = random_below(random, 30 * MINUTE), interval = HOUR;
    while (age < 4 * DAY && count < POPULATION_ATTEMPTS_MAX) {
        uint32_t backoff = age < 2 * HOUR ? 15 * MINUTE : age < 16 * HOUR ? interval : 6 * HOUR;
        interval = age < 2 * HOUR ? interval : interval * 3 / 2;
        uint32_t next = (age + backoff + 30 * MINUTE - 1) / (30 * MINUTE) * (30 * MINUTE);
        pauses_s[count++] = next - age;
        age = next;
    }
    return count;
}

static uint32_t sendmail(struct random_source *random, uint32_t *pauses_s)
{
    static const uint32_t runs_s[] = {10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR};
    uint32_t run = runs_s[random_below(random, 4)];
    pauses_s[0] = 1 + random_below(random, run);
    return even(pauses_s, 1, POPULATION_ATTEMPTS_MAX, run);
}

/* Message n is tried again 400 * n * n seconds after it came. */
static uint32_t qmail(struct random_source *random, uint32_t *pauses_s)
{
    (void)random;
    uint32_t count = 0;
    for (uint32_t n = 1; n < POPULATION_ATTEMPTS_MAX && 400 * n * n < 7 * DAY; n++)
        pauses_s[count++] = 400 * (n * n - (n - 1) * (n - 1));
    return count;
}

static uint32_t exchange_2003_loses_60(struct random_source *random, uint32_t *pauses_s)
{
    (void)random;
    return even(pauses_s, 0, 3, 60);
}

static uint32_t exchange_2003_loses_120(struct random_source *random, uint32_t *pauses_s)
{
    (void)random;
    return even(pauses_s, 0, 3, 120);
}

static uint32_t exchange_2003_loses_1(struct random_source *random, uint32_t *pauses_s)
{
    (void)random;
    return even(pauses_s, 0, 3, 1);
}

/* With the hotfix: then as its queue is set up. */
static uint32_t exchange_2003_hotfix(struct random_source *random, uint32_t *pauses_s)
{
    static const uint32_t glitches_s[] = {1, 60, 120};
    uint32_t count = even(pauses_s, 0, 3, glitches_s[random_below(random, 3)]);
    count = even(pauses_s, count, 3, 10 * MINUTE);
    return even(pauses_s, count, POPULATION_ATTEMPTS_MAX, 15 * MINUTE);
}

static uint32_t exchange_2007(struct random_source *random, uint32_t *pauses_s)
{
    bool edge = random_below(random, 2);
    uint32_t count = even(pauses_s, 0, 4, MINUTE);
    count = even(pauses_s, count, 6, edge ? 10 * MINUTE : 5 * MINUTE);
    return even(pauses_s, count, POPULATION_ATTEMPTS_MAX, edge ? 30 * MINUTE : 10 * MINUTE);
}

/* Large providers: soon, then ever later, for a day. */
static uint32_t provider(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 0, pause = MINUTE + random_below(random, 5 * MINUTE);
    for (uint32_t age = 0; age < DAY && count < POPULATION_ATTEMPTS_MAX; age += pauses_s[count++]) {
        pauses_s[count] = pause + random_below(random, pause / 4);
        pause = pause * 2 < 2 * HOUR ? pause * 2 : 2 * HOUR;
    }
    return count;
}

static uint32_t login_code(struct random_source *random, uint32_t *pauses_s)
{
    static const uint32_t steps_s[] = {MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR};
    for (uint32_t i = 0; i < sizeof steps_s / sizeof steps_s[0]; i++)
        pauses_s[i] = steps_s[i] + random_below(random, 10);
    return sizeof steps_s / sizeof steps_s[0];
}

/* Each time somebody writes, for ten minutes. */
static uint32_t verifier(struct random_source *random, uint32_t *pauses_s)
{
    return even(pauses_s, 0, 2, 5 * MINUTE + random_below(random, 10));
}

static uint32_t once(struct random_source *random, uint32_t *pauses_s)
{
    (void)random;
    (void)pauses_s;
    return 0;
}

static uint32_t fast(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 2 + random_below(random, 8);
    for (uint32_t i = 0; i < count; i++)
        pauses_s[i] = 1 + random_below(random, 30);
    return count;
}

/* Reads each reply to its end, and tries again a few times, when it has time. */
static uint32_t fast_reader(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 2 + random_below(random, 4);
    for (uint32_t i = 0; i < count; i++)
        pauses_s[i] = 2 + random_below(random, 90);
    return count;
}

static uint32_t in_minutes(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 1 + random_below(random, 3);
    for (uint32_t i = 0; i < count; i++)
        pauses_s[i] = 2 * MINUTE + random_below(random, 8 * MINUTE);
    return count;
}

static uint32_t patient(struct random_source *random, uint32_t *pauses_s)
{
    uint32_t count = 3 + random_below(random, 4);
    for (uint32_t i = 0; i < count; i++)
        pauses_s[i] = 10 * MINUTE + random_below(random, 50 * MINUTE);
    return count;
}

const struct sender_kind sender_kinds[] = {
    {"Postfix", .share = 210, .schedule = postfix, .patience_s = 300, .mails_max = 8},
    {"Postfix, opportunistic TLS", .share = 60, .schedule = postfix, .patience_s = 300, .mails_max = 8, .tls = true},
    {"Exim", .share = 90, .schedule = exim, .patience_s = 300, .mails_max = 8},
    {"sendmail", .share = 60, .schedule = sendmail, .patience_s = 300, .mails_max = 6},
    {"a program that waits for 20 s", .share = 20, .schedule = sendmail, .patience_s = 20, .mails_max = 6},
    {"qmail", .share = 30, .schedule = qmail, .patience_s = 300, .mails_max = 6},
    {"Exchange 2003, loses, 60 s", .share = 40, .schedule = exchange_2003_loses_60, .patience_s = 300, .mails_max = 4},
    {"Exchange 2003, loses, 120 s", .share = 20, .schedule = exchange_2003_loses_120, .patience_s = 300,
     .mails_max = 4},
    {"Exchange 2003, loses, 1 s", .share = 20, .schedule = exchange_2003_loses_1, .patience_s = 300, .mails_max = 4},
    {"the same three, recipients", .share = 20, .schedule = exchange_2003_loses_60, .patience_s = 300, .many = true},
    {"the same, mails at once, 60 s", .share = 20, .schedule = exchange_2003_loses_60, .patience_s = 300,
     .burst = true},
    {"the same, mails at once, 1 s", .share = 10, .schedule = exchange_2003_loses_1, .patience_s = 300, .burst = true},
    {"Exchange 2003, hotfix", .share = 30, .schedule = exchange_2003_hotfix, .patience_s = 300, .mails_max = 4},
    {"Exchange 2007 and later", .share = 100, .schedule = exchange_2007, .patience_s = 300, .mails_max = 6},
    {"pool within its /24", .share = 60, .schedule = provider, .patience_s = 300, .hosts = 100, .mails_max = 8},
    {"pool of 40 networks", .share = 20, .schedule = provider, .patience_s = 300, .networks = 40, .hosts = 20,
     .mails_max = 8},
    {"provider with 40 networks", .share = 40, .schedule = provider, .patience_s = 300, .networks = 40, .hosts = 20,
     .provider = true, .mails_max = 8},
    {"callback verifier", .share = 20, .schedule = verifier, .patience_s = 30, .callback = true},
    {"TLS only", .share = 30, .schedule = postfix, .patience_s = 300, .mails_max = 4, .tls_only = true},
    {"mailing list, VERP", .share = 40, .schedule = postfix, .patience_s = 300, .mails_max = 8, .verp = true},
    {"login codes", .share = 40, .schedule = login_code, .patience_s = 120, .hosts = 20, .mails_max = 8, .verp = true},
    {"answers to mail of ours", .share = 20, .schedule = postfix, .patience_s = 300, .answers = true},

    {"fire and forget", .spam = true, .share = 700, .schedule = once, .patience_s = 10},
    {"fast retry", .spam = true, .share = 120, .schedule = fast, .patience_s = 15},
    {"fast retry, reads replies", .spam = true, .share = 10, .schedule = fast_reader, .patience_s = 120},
    {"parallel retry", .spam = true, .share = 60, .schedule = fast, .patience_s = 60, .parallel = 6},
    {"retry within minutes", .spam = true, .share = 20, .schedule = in_minutes, .patience_s = 20},
    {"the same, reads replies", .spam = true, .share = 20, .schedule = in_minutes, .patience_s = 120},
    {"retry from other networks", .spam = true, .share = 20, .schedule = in_minutes, .patience_s = 20, .networks = 200},
    {"the same, forged EHLO domain", .spam = true, .share = 20, .schedule = in_minutes, .patience_s = 20,
     .networks = 200, .forges = true},
    {"patient", .spam = true, .share = 30, .schedule = patient, .patience_s = 120, .mails_max = 30},
};
const uint32_t sender_kind_count = sizeof sender_kinds / sizeof sender_kinds[0];
