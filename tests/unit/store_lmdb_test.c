/* lmdb: files of others, full, shared with other processes, locked; its upkeep and its size. */
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/lmdb_files.h"
#include "store/backend.h"

/* ---- files of others ---- */

static void expect_refused(const char *uri, const char *words)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = lmdb_settings();
    assert_null(store_open(uri, &settings, 0, message, sizeof message));
    if (!strstr(message, words) || strchr(message, '\n'))
        fail_msg("'%s' does not say '%s'", message, words);
}

static void change_about(const char *uri, const char *database, const char *key_text, const void *octets, size_t len)
{
    MDB_env *env;
    MDB_txn *transaction;
    MDB_dbi dbi;
    char key_octets[16];
    uint8_t value_octets[16];
    memcpy(value_octets, octets, len);
    snprintf(key_octets, sizeof key_octets, "%s", key_text);
    MDB_val key = {strlen(key_text), key_octets}, value = {len, value_octets};
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 4);
    assert_int_equal(mdb_env_open(env, uri + strlen("lmdb:"), 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &transaction), 0);
    assert_int_equal(mdb_dbi_open(transaction, database, MDB_CREATE, &dbi), 0);
    assert_int_equal(mdb_put(transaction, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(transaction), 0);
    mdb_env_close(env);
}

static void test_files_of_others_are_refused(void **state)
{
    (void)state;
    char uri[128], path[256];
    lmdb_fresh_uri(uri);
    lmdb_make_folder(uri);
    lmdb_path(uri, "data.mdb", path);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 2000; i++)
        fputs("This is somebody's diary.\n", file);
    fclose(file);
    expect_refused(uri, "data.mdb: not postern's (it does not begin like a file of LMDB 0.9); name another folder");

    lmdb_fresh_uri(uri);
    lmdb_make_folder(uri);
    change_about(uri, NULL, "colour", "blue", 4);
    expect_refused(uri, "not postern's");

    lmdb_fresh_uri(uri);
    lmdb_make_folder(uri);
    change_about(uri, "paints", "colour", "blue", 4);
    expect_refused(uri, "not postern's");

    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 10);
    change_about(uri, "about", "format", "\0\0\0\3", 4);
    expect_refused(uri, "a newer version of postern wrote it (format 3, this one knows 2); install that version");
}

static void test_a_folder_that_cannot_be_written(void **state)
{
    (void)state;
    char uri[128], made_before[128], path[256];
    if (getuid() != 0)
        skip();
    lmdb_fresh_uri(made_before);
    lmdb_fill(made_before, 10);
    lmdb_path(made_before, ".", path);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(temporary_folder(), 0755), 0);
    lmdb_fresh_uri(uri);
    pid_t child = fork_child();
    if (child == 0) {
        char message[STORE_MESSAGE_BYTES_MAX];
        struct store_settings settings = lmdb_settings();
        if (setuid(65534) != 0 || store_open(uri, &settings, 0, message, sizeof message) ||
            !strstr(message, "cannot make this folder: Permission denied; make it, for the user that postern runs as"))
            _exit(1);
        if (store_open(made_before, &settings, 0, message, sizeof message) ||
            !strstr(message, "in-use: cannot be written: Permission denied; the user that postern runs as must own it"))
            _exit(2);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- no memory ---- */

static int copies_that_work = -1; /* -1: all */

/* In the place of the C library's: LMDB copies the names of databases with it. */
char *strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = copies_that_work == 0 ? NULL : malloc(len);
    copies_that_work -= copies_that_work > 0;
    return copy ? memcpy(copy, text, len) : NULL;
}

