/* sqlite: files of others, full, shared with other processes, locked; its upkeep and its size. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/sqlite_files.h"
#include "store/backend.h"
#include "store/lag.h"

/* ---- files of others ---- */

static void expect_refused(const char *uri, const char *words)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = sqlite_settings();
    assert_null(store_open(uri, &settings, 0, message, sizeof message));
    if (!strstr(message, words) || strchr(message, '\n'))
        fail_msg("'%s' does not say '%s'", message, words);
}

static void execute(const char *uri, const char *sql)
{
    char path[256];
    sqlite3 *db;
    sqlite_path(uri, "postern.db", path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_files_of_others_are_refused(void **state)
{
    (void)state;
    char uri[128], path[256];
    sqlite_fresh_uri(uri);
    sqlite_make_folder(uri);
    sqlite_path(uri, "postern.db", path);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 2000; i++)
        fputs("This is somebody's diary.\n", file);
    fclose(file);
    expect_refused(uri, "postern.db: not postern's (file is not a database); name another folder");

    sqlite_fresh_uri(uri);
    sqlite_make_folder(uri);
    execute(uri, "CREATE TABLE paints (colour TEXT)");
    expect_refused(uri, "not postern's; name another folder, or move this file away");

    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 10);
    execute(uri, "PRAGMA user_version = 2");
    expect_refused(uri, "another version of postern wrote it (format 2, this one knows 1); install that version");

    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 10);
    execute(uri, "DELETE FROM about");
    expect_refused(uri, "damaged (no secret in it); move the folder away");
}

static void test_a_folder_that_cannot_be_written(void **state)
{
    (void)state;
    char uri[128], made_before[128], path[256];
    if (getuid() != 0)
        skip();
    sqlite_fresh_uri(made_before);
    sqlite_fill(made_before, 10);
    sqlite_path(made_before, ".", path);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(temporary_folder(), 0755), 0);
    sqlite_fresh_uri(uri);
    pid_t child = fork_child();
    if (child == 0) {
        char message[STORE_MESSAGE_BYTES_MAX];
        struct store_settings settings = sqlite_settings();
        if (setuid(65534) != 0 || store_open(uri, &settings, 0, message, sizeof message) ||
            !strstr(message, "cannot make this folder: Permission denied; make it, for the user that postern runs as"))
            _exit(1);
        if (store_open(made_before, &settings, 0, message, sizeof message) ||
            !strstr(message,
                    "postern.db: cannot be written: Permission denied; the user that postern runs as must own it"))
            _exit(2);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- no memory ---- */

static void test_without_memory_nobody_is_told_to_move_the_file_away(void **state)
{
    (void)state;
    char uri[128], message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = sqlite_settings();
    struct store *store = NULL;
    unsigned failed = 0;
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 10);
    for (sqlite3_int64 octets = 1 << 10; octets < 1 << 26 && !store; octets += octets / 4) {
        sqlite3_hard_heap_limit64(octets);
        store = store_open(uri, &settings, 0, message, sizeof message);
        sqlite3_hard_heap_limit64(0);
        failed += !store;
        if (!store && !strstr(message, "out of memory"))
            fail_msg("%s", message);
    }
    assert_true(failed > 2);
    assert_non_null(store);
    store_close(store, 1000);
}

/* ---- full ---- */

