/*
 * Strangers who want to encrypt (on = starttls, action = greylist): what both ends read, and that nothing that would
 * have been encrypted passes in clear. What the greylist remembers of it is shown by greylist_test.
 */
#include <stdio.h>

#include "../lib/dialogue.h"
#include "../lib/rules.h"
#include "../lib/tls_octets.h"

#define GREET     S("220 mail.example.com ESMTP\r\n")
#define EHLO      C("EHLO client.example.net\r\n")
#define DENIED    C("EHLO denied.example.net\r\n")
#define KNOWN     C("EHLO known.example.net\r\n")
#define OFFER     S("250-mail.example.com\r\n250-PIPELINING\r\n250 STARTTLS\r\n")
#define STARTTLS  "STARTTLS\r\n"
#define READY     "220 2.0.0 Ready to start TLS\r\n"
#define HELLO     "\x16\x03\x01\0\x0bhello\nagain"
#define MAIL      "MAIL FROM:<a@b>\r\n"
#define ROLE      "RCPT TO:<postmaster@example.com>\r\n"
#define OK        "250 2.1.5 Everything is very well\r\n"
#define ALL_KINDS ((1u << QUESTION_KINDS) - 1)

enum { DELAY_MS = 2000, MS = 1000, RTO_US = 300 * MS };

static struct policy waiting, closing, deferring;

