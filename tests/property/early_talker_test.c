/*
 * Clients that talk before the greeting: which of them are early talkers, at every cut of what they say, where the
 * server has not greeted yet, where its greeting waits, and where it has told them before that they may (case 29).
 */
#include <stdlib.h>

#include "../lib/dialogue.h"
#include "../lib/engines.h"
#include "../lib/rules.h"

#define GREETING "220 hi\r\n"
#define EHLO     "EHLO x\r\n"
#define BYE      "221 2.0.0 Bye, and thank you for calling\r\n"

enum { DELAY_MS = 6000, MS = 1000 };

static const uint32_t greeting_len = sizeof GREETING - 1, ehlo_len = sizeof EHLO - 1;

static struct policy plain, late, closing, stripping;

static void fill_policies(void)
{
    policy_init_default(&plain);
    struct policy *const delaying[] = {&late, &closing};
    for (size_t i = 0; i < sizeof delaying / sizeof delaying[0]; i++) {
        policy_init_default(delaying[i]);
        struct rule rule = rule_of("late", RULE_ON_GREETING);
        rule.action.delay_ms = DELAY_MS;
        assert_true(policy_add_rule(delaying[i], &rule));
    }
    struct rule rule = rule_of("no early talkers", RULE_ON_ANOMALY);
    rule.anomalies = 1u << SMTP_ANOMALY_EARLY_TALKER;
    rule.action.kind = SMTP_ACTION_CLOSE;
    rule.action.refusal = SMTP_REFUSAL_CLOSING;
    assert_true(policy_add_rule(&closing, &rule));
    policy_init_default(&stripping);
    rules_add(&stripping, "never", RULE_ON_KEYWORD, "PIPECONNECT", SMTP_ACTION_STRIP, NULL);
}

/* ---- a greeting that waits ---- */

static uint32_t told_early(const struct drive *drive)
{
    uint32_t count = 0;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        count += event->kind == EVENT_ANOMALY && strcmp(event->reason, "early-talker") == 0;
    }
    return count;
}

static const struct event *told_tarpit(const struct drive *drive)
{
    for (size_t i = 0; i < drive_event_count(drive); i++)
        if (drive_event(drive, i)->event.kind == EVENT_TARPIT)
            return &drive_event(drive, i)->event;
    return NULL;
}

static struct drive *begin(const struct policy *policy, uint8_t ip_version)
{
    struct drive_plan plan = {
        .name = "early talker", .policy = policy, .seed = 7, .ip_version = ip_version, .no_acknowledgments = true};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    assert_int_equal(drive_fate(drive, drive_send_text(drive, SMTP_SERVER, 0, GREETING)), DRIVE_WAITS);
    return drive;
}

/* The client says EHLO in two segments. */
static void say_ehlo(struct drive *drive, uint32_t cut)
{
    struct span text = span_of(EHLO);
    struct segment first = drive_segment(drive, SMTP_CLIENT, 0, span_head(text, cut));
    drive_send(drive, SMTP_CLIENT, &first);
    drive_acknowledge(drive, SMTP_SERVER);
    if (cut < text.len) {
        struct segment second = drive_segment(drive, SMTP_CLIENT, cut, span_tail(text, cut));
        drive_send(drive, SMTP_CLIENT, &second);
        drive_acknowledge(drive, SMTP_SERVER);
    }
}

