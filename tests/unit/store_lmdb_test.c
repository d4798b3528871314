/* lmdb: killed at random, torn copies, full, foreign, shared with other processes. */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "../lib/stores.h"
#include "store/backend.h"

/* A child that does not outlive the test. */
static pid_t fork_child(void)
{
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

static struct store_settings quick_settings(void)
{
    struct store_settings settings = store_settings_default();
    settings.sync_ms = 100;
    settings.map_bytes = 256 << 20;
    return settings;
}

/* A folder that no test has used. */
static const char *fresh_uri(char uri[128])
{
    static unsigned made;
    snprintf(uri, 128, "lmdb:%s/%u", temporary_folder(), ++made);
    return uri;
}

static void path_in(const char *uri, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", uri + strlen("lmdb:"), name);
}

static void wait_written(struct store *store)
{
    struct store_counters counters;
    for (int i = 0; i < 1000; i++) {
        store_counters(store, &counters);
        if (counters.waiting == 0)
            return;
        poll(NULL, 0, 10);
    }
    fail_msg("nothing was written for 10 s");
}

/* What the records of these tests hold: number and version, and octets that follow from them. */
static bool is_whole(const struct store_record *record)
{
    uint32_t number, version;
    if (record->len != 28)
        return false;
    memcpy(&version, record->value, 4);
    memcpy(&number, record->value + 4, 4);
    struct random_source random = {(uint64_t)number << 32 | version};
    for (size_t i = 8; i < 28; i++)
        if (record->value[i] != (uint8_t)random_next(&random))
            return false;
    return true;
}

static struct store_record made(uint32_t number, uint32_t version)
{
    struct store_record record = {.kind = 1, .len = 28, .expires_s = UINT32_MAX};
    struct random_source random = {(uint64_t)number << 32 | version};
    memcpy(record.value, &version, 4);
    memcpy(record.value + 4, &number, 4);
    for (size_t i = 8; i < 28; i++)
        record.value[i] = (uint8_t)random_next(&random);
    return record;
}

static uint32_t version_of(const struct store_record *record)
{
    uint32_t version;
    memcpy(&version, record->value, sizeof version);
    return version;
}

static void put_made(struct store_client *client, uint32_t number, uint32_t version)
{
    struct store_key key = key_of(number);
    struct store_record record = made(number, version);
    put_now(client, &key, &record);
}

/* ---- killed at random ---- */

enum { KILL_KEYS = 3000, SYNC_MS = 5 };

/* A disk whose syncs take SYNC_MS, in the memory of a process and its child. */
struct slow_disk {
    _Atomic int64_t syncs;
    _Atomic int64_t late_us; /* how much longer they took, as others had the processor */
};

static struct slow_disk *slow_disk; /* NULL: the real one */
static bool syncs_cost_nothing;

/*
 * In the place of the C library's. How long a real disk takes depends on whoever else writes to it; what is left behind
 * by kill -9 does not depend on the disk.
 */
int fdatasync(int fd)
{
    if (syncs_cost_nothing)
        return 0;
    if (!slow_disk)
        return (int)syscall(SYS_fdatasync, fd);
    int64_t began_us = wall_us();
    poll(NULL, 0, SYNC_MS);
    atomic_fetch_add(&slow_disk->late_us, wall_us() - began_us - SYNC_MS * 1000);
    atomic_fetch_add(&slow_disk->syncs, 1);
    return 0;
}

/* The time, but for that by which syncs were late. */
static int64_t disk_us(void)
{
    return wall_us() - (slow_disk ? atomic_load(&slow_disk->late_us) : 0);
}

struct told {
    uint32_t number, version; /* what was put; a number of KILL_KEYS: all before it was written */
    int64_t at_us;            /* when it had been put */
};

static void put_and_tell(const char *uri, const struct store_settings *settings, uint32_t version, int pipe_fd)
{
    struct store *store = open_or_fail(uri, settings);
    struct store_client *client = store_client_new(store);
    struct random_source random = {version};
    struct store_counters counters;
    for (;;) {
        uint32_t burst = random_below(&random, 40);
        for (uint32_t i = 0; i < burst; i++) {
            struct told told = {.number = random_below(&random, KILL_KEYS), .version = ++version};
            put_made(client, told.number, told.version);
            told.at_us = disk_us();
            if (write(pipe_fd, &told, sizeof told) != sizeof told)
                _exit(1);
        }
        store_counters(store, &counters);
        struct told all = {.number = KILL_KEYS, .version = version};
        if (counters.waiting == 0 && write(pipe_fd, &all, sizeof all) != sizeof all)
            _exit(1);
        poll(NULL, 0, (int)random_below(&random, 4));
    }
}

struct expected {
    uint32_t put[KILL_KEYS], written[KILL_KEYS]; /* versions: the last one told, the last one that must be there */
    int64_t put_us[KILL_KEYS];
    uint32_t last;
};

static void take_told(struct expected *expected, int pipe_fd)
{
    struct told told;
    while (read(pipe_fd, &told, sizeof told) == sizeof told) {
        expected->last = told.version;
        if (told.number == KILL_KEYS) {
            memcpy(expected->written, expected->put, sizeof expected->put);
        } else {
            expected->put[told.number] = told.version;
            expected->put_us[told.number] = told.at_us;
        }
    }
}

/* Returns how old the oldest put was that is not there, in microseconds. */
static int64_t check_after_kill(const char *uri, struct expected *expected, int64_t killed_us)
{
    struct store_settings settings = quick_settings();
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    int64_t oldest_us = 0;
    for (uint32_t number = 0; number < KILL_KEYS; number++) {
        struct store_key key = key_of(number);
        struct store_record got;
        enum store_status status = look_up(client, &key, &got);
        assert_true(status == STORE_GOOD || (status == STORE_ABSENT && expected->written[number] == 0));
        uint32_t version = status == STORE_GOOD ? version_of(&got) : 0;
        assert_true(status != STORE_GOOD || is_whole(&got));
        assert_true(version >= expected->written[number]);
        /* One put may not have been told any more. */
        assert_true(version <= expected->put[number] || version == expected->last + 1);
        if (version < expected->put[number] && killed_us - expected->put_us[number] > oldest_us)
            oldest_us = killed_us - expected->put_us[number];
        expected->put[number] = expected->written[number] = version;
    }
    store_client_free(client);
    store_close(store, 5000);
    return oldest_us;
}

/* Kill it after `after_ms`. Returns as above. */
static int64_t kill_round(const char *uri, const struct store_settings *settings, struct expected *expected,
                          uint32_t after_ms)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork_child();
    if (child == 0) {
        close(ends[0]);
        put_and_tell(uri, settings, expected->last + 10, ends[1]);
    }
    close(ends[1]);
    int64_t until_us = wall_us() + after_ms * 1000;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    while (wall_us() < until_us) {
        struct pollfd told = {.fd = ends[0], .events = POLLIN};
        poll(&told, 1, 1);
        take_told(expected, ends[0]);
    }
    int64_t killed_us = disk_us();
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    take_told(expected, ends[0]);
    close(ends[0]);
    return check_after_kill(uri, expected, killed_us);
}

