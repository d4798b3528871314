/*
 * The greylist as a sender meets it: engine, tarpit, service and store together, one connection an attempt, packet by
 * packet. What becomes of many senders is shown by tests/sim/population_main.
 */
#include <stdio.h>

#include "../lib/dialogue.h"
#include "../lib/rules.h"
#include "greylist/keep.h"
#include "greylist/service.h"

enum { SECOND_US = 1000000, CONNECTION_IDS = 1 << 20, ATTEMPTS = 4 };

#define MAIL    "MAIL FROM:<a@example.net>\r\n"
#define BOUNCE  "MAIL FROM:<>\r\n"
#define RCPT    "RCPT TO:<b@example.com>\r\n"
#define STRANGE "MAIL FROM:<stranger@example.org>\r\nRCPT TO:<c@example.com>\r\n"
#define NOBODY  "RCPT TO:<nobody@example.com>\r\n"
#define BUSY    "RCPT TO:<busy@example.com>\r\n"
#define DENIED  "RCPT TO:<denied@example.com>\r\n"
#define ROLE    "RCPT TO:<postmaster>\r\n"
#define OK      "250 2.1.5 Everything is very well\r\n"

static struct policy policy;
static struct store *store;
static struct store_client *client;
static struct greylist_service *service;
static int64_t now_us;

/* The connection that is open. */
static struct drive *drive;
static uint64_t connection;
static bool reloads; /* while a reply is being read */
static size_t fed;   /* questions and lessons that the service has had */

