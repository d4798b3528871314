/*
 * Tarpits in simulation: servers whose TCP gives up after 5 or 15 resends, with first timeouts of 0.2, 1 and 3 seconds,
 * wait for the acknowledgment of a reply that the filter delays. Prints TAP, and for each row how exact the ends were.
 *
 *   tarpit_main
 *
 * A server that gives up fails the test. Without losses the delay ends within 50 ms (99 of 100); with them it ends, and
 * both sides have read what they must.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/rules.h"
#include "endpoint.h"
#include "engine/engine.h"
#include "policy/policy.h"

enum { FLIGHTS_MAX = 64, TOKENS_MAX = 20000, RUNS = 40, LINK_US = 500, PRECISE_US = 50000 };
static const char greeting[] = "220 mail.example.com ESMTP\r\n";

struct row {
    unsigned resends_max;
    int64_t rto_us;
    bool keep_backoff;
    uint32_t delay_ms;
    const char *reply; /* of the server, to RCPT */
    uint32_t loss;     /* per 1000 */
};

struct flight {
    int64_t at_us;
    uint64_t order;
    uint8_t *packet;
    uint32_t len;
    int from, to; /* 0, 1: endpoints; 2: the gateway */
};

struct run {
    const struct row *row;
    struct random_source random;
    struct endpoint ends[2];
    struct flight flights[FLIGHTS_MAX];
    uint32_t flight_count;
    uint64_t order;
    unsigned lost_in_a_row;
    struct engine *engine;
    uint8_t *kept[TOKENS_MAX]; /* packets without a verdict */
    uint32_t kept_len[TOKENS_MAX];
    uint8_t from[TOKENS_MAX];
    uint64_t tokens;
    int64_t now_us, came_us, read_us; /* when the reply came to the gateway, and when the client had all of it */
    uint32_t reply_at, reply_end;     /* in what the server says */
    bool asked, replied;
    const char *wrong;
};

static struct policy policy;
static void *engine_memory;

static void fly(struct run *run, int from, int to, uint8_t *packet, uint32_t len)
{
    bool lost = run->lost_in_a_row < 2 && random_below(&run->random, 1000) < run->row->loss;
    run->lost_in_a_row = lost ? run->lost_in_a_row + 1 : 0;
    if (lost || run->flight_count == FLIGHTS_MAX) {
        free(packet);
        return;
    }
    run->flights[run->flight_count++] = (struct flight){run->now_us + LINK_US, run->order++, packet, len, from, to};
}

static void endpoint_sends(void *context, struct endpoint *from, uint8_t *packet, uint32_t len)
{
    struct run *run = context;
    fly(run, from == &run->ends[0] ? 0 : 1, 2, packet, len);
}

static void carry_out(struct run *run)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(run->engine, &verdict)) {
        uint8_t *packet = run->kept[verdict.token];
        uint32_t len = run->kept_len[verdict.token];
        run->kept[verdict.token] = NULL;
        if (verdict.action == ENGINE_ACCEPT && verdict.edited) {
            free(packet);
            len = (uint32_t)verdict.packet.len;
            packet = malloc(len);
            memcpy(packet, verdict.packet.ptr, len);
        }
        if (verdict.action == ENGINE_ACCEPT)
            fly(run, 2, !run->from[verdict.token], packet, len);
        else
            free(packet);
    }
}

static void at_gateway(struct run *run, const struct flight *flight)
{
    if (run->tokens + 1 == TOKENS_MAX) {
        run->wrong = "too many packets";
        free(flight->packet);
        return;
    }
    uint64_t token = ++run->tokens;
    run->kept[token] = flight->packet;
    run->kept_len[token] = flight->len;
    run->from[token] = (uint8_t)flight->from;
    uint8_t *bytes = malloc(flight->len);
    memcpy(bytes, flight->packet, flight->len);
    struct engine_packet packet = {bytes, flight->len, flight->len, token, ENGINE_CHECKSUM_UNSEEN};
    engine_packet(run->engine, &packet, run->now_us);
    if (run->replied && run->came_us == 0 && flight->from == 1)
        run->came_us = run->now_us;
    carry_out(run);
    free(bytes);
}

static bool take_flight(struct run *run)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < run->flight_count; i++)
        if (run->flights[i].at_us < run->flights[best].at_us ||
            (run->flights[i].at_us == run->flights[best].at_us && run->flights[i].order < run->flights[best].order))
            best = i;
    if (run->flight_count == 0 || run->flights[best].at_us > run->now_us)
        return false;
    struct flight flight = run->flights[best];
    run->flights[best] = run->flights[--run->flight_count];
    if (flight.to == 2) {
        at_gateway(run, &flight);
    } else {
        endpoint_receive(&run->ends[flight.to], flight.packet, flight.len, run->now_us);
        free(flight.packet);
    }
    return true;
}

/* The client asks once it is greeted, the server answers, and both close once the reply was read. */
static void talk(struct run *run)
{
    struct endpoint *client = &run->ends[0], *server = &run->ends[1];
    static const char command[] = "RCPT TO:<slow@example.com>\r\n";
    if (!run->asked && client->read >= sizeof greeting - 1) {
        run->asked = true;
        endpoint_write(client, command, sizeof command - 1, run->now_us);
    }
    if (!run->replied && server->read >= sizeof command - 1) {
        run->replied = true;
        endpoint_write(server, run->row->reply, (uint32_t)strlen(run->row->reply), run->now_us);
    }
    if (run->replied && run->read_us == 0 && client->read >= sizeof greeting - 1 + strlen(run->row->reply)) {
        run->read_us = run->now_us;
        endpoint_close(client, run->now_us);
        endpoint_close(server, run->now_us);
    }
}