static void test_killed_at_random_nothing_written_is_lost(void **state)
{
    (void)state;
    static struct expected expected;
    struct store_settings settings = quick_settings();
    struct random_source random = {7};
    char uri[128];
    fresh_uri(uri);
    expected = (struct expected){0};
    for (int round = 0; round < 60; round++)
        kill_round(uri, &settings, &expected, 5 + random_below(&random, 350));
    assert_true(expected.last > 1000);
}

static void test_killed_nothing_older_than_a_second_is_lost(void **state)
{
    (void)state;
    static struct expected expected;
    struct store_settings settings = store_settings_default();
    char uri[128];
    int64_t oldest_us = 0;
    fresh_uri(uri);
    expected = (struct expected){0};
    slow_disk = mmap(NULL, sizeof *slow_disk, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(slow_disk, MAP_FAILED);
    for (uint32_t round = 0; round < 3; round++) {
        int64_t lost_us = kill_round(uri, &settings, &expected, 1500 + 170 * round);
        oldest_us = lost_us > oldest_us ? lost_us : oldest_us;
    }
    print_message("# the oldest put that kill -9 lost was %.3f s old; %lld syncs, late by %.3f s\n",
                  (double)oldest_us / 1e6, (long long)slow_disk->syncs, (double)slow_disk->late_us / 1e6);
    assert_true(slow_disk->syncs > 0);
    munmap(slow_disk, sizeof *slow_disk);
    slow_disk = NULL;
    assert_true(oldest_us < 1000000);
}

/* ---- growing and shrinking, beside a plain list ---- */

enum { PLAIN_KEYS = 20000, PLAIN_ROUNDS = 40, PLAIN_CHANGES_MAX = 12000 };

struct plain {
    uint32_t versions[PLAIN_KEYS]; /* 0: there is no such record */
    uint32_t seen;
};

/* Records of many sizes, so that pages are split and merged in many ways. */
static size_t text_len_of(uint32_t version)
{
    return version % 4 ? 0 : version / 4 % STORE_TEXT_BYTES_MAX;
}

static void change_plain(struct plain *plain, struct store_client *client, uint32_t number, uint32_t version)
{
    static const uint8_t text[STORE_TEXT_BYTES_MAX];
    struct store_key key = key_of(number);
    struct store_record record = made(number, version);
    plain->versions[number] = version;
    if (version)
        store_put_text(client, &key, &record, (struct span){text, text_len_of(version)});
    else
        store_drop(client, &key);
}

static void change_at_random(struct plain *plain, struct store_client *client, struct random_source *random)
{
    static const uint32_t drops_percent[] = {10, 50, 95, 100};
    uint32_t drops = drops_percent[random_below(random, 4)];
    struct store_answer answer;
    for (uint32_t left = random_below(random, PLAIN_CHANGES_MAX); left > 0; left--) {
        uint32_t number = random_below(random, PLAIN_KEYS), version = 1 + random_below(random, 1000000);
        change_plain(plain, client, number, random_below(random, 100) < drops ? 0 : version);
    }
    for (uint32_t number = 0; drops == 100 && number < PLAIN_KEYS; number++)
        change_plain(plain, client, number, 0); /* until nothing is left */
    while (store_next_due(client) == 0)
        assert_false(store_next_answer(client, 0, &answer));
}

static bool visit_plain(void *context, const struct store_key *key, const struct store_record *record, struct span text)
{
    struct plain *plain = context;
    uint32_t number;
    assert_true(is_whole(record));
    memcpy(&number, record->value + 4, sizeof number);
    struct store_key of = key_of(number);
    assert_memory_equal(key, &of, sizeof of);
    assert_true(number < PLAIN_KEYS && version_of(record) == plain->versions[number]);
    assert_int_equal(text.len, text_len_of(plain->versions[number]));
    plain->seen++;
    return true;
}

static void check_plain(struct plain *plain, struct store *store, struct store_client *client)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    uint32_t count = 0;
    plain->seen = 0;
    assert_true(store_walk(store, visit_plain, plain, message, sizeof message));
    for (uint32_t number = 0; number < PLAIN_KEYS; number++) {
        count += plain->versions[number] != 0;
        if (number % 100)
            continue;
        struct store_key key = key_of(number);
        struct store_record got;
        assert_int_equal(look_up(client, &key, &got), plain->versions[number] ? STORE_GOOD : STORE_ABSENT);
    }
    assert_int_equal(plain->seen, count);
}