static void begin(void)
{
    char message[256];
    struct store_settings of_store = store_settings_default();
    struct greylist_service_settings settings = greylist_service_settings_default();
    now_us = 1300000000 * INT64_C(1000000);
    reloads = false;
    store = store_open("memory:", &of_store, now_us / SECOND_US, message, sizeof message);
    assert_non_null(store);
    client = store_client_new(store);
    service = greylist_service_new(&settings, store, client);
    assert_non_null(service);
    policy_init_default(&policy);
    rules_add(&policy, "greylist", RULE_ON_RECIPIENT, "*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    rules_add(&policy, "greylist", RULE_ON_STARTTLS, NULL, SMTP_ACTION_WAIT, "454 4.7.0 Not now");
    for (uint32_t i = 0; i < policy.rule_count; i++) {
        policy.rules[i].action.ask = true;
        policy.refusals.texts[policy.rules[i].action.refusal].delay_ms = settings.greylist.stutter_ms;
    }
}

static void end(void)
{
    greylist_service_free(service);
    store_client_free(client);
    store_close(store, 0);
}

/* New rules bring a service of their own. */
static void reload(void)
{
    struct greylist_service_settings settings = greylist_service_settings_default();
    struct greylist_service *before = service;
    service = greylist_service_new(&settings, store, client);
    assert_non_null(service);
    greylist_service_go_on(service, before);
    greylist_service_free(before);
}

/* ---- between engine and service ---- */

static bool give(struct question question, struct greylist_answer *answer)
{
    /* Each connection has an engine of its own here. */
    question.flow_id += connection * CONNECTION_IDS;
    question.id += connection * CONNECTION_IDS * CONNECTION_IDS;
    question.about += connection * CONNECTION_IDS * CONNECTION_IDS; /* of any lesson: it is compared */
    return greylist_service_take(service, &question, now_us, answer);
}

static void give_lessons(size_t count)
{
    struct greylist_answer answer;
    for (; fed < count; fed++)
        assert_false(give(*drive_question(drive, fed), &answer));
}

static enum answer ask_service(const struct question *question, int64_t *later_us)
{
    struct greylist_answer answer;
    give_lessons(drive_question_count(drive) - 1);
    fed++;
    *later_us = 0;
    assert_true(give(*question, &answer));
    return answer.answer;
}

/* ---- a connection ---- */

static void wait(int64_t us)
{
    now_us += us;
    drive_wait(drive, us);
}

static void connect_again(void)
{
    struct drive_plan plan = {.name = "greylist",
                              .policy = &policy,
                              .seed = ++connection,
                              .questions = (1u << QUESTION_KINDS) - 1,
                              .answer = ask_service};
    fed = 0;
    drive = drive_new(&plan);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 mail.example.com ESMTP\r\n");
}

static void hang_up(void)
{
    drive_close(drive, SMTP_CLIENT);
    drive_finish(drive);
    give_lessons(drive_question_count(drive));
    drive_free(drive);
}

/* Whether the server was shown an address that nobody relays (RFC 6761). */
static bool sees_invalid(void)
{
    static const char invalid[] = ".invalid>\r\n";
    struct span read = drive_read(drive, SMTP_SERVER);
    return read.len >= sizeof invalid - 1 &&
           span_equal(span_tail(read, read.len - (sizeof invalid - 1)), span_of(invalid));
}

/* Commands and replies, sent again each second until the client has read all of them or has waited so long. Returns
   what it read; nothing where it has not read it all. */
static struct span converse(const char *command, const char *reply, int patience_s)
{
    drive_say_text(drive, SMTP_CLIENT, command);
    if (sees_invalid())
        reply = "554 5.7.1 Relay access denied\r\n";
    uint32_t from = (uint32_t)drive_said(drive, SMTP_SERVER).len, to = from + (uint32_t)strlen(reply);
    uint32_t read_before = (uint32_t)drive_read(drive, SMTP_CLIENT).len;
    drive_send_text(drive, SMTP_SERVER, from, reply);
    for (int i = 0; i < patience_s && drive_acknowledged(drive, SMTP_SERVER) < to; i++) {
        uint32_t done = drive_acknowledged(drive, SMTP_SERVER) - from;
        wait(SECOND_US);
        if (reloads)
            reload();
        if (drive_acknowledged(drive, SMTP_SERVER) < to && done < strlen(reply))
            drive_send_text(drive, SMTP_SERVER, from + done, reply + done);
    }
    if (drive_acknowledged(drive, SMTP_SERVER) < to)
        return (struct span){0};
    return span_tail(drive_read(drive, SMTP_CLIENT), read_before);
}

/* One of them; the code that the client read, 0 where it has not read it all. */
static int exchange(const char *command, const char *reply, int patience_s)
{
    struct span read = converse(command, reply, patience_s);
    if (read.len == 0)
        return 0;
    assert_true(read.len >= 4);
    return (read.ptr[0] - '0') * 100 + (read.ptr[1] - '0') * 10 + (read.ptr[2] - '0');
}

/* A group of them, and the codes that the client read. */
static void check_group(const char *commands, const char *replies, const char *codes)
{
    char read_codes[64] = "";
    size_t len = 0;
    struct span read = converse(commands, replies, 300);
    for (size_t at = 0; at < read.len && len + 5 < sizeof read_codes;) {
        const uint8_t *end = memchr(read.ptr + at, '\n', read.len - at);
        assert_true(end && end - (read.ptr + at) >= 4);
        len += (size_t)snprintf(read_codes + len, sizeof read_codes - len, "%.3s ", (const char *)read.ptr + at);
        at = (size_t)(end - read.ptr) + 1;
    }
    assert_string_equal(read_codes, codes);
}

static void greet(void)
{
    connect_again();
    assert_int_equal(exchange("EHLO mx.example.net\r\n",
                              "250-mail.example.com\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 STARTTLS\r\n", 1),
                     250);
}

/* One attempt to deliver; returns the code of RCPT, 0 where the client hung up before. */
static int deliver(int patience_s)
{
    greet();
    assert_int_equal(exchange(MAIL, "250 2.1.0 ok\r\n", 1), 250);
    int code = exchange(RCPT, OK, patience_s);
    if (code == 250) {
        assert_int_equal(exchange("DATA\r\n", "354 go\r\n", 1), 354);
        assert_int_equal(exchange("x\r\n.\r\n", "250 2.0.0 queued\r\n", 1), 250);
    }
    if (code)
        assert_int_equal(exchange("QUIT\r\n", "221 2.0.0 closing\r\n", 1), 221);
    hang_up();
    return code;
}

/* ---- senders ---- */

static void test_exchange_2003(void **state)
{
    (void)state;
    static const int glitch_retry_s[] = {1, 60, 120};
    for (size_t i = 0; i < sizeof glitch_retry_s / sizeof glitch_retry_s[0]; i++) {
        begin();
        for (int attempt = 1; attempt < ATTEMPTS; attempt++) {
            assert_int_equal(deliver(300), 450);
            now_us += (int64_t)glitch_retry_s[i] * SECOND_US;
        }
        assert_int_equal(deliver(300), 250);
        assert_int_equal(deliver(300), 250); /* the next mail */
        end();
    }
}

/* The server puts off the sender, and has nothing to say of the recipient. */
static void test_sender_is_put_off(void **state)
{
    (void)state;
    begin();
    for (int attempt = 1; attempt < ATTEMPTS; attempt++) {
        greet();
        bool put_off = attempt == 2;
        check_group(MAIL RCPT, put_off ? "452 4.3.1 Insufficient storage\r\n503 5.5.2 Need MAIL\r\n" : OK OK,
                    put_off ? "452 503 " : "250 450 ");
        hang_up();
        now_us += 60 * SECOND_US;
    }
    assert_int_equal(deliver(300), 250);
    end();
}

static void test_reload(void **state)
{
    (void)state;
    begin();
    reloads = true;
    for (int attempt = 1; attempt < ATTEMPTS; attempt++) {
        assert_int_equal(deliver(300), 450);
        now_us += 60 * SECOND_US;
    }
    assert_int_equal(deliver(300), 250);
    end();
}

/* The recipient named first does not exist; the other's attempts count from the first one on. */
static void test_nobody_before_somebody(void **state)
{
    (void)state;
    begin();
    greet();
    check_group(MAIL NOBODY RCPT, OK "550 5.1.1 Nobody here\r\n" OK, "250 550 450 ");
    hang_up();
    for (int attempt = 2; attempt < ATTEMPTS; attempt++) {
        now_us += 60 * SECOND_US;
        assert_int_equal(deliver(300), 450);
    }
    now_us += 60 * SECOND_US;
    assert_int_equal(deliver(300), 250);
    end();
}

/* One attempt at a message for two, all but the message in one group, and the server puts off the first of them. */
static void deliver_behind_busy(const char *codes)
{
    bool passes = strstr(codes, "354") != NULL;
    greet();
    check_group(MAIL BUSY RCPT "DATA\r\n",
                passes ? OK "452 4.2.2 Mailbox full\r\n" OK "354 go\r\n" : OK "452 4.2.2 Mailbox full\r\n" OK OK,
                codes);
    if (passes)
        check_group("x\r\n.\r\nQUIT\r\n", OK "221 closing\r\n", "250 221 ");
    hang_up();
}

/* Whom the server puts off at each attempt, it has not taken: the other's attempts are its own. */
static void test_busy_before_somebody(void **state)
{
    (void)state;
    static const int glitch_retry_s[] = {1, 60}; /* with 120 the delay is over by then */
    for (size_t i = 0; i < sizeof glitch_retry_s / sizeof glitch_retry_s[0]; i++) {
        begin();
        for (int attempt = 1; attempt < ATTEMPTS; attempt++) {
            deliver_behind_busy("250 452 450 450 ");
            now_us += (int64_t)glitch_retry_s[i] * SECOND_US;
        }
        deliver_behind_busy("250 452 250 354 ");
        end();
    }
}

/* Who passes brings those before it whom the server has not answered yet, and not those whom it took. */
static void test_who_passes_brings_others(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)settings.delay_s * SECOND_US;
    greet();
    check_group(MAIL NOBODY RCPT, OK OK OK, "250 250 250 ");
    check_group("DATA\r\n", "354 go\r\n", "354 ");
    check_group("x\r\n.\r\n", OK, "250 ");
    check_group(MAIL BUSY, OK OK, "250 450 ");
    assert_int_equal(exchange(RCPT, OK, 300), 450); /* too late: the client has read what became of the first */
    check_group("RSET\r\n" MAIL BUSY ROLE "DATA\r\n", OK OK OK OK OK, "250 250 450 450 450 ");
    hang_up();
    end();
}

