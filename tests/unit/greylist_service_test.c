/* Questions and lessons of an engine, answered from a store: at once, later, and where it fails. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/stores.h"
#include "greylist/service.h"

enum { SECOND_US = 1000000, DELAY_S = 300, STUTTER_MS = 30000 };

/* A service on a store, and the connection that asks. */
struct fixture {
    struct store *store;
    struct store_client *client;
    struct greylist_service *service;
    int64_t now_us;
    uint64_t flow_id, question_id;
    uint32_t transaction;
    uint8_t host; /* of the client */
    const char *sender;
};

static void open_service_at(struct fixture *fixture, const char *uri, struct greylist_service_settings settings,
                            int64_t now_us)
{
    char message[256];
    struct store_settings store = store_settings_default();
    *fixture = (struct fixture){.now_us = now_us, .transaction = 1, .host = 1, .sender = "a@example.net"};
    fixture->store = store_open(uri, &store, fixture->now_us / SECOND_US, message, sizeof message);
    if (!fixture->store)
        fail_msg("%s", message);
    fixture->client = store_client_new(fixture->store);
    fixture->service = greylist_service_new(&settings, fixture->store, fixture->client);
    assert_non_null(fixture->service);
}

static void open_service(struct fixture *fixture, const char *uri, struct greylist_service_settings settings)
{
    open_service_at(fixture, uri, settings, wall_us());
}

static void close_service(struct fixture *fixture)
{
    greylist_service_free(fixture->service);
    store_client_free(fixture->client);
    store_close(fixture->store, 2000);
}

static void open_memory(struct fixture *fixture)
{
    open_service(fixture, "memory:", greylist_service_settings_default());
}

static struct question base(struct fixture *fixture, enum question_kind kind)
{
    return (struct question){
        .kind = kind,
        .flow_id = fixture->flow_id,
        .transaction = fixture->transaction,
        .ip_version = 4,
        .client = {192, 0, 2, fixture->host},
        .server = {198, 51, 100, 1},
        .helo = span_of("mx.example.net"),
        .sender = span_of(fixture->sender),
    };
}

static void connect_again(struct fixture *fixture)
{
    fixture->flow_id++;
}

/* The answer to a question that the store could not answer at once. */
static struct greylist_answer await_answer(struct fixture *fixture)
{
    struct greylist_answer answer;
    for (int i = 0; i < 1000; i++) {
        if (greylist_service_next(fixture->service, fixture->now_us, &answer))
            return answer;
        struct pollfd fd = {.fd = store_client_fd(fixture->client), .events = POLLIN};
        poll(&fd, 1, 10);
        fixture->now_us += 10000;
    }
    fail_msg("no answer");
    return answer;
}

static struct greylist_answer ask(struct fixture *fixture, enum question_kind kind, const char *recipient)
{
    struct question question = base(fixture, kind);
    struct greylist_answer answer = {0};
    question.id = ++fixture->question_id;
    question.recipient = span_of(recipient);
    if (!greylist_service_take(fixture->service, &question, fixture->now_us, &answer))
        answer = await_answer(fixture);
    assert_int_equal(answer.id, question.id);
    return answer;
}

static enum greylist_reason reason_of(struct fixture *fixture, const char *recipient)
{
    struct greylist_answer answer = ask(fixture, QUESTION_RECIPIENT, recipient);
    assert_true(answer.reasoned);
    static const enum answer answers[] = {ANSWER_PASS, ANSWER_BRING, ANSWER_DEFER, ANSWER_DENY};
    int from = (answer.reason > GREYLIST_EXEMPT_RECIPIENT) + (answer.reason >= GREYLIST_FIRST) +
               (answer.reason >= GREYLIST_DENIED_CLIENT);
    assert_int_equal(answer.answer, answers[from]);
    return answer.reason;
}

static void teach(struct fixture *fixture, enum question_kind kind, uint16_t code)
{
    struct question lesson = base(fixture, kind);
    struct greylist_answer answer;
    lesson.about = fixture->question_id;
    lesson.code = code;
    assert_false(greylist_service_take(fixture->service, &lesson, fixture->now_us, &answer));
    fixture->transaction += kind == LESSON_MESSAGE || kind == LESSON_RESET;
}

