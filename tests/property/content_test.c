/*
 * A rule refuses what a message contains: engine, service and store together, one connection an attempt. The first is
 * cut before the server has the end of the message, the next one of the same mail is refused at RCPT, nobody else is.
 */
#include <stdio.h>

#include "../lib/dialogue.h"
#include "../lib/rules.h"
#include "greylist/service.h"

enum { SECOND_US = 1000000, CONNECTION_IDS = 1 << 20, DAY_S = 86400 };

#define SIZED "MAIL FROM:<a@example.net> SIZE=1234\r\n"
#define PLAIN "MAIL FROM:<a@example.net>\r\n"
#define B     "RCPT TO:<b@example.com>\r\n"
#define C_    "RCPT TO:<c@example.com>\r\n"
#define BAD                                                                                                            \
    "Subject: bill\r\nContent-Disposition: attachment; filename=\"bill.exe\"\r\n\r\nMZ of some length, and more\r\n"
#define GOOD "Subject: hello\r\n\r\nNothing but text\r\n"
#define END  ".\r\n"

static struct policy policy;
static struct store *store;
static struct store_client *client;
static struct greylist_service *service;
static int64_t now_us;
static struct drive *drive;
static uint64_t connection;
static size_t fed;
static bool store_is_lost, busy;
static struct greylist_answer given;

