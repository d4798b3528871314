/* Attempts of guarded mail, counted by gateways that share a store. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/stores.h"
#include "cmd/cmd.h"
#include "cmd/watcher.h"

enum {
    SECOND_US = 1000000,
    DELAY_MS = 110000,
    RETRY_US = 60 * SECOND_US, /* GlitchRetrySeconds */
    PATIENCE_US = 10 * SECOND_US,
};

/* The program's own is beside its main; nothing here complains. */
int cmd_complain(enum cmd_exit code, const char *format, ...)
{
    fail_msg("%s", format);
    return code;
}

/* The store, the watch and the workers of a process. */
struct gateway {
    struct store *store;
    struct watch *watch;
    struct watcher *watchers[2];
};

static void open_store(struct gateway *gateway, const char *uri)
{
    struct store_settings settings = store_settings_default();
    settings.file_bytes_max = 64 << 20;
    gateway->store = open_or_fail(uri, &settings);
    watch_share(gateway->watch, gateway->store);
    for (int i = 0; i < 2; i++)
        assert_non_null(gateway->watchers[i] = watcher_new(gateway->watch, gateway->store));
}

static void close_store(struct gateway *gateway)
{
    for (int i = 0; i < 2; i++)
        watcher_free(gateway->watchers[i]);
    store_close(gateway->store, 2000);
}

static void open_gateway(struct gateway *gateway, const char *uri)
{
    const struct guard_settings settings = guard_settings_default();
    gateway->watch = watch_new(&settings);
    assert_non_null(gateway->watch);
    open_store(gateway, uri);
}

static void close_gateway(struct gateway *gateway)
{
    close_store(gateway);
    watch_free(gateway->watch);
}

/* What is closed has written all; what is opened has nothing in its cache, so that the next event has to wait. */
static void empty_cache(struct gateway *gateway, const char *uri)
{
    close_store(gateway);
    open_store(gateway, uri);
}

static struct event event_of(const char *sender, uint16_t code, int64_t at_us)
{
    return (struct event){
        .kind = EVENT_GUARD,
        .time_us = at_us,
        .ip_version = 4,
        .client.address = {10, 0, 0, 25},
        .code = code,
        .octets = 1904,
        .delay_ms = code / 100 == 2 ? 0 : DELAY_MS,
        .text = span_of("451 4.7.1 Greylisting in action"),
        .sender = span_of(sender),
        .recipient = span_of("c@example.net"),
    };
}

/* The number of the attempt; 0 where there is nothing to tell. */
static uint32_t attempt_of(struct watcher *watcher, const char *sender, uint16_t code, int64_t at_us)
{
    struct event event = event_of(sender, code, at_us);
    if (watcher_take(watcher, &event))
        return event.attempt;
    for (int64_t end_us = wall_us() + 5 * SECOND_US; watcher_due_us(watcher) != INT64_MAX && wall_us() < end_us;) {
        struct pollfd ready = {.fd = watcher_fd(watcher), .events = POLLIN};
        poll(&ready, 1, 10);
        if (!watcher_next(watcher, at_us, &event))
            continue;
        /* What waited is as it was. */
        struct event same = event_of(sender, code, at_us);
        assert_true(event.kind == same.kind && event.code == same.code && event.octets == same.octets &&
                    span_equal(event.text, same.text) && span_equal(event.sender, same.sender) &&
                    span_equal(event.recipient, same.recipient));
        return event.attempt;
    }
    return 0;
}

/* Until what was put is written, and this gateway's cache no longer has what it knew of a sender's message before. */
static void wait_outdated(struct gateway *gateway, const char *sender)
{
    struct event event = event_of(sender, 451, 0);
    struct watch_place place = watch_place(gateway->watch, &event);
    struct store_client *client = store_client_new(gateway->store);
    struct store_record record;
    struct store_answer answer;
    int64_t end_us = wall_us() + PATIENCE_US;
    assert_non_null(client);
    while (store_get(client, &place.key, 0, wall_us(), end_us, &record) != STORE_LATER) {
        assert_true(wall_us() < end_us);
        usleep(1000);
    }
    while (!store_next_answer(client, wall_us(), &answer))
        usleep(1000);
    store_client_free(client);
}

static void wait_written(struct gateway *gateway)
{
    struct store_counters counters;
    for (int64_t end_us = wall_us() + PATIENCE_US;; usleep(1000)) {
        store_counters(gateway->store, &counters);
        if (counters.waiting == 0)
            return;
        assert_true(wall_us() < end_us);
    }
}

/* Until each of two gateways knows what the other one has put. */
static void wait_seen(struct gateway gateways[2])
{
    for (int i = 0; i < 2; i++)
        wait_written(&gateways[i]);
    for (int i = 0; i < 2; i++) {
        wait_outdated(&gateways[i], "a@example.com");
        wait_outdated(&gateways[i], "alike@example.com");
    }
}