static void teach_waited(struct fixture *fixture, bool hung_up)
{
    struct question lesson = base(fixture, LESSON_WAITED);
    struct greylist_answer answer;
    lesson.about = fixture->question_id;
    lesson.waited_ms = STUTTER_MS;
    lesson.hung_up = hung_up;
    fixture->now_us += STUTTER_MS * 1000;
    assert_false(greylist_service_take(fixture->service, &lesson, fixture->now_us, &answer));
}

/* A mail is tried, and put off; the client reads the refusal. */
static enum greylist_reason try_mail(struct fixture *fixture, const char *recipient)
{
    connect_again(fixture);
    enum greylist_reason reason = reason_of(fixture, recipient);
    teach(fixture, LESSON_RECIPIENT, 250);
    if (reason >= GREYLIST_FIRST)
        teach(fixture, LESSON_RESET, 0);
    else
        teach(fixture, LESSON_MESSAGE, 250);
    teach(fixture, LESSON_END, 0);
    return reason;
}

static void test_first_retry_known(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_FIRST);
    fixture.now_us += 60 * SECOND_US;
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_TOO_SOON);
    fixture.now_us += (int64_t)(DELAY_S - 60) * SECOND_US;
    fixture.host = 77; /* the same network */
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_KNOWN);
    assert_int_equal(try_mail(&fixture, "c@example.com"), GREYLIST_FIRST);
    close_service(&fixture);
}

/* What is told of a mail whose attempts decide. */
static void check_history(struct fixture *fixture, int64_t first_us, uint32_t attempts)
{
    connect_again(fixture);
    struct greylist_answer answer = ask(fixture, QUESTION_RECIPIENT, "b@example.com");
    assert_int_equal(answer.first_ms, first_us / 1000);
    assert_int_equal(answer.attempts, attempts);
    teach(fixture, LESSON_RECIPIENT, 250);
    teach(fixture, answer.reason >= GREYLIST_FIRST ? LESSON_RESET : LESSON_MESSAGE, 250);
    teach(fixture, LESSON_END, 0);
}

static void test_history(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    int64_t first_us = fixture.now_us;
    check_history(&fixture, first_us, 1);
    fixture.now_us += 60 * SECOND_US;
    check_history(&fixture, first_us, 2);
    fixture.now_us += (int64_t)DELAY_S * SECOND_US;
    check_history(&fixture, first_us, 3);
    check_history(&fixture, 0, 0); /* known: its attempts do not count */
    close_service(&fixture);
}

/* A mail is decided for this reason, by so many look-ups and puts. */
static void check_cost(struct fixture *fixture, const char *recipient, enum greylist_reason reason, uint64_t gets,
                       uint64_t puts)
{
    struct store_counters before, after;
    connect_again(fixture);
    store_counters(fixture->store, &before);
    assert_int_equal(reason_of(fixture, recipient), reason);
    store_counters(fixture->store, &after);
    assert_int_equal(after.gets - before.gets, gets);
    assert_int_equal(after.puts - before.puts, puts);
}

/* Known mail looks up its network and itself, and puts itself; other mail its pool and who is of it, too. */
static void test_known_costs_little(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    try_mail(&fixture, "b@example.com");
    fixture.now_us += (int64_t)DELAY_S * SECOND_US;
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
    check_cost(&fixture, "b@example.com", GREYLIST_KNOWN, 2, 1);
    check_cost(&fixture, "c@example.com", GREYLIST_FIRST, 4, 2);
    close_service(&fixture);
}

static void test_server_did_not_take_it(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    try_mail(&fixture, "b@example.com");
    fixture.now_us += (int64_t)DELAY_S * SECOND_US;
    static const uint16_t codes[] = {451, 554};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        connect_again(&fixture);
        assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
        teach(&fixture, LESSON_RECIPIENT, 250);
        teach(&fixture, LESSON_MESSAGE, codes[i]);
        teach(&fixture, LESSON_END, 0);
    }
    connect_again(&fixture); /* a recipient of which the server said no is none that was served */
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
    teach(&fixture, LESSON_RECIPIENT, 450);
    teach(&fixture, LESSON_MESSAGE, 250);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
    close_service(&fixture);
}