static void fill(struct policy *of, enum smtp_action_kind kind)
{
    policy_init_default(of);
    rules_add(of, "never greylisted", RULE_ON_RECIPIENT, "postmaster@*", SMTP_ACTION_PASS, NULL);
    rules_add(of, "strangers", RULE_ON_RECIPIENT, "*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    of->rules[of->rule_count - 1].action.ask = true;
    rules_add(of, "encrypting", RULE_ON_STARTTLS, NULL, kind, "454 4.7.0 Greylisted");
    of->rules[of->rule_count - 1].action.ask = true;
    of->refusals.texts[of->rules[of->rule_count - 1].action.refusal].delay_ms = DELAY_MS;
}

static enum answer answer(const struct question *question, int64_t *later_us)
{
    *later_us = 0;
    if (span_equal(question->helo, span_of("known.example.net")))
        return ANSWER_PASS;
    if (span_equal(question->helo, span_of("lost.example.net")))
        return ANSWER_FAILED;
    return span_equal(question->helo, span_of("denied.example.net")) ? ANSWER_DENY : ANSWER_DEFER;
}

#define OF_STRANGERS(kind) .policy = &(kind), .questions = ALL_KINDS, .answer = answer, .live_only = true

static const struct dialogue dialogues[] = {
    {.label = "patience: the server's consent leaves as it came, later",
     OF_STRANGERS(waiting),
     .turns = {GREET, EHLO, OFFER, C(STARTTLS), S(READY), C(HELLO), S(HELLO), C(MAIL)},
     .of_client = "EHLO >client.example.net=wait,first STARTTLS #encrypted",
     .asked = "client tls end"},
    {.label = "patience: a consent in several lines",
     OF_STRANGERS(waiting),
     .turns = {GREET, EHLO, OFFER, C("X-ANONYMOUSTLS\r\n"), S("220-Go ahead\r\n220-now\r\n220 please\r\n"), C(HELLO),
               S(HELLO)},
     .of_client = "EHLO >client.example.net=wait,first X-ANONYMOUSTLS #encrypted",
     .asked = "client tls end"},
    {.label = "patience: who is known does not wait",
     OF_STRANGERS(waiting),
     .turns = {GREET, KNOWN, OFFER, C(STARTTLS), S(READY), C(HELLO), S(HELLO)},
     .of_client = "EHLO >known.example.net=pass,known STARTTLS #encrypted",
     .asked = "client tls end"},
    {.label = "patience: a refusal of the server's own passes at once, and the recipients are asked about",
     OF_STRANGERS(waiting),
     .turns = {GREET, EHLO, OFFER, C(STARTTLS), S("454 4.7.0 No TLS\r\n"), C(MAIL "RCPT TO:<c@d>\r\n"), S(OK OK),
               C(STARTTLS), S(READY), C(HELLO), S(HELLO)},
     .client_reads = {CHANGE(OK OK, OK "450 4.2.0 Greylisted\r\n")},
     .asked = "client tls a@b>c@d c@d=250 tls end"},
    {.label = "defer: what comes in clear behind a 454 of ours ends the session, whatever exempts it",
     OF_STRANGERS(deferring),
     .turns = {GREET, EHLO, OFFER, C(STARTTLS), S("250 2.0.0 Nothing at all\r\n"), EHLO, OFFER, C(MAIL ROLE "DATA\r\n"),
               S("221 2.0.0 closing\r\n")},
     .server_reads = {CHANGE("STARTTLS", "NOOP    "), CHANGE("MAIL FROM:<a@b>", "QUIT           "),
                      CHANGE("RCPT TO:<postmaster@example.com>", "QUIT                            "),
                      CHANGE("DATA", "QUIT")},
     .client_reads = {CHANGE("250 2.0.0 Nothing at all", "454 4.7.0 Greylisted"),
                      CHANGE("221 2.0.0 closing", "421 4.7.0 Closing")},
     .asked = "client tls end"},
    {.label = "defer: who asks again is asked about again, and nothing else is wanted of him",
     OF_STRANGERS(deferring),
     .turns = {GREET, EHLO, OFFER, C(STARTTLS), S("250 2.0.0 Nothing at all\r\n"), C("NOOP\r\n"), S("250 ok\r\n"),
               C("RSET\r\n"), S("250 ok\r\n"), KNOWN, OFFER, C(STARTTLS), S(READY), C(HELLO), S(HELLO), C(MAIL ROLE)},
     .server_reads = {CHANGE("STARTTLS", "NOOP    ")},
     .client_reads = {CHANGE("250 2.0.0 Nothing at all", "454 4.7.0 Greylisted")},
     .of_client =
         "EHLO >client.example.net=defer,first STARTTLS~ NOOP RSET EHLO >known.example.net=pass,known STARTTLS "
         "#encrypted",
     .asked = "client tls tls end"},
    {.label = "defer: QUIT passes",
     OF_STRANGERS(deferring),
     .turns = {GREET, EHLO, OFFER, C(STARTTLS), S("250 2.0.0 Nothing at all\r\n"), C("QUIT\r\n"), S("221 bye\r\n")},
     .server_reads = {CHANGE("STARTTLS", "NOOP    ")},
     .client_reads = {CHANGE("250 2.0.0 Nothing at all", "454 4.7.0 Greylisted")},
     .asked = "client tls end"},
};

/* ---- packet by packet ---- */

/* Up to STARTTLS, with `behind` it; what the server has said so far is *len octets. */
static struct drive *begin(const char *name, const struct policy *policy, const char *helo, const char *behind,
                           uint32_t *said, uint32_t *replied)
{
    static const char greeting[] = "220 hi\r\n", offer[] = "250 hi\r\n";
    struct drive_plan plan = {.name = name,
                              .policy = policy,
                              .seed = 7,
                              .no_acknowledgments = true,
                              .questions = ALL_KINDS,
                              .answer = answer};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, greeting);
    drive_acknowledge(drive, SMTP_CLIENT);
    char text[128];
    (void)snprintf(text, sizeof text, "EHLO %s\r\n", helo);
    drive_send_text(drive, SMTP_CLIENT, 0, text);
    *said = (uint32_t)strlen(text);
    drive_send_text(drive, SMTP_SERVER, sizeof greeting - 1, offer);
    drive_acknowledge(drive, SMTP_CLIENT);
    (void)snprintf(text, sizeof text, STARTTLS "%s", behind);
    drive_send_text(drive, SMTP_CLIENT, *said, text);
    *said += (uint32_t)strlen(text);
    *replied = sizeof greeting - 1 + sizeof offer - 1;
    return drive;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static const struct question *last_lesson(const struct drive *drive, enum question_kind kind)
{
    for (size_t i = drive_question_count(drive); i > 0; i--)
        if (drive_question(drive, i - 1)->kind == kind)
            return drive_question(drive, i - 1);
    return NULL;
}

static bool is_in(struct span octets, const char *text)
{
    return memmem(octets.ptr, octets.len, text, strlen(text)) != NULL;
}

/* The server sends its consent again and again for so long. */
static void resend(struct drive *drive, uint32_t at, int64_t us)
{
    for (int64_t passed = 0; passed < us; passed += RTO_US) {
        drive_wait(drive, RTO_US);
        drive_send_text(drive, SMTP_SERVER, at, READY);
        drive_acknowledge(drive, SMTP_CLIENT);
        drive_acknowledge(drive, SMTP_SERVER);
    }
}

static void test_who_waits(void **state)
{
    (void)state;
    uint32_t said, replied;
    struct drive *drive = begin("waits", &waiting, "stranger.example.net", "", &said, &replied);
    uint64_t number = drive_send_text(drive, SMTP_SERVER, replied, READY);
    assert_int_equal(drive_fate(drive, number), DRIVE_WAITS);
    drive_wait(drive, (DELAY_MS - 1) * MS);
    assert_false(is_in(drive_read(drive, SMTP_CLIENT), READY));
    assert_null(last_lesson(drive, LESSON_WAITED));
    drive_wait(drive, 2 * MS);
    assert_true(is_in(drive_read(drive, SMTP_CLIENT), READY));
    /* The hello itself acknowledges it. */
    struct segment hello =
        drive_segment(drive, SMTP_CLIENT, said, (struct span){(const uint8_t *)HELLO, sizeof HELLO - 1});
    number = drive_send(drive, SMTP_CLIENT, &hello);
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    const struct question *lesson = last_lesson(drive, LESSON_WAITED);
    assert_non_null(lesson);
    assert_true(lesson->consents);
    assert_false(lesson->hung_up);
    assert_true(lesson->about == last_lesson(drive, QUESTION_TLS)->id);
    assert_non_null(last_lesson(drive, LESSON_END));
    assert_int_equal(drive_counters(drive)->connections_reset, 0);
    end(drive);
}

/* What the client says of itself is seen, though it comes with the acknowledgment that ends the wait. */
static void test_its_hello_is_seen(void **state)
{
    (void)state;
    static const struct tls_client client = {.ciphers = {0x1301, 0xc030},
                                             .extensions = {0, 43, TLS_END},
                                             .versions = {0x0304, 0x0303},
                                             .name = "mail.example.com"};
    static struct tls_octets message, records;
    uint32_t said, replied;
    struct drive *drive = begin("hello", &waiting, "stranger.example.net", "", &said, &replied);
    drive_send_text(drive, SMTP_SERVER, replied, READY);
    drive_wait(drive, (DELAY_MS + 1) * MS);
    message.len = records.len = 0;
    tls_put_client_hello(&message, &client);
    tls_put_records(&records, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, 16384);
    struct segment hello = drive_segment(drive, SMTP_CLIENT, said, (struct span){records.at, records.len});
    drive_send(drive, SMTP_CLIENT, &hello);
    drive_finish(drive);
    const struct tls_seen *seen = NULL;
    for (size_t i = 0; i < drive_event_count(drive); i++)
        if (drive_event(drive, i)->event.kind == EVENT_TLS)
            seen = drive_event(drive, i)->event.tls;
    assert_non_null(seen);
    assert_string_equal(seen->name, client.name);
    drive_free(drive);
}

static void test_who_hangs_up(void **state)
{
    (void)state;
    uint32_t said, replied;
    struct drive *drive = begin("hangs up", &waiting, "stranger.example.net", "", &said, &replied);
    drive_send_text(drive, SMTP_SERVER, replied, READY);
    drive_wait(drive, DELAY_MS / 2 * MS);
    struct segment fin = drive_segment(drive, SMTP_CLIENT, said, (struct span){0});
    fin.flags |= PACKET_FIN;
    drive_send(drive, SMTP_CLIENT, &fin);
    const struct question *lesson = last_lesson(drive, LESSON_WAITED);
    assert_non_null(lesson);
    assert_true(lesson->hung_up);
    end(drive);
}

/* Whatever a client says before it has read the consent does not reach the server, which would take it for TLS. */
static void test_case_52_octets_meanwhile(void **state)
{
    (void)state;
    static const char *const octets[] = {MAIL, "M", HELLO};
    for (size_t i = 0; i < sizeof octets / sizeof octets[0]; i++)
        for (int shown = 0; shown < 2; shown++) {
            uint32_t said, replied;
            struct drive *drive = begin("octets meanwhile", &waiting, "stranger.example.net", "", &said, &replied);
            drive_send_text(drive, SMTP_SERVER, replied, READY);
            if (shown)
                resend(drive, replied, 5 * RTO_US);
            uint32_t before = (uint32_t)drive_read(drive, SMTP_SERVER).len;
            drive_send_text(drive, SMTP_CLIENT, said, octets[i]);
            drive_wait(drive, 100 * MS);
            resend(drive, replied, DELAY_MS * MS);
            assert_int_equal(drive_read(drive, SMTP_SERVER).len, before);
            assert_false(is_in(drive_read(drive, SMTP_CLIENT), READY));
            assert_int_equal(drive_counters(drive)->connections_reset, 1);
            end(drive);
        }
}

/* Behind STARTTLS in one packet (CVE-2011-0411): neither reaches the server. */
static void test_case_52_octets_behind(void **state)
{
    (void)state;
    uint32_t said, replied;
    struct drive *drive = begin("octets behind", &waiting, "stranger.example.net", MAIL, &said, &replied);
    assert_false(is_in(drive_read(drive, SMTP_SERVER), "MAIL"));
    assert_false(is_in(drive_read(drive, SMTP_SERVER), "STARTTLS"));
    end(drive);
}

/* A server that gives up meanwhile: an opportunistic client that read its consent then would come again in clear. */
static void test_server_gives_up(void **state)
{
    (void)state;
    static const struct {
        const char *first, *last; /* the second with the FIN */
    } rows[] = {{"", READY}, {READY, ""}, {"", READY "421 no\r\n"}, {READY, "421 4.4.2 Timeout\r\n"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t said, replied;
        struct drive *drive = begin("server gives up", &waiting, "stranger.example.net", "", &said, &replied);
        bool together = rows[i].first[0] == '\0';
        if (!together) {
            drive_send_text(drive, SMTP_SERVER, replied, rows[i].first);
            drive_wait(drive, DELAY_MS / 2 * MS);
        }
        uint32_t at = replied + (uint32_t)strlen(rows[i].first);
        struct segment last = drive_segment(drive, SMTP_SERVER, at, span_of(rows[i].last));
        last.flags |= PACKET_FIN;
        uint64_t number = drive_send(drive, SMTP_SERVER, &last);
        if (together) { /* it comes again, as what is not acknowledged does */
            drive_wait(drive, RTO_US);
            number = drive_send(drive, SMTP_SERVER, &last);
        }
        const struct packet *left = drive_left(drive, number);
        assert_true(left && left->flags & PACKET_RST);
        drive_wait(drive, DELAY_MS * MS);
        assert_false(is_in(drive_read(drive, SMTP_CLIENT), READY));
        end(drive);
    }
}

/* And one that resets: of the client, which knows of no octets before the reset, it is not the last word. */
static void test_server_resets(void **state)
{
    (void)state;
    for (int forged = 0; forged < 2; forged++) {
        uint32_t said, replied;
        struct drive *drive = begin("server resets", &waiting, "stranger.example.net", "", &said, &replied);
        drive_send_text(drive, SMTP_SERVER, replied, READY);
        drive_wait(drive, DELAY_MS / 2 * MS);
        uint32_t at = replied + (uint32_t)sizeof READY - 1 + (forged ? 100 : 0);
        struct segment reset = drive_segment(drive, SMTP_SERVER, at, (struct span){0});
        reset.flags = PACKET_RST | PACKET_ACK;
        const struct packet *left = drive_left(drive, drive_send(drive, SMTP_SERVER, &reset));
        assert_true(left && left->flags & PACKET_RST);
        drive_wait(drive, DELAY_MS * MS);
        assert_int_equal(is_in(drive_read(drive, SMTP_CLIENT), READY), forged);
        end(drive);
    }
}

/* A client waits for five minutes, for the server and for us together. */
static void test_slow_server(void **state)
{
    (void)state;
    static const struct {
        int server_s, all_s;
    } rows[] = {{0, 240}, {20, 260}, {200, 270}, {280, 280}};
    uint32_t *delay_ms = &waiting.refusals.texts[waiting.rules[waiting.rule_count - 1].action.refusal].delay_ms;
    *delay_ms = 240000;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t said, replied;
        struct drive *drive = begin("slow server", &waiting, "stranger.example.net", "", &said, &replied);
        drive_wait(drive, (int64_t)rows[i].server_s * 1000 * MS);
        drive_send_text(drive, SMTP_SERVER, replied, READY);
        drive_wait(drive, ((int64_t)(rows[i].all_s - rows[i].server_s) * 1000 - 50) * MS);
        assert_int_equal(is_in(drive_read(drive, SMTP_CLIENT), READY), rows[i].all_s == rows[i].server_s);
        drive_wait(drive, 100 * MS);
        assert_true(is_in(drive_read(drive, SMTP_CLIENT), READY));
        drive_send_text(drive, SMTP_CLIENT, said, HELLO);
        assert_int_equal(drive_counters(drive)->connections_reset, 0);
        end(drive);
    }
    *delay_ms = DELAY_MS;
}

/* Nobody who is denied passes by waiting, nor goes on in clear; nor does anybody with `close`. */
static void test_closed(void **state)
{
    (void)state;
    static const struct {
        const struct policy *policy;
        const char *helo;
    } rows[] = {{&waiting, "denied.example.net"}, {&closing, "stranger.example.net"}, {&closing, "denied.example.net"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t said, replied;
        struct drive *drive = begin("closed", rows[i].policy, rows[i].helo, "", &said, &replied);
        assert_false(is_in(drive_read(drive, SMTP_SERVER), "STARTTLS"));
        assert_int_equal(drive_counters(drive)->connections_reset, 1);
        drive_send_text(drive, SMTP_CLIENT, said, MAIL);
        assert_false(is_in(drive_read(drive, SMTP_SERVER), "MAIL"));
        end(drive);
    }
}

/* A store that gives no answer: mail passes, or is put off (on-lost-store). */
static void test_lost_store(void **state)
{
    (void)state;
    for (int defers = 0; defers < 2; defers++) {
        uint32_t said, replied;
        waiting.defers_without_store = defers;
        struct drive *drive = begin("lost store", &waiting, "lost.example.net", "", &said, &replied);
        assert_int_equal(is_in(drive_read(drive, SMTP_SERVER), "STARTTLS"), !defers);
        uint64_t number = drive_send_text(drive, SMTP_SERVER, replied, READY);
        assert_int_equal(is_in(drive_read(drive, SMTP_CLIENT), READY), !defers);
        const struct packet *left = drive_left(drive, number);
        assert_true(defers || (left && !(left->flags & PACKET_RST)));
        end(drive);
    }
    waiting.defers_without_store = false;
}

/* The filter stops: the consent leaves, and both ends encrypt without it. */
static void test_stop(void **state)
{
    (void)state;
    uint32_t said, replied;
    struct drive *drive = begin("stop", &waiting, "stranger.example.net", "", &said, &replied);
    uint64_t number = drive_send_text(drive, SMTP_SERVER, replied, READY);
    drive_finish(drive);
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    assert_int_equal(drive_mark(drive, number), ENGINE_MARK_NONE);
    assert_null(last_lesson(drive, LESSON_WAITED)); /* nobody has shown patience */
    drive_free(drive);
}

/* A promise that only the filter can keep: nothing may pass in clear. */
static void test_promise(void **state)
{
    (void)state;
    uint32_t said, replied;
    struct drive *drive = begin("promise", &deferring, "stranger.example.net", "", &said, &replied);
    drive_send_text(drive, SMTP_SERVER, replied, OK);
    drive_wait(drive, (DELAY_MS + 1) * MS);
    drive_acknowledge(drive, SMTP_CLIENT);
    assert_true(is_in(drive_read(drive, SMTP_CLIENT), "454 4.7.0 Greylisted"));
    uint64_t number = drive_send_text(drive, SMTP_CLIENT, said, "NOOP\r\n");
    assert_int_equal(drive_mark(drive, number), ENGINE_MARK_PROMISED);
    end(drive);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits),
        cmocka_unit_test(test_its_hello_is_seen),
        cmocka_unit_test(test_who_hangs_up),
        cmocka_unit_test(test_case_52_octets_meanwhile),
        cmocka_unit_test(test_case_52_octets_behind),
        cmocka_unit_test(test_server_gives_up),
        cmocka_unit_test(test_server_resets),
        cmocka_unit_test(test_slow_server),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_lost_store),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_promise),
    };
    fill(&waiting, SMTP_ACTION_WAIT);
    fill(&closing, SMTP_ACTION_RESET);
    fill(&deferring, SMTP_ACTION_REFUSE_ALL);
    return dialogue_run("encrypted", dialogues, sizeof dialogues / sizeof dialogues[0], tests,
                        sizeof tests / sizeof tests[0]);
}