static bool fault_until(struct store *store, bool wanted, const char *words)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    for (int i = 0; i < 1000; i++) {
        if (store_fault(store, message, sizeof message) == wanted && strstr(message, words))
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

static void limit_file(rlim_t octets)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = octets;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void test_a_full_disk_is_told_and_decisions_go_on(void **state)
{
    (void)state;
    char uri[128];
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 2000);
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = sqlite_settings();
        struct store_record got;
        signal(SIGXFSZ, SIG_IGN);
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        limit_file(1 << 20);
        for (uint32_t i = 0; i < 30000; i++)
            put_whole(client, i, 9);
        if (!fault_until(store, true, "cannot write: "))
            _exit(1);
        for (uint32_t i = 0; i < 30000; i++) {
            struct store_key key = key_of(i);
            if (look_up(client, &key, &got) != STORE_GOOD || version_of(&got) != 9)
                _exit(2);
        }
        limit_file(RLIM_INFINITY);
        wait_written(store);
        struct store_counters counters;
        store_counters(store, &counters);
        if (!fault_until(store, false, "") || counters.lost || counters.failed || counters.records < 30000)
            _exit(3);
        store_close(store, 5000);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Open and write, on a disk with so many free pages. False with a message where it is not told that it is full. */
static bool is_told_of_a_disk(const char *uri, unsigned pages, char message[STORE_MESSAGE_BYTES_MAX])
{
    enum { PAGE_BYTES = 4096, DISK_PAGES = 64 };
    char path[256];
    struct store_settings settings = sqlite_settings();
    const char *folder = uri + strlen("sqlite:");
    assert_int_equal(mount("none", folder, "tmpfs", 0, "nr_blocks=64"), 0);
    sqlite_path(uri, "of-another", path);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_int_equal(fallocate(fd, 0, 0, (off_t)(DISK_PAGES - pages) * PAGE_BYTES), 0);
    close(fd);
    struct store *store = store_open(uri, &settings, 0, message, STORE_MESSAGE_BYTES_MAX);
    if (store) {
        struct store_client *client = store_client_new(store);
        for (uint32_t i = 0; i < 20000; i++)
            put_whole(client, i, 1);
        fault_until(store, true, "");
        store_fault(store, message, STORE_MESSAGE_BYTES_MAX);
        store_client_free(client);
        store_close(store, 10);
    }
    assert_int_equal(umount2(folder, MNT_DETACH), 0);
    return strstr(message, "No space left on device") != NULL;
}

/* Change an octet of a record, wherever the file has it. */
static void damage_record(const char *path, uint32_t number)
{
    struct store_key key = key_of(number);
    struct stat about;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &about) == 0);
    size_t len = (size_t)about.st_size, damaged = 0;
    uint8_t *octets = malloc(len);
    assert_int_equal(pread(fd, octets, len, 0), len);
    for (size_t at = 0; at + 40 < len; at++)
        if (memcmp(octets + at, &key, sizeof key) == 0) {
            octets[at + 30] ^= 1;
            damaged += pwrite(fd, octets + at + 30, 1, (off_t)at + 30) == 1;
        }
    assert_true(damaged > 0);
    free(octets);
    close(fd);
}

static void test_damage_is_told_again_when_what_came_between_is_over(void **state)
{
    (void)state;
    char uri[128], path[256];
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 2000);
    sqlite_path(uri, "postern.db", path);
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = sqlite_settings();
        struct store_key key = key_of(1);
        struct store_record got;
        signal(SIGXFSZ, SIG_IGN);
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        damage_record(path, 1);
        if (look_up(client, &key, &got) != STORE_FAILED ||
            !fault_until(store, true, "does not pass its check; restart"))
            _exit(1);
        limit_file(1 << 20);
        for (uint32_t i = 2; i < 30000; i++)
            put_whole(client, i, 9);
        if (!fault_until(store, true, "cannot write: "))
            _exit(2);
        limit_file(RLIM_INFINITY);
        wait_written(store);
        _exit(fault_until(store, true, "does not pass its check; restart") ? 0 : 3);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static bool note_number(void *context, const struct store_key *key, const struct store_record *record, struct span text)
{
    uint8_t *seen = context;
    uint32_t number;
    (void)key;
    (void)text;
    memcpy(&number, record->value + 4, 4);
    assert_in_range(number, 0, 5999);
    seen[number]++;
    return true;
}

/* The first, the last, and some in a row, wherever a walk may pause. */
static void test_a_walk_leaves_out_what_is_damaged_and_nothing_else(void **state)
{
    (void)state;
    char uri[128], path[256], message[STORE_MESSAGE_BYTES_MAX];
    static uint8_t seen[6000];
    uint64_t unread;
    struct store_settings settings = sqlite_settings();
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 2000);
    sqlite_path(uri, "postern.db", path);
    struct store *store = open_or_fail(uri, &settings);
    for (uint32_t i = 0; i < 2000; i += i < 10 ? 1 : 199)
        damage_record(path, i);
    memset(seen, 0, sizeof seen);
    assert_true(store_walk(store, note_number, seen, &unread, message, sizeof message));
    for (uint32_t i = 0; i < 6000; i++) {
        bool put = i < 2000 || (i < 4000 && i % 2 == 0) || i % 3 == 0;
        assert_int_equal(seen[i], put && (i >= 2000 || (i >= 10 && (i - 10) % 199 != 0)));
    }
    assert_int_equal(unread, 20);
    store_close(store, 1000);
}