static void add_rules(bool greylists)
{
    policy_init_default(&policy);
    rules_add(&policy, "no programs", RULE_ON_FILE_NAME, "*.exe", SMTP_ACTION_REFUSE, "550 5.7.1 No programs");
    if (greylists) {
        rules_add(&policy, "greylist", RULE_ON_RECIPIENT, "*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
        policy.rules[1].action.ask = true;
    }
}

static void begin(bool greylists)
{
    char message[256];
    struct store_settings of_store = store_settings_default();
    struct greylist_service_settings settings = greylist_service_settings_default();
    now_us = 1300000000 * INT64_C(1000000);
    store_is_lost = busy = false;
    store = store_open("memory:", &of_store, now_us / SECOND_US, message, sizeof message);
    assert_non_null(store);
    client = store_client_new(store);
    service = greylist_service_new(&settings, store, client);
    assert_non_null(service);
    add_rules(greylists);
}

static void end(void)
{
    greylist_service_free(service);
    store_client_free(client);
    store_close(store, 0);
}

/* ---- between engine and service ---- */

static bool give(struct question question)
{
    question.flow_id += connection * CONNECTION_IDS;
    question.id += connection * CONNECTION_IDS * CONNECTION_IDS;
    question.about += connection * CONNECTION_IDS * CONNECTION_IDS;
    return greylist_service_take(service, &question, now_us, &given);
}

static void give_lessons(size_t count)
{
    for (; fed < count; fed++)
        assert_false(give(*drive_question(drive, fed)));
}

static enum answer ask_service(const struct question *question, int64_t *later_us)
{
    give_lessons(drive_question_count(drive) - 1);
    fed++;
    *later_us = store_is_lost ? -1 : 0;
    if (!store_is_lost)
        assert_true(give(*question));
    return given.answer;
}

static bool was_refused(const struct question *question, uint32_t *rule)
{
    (void)question;
    *rule = given.refused_by;
    return given.refused;
}

/* ---- attempts ---- */

static void say(const char *command, const char *reply)
{
    drive_say_text(drive, SMTP_CLIENT, command);
    if (store_is_lost)
        drive_wait(drive, SECOND_US);
    drive_say_text(drive, SMTP_SERVER, reply);
}

/* The code of the last line that the client has read. */
static int last_code(void)
{
    struct span read = drive_read(drive, SMTP_CLIENT);
    size_t at = read.len - 2;
    while (at > 0 && read.ptr[at - 1] != '\n')
        at--;
    return (read.ptr[at] - '0') * 100 + (read.ptr[at + 1] - '0') * 10 + (read.ptr[at + 2] - '0');
}

static void greet(void)
{
    struct drive_plan plan = {.name = "content",
                              .policy = &policy,
                              .seed = ++connection,
                              .questions = busy ? 0 : (1u << QUESTION_KINDS) - 1,
                              .answer = ask_service,
                              .refused = was_refused};
    fed = 0;
    drive = drive_new(&plan);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 mail.example.com ESMTP\r\n");
    say("EHLO mx.example.net\r\n", "250-mail.example.com\r\n250-CHUNKING\r\n250 SIZE\r\n");
}

static void hang_up(void)
{
    drive_finish(drive);
    give_lessons(drive_question_count(drive));
    drive_free(drive);
}

static int envelope(const char *mail, const char *recipient)
{
    greet();
    say(mail, "250 2.1.0 ok\r\n");
    say(recipient, "250 2.1.5 Everything is very well\r\n");
    return last_code();
}

/* Whether the server has read the end of the message, which is sent in two segments. */
static bool message(const char *text, size_t cut)
{
    char whole[512];
    say("DATA\r\n", "354 go\r\n");
    size_t len = (size_t)snprintf(whole, sizeof whole, "%s" END, text);
    uint32_t at = (uint32_t)drive_said(drive, SMTP_CLIENT).len;
    char first[512];
    snprintf(first, sizeof first, "%.*s", (int)cut, whole);
    if (cut)
        drive_send_text(drive, SMTP_CLIENT, at, first);
    if (cut < len)
        drive_send_text(drive, SMTP_CLIENT, at + (uint32_t)cut, whole + cut);
    struct span read = drive_read(drive, SMTP_SERVER), last = span_of("\r\n" END);
    return read.len >= last.len && span_equal(span_tail(read, read.len - last.len), last);
}

/* One attempt; the code of RCPT, and *arrived. */
static int attempt(const char *mail, const char *recipient, const char *text, bool *arrived)
{
    int code = envelope(mail, recipient);
    *arrived = code == 250 && message(text, 0);
    uint64_t cut = drive_counters(drive)->messages_cut;
    assert_int_equal(cut, code == 250 && !*arrived);
    assert_int_equal(drive_counters(drive)->connections_reset, cut);
    assert_int_equal(drive_counters(drive)->recipients_refused_again, code == 550);
    hang_up();
    return code;
}

static void expect(const char *mail, const char *recipient, const char *text, int code, bool arrives)
{
    bool arrived;
    assert_int_equal(attempt(mail, recipient, text, &arrived), code);
    assert_int_equal(arrived, arrives);
}

/* ---- what holds ---- */

static void test_the_same_mail(void **state)
{
    (void)state;
    begin(false);
    expect(SIZED, B, GOOD, 250, true);
    expect(SIZED, B, BAD, 250, false);
    expect(SIZED, B, BAD, 550, false);
    expect(SIZED, B, BAD, 550, false); /* for a day */
    expect("MAIL FROM:<A@EXAMPLE.net> BODY=8BITMIME SIZE=1234\r\n", "RCPT TO:<B@example.com>\r\n", BAD, 550, false);
    end();
}

static void test_another_mail(void **state)
{
    (void)state;
    begin(false);
    expect(SIZED, B, BAD, 250, false);
    expect("MAIL FROM:<a@example.net> SIZE=1235\r\n", B, GOOD, 250, true);
    expect(PLAIN, B, GOOD, 250, true);
    expect(SIZED, C_, GOOD, 250, true);
    expect("MAIL FROM:<x@example.net> SIZE=1234\r\n", B, GOOD, 250, true);
    expect("MAIL FROM:<> SIZE=1234\r\n", B, BAD, 250, false);
    expect("MAIL FROM:<> SIZE=1234\r\n", B, BAD, 550, false);
    end();
}

/* What might be said of all mail between the two is said once. */
static void test_no_size(void **state)
{
    (void)state;
    begin(false);
    expect(PLAIN, B, BAD, 250, false);
    expect(SIZED, B, GOOD, 250, true);
    expect(PLAIN, B, BAD, 550, false);
    expect(PLAIN, B, GOOD, 250, true);
    expect(PLAIN, B, BAD, 250, false);
    end();
}

static void test_a_day(void **state)
{
    (void)state;
    begin(false);
    expect(SIZED, B, BAD, 250, false);
    now_us += (int64_t)(DAY_S - 1) * SECOND_US;
    store_set_time(store, now_us);
    expect(SIZED, B, BAD, 550, false);
    now_us += 2 * SECOND_US;
    store_set_time(store, now_us);
    expect(SIZED, B, GOOD, 250, true);
    end();
}

/* Each is refused by itself, those that came before the cut and no others. */
static void test_recipients(void **state)
{
    (void)state;
    begin(false);
    greet();
    say(SIZED, "250 2.1.0 ok\r\n");
    say(B, "250 2.1.5 Everything is very well\r\n");
    say("RCPT TO:<nobody@example.com>\r\n", "550 5.1.1 Nobody here\r\n");
    say(C_, "250 2.1.5 Everything is very well\r\n");
    assert_false(message(BAD, 0));
    hang_up();
    expect(SIZED, B, BAD, 550, false);
    expect(SIZED, C_, BAD, 550, false);
    expect(SIZED, "RCPT TO:<nobody@example.com>\r\n", GOOD, 250, true);
    expect(SIZED, "RCPT TO:<d@example.com>\r\n", GOOD, 250, true);
    end();
}

/* Of a group of a hundred those that the server refused are not. */
static void test_many_recipients(void **state)
{
    enum { RECIPIENTS = 100, REFUSED = 3, BYTES = 64 * RECIPIENTS };
    static char commands[BYTES], replies[BYTES];
    (void)state;
    begin(false);
    greet();
    say(SIZED, "250 2.1.0 ok\r\n");
    size_t said = 0, replied = 0;
    for (int i = 0; i < RECIPIENTS; i++) {
        const char *reply = i % 50 == REFUSED ? "550 5.1.1 Nobody here\r\n" : "250 2.1.5 ok\r\n";
        said += (size_t)snprintf(commands + said, BYTES - said, "RCPT TO:<r%d@example.com>\r\n", i);
        replied += (size_t)snprintf(replies + replied, BYTES - replied, "%s", reply);
    }
    for (size_t at = 0; at < said; at += 1000) {
        char part[1001];
        snprintf(part, sizeof part, "%.1000s", commands + at);
        drive_say_text(drive, SMTP_CLIENT, part);
    }
    drive_say_text(drive, SMTP_SERVER, replies);
    assert_false(message(BAD, 0));
    hang_up();
    expect(SIZED, "RCPT TO:<r3@example.com>\r\n", GOOD, 250, true);
    expect(SIZED, "RCPT TO:<r53@example.com>\r\n", GOOD, 250, true);
    expect(SIZED, "RCPT TO:<r2@example.com>\r\n", BAD, 550, false);
    expect(SIZED, "RCPT TO:<r99@example.com>\r\n", BAD, 550, false);
    end();
}

/* Of the transaction before, which the server took, nothing is said. */
static void test_transactions(void **state)
{
    (void)state;
    begin(false);
    greet();
    say(SIZED, "250 2.1.0 ok\r\n");
    say(C_, "250 2.1.5 Everything is very well\r\n");
    assert_true(message(GOOD, 0));
    drive_say_text(drive, SMTP_SERVER, "250 2.0.0 queued\r\n");
    say(SIZED, "250 2.1.0 ok\r\n");
    say(B, "250 2.1.5 Everything is very well\r\n");
    assert_false(message(BAD, 0));
    hang_up();
    expect(SIZED, C_, GOOD, 250, true);
    expect(SIZED, B, BAD, 550, false);
    end();
}

/* Wherever the segments begin, the server does not read the end. */
static void test_cuts(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= strlen(BAD END); cut++) {
        begin(false);
        assert_int_equal(envelope(SIZED, B), 250);
        assert_false(message(BAD, cut));
        hang_up();
        assert_int_equal(envelope(SIZED, B), 550);
        hang_up();
        end();
    }
}