static void test_a_file_that_grows_and_shrinks(void **state)
{
    (void)state;
    static struct plain plain;
    char uri[128];
    struct store_settings settings = quick_settings();
    struct random_source random = {17};
    settings.cache_max = 100; /* nearly all is looked up in the file */
    fresh_uri(uri);
    plain = (struct plain){.seen = 0};
    syncs_cost_nothing = true;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    for (int round = 0; round < PLAIN_ROUNDS; round++) {
        change_at_random(&plain, client, &random);
        wait_written(store);
        check_plain(&plain, store, client);
        if (random_below(&random, 5))
            continue;
        store_client_free(client);
        store_close(store, 5000);
        store = open_or_fail(uri, &settings);
        client = store_client_new(store);
    }
    store_client_free(client);
    store_close(store, 5000);
    syncs_cost_nothing = false;
}

/* ---- torn copies ---- */

static void copy_file(const char *from, const char *to, struct random_source *random)
{
    static uint8_t octets[65536];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t got; (got = read(in, octets, sizeof octets)) > 0;) {
        assert_int_equal(write(out, octets, (size_t)got), got);
        if (random && random_below(random, 4) == 0)
            poll(NULL, 0, (int)random_below(random, 25));
    }
    close(in);
    close(out);
}

static bool visit_whole(void *context, const struct store_key *key, const struct store_record *record, struct span text)
{
    unsigned *count = context;
    uint32_t number;
    memcpy(&number, record->value + 4, 4);
    struct store_key of = key_of(number);
    if (!is_whole(record) || memcmp(&of, key, sizeof of) != 0 || text.len)
        _exit(3);
    ++*count;
    return true;
}

enum outcome { OPENED, REFUSED, OUTCOMES };