static void test_whole_transaction(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    try_mail(&fixture, "b@example.com");
    fixture.now_us += (int64_t)DELAY_S * SECOND_US;
    connect_again(&fixture);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
    teach(&fixture, LESSON_RECIPIENT, 250);
    assert_int_equal(reason_of(&fixture, "c@example.com"), GREYLIST_SAME_TRANSACTION);
    teach(&fixture, LESSON_RECIPIENT, 250);
    teach(&fixture, LESSON_MESSAGE, 250);
    assert_int_equal(reason_of(&fixture, "d@example.com"), GREYLIST_FIRST); /* of the next one */
    teach(&fixture, LESSON_RESET, 0);
    assert_int_equal(reason_of(&fixture, "c@example.com"), GREYLIST_KNOWN);
    close_service(&fixture);
}

static void test_exempt_recipient_brings_nobody(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    assert_int_equal(reason_of(&fixture, "postmaster"), GREYLIST_EXEMPT_RECIPIENT);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_FIRST);
    close_service(&fixture);
}

/* Exchange 2003, GlitchRetrySeconds 1, loses the mail behind the fourth attempt. */
static void test_patience(void **state)
{
    (void)state;
    static const struct {
        bool hung_up;
        enum greylist_reason fourth;
    } rows[] = {{false, GREYLIST_PATIENT}, {true, GREYLIST_HUNG_UP_ON}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct fixture fixture;
        open_memory(&fixture);
        for (int attempt = 0; attempt < 3; attempt++) {
            connect_again(&fixture);
            enum greylist_reason later = rows[i].hung_up ? GREYLIST_HUNG_UP_ON : GREYLIST_TOO_SOON;
            assert_int_equal(reason_of(&fixture, "b@example.com"), attempt ? later : GREYLIST_FIRST);
            teach(&fixture, LESSON_RECIPIENT, 250);
            teach(&fixture, LESSON_RESET, 0); /* the refusal itself ends the transaction, and is still being read */
            teach_waited(&fixture, rows[i].hung_up);
            teach(&fixture, LESSON_END, 0);
            fixture.now_us += SECOND_US;
        }
        assert_int_equal(try_mail(&fixture, "b@example.com"), rows[i].fourth);
        close_service(&fixture);
    }
}

static void test_unwanted_recipient(void **state)
{
    (void)state;
    struct fixture fixture;
    struct store_counters counters;
    open_memory(&fixture);
    assert_int_equal(reason_of(&fixture, "nobody@example.com"), GREYLIST_FIRST);
    teach(&fixture, LESSON_RECIPIENT, 550);
    store_counters(fixture.store, &counters);
    assert_int_equal(counters.records, 0);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_FIRST);
    teach(&fixture, LESSON_RECIPIENT, 450); /* put off by the server itself */
    store_counters(fixture.store, &counters);
    assert_int_equal(counters.records, 2);
    close_service(&fixture);
}

static void test_client_known(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    struct greylist_settings settings = greylist_settings_default();
    char recipient[32];
    for (uint32_t i = 0; i < settings.client_passes; i++) {
        assert_int_equal(ask(&fixture, QUESTION_CLIENT, "").answer, ANSWER_DEFER);
        snprintf(recipient, sizeof recipient, "%u@example.com", i);
        assert_int_equal(try_mail(&fixture, recipient), GREYLIST_FIRST);
        fixture.now_us += (int64_t)settings.pass_spacing_s * SECOND_US;
        assert_int_equal(try_mail(&fixture, recipient), GREYLIST_DELAY_OVER);
        bool last = i + 1 == settings.client_passes;
        assert_int_equal(try_mail(&fixture, recipient), last ? GREYLIST_CLIENT_KNOWN : GREYLIST_KNOWN);
    }
    assert_int_equal(ask(&fixture, QUESTION_CLIENT, "").answer, ANSWER_PASS);
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_CLIENT_KNOWN);
    struct greylist_answer tls = ask(&fixture, QUESTION_TLS, "");
    assert_int_equal(tls.reason, GREYLIST_CLIENT_KNOWN);
    close_service(&fixture);
}

