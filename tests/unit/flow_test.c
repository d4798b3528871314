/*
 * The table of connections: finding, making room, and what a flood of SYNs may not do; bounds of what all connections
 * share.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/segment.h"
#include "engine/engine.h"
#include "policy/policy.h"

enum { FLOWS = 64, HELD = 32 };

static struct policy policy;
static struct engine *engine;
static int64_t now_us;
static uint64_t tokens;
static bool marked; /* packets come as those of a connection with an offset */

static int begin(void **state)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = FLOWS;
    settings.blocks_max = 256;
    settings.held_max = HELD;
    settings.events = 1u << EVENT_UNEDITED | 1u << EVENT_TARPIT;
    policy_init_default(&policy);
    engine = engine_init(calloc(1, engine_bytes(&settings) + 64), &settings, &policy);
    now_us = 1000000;
    *state = NULL;
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(engine);
    return 0;
}

/* Send a segment; true where it passed. *left, where given, is the payload length it left with. */
static bool send(uint32_t client, bool from_client, uint8_t flags, uint32_t seq, uint32_t ack, const char *text,
                 uint32_t *left)
{
    uint16_t client_port = (uint16_t)(10000 + client);
    struct segment segment = {
        .source = from_client ? 1 : 2,
        .destination = from_client ? 2 : 1,
        .source_port = from_client ? client_port : 25,
        .destination_port = from_client ? 25 : client_port,
        .flags = flags,
        .seq = seq,
        .ack = ack,
        .window = 60000,
        .payload = span_of(text),
    };
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    struct engine_packet packet = {.bytes = bytes, .len = len, .room = len, .token = ++tokens, .marked_offset = marked};
    struct engine_verdict verdict;
    engine_packet(engine, &packet, now_us++);
    bool passed = engine_next_verdict(engine, &verdict) && verdict.action == ENGINE_ACCEPT;
    if (left && passed) {
        struct packet view;
        uint8_t copy[2048];
        struct span leaves = verdict.edited ? verdict.packet : (struct span){bytes, len};
        memcpy(copy, leaves.ptr, leaves.len);
        assert_int_equal(packet_parse(&view, copy, (uint32_t)leaves.len), PACKET_TCP);
        *left = view.payload_len;
    }
    while (engine_next_verdict(engine, &verdict))
        ;
    free(bytes);
    return passed;
}

static const char offer[] = "250-h\r\n250-XEXCH50\r\n250 DSN\r\n";
static const char plain[] = "250-h\r\n250-SIZE\r\n250 DSN\r\n";

/* A session up to the reply to EHLO. Returns the octets that the reply left with. */
static uint32_t open_session(uint32_t client, const char *reply)
{
    uint32_t left = 0;
    send(client, true, PACKET_SYN, 99, 0, "", NULL);
    send(client, false, PACKET_SYN | PACKET_ACK, 499, 100, "", NULL);
    send(client, true, PACKET_ACK, 100, 500, "", NULL);
    send(client, false, PACKET_ACK, 500, 100, "220 h\r\n", NULL);
    send(client, true, PACKET_ACK, 100, 507, "EHLO x\r\n", NULL);
    send(client, false, PACKET_ACK, 507, 108, reply, &left);
    return left;
}

static void flood(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        send(1000 + i, true, PACKET_SYN, i, 0, "", NULL);
}

static void test_a_flood_of_syns_leaves_sessions_alone(void **state)
{
    (void)state;
    for (uint32_t client = 0; client < 8; client++)
        open_session(client, client % 2 ? offer : plain);
    flood(5000);
    assert_int_equal(engine_gauges(engine).flows, FLOWS);
    assert_int_equal(engine_counters(engine)->flows_evicted, 5000 - (FLOWS - 8));
    /* All eight are still followed: the acknowledgment of the edited ones is moved back. */
    assert_int_equal(open_session(9, offer), sizeof offer - 1 - 13);
    assert_int_equal(engine_counters(engine)->flows_midstream, 0);
    for (uint32_t client = 0; client < 8; client++)
        assert_true(send(client, true, PACKET_ACK, 108, 507 + (client % 2 ? sizeof offer - 14 : sizeof plain - 1),
                         "NOOP\r\n", NULL));
    assert_int_equal(engine_counters(engine)->flows_midstream, 0);
}