/* A chunk, and nothing behind it. */
static void test_chunks(void **state)
{
    char chunk[512];
    (void)state;
    begin(false);
    assert_int_equal(envelope(SIZED, B), 250);
    snprintf(chunk, sizeof chunk, "BDAT %zu LAST\r\n" BAD, strlen(BAD));
    drive_send_text(drive, SMTP_CLIENT, (uint32_t)drive_said(drive, SMTP_CLIENT).len, chunk);
    assert_int_equal(drive_counters(drive)->messages_cut, 1);
    struct span read = drive_read(drive, SMTP_SERVER);
    assert_true(!memmem(read.ptr, read.len, "MZ", 2));
    hang_up();
    expect(SIZED, B, BAD, 550, false);
    end();
}

/* A line of its body, and its length, which is known with its last octet. */
static void test_moments(void **state)
{
    static const char *const envelopes[] = {SIZED, PLAIN};
    (void)state;
    for (size_t i = 0; i < sizeof envelopes / sizeof envelopes[0]; i++) {
        begin(false);
        policy_init_default(&policy);
        rules_add(&policy, "no line", RULE_ON_LINE, "*of some length*", SMTP_ACTION_REFUSE, "550 5.7.1 No such line");
        expect(envelopes[i], B, BAD, 250, false);
        expect(envelopes[i], B, BAD, 550, false);
        policy_init_default(&policy);
        rules_add(&policy, "not so long", RULE_ON_MESSAGE, NULL, SMTP_ACTION_REFUSE, "550 5.3.4 Too long");
        policy.rules[0].size_over = strlen(GOOD END);
        expect(envelopes[i], C_, GOOD, 250, true);
        expect(envelopes[i], C_, BAD, 250, false);
        expect(envelopes[i], C_, BAD, 550, false);
        end();
    }
}