static void test_tls(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    connect_again(&fixture);
    assert_int_equal(ask(&fixture, QUESTION_TLS, "").reason, GREYLIST_FIRST);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_FIRST); /* it goes on in clear */
    teach(&fixture, LESSON_END, 0);
    fixture.now_us += (int64_t)DELAY_S * SECOND_US;
    connect_again(&fixture);
    assert_int_equal(ask(&fixture, QUESTION_TLS, "").reason, GREYLIST_DELAY_OVER);
    teach(&fixture, LESSON_END, 0); /* encrypted */
    connect_again(&fixture);
    assert_int_equal(ask(&fixture, QUESTION_TLS, "").reason, GREYLIST_KNOWN);
    close_service(&fixture);
}

static void test_answers(void **state)
{
    (void)state;
    struct fixture fixture;
    struct greylist_answer answer;
    open_memory(&fixture);
    struct question lesson = {
        .kind = LESSON_ADDRESSED,
        .ip_version = 4,
        .client = {10, 0, 0, 1},
        .server = {192, 0, 2, 25},
        .sender = span_of("prvs=0123456789=b@example.com"),
        .recipient = span_of("jane@example.org"),
        .outbound = true,
    };
    greylist_service_take(fixture.service, &lesson, fixture.now_us, &answer);
    lesson.kind = LESSON_MESSAGE;
    lesson.code = 451;
    greylist_service_take(fixture.service, &lesson, fixture.now_us, &answer);
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_FIRST); /* it was not taken */
    lesson.kind = LESSON_ADDRESSED;
    lesson.flow_id = 9999;
    greylist_service_take(fixture.service, &lesson, fixture.now_us, &answer);
    lesson.kind = LESSON_MESSAGE;
    lesson.code = 250;
    greylist_service_take(fixture.service, &lesson, fixture.now_us, &answer);
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_ANSWER); /* from the network it went to */
    fixture.sender = "other@example.org";
    assert_int_equal(try_mail(&fixture, "c@example.com"), GREYLIST_FIRST); /* for somebody else */
    fixture.host = 2;
    assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_ANSWER);
    struct question ours = base(&fixture, QUESTION_RECIPIENT);
    ours.outbound = true;
    assert_true(greylist_service_take(fixture.service, &ours, fixture.now_us, &answer));
    assert_int_equal(answer.reason, GREYLIST_OUTBOUND);
    close_service(&fixture);
}

/* ---- stores that take their time, or fail ---- */

static void test_later(void **state)
{
    (void)state;
    struct fixture fixture;
    char uri[128];
    snprintf(uri, sizeof uri, "sqlite:%s/later", temporary_folder());
    open_service(&fixture, uri, greylist_service_settings_default());
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_FIRST);
    close_service(&fixture);
    open_service(&fixture, uri, greylist_service_settings_default());
    fixture.now_us += (int64_t)(2 * DELAY_S) * SECOND_US;
    struct question question = base(&fixture, QUESTION_RECIPIENT);
    struct greylist_answer answer;
    question.recipient = span_of("b@example.com");
    question.id = 7;
    assert_false(greylist_service_take(fixture.service, &question, fixture.now_us, &answer));
    answer = await_answer(&fixture);
    assert_int_equal(answer.id, 7);
    assert_int_equal(answer.reason, GREYLIST_DELAY_OVER);
    close_service(&fixture);
}