static void deny(enum greylist_kind kind, struct greylist_attempt whom)
{
    struct greylist_settings settings = greylist_settings_default();
    struct keeper keeper = {.settings = &settings, .secret = store_secret(store), .client = client};
    struct greylist_record ruling = greylist_ruling(false, now_us / 1000, 0);
    struct store_key key = keep_key(&keeper, kind, &whom);
    keep_put(&keeper, kind, &key, &whom, &ruling);
}

/* Who is denied is refused alone, whoever stands beside; what passes passes. */
static void test_denied_alone(void **state)
{
    (void)state;
    static const char bad[] = "501 5.1.3 Bad recipient address syntax\r\n";
    begin();
    deny(GREYLIST_RULED_RECIPIENT, (struct greylist_attempt){.recipient = span_of("denied@example.com")});
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)greylist_settings_default().delay_s * SECOND_US;
    static const char *const groups[] = {RCPT DENIED, DENIED RCPT};
    for (size_t i = 0; i < 2; i++) {
        char commands[256], replies[256];
        (void)snprintf(commands, sizeof commands, MAIL "%sDATA\r\n", groups[i]);
        (void)snprintf(replies, sizeof replies, OK "%s%s354 go\r\n", i ? bad : OK, i ? OK : bad);
        greet();
        check_group(commands, replies, i ? "250 450 250 354 " : "250 250 450 354 ");
        check_group("x\r\n.\r\n", OK, "250 ");
        hang_up();
    }
    end();
}

