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

/*
 * Measured: Pagani, De Astis, Graziano, Lanzi, Balzarotti, "Measuring the Role of Greylisting and Nolisting in Fighting
 * Spam", DSN 2016; documented: the knowledge bases of Mimecast, MX Outbound, Bitdefender GravityZone and clouduss.
 * Seconds after the first attempt, `steps` to 0, then every `every_s` until `until_s`.
 */
static uint32_t measured(uint32_t *pauses_s, const uint32_t *steps, uint32_t every_s, uint32_t until_s)
{
    uint32_t count = 0, at_s = 0;
    for (; *steps; at_s = *steps++)
        pauses_s[count++] = *steps - at_s;
    for (; every_s && at_s + every_s <= until_s && count < POPULATION_ATTEMPTS_MAX; at_s += every_s)
        pauses_s[count++] = every_s;
    return count;
}

#define MEASURED(name, every_s, until_s, ...)                                                                          \
    static uint32_t name(struct random_source *random, uint32_t *pauses_s)                                             \
    {                                                                                                                  \
        static const uint32_t steps[] = {__VA_ARGS__, 0};                                                              \
        (void)random;                                                                                                  \
        return measured(pauses_s, steps, every_s, until_s);                                                            \
    }

MEASURED(gmail, 0, 0, 362, 1742, 3396, 5924, 9723, 13784, 18545, 26086)
MEASURED(yahoo, 0, 0, 127, 339, 778, 1636, 3313, 6575, 13007, 25836)
MEASURED(hotmail, 4 * MINUTE, 21731, 61, 123, 184, 306, 487, 728, 970)
MEASURED(qq, 0, 0, 305, 311, 317, 379, 502, 745, 1229, 3151, 5075, 8682, 12296)
MEASURED(mail_ru, 0, 0, 78, 1155, 2954, 4789, 6800, 9258, 11273, 14120, 16263, 18350, 20438, 22425)
MEASURED(yandex, 930, 22161, 65, 178, 413, 893, 1828, 2741, 3661)
MEASURED(mail_com, 0, 0, 302, 757, 1439, 2463, 3998, 6301, 9755, 14936, 22708)
MEASURED(gmx, 0, 0, 301, 753, 1430, 2446, 3969, 6254, 9682, 14824, 22536)
MEASURED(aol, 0, 0, 332, 692, 1292, 1892)
MEASURED(india, 0, 0, 381, 981, 2181, 4581, 8782, 12981, 17181, 21381, 25581)
MEASURED(mimecast, HOUR, 10 * HOUR, 60, 360, 900, 1800, 3600)
MEASURED(mx_outbound, HOUR, 5 * DAY, 300, 600, 1200, 2400)
MEASURED(half_hourly, 30 * MINUTE, 4 * HOUR, 30 * MINUTE)

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

/* Most legitimate mail is encrypted, about 95 of 100; of spam nobody has published it. */
#define MODERN .encrypts = 99, .patience_s = 300

