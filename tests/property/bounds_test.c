/*
 * Nothing that one client network can use up stops others: with 50,000 connections of one network at each bound, mails
 * of another one need no more packets than without them. docs/overload.md has the table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../lib/crowd.h"
#include "tcp/packet.h"

/* Under sanitizers a packet takes five times as long, and all have come without. */
#ifdef __SANITIZE_ADDRESS__
enum { CROWD = 10000 };
#else
enum { CROWD = 50000 };
#endif
enum { MAILS = 40, MIB = 1 << 20 };

static const double SPEED_MIN = 0.9;

/* Packets of mails with nothing beside them, for one of what they need then. */
static double speed(struct crowd *crowd, uint32_t first, uint64_t alone)
{
    uint64_t before = crowd->sent;
    return crowd_mails(crowd, first, MAILS) ? (double)alone / (double)(crowd->sent - before) : 0;
}

static uint64_t count_alone(struct crowd *crowd)
{
    assert_true(crowd_mails(crowd, 0, MAILS));
    return crowd->sent;
}

static void check_attack(enum crowd_attack attack, size_t memory)
{
    struct crowd *crowd = crowd_new(memory);
    uint64_t alone = count_alone(crowd);
    crowd_attack(crowd, attack, 0, 0, CROWD);
    const struct engine_counters *counters = engine_counters(crowd->engine);
    uint64_t unknown = counters->guarded_unknown, unanswered = counters->questions_unanswered;
    double during = speed(crowd, MAILS, alone);
    print_message("# %s, memory %zu MiB: %.2f; used up %llu, relieved %llu, held %llu, tarpits %llu\n",
                  crowd_name(attack), memory / MIB, during, (unsigned long long)counters->shares_used_up,
                  (unsigned long long)counters->connections_relieved, (unsigned long long)counters->held_relieved,
                  (unsigned long long)counters->tarpits_relieved);
    assert_true(during >= SPEED_MIN);
    assert_true(counters->shares_used_up + counters->tarpits_relieved > 0);
    assert_int_equal(counters->guarded_unknown, unknown);
    assert_int_equal(counters->questions_unanswered, unanswered);
    assert_int_equal(counters->offset_bounded, 0);
    crowd_free(crowd);
}

static void test_one_network_at_each_bound(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* takes a minute; the next one does the same with less */
#endif
    for (int attack = 0; attack < CROWD_ATTACKS; attack++)
        check_attack((enum crowd_attack)attack, 64 * MIB);
}

static void test_the_same_with_little_memory(void **state)
{
    (void)state;
    static const enum crowd_attack attacks[] = {CROWD_COMMANDS, CROWD_REPLIES, CROWD_LEDGERS, CROWD_OCTETS,
                                                CROWD_GAPS,     CROWD_EDITS,   CROWD_TARPITS};
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++)
        check_attack(attacks[i], MIB);
}

/* What is full of lines that nobody ends is no longer full once their clients have closed. */
static void test_a_fin_finds_room(void **state)
{
    (void)state;
    static const struct {
        enum crowd_attack attack;
        uint32_t lines; /* that find room */
    } rows[] = {{CROWD_COMMANDS, 240}, {CROWD_REPLIES, 100}};
    enum { CLIENTS = 5000 };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct crowd *crowd = crowd_new(MIB);
        uint32_t lines = rows[i].lines;
        crowd_attack(crowd, rows[i].attack, 0, 0, CLIENTS);
        uint64_t full = engine_counters(crowd->engine)->shares_used_up;
        assert_true(full > 0);
        for (uint32_t number = 0; number < lines; number++)
            assert_true(crowd_close(crowd, rows[i].attack, 0, number));
        crowd_attack(crowd, rows[i].attack, 0, CLIENTS, lines / 4);
        assert_int_equal(engine_counters(crowd->engine)->shares_used_up, full);
        crowd_free(crowd);
    }
}

/* The small blocks of 1 MiB are 1,056, of which a network may have 264, and 70 are to be left. */
enum { GREEDIEST = 4, LINES = 240, MORE = 20, NETWORKS = 12 };

static void test_the_oldest_of_the_greediest_ends(void **state)
{
    (void)state;
    struct crowd *crowd = crowd_new(MIB);
    for (uint32_t network = 0; network < GREEDIEST; network++)
        crowd_attack(crowd, CROWD_COMMANDS, network, 0, LINES);
    crowd_attack(crowd, CROWD_COMMANDS, GREEDIEST - 1, LINES, MORE);
    crowd_attack(crowd, CROWD_COMMANDS, GREEDIEST, 0, MORE);
    uint64_t before = engine_counters(crowd->engine)->connections_relieved;
    assert_in_range(before, 1, MORE);
    assert_int_equal(crowd->relieved, before);
    /* Its oldest: the first packet becomes a reset, and the other end is made to answer with one. */
    assert_true(crowd_poke(crowd, CROWD_COMMANDS, GREEDIEST - 1, 0, true));
    assert_int_equal(crowd->flags, PACKET_RST | PACKET_ACK);
    assert_true(crowd_poke(crowd, CROWD_COMMANDS, GREEDIEST - 1, 0, false));
    assert_int_equal(crowd->flags, PACKET_ACK);
    /* Not its newest, and none of the others. */
    assert_true(crowd_poke(crowd, CROWD_COMMANDS, GREEDIEST - 1, LINES + MORE - 1, true));
    assert_int_equal(crowd->flags, PACKET_ACK);
    for (uint32_t network = 0; network < GREEDIEST - 1; network++) {
        assert_true(crowd_poke(crowd, CROWD_COMMANDS, network, 0, true));
        assert_int_equal(crowd->flags, PACKET_ACK);
    }
    crowd_free(crowd);
}

/* Many networks use up all there is: each mail finds room all the same. */
static void test_many_networks(void **state)
{
    (void)state;
    static const enum crowd_attack attacks[] = {CROWD_COMMANDS, CROWD_REPLIES, CROWD_LEDGERS, CROWD_OCTETS,
                                                CROWD_GAPS,     CROWD_TARPITS, CROWD_IDLE};
    for (size_t i = 0; i < sizeof attacks / sizeof attacks[0]; i++) {
        struct crowd *crowd = crowd_new(MIB);
        uint64_t alone = count_alone(crowd);
        for (uint32_t network = 0; network < NETWORKS; network++)
            crowd_attack(crowd, attacks[i], network, 0, CROWD / NETWORKS);
        double during = speed(crowd, MAILS, alone);
        print_message("# %s of %d networks: %.2f, relieved %llu\n", crowd_name(attacks[i]), NETWORKS, during,
                      (unsigned long long)engine_counters(crowd->engine)->connections_relieved);
        assert_true(during >= SPEED_MIN);
        crowd_free(crowd);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_network_at_each_bound),
        cmocka_unit_test(test_the_same_with_little_memory),
        cmocka_unit_test(test_a_fin_finds_room),
        cmocka_unit_test(test_the_oldest_of_the_greediest_ends),
        cmocka_unit_test(test_many_networks),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("bounds", tests, NULL, NULL);
}
