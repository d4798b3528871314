/*
 * unit/nfqueue_trouble - io/nfqueue against the real kernel where something goes wrong: verdicts too late, queues and
 * buffers too small, signals, an end with packets waiting.
 */
#include "../lib/loopback.h"

#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void test_case_76_late(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint8_t edited[40000] = {0};
    char text[8];

    (void)state;
    loopback_need();
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);

    loopback_send(from, LOOPBACK_PORT, "ab", 2);
    loopback_send(from, LOOPBACK_PORT, "cd", 2);
    for (int seen = 0; seen < 2;) {
        int count = loopback_receive(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++, seen++)
            nfqueue_verdict(queue, packets[i].token, true, (struct span){0});
    }
    uint64_t token = packets[0].token;
    nfqueue_verdict(queue, token, true, (struct span){0});                                        /* a second one */
    nfqueue_verdict(queue, token, true, (struct span){edited, sizeof edited});                    /* and a large one */
    nfqueue_verdict(queue, (uint64_t)LOOPBACK_FROM_SERVERS << 32 | 999, false, (struct span){0}); /* never there */
    nfqueue_verdict(queue, (uint64_t)60000 << 32 | 1, true, (struct span){0}); /* not even our queue */
    nfqueue_flush(queue);
    assert_int_equal(loopback_take(to, text, sizeof text, LOOPBACK_ARRIVAL_MS), 2);
    assert_int_equal(loopback_take(to, text, sizeof text, LOOPBACK_ARRIVAL_MS), 2);
    assert_int_equal(loopback_receive(queue, packets), 0);
    assert_int_equal(nfqueue_counters(queue)->late, 4);
    assert_int_equal(nfqueue_counters(queue)->received, 2);
    loopback_close();
    close(from), close(to);
}

static void test_close_with_packets_waiting(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    char text[8];

    (void)state;
    loopback_need();
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);
    for (int round = 0; round < 3; round++) {
        struct nfqueue *queue = loopback_open(&settings);
        for (int i = 0; i < 100; i++)
            loopback_send(from, LOOPBACK_PORT, "held", 4);
        int count = round == 0 ? 0 : loopback_receive(queue, packets);
        if (round == 2) /* given, but not flushed: close sends it */
            nfqueue_verdict(queue, packets[count - 1].token, true, (struct span){0});
        loopback_close();
        assert_int_equal(loopback_take(to, text, sizeof text, round == 2 ? LOOPBACK_ARRIVAL_MS : 20),
                         round == 2 ? 4 : -1);
        assert_int_equal(loopback_take(to, text, sizeof text, 20), -1);
    }
    close(from), close(to);
}

static uint64_t accept_rest(struct nfqueue *queue)
{
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint64_t total = 0;
    int count;

    while ((count = nfqueue_receive(queue, packets)) > 0) {
        for (int i = 0; i < count; i++)
            nfqueue_verdict(queue, packets[i].token, true, (struct span){0});
        nfqueue_flush(queue);
        total += (uint64_t)count;
    }
    assert_int_equal(count, 0);
    return total;
}

static void test_case_74_queue_full(void **state)
{
    struct nfqueue_settings settings = loopback_settings();

    (void)state;
    loopback_need();
    settings.queue_len = 16;
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0);

    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 100; i++)
            loopback_send(from, LOOPBACK_PORT, "flood", 5);
        for (int i = 0; i < 20; i++)
            loopback_send(from, LOOPBACK_PORT_BACK, "flood", 5);
        assert_int_equal(accept_rest(queue), 32);
        assert_int_equal(nfqueue_counters(queue)->queue_full, round * (84 + 4));
        assert_int_equal(nfqueue_counters(queue)->overruns, 0);
    }
    loopback_close();
    close(from);
}

static void test_case_75_overrun(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
    char text[1000] = "";

    (void)state;
    loopback_need();
    settings.receive_bytes = 16384;
    settings.queue_len = 10000;
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0);

    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 500; i++)
            loopback_send(from, LOOPBACK_PORT, text, sizeof text);
        uint64_t seen = accept_rest(queue);
        assert_true(seen > 0 && seen < 500);
        assert_int_equal(nfqueue_counters(queue)->received + nfqueue_counters(queue)->overruns, round * 500);
        assert_int_equal(nfqueue_counters(queue)->queue_full, 0);
    }
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    loopback_close();
    close(from);
}