static void test_a_file_that_was_replaced_is_told_and_checked(void **state)
{
    (void)state;
    char uri[128], path[256], other_uri[128], other[256], away[256], message[STORE_MESSAGE_BYTES_MAX];
    static const uint8_t nothing[4096];
    struct store_settings settings = sqlite_settings();
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 2000);
    sqlite_path(uri, "postern.db", path);
    sqlite_path(uri, "away", away);
    sqlite_fresh_uri(other_uri);
    sqlite_fill(other_uri, 2000);
    sqlite_path(other_uri, "postern.db", other);
    struct store *store = open_or_fail(uri, &settings);
    assert_int_equal(rename(path, away), 0);
    assert_true(fault_until(store, true, "it was moved away or replaced"));
    assert_int_equal(rename(away, path), 0);
    assert_true(fault_until(store, false, ""));
    int fd = open(other, O_RDWR);
    assert_int_equal(pwrite(fd, nothing, sizeof nothing, 3 * (off_t)sizeof nothing), sizeof nothing);
    close(fd);
    assert_int_equal(rename(other, path), 0);
    assert_true(fault_until(store, true, "it was moved away or replaced"));
    store_close(store, 1000);
    /* Nobody has said of the other that it is whole. */
    store = store_open(uri, &settings, 0, message, sizeof message);
    if (store || !strstr(message, "postern.db: damaged"))
        fail_msg("'%s'", message);
}