static void test_failed(void **state)
{
    (void)state;
    struct fixture fixture;
    struct greylist_counters counters;
    struct redis_server server = {0};
    char uri[64];
    redis_server_start(&server);
    snprintf(uri, sizeof uri, "redis://127.0.0.1:%d", server.port);
    open_service(&fixture, uri, greylist_service_settings_default());
    redis_server_stop(&server, SIGKILL);
    assert_int_equal(ask(&fixture, QUESTION_RECIPIENT, "b@example.com").answer, ANSWER_FAILED);
    assert_int_equal(ask(&fixture, QUESTION_TLS, "").answer, ANSWER_FAILED);
    assert_int_equal(ask(&fixture, QUESTION_CLIENT, "").answer, ANSWER_FAILED);
    assert_int_equal(reason_of(&fixture, "postmaster"), GREYLIST_EXEMPT_RECIPIENT);
    greylist_service_counters(fixture.service, &counters);
    assert_int_equal(counters.asked, 3);
    assert_int_equal(counters.failed, 2);
    assert_int_equal(counters.passed, 1);
    assert_int_equal(counters.clients, 1);
    assert_int_equal(counters.clients_known, 0);
    greylist_service_free(fixture.service);
    store_client_free(fixture.client);
    store_close(fixture.store, 0);
}

static void test_no_room_for_tasks(void **state)
{
    (void)state;
    struct fixture fixture;
    struct greylist_service_settings settings = greylist_service_settings_default();
    char uri[128];
    settings.tasks_max = 1;
    snprintf(uri, sizeof uri, "sqlite:%s/tasks", temporary_folder());
    open_service(&fixture, uri, settings);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_FIRST);
    close_service(&fixture);
    open_service(&fixture, uri, settings);
    struct question question = base(&fixture, QUESTION_RECIPIENT);
    struct greylist_answer answer;
    question.recipient = span_of("b@example.com");
    question.id = 1;
    assert_false(greylist_service_take(fixture.service, &question, fixture.now_us, &answer));
    question.id = 2;
    assert_true(greylist_service_take(fixture.service, &question, fixture.now_us, &answer));
    assert_int_equal(answer.id, 2);
    assert_int_equal(answer.answer, ANSWER_FAILED);
    assert_int_equal(await_answer(&fixture).id, 1);
    close_service(&fixture);
}

/* ---- bounds ---- */

static void test_bounds(void **state)
{
    (void)state;
    struct fixture fixture;
    struct greylist_counters counters;
    struct greylist_service_settings settings = greylist_service_settings_default();
    settings.flows_max = 8;
    settings.mails_max = 16;
    open_service(&fixture, "memory:", settings);
    char recipient[32];
    for (int i = 0; i < 100; i++) { /* connections that never end, each with more recipients than there is room for */
        connect_again(&fixture);
        for (int n = 0; n < 20; n++) {
            snprintf(recipient, sizeof recipient, "%d@example.com", n);
            ask(&fixture, QUESTION_RECIPIENT, recipient);
        }
    }
    greylist_service_counters(fixture.service, &counters);
    assert_int_equal(counters.asked, 2000);
    assert_true(counters.forgotten >= 92);
    assert_true(counters.lessons_lost >= 100);
    fixture.now_us += (int64_t)DELAY_S * SECOND_US;
    assert_int_equal(try_mail(&fixture, "0@example.com"), GREYLIST_DELAY_OVER);
    assert_int_equal(try_mail(&fixture, "0@example.com"), GREYLIST_KNOWN);
    close_service(&fixture);
}

/* One connection cannot make the others forgotten. */
static void test_one_connection(void **state)
{
    (void)state;
    struct fixture fixture;
    open_memory(&fixture);
    connect_again(&fixture);
    assert_int_equal(reason_of(&fixture, "b@example.com"), GREYLIST_FIRST);
    uint64_t waiting_flow = fixture.flow_id, waiting_question = fixture.question_id;
    connect_again(&fixture);
    char recipient[32];
    for (int i = 0; i < 40000; i++) {
        snprintf(recipient, sizeof recipient, "%d@example.com", i);
        assert_int_equal(reason_of(&fixture, recipient), GREYLIST_FIRST);
        teach(&fixture, LESSON_RESET, 0);
    }
    struct greylist_counters before, after;
    greylist_service_counters(fixture.service, &before);
    fixture.flow_id = waiting_flow;
    fixture.question_id = waiting_question;
    teach_waited(&fixture, false);
    greylist_service_counters(fixture.service, &after);
    assert_int_equal(after.lessons, before.lessons + 2); /* of the mail, from its network and from its pool */
    close_service(&fixture);
}

