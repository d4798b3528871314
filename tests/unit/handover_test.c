/* engine/handover: what one engine kept, another one goes on with; damaged at each octet, it is noticed. */
#include "engine/handover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/engines.h"
#include "../lib/segment.h"
#include "engine/engine.h"
#include "policy/policy.h"

enum { FLOWS = 4, CLIENT_ISN = 1000, SERVER_ISN = 5000, PORT = 40000 };

#define GREETING "220 hi\r\n"
#define EHLO     "EHLO x\r\n"
#define OFFER    "250-host\r\n250-XEXCH50\r\n250 OK\r\n"
#define OFFERED  "250-host\r\n250 OK\r\n"

static struct policy policy;
static uint8_t ip_version = 4;

struct gateway {
    struct engine *engine;
    uint8_t *records;
};

static struct gateway begin(void)
{
    struct engine_settings settings = engine_settings_default();
    struct gateway gateway;
    settings.flows_max = FLOWS;
    settings.blocks_max = 256;
    settings.held_max = 16;
    gateway.engine = engines_new(&settings, &policy);
    gateway.records = calloc(1, handover_bytes(FLOWS));
    handover_begin(gateway.engine, gateway.records);
    return gateway;
}

static void end(struct gateway *gateway)
{
    engines_free(gateway->engine);
    free(gateway->records);
}

/* What left of a packet; empty where it was dropped. */
struct left {
    uint8_t octets[256];
    struct packet packet;
    bool accepted;
};

static struct left carry(struct gateway *gateway, bool from_server, uint32_t seq, uint32_t ack, uint8_t flags,
                         const char *text)
{
    struct segment segment = {
        .ip_version = ip_version,
        .source = from_server ? 25 : 2,
        .destination = from_server ? 2 : 25,
        .source_port = from_server ? 25 : PORT,
        .destination_port = from_server ? PORT : 25,
        .seq = seq,
        .ack = ack,
        .flags = flags,
        .window = 60000,
        .payload = span_of(text),
    };
    struct engine_verdict verdict;
    struct left left = {0};
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    engine_packet(gateway->engine, &(struct engine_packet){.bytes = bytes, .len = len, .room = len}, 1000000);
    while (engine_next_verdict(gateway->engine, &verdict)) {
        struct span octets = verdict.edited ? verdict.packet : (struct span){bytes, len};
        left.accepted = verdict.action == ENGINE_ACCEPT;
        memcpy(left.octets, octets.ptr, octets.len);
        assert_int_equal(packet_parse(&left.packet, left.octets, (uint32_t)octets.len), PACKET_TCP);
    }
    free(bytes);
    return left;
}

static void expect_left(const struct left *left, uint32_t seq, uint32_t ack, const char *text)
{
    assert_true(left->accepted);
    assert_int_equal(left->packet.seq, seq);
    assert_int_equal(left->packet.ack, ack);
    assert_int_equal(left->packet.payload_len, strlen(text));
    assert_memory_equal(left->octets + left->packet.payload_at, text, strlen(text));
}

enum { CLIENT_NEXT = CLIENT_ISN + 1 + 8, OFFER_AT = SERVER_ISN + 1 + 8 };

/* To where a line was taken out of the EHLO reply, which nobody has acknowledged. */
static void play(struct gateway *gateway)
{
    carry(gateway, false, CLIENT_ISN, 0, PACKET_SYN, "");
    carry(gateway, true, SERVER_ISN, CLIENT_ISN + 1, PACKET_SYN | PACKET_ACK, "");
    carry(gateway, false, CLIENT_ISN + 1, SERVER_ISN + 1, PACKET_ACK, "");
    carry(gateway, true, SERVER_ISN + 1, CLIENT_ISN + 1, PACKET_ACK, GREETING);
    carry(gateway, false, CLIENT_ISN + 1, OFFER_AT, PACKET_ACK, EHLO);
    struct left left = carry(gateway, true, OFFER_AT, CLIENT_NEXT, PACKET_ACK, OFFER);
    expect_left(&left, OFFER_AT, CLIENT_NEXT, OFFERED);
}

static struct handover_result take(struct gateway *gateway, const uint8_t *records)
{
    return engine_take_over(gateway->engine, records, handover_bytes(FLOWS), 1000000);
}