static void test_without_memory_nobody_is_told_to_move_the_file_away(void **state)
{
    (void)state;
    char uri[128], message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = lmdb_settings();
    struct store *store = NULL;
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 10);
    int copies = 0;
    for (; copies < 10 && !store; copies++) {
        copies_that_work = copies;
        store = store_open(uri, &settings, 0, message, sizeof message);
        copies_that_work = -1;
        if (!store && !strstr(message, "Cannot allocate memory"))
            fail_msg("%s", message);
    }
    assert_true(copies > 2);
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
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 2000);
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = lmdb_settings();
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
    struct store_settings settings = lmdb_settings();
    const char *folder = uri + strlen("lmdb:");
    assert_int_equal(mount("none", folder, "tmpfs", 0, "nr_blocks=64"), 0);
    lmdb_path(uri, "of-another", path);
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
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 2000);
    lmdb_path(uri, "data.mdb", path);
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = lmdb_settings();
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

static void test_a_file_that_was_replaced_is_told_and_checked(void **state)
{
    (void)state;
    char uri[128], path[256], other_uri[128], other[256], away[256], message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = lmdb_settings();
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 2000);
    lmdb_path(uri, "data.mdb", path);
    lmdb_path(uri, "away", away);
    lmdb_fresh_uri(other_uri);
    lmdb_fill(other_uri, 2000);
    lmdb_path(other_uri, "data.mdb", other);
    struct store *store = open_or_fail(uri, &settings);
    assert_int_equal(rename(path, away), 0);
    assert_true(fault_until(store, true, "it was moved away or replaced"));
    assert_int_equal(rename(away, path), 0);
    assert_true(fault_until(store, false, ""));
    damage_record(other, 1);
    assert_int_equal(rename(other, path), 0);
    assert_true(fault_until(store, true, "it was moved away or replaced"));
    store_close(store, 1000);
    /* Nobody has said of the other that it is whole. */
    store = store_open(uri, &settings, 0, message, sizeof message);
    if (store || !strstr(message, "data.mdb: damaged"))
        fail_msg("'%s'", message);
}

