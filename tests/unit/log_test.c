/* report/log: what a disk that is full, a reader that stops and a disk that hangs do to events; every one is counted.
 */
#include "report/log.h"
#include "report/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ALL = -1 };

/* The disk that the event file lies on. */
static dev_t disk;
static ino_t file;
static atomic_int room = ALL; /* octets that it still takes */
static atomic_bool hangs, hanging;

static bool is_event_file(int fd)
{
    struct stat about;
    return file && fstat(fd, &about) == 0 && about.st_dev == disk && about.st_ino == file;
}

/* In place of the C library's. */
ssize_t write(int fd, const void *octets, size_t len)
{
    if (is_event_file(fd)) {
        atomic_store(&hanging, atomic_load(&hangs));
        while (atomic_load(&hangs))
            poll(NULL, 0, 1);
        int left = atomic_load(&room);
        if (left == 0) {
            errno = ENOSPC;
            return -1;
        }
        if (left > 0) {
            len = len < (size_t)left ? len : (size_t)left;
            atomic_fetch_sub(&room, (int)len);
        }
    }
    return (ssize_t)syscall(SYS_write, fd, octets, len);
}

/* ---- events ---- */

struct fixture {
    char path[64];
    struct feed *feed;
    struct log *log;
    uint64_t put;
};

/* A connection, begun and ended: two events, and a record of it. */
static void put_connection(struct fixture *fixture)
{
    struct event event = {.kind = EVENT_FLOW_START,
                          .flow_id = ++fixture->put,
                          .flow_place = 1,
                          .ip_version = 4,
                          .action = "",
                          .reason = "closed"};
    feed_put(fixture->feed, &event);
    event.kind = EVENT_FLOW_END;
    feed_put(fixture->feed, &event);
    log_wake(fixture->log);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void wait_until_counted(struct fixture *fixture, uint64_t events)
{
    for (int i = 0; i < 5000; i++) {
        struct log_counters counters = log_counters(fixture->log);
        if (counters.written + counters.failed == events)
            return;
        poll(NULL, 0, 1);
    }
    fail_msg("not all events were counted");
}

static void begin_with(struct fixture *fixture, bool fifo, uint32_t types)
{
    static unsigned number;
    char message[256];
    struct stat about;
    *fixture = (struct fixture){.feed = feed_new(4, types_logged(types))};
    snprintf(fixture->path, sizeof fixture->path, "/tmp/postern-log-test-%d-%u", (int)getpid(), number++);
    if (fifo)
        assert_int_equal(mkfifo(fixture->path, 0600), 0);
    fixture->log = log_open(fixture->path, types, message, sizeof message);
    assert_non_null(fixture->log);
    assert_int_equal(strstr(message, "nobody reads this FIFO") != NULL, fifo);
    assert_true(log_start(fixture->log, &fixture->feed, 1));
    assert_int_equal(stat(fixture->path, &about), 0);
    disk = about.st_dev;
    file = about.st_ino;
    atomic_store(&room, ALL);
    atomic_store(&hangs, false);
    atomic_store(&hanging, false);
}

static void begin(struct fixture *fixture, bool fifo)
{
    begin_with(fixture, fifo, TYPES_ALL);
}

/* Each line that is whole is JSON; how many of those there are, and of others that are not empty. */
static void count_lines(const char *path, unsigned *whole, unsigned *cut)
{
    char line[4096];
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    *whole = *cut = 0;
    while (fgets(line, sizeof line, in)) {
        size_t len = strlen(line);
        bool good = len > 3 && line[0] == '{' && line[len - 2] == '}' && line[len - 1] == '\n';
        *whole += good;
        *cut += !good && len > 1;
    }
    fclose(in);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_counters counters;
    unsigned whole, cut;
    begin(&fixture, false);
    put_connection(&fixture);
    wait_until_counted(&fixture, 2);
    atomic_store(&room, 1000); /* some lines, and a part of one */
    for (int i = 0; i < 10; i++)
        put_connection(&fixture);
    wait_until_counted(&fixture, 22);
    counters = log_counters(fixture.log);
    assert_in_range(counters.written, 3, 12);
    atomic_store(&room, ALL);
    put_connection(&fixture);
    assert_true(log_close(fixture.log, 0, 1000, &counters));
    assert_int_equal(counters.written + counters.failed, 24);
    assert_int_equal(counters.dropped, 0);
    count_lines(fixture.path, &whole, &cut);
    assert_int_equal(cut, 1); /* which no other line continues */
    assert_true(whole >= counters.written);
    unlink(fixture.path);
    feed_free(fixture.feed);
}

static void test_nobody_reads(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_counters counters;
    begin(&fixture, true);
    put_connection(&fixture);
    wait_until_counted(&fixture, 2);
    int64_t began_ms = now_ms();
    assert_true(log_close(fixture.log, 0, 1000, &counters));
    assert_true(now_ms() - began_ms < 500);
    assert_int_equal(counters.written, 0);
    assert_int_equal(counters.failed, 2);
    unlink(fixture.path);
    feed_free(fixture.feed);
}

static void test_a_reader_that_stops(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_counters counters;
    begin(&fixture, true);
    int reader = open(fixture.path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0 && fcntl(reader, F_SETPIPE_SZ, 4096) > 0);
    poll(NULL, 0, 1500); /* it is opened anew once a second */
    for (int i = 0; i < 100; i++)
        put_connection(&fixture);
    int64_t began_ms = now_ms();
    assert_true(log_close(fixture.log, 0, 300, &counters));
    assert_in_range(now_ms() - began_ms, 290, 2000);
    assert_in_range(counters.written, 1, 40);
    assert_int_equal(counters.written + counters.failed, 200);
    close(reader);
    unlink(fixture.path);
    feed_free(fixture.feed);
}

static void test_a_reader_that_is_slow(void **state)
{
    (void)state;
    struct fixture fixture;
    struct log_counters counters;
    char octets[512];
    begin(&fixture, true);
    int reader = open(fixture.path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0 && fcntl(reader, F_SETPIPE_SZ, 4096) > 0);
    poll(NULL, 0, 1500);
    for (int i = 0; i < 100; i++)
        put_connection(&fixture);
    unsigned lines = 0;
    for (int i = 0; i < 20000 && lines < 300; i++) {
        ssize_t got = read(reader, octets, sizeof octets);
        for (ssize_t at = 0; at < got; at++)
            lines += octets[at] == '\n';
        if (got <= 0)
            poll(NULL, 0, 1);
    }
    assert_int_equal(lines, 300);
    assert_true(log_close(fixture.log, 0, 1000, &counters));
    assert_int_equal(counters.written, 200);
    assert_int_equal(counters.failed, 0);
    close(reader);
    unlink(fixture.path);
    feed_free(fixture.feed);
}

/* The thread and the feed outlive it: nobody can take them from a system call. */
static void test_a_disk_that_hangs(void **state)
{
    (void)state;
    static struct fixture fixture;
    struct log_counters counters;
    begin(&fixture, false);
    put_connection(&fixture);
    wait_until_counted(&fixture, 2);
    atomic_store(&hangs, true);
    put_connection(&fixture);
    for (int i = 0; i < 5000 && !atomic_load(&hanging); i++)
        poll(NULL, 0, 1);
    put_connection(&fixture);
    int64_t began_ms = now_ms();
    assert_false(log_close(fixture.log, 0, 200, &counters));
    assert_in_range(now_ms() - began_ms, 190, 2000);
    assert_int_equal(counters.written, 2);
    assert_int_equal(counters.failed, 4);
    atomic_store(&hangs, false);
    unlink(fixture.path);
}

/* A connection whose client authenticates, and says its password once more where a command belongs. */
static void put_mistake(struct fixture *fixture)
{
    static const struct {
        enum event_kind kind;
        enum smtp_verb verb;
        const char *text;
    } events[] = {{EVENT_FLOW_START, SMTP_VERB_UNKNOWN, ""},         {EVENT_COMMAND, SMTP_VERB_AUTH, "AUTH LOGIN\r\n"},
                  {EVENT_REPLY, SMTP_VERB_AUTH, "535 no\r\n"},       {EVENT_COMMAND, SMTP_VERB_UNKNOWN, "hunter2\r\n"},
                  {EVENT_ANOMALY, SMTP_VERB_UNKNOWN, "hunter2\r\n"}, {EVENT_FLOW_END, SMTP_VERB_UNKNOWN, ""}};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        struct event event = {.kind = events[i].kind,
                              .flow_id = 1,
                              .flow_place = 1,
                              .ip_version = 4,
                              .verb = events[i].verb,
                              .from_server = events[i].kind == EVENT_REPLY,
                              .exchange = (uint32_t)i,
                              .last = true,
                              .text = span_of(events[i].text),
                              .action = "",
                              .reason = events[i].kind == EVENT_ANOMALY ? "ambiguous-response" : "closed"};
        feed_put(fixture->feed, &event);
    }
    log_wake(fixture->log);
}