/* A server answers each SYN of a flood, and its sender, who is not there, acknowledges none. */
static void test_a_flood_that_is_answered_leaves_sessions_alone(void **state)
{
    (void)state;
    for (uint32_t client = 0; client < 8; client++)
        open_session(client, plain);
    for (uint32_t i = 0; i < 500; i++) {
        send(1000 + i, true, PACKET_SYN, i, 0, "", NULL);
        send(1000 + i, false, PACKET_SYN | PACKET_ACK, 499, i + 1, "", NULL);
    }
    assert_int_equal(engine_counters(engine)->flows_evicted, 500 - (FLOWS - 8));
    for (uint32_t client = 0; client < 8; client++)
        assert_true(send(client, true, PACKET_ACK, 108, 507 + sizeof plain - 1, "NOOP\r\n", NULL));
    assert_int_equal(engine_counters(engine)->flows_midstream, 0);
    engine_tick(engine, now_us + 74000000);
    assert_int_equal(engine_gauges(engine).flows, FLOWS);
    engine_tick(engine, now_us + 76000000);
    assert_int_equal(engine_gauges(engine).flows, 8);
}

static void test_flows_with_an_offset_are_never_evicted(void **state)
{
    (void)state;
    for (uint32_t client = 0; client < FLOWS; client++)
        open_session(client, client < FLOWS / 2 ? offer : plain);
    /* New sessions make room for themselves among those at offset zero, the oldest first. */
    for (uint32_t client = FLOWS; client < FLOWS + FLOWS / 2; client++)
        assert_int_equal(open_session(client, offer), sizeof offer - 1 - 13);
    assert_int_equal(engine_counters(engine)->flows_evicted, FLOWS / 2);
    /* Now all have an offset: a new one passes unedited, and is counted. */
    assert_int_equal(engine_counters(engine)->unplaced, 0);
    assert_int_equal(open_session(5000, offer), sizeof offer - 1);
    assert_int_equal(engine_counters(engine)->unplaced, 6);
    assert_int_equal(engine_gauges(engine).flows, FLOWS);
}

static void test_an_offset_that_nobody_knows_never_passes(void **state)
{
    (void)state;
    marked = true;
    assert_false(send(1, true, PACKET_ACK, 108, 520, "MAIL FROM:<a@example.net>\r\n", NULL));
    assert_false(send(1, false, PACKET_ACK, 533, 108, "250 OK\r\n", NULL));
    assert_false(send(1, true, PACKET_ACK | PACKET_RST, 108, 520, "", NULL));
    assert_int_equal(engine_counters(engine)->offset_unknown, 3);
    assert_int_equal(engine_gauges(engine).flows, 0);
    /* A new connection of the same ports is another one, and one that is known passes, translated. */
    assert_int_equal(open_session(1, offer), sizeof offer - 1 - 13);
    assert_true(send(1, true, PACKET_ACK, 108, 507 + sizeof offer - 14, "NOOP\r\n", NULL));
    assert_int_equal(engine_counters(engine)->offset_unknown, 3);
    marked = false;
}

static void test_what_was_evicted_passes_unedited(void **state)
{
    (void)state;
    struct event event;
    open_session(1, plain);
    for (uint32_t client = 2; client < 2 + FLOWS; client++)
        open_session(client, plain);
    assert_int_equal(engine_counters(engine)->flows_evicted, 2 - 1);
    uint32_t left = 0;
    assert_true(send(1, false, PACKET_ACK, 507 + sizeof plain - 1, 108, offer, &left));
    assert_int_equal(left, sizeof offer - 1);
    assert_int_equal(engine_counters(engine)->flows_midstream, 1);
    assert_true(engine_next_event(engine, &event));
    assert_string_equal(event.reason, "midstream");
    assert_true(send(1, true, PACKET_ACK, 108, 507, "XEXCH50 1 2\r\n", &left));
    assert_false(engine_next_event(engine, &event)); /* told once */
}

