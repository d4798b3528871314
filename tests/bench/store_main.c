/*
 * What the stores cost: decisions a second, octets of a record, and whether a worker ever waits. Prints TAP.
 *
 *   store_main [--quick] [--records N] [memory|sqlite]
 *
 * A decision is a get and a put of the same random key. What is told is processor time, so that it is what one core
 * does: of sqlite that of the thread that decides and of those of the store together, until everything is written and
 * synced. Other work on the machine takes from it all the same, so the best of some rounds counts.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "../lib/random.h"
#include "../lib/stores.h"
#include "clock.h"
#include "store/driver.h"

enum {
    GOAL = 20000, /* decisions a second a core: a gateway sees some hundred */
    WAITING_MAX = 200000,
    OCTETS_GOAL = 150,
    WAIT_GOAL_NS = 100000,
    VALUE_BYTES = 40,
    ROUNDS = 3,
};

static unsigned tests, missed;

static void tell(bool good, const char *what, double value, const char *unit, double goal)
{
    missed += !good;
    printf("%sok %u - %s: %.0f %s (goal %.0f)\n", good ? "" : "not ", ++tests, what, value, unit, goal);
    fflush(stdout);
}

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Of all threads. */
static uint64_t processor_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* Keys are cheap here, so that what is measured is the store. */
static struct store_key bench_key(uint64_t number)
{
    struct random_source random = {number * UINT64_C(0x2545f4914f6cdd1d)};
    struct store_key key;
    uint64_t halves[2] = {random_next(&random), random_next(&random)};
    memcpy(key.octets, halves, sizeof key.octets);
    return key;
}

/* ---- a worker, and how long its calls take ---- */

struct worker {
    struct store_client *client;
    struct store_record record;
    int64_t now_us;
    uint64_t longest_ns, waits; /* of one call; calls beyond the goal in which the thread gave up the processor */
    long switches;
    unsigned failed;
};

static long switches_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw + usage.ru_majflt;
}

/* A call that took long because another process had the processor is none of the store's doing. */
static void note_call(struct worker *worker, uint64_t began_ns)
{
    uint64_t took_ns = wall_ns() - began_ns;
    if (took_ns <= WAIT_GOAL_NS)
        return;
    long switches = switches_now();
    worker->waits += switches != worker->switches;
    worker->longest_ns = switches != worker->switches && took_ns > worker->longest_ns ? took_ns : worker->longest_ns;
    worker->switches = switches;
}

/* What a greylist keeps: times in milliseconds, six octets each, the third where somebody has waited, and counters of
   four that are mostly small. */
static void fill_value(struct store_record *record, uint64_t number)
{
    uint64_t now_ms = UINT64_C(1790000000000) + number * 977;
    memset(record->value, 0, sizeof record->value);
    for (size_t at = 0; at < 2 + number % 2; at++)
        for (size_t i = 0; i < 6; i++)
            record->value[1 + 6 * at + i] = (uint8_t)((now_ms + 61000 * at) >> (40 - 8 * i));
    record->value[0] = 1;
    for (size_t at = 0; at < 4; at++)
        record->value[22 + 4 * at] = (uint8_t)(1 + number % (3 + at));
    record->value[37] = (uint8_t)number;
}

static void put_key(struct worker *worker, uint64_t number)
{
    struct store_key key = bench_key(number);
    fill_value(&worker->record, number);
    store_put(worker->client, &key, &worker->record);
}

static void take_answers(struct worker *worker)
{
    struct store_answer answer;
    while (store_next_answer(worker->client, worker->now_us, &answer)) {
        worker->failed += answer.status == STORE_FAILED;
        put_key(worker, answer.token);
    }
}

static void decide(struct worker *worker, uint64_t number)
{
    struct store_key key = bench_key(number);
    struct store_record record;
    uint64_t began_ns = wall_ns();
    enum store_status status =
        store_get(worker->client, &key, number, worker->now_us, worker->now_us + 60000000, &record);
    while (status == STORE_FAILED) { /* as many are under way as may be */
        take_answers(worker);
        status = store_get(worker->client, &key, number, worker->now_us, worker->now_us + 60000000, &record);
    }
    if (status != STORE_LATER)
        put_key(worker, number);
    take_answers(worker);
    note_call(worker, began_ns);
}

/* What is decided faster than it can be written would only wait: no more of it than a second's. */
static void let_it_write(struct store *store)
{
    struct store_counters counters;
    for (store_counters(store, &counters); counters.waiting > GOAL; store_counters(store, &counters))
        poll(NULL, 0, 1);
}

static void finish(struct worker *worker, struct store *store)
{
    struct store_counters counters;
    while (store_next_due(worker->client) != INT64_MAX)
        take_answers(worker);
    for (store_counters(store, &counters); counters.waiting; store_counters(store, &counters))
        driver_flush(store, 1000); /* not when the writer's clock says so */
    if (counters.lost || worker->failed) {
        printf("Bail out! %llu puts were lost, %u gets failed\n", (unsigned long long)counters.lost, worker->failed);
        exit(1);
    }
}

static struct worker new_worker(struct store *store)
{
    struct worker worker = {.client = store_client_new(store),
                            .record = {.kind = 1, .len = VALUE_BYTES, .expires_s = UINT32_MAX},
                            .now_us = wall_us(),
                            .switches = switches_now()};
    if (!worker.client)
        exit(1);
    return worker;
}

