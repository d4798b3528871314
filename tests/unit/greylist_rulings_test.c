/* What an administrator rules, by another process, while a service decides: it holds within a second. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/stores.h"
#include "greylist/keep.h"
#include "greylist/service.h"

enum { SECOND_US = 1000000 };

#define ALL_RULINGS (((1u << GREYLIST_KINDS) - 1) & ~((1u << GREYLIST_RULED_HOST) - 1))

static const struct greylist_settings *settings(void)
{
    static struct greylist_settings defaults;
    defaults = greylist_settings_default();
    return &defaults;
}

/* The mail that all of this is about. */
static struct greylist_attempt mail(const char *sender)
{
    return (struct greylist_attempt){
        .ip_version = 4,
        .client = {192, 0, 2, 1},
        .helo = span_of("mx.example.net"),
        .sender = span_of(sender),
        .recipient = span_of("b@example.com"),
    };
}

struct fixture {
    char uri[128];
    struct store *store;
    struct store_client *client;
    struct greylist_service *service;
    int64_t later_us; /* than by the clock */
    uint64_t asked;
};

static struct store *open_store(const char *uri)
{
    struct store_settings store = store_settings_default();
    store.sync_ms = 100;
    store.file_bytes_max = 64 << 20;
    return open_or_fail(uri, &store);
}

static void begin(struct fixture *fixture, const char *uri)
{
    struct greylist_service_settings service = greylist_service_settings_default();
    *fixture = (struct fixture){0};
    snprintf(fixture->uri, sizeof fixture->uri, "%s", uri);
    fixture->store = open_store(uri);
    fixture->client = store_client_new(fixture->store);
    fixture->service = greylist_service_new(&service, fixture->store, fixture->client);
    assert_non_null(fixture->service);
}

static void begin_sqlite(struct fixture *fixture)
{
    static unsigned made;
    char uri[128];
    snprintf(uri, sizeof uri, "sqlite:%s/%u", temporary_folder(), ++made);
    begin(fixture, uri);
}

static void end(struct fixture *fixture)
{
    greylist_service_free(fixture->service);
    store_client_free(fixture->client);
    store_close(fixture->store, 5000);
}

static int64_t now_us(const struct fixture *fixture)
{
    return wall_us() + fixture->later_us;
}

static enum greylist_reason reason_of(struct fixture *fixture, const char *sender)
{
    struct greylist_attempt attempt = mail(sender);
    struct question question = {
        .kind = QUESTION_RECIPIENT,
        .transaction = 1,
        .id = ++fixture->asked,
        .flow_id = fixture->asked,
        .ip_version = 4,
        .helo = attempt.helo,
        .sender = attempt.sender,
        .recipient = attempt.recipient,
    };
    struct greylist_answer answer = {0};
    memcpy(question.client, attempt.client, sizeof question.client);
    bool answered = greylist_service_take(fixture->service, &question, now_us(fixture), &answer);
    for (int i = 0; i < 500 && !answered; i++) {
        struct pollfd fd = {.fd = store_client_fd(fixture->client), .events = POLLIN};
        poll(&fd, 1, 10);
        answered = greylist_service_next(fixture->service, now_us(fixture), &answer);
    }
    assert_true(answered && answer.reasoned);
    return answer.reason;
}

static void expect_within_a_second(struct fixture *fixture, const char *sender, enum greylist_reason reason)
{
    int64_t until_us = wall_us() + SECOND_US;
    while (reason_of(fixture, sender) != reason) {
        if (wall_us() >= until_us)
            fail_msg("%s: %s, not %s", sender, greylist_reason_name(reason_of(fixture, sender)),
                     greylist_reason_name(reason));
        poll(NULL, 0, 5);
    }
}

/* ---- the administrator ---- */

enum wish { ALLOW, DENY, FORGET };

static void rule(struct store *store, enum wish wish, enum greylist_kind kind, const char *sender, int64_t until_ms)
{
    struct store_client *client = store_client_new(store);
    struct keeper keeper = {.settings = settings(), .secret = store_secret(store), .client = client};
    struct greylist_attempt attempt = mail(sender);
    struct greylist_record ruling = greylist_ruling(wish == ALLOW, wall_us() / 1000, until_ms);
    struct store_key key = keep_key(&keeper, kind, &attempt);
    if (wish == FORGET)
        store_drop(client, &key);
    else
        keep_put(&keeper, kind, &key, &attempt, &ruling);
    store_client_free(client);
}

/* In a process of its own: SQLite does not outlive a fork. */
static int be_elsewhere(char **words)
{
    struct store *store = open_store(words[1]);
    rule(store, (enum wish)atoi(words[2]), (enum greylist_kind)atoi(words[3]), words[4], atoll(words[5]));
    store_close(store, 5000);
    return 0;
}

