/* sqlite: killed at random, changed at random, torn and damaged files: what one holds then, or that it is refused. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "../lib/sqlite_files.h"

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
static int sync_slowly(int fd, long call)
{
    if (syncs_cost_nothing)
        return 0;
    if (!slow_disk)
        return (int)syscall(call, fd);
    int64_t began_us = wall_us();
    poll(NULL, 0, SYNC_MS);
    atomic_fetch_add(&slow_disk->late_us, wall_us() - began_us - SYNC_MS * 1000);
    atomic_fetch_add(&slow_disk->syncs, 1);
    return 0;
}

int fdatasync(int fd)
{
    return sync_slowly(fd, SYS_fdatasync);
}

int fsync(int fd)
{
    return sync_slowly(fd, SYS_fsync);
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
            put_whole(client, told.number, told.version);
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
    struct store_settings settings = sqlite_settings();
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
    struct store_settings settings = sqlite_settings();
    struct random_source random = {7};
    char uri[128];
    sqlite_fresh_uri(uri);
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
    sqlite_fresh_uri(uri);
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

/* Sanitizers take their time; the plain run has tried more of the same. */
#ifdef __SANITIZE_ADDRESS__
enum { PLAIN_ROUNDS = 10 };
#else
enum { PLAIN_ROUNDS = 40 };
#endif

enum { PLAIN_KEYS = 20000, PLAIN_CHANGES_MAX = 12000 };

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
    struct store_record record = whole_record(number, version);
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
    uint64_t unread;
    char message[STORE_MESSAGE_BYTES_MAX];
    uint32_t count = 0;
    plain->seen = 0;
    assert_true(store_walk(store, visit_plain, plain, &unread, message, sizeof message));
    assert_int_equal(unread, 0);
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
    struct store_settings settings = sqlite_settings();
    struct random_source random = {17};
    settings.cache_max = 100; /* nearly all is looked up in the file */
    sqlite_fresh_uri(uri);
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

static void test_copies_made_while_it_is_written(void **state)
{
    (void)state;
    char uri[128], copy[128], from[256], to[256];
    unsigned outcomes[SQLITE_OUTCOMES] = {0};
    struct random_source random = {11};
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 20000);
    pid_t writer = fork_child();
    if (writer == 0) {
        struct store_settings settings = sqlite_settings();
        settings.sync_ms = 20;
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        for (uint32_t version = 10;; version++) {
            put_whole(client, random_below(&random, 60000), version);
            if (version % 50 == 0)
                poll(NULL, 0, 1);
        }
    }
    sqlite_path(uri, "postern.db", from);
    for (int round = 0; round < 25 || (round < 500 && outcomes[SQLITE_REFUSED] == 0); round++) {
        sqlite_fresh_uri(copy);
        sqlite_make_folder(copy);
        sqlite_path(copy, "postern.db", to);
        copy_file(from, to, &random);
        outcomes[sqlite_try(copy)]++;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    print_message("# %u copies opened, %u were refused\n", outcomes[SQLITE_OPENED], outcomes[SQLITE_REFUSED]);
    assert_true(outcomes[SQLITE_REFUSED] > 0); /* else the copies were not torn, and nothing was tested */
    assert_int_equal(sqlite_try(uri), SQLITE_OPENED);
}

/* Each is tried in a process of its own, which takes long under sanitizers; the plain run has tried more of the same.
 */
#ifdef __SANITIZE_ADDRESS__
enum { WAYS = 6, DAMAGES_A_WAY = 8 };
#else
enum { WAYS = 6, DAMAGES_A_WAY = 40 };
#endif

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
    unsigned outcomes[WAYS][SQLITE_OUTCOMES] = {{0}};
    struct random_source random = {13};
    struct stat about;
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 4000);
    sqlite_path(uri, "postern.db", from);
    assert_int_equal(stat(from, &about), 0);
    for (int round = 0; round < WAYS * DAMAGES_A_WAY; round++) {
        sqlite_fresh_uri(copy);
        sqlite_make_folder(copy);
        sqlite_path(copy, "postern.db", to);
        copy_file(from, to, NULL);
        damage(to, &random, about.st_size, round % WAYS);
        outcomes[round % WAYS][sqlite_try(copy)]++;
        unlink(to);
    }
    for (int way = 0; way < WAYS; way++)
        print_message("# damage %d: %u opened, %u were refused\n", way, outcomes[way][SQLITE_OPENED],
                      outcomes[way][SQLITE_REFUSED]);
    for (int way = 0; way < WAYS; way++)
        assert_true(outcomes[way][SQLITE_REFUSED] > 0 &&
                    outcomes[way][SQLITE_REFUSED] + outcomes[way][SQLITE_OPENED] == DAMAGES_A_WAY);
}

/* The end of the log was not written, as a disk may do that lies about what it has written. */
static void test_a_last_transaction_that_is_damaged_is_taken_back(void **state)
{
    (void)state;
    char uri[128], log[256];
    struct store_settings settings = sqlite_settings();
    struct stat about;
    struct store_record got;
    struct store_key key = key_of(5);
    sqlite_fresh_uri(uri);
    sqlite_fill(uri, 4000);
    sqlite_path(uri, "postern.db-wal", log);
    pid_t child = fork_child();
    if (child == 0) {
        struct store *store = open_or_fail(uri, &settings);
        struct store_client *client = store_client_new(store);
        put_whole(client, 5, 76);
        wait_written(store);
        put_whole(client, 5, 77);
        wait_written(store);
        _exit(0); /* without a word to the store */
    }
    waitpid(child, NULL, 0);
    assert_int_equal(stat(log, &about), 0);
    assert_int_equal(truncate(log, about.st_size - 100), 0);
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    assert_int_equal(look_up(client, &key, &got), STORE_GOOD);
    assert_int_equal(version_of(&got), 76);
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
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store sqlite crash", tests, NULL, NULL);
}