/* From queue to queue, over this gateway and that: every attempt has its number, and after it was taken none. */
static void check_two(const char *uri)
{
    struct gateway gateways[2];
    int64_t now_us = wall_us();
    open_gateway(&gateways[0], uri);
    open_gateway(&gateways[1], uri);
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        struct watcher *watcher = gateways[attempt % 2].watchers[attempt / 2 % 2];
        assert_int_equal(attempt_of(watcher, "a@example.com", 451, now_us), attempt);
        assert_int_equal(attempt_of(watcher, "alike@example.com", 451, now_us), attempt);
        assert_int_equal(attempt_of(watcher, "alike@example.com", 451, now_us + SECOND_US), attempt);
        now_us += DELAY_MS * INT64_C(1000) + RETRY_US;
        wait_seen(gateways);
    }
    assert_int_equal(attempt_of(gateways[1].watchers[0], "a@example.com", 250, now_us), 5);
    assert_int_equal(attempt_of(gateways[1].watchers[0], "nobody@example.com", 250, now_us), 0);
    wait_seen(gateways);
    assert_int_equal(attempt_of(gateways[0].watchers[0], "a@example.com", 250, now_us), 0);
    assert_int_equal(attempt_of(gateways[0].watchers[1], "a@example.com", 451, now_us), 1);
    assert_int_equal(attempt_of(gateways[0].watchers[1], "alike@example.com", 451, now_us), 5);
    assert_int_equal(watch_counters(gateways[0].watch).taken, 0);
    assert_int_equal(watch_counters(gateways[1].watch).taken, 1);
    assert_int_equal(watch_counters(gateways[0].watch).last + watch_counters(gateways[1].watch).last, 3);
    close_gateway(&gateways[0]);
    close_gateway(&gateways[1]);
}

static void uri_of(const struct redis_server *server, char uri[64])
{
    (void)snprintf(uri, 64, "redis://127.0.0.1:%d", server->port);
}

/* A gateway whose redis knows of an attempt that it does not remember itself. Returns when the next one may be. */
static int64_t open_with_attempt(struct gateway *gateway, struct redis_server *server)
{
    char uri[64];
    redis_server_start(server);
    uri_of(server, uri);
    open_gateway(gateway, uri);
    int64_t now_us = wall_us();
    assert_int_equal(attempt_of(gateway->watchers[0], "a@example.com", 451, now_us), 1);
    empty_cache(gateway, uri);
    return now_us + DELAY_MS * INT64_C(1000) + RETRY_US;
}

static void test_two_gateways(void **state)
{
    (void)state;
    struct redis_server server = {0};
    char uri[64];
    redis_server_start(&server);
    uri_of(&server, uri);
    check_two(uri);
    redis_server_stop(&server, SIGTERM);
}

/* Several events of the same message wait for the same answer: none is counted by what was true before the others. */
static void test_at_once(void **state)
{
    (void)state;
    struct redis_server server = {0};
    struct gateway gateway;
    int64_t now_us = open_with_attempt(&gateway, &server);
    uint32_t numbers[4] = {0};
    assert_int_equal(kill(server.process, SIGSTOP), 0); /* or the first one's answer may be there before the second */
    for (int i = 0; i < 2; i++) {
        struct event event = event_of("a@example.com", 451, now_us);
        assert_false(watcher_take(gateway.watchers[i], &event));
    }
    assert_int_equal(kill(server.process, SIGCONT), 0);
    for (int64_t end_us = wall_us() + 5 * SECOND_US; numbers[1] + numbers[2] < 2 && wall_us() < end_us;) {
        struct event event;
        for (int i = 0; i < 2; i++)
            if (watcher_next(gateway.watchers[i], now_us, &event))
                numbers[event.attempt < 3 ? event.attempt : 3]++;
        usleep(1000);
    }
    /* One is the retry, the other a message of its own. */
    assert_true(numbers[1] == 1 && numbers[2] == 1);
    close_gateway(&gateway);
    redis_server_stop(&server, SIGTERM);
}

/* A store that is stopped keeps nobody waiting; then the number is by what was seen here. */
static void test_a_store_that_says_nothing(void **state)
{
    (void)state;
    struct redis_server server = {0};
    struct gateway gateway;
    int64_t now_us = open_with_attempt(&gateway, &server);
    assert_int_equal(kill(server.process, SIGSTOP), 0);
    for (uint32_t i = 0; i < WATCHER_EVENTS_MAX + 2; i++) {
        char sender[32];
        (void)snprintf(sender, sizeof sender, "%u@example.com", i);
        struct event event = event_of(i ? sender : "a@example.com", 451, now_us);
        int64_t began_us = wall_us();
        bool told = watcher_take(gateway.watchers[0], &event);
        assert_true(wall_us() - began_us < SECOND_US / 10);
        assert_true(!told || i >= WATCHER_EVENTS_MAX);
    }
    uint32_t count = 0, second = 0;
    int64_t due_us = watcher_due_us(gateway.watchers[0]);
    assert_int_equal(due_us, now_us + WATCHER_STORE_MS * INT64_C(1000));
    struct event event;
    assert_false(watcher_next(gateway.watchers[0], due_us - 1, &event));
    for (; watcher_next(gateway.watchers[0], due_us, &event); count++)
        second += event.attempt == 2 && span_equal(event.sender, span_of("a@example.com"));
    assert_int_equal(count, WATCHER_EVENTS_MAX);
    assert_int_equal(second, 1);
    assert_int_equal(watcher_due_us(gateway.watchers[0]), INT64_MAX);
    assert_int_equal(kill(server.process, SIGCONT), 0);
    close_gateway(&gateway);
    redis_server_stop(&server, SIGTERM);
}

/* A store of one's own outlives the process. */
static void test_one_after_the_other(void **state)
{
    (void)state;
    char uri[128];
    int64_t now_us = wall_us();
    (void)snprintf(uri, sizeof uri, "sqlite:%s/guard", temporary_folder());
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        struct gateway gateway;
        open_gateway(&gateway, uri);
        assert_int_equal(attempt_of(gateway.watchers[0], "a@example.com", 451, now_us), attempt);
        close_gateway(&gateway);
        now_us += DELAY_MS * INT64_C(1000) + RETRY_US;
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"two gateways with one redis count together", test_two_gateways, NULL, NULL, NULL},
        {"two events of one message at once are two", test_at_once, NULL, NULL, NULL},
        {"a store that says nothing keeps nobody waiting", test_a_store_that_says_nothing, NULL, NULL, NULL},
        {"with a store the count goes on in the next process", test_one_after_the_other, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