static void expect_goes_on(struct gateway *next)
{
    enum { OFFER_END = OFFER_AT + sizeof OFFER - 1, LEFT_END = OFFER_AT + sizeof OFFERED - 1 };
    /* Sent again, the reply leaves as it did; its acknowledgment is the server's. */
    struct left left = carry(next, true, OFFER_AT, CLIENT_NEXT, PACKET_ACK, OFFER);
    expect_left(&left, OFFER_AT, CLIENT_NEXT, OFFERED);
    /* What comes then is read as before. */
    left = carry(next, false, CLIENT_NEXT, LEFT_END, PACKET_ACK, "XEXCH50 1 2\r\n");
    expect_left(&left, CLIENT_NEXT, OFFER_END, "NOOP       \r\n");
    left = carry(next, true, OFFER_END, CLIENT_NEXT + 13, PACKET_ACK, "250 2.0.0 nothing was done\r\n");
    expect_left(&left, LEFT_END, CLIENT_NEXT + 13, "504 Need to authenticate first\r\n");
}

/*
 * In a message, once nothing has to be rebuilt, packets leave the record as it is; and it is good for what comes much
 * later.
 */
static void test_a_record_holds(void **state)
{
    (void)state;
    enum { OFFER_END = OFFER_AT + sizeof OFFER - 1, LEFT_END = OFFER_AT + sizeof OFFERED - 1, LINES = 500 };
    struct gateway first = begin(), next = begin();
    uint8_t *before = malloc(handover_bytes(FLOWS));
    play(&first);
    carry(&first, false, CLIENT_NEXT, LEFT_END, PACKET_ACK, "DATA\r\n");
    carry(&first, true, OFFER_END, CLIENT_NEXT + 6, PACKET_ACK, "354 go\r\n");
    uint32_t seq = CLIENT_NEXT + 6;
    carry(&first, false, seq, LEFT_END + 8, PACKET_ACK, "line\r\n");
    memcpy(before, first.records, handover_bytes(FLOWS));
    for (int i = 0; i < LINES; i++, seq += 6)
        carry(&first, false, seq, LEFT_END + 8, PACKET_ACK, "line\r\n");
    assert_memory_equal(before, first.records, handover_bytes(FLOWS));
    assert_int_equal(take(&next, first.records).taken, 1);
    struct left left = carry(&next, true, OFFER_END + 8, seq, PACKET_ACK, "250 ok\r\n");
    expect_left(&left, LEFT_END + 8, seq, "250 ok\r\n");
    left = carry(&next, false, seq, LEFT_END + 16, PACKET_ACK | PACKET_FIN, "");
    expect_left(&left, seq, OFFER_END + 16, "");
    /* That it ends is told to the one after that. */
    carry(&first, false, seq, LEFT_END + 8, PACKET_ACK | PACKET_FIN, "");
    assert_memory_not_equal(before, first.records, handover_bytes(FLOWS));
    free(before);
    end(&first);
    end(&next);
}

static void check_goes_on(void)
{
    struct gateway first = begin(), second = begin(), third = begin();
    play(&first);
    struct handover_result result = take(&second, first.records);
    assert_int_equal(result.taken, 1);
    assert_int_equal(result.damaged + result.left, 0);
    assert_int_equal(take(&third, second.records).taken, 1); /* and the one after that, though nothing happened */
    for (int i = 0; i < 10; i++) {                           /* and so on */
        struct gateway another = begin();
        assert_int_equal(take(&another, third.records).taken, 1);
        end(&third);
        third = another;
    }
    expect_goes_on(&second);
    expect_goes_on(&third);
    assert_int_equal(take(&third, second.records).taken, 1); /* once more: it is there already */
    assert_int_equal(engine_gauges(third.engine).flows, 1);
    end(&first);
    end(&second);
    end(&third);
}

static void test_the_next_engine_goes_on(void **state)
{
    (void)state;
    check_goes_on();
    ip_version = 6;
    check_goes_on();
    ip_version = 4;
}

static void test_what_ended_is_forgotten(void **state)
{
    (void)state;
    struct gateway first = begin(), second = begin();
    play(&first);
    engine_tick(first.engine, INT64_C(6) * 24 * 3600 * 1000000);
    assert_int_equal(engine_gauges(first.engine).flows, 0);
    assert_int_equal(take(&second, first.records).taken, 0);
    end(&first);
    end(&second);
}

