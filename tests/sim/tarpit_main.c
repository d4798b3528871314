/*
 * Tarpits in simulation: servers whose TCP gives up after 5 or 15 resends, with first timeouts of 0.2, 1 and 3 seconds,
 * wait for the acknowledgment of a reply that the filter delays. Prints TAP, and for each row how exact the ends were.
 *
 *   tarpit_main
 *
 * A server that gives up fails the test. Without losses the delay ends within 50 ms (99 of 100); with them it ends, and
 * both sides have read what they must. Who gives up after 5 resends does so where the first piece and the next resend
 * are both lost: of 100 such sessions on a path that loses 2 percent of the packets on each of its two links, at most
 * 2, with delays up to 30 s.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

enum { RUNS = 40, RUNS_IMPATIENT = 200, LINK_US = 500, PRECISE_US = 50000, IMPATIENT_DELAY_MS = 30000 };
static const char greeting[] = "220 mail.example.com ESMTP\r\n";

struct row {
    unsigned resends_max;
    int64_t rto_us;
    bool keep_backoff;
    uint32_t delay_ms;
    const char *reply; /* of the server, to RCPT */
    uint32_t loss;     /* per 1000 */
};

/* How far it has come. */
struct talk {
    const struct row *row;
    bool greeted, asked, replied;
    int64_t came_us, read_us; /* when the reply came to the gateway, and when the client had all of it */
};

static struct policy policy;

/* The client asks once it is greeted, the server answers, and both close once the reply was read. */
static void talk(struct session *session, void *context)
{
    struct talk *talk = context;
    struct endpoint *client = &session->ends[0], *server = &session->ends[1];
    static const char command[] = "RCPT TO:<slow@example.com>\r\n";
    if (!talk->greeted) {
        talk->greeted = true;
        endpoint_write(server, greeting, sizeof greeting - 1, session->now_us);
    }
    if (!talk->asked && client->read >= sizeof greeting - 1) {
        talk->asked = true;
        endpoint_write(client, command, sizeof command - 1, session->now_us);
    }
    if (talk->replied && talk->came_us == 0 && session->arrived_us[1] == session->now_us)
        talk->came_us = session->now_us;
    if (!talk->replied && server->read >= sizeof command - 1) {
        talk->replied = true;
        endpoint_write(server, talk->row->reply, (uint32_t)strlen(talk->row->reply), session->now_us);
    }
    if (talk->replied && talk->read_us == 0 && client->read >= sizeof greeting - 1 + strlen(talk->row->reply)) {
        talk->read_us = session->now_us;
        endpoint_close(client, session->now_us);
        endpoint_close(server, session->now_us);
    }
}

/* One session. NULL, or what was wrong. */
static const char *play(struct session *session, const struct row *row, uint64_t seed, struct talk *progress)
{
    *progress = (struct talk){.row = row};
    policy.rules[0].action.delay_ms = row->delay_ms;
    struct session_plan plan = {
        .policy = &policy,
        .endpoint =
            {
                .mss = 1460,
                .window = 60000,
                .rto_us = row->rto_us,
                .resends_max = row->resends_max,
                .keep_backoff = row->keep_backoff,
                .timestamps = seed % 2,
                .delayed_ack = seed % 3 == 0,
                .sack = seed % 5 == 0,
            },
        .link_us = LINK_US,
        .loss = row->loss,
        .seed = seed,
        .from_us = 1000000,
        .until_us = INT64_C(2000000000),
        .talk = talk,
        .context = progress,
    };
    const char *wrong = session_play(session, &plan);
    if (!wrong && memcmp(session->ends[0].in + sizeof greeting - 1, row->reply, strlen(row->reply)) != 0)
        wrong = "the client read another reply";
    return wrong;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Whether servers may give up in this row. */
static bool is_impatient(const struct row *row)
{
    return row->loss && row->resends_max == 5;
}

static void print_row(const struct row *row, unsigned number, bool good)
{
    printf("%sok %u - %u s, %zu octets, a server that gives up after %u resends, timeout from %.1f s %s%s: ",
           good ? "" : "not ", number, row->delay_ms / 1000, strlen(row->reply), row->resends_max,
           (double)row->rto_us / 1e6, row->keep_backoff ? "kept long (RFC 6298)" : "anew at each progress",
           row->loss ? ", packets lost" : "");
}

/* A row, in sessions that differ in their options. */
static bool run_row(const struct row *row, unsigned number)
{
    static struct session session;
    static int64_t off_us[RUNS_IMPATIENT];
    unsigned runs = is_impatient(row) ? RUNS_IMPATIENT : RUNS, done = 0, gave_up = 0;
    for (unsigned i = 0; i < runs; i++) {
        struct talk progress;
        const char *wrong = play(&session, row, number * 1000 + i, &progress);
        if (wrong && is_impatient(row) && session.ends[1].state == ENDPOINT_DEAD) {
            gave_up++;
        } else if (wrong) {
            printf("not ok %u - session %u: %s\n", number, i, wrong);
            return false;
        } else {
            off_us[done++] = llabs(progress.read_us - progress.came_us - (int64_t)row->delay_ms * 1000);
        }
    }
    session_fini(&session);
    qsort(off_us, done, sizeof off_us[0], compare);
    int64_t worst_us = done ? off_us[done - 1] : 0;
    bool good = (row->loss || worst_us <= PRECISE_US) && gave_up * 50 <= runs;
    print_row(row, number, good);
    printf("off by %.1f ms at most", (double)worst_us / 1000);
    if (is_impatient(row))
        printf("; %u of %u servers gave up", gave_up, runs);
    printf("\n");
    return good;
}

int main(void)
{
    static const unsigned limits[] = {5, 15};
    static const int64_t timeouts_us[] = {200000, 1000000, 3000000};
    static const uint32_t delays_ms[] = {5000, 30000, 120000, 240000};
    static const char shortest[] = "250 2.1.5 Ok\r\n";
    static const char usual[] =
        "250 2.1.5 <slow@example.com>... Recipient ok, and the mail system here is in a good mood\r\n";
    unsigned number = 0, failures = 0;
    policy_init_default(&policy);
    struct rule rule = rule_of("slow", RULE_ON_REPLY);
    rule.verbs = UINT64_C(1) << SMTP_VERB_RCPT;
    if (!policy_add_rule(&policy, &rule))
        return 2;
    for (int i = 0; i < 2 * 3 * 4 * 2 * 2; i++) {
        struct row row = {
            .resends_max = limits[i % 2],
            .rto_us = timeouts_us[i / 2 % 3],
            .delay_ms = delays_ms[i / 6 % 4],
            .keep_backoff = i / 24 % 2,
            .loss = i / 48 ? 20 : 0,
        };
        row.reply = row.keep_backoff ? shortest : usual;
        if (!is_impatient(&row) || row.delay_ms <= IMPATIENT_DELAY_MS)
            failures += !run_row(&row, ++number);
    }
    printf("1..%u\n", number);
    return failures > 0;
}