/* ---- what is counted ---- */

static void ask_client(struct fixture *fixture, bool outbound, enum answer expected)
{
    struct question question = base(fixture, QUESTION_CLIENT);
    struct greylist_answer answer;
    question.outbound = outbound;
    assert_true(greylist_service_take(fixture->service, &question, fixture->now_us, &answer));
    assert_int_equal(answer.answer, expected);
    assert_false(answer.reasoned);
}

/* Four attempts at a mail, and one of ours: each for another reason. */
static void try_for_each_reason(struct fixture *fixture, const char *recipient)
{
    struct question ours = base(fixture, QUESTION_RECIPIENT);
    struct greylist_answer answer;
    assert_int_equal(try_mail(fixture, recipient), GREYLIST_FIRST);
    assert_int_equal(try_mail(fixture, recipient), GREYLIST_TOO_SOON);
    fixture->now_us += (int64_t)DELAY_S * SECOND_US;
    assert_int_equal(try_mail(fixture, recipient), GREYLIST_DELAY_OVER);
    assert_int_equal(try_mail(fixture, recipient), GREYLIST_KNOWN);
    ours.outbound = true;
    assert_true(greylist_service_take(fixture->service, &ours, fixture->now_us, &answer));
    ask_client(fixture, false, ANSWER_DEFER);
    ask_client(fixture, true, ANSWER_PASS);
}

static void assert_counted(const struct fixture *fixture, uint64_t times)
{
    struct greylist_counters counters;
    greylist_service_counters(fixture->service, &counters);
    for (int reason = 0; reason < GREYLIST_REASONS; reason++) {
        bool met = reason == GREYLIST_FIRST || reason == GREYLIST_TOO_SOON || reason == GREYLIST_DELAY_OVER ||
                   reason == GREYLIST_KNOWN || reason == GREYLIST_OUTBOUND;
        assert_int_equal(counters.reasons[reason], met ? times : 0);
    }
    assert_int_equal(counters.asked, 5 * times);
    assert_int_equal(counters.passed, 3 * times);
    assert_int_equal(counters.deferred, 2 * times);
    assert_int_equal(counters.failed, 0);
    assert_int_equal(counters.clients, 2 * times);
    assert_int_equal(counters.clients_known, times);
}

/* New rules bring a service of their own. */
static void test_counted(void **state)
{
    (void)state;
    struct fixture fixture;
    struct greylist_service_settings settings = greylist_service_settings_default();
    open_memory(&fixture);
    try_for_each_reason(&fixture, "b@example.com");
    assert_counted(&fixture, 1);
    struct greylist_service *before = fixture.service;
    fixture.service = greylist_service_new(&settings, fixture.store, fixture.client);
    assert_non_null(fixture.service);
    greylist_service_go_on(fixture.service, before);
    greylist_service_free(before);
    assert_counted(&fixture, 1);
    try_for_each_reason(&fixture, "c@example.com");
    assert_counted(&fixture, 2);
    close_service(&fixture);
}

/* ---- what is kept in clear ---- */

static bool gather(void *context, const struct store_key *key, const struct store_record *record, struct span text)
{
    (void)key;
    char(*texts)[128] = context;
    snprintf(texts[record->kind], sizeof texts[0], "%.*s", (int)text.len, (const char *)text.ptr);
    return true;
}