/* A disk that has room for the first files of a store, or some of them, or none. */
static void test_a_small_disk_is_told_however_small(void **state)
{
    (void)state;
    char uri[128];
    if (getuid() != 0)
        skip();
    lmdb_fresh_uri(uri);
    lmdb_make_folder(uri);
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
    struct store_settings settings = lmdb_settings();
    settings.map_bytes = 1 << 20;
    settings.backlog_max = 4000;
    struct store *store = open_or_fail(lmdb_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    for (uint32_t i = 0; i < 40000; i++) {
        put_whole(client, i, 1);
        if (i % 2000 == 0)
            poll(NULL, 0, 20);
    }
    assert_true(fault_until(store, true, "it has reached the size that is allowed (1 MiB)"));
    store_counters(store, &counters);
    assert_true(counters.waiting <= 4000 + 4000); /* as many may be under way */
    assert_true(counters.lost > 0);
    assert_int_equal(counters.failed, 0);
    store_client_free(client);
    store_close(store, 100);
    assert_int_equal(lmdb_try(uri), LMDB_OPENED);
}

/* ---- other processes ---- */

static void put_elsewhere(const char *uri, uint32_t version)
{
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = lmdb_settings();
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        struct store_key key = key_of(1);
        struct store_record got;
        enum store_status status = look_up(client, &key, &got);
        if (status != (version == 1 ? STORE_ABSENT : STORE_GOOD))
            _exit(1);
        put_whole(client, 1, version);
        store_client_free(client);
        store_close(store, 5000);
        _exit(0);
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
    struct store *store = open_or_fail(lmdb_fresh_uri(uri), &settings);
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
    struct store_settings settings = lmdb_settings();
    settings.backlog_max = 1000;
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 100);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork_child();
    if (child == 0) {
        MDB_env *env;
        MDB_txn *transaction;
        if (mdb_env_create(&env) || mdb_env_open(env, uri + strlen("lmdb:"), 0, 0600) ||
            mdb_txn_begin(env, NULL, 0, &transaction) || write(ends[1], "x", 1) != 1)
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

/* A thread that lost the processor while it held a lock is played by this one. */
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
    (void)state;
    char uri[128], path[256], message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = lmdb_settings();
    settings.sync_ms = 20;
    lmdb_fresh_uri(uri);
    lmdb_fill(uri, 10000);
    lmdb_path(uri, "data.mdb", path);
    struct store *store = open_or_fail(uri, &settings);
    struct slow_walk walk = {.store = store, .client = store_client_new(store), .path = path};
    struct store_counters counters;
    store_counters(store, &counters);
    assert_true(store_walk(store, visit_slowly, &walk, message, sizeof message));
    print_message("# %lld octets in 50 rounds\n", (long long)walk.grown);
    assert_true(walk.visited >= counters.records);
    assert_true(walk.grown < 1 << 20);
    store_client_free(walk.client);
    store_close(store, 5000);
}

static void test_a_lock_that_is_held_delays_no_client(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    char uri[128];
    struct store_settings settings = lmdb_settings();
    struct store *store = open_or_fail(lmdb_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store), *other = store_client_new(store);
    struct table *table = &store->table;
    struct store_counters counters;
    struct store_record got;
    unsigned known = 0, asked = 0;
    for (uint32_t i = 0; i < table->shards_count; i += 2)
        while (atomic_flag_test_and_set(&table->shards[i].locked))
            poll(NULL, 0, 1);
    for (uint32_t version = 1; version <= 2; version++)
        for (uint32_t i = 0; i < KEYS / 2; i++) {
            struct store_key key = key_of(i);
            struct store_record record = whole_record(i, version);
            store_put(client, &key, &record);
            assert_int_equal(store_get(client, &key, i, wall_us(), wall_us() + 5000000, &got), STORE_GOOD);
            assert_int_equal(version_of(&got), version);
        }
    assert_true(store_next_due(client) == 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        struct store_key key = key_of(i);
        enum store_status status = store_get(other, &key, i, wall_us(), wall_us() + 5000000, &got);
        known += status == STORE_GOOD;
        asked += status == STORE_LATER;
    }
    assert_int_equal(known + asked, KEYS);
    assert_true(known > 0 && asked > KEYS / 2);
    for (uint32_t i = 0; i < table->shards_count; i += 2)
        atomic_flag_clear(&table->shards[i].locked);
    /* What had been set aside is known to all with this client's next calls: the writer, which the locks had kept, may
       hold one of them now. */
    struct store_answer answer;
    for (int calls = 0; store_next_due(client) == 0; calls++) {
        assert_true(calls < 5000);
        assert_false(store_next_answer(client, 0, &answer));
        poll(NULL, 0, 1);
    }
    assert_true(store_next_due(client) == INT64_MAX);
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
    struct store_settings settings = lmdb_settings();
    struct store *store = open_or_fail(lmdb_fresh_uri(uri), &settings);
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

static void test_a_record_takes_100_octets_at_most(void **state)
{
    (void)state;
    enum { RECORDS = 300000 };
    char uri[128], path[256];
    struct store_settings settings = store_settings_default();
    struct store *store = open_or_fail(lmdb_fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct stat about;
    for (uint32_t i = 0; i < RECORDS; i++) {
        put_whole(client, i, 1);
        if (i % 50000 == 49999)
            wait_written(store);
    }
    wait_written(store);
    lmdb_path(uri, "data.mdb", path);
    assert_int_equal(stat(path, &about), 0);
    print_message("# %.1f octets a record of %d\n", (double)about.st_size / RECORDS, RECORDS);
    assert_true(about.st_size <= 100 * (off_t)RECORDS);
    store_client_free(client);
    store_close(store, 5000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"files of others are refused", test_files_of_others_are_refused, NULL, NULL, NULL},
        {"a folder that cannot be written is told", test_a_folder_that_cannot_be_written, NULL, NULL, NULL},
        {"without memory nobody is told to move the file away",
         test_without_memory_nobody_is_told_to_move_the_file_away, NULL, NULL, NULL},
        {"a full disk is told, and decisions go on", test_a_full_disk_is_told_and_decisions_go_on, NULL, NULL, NULL},
        {"damage is told again when what came between is over",
         test_damage_is_told_again_when_what_came_between_is_over, NULL, NULL, NULL},
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
        {"a record takes 100 octets at most", test_a_record_takes_100_octets_at_most, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store lmdb", tests, NULL, NULL);
}