const struct sender_kind sender_kinds[] = {
    {"Postfix", MODERN, .share = 200, .schedule = postfix, .mails_max = 8},
    {"Exim", MODERN, .share = 84, .schedule = exim, .mails_max = 8},
    {"sendmail", MODERN, .share = 40, .schedule = sendmail, .mails_max = 6},
    {"a program that waits for 20 s", .encrypts = 99, .share = 20, .schedule = sendmail, .patience_s = 20,
     .mails_max = 6},
    {"qmail", .share = 5, .schedule = qmail, .patience_s = 300, .mails_max = 6},
    {"Exchange 2003, loses, 60 s", .share = 8, .schedule = exchange_2003_loses_60, .patience_s = 300, .mails_max = 4},
    {"Exchange 2003, loses, 120 s", .share = 4, .schedule = exchange_2003_loses_120, .patience_s = 300, .mails_max = 4},
    {"Exchange 2003, loses, 1 s", .share = 4, .schedule = exchange_2003_loses_1, .patience_s = 300, .mails_max = 4},
    {"the same three, recipients", .share = 4, .schedule = exchange_2003_loses_60, .patience_s = 300, .many = true},
    {"the same, mails at once, 60 s", .share = 4, .schedule = exchange_2003_loses_60, .patience_s = 300, .burst = true},
    {"the same, mails at once, 1 s", .share = 2, .schedule = exchange_2003_loses_1, .patience_s = 300, .burst = true},
    {"Exchange 2003, hotfix", .share = 5, .schedule = exchange_2003_hotfix, .patience_s = 300, .mails_max = 4},
    {"Exchange 2007 and later", MODERN, .share = 80, .schedule = exchange_2007, .mails_max = 6},
    {"pool within its /24", MODERN, .share = 50, .schedule = provider, .hosts = 100, .mails_max = 8},
    {"pool of 40 networks", MODERN, .share = 20, .schedule = provider, .networks = 40, .hosts = 20, .mails_max = 8},
    {"provider with 40 networks", MODERN, .share = 40, .schedule = provider, .networks = 40, .hosts = 20,
     .provider = true, .mails_max = 8},
    {"callback verifier", .share = 5, .schedule = verifier, .patience_s = 30, .callback = true},
    {"mailing list, VERP", MODERN, .share = 40, .schedule = postfix, .mails_max = 8, .verp = true},
    {"login codes", .encrypts = 99, .share = 40, .schedule = login_code, .patience_s = 120, .hosts = 20, .mails_max = 8,
     .verp = true},
    {"answers to mail of ours", MODERN, .share = 10, .schedule = postfix, .answers = true},
    {"gmail.com", MODERN, .share = 100, .schedule = gmail, .networks = 7, .mails_max = 8},
    {"yahoo.co.uk", MODERN, .share = 20, .schedule = yahoo, .mails_max = 8},
    {"hotmail.com", MODERN, .share = 70, .schedule = hotmail, .mails_max = 8},
    {"qq.com, for 205 min", MODERN, .share = 10, .schedule = qq, .networks = 2, .mails_max = 8},
    {"mail.ru", MODERN, .share = 15, .schedule = mail_ru, .networks = 7, .mails_max = 8},
    {"yandex.com", MODERN, .share = 15, .schedule = yandex, .mails_max = 8},
    {"mail.com", MODERN, .share = 10, .schedule = mail_com, .networks = 2, .mails_max = 8},
    {"gmx.com", MODERN, .share = 20, .schedule = gmx, .networks = 3, .mails_max = 8},
    {"aol.com, for 31.5 min", MODERN, .share = 10, .schedule = aol, .mails_max = 8},
    {"india.com", MODERN, .share = 5, .schedule = india, .mails_max = 8},
    {"Mimecast", MODERN, .share = 25, .schedule = mimecast, .networks = 8, .hosts = 20, .mails_max = 8},
    {"MX Outbound", MODERN, .share = 10, .schedule = mx_outbound, .hosts = 4, .mails_max = 8},
    {"Bitdefender, for 4 h", MODERN, .share = 15, .schedule = half_hourly, .networks = 4, .hosts = 4, .mails_max = 8},
    {"clouduss, for 4 h", MODERN, .share = 10, .schedule = half_hourly, .networks = 4, .hosts = 4, .mails_max = 8},

    {"fire and forget", .spam = true, .share = 700, .encrypts = 10, .schedule = once, .patience_s = 10},
    {"fast retry", .spam = true, .share = 120, .encrypts = 10, .schedule = fast, .patience_s = 15},
    {"fast retry, reads replies", .spam = true, .share = 10, .encrypts = 50, .schedule = fast_reader,
     .patience_s = 120},
    {"parallel retry", .spam = true, .share = 60, .encrypts = 10, .schedule = fast, .patience_s = 60, .parallel = 6},
    {"retry within minutes", .spam = true, .share = 20, .encrypts = 50, .schedule = in_minutes, .patience_s = 20},
    {"the same, reads replies", .spam = true, .share = 20, .encrypts = 50, .schedule = in_minutes, .patience_s = 120},
    {"retry from other networks", .spam = true, .share = 20, .encrypts = 50, .schedule = in_minutes, .patience_s = 20,
     .networks = 200},
    {"the same, forged EHLO domain", .spam = true, .share = 20, .encrypts = 50, .schedule = in_minutes,
     .patience_s = 20, .networks = 200, .forges = true},
    {"patient", .spam = true, .share = 30, .encrypts = 95, .schedule = patient, .patience_s = 120, .mails_max = 30},
};
const uint32_t sender_kind_count = sizeof sender_kinds / sizeof sender_kinds[0];