static void test_types_that_are_written(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        unsigned events, lines;
        const char *has;
    } rows[] = {
        {{"anomaly"}, 3, 1, "\"event_type\":\"anomaly\""},
        {{"smtp-session"}, 6, 1, "\"event_type\":\"smtp-session\""},
        {{"smtp"}, 6, 0, ""},
        {{"greylist"}, 2, 0, ""},
        {{"dialogue"}, 5, 5, "\"line\":\"[masked]\""},
        {{"dialogue", "anomaly"}, 6, 6, "\"line\":\"[masked]\""},
        {{"all"}, 6, 7, "\"event_type\":\"flow-end\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture fixture;
        struct log_counters counters;
        unsigned whole, cut;
        char text[8192] = "";
        uint32_t types = 0;
        for (size_t word = 0; word < 3 && rows[i].words[word]; word++)
            assert_true(types_add(rows[i].words[word], &types));
        begin_with(&fixture, false, types);
        put_mistake(&fixture);
        assert_true(log_close(fixture.log, 0, 1000, &counters));
        assert_int_equal(counters.written, rows[i].events);
        count_lines(fixture.path, &whole, &cut);
        assert_int_equal(whole, rows[i].lines);
        FILE *in = fopen(fixture.path, "r");
        text[fread(text, 1, sizeof text - 1, in)] = '\0';
        fclose(in);
        assert_non_null(strstr(text, rows[i].has));
        assert_null(strstr(text, "hunter2"));
        unlink(fixture.path);
        feed_free(fixture.feed);
    }
    assert_true((types_told(1u << EVENT_ANOMALY) >> EVENT_COMMAND & 1) &&
                !(types_told(1u << EVENT_TARPIT) >> EVENT_REPLY & 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk),         cmocka_unit_test(test_nobody_reads),
        cmocka_unit_test(test_a_reader_that_stops), cmocka_unit_test(test_a_reader_that_is_slow),
        cmocka_unit_test(test_a_disk_that_hangs),   cmocka_unit_test(test_types_that_are_written),
    };
    signal(SIGPIPE, SIG_IGN);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
