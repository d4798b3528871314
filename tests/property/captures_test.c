/*
 * Every capture at hand (ours, and those by others where the folder is there), as it is, cut short at many lengths and
 * with random octets changed: nothing crashes, and every packet gets exactly one verdict.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/engines.h"
#include "engine/engine.h"
#include "io/capture.h"
#include "policy/policy.h"

enum { CAPTURES_MAX = 200, PACKETS_MAX = 2000, MUTATIONS = 300, CUTS = 60 };

static char paths[CAPTURES_MAX][512];
static size_t path_count;

static void find_captures(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strstr(entry->d_name, ".pcap") && path_count < CAPTURES_MAX)
            snprintf(paths[path_count++], sizeof paths[0], "%s/%s", folder, entry->d_name);
    closedir(dir);
}

static uint64_t random_state;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % limit;
}

struct tally {
    uint8_t verdicts[PACKETS_MAX + 1];
    uint64_t last_token;
};

static void take_verdicts(struct engine *engine, struct tally *tally)
{
    struct engine_verdict verdict;
    struct event event;
    while (engine_next_verdict(engine, &verdict)) {
        assert_in_range(verdict.token, 1, tally->last_token);
        assert_int_equal(tally->verdicts[verdict.token]++, 0);
    }
    while (engine_next_event(engine, &event))
        assert_in_range(event.kind, 0, EVENT_KINDS - 1);
}

/* Replay a file with up to `mutations` octets changed in each of some packets; live or recorded peers. */
static void replay(const char *path, uint32_t mutations, enum engine_peers peers)
{
    char message[512];
    struct capture_reader *reader;
    struct capture_packet frame;
    static struct tally tally;
    struct policy policy;
    memset(&tally, 0, sizeof tally);
    if (capture_open(path, &reader, message, sizeof message) != CAPTURE_OK) {
        assert_non_null(strstr(message, path));
        return;
    }
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 64;
    settings.blocks_max = 600;
    settings.held_max = 32;
    settings.peers = peers;
    settings.events = (1u << EVENT_KINDS) - 1;
    policy_init_default(&policy);
    struct engine *engine = engines_new(&settings, &policy);
    int64_t now_us = 0;
    while (tally.last_token < PACKETS_MAX && capture_next(reader, &frame, message, sizeof message) == CAPTURE_OK) {
        now_us = frame.time_us > now_us ? frame.time_us : now_us;
        if (frame.ip_len == 0)
            continue;
        /* Each packet in an allocation of its own, so that a look behind its end is seen. */
        uint8_t *bytes = malloc(frame.ip_len);
        memcpy(bytes, frame.frame + frame.ip_at, frame.ip_len);
        for (uint32_t i = 0; i < mutations && random_below(3) == 0; i++)
            bytes[random_below(frame.ip_len < 80 || random_below(2) ? frame.ip_len : 80)] = (uint8_t)random_below(256);
        struct engine_packet packet = {
            .bytes = bytes, .len = frame.ip_len, .room = frame.ip_len, .token = ++tally.last_token};
        engine_tick(engine, now_us);
        take_verdicts(engine, &tally);
        engine_packet(engine, &packet, now_us);
        take_verdicts(engine, &tally);
        free(bytes);
    }
    engine_stop(engine, now_us);
    take_verdicts(engine, &tally);
    for (uint64_t token = 1; token <= tally.last_token; token++)
        assert_int_equal(tally.verdicts[token], 1);
    /* In ten days everything has timed out, and given back what it held. */
    engine_tick(engine, now_us + INT64_C(10) * 24 * 3600 * 1000000);
    take_verdicts(engine, &tally);
    struct engine_gauges gauges = engine_gauges(engine);
    assert_int_equal(gauges.flows, 0);
    assert_int_equal(gauges.held, 0);
    assert_int_equal(gauges.blocks, 0);
    engines_free(engine);
    capture_close(reader);
}

static void test_as_they_are(void **state)
{
    (void)state;
    assert_int_not_equal(path_count, 0);
    for (size_t i = 0; i < path_count; i++) {
        replay(paths[i], 0, ENGINE_PEERS_LIVE);
        replay(paths[i], 0, ENGINE_PEERS_RECORDED);
    }
}

static void test_changed_octets(void **state)
{
    (void)state;
    for (size_t i = 0; i < path_count; i++)
        for (uint32_t seed = 0; seed < MUTATIONS; seed++) {
            random_state = seed * 7919 + i;
            replay(paths[i], 1 + seed % 12, seed % 2 ? ENGINE_PEERS_LIVE : ENGINE_PEERS_RECORDED);
        }
}

static void test_cut_short(void **state)
{
    (void)state;
    char cut[] = "/tmp/postern-cut-XXXXXX";
    int fd = mkstemp(cut);
    assert_true(fd >= 0);
    for (size_t i = 0; i < path_count; i++) {
        static uint8_t octets[1 << 17];
        FILE *file = fopen(paths[i], "rb");
        assert_non_null(file);
        size_t len = fread(octets, 1, sizeof octets, file);
        fclose(file);
        for (uint32_t n = 0; n < CUTS; n++) {
            random_state = n * 104729 + i;
            size_t keep = n < 30 ? n : random_below((uint32_t)len);
            assert_int_equal(ftruncate(fd, 0), 0);
            assert_int_equal(pwrite(fd, octets, keep, 0), (ssize_t)keep);
            replay(cut, 0, ENGINE_PEERS_RECORDED);
        }
    }
    close(fd);
    unlink(cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_they_are),
        cmocka_unit_test(test_changed_octets),
        cmocka_unit_test(test_cut_short),
    };
    find_captures("pcaps");
    find_captures("../shared/pcaps");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