/* Of what a denied sender sends, exempt mail passes. */
static void test_denied_sender(void **state)
{
    (void)state;
    static const char bad[] = "501 5.1.3 Bad recipient address syntax\r\n";
    begin();
    deny(GREYLIST_RULED_SENDER, (struct greylist_attempt){.sender = span_of("a@example.net")});
    greet();
    char replies[256];
    (void)snprintf(replies, sizeof replies, OK "%s" OK "354 go\r\n", bad);
    check_group(MAIL RCPT ROLE "DATA\r\n", replies, "250 450 250 354 ");
    check_group("x\r\n.\r\n", OK, "250 ");
    hang_up();
    end();
}

static void test_impatient(void **state)
{
    (void)state;
    begin();
    struct greylist_settings settings = greylist_settings_default();
    int64_t first_us = now_us;
    for (int attempt = 0; now_us - first_us < (int64_t)settings.hung_up_delay_s * SECOND_US; attempt++) {
        assert_int_equal(deliver(10), 0);
        now_us += (attempt < 20 ? INT64_C(1) : INT64_C(600)) * SECOND_US;
    }
    now_us += (int64_t)600 * SECOND_US; /* its refusals' own time */
    assert_int_equal(deliver(10), 250);
    end();
}

static void test_queue(void **state)
{
    (void)state;
    begin();
    struct greylist_settings settings = greylist_settings_default();
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)(settings.delay_s - 5) * SECOND_US;
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)5 * SECOND_US;
    assert_int_equal(deliver(300), 250);
    end();
}

/* What the server says of the address that it sees instead says nothing of the recipient. */
static void test_each_by_itself(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    policy.rules[0].action.kind = SMTP_ACTION_REFUSE;
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)settings.delay_s * SECOND_US;
    assert_int_equal(deliver(300), 250);
    end();
    begin();
    policy.rules[0].action.kind = SMTP_ACTION_REFUSE;
    for (int attempt = 1; attempt < ATTEMPTS; attempt++)
        assert_int_equal(deliver(300), 450);
    assert_int_equal(deliver(300), 250);
    end();
}

/* Clients may begin a transaction before they know what came of the one before. */
static void test_transactions_in_a_group(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)settings.delay_s * SECOND_US;
    greet(); /* it is learnt in the second transaction, though the first came to nothing */
    check_group(MAIL RCPT "RSET\r\n" MAIL RCPT "DATA\r\n", OK OK OK OK OK "354 go\r\n", "250 250 250 250 250 354 ");
    check_group("x\r\n.\r\nQUIT\r\n", OK "221 closing\r\n", "250 221 ");
    hang_up();
    now_us += 3 * (int64_t)settings.retry_window_s / 2 * SECOND_US;
    assert_int_equal(deliver(300), 250);
    end();
}