/* The shortest of several rounds: what it takes to send, fetch, accept and take 100 packets, in nanoseconds. */
static int64_t round_trips(struct nfqueue *queue, int from, int to)
{
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    int64_t shortest = INT64_MAX;
    char text[8];

    for (int round = 0; round < 10; round++) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        for (int i = 0; i < 100; i++) {
            loopback_send(from, LOOPBACK_PORT, "now", 3);
            assert_int_equal(loopback_receive(queue, packets), 1);
            nfqueue_verdict(queue, packets[0].token, true, (struct span){0});
            nfqueue_flush(queue);
            assert_int_equal(loopback_take(to, text, sizeof text, LOOPBACK_ARRIVAL_MS), 3);
        }
        clock_gettime(CLOCK_MONOTONIC, &after);
        int64_t took = (int64_t)(after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
        shortest = took < shortest ? took : shortest;
    }
    return shortest;
}

/* Newer kernels find a packet by a hash, older ones search a list: some ten times as long, and bearable. */
static void test_case_81_verdicts_beside_packets_held(void **state)
{
    enum { HELD = 20000, FACTOR_MAX = 100 };
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    int count;

    (void)state;
    loopback_need();
    settings.queue_len = HELD + 1000;
    settings.receive_bytes = 64u << 20;
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);

    int64_t alone = round_trips(queue, from, to);
    for (int held = 0; held < HELD; held += 50) {
        for (int i = 0; i < 50; i++)
            loopback_send(from, LOOPBACK_PORT, "held", 4);
        for (int seen = 0; seen < 50; seen += count) {
            count = loopback_receive(queue, packets);
            assert_true(count > 0);
        }
    }
    int64_t beside = round_trips(queue, from, to);
    printf("# %d packets held: a verdict takes %.2f times as long\n", (int)HELD, (double)beside / (double)alone);
    assert_in_range(beside, 1, alone * FACTOR_MAX);
    loopback_close();
    close(from), close(to);
}

static volatile sig_atomic_t interruptions;

static void count_interruption(int number)
{
    static const struct itimerval none;

    (void)number;
    if (++interruptions == 20)
        setitimer(ITIMER_PROF, &none, NULL);
}

/* Twenty signals, two milliseconds apart, without SA_RESTART, while the queue is opened,
 * read, answered and closed. */
static void test_interrupted(void **state)
{
    struct sigaction action = {.sa_handler = count_interruption}, before;
    struct itimerval fast = {{0, 2000}, {0, 2000}}, none = {{0, 0}, {0, 0}};
    struct nfqueue_settings settings = loopback_settings();
    uint64_t seen = 0;

    (void)state;
    loopback_need();
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);
    sigaction(SIGPROF, &action, &before);
    setitimer(ITIMER_PROF, &fast, NULL);
    for (int round = 0; round < 50 || (interruptions < 20 && round < 5000); round++) {
        struct nfqueue *queue = loopback_open(&settings);
        for (int i = 0; i < 20; i++)
            loopback_send(from, LOOPBACK_PORT, "x", 1);
        seen += accept_rest(queue) == 20;
        assert_int_equal(nfqueue_counters(queue)->late, 0);
        loopback_close();
        assert_int_equal(seen, round + 1);
    }
    setitimer(ITIMER_PROF, &none, NULL);
    sigaction(SIGPROF, &before, NULL);
    close(from), close(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_case_76_late, loopback_close_left_open),
        cmocka_unit_test_teardown(test_close_with_packets_waiting, loopback_close_left_open),
        cmocka_unit_test_teardown(test_case_74_queue_full, loopback_close_left_open),
        cmocka_unit_test_teardown(test_case_75_overrun, loopback_close_left_open),
        cmocka_unit_test_teardown(test_case_81_verdicts_beside_packets_held, loopback_close_left_open),
        cmocka_unit_test_teardown(test_interrupted, loopback_close_left_open),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("nfqueue_trouble", tests, loopback_enter, NULL);
}