static void test_clear_text(void **state)
{
    uint64_t unread;
    (void)state;
    for (int clear = 0; clear <= 1; clear++) {
        struct fixture fixture;
        char texts[GREYLIST_KINDS][128] = {{0}}, message[256];
        struct greylist_service_settings settings = greylist_service_settings_default();
        settings.clear_text = clear;
        open_service(&fixture, "memory:", settings);
        try_mail(&fixture, "b@example.com");
        fixture.now_us += (int64_t)DELAY_S * SECOND_US;
        try_mail(&fixture, "b@example.com");
        assert_true(store_walk(fixture.store, gather, texts, &unread, message, sizeof message));
        assert_int_equal(unread, 0);
        assert_string_equal(texts[GREYLIST_TRIPLET], clear ? "192.0.2.0/24\ta@example.net\tb@example.com" : "");
        assert_string_equal(texts[GREYLIST_POOL], clear ? "mx.example.net\ta@example.net\tb@example.com" : "");
        assert_string_equal(texts[GREYLIST_CLIENT], clear ? "192.0.2.0/24" : "");
        close_service(&fixture);
    }
}

/* A gateway's clock is wrong by years when it starts, and is set before it starts again. */
static void test_clocks_that_are_set(void **state)
{
    (void)state;
    const int64_t year_us = 365 * INT64_C(86400) * SECOND_US;
    const int64_t wrong_us[] = {wall_us() + 15 * year_us, wall_us() - 15 * year_us};
    for (size_t i = 0; i < 2; i++) {
        struct fixture fixture;
        struct greylist_service_settings settings = greylist_service_settings_default();
        char uri[128];
        snprintf(uri, sizeof uri, "sqlite:%s/clock-%zu", temporary_folder(), i);
        for (int start = 0; start < 3; start++) {
            open_service_at(&fixture, uri, settings, start == 1 ? wrong_us[i] : wall_us());
            poll(NULL, 0, 1000); /* what has expired is removed */
            fixture.sender = "a@example.net";
            assert_int_equal(try_mail(&fixture, "b@example.com"), start == 0 ? GREYLIST_FIRST : GREYLIST_TOO_SOON);
            fixture.sender = start == 0 ? "none@example.net" : "wrong@example.net";
            assert_int_equal(try_mail(&fixture, "b@example.com"), start < 2 ? GREYLIST_FIRST : GREYLIST_TOO_SOON);
            if (start == 2) {
                fixture.now_us += (int64_t)DELAY_S * SECOND_US;
                assert_int_equal(try_mail(&fixture, "b@example.com"), GREYLIST_DELAY_OVER);
            }
            close_service(&fixture);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"a first attempt, one too soon, a retry, and what is known then", test_first_retry_known, NULL, NULL, NULL},
        {"when a mail was tried first, and how often", test_history, NULL, NULL, NULL},
        {"known mail costs two look-ups and a put", test_known_costs_little, NULL, NULL, NULL},
        {"what the server did not take teaches nothing", test_server_did_not_take_it, NULL, NULL, NULL},
        {"the first verdict of a transaction holds for all its recipients", test_whole_transaction, NULL, NULL, NULL},
        {"an exempt recipient brings nobody with it", test_exempt_recipient_brings_nobody, NULL, NULL, NULL},
        {"the fourth attempt of a patient client passes", test_patience, NULL, NULL, NULL},
        {"recipients that the server does not want leave no record", test_unwanted_recipient, NULL, NULL, NULL},
        {"a network that has brought enough mail is known", test_client_known, NULL, NULL, NULL},
        {"sessions that encrypt", test_tls, NULL, NULL, NULL},
        {"answers to mail of ours", test_answers, NULL, NULL, NULL},
        {"a store that answers later", test_later, NULL, NULL, NULL},
        {"a store that is gone", test_failed, NULL, NULL, NULL},
        {"no room for what waits for the store", test_no_room_for_tasks, NULL, NULL, NULL},
        {"connections that never end", test_bounds, NULL, NULL, NULL},
        {"one connection does not push out the others", test_one_connection, NULL, NULL, NULL},
        {"answers are counted by their reason, through new rules, and not what was asked of a client", test_counted,
         NULL, NULL, NULL},
        {"addresses in clear only where they are asked for", test_clear_text, NULL, NULL, NULL},
        {"clocks that are set make nobody a stranger", test_clocks_that_are_set, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("greylist_service", tests, NULL, NULL);
}