static void test_no_door_to_the_next(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    assert_int_equal(deliver(300), 450);
    now_us += (int64_t)settings.delay_s * SECOND_US;
    assert_int_equal(deliver(300), 250);
    greet();
    check_group(MAIL RCPT "RSET\r\n" STRANGE "DATA\r\n", OK OK OK OK OK OK, "250 250 250 250 450 450 ");
    check_group("RSET\r\n" MAIL RCPT, OK OK OK, "250 250 250 ");
    check_group("BDAT 2 LAST\r\n.." STRANGE, OK OK OK, "250 250 450 ");
    hang_up();
    end();
}

/* What the server took is not what came behind it. */
static void test_mail_behind_a_message(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    for (int attempt = 0; attempt < 2; attempt++) {
        greet();
        check_group(MAIL RCPT, OK OK, attempt ? "250 250 " : "250 450 ");
        check_group("RSET\r\n" STRANGE "RSET\r\n", OK OK OK OK, attempt ? "250 250 250 250 " : "250 250 450 250 ");
        hang_up();
        now_us += (int64_t)(settings.delay_s + 60) * SECOND_US;
    }
    greet();
    check_group(MAIL RCPT, OK OK, "250 250 ");
    check_group("BDAT 2 LAST\r\n.." STRANGE "RSET\r\n", OK OK OK OK, "250 250 250 250 ");
    hang_up();
    now_us += (int64_t)settings.retry_window_s * SECOND_US;
    greet();
    check_group(STRANGE, OK OK, "250 450 ");
    check_group("RSET\r\n" MAIL RCPT, OK OK OK, "250 250 250 ");
    hang_up();
    end();
}

static void test_callback(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 2; i++) {
        greet();
        assert_int_equal(exchange(BOUNCE, "250 2.1.0 ok\r\n", 1), 250);
        assert_int_equal(exchange(RCPT, OK, 1), 250);
        if (i == 0)
            assert_int_equal(exchange("QUIT\r\n", "221 2.0.0 closing\r\n", 1), 221);
        else /* what goes on is no callback */
            assert_int_equal(exchange("DATA\r\n", "250 2.0.0 Everything forgotten\r\n", 300), 450);
        hang_up();
    }
    end();
}

#define READY "220 2.0.0 Ready to start TLS\r\n"

/* One session that encrypts; how many seconds STARTTLS took, -1 where it hung up or was refused. */
static int encrypt(const char *reply, int patience_s)
{
    greet();
    int64_t before_us = now_us;
    int code = exchange("STARTTLS\r\n", reply, patience_s);
    int64_t took_us = now_us - before_us;
    if (code == 220)
        drive_say_text(drive, SMTP_CLIENT, "\x16\x03\x01 hello");
    hang_up();
    return code == 220 ? (int)(took_us / SECOND_US) : -1;
}

/* Who waits for the consent passes, and from then on without waiting. */
static void test_tls_patience(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    assert_in_range(encrypt(READY, 300), 30, 32);
    now_us += SECOND_US;
    assert_int_equal(encrypt(READY, 300), 0);
    now_us += (int64_t)(settings.lifetime_s - 60) * SECOND_US;
    assert_int_equal(encrypt(READY, 300), 0);
    now_us += (int64_t)settings.lifetime_s * SECOND_US;
    assert_in_range(encrypt(READY, 300), 30, 32);
    end();
}

/* Who hangs up is a stranger still, for as long as who hangs up on a refusal is. */
static void test_tls_hang_up(void **state)
{
    (void)state;
    struct greylist_settings settings = greylist_settings_default();
    begin();
    int64_t first_us = now_us;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(encrypt(READY, 20), -1);
        now_us += 60 * SECOND_US;
    }
    now_us = first_us + (int64_t)(settings.hung_up_delay_s + 600) * SECOND_US;
    assert_int_equal(encrypt(READY, 20), 0);
    now_us += SECOND_US;
    assert_int_equal(encrypt(READY, 20), 0);
    end();
}

/* What the server refuses itself is no patience. */
static void test_tls_refused_by_server(void **state)
{
    (void)state;
    begin();
    assert_int_equal(encrypt("454 4.7.0 No TLS\r\n", 1), -1);
    assert_in_range(encrypt(READY, 300), 30, 32);
    end();
}