/* ---- memory ---- */

static void measure_memory(uint64_t records)
{
    struct store_settings settings = store_settings_default();
    settings.records_max = (uint32_t)(records + records / 4);
    struct store *store = open_or_fail("memory:", &settings);
    struct worker worker = new_worker(store);
    struct random_source random = {1};
    double least_ns = 0;
    for (uint64_t i = 0; i < records; i++)
        put_key(&worker, i);
    for (int round = 0; round < 5; round++) {
        uint64_t began = clock_ns();
        for (uint64_t i = 0; i < records; i++) {
            uint64_t number = random_next(&random) % records;
            struct store_key key = bench_key(number);
            struct store_record record;
            if (store_get(worker.client, &key, number, worker.now_us, 0, &record) != STORE_GOOD)
                exit(1);
            put_key(&worker, number);
        }
        clock_keep_least(&least_ns, (double)(clock_ns() - began) / (double)records);
    }
    tell(1e9 / least_ns >= GOAL, "memory, decisions a second of one core", 1e9 / least_ns, "", GOAL);
    store_client_free(worker.client);
    store_close(store, 0);
}

/* ---- sqlite ---- */

static double decisions(struct worker *worker, struct store *store, uint64_t from, uint64_t below, uint64_t count,
                        bool in_turn)
{
    struct random_source random = {count + from};
    uint64_t began = processor_ns(), began_wall = wall_ns();
    for (uint64_t i = 0; i < count; i++) {
        if (i % 64 == 0)
            worker->now_us = wall_us();
        if (i % 4096 == 0) {
            let_it_write(store);
            worker->switches = switches_now();
        }
        decide(worker, in_turn ? from + i : from + random_next(&random) % (below - from));
    }
    finish(worker, store);
    printf("# %llu decisions in %.2f s, %.2f s of the processor\n", (unsigned long long)count,
           (double)(wall_ns() - began_wall) / 1e9, (double)(processor_ns() - began) / 1e9);
    return (double)count * 1e9 / (double)(processor_ns() - began);
}

static void tell_size(struct store *store, const char *uri)
{
    struct store_counters counters;
    struct stat about;
    char path[256], what[96];
    snprintf(path, sizeof path, "%s/postern.db", uri + strlen("sqlite:"));
    store_counters(store, &counters);
    if (stat(path, &about) != 0 || counters.records == 0)
        exit(1);
    double octets = (double)about.st_size / (double)counters.records;
    snprintf(what, sizeof what, "sqlite, size of the file for %llu records", (unsigned long long)counters.records);
    tell(octets <= OCTETS_GOAL, what, octets, "octets a record", OCTETS_GOAL);
}

static void measure_sqlite(uint64_t records)
{
    struct store_settings settings = store_settings_default();
    char uri[128];
    double best_new = 0, best_known = 0;
    snprintf(uri, sizeof uri, "sqlite:%s/bench", temporary_folder());
    struct store *store = open_or_fail(uri, &settings);
    struct worker worker = new_worker(store);
    uint64_t step = records / 10;
    for (int round = 0; round < 10; round++) {
        double rate = decisions(&worker, store, (uint64_t)round * step, 0, step, true);
        best_new = rate > best_new ? rate : best_new;
    }
    tell(best_new >= GOAL, "sqlite, decisions a second of one core, new keys", best_new, "", GOAL);
    tell_size(store, uri);
    uint64_t known = records < settings.cache_max / 2 ? records : settings.cache_max / 2;
    for (int round = 0; round < ROUNDS; round++) {
        double rate = decisions(&worker, store, records - known, records, 2 * known, false);
        best_known = rate > best_known ? rate : best_known;
    }
    tell(best_known >= GOAL, "sqlite, decisions a second of one core, known keys", best_known, "", GOAL);
    tell(worker.waits == 0, "sqlite, calls of a worker in which it waited for more than 100 us", (double)worker.waits,
         "calls", 0);
    if (worker.waits)
        printf("# the longest: %.0f us\n", (double)worker.longest_ns / 1000);
    tell_size(store, uri);
    store_client_free(worker.client);
    uint64_t began = wall_ns();
    store_close(store, 60000);
    printf("# closed in %.2f s\n", (double)(wall_ns() - began) / 1e9);
    began = wall_ns();
    store = open_or_fail(uri, &settings);
    printf("# checked and opened in %.2f s\n", (double)(wall_ns() - began) / 1e9);
    store_close(store, 0);
}

int main(int argc, char **argv)
{
    uint64_t records = 1000000;
    bool memory = true, sqlite = true;
    if (CLOCK_SANITIZED) {
        printf("1..0 # SKIP built with a sanitizer\n");
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            records = 300000;
        else if (strcmp(argv[i], "--records") == 0 && i + 1 < argc)
            records = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "memory") == 0)
            sqlite = false;
        else if (strcmp(argv[i], "sqlite") == 0)
            memory = false;
        else
            return 2;
    }
    if (records < 1000 || records > 100000000)
        return 2;
    if (memory)
        measure_memory(records);
    if (sqlite)
        measure_sqlite(records);
    printf("1..%u\n", tests);
    return missed ? 1 : 0;
}
