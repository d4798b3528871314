/*
 * The table of connections: finding, making room, and what a flood of SYNs may not do; bounds of what all connections
 * share.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/engines.h"
#include "../lib/segment.h"
#include "engine/engine.h"
#include "policy/policy.h"

enum { FLOWS = 64, HELD = 32 };

static struct policy policy;
static struct engine *engine;
static int64_t now_us;
static uint64_t tokens;
static bool marked; /* packets come as those of a connection that was promised something */
static uint8_t flags_left;
static uint32_t seq_left;

static int begin_with(bool pass_on_overload)
{
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = FLOWS;
    settings.blocks_max = 256;
    settings.held_max = HELD;
    settings.pass_on_overload = pass_on_overload;
    settings.events = 1u << EVENT_UNEDITED | 1u << EVENT_TARPIT;
    policy_init_default(&policy);
    engine = engines_new(&settings, &policy);
    now_us = 1000000;
    return 0;
}

static int begin(void **state)
{
    *state = NULL;
    return begin_with(false);
}

static int begin_passing(void **state)
{
    *state = NULL;
    return begin_with(true);
}

static int end(void **state)
{
    (void)state;
    engines_free(engine);
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
    struct engine_packet packet = {
        .bytes = bytes, .len = len, .room = len, .token = ++tokens, .marked_promised = marked};
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
        flags_left = view.flags;
        seq_left = view.seq;
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

static void test_flows_with_a_promise_are_never_evicted(void **state)
{
    (void)state;
    for (uint32_t client = 0; client < FLOWS; client++)
        open_session(client, client < FLOWS / 2 ? offer : plain);
    /* New sessions make room for themselves among those at offset zero, the oldest first. */
    for (uint32_t client = FLOWS; client < FLOWS + FLOWS / 2; client++)
        assert_int_equal(open_session(client, offer), sizeof offer - 1 - 13);
    assert_int_equal(engine_counters(engine)->flows_evicted, FLOWS / 2);
    /* Now all have an offset: a new one finds no place, and is counted. */
    assert_int_equal(engine_counters(engine)->unplaced, 0);
}

static void test_offsets_everywhere_and_a_new_connection_waits(void **state)
{
    test_flows_with_a_promise_are_never_evicted(state);
    assert_false(send(5000, true, PACKET_SYN, 99, 0, "", NULL));
    assert_false(send(5000, false, PACKET_SYN | PACKET_ACK, 499, 100, "", NULL));
    assert_int_equal(engine_counters(engine)->unplaced, 2);
    assert_false(send(5000, true, PACKET_ACK, 100, 500, "EHLO x\r\n", NULL));
    assert_int_equal(engine_counters(engine)->connection_unknown, 1);
    assert_int_equal(engine_gauges(engine).flows, FLOWS);
}

static void test_offsets_everywhere_and_a_new_connection_passes(void **state)
{
    test_flows_with_a_promise_are_never_evicted(state);
    assert_int_equal(open_session(5000, offer), sizeof offer - 1);
    assert_int_equal(engine_counters(engine)->unplaced, 6);
    assert_int_equal(engine_gauges(engine).flows, FLOWS);
}

/*
 * Who says QUIT and never closes holds no place that others need, once he has read that the server has closed. Before,
 * the reply to his message may be among what he has not read.
 */
static void test_what_the_server_closed_makes_room(void **state)
{
    (void)state;
    uint32_t bye = 507 + sizeof offer - 14;
    for (uint32_t client = 0; client < FLOWS; client++) {
        open_session(client, offer);
        assert_true(send(client, true, PACKET_ACK, 108, bye, "QUIT\r\n", NULL));
        assert_true(send(client, false, PACKET_ACK | PACKET_FIN, 507 + sizeof offer - 1, 114, "221 Bye\r\n", NULL));
    }
    assert_int_equal(open_session(FLOWS, offer), 0);
    assert_int_equal(engine_counters(engine)->flows_evicted, 0);
    uint64_t unplaced = engine_counters(engine)->unplaced;
    for (uint32_t client = 0; client < FLOWS; client++)
        assert_true(send(client, true, PACKET_ACK, 114, bye + 10, "", NULL));
    for (uint32_t client = FLOWS; client < 2 * FLOWS; client++)
        assert_int_equal(open_session(client, offer), sizeof offer - 1 - 13);
    assert_int_equal(engine_counters(engine)->unplaced, unplaced);
}

/* Law 7: what nobody can keep any more ends. Its packets become resets and bare acknowledgments in turns. */
static void test_a_promise_that_nobody_knows_ends_the_connection(void **state)
{
    (void)state;
    uint32_t left = 1;
    marked = true;
    assert_true(send(1, true, PACKET_ACK, 108, 520, "MAIL FROM:<a@example.net>\r\n", &left));
    assert_int_equal(left, 0);
    assert_int_equal(flags_left, PACKET_RST | PACKET_ACK);
    assert_true(send(1, false, PACKET_ACK, 533, 108, "250 OK\r\n", &left));
    assert_int_equal(left, 0);
    assert_int_equal(flags_left, PACKET_RST | PACKET_ACK);
    assert_true(send(1, false, PACKET_ACK | PACKET_FIN, 533, 108, "250 OK\r\n", &left));
    assert_int_equal(left, 0);
    assert_int_equal(flags_left, PACKET_ACK);
    assert_true(send(1, true, PACKET_ACK | PACKET_RST, 108, 520, "", &left)); /* an end's own */
    assert_int_equal(flags_left, PACKET_RST | PACKET_ACK);
    assert_int_equal(engine_counters(engine)->promises_unknown, 3);
    /* A new connection of the same ports is another one, and one that is known passes, translated. */
    assert_int_equal(open_session(1, offer), sizeof offer - 1 - 13);
    assert_true(send(1, true, PACKET_ACK, 108, 507 + sizeof offer - 14, "NOOP\r\n", NULL));
    assert_int_equal(engine_counters(engine)->promises_unknown, 3);
    marked = false;
}

/*
 * A server that waits for nothing but the acknowledgment of its reply, and a client that waits for the reply, by other
 * numbers: it challenges the RST (RFC 5961 3.2). Its challenge must not end the server, or nobody would speak to it.
 */
static void test_who_challenges_a_reset_is_hit_by_the_next(void **state)
{
    (void)state;
    uint32_t left = 1;
    marked = true;
    assert_true(send(1, false, PACKET_ACK, 533, 108, "250 OK\r\n", &left));
    assert_int_equal(flags_left, PACKET_RST | PACKET_ACK); /* the client waits for 520 */
    assert_int_equal(seq_left, 533);
    assert_true(send(1, true, PACKET_ACK, 108, 520, "", &left));
    assert_int_equal(flags_left, PACKET_ACK); /* a probe, which the server answers */
    assert_int_equal(seq_left, 107);
    assert_true(send(1, false, PACKET_ACK, 541, 108, "", &left));
    assert_int_equal(flags_left, PACKET_RST | PACKET_ACK);
    assert_int_equal(seq_left, 520);
    assert_true(send(1, false, PACKET_ACK, 533, 108, "250 OK\r\n", &left));
    assert_int_equal(flags_left, PACKET_ACK); /* the client has closed, and answers with a RST */
    assert_int_equal(left, 0);
    marked = false;
}

/* Only what the server sends crosses here: nobody could translate what its client acknowledges, so lengths stay. */
static void test_one_direction_alone_keeps_its_length(void **state)
{
    (void)state;
    uint32_t left = 0;
    assert_true(send(1, false, PACKET_SYN | PACKET_ACK, 499, 100, "", NULL));
    assert_true(send(1, false, PACKET_ACK, 500, 100, "220 h Microsoft ESMTP\r\n", &left));
    assert_int_equal(left, 23);
    assert_true(send(1, false, PACKET_ACK, 523, 108, offer, &left));
    assert_int_equal(left, sizeof offer - 1);
    assert_int_equal(engine_counters(engine)->flows_unedited, 1);
    /* Not so of a connection whose client was heard: there the server acknowledges what nobody sent. */
    open_session(2, plain);
    assert_false(send(2, false, PACKET_ACK, 507 + sizeof plain - 1, 109, "250 OK\r\n", NULL));
    assert_true(send(1, false, PACKET_ACK, 523 + sizeof offer - 1, 114, "221 bye\r\n", &left));
}

/* What was forgotten may go on, and nobody reads it any more: it ends, unless `on-overload` is pass. */
static void test_what_was_evicted_does_not_pass(void **state)
{
    (void)state;
    assert_true(
        send(7000, true, PACKET_ACK, 108, 507, "NOOP\r\n", NULL)); /* older than the filter: none was forgotten */
    assert_int_equal(engine_counters(engine)->flows_midstream, 1);
    for (uint32_t client = 1; client < 2 + FLOWS; client++)
        open_session(client, plain);
    assert_int_equal(engine_counters(engine)->flows_evicted, 2);
    assert_false(send(1, true, PACKET_ACK, 108, 507 + sizeof plain - 1, "XEXCH50 1 2\r\n", NULL));
    assert_false(send(1, false, PACKET_ACK, 507 + sizeof plain - 1, 108, offer, NULL));
    assert_int_equal(engine_counters(engine)->connection_unknown, 2);
    assert_int_equal(engine_counters(engine)->flows_midstream, 1);
    /* A new one of the same ports is read. */
    assert_int_equal(open_session(1, offer), sizeof offer - 1 - 13);
}

/* Case 92: between a SYN and what follows the table is filled, by SYNs or by sessions; it is read all the same. */
static void test_case_92_a_connection_is_read_though_it_was_forgotten(void **state)
{
    (void)state;
    for (int at = 0; at < 2; at++) {
        uint32_t left = 0;
        send(1, true, PACKET_SYN, 99, 0, "", NULL);
        if (at == 1)
            send(1, false, PACKET_SYN | PACKET_ACK, 499, 100, "", NULL);
        flood(5000);
        if (at == 1) /* its acknowledgment belongs to nothing known; the SYN-ACK comes again */
            assert_false(send(1, true, PACKET_ACK, 100, 500, "", NULL));
        assert_true(send(1, false, PACKET_SYN | PACKET_ACK, 499, 100, "", NULL));
        assert_true(send(1, true, PACKET_ACK, 100, 500, "", NULL));
        assert_true(send(1, false, PACKET_ACK, 500, 100, "220 h\r\n", NULL));
        assert_true(send(1, true, PACKET_ACK, 100, 507, "EHLO x\r\n", NULL));
        assert_true(send(1, false, PACKET_ACK, 507, 108, offer, &left));
        assert_int_equal(left, sizeof offer - 1 - 13);
        assert_true(send(1, true, PACKET_ACK | PACKET_RST, 108, 507 + sizeof offer - 14, "", NULL));
        flood(5000); /* and is gone */
    }
    assert_int_equal(engine_counters(engine)->flows_midstream, 0);
}

/* The same, and a SYN of other numbers before the old connection goes on: the server takes no notice of it. */
static void test_case_92_a_stray_syn_hides_nothing(void **state)
{
    (void)state;
    send(1, true, PACKET_SYN, 99, 0, "", NULL);
    send(1, false, PACKET_SYN | PACKET_ACK, 499, 100, "", NULL);
    flood(5000);
    assert_true(send(1, true, PACKET_SYN, 5099, 0, "", NULL));
    assert_true(send(1, true, PACKET_ACK, 100, 500, "", NULL));
    assert_false(send(1, true, PACKET_ACK, 100, 500, "XEXCH50 1 2\r\n", NULL));
    assert_false(send(1, false, PACKET_ACK, 500, 100, "220 h\r\n", NULL));
    /* An acknowledgment that is to say so to a client in earnest passes (RFC 9293 3.5.1, half-open connections). */
    assert_true(send(1, false, PACKET_ACK, 500, 100, "", NULL));
}

/* What need not be read any more is not forgotten for SYNs: without marks it comes here again. */
static void test_a_flood_leaves_older_connections_alone(void **state)
{
    (void)state;
    assert_true(send(1, true, PACKET_ACK, 108, 507, "NOOP\r\n", NULL));
    assert_true(send(1, false, PACKET_ACK, 507, 114, "250 OK\r\n", NULL));
    flood(5000);
    assert_true(send(1, true, PACKET_ACK, 114, 515, "NOOP\r\n", NULL));
    assert_int_equal(engine_counters(engine)->connection_unknown, 0);
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

/*
 * A session that is not read any more is closed by FINs in the window alone: each end's numbers are translated for as
 * long as the other may be there.
 */
static void test_case_60_fins_out_of_window_end_nothing(void **state)
{
    (void)state;
    static const char hello[] = "\x16\x03\x01";
    uint32_t client = 108, server = 507 + sizeof offer - 1, shown = server - 13;
    open_session(1, offer);
    assert_true(send(1, true, PACKET_ACK, client, shown, "STARTTLS\r\n", NULL));
    assert_true(send(1, false, PACKET_ACK, server, client + 10, "220 go\r\n", NULL));
    assert_true(send(1, true, PACKET_ACK, client + 10, shown + 8, hello, NULL));
    assert_true(send(1, false, PACKET_ACK, server + 8, client + 13, hello, NULL));
    client += 13, server += 11, shown += 11;
    static const uint32_t places[] = {60001, 1000000, (uint32_t)-1000};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        send(1, true, PACKET_ACK | PACKET_FIN, client + places[i], shown, "", NULL);
        send(1, false, PACKET_ACK | PACKET_FIN, server + places[i], client, "", NULL);
    }
    now_us += INT64_C(240000000);
    engine_tick(engine, now_us);
    assert_int_equal(engine_gauges(engine).flows, 1);
    assert_int_equal(engine_counters(engine)->flows_ended, 0);
    assert_true(send(1, false, PACKET_ACK, server, client, hello, NULL));
    assert_true(send(1, true, PACKET_ACK | PACKET_FIN, client, shown + 3, "", NULL));
    assert_true(send(1, false, PACKET_ACK | PACKET_FIN, server + 3, client + 1, "", NULL));
    assert_int_equal(engine_counters(engine)->flows_ended, 1);
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
        cmocka_unit_test_setup_teardown(test_flows_with_a_promise_are_never_evicted, begin, end),
        cmocka_unit_test_setup_teardown(test_what_the_server_closed_makes_room, begin, end),
        cmocka_unit_test_setup_teardown(test_a_promise_that_nobody_knows_ends_the_connection, begin, end),
        cmocka_unit_test_setup_teardown(test_who_challenges_a_reset_is_hit_by_the_next, begin, end),
        cmocka_unit_test_setup_teardown(test_offsets_everywhere_and_a_new_connection_waits, begin, end),
        cmocka_unit_test_setup_teardown(test_offsets_everywhere_and_a_new_connection_passes, begin_passing, end),
        cmocka_unit_test_setup_teardown(test_one_direction_alone_keeps_its_length, begin, end),
        cmocka_unit_test_setup_teardown(test_what_was_evicted_does_not_pass, begin, end),
        cmocka_unit_test_setup_teardown(test_case_92_a_connection_is_read_though_it_was_forgotten, begin, end),
        cmocka_unit_test_setup_teardown(test_case_92_a_stray_syn_hides_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_a_flood_leaves_older_connections_alone, begin, end),
        cmocka_unit_test_setup_teardown(test_what_was_evicted_passes_unedited, begin_passing, end),
        cmocka_unit_test_setup_teardown(test_case_60_fins_out_of_window_end_nothing, begin, end),
        cmocka_unit_test_setup_teardown(test_both_directions_find_the_same_flow, begin, end),
        cmocka_unit_test_setup_teardown(test_idle_flows_end, begin, end),
        cmocka_unit_test_setup_teardown(test_tarpits_end_before_there_is_no_room, begin, end),
        cmocka_unit_test_setup_teardown(test_sets_of_rules_are_bounded, begin, end),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