/* The last chunk has no octets, and comes after the others were taken. */
static void test_last_chunk(void **state)
{
    (void)state;
    begin(false);
    policy_init_default(&policy);
    rules_add(&policy, "not so long", RULE_ON_MESSAGE, NULL, SMTP_ACTION_REFUSE, "550 5.3.4 Too long");
    assert_int_equal(envelope(SIZED, B), 250);
    say("BDAT 6\r\nabcd\r\n", "250 2.0.0 six octets\r\n");
    drive_send_text(drive, SMTP_CLIENT, (uint32_t)drive_said(drive, SMTP_CLIENT).len, "BDAT 0 LAST\r\n");
    struct span read = drive_read(drive, SMTP_SERVER);
    assert_int_equal(drive_counters(drive)->messages_cut, 1);
    assert_true(!memmem(read.ptr, read.len, "LAST", 4));
    hang_up();
    expect(SIZED, B, BAD, 550, false);
    end();
}

/* In a group, of whose recipients one brought the mail before: the others get it, and it is cut. */
static void test_group(void **state)
{
    (void)state;
    begin(false);
    expect(SIZED, B, BAD, 250, false);
    greet();
    drive_say_text(drive, SMTP_CLIENT, SIZED C_ B "DATA\r\n");
    struct span read = drive_read(drive, SMTP_SERVER);
    assert_true(!memmem(read.ptr, read.len, "b@example.com", 13));
    drive_say_text(drive, SMTP_SERVER,
                   "250 2.1.0 ok\r\n250 2.1.5 ok\r\n501 5.1.3 Bad recipient address syntax\r\n354 go\r\n");
    read = drive_read(drive, SMTP_CLIENT);
    assert_true(memmem(read.ptr, read.len, "\r\n550 5.7.1 No programs", 23));
    drive_send_text(drive, SMTP_CLIENT, (uint32_t)drive_said(drive, SMTP_CLIENT).len, BAD END);
    assert_int_equal(drive_counters(drive)->messages_cut, 1);
    hang_up();
    expect(SIZED, C_, BAD, 550, false);
    expect(SIZED, B, BAD, 550, false);
    end();
}

/* Of our own mail, for whom no greylist is asked, and which teaches it whom we write to. */
static void test_outbound(void **state)
{
    static const uint8_t ours[4] = {10, 1, 0, 1};
    (void)state;
    begin(true);
    assert_true(policy_protect(&policy, network_of(4, ours, 32)) && policy_seal(&policy));
    expect(SIZED, B, BAD, 250, false);
    expect(SIZED, B, BAD, 550, false);
    expect(SIZED, C_, GOOD, 250, true);
    end();
}

/* Who cannot be asked lets nothing pass: it is cut again. */
static void test_no_answer(void **state)
{
    (void)state;
    begin(false);
    expect(SIZED, B, BAD, 250, false);
    store_is_lost = true;
    expect(SIZED, B, BAD, 250, false);
    store_is_lost = false;
    busy = true; /* nobody asks anything */
    expect(SIZED, B, BAD, 250, false);
    busy = false;
    expect(SIZED, B, BAD, 550, false);
    end();
}

/* The rule that cut it is gone, or is not for this connection any more: what it said holds no longer. */
static void test_other_rules(void **state)
{
    static const uint8_t ours[4] = {10, 1, 0, 1};
    (void)state;
    begin(false);
    expect(SIZED, B, BAD, 250, false);
    policy_init_default(&policy);
    rules_add(&policy, "another", RULE_ON_FILE_NAME, "*.com", SMTP_ACTION_REFUSE, "550 5.7.1 Another");
    expect(SIZED, B, BAD, 250, true);
    add_rules(false);
    policy.rules[0].directions = 1u << POLICY_INBOUND;
    assert_true(policy_protect(&policy, network_of(4, ours, 32)) && policy_seal(&policy));
    expect(SIZED, B, BAD, 250, true);
    add_rules(false);
    policy.rules[0].directions = 1u << POLICY_OUTBOUND;
    assert_true(policy_protect(&policy, network_of(4, ours, 32)) && policy_seal(&policy));
    expect(SIZED, B, BAD, 550, false);
    end();
}