static void test_both_directions_find_the_same_flow(void **state)
{
    (void)state;
    for (uint32_t client = 0; client < FLOWS; client++)
        open_session(client, plain);
    assert_int_equal(engine_gauges(engine).flows, FLOWS);
    assert_int_equal(engine_counters(engine)->flows_created, FLOWS);
    assert_int_equal(engine_counters(engine)->flows_midstream, 0);
}

static void test_idle_flows_end(void **state)
{
    (void)state;
    static const struct {
        const char *reply;
        int64_t alive_s, dead_s;
    } rows[] = {{plain, 3000, 3700}, {offer, 4 * 24 * 3600, 6 * 24 * 3600}};
    for (size_t i = 0; i < 2; i++) {
        open_session((uint32_t)i, rows[i].reply);
        int64_t began_us = now_us;
        now_us = began_us + rows[i].alive_s * 1000000;
        engine_tick(engine, now_us);
        assert_int_equal(engine_gauges(engine).flows, 1);
        now_us = began_us + rows[i].dead_s * 1000000;
        engine_tick(engine, now_us);
        assert_int_equal(engine_gauges(engine).flows, 0);
        assert_int_equal(engine_gauges(engine).blocks, 0);
    }
}

static void test_tarpits_end_before_there_is_no_room(void **state)
{
    (void)state;
    static struct policy slow;
    struct rule rule = rule_of("slow", RULE_ON_REPLY);
    struct event event;
    uint32_t client = 0;
    rule.action.delay_ms = 60000;
    policy_init_default(&slow);
    assert_true(policy_add_rule(&slow, &rule));
    assert_true(engine_use_policy(engine, &slow));
    for (; client < HELD - HELD / 16; client++)
        assert_int_equal(open_session(client, plain), 0);
    assert_int_equal(engine_gauges(engine).tarpitted, client);
    assert_int_equal(engine_counters(engine)->tarpits_relieved, 0);
    send(client, true, PACKET_SYN, 99, 0, "", NULL);
    uint64_t relieved = engine_counters(engine)->tarpits_relieved;
    assert_true(relieved > 0);
    for (uint64_t oldest = 1; oldest <= relieved; oldest++) {
        assert_true(engine_next_event(engine, &event));
        assert_string_equal(event.reason, "relieved");
        assert_int_equal(event.flow_id, oldest);
    }
    for (; client < FLOWS; client++)
        assert_int_equal(open_session(client, plain), 0);
    assert_int_equal(engine_counters(engine)->tarpits, FLOWS);
    assert_int_equal(engine_counters(engine)->out_of_bounds, 0);
}

/* Connections keep the rules that they began under, and so many sets of rules are kept for them. */
static void test_sets_of_rules_are_bounded(void **state)
{
    (void)state;
    static struct policy sets[ENGINE_POLICIES_MAX];
    for (uint32_t i = 0; i < ENGINE_POLICIES_MAX; i++) {
        policy_init_default(&sets[i]);
        open_session(i, plain);
        assert_int_equal(engine_has_policy_room(engine), i < ENGINE_POLICIES_MAX - 1);
        assert_int_equal(engine_use_policy(engine, &sets[i]), i < ENGINE_POLICIES_MAX - 1);
    }
    now_us += INT64_C(3700) * 1000000;
    engine_tick(engine, now_us);
    assert_int_equal(engine_gauges(engine).flows, 0);
    assert_false(engine_needs_policy(engine, &sets[0]));
    assert_true(engine_use_policy(engine, &sets[ENGINE_POLICIES_MAX - 1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_flood_of_syns_leaves_sessions_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_a_flood_that_is_answered_leaves_sessions_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_flows_with_an_offset_are_never_evicted, begin, end),
        cmocka_unit_test_setup_teardown(test_an_offset_that_nobody_knows_never_passes, begin, end),
        cmocka_unit_test_setup_teardown(test_what_was_evicted_passes_unedited, begin, end),
        cmocka_unit_test_setup_teardown(test_both_directions_find_the_same_flow, begin, end),
        cmocka_unit_test_setup_teardown(test_idle_flows_end, begin, end),
        cmocka_unit_test_setup_teardown(test_tarpits_end_before_there_is_no_room, begin, end),
        cmocka_unit_test_setup_teardown(test_sets_of_rules_are_bounded, begin, end),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