/* In a process of its own, as it must not crash: open, look at all, write much. */
static enum outcome try_copy(const char *uri)
{
    pid_t child = fork_child();
    if (child == 0) {
        char message[STORE_MESSAGE_BYTES_MAX];
        struct store_settings settings = quick_settings();
        unsigned count = 0;
        struct store *store = store_open(uri, &settings, wall_us() / 1000000, message, sizeof message);
        if (!store)
            _exit(strlen(message) > 20 && !strchr(message, '\n') ? 10 + REFUSED : 2);
        if (!store_walk(store, visit_whole, &count, message, sizeof message))
            _exit(4);
        struct store_client *client = store_client_new(store);
        for (uint32_t i = 0; i < 2000; i++)
            put_made(client, i * 7, 5);
        wait_written(store);
        unsigned again = 0;
        if (!store_walk(store, visit_whole, &again, message, sizeof message) || again < count)
            _exit(5);
        store_close(store, 5000);
        _exit(10 + OPENED);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_in_range(WEXITSTATUS(status), 10, 10 + OUTCOMES - 1);
    return (enum outcome)(WEXITSTATUS(status) - 10);
}

/* A file with some history: filled, and changed all over a few times. */
static void fill(const char *uri, uint32_t records)
{
    struct store_settings settings = quick_settings();
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    for (uint32_t version = 1; version <= 3; version++) {
        for (uint32_t number = 0; number < records; number++)
            put_made(client, number * version, version);
        wait_written(store);
    }
    store_client_free(client);
    store_close(store, 5000);
}

static void make_folder_of(const char *uri)
{
    assert_int_equal(mkdir(uri + strlen("lmdb:"), 0700), 0);
}

static void test_copies_made_while_it_is_written(void **state)
{
    (void)state;
    char uri[128], copy[128], from[256], to[256];
    unsigned outcomes[OUTCOMES] = {0};
    struct random_source random = {11};
    fresh_uri(uri);
    fill(uri, 20000);
    pid_t writer = fork_child();
    if (writer == 0) {
        struct store_settings settings = quick_settings();
        settings.sync_ms = 20;
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        for (uint32_t version = 10;; version++) {
            put_made(client, random_below(&random, 60000), version);
            if (version % 50 == 0)
                poll(NULL, 0, 1);
        }
    }
    path_in(uri, "data.mdb", from);
    for (int round = 0; round < 25; round++) {
        fresh_uri(copy);
        make_folder_of(copy);
        path_in(copy, "data.mdb", to);
        copy_file(from, to, &random);
        outcomes[try_copy(copy)]++;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    print_message("# of 25 copies %u opened, %u were refused\n", outcomes[OPENED], outcomes[REFUSED]);
    assert_true(outcomes[REFUSED] > 0); /* else the copies were not torn, and nothing was tested */
    assert_int_equal(try_copy(uri), OPENED);
}

static void damage(const char *path, struct random_source *random, off_t len, int way)
{
    static const uint8_t nothing[4096];
    uint8_t page[4096];
    int fd = open(path, O_RDWR);
    off_t pages = len / 4096, at = (off_t)random_below(random, (uint32_t)pages) * 4096;
    assert_true(fd >= 0);
    if (way == 0) {
        assert_int_equal(ftruncate(fd, (off_t)random_below(random, (uint32_t)len)), 0);
    } else if (way == 1) { /* the end was not written any more */
        off_t from = pages - (off_t)random_below(random, 1 + (uint32_t)pages / 8);
        for (; from < pages; from++)
            assert_int_equal(pwrite(fd, nothing, sizeof nothing, from * 4096), sizeof nothing);
    } else if (way == 2) { /* one page was not */
        assert_int_equal(pwrite(fd, nothing, sizeof nothing, at), sizeof nothing);
    } else if (way == 3) { /* or half of it */
        assert_int_equal(pwrite(fd, nothing, 2048, at + 2048), 2048);
    } else if (way == 4) { /* a page in the place of another */
        off_t other = (off_t)random_below(random, (uint32_t)pages) * 4096;
        assert_int_equal(pread(fd, page, sizeof page, other), sizeof page);
        assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
    } else { /* an octet changed */
        off_t octet = (off_t)random_below(random, (uint32_t)len);
        assert_int_equal(pread(fd, page, 1, octet), 1);
        page[0] ^= (uint8_t)(1u << random_below(random, 8));
        assert_int_equal(pwrite(fd, page, 1, octet), 1);
    }
    close(fd);
}

static void test_damaged_files_open_or_are_refused(void **state)
{
    (void)state;
    char uri[128], copy[128], from[256], to[256];
    unsigned outcomes[6][OUTCOMES] = {{0}};
    struct random_source random = {13};
    struct stat about;
    fresh_uri(uri);
    fill(uri, 4000);
    path_in(uri, "data.mdb", from);
    assert_int_equal(stat(from, &about), 0);
    for (int round = 0; round < 240; round++) {
        fresh_uri(copy);
        make_folder_of(copy);
        path_in(copy, "data.mdb", to);
        copy_file(from, to, NULL);
        damage(to, &random, about.st_size, round % 6);
        outcomes[round % 6][try_copy(copy)]++;
        unlink(to);
    }
    for (int way = 0; way < 6; way++)
        print_message("# damage %d: %u opened, %u were refused\n", way, outcomes[way][OPENED], outcomes[way][REFUSED]);
    for (int way = 0; way < 6; way++)
        assert_true(outcomes[way][REFUSED] > 0 && outcomes[way][REFUSED] + outcomes[way][OPENED] == 40);
}

/* The pages of the last transaction are lost, as a disk may do that lies about what it has written. */
static void test_a_last_transaction_that_is_damaged_is_taken_back(void **state)
{
    (void)state;
    char uri[128], data[256], before[256], message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = quick_settings();
    struct stat about;
    fresh_uri(uri);
    fill(uri, 4000);
    path_in(uri, "data.mdb", data);
    path_in(uri, "before", before);
    copy_file(data, before, NULL);
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    put_made(client, 5, 77);
    store_client_free(client);
    store_close(store, 5000);
    /* Pages are as before the transaction, but for the two that say which one was the last. */
    assert_int_equal(stat(before, &about), 0);
    int old = open(before, O_RDONLY), new = open(data, O_RDWR);
    for (off_t at = 2 * 4096; at < about.st_size; at += 4096) {
        uint8_t page[4096];
        assert_int_equal(pread(old, page, sizeof page, at), sizeof page);
        assert_int_equal(pwrite(new, page, sizeof page, at), sizeof page);
    }
    close(old);
    close(new);
    store = store_open(uri, &settings, wall_us() / 1000000, message, sizeof message);
    assert_non_null(store);
    assert_non_null(strstr(message, "was taken back"));
    client = store_client_new(store);
    struct store_key key = key_of(5);
    struct store_record got;
    assert_int_equal(look_up(client, &key, &got), STORE_GOOD);
    assert_int_equal(version_of(&got), 1);
    store_client_free(client);
    store_close(store, 5000);
}

/* ---- files of others ---- */

static void expect_refused(const char *uri, const char *words)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store_settings settings = quick_settings();
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
    fresh_uri(uri);
    make_folder_of(uri);
    path_in(uri, "data.mdb", path);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 2000; i++)
        fputs("This is somebody's diary.\n", file);
    fclose(file);
    expect_refused(uri, "data.mdb: not postern's (it does not begin like a file of LMDB 0.9); name another folder");