/* A disk that has room for the first files of a store, or some of them, or none. */
static void test_a_small_disk_is_told_however_small(void **state)
{
    (void)state;
    char uri[128];
    if (getuid() != 0)
        skip();
    sqlite_fresh_uri(uri);
    sqlite_make_folder(uri);
    pid_t child = fork_child();
    if (child == 0) {
        char message[STORE_MESSAGE_BYTES_MAX];
        if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
            _exit(2);
        for (unsigned pages = 0; pages < 40; pages += pages < 12 ? 1 : 7)
            if (!is_told_of_a_disk(uri, pages, message)) {
                print_message("# %u pages: %s\n", pages, message);
                _exit(1);
            }
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_a_file_that_may_not_grow_is_told(void **state)
{
    (void)state;
    char uri[128];
    struct store_settings settings = sqlite_settings();
    settings.file_bytes_max = 1 << 20;
    settings.backlog_max = 4000;
    struct store *store = open_or_fail(sqlite_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    char message[STORE_MESSAGE_BYTES_MAX];
    uint32_t number = 0;
    for (int round = 0; round < 1000 && !store_fault(store, message, sizeof message); round++) {
        for (int i = 0; i < 1000; i++)
            put_whole(client, number++, 1);
        poll(NULL, 0, 10);
    }
    if (!fault_until(store, true, "it has reached the size that is allowed (1 MiB)"))
        fail_msg("'%s'", message);
    for (int i = 0; i < 10000; i++)
        put_whole(client, number++, 1);
    store_counters(store, &counters);
    assert_true(counters.waiting <= 4000 + 4000); /* as many may be under way */
    assert_true(counters.lost > 0);
    assert_int_equal(counters.failed, 0);
    store_client_free(client);
    store_close(store, 100);
    assert_int_equal(sqlite_try(uri), SQLITE_OPENED);
}

/* ---- other processes ---- */

/* Of a process of its own: SQLite does not outlive a fork. */
static int be_elsewhere(const char *uri, uint32_t version)
{
    struct store_settings settings = sqlite_settings();
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_key key = key_of(1);
    struct store_record got;
    enum store_status status = look_up(client, &key, &got);
    if (status != (version == 1 ? STORE_ABSENT : STORE_GOOD))
        return 1;
    put_whole(client, 1, version);
    store_client_free(client);
    store_close(store, 5000);
    return 0;
}

static void put_elsewhere(const char *uri, uint32_t version)
{
    char number[16];
    snprintf(number, sizeof number, "%u", version);
    pid_t child = fork_child();
    if (child == 0) {
        execl("/proc/self/exe", "store_sqlite_test", uri, number, NULL);
        _exit(2);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_what_another_process_puts_is_seen_within_a_second(void **state)
{
    (void)state;
    char uri[128];
    struct store_settings settings = store_settings_default();
    struct store *store = open_or_fail(sqlite_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_key key = key_of(1);
    struct store_record got;
    assert_int_equal(look_up(client, &key, &got), STORE_ABSENT); /* which the table remembers */
    for (uint32_t version = 1; version <= 5; version++) {
        put_elsewhere(uri, version);
        int64_t put_us = wall_us();
        while (look_up(client, &key, &got) != STORE_GOOD || version_of(&got) != version)
            poll(NULL, 0, 5);
        assert_true(wall_us() - put_us < 1000000);
        /* And the other way round, as soon as it is written. */
        put_whole(client, 1, version + 100);
        wait_written(store);
    }
    store_client_free(client);
    store_close(store, 5000);
}

static void test_a_process_that_holds_the_file_stops_no_decision(void **state)
{
    (void)state;
    char uri[128];
    int ends[2];
    struct store_settings settings = sqlite_settings();
    settings.backlog_max = 1000;
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 100);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork_child();
    if (child == 0) {
        sqlite3 *db;
        char path[256];
        sqlite_path(uri, "postern.db", path);
        if (sqlite3_open(path, &db) || sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) ||
            write(ends[1], "x", 1) != 1)
            _exit(1);
        pause();
    }
    char word;
    assert_int_equal(read(ends[0], &word, 1), 1);
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    struct store_record got;
    for (uint32_t i = 0; i < 1500; i++) {
        uint32_t number = i < 100 ? i : i + 1000;
        struct store_key key = key_of(number);
        assert_int_equal(look_up(client, &key, &got), i < 100 ? STORE_GOOD : STORE_ABSENT);
        put_whole(client, number, 50);
        assert_int_equal(look_up(client, &key, &got), STORE_GOOD);
    }
    store_counters(store, &counters);
    assert_int_equal(counters.failed, 0);
    assert_int_equal(counters.written, 0);
    assert_int_equal(counters.lost + counters.waiting, 1500);
    assert_true(counters.waiting <= 1000 + 1000); /* as many may be under way */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    wait_written(store);
    store_counters(store, &counters);
    assert_int_equal(counters.lost + counters.written, 1500);
    store_client_free(client);
    store_close(store, 5000);
    close(ends[0]);
    close(ends[1]);
}

/* ---- locks ---- */

/* As a command whose output nobody reads on. */
struct slow_walk {
    struct store *store;
    struct store_client *client;
    const char *path;
    unsigned visited;
    off_t grown;
};

static bool visit_slowly(void *context, const struct store_key *key, const struct store_record *record,
                         struct span text)
{
    struct slow_walk *walk = context;
    struct stat before, after;
    (void)key;
    (void)record;
    (void)text;
    if (walk->visited++)
        return true;
    for (uint32_t round = 0; round < 60; round++) {
        if (round == 10)
            stat(walk->path, &before);
        for (uint32_t i = 0; i < 300; i++)
            put_whole(walk->client, i * 31, round);
        wait_written(walk->store);
    }
    stat(walk->path, &after);
    walk->grown = after.st_size - before.st_size;
    return true;
}

static void test_a_slow_walk_does_not_make_the_file_grow(void **state)
{
    uint64_t unread;
    (void)state;
    char uri[128], path[256], message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = sqlite_settings();
    settings.sync_ms = 20;
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 10000);
    sqlite_path(uri, "postern.db-wal", path); /* where all is written first */
    struct store *store = open_or_fail(uri, &settings);
    struct slow_walk walk = {.store = store, .client = store_client_new(store), .path = path};
    struct store_counters counters;
    store_counters(store, &counters);
    assert_true(store_walk(store, visit_slowly, &walk, &unread, message, sizeof message));
    assert_int_equal(unread, 0);
    print_message("# %lld octets in 50 rounds\n", (long long)walk.grown);
    assert_true(walk.visited >= counters.records);
    assert_true(walk.grown < 8 << 20); /* of 60 that were written */
    store_client_free(walk.client);
    store_close(store, 5000);
}

/* A thread that lost the processor while it held a lock is played by this one. */
static void test_a_lock_that_is_held_delays_no_client(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    char uri[128];
    struct store_settings settings = sqlite_settings();
    struct store *store = open_or_fail(sqlite_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store), *other = store_client_new(store);
    struct table *table = &store->table;
    struct store_counters counters;
    struct store_record got;
    struct store_answer answer;
    unsigned known = 0, asked = 0;
    for (uint32_t i = 0; i < table->shards_count; i += 2)
        pthread_mutex_lock(&table->shards[i].lock);
    for (uint32_t version = 1; version <= 2; version++)
        for (uint32_t i = 0; i < KEYS / 2; i++) {
            struct store_key key = key_of(i);
            struct store_record record = whole_record(i, version);
            store_put(client, &key, &record);
        }
    for (uint32_t i = 0; i < KEYS; i++) {
        struct store_key key = key_of(i);
        enum store_status status = store_get(other, &key, i, wall_us(), wall_us() + 5000000, &got);
        known += status == STORE_GOOD;
        asked += status == STORE_LATER;
    }
    assert_int_equal(known + asked, KEYS);
    assert_true(known > 0 && asked > KEYS / 2);
    for (uint32_t i = 0; i < table->shards_count; i += 2)
        pthread_mutex_unlock(&table->shards[i].lock);
    while (asked) {
        asked -= store_next_answer(other, wall_us(), &answer);
        poll(NULL, 0, 1);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        struct store_key key = key_of(i);
        assert_int_equal(look_up(other, &key, &got), i < KEYS / 2 ? STORE_GOOD : STORE_ABSENT);
        assert_true(i >= KEYS / 2 || version_of(&got) == 2);
    }
    wait_written(store);
    store_counters(store, &counters);
    assert_int_equal(counters.records, KEYS / 2);
    assert_int_equal(counters.lost + counters.failed, 0);
    store_client_free(client);
    store_client_free(other);
    store_close(store, 5000);
}

/* ---- upkeep ---- */

static void test_expired_records_are_removed_in_time(void **state)
{
    (void)state;
    char uri[128];
    struct store_settings settings = sqlite_settings();
    struct store *store = open_or_fail(sqlite_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    for (uint32_t i = 0; i < 6000; i++) {
        struct store_key key = key_of(i);
        struct store_record record = whole_record(i, 1);
        if (i % 3)
            record.expires_s = wall_us() / 1000000 + 1;
        store_put(client, &key, &record);
    }
    for (int waited = 0; waited < 1000; waited++) {
        store_counters(store, &counters);
        if (counters.written == 6000 && counters.records == 2000)
            break;
        poll(NULL, 0, 10);
    }
    assert_int_equal(counters.records, 2000);
    for (uint32_t i = 0; i < 6000; i++) {
        struct store_key key = key_of(i);
        struct store_record got;
        assert_int_equal(look_up(client, &key, &got), i % 3 ? STORE_ABSENT : STORE_GOOD);
    }
    store_client_free(client);
    store_close(store, 5000);
}

/* The thread that writes would remove what has expired after each round of writing. */
static void test_expired_records_stay_where_that_is_asked_for(void **state)
{
    (void)state;
    enum { ROUNDS = 20 };
    char uri[128];
    struct store_settings settings = sqlite_settings();
    settings.is_guest = true;
    struct store *store = open_or_fail(sqlite_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct store_key key = key_of(i);
        struct store_record record = whole_record(i, 1);
        record.expires_s = i;
        store_put(client, &key, &record);
        wait_written(store);
    }
    store_counters(store, &counters);
    assert_int_equal(counters.records, ROUNDS);
    store_client_free(client);
    store_close(store, 5000);
}

static void test_a_record_takes_150_octets_at_most(void **state)
{
    (void)state;
    enum { RECORDS = 300000 };
    char uri[128], path[256];
    struct store_settings settings = store_settings_default();
    struct store *store = open_or_fail(sqlite_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct stat about;
    for (uint32_t i = 0; i < RECORDS; i++) {
        put_whole(client, i, 1);
        if (i % 50000 == 49999)
            wait_written(store);
    }
    wait_written(store);
    sqlite_path(uri, "postern.db", path);
    assert_int_equal(stat(path, &about), 0);
    print_message("# %.1f octets a record of %d\n", (double)about.st_size / RECORDS, RECORDS);
    assert_true(about.st_size <= 150 * (off_t)RECORDS);
    store_client_free(client);
    store_close(store, 5000);
}

/* ---- clocks that are set ---- */

enum { DAY_S = 86400, TRIPLET_S = 2 * DAY_S };

static void test_lag_of_clocks(void **state)
{
    (void)state;
    enum { T = 1700000000 };
    static const struct {
        const char *label;
        int64_t seen_s, lag_s, now_s, lag_then_s;
    } rows[] = {
        {"opened anew at once", T, 0, T, 0},
        {"out of use for a day", T, 0, T + DAY_S, 0},
        {"the clock was set back a little", T, 0, T - 60, 0},
        {"out of use for longer", T, 0, T + DAY_S + 1, DAY_S + 1},
        {"a year to come", T, 0, T + 4000 * DAY_S, 4000 * DAY_S},
        {"1970", T, 0, 0, -T},
        {"1970 goes on", T, -T, 600, -T},
        {"the clock of 1970 was set", T, -T, T + 600, 0},
        {"and set after long", T, -T, T + 2 * DAY_S, 2 * DAY_S},
        {"begun in 1970, then set", 100, 0, T, T - 100},
        {"and goes on", 100, T - 100, T + 600, T - 100},
        {"a lag stays", T, 5 * DAY_S, T + 5 * DAY_S + 600, 5 * DAY_S},
        {"a lag, and the clock jumps", T, 5 * DAY_S, T + 4000 * DAY_S, 4000 * DAY_S},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct lag_note note = {rows[i].seen_s, rows[i].lag_s};
        int64_t lag_s = lag_of(&note, rows[i].now_s);
        if (lag_s != rows[i].lag_then_s)
            fail_msg("%s: %lld", rows[i].label, (long long)lag_s);
    }
    assert_int_equal(lag_of(NULL, T), 0);
    assert_int_equal(lag_own(5, UINT32_MAX), UINT32_MAX); /* for ever */
    assert_int_equal(lag_users(-5, UINT32_MAX), UINT32_MAX);
    assert_int_equal(lag_users(5, lag_own(5, 100)), 100);
}

static enum store_status look_up_at(struct store_client *client, const struct store_key *key, int64_t now_s,
                                    struct store_record *record)
{
    struct store_answer answer = {0};
    int64_t now_us = now_s * 1000000;
    enum store_status status = store_get(client, key, 1, now_us, now_us + 5000000, record);
    for (int i = 0; i < 500 && status == STORE_LATER; i++) {
        if (store_next_answer(client, now_us, &answer)) {
            *record = answer.record;
            return answer.status;
        }
        poll(NULL, 0, 10);
    }
    return status;
}

/* Open at that time, which the clock says, and look what has become of the record of `number`; then put another. */
static void open_at(const char *uri, int64_t now_s, uint64_t number, bool there, int64_t left_s, uint64_t another)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = sqlite_settings();
    struct store_key key = key_of(number), other = key_of(another);
    struct store_record got, record = record_of(another, 1, STORE_VALUE_BYTES);
    struct store *store = store_open(uri, &settings, now_s, message, sizeof message);
    assert_non_null(store);
    struct store_client *client = store_client_new(store);
    poll(NULL, 0, 1200); /* all is looked at for what has expired */
    enum store_status status = look_up_at(client, &key, now_s, &got);
    if (status != (there ? STORE_GOOD : STORE_ABSENT))
        fail_msg("at %lld: %d", (long long)now_s, status);
    if (there)
        assert_in_range(got.expires_s - now_s, left_s - 30, left_s + 30);
    record.expires_s = now_s + TRIPLET_S;
    put_now(client, &other, &record);
    store_client_free(client);
    store_close(store, 5000);
}

static void test_a_clock_that_is_set_expires_nothing(void **state)
{
    (void)state;
    enum { T = 1700000000 };
    char uri[128];
    sqlite_fresh_uri(uri);
    open_at(uri, T, 0, false, 0, 1);
    open_at(uri, T + DAY_S / 2, 1, true, TRIPLET_S - DAY_S / 2, 2); /* time passes as it does */
    open_at(uri, T + 4000 * DAY_S, 2, true, TRIPLET_S, 3);          /* a clock far ahead */
    open_at(uri, T + DAY_S / 2, 3, true, TRIPLET_S, 4);             /* it was set right */
    open_at(uri, 1000, 4, true, TRIPLET_S, 5);                      /* one without a battery */
    open_at(uri, 2000, 5, true, TRIPLET_S - 1000, 6);
    open_at(uri, T + DAY_S, 6, true, TRIPLET_S - DAY_S / 2 + 1000, 7); /* it was set right */
    open_at(uri, T + 30 * DAY_S, 7, true, TRIPLET_S, 8);               /* nobody used it for long */
    open_at(uri, T + 31 * DAY_S, 8, true, TRIPLET_S - DAY_S, 9);
    open_at(uri, T + 32 * DAY_S, 8, false, 0, 9); /* and all that time it does expire */
}

static void test_a_store_that_began_before_the_clock_was_set(void **state)
{
    (void)state;
    char uri[128];
    sqlite_fresh_uri(uri);
    open_at(uri, 100, 0, false, 0, 1);
    open_at(uri, 1700000000, 1, true, TRIPLET_S, 2);
    open_at(uri, 1700000000 + DAY_S, 2, true, DAY_S, 3);
    open_at(uri, 1700000000 + 2 * DAY_S, 2, false, 0, 3);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return be_elsewhere(argv[1], (uint32_t)strtoul(argv[2], NULL, 10));
    static const struct CMUnitTest tests[] = {
        {"the lag of clocks", test_lag_of_clocks, NULL, NULL, NULL},
        {"a clock that is set expires nothing", test_a_clock_that_is_set_expires_nothing, NULL, NULL, NULL},
        {"a store that began before the clock was set", test_a_store_that_began_before_the_clock_was_set, NULL, NULL,
         NULL},
        {"files of others are refused", test_files_of_others_are_refused, NULL, NULL, NULL},
        {"a folder that cannot be written is told", test_a_folder_that_cannot_be_written, NULL, NULL, NULL},
        {"without memory nobody is told to move the file away",
         test_without_memory_nobody_is_told_to_move_the_file_away, NULL, NULL, NULL},
        {"a full disk is told, and decisions go on", test_a_full_disk_is_told_and_decisions_go_on, NULL, NULL, NULL},
        {"damage is told again when what came between is over",
         test_damage_is_told_again_when_what_came_between_is_over, NULL, NULL, NULL},
        {"a walk leaves out what is damaged and nothing else", test_a_walk_leaves_out_what_is_damaged_and_nothing_else,
         NULL, NULL, NULL},
        {"a file that was replaced is told, and checked", test_a_file_that_was_replaced_is_told_and_checked, NULL, NULL,
         NULL},
        {"a small disk is told, however small", test_a_small_disk_is_told_however_small, NULL, NULL, NULL},
        {"a file that may not grow is told", test_a_file_that_may_not_grow_is_told, NULL, NULL, NULL},
        {"what another process puts is seen within a second", test_what_another_process_puts_is_seen_within_a_second,
         NULL, NULL, NULL},
        {"a process that holds the file stops no decision", test_a_process_that_holds_the_file_stops_no_decision, NULL,
         NULL, NULL},
        {"a slow walk does not make the file grow", test_a_slow_walk_does_not_make_the_file_grow, NULL, NULL, NULL},
        {"a lock that is held delays no client", test_a_lock_that_is_held_delays_no_client, NULL, NULL, NULL},
        {"expired records are removed in time", test_expired_records_are_removed_in_time, NULL, NULL, NULL},
        {"expired records stay where that is asked for", test_expired_records_stay_where_that_is_asked_for, NULL, NULL,
         NULL},
        {"a record takes 150 octets at most", test_a_record_takes_150_octets_at_most, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store sqlite", tests, NULL, NULL);
}