static void assert_read(const struct drive *drive, enum smtp_side side, const char *text)
{
    assert_true(span_equal(drive_read(drive, side), span_of(text)));
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

/* What he says goes on, the server has greeted; its reply waits behind the greeting. */
static void test_before_a_greeting_that_waits(void **state)
{
    (void)state;
    for (uint8_t version = 4; version <= 6; version += 2)
        for (uint32_t cut = 1; cut <= ehlo_len; cut++) {
            struct drive *drive = begin(&late, version);
            drive_wait(drive, 2000 * MS);
            say_ehlo(drive, cut);
            drive_wait(drive, 100 * MS);
            assert_int_equal(told_early(drive), 1);
            assert_read(drive, SMTP_SERVER, EHLO);
            uint64_t reply = drive_send_text(drive, SMTP_SERVER, greeting_len, "250 hi\r\n");
            assert_int_equal(drive_fate(drive, reply), DRIVE_WAITS);
            drive_wait(drive, (DELAY_MS - 2100) * MS - 1000);
            assert_int_equal(drive_read(drive, SMTP_CLIENT).len, 0);
            assert_null(told_tarpit(drive));
            drive_wait(drive, 10 * MS);
            drive_send_text(drive, SMTP_SERVER, greeting_len, "250 hi\r\n"); /* it comes again */
            assert_read(drive, SMTP_CLIENT, GREETING "250 hi\r\n");
            const struct event *told = told_tarpit(drive);
            assert_non_null(told);
            assert_string_equal(told->reason, "time");
            assert_string_equal(told->action, "late");
            assert_int_equal(told->verb, SMTP_VERB_CONNECT);
            assert_int_equal(told->delay_ms, DELAY_MS);
            assert_in_range(told->waited_ms, DELAY_MS, DELAY_MS + 2);
            end(drive);
        }
}

static void test_behind_it(void **state)
{
    (void)state;
    for (uint32_t cut = 1; cut <= ehlo_len; cut++) {
        struct drive *drive = begin(&late, 4);
        drive_wait(drive, (DELAY_MS + 1) * MS);
        assert_read(drive, SMTP_CLIENT, GREETING);
        drive_acknowledge(drive, SMTP_CLIENT);
        say_ehlo(drive, cut);
        assert_int_equal(told_early(drive), 0);
        end(drive);
    }
}

/* Closed: the server is told to quit, and the client reads the greeting and a 421 once the delay is over. */
static void test_closed(void **state)
{
    (void)state;
    for (uint32_t cut = 1; cut <= ehlo_len; cut++) {
        struct drive *drive = begin(&closing, 4);
        drive_wait(drive, 1000 * MS);
        say_ehlo(drive, cut);
        assert_int_equal(told_early(drive), 1);
        assert_read(drive, SMTP_SERVER, "QUIT  \r\n");
        drive_send_text(drive, SMTP_SERVER, greeting_len, BYE);
        drive_wait(drive, DELAY_MS * MS);
        drive_send_text(drive, SMTP_SERVER, greeting_len, BYE);
        assert_read(drive, SMTP_CLIENT, GREETING "421 4.7.0 Closing connection\r\n");
        end(drive);
    }
}

/* Who hangs up meanwhile has waited so long, which is told before the end of his connection. */
static void test_hangs_up(void **state)
{
    (void)state;
    static const uint8_t flags[] = {PACKET_FIN | PACKET_ACK, PACKET_RST};
    for (size_t i = 0; i < sizeof flags; i++) {
        struct drive *drive = begin(&late, 4);
        drive_wait(drive, 2500 * MS);
        struct segment last = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
        last.flags = flags[i];
        drive_send(drive, SMTP_CLIENT, &last);
        assert_int_equal(drive_counters(drive)->tarpit_hangups, 1);
        assert_in_range(drive_counters(drive)->tarpit_hangup_ms, 2500, 2502);
        const struct event *told = told_tarpit(drive);
        assert_non_null(told);
        assert_string_equal(told->reason, "hung-up");
        assert_in_range(told->waited_ms, 2500, 2502);
        bool is_last = &drive_event(drive, drive_event_count(drive) - 1)->event == told;
        assert_true(is_last == (flags[i] != PACKET_RST));
        end(drive);
    }
}

/* ---- who was told that he may (case 29) ---- */

enum { DAY_S = 24 * 3600 };

struct world {
    struct engine *engine;
    int64_t now_us;
    uint16_t port; /* of the next connection */
    uint32_t early;
};

static struct world new_world(const struct policy *policy)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 64;
    settings.blocks_max = 64;
    settings.held_max = 64;
    settings.events = 1u << EVENT_ANOMALY;
    struct world world = {.now_us = 1, .port = 2000};
    world.engine = engines_new(&settings, policy);
    return world;
}

static void deliver(struct world *world, const struct segment *segment)
{
    uint32_t len;
    uint8_t *bytes = segment_build(segment, &len);
    struct engine_packet packet = {.bytes = bytes, .len = len, .room = len, .checksum = ENGINE_CHECKSUM_GOOD};
    struct engine_verdict verdict;
    struct event event;
    engine_packet(world->engine, &packet, world->now_us += 10);
    while (engine_next_verdict(world->engine, &verdict))
        assert_int_equal(verdict.action, ENGINE_ACCEPT);
    while (engine_next_event(world->engine, &event))
        world->early += strcmp(event.reason, "early-talker") == 0;
    free(bytes);
}

/* A connection of `client` that says `turns`, each acknowledged, and its reset. Returns how many early talkers were
 * told. */
static uint32_t converse(struct world *world, uint8_t client, uint8_t server, const struct dialogue_turn *turns,
                         size_t count)
{
    uint32_t before = world->early, next[2] = {1000, 5000};
    struct segment segments[2] = {
        {.source = client, .destination = server, .source_port = world->port, .destination_port = 25, .window = 8192},
        {.source = server, .destination = client, .source_port = 25, .destination_port = world->port, .window = 8192},
    };
    world->port++;
    for (int step = 0; step < 2 + (int)count + 1; step++) {
        enum smtp_side side = step < 2 ? (enum smtp_side)step : SMTP_CLIENT;
        struct segment *segment = &segments[side];
        segment->payload = (struct span){0};
        segment->flags = step == 0 ? PACKET_SYN : step == 1 ? PACKET_SYN | PACKET_ACK : PACKET_RST | PACKET_ACK;
        if (step >= 2 && step < 2 + (int)count) {
            side = turns[step - 2].side;
            segment = &segments[side];
            segment->payload = turns[step - 2].octets;
            segment->flags = PACKET_ACK;
        }
        segment->seq = next[side];
        segment->ack = segment->flags & PACKET_ACK ? next[!side] : 0;
        deliver(world, segment);
        next[side] += (uint32_t)segment->payload.len + (step < 2);
    }
    return world->early - before;
}