static void rule_elsewhere(const char *uri, enum wish wish, enum greylist_kind kind, const char *sender,
                           int64_t until_ms)
{
    char wished[8], of_kind[8], until[24];
    snprintf(wished, sizeof wished, "%d", (int)wish);
    snprintf(of_kind, sizeof of_kind, "%d", (int)kind);
    snprintf(until, sizeof until, "%lld", (long long)until_ms);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/proc/self/exe", "greylist_rulings_test", uri, wished, of_kind, sender, until, NULL);
        _exit(2);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- tests ---- */

static void test_each_kind_is_heard(void **state)
{
    (void)state;
    static const struct {
        enum greylist_kind kind;
        enum greylist_reason allowed, denied;
    } rows[] = {
        {GREYLIST_RULED_HOST, GREYLIST_ALLOWED_CLIENT, GREYLIST_DENIED_CLIENT},
        {GREYLIST_RULED_NETWORK, GREYLIST_ALLOWED_CLIENT, GREYLIST_DENIED_CLIENT},
        {GREYLIST_RULED_SITE, GREYLIST_ALLOWED_CLIENT, GREYLIST_DENIED_CLIENT},
        {GREYLIST_RULED_BLOCK, GREYLIST_ALLOWED_CLIENT, GREYLIST_DENIED_CLIENT},
        {GREYLIST_RULED_SENDER, GREYLIST_ALLOWED_SENDER, GREYLIST_DENIED_SENDER},
        {GREYLIST_RULED_SENDER_DOMAIN, GREYLIST_ALLOWED_SENDER, GREYLIST_DENIED_SENDER},
        {GREYLIST_RULED_RECIPIENT, GREYLIST_ALLOWED_RECIPIENT, GREYLIST_DENIED_RECIPIENT},
        {GREYLIST_RULED_RECIPIENT_DOMAIN, GREYLIST_ALLOWED_RECIPIENT, GREYLIST_DENIED_RECIPIENT},
        {GREYLIST_RULED_MAIL, GREYLIST_ALLOWED_MAIL, GREYLIST_DENIED_MAIL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture fixture;
        begin_sqlite(&fixture);
        assert_int_equal(reason_of(&fixture, "a@example.net"), GREYLIST_FIRST);
        assert_int_equal(store_kinds(fixture.store) & ALL_RULINGS, 0);
        rule_elsewhere(fixture.uri, ALLOW, rows[i].kind, "a@example.net", 0);
        expect_within_a_second(&fixture, "a@example.net", rows[i].allowed);
        assert_int_equal(store_kinds(fixture.store) & ALL_RULINGS, 1u << rows[i].kind);
        rule_elsewhere(fixture.uri, DENY, rows[i].kind, "a@example.net", 0);
        expect_within_a_second(&fixture, "a@example.net", rows[i].denied);
        rule_elsewhere(fixture.uri, FORGET, rows[i].kind, "a@example.net", 0);
        expect_within_a_second(&fixture, "a@example.net", GREYLIST_TOO_SOON);
        rule_elsewhere(fixture.uri, ALLOW, rows[i].kind, "a@example.net", 0);
        expect_within_a_second(&fixture, "a@example.net", rows[i].allowed);
        end(&fixture);
    }
}

static bool count_ruling(void *context, const struct store_key *key, const struct store_record *record,
                         struct span text)
{
    (void)key;
    (void)text;
    *(unsigned *)context += record->kind == GREYLIST_RULED_SENDER;
    return true;
}

static unsigned rulings_of_senders(struct store *store)
{
    uint64_t unread;
    char message[STORE_MESSAGE_BYTES_MAX];
    unsigned count = 0;
    assert_true(store_walk(store, count_ruling, &count, &unread, message, sizeof message));
    assert_int_equal(unread, 0);
    return count;
}

static void test_one_that_ends_takes_no_other_with_it(void **state)
{
    (void)state;
    struct fixture fixture;
    char uri[128];
    begin_sqlite(&fixture);
    assert_int_equal(reason_of(&fixture, "a@example.net"), GREYLIST_FIRST);
    rule_elsewhere(fixture.uri, DENY, GREYLIST_RULED_SENDER, "a@example.net", wall_us() / 1000 + 8000);
    rule_elsewhere(fixture.uri, DENY, GREYLIST_RULED_SENDER, "b@example.net", 0);
    expect_within_a_second(&fixture, "a@example.net", GREYLIST_DENIED_SENDER);
    expect_within_a_second(&fixture, "b@example.net", GREYLIST_DENIED_SENDER);
    fixture.later_us = 9 * SECOND_US;
    assert_int_equal(reason_of(&fixture, "a@example.net"), GREYLIST_TOO_SOON);
    assert_int_equal(reason_of(&fixture, "b@example.net"), GREYLIST_DENIED_SENDER);
    for (int i = 0; i < 500 && rulings_of_senders(fixture.store) == 2; i++)
        poll(NULL, 0, 20);
    assert_int_equal(rulings_of_senders(fixture.store), 1);
    assert_int_equal(reason_of(&fixture, "b@example.net"), GREYLIST_DENIED_SENDER);
    snprintf(uri, sizeof uri, "%s", fixture.uri);
    end(&fixture);
    begin(&fixture, uri);
    assert_int_equal(reason_of(&fixture, "b@example.net"), GREYLIST_DENIED_SENDER);
    end(&fixture);
}

static void test_in_the_same_process_at_once(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, "memory:");
    assert_int_equal(reason_of(&fixture, "a@example.net"), GREYLIST_FIRST);
    rule(fixture.store, ALLOW, GREYLIST_RULED_RECIPIENT_DOMAIN, "a@example.net", 0);
    assert_int_equal(reason_of(&fixture, "a@example.net"), GREYLIST_ALLOWED_RECIPIENT);
    end(&fixture);
}

int main(int argc, char **argv)
{
    if (argc == 6)
        return be_elsewhere(argv);
    static const struct CMUnitTest tests[] = {
        {"another process's rulings of each kind are heard within a second", test_each_kind_is_heard, NULL, NULL, NULL},
        {"a ruling that ends takes no other with it", test_one_that_ends_takes_no_other_with_it, NULL, NULL, NULL},
        {"another client's rulings are heard at once", test_in_the_same_process_at_once, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("greylist rulings", tests, NULL, NULL);
}