/* Who is denied does not pass by waiting. */
static void test_tls_denied(void **state)
{
    (void)state;
    begin();
    deny(GREYLIST_RULED_SITE, (struct greylist_attempt){.ip_version = 4, .client = {10, 1, 0, 1}});
    greet();
    uint32_t seen = (uint32_t)drive_read(drive, SMTP_SERVER).len;
    drive_send_text(drive, SMTP_CLIENT, (uint32_t)drive_said(drive, SMTP_CLIENT).len, "STARTTLS\r\n");
    assert_int_equal(drive_counters(drive)->connections_reset, 1);
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, seen);
    drive_finish(drive);
    drive_free(drive);
    end();
}

static void test_tls_reload(void **state)
{
    (void)state;
    begin();
    reloads = true;
    assert_in_range(encrypt(READY, 300), 30, 32);
    assert_int_equal(encrypt(READY, 300), 0);
    end();
}

/* With encrypted = defer it is tried again. */
static void test_tls_defer(void **state)
{
    (void)state;
    begin();
    policy.rules[1].action.kind = SMTP_ACTION_REFUSE_ALL;
    struct greylist_settings settings = greylist_settings_default();
    static const int codes[] = {454, 220, 220};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        greet();
        assert_int_equal(exchange("STARTTLS\r\n", READY, 300), codes[i]);
        hang_up();
        now_us += i ? SECOND_US : (int64_t)settings.delay_s * SECOND_US;
    }
    end();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"Exchange 2003 gets its mail through in four attempts, whatever GlitchRetrySeconds", test_exchange_2003, NULL,
         NULL, NULL},
        {"an attempt at which the server puts off the sender is given back", test_sender_is_put_off, NULL, NULL, NULL},
        {"patience counts though rules are loaded anew meanwhile", test_reload, NULL, NULL, NULL},
        {"whose mail is also for nobody has as many attempts as others", test_nobody_before_somebody, NULL, NULL, NULL},
        {"whose mail is also for somebody whom the server always puts off has as many attempts, too",
         test_busy_before_somebody, NULL, NULL, NULL},
        {"who passes brings those before it whom the server has not answered", test_who_passes_brings_others, NULL,
         NULL, NULL},
        {"who is denied is refused alone, behind one that passes and before it", test_denied_alone, NULL, NULL, NULL},
        {"of a denied sender's mail that for an exempt recipient passes", test_denied_sender, NULL, NULL, NULL},
        {"who hangs up on each refusal waits for longer than the delay, not for ever", test_impatient, NULL, NULL,
         NULL},
        {"who waits for the delay passes, its refusals' own time not counted", test_queue, NULL, NULL, NULL},
        {"where each recipient is put off by itself, it passes after the delay, or by patience", test_each_by_itself,
         NULL, NULL, NULL},
        {"each transaction of a group is one of its own, and is learnt from by itself", test_transactions_in_a_group,
         NULL, NULL, NULL},
        {"who is known opens the door to nobody in the next transaction of a group", test_no_door_to_the_next, NULL,
         NULL, NULL},
        {"what comes behind a message that was taken is not learnt with it", test_mail_behind_a_message, NULL, NULL,
         NULL},
        {"a callback by the null sender hears 250, a message of it is put off", test_callback, NULL, NULL, NULL},
        {"who wants to encrypt waits for the server's consent, and not again", test_tls_patience, NULL, NULL, NULL},
        {"who hangs up on it is a stranger still, not for ever", test_tls_hang_up, NULL, NULL, NULL},
        {"a server's own refusal of STARTTLS makes nobody known", test_tls_refused_by_server, NULL, NULL, NULL},
        {"who is denied is reset before it can encrypt, and does not pass by waiting", test_tls_denied, NULL, NULL,
         NULL},
        {"who waits while rules are loaded anew is known, too", test_tls_reload, NULL, NULL, NULL},
        {"encrypted = defer: who insists on TLS passes after the delay, and from then on", test_tls_defer, NULL, NULL,
         NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("greylist", tests, NULL, NULL);
}