#define OFFER "250-hi\r\n250-PIPECONNECT\r\n250 SIZE\r\n"

static const struct dialogue_turn waits[] = {S(GREETING), C(EHLO), S(OFFER), C("QUIT\r\n"), S("221 bye\r\n")};
static const struct dialogue_turn talks[] = {C(EHLO), S(GREETING OFFER), C("QUIT\r\n"), S("221 bye\r\n")};
enum { WAITS = sizeof waits / sizeof waits[0], TALKS = sizeof talks / sizeof talks[0], UP_TO_OFFER = 3 };

static void test_case_29_who_was_offered_it(void **state)
{
    (void)state;
    struct world world = new_world(&plain);
    assert_int_equal(converse(&world, 1, 2, talks, TALKS), 1);
    assert_int_equal(converse(&world, 1, 2, talks, TALKS), 0); /* he was told then */
    assert_int_equal(converse(&world, 3, 2, waits, WAITS), 0);
    assert_int_equal(converse(&world, 3, 2, talks, TALKS), 0);
    assert_int_equal(converse(&world, 3, 4, talks, TALKS), 1); /* another server */
    assert_int_equal(converse(&world, 5, 2, talks, TALKS), 1); /* another client */
    world.now_us += INT64_C(6) * DAY_S * 1000000;
    assert_int_equal(converse(&world, 3, 2, talks, TALKS), 0); /* and he is told again */
    world.now_us += INT64_C(6) * DAY_S * 1000000;
    assert_int_equal(converse(&world, 3, 2, talks, TALKS), 0);
    world.now_us += INT64_C(8) * DAY_S * 1000000;
    assert_int_equal(converse(&world, 3, 2, talks, TALKS), 1);
    engines_free(world.engine);
}

/* Exim has had three names for it. */
static void test_case_29_by_each_name(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        uint32_t early;
    } rows[] = {
        {"250-hi\r\n250-X_PIPE_CONNECT\r\n250 SIZE\r\n", 0}, /* before 4.94 */
        {"250-hi\r\n250-PIPE_CONNECT\r\n250 SIZE\r\n", 0},   /* draft-harris-early-pipe */
        {"250-hi\r\n250-PIPE_CONNECT \r\n250 SIZE\r\n", 0},
        {"250-hi\r\n250 pipe_connect\r\n", 0},
        {"250-hi\r\n250 PIPECONNECT\r\n", 0},
        {"250-hi\r\n250 PIPE_CONNECTS\r\n", 1},
        {"250-hi\r\n250 PIPE\r\n", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world world = new_world(&plain);
        const struct dialogue_turn offered[] = {
            S(GREETING), C(EHLO), {SMTP_SERVER, span_of(rows[i].offer)}, C("QUIT\r\n"), S("221 bye\r\n")};
        assert_int_equal(converse(&world, 3, 2, offered, WAITS), 0);
        assert_int_equal(converse(&world, 3, 2, talks, TALKS), rows[i].early);
        engines_free(world.engine);
    }
}

/* Behind a load balancer it is the client of whom that tells: one that was told does not speak for the others. */
static void test_case_29_behind_a_balancer(void **state)
{
    (void)state;
    static const struct dialogue_turn waiting[] = {C("PROXY TCP4 192.0.2.1 10.1.0.2 1 25\r\n"), S(GREETING), C(EHLO),
                                                   S(OFFER)};
    static const struct dialogue_turn told[] = {C("PROXY TCP4 192.0.2.1 10.1.0.2 1 25\r\n" EHLO)};
    static const struct dialogue_turn other[] = {C("PROXY TCP4 192.0.2.2 10.1.0.2 1 25\r\n" EHLO)};
    static const uint8_t balancer[] = {10, 1, 0, 1};
    static struct policy balanced;
    policy_init_default(&balanced);
    assert_true(policy_name_balancer(&balanced, network_of(4, balancer, 32)) && policy_seal(&balanced));
    struct world world = new_world(&balanced);
    assert_int_equal(converse(&world, 1, 2, waiting, 4), 0);
    assert_int_equal(converse(&world, 1, 2, told, 1), 0);
    assert_int_equal(converse(&world, 1, 2, other, 1), 1);
    engines_free(world.engine);
}

static void test_case_29_stripped(void **state)
{
    (void)state;
    struct world world = new_world(&stripping);
    assert_int_equal(converse(&world, 3, 2, waits, UP_TO_OFFER), 0);
    assert_int_equal(converse(&world, 3, 2, talks, 1), 1);
    engines_free(world.engine);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_a_greeting_that_waits),
        cmocka_unit_test(test_behind_it),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_hangs_up),
        cmocka_unit_test(test_case_29_who_was_offered_it),
        cmocka_unit_test(test_case_29_by_each_name),
        cmocka_unit_test(test_case_29_behind_a_balancer),
        cmocka_unit_test(test_case_29_stripped),
    };
    fill_policies();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("early talker", tests, NULL, NULL);
}