static int64_t next_due(const struct run *run)
{
    int64_t at = engine_next_due(run->engine);
    for (uint32_t i = 0; i < run->flight_count; i++)
        at = run->flights[i].at_us < at ? run->flights[i].at_us : at;
    for (int side = 0; side < 2; side++)
        at = endpoint_due(&run->ends[side]) < at ? endpoint_due(&run->ends[side]) : at;
    return at;
}

static void start(struct run *run, const struct row *row, uint64_t seed)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 16;
    settings.blocks_max = 128;
    settings.held_max = 64;
    size_t bytes = engine_bytes(&settings);
    engine_memory = realloc(engine_memory, bytes);
    memset(engine_memory, 0, bytes);
    memset(run, 0, sizeof *run);
    policy.rules[0].action.delay_ms = row->delay_ms;
    run->engine = engine_init(engine_memory, &settings, &policy);
    run->row = row;
    run->random.state = seed;
    run->now_us = 1000000;
    for (int side = 0; side < 2; side++) {
        struct endpoint_plan plan = {
            .mss = 1460,
            .window = 60000,
            .rto_us = row->rto_us,
            .resends_max = row->resends_max,
            .keep_backoff = row->keep_backoff,
            .timestamps = seed % 2,
            .delayed_ack = seed % 3 == 0,
            .sack = seed % 5 == 0,
            .isn = (uint32_t)random_next(&run->random),
        };
        endpoint_init(&run->ends[side], &plan, side == 0, endpoint_sends, run, &run->random);
    }
    endpoint_open(&run->ends[0], run->now_us);
    endpoint_write(&run->ends[1], greeting, sizeof greeting - 1, run->now_us);
}

static void finish(struct run *run)
{
    bool finished = endpoint_finished(&run->ends[0]) && endpoint_finished(&run->ends[1]);
    if (run->ends[1].state == ENDPOINT_DEAD)
        run->wrong = "the server gave up";
    else if (!finished && !run->wrong)
        run->wrong = "it did not come to its end";
    else if (memcmp(run->ends[0].in + sizeof greeting - 1, run->row->reply, strlen(run->row->reply)) != 0)
        run->wrong = "the client read another reply";
    engine_stop(run->engine, run->now_us);
    carry_out(run);
    for (uint64_t token = 1; token <= run->tokens; token++)
        if (run->kept[token])
            run->wrong = "a packet got no verdict";
    for (uint32_t i = 0; i < run->flight_count; i++)
        free(run->flights[i].packet);
    for (int side = 0; side < 2; side++) {
        if (run->ends[side].conflict)
            run->wrong = "two versions of an octet (law 2)";
        endpoint_fini(&run->ends[side]);
    }
}

/* One session. NULL, or what was wrong. */
static const char *play(struct run *run, const struct row *row, uint64_t seed)
{
    start(run, row, seed);
    while (!run->wrong && run->ends[0].state != ENDPOINT_DEAD && run->ends[1].state != ENDPOINT_DEAD &&
           !(endpoint_finished(&run->ends[0]) && endpoint_finished(&run->ends[1]))) {
        int64_t at = next_due(run);
        if (at == INT64_MAX || run->now_us > INT64_C(2000000000))
            break;
        run->now_us = at > run->now_us ? at : run->now_us;
        while (take_flight(run))
            ;
        if (engine_next_due(run->engine) <= run->now_us) {
            engine_tick(run->engine, run->now_us);
            carry_out(run);
        }
        for (int side = 0; side < 2; side++)
            endpoint_tick(&run->ends[side], run->now_us);
        talk(run);
    }
    finish(run);
    return run->wrong;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* A row, in sessions that differ in their options. */
static bool run_row(const struct row *row, unsigned number)
{
    static struct run run;
    static int64_t off_us[RUNS];
    for (unsigned i = 0; i < RUNS; i++) {
        const char *wrong = play(&run, row, number * 1000 + i);
        if (wrong) {
            printf("not ok %u - session %u: %s\n", number, i, wrong);
            return false;
        }
        off_us[i] = llabs(run.read_us - run.came_us - (int64_t)row->delay_ms * 1000);
    }
    qsort(off_us, RUNS, sizeof off_us[0], compare);
    int64_t worst_us = off_us[RUNS - 1];
    bool good = row->loss || worst_us <= PRECISE_US;
    printf(
        "%sok %u - %u s, %zu octets, a server that gives up after %u resends, timeout from %.1f s %s%s: off by %.1f ms "
        "at most\n",
        good ? "" : "not ", number, row->delay_ms / 1000, strlen(row->reply), row->resends_max,
        (double)row->rto_us / 1e6, row->keep_backoff ? "kept long (RFC 6298)" : "anew at each progress",
        row->loss ? ", packets lost" : "", (double)worst_us / 1000);
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
        /* Who gives up so soon does so where two pieces are lost in a row. */
        if (!row.loss || row.resends_max > 5)
            failures += !run_row(&row, ++number);
    }
    printf("1..%u\n", number);
    free(engine_memory);
    return failures > 0;
}