static void test_no_offset_no_record(void **state)
{
    (void)state;
    struct gateway first = begin(), second = begin();
    carry(&first, false, CLIENT_ISN, 0, PACKET_SYN, "");
    carry(&first, true, SERVER_ISN, CLIENT_ISN + 1, PACKET_SYN | PACKET_ACK, "");
    carry(&first, false, CLIENT_ISN + 1, SERVER_ISN + 1, PACKET_ACK, "");
    carry(&first, true, SERVER_ISN + 1, CLIENT_ISN + 1, PACKET_ACK, GREETING);
    for (size_t i = 0; i < handover_bytes(FLOWS); i++)
        assert_int_equal(first.records[i], 0);
    struct handover_result result = take(&second, first.records);
    assert_int_equal(result.taken + result.damaged + result.left, 0);
    end(&first);
    end(&second);
}

/* Each octet of the only copy changed in turn: it is noticed, or it was of no importance. */
static void test_damage_is_noticed(void **state)
{
    (void)state;
    struct gateway first = begin();
    uint32_t damaged = 0;
    play(&first);
    for (size_t at = 0; at < HANDOVER_PLACE_BYTES; at++) {
        uint8_t was = first.records[at];
        first.records[at] = (uint8_t)~was;
        struct gateway next = begin();
        struct handover_result result = take(&next, first.records);
        assert_int_equal(result.taken + result.damaged + result.left, 1);
        if (result.taken)
            expect_goes_on(&next);
        damaged += result.damaged;
        end(&next);
        first.records[at] = was;
    }
    assert_true(damaged > 400);
    end(&first);
}

/* Killed in the middle of writing: the newer copy is torn at any octet, the older one holds. */
static void test_a_torn_copy_leaves_the_older_one(void **state)
{
    (void)state;
    struct gateway first = begin();
    play(&first);
    uint8_t *before = malloc(handover_bytes(FLOWS));
    memcpy(before, first.records, handover_bytes(FLOWS));
    carry(&first, false, CLIENT_NEXT, OFFER_AT, PACKET_ACK, "MAIL FROM:<>\r\n"); /* the other copy is written */
    size_t torn = 0;
    for (size_t cut = 0; cut < HANDOVER_PLACE_BYTES; cut++) {
        struct gateway next = begin();
        uint8_t *records = malloc(handover_bytes(FLOWS));
        memcpy(records, before, handover_bytes(FLOWS));
        /* The checksum is cleared first and written last. */
        for (size_t at = 0; at <= cut; at++)
            if (at % HANDOVER_COPY_BYTES >= 8 && records[at] != first.records[at])
                torn++, records[at] = first.records[at];
        for (int copy = 0; copy < 2; copy++)
            if (memcmp(before + copy * HANDOVER_COPY_BYTES, first.records + copy * HANDOVER_COPY_BYTES, 8) != 0)
                memset(records + copy * HANDOVER_COPY_BYTES, 0, 8);
        assert_int_equal(take(&next, records).taken, 1);
        expect_goes_on(&next);
        free(records);
        end(&next);
    }
    assert_true(torn > 0);
    free(before);
    end(&first);
}

static void test_memory_of_any_length(void **state)
{
    (void)state;
    struct gateway first = begin(), second = begin();
    uint8_t *records = calloc(1, handover_bytes(FLOWS));
    uint64_t none[2] = {0, 0};
    play(&first);
    assert_int_equal(engine_take_over(second.engine, none, sizeof none, 1).taken, 0);
    assert_int_equal(engine_take_over(second.engine, records, 0, 1).taken, 0);
    /* A length that is no multiple of a place: what is whole is taken. */
    assert_int_equal(engine_take_over(second.engine, first.records, HANDOVER_PLACE_BYTES + 100, 1000000).taken, 1);
    free(records);
    end(&first);
    end(&second);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_engine_goes_on), cmocka_unit_test(test_a_record_holds),
        cmocka_unit_test(test_what_ended_is_forgotten), cmocka_unit_test(test_no_offset_no_record),
        cmocka_unit_test(test_damage_is_noticed),       cmocka_unit_test(test_a_torn_copy_leaves_the_older_one),
        cmocka_unit_test(test_memory_of_any_length),
    };
    policy_init_default(&policy);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