    fresh_uri(uri);
    make_folder_of(uri);
    change_about(uri, NULL, "colour", "blue", 4);
    expect_refused(uri, "not postern's");

    fresh_uri(uri);
    make_folder_of(uri);
    change_about(uri, "paints", "colour", "blue", 4);
    expect_refused(uri, "not postern's");

    fresh_uri(uri);
    fill(uri, 10);
    change_about(uri, "about", "format", "\0\0\0\3", 4);
    expect_refused(uri, "a newer version of postern wrote it (format 3, this one knows 2); install that version");
}

static void test_a_folder_that_cannot_be_written(void **state)
{
    (void)state;
    char uri[128], made_before[128], path[256];
    if (getuid() != 0)
        skip();
    fresh_uri(made_before);
    fill(made_before, 10);
    path_in(made_before, ".", path);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chmod(temporary_folder(), 0755), 0);
    fresh_uri(uri);
    pid_t child = fork_child();
    if (child == 0) {
        char message[STORE_MESSAGE_BYTES_MAX];
        struct store_settings settings = quick_settings();
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
    fresh_uri(uri);
    fill(uri, 2000);
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = quick_settings();
        struct store_record got;
        signal(SIGXFSZ, SIG_IGN);
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        limit_file(1 << 20);
        for (uint32_t i = 0; i < 30000; i++)
            put_made(client, i, 9);
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

static void test_a_file_that_may_not_grow_is_told(void **state)
{
    (void)state;
    char uri[128];
    struct store_settings settings = quick_settings();
    settings.map_bytes = 1 << 20;
    settings.backlog_max = 4000;
    struct store *store = open_or_fail(fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    for (uint32_t i = 0; i < 40000; i++) {
        put_made(client, i, 1);
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
    assert_int_equal(try_copy(uri), OPENED);
}

/* ---- other processes ---- */

static void put_elsewhere(const char *uri, uint32_t version)
{
    pid_t child = fork_child();
    if (child == 0) {
        struct store_settings settings = quick_settings();
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        struct store_key key = key_of(1);
        struct store_record got;
        enum store_status status = look_up(client, &key, &got);
        if (status != (version == 1 ? STORE_ABSENT : STORE_GOOD))
            _exit(1);
        put_made(client, 1, version);
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
    struct store *store = open_or_fail(fresh_uri(uri), &settings);
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
        put_made(client, 1, version + 100);
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
    struct store_settings settings = quick_settings();
    settings.backlog_max = 1000;
    fresh_uri(uri);
    fill(uri, 100);
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
        put_made(client, number, 50);
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
static void test_a_lock_that_is_held_delays_no_client(void **state)
{
    (void)state;
    enum { KEYS = 300 };
    char uri[128];
    struct store_settings settings = quick_settings();
    struct store *store = open_or_fail(fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store), *other = store_client_new(store);
    struct table *table = &store->table;
    struct store_counters counters;
    struct store_record got;
    unsigned known = 0, asked = 0;
    for (uint32_t i = 0; i < table->shards_count; i += 2)
        pthread_mutex_lock(&table->shards[i].lock);
    for (uint32_t version = 1; version <= 2; version++)
        for (uint32_t i = 0; i < KEYS / 2; i++) {
            struct store_key key = key_of(i);
            struct store_record record = made(i, version);
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
        pthread_mutex_unlock(&table->shards[i].lock);
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
    struct store_settings settings = quick_settings();
    struct store *store = open_or_fail(fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    for (uint32_t i = 0; i < 6000; i++) {
        struct store_key key = key_of(i);
        struct store_record record = made(i, 1);
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
    struct store *store = open_or_fail(fresh_uri(uri), &settings);
    struct store_client *client = store_client_new(store);
    struct stat about;
    for (uint32_t i = 0; i < RECORDS; i++) {
        put_made(client, i, 1);
        if (i % 50000 == 49999)
            wait_written(store);
    }
    wait_written(store);
    path_in(uri, "data.mdb", path);
    assert_int_equal(stat(path, &about), 0);
    print_message("# %.1f octets a record of %d\n", (double)about.st_size / RECORDS, RECORDS);
    assert_true(about.st_size <= 100 * (off_t)RECORDS);
    store_client_free(client);
    store_close(store, 5000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"killed at random, nothing that was written is lost", test_killed_at_random_nothing_written_is_lost, NULL,
         NULL, NULL},
        {"killed, nothing older than a second is lost", test_killed_nothing_older_than_a_second_is_lost, NULL, NULL,
         NULL},
        {"a file that grows and shrinks at random holds what a plain list does", test_a_file_that_grows_and_shrinks,
         NULL, NULL, NULL},
        {"copies made while it is written open or are refused", test_copies_made_while_it_is_written, NULL, NULL, NULL},
        {"damaged files open or are refused", test_damaged_files_open_or_are_refused, NULL, NULL, NULL},
        {"a last transaction that is damaged is taken back", test_a_last_transaction_that_is_damaged_is_taken_back,
         NULL, NULL, NULL},
        {"files of others are refused", test_files_of_others_are_refused, NULL, NULL, NULL},
        {"a folder that cannot be written is told", test_a_folder_that_cannot_be_written, NULL, NULL, NULL},
        {"a full disk is told, and decisions go on", test_a_full_disk_is_told_and_decisions_go_on, NULL, NULL, NULL},
        {"a file that may not grow is told", test_a_file_that_may_not_grow_is_told, NULL, NULL, NULL},
        {"what another process puts is seen within a second", test_what_another_process_puts_is_seen_within_a_second,
         NULL, NULL, NULL},
        {"a process that holds the file stops no decision", test_a_process_that_holds_the_file_stops_no_decision, NULL,
         NULL, NULL},
        {"a lock that is held delays no client", test_a_lock_that_is_held_delays_no_client, NULL, NULL, NULL},
        {"expired records are removed in time", test_expired_records_are_removed_in_time, NULL, NULL, NULL},
        {"a record takes 100 octets at most", test_a_record_takes_100_octets_at_most, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store lmdb", tests, NULL, NULL);
}