/* Nor is it for this client, by what is known of that. */
static void test_other_clients(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        begin(false);
        expect(SIZED, B, BAD, 250, false);
        struct rule *rule = &policy.rules[0];
        rule->authenticated = i == 0 ? RULE_YES : RULE_EITHER;
        rule->early_talker = i == 1 ? RULE_YES : RULE_EITHER;
        rule->known = i == 2 ? RULE_YES : RULE_EITHER;
        rule->helo_number = i == 3;
        rule->name_number = i == 4;
        expect(SIZED, B, BAD, 250, true);
        rule->authenticated = rule->early_talker = rule->known = i < 3 ? RULE_NO : RULE_EITHER;
        rule->helo_number = rule->name_number = 0;
        expect(SIZED, B, BAD, 550, false);
        end();
    }
}

static void test_dry_run(void **state)
{
    (void)state;
    begin(false);
    expect(SIZED, B, BAD, 250, false);
    policy.dry_run = true;
    expect(SIZED, B, BAD, 250, true);
    end();
}

/* Beside a greylist: it decides first, and its memory is as if nothing else were asked. */
static void test_greylist(void **state)
{
    (void)state;
    begin(true);
    expect(SIZED, B, BAD, 450, false);
    now_us += (int64_t)3600 * SECOND_US;
    expect(SIZED, B, BAD, 250, false);
    expect(SIZED, B, BAD, 550, false);
    expect("MAIL FROM:<a@example.net> SIZE=99\r\n", B, GOOD, 250, true);
    struct greylist_counters counters;
    greylist_service_counters(service, &counters);
    assert_int_equal(counters.asked, 4);
    assert_int_equal(counters.asked, counters.passed + counters.deferred);
    end();
}

/* The greylist does not learn that a recipient got what others of the transaction got. */
static void test_greylist_lessons(void **state)
{
    (void)state;
    begin(true);
    expect(SIZED, B, BAD, 450, false);
    now_us += (int64_t)3600 * SECOND_US;
    expect(SIZED, B, BAD, 250, false);
    greet();
    say(SIZED, "250 2.1.0 ok\r\n");
    say(B, "250 2.1.5 Everything is very well\r\n");
    assert_int_equal(last_code(), 550);
    say(C_, "250 2.1.5 Everything is very well\r\n");
    assert_int_equal(last_code(), 250);
    assert_int_equal(given.reason, GREYLIST_SAME_TRANSACTION);
    assert_true(message(GOOD, 0));
    drive_say_text(drive, SMTP_SERVER, "250 2.0.0 queued\r\n");
    hang_up();
    assert_int_equal(envelope("MAIL FROM:<a@example.net> SIZE=99\r\n", B), 250);
    assert_int_equal(given.reason, GREYLIST_DELAY_OVER);
    hang_up();
    end();
}

/* Where no greylist is asked none is counted, and nothing is told of what passes. */
static void test_no_greylist(void **state)
{
    (void)state;
    begin(false);
    assert_int_equal(envelope(SIZED, B), 250);
    for (size_t i = 0; i < drive_event_count(drive); i++)
        assert_int_not_equal(drive_event(drive, i)->event.kind, EVENT_GREYLIST);
    hang_up();
    struct greylist_counters counters;
    greylist_service_counters(service, &counters);
    assert_int_equal(counters.asked + counters.passed + counters.deferred + counters.failed, 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_mail), cmocka_unit_test(test_another_mail),
        cmocka_unit_test(test_no_size),       cmocka_unit_test(test_a_day),
        cmocka_unit_test(test_recipients),    cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_cuts),          cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_no_answer),     cmocka_unit_test(test_other_rules),
        cmocka_unit_test(test_dry_run),       cmocka_unit_test(test_greylist),
        cmocka_unit_test(test_no_greylist),   cmocka_unit_test(test_moments),
        cmocka_unit_test(test_last_chunk),    cmocka_unit_test(test_group),
        cmocka_unit_test(test_outbound),      cmocka_unit_test(test_greylist_lessons),
        cmocka_unit_test(test_other_clients), cmocka_unit_test(test_many_recipients),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
