/*
 * Questions: a line waits for its answer, or for the end of its time, and what both sides read then, however the
 * dialogue is cut.
 *
 * Case numbers are those of smtp-cases.md.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../lib/dialogue.h"
#include "../lib/engines.h"
#include "../lib/rules.h"

#define GREET     S("220 mail.example.com ESMTP\r\n")
#define EHLO      C("EHLO client.example.net\r\n")
#define OFFER     S("250-mail.example.com\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
#define GOODBY    C("QUIT\r\n"), S("221 2.0.0 closing\r\n")
#define MAIL      "MAIL FROM:<a@b>\r\n"
#define BOUNCE    "MAIL FROM:<> BODY=7BIT\r\n"
#define NEW       "RCPT TO:<new@b>\r\n"
#define OLD       "RCPT TO:<\"old\"@b> NOTIFY=NEVER\r\n"
#define LOST      "RCPT TO:<lost@b>\r\n"
#define BRINGS    "RCPT TO:<brings@b>\r\n"
#define DENIED    "RCPT TO:<denied@example.com>\r\n"
#define STATIC    "RCPT TO:<static@b>\r\n"
#define BUSY      "452 4.2.2 Mailbox full\r\n"
#define BAD       "501 5.1.3 Bad recipient address syntax\r\n"
#define OTHER     "RCPT TO:<spoil@example.com>\r\n"
#define OK        "250 2.1.5 Everything is very well\r\n"
#define GREYLIST  "450 4.2.0 Greylisted\r\n"
#define ALL_KINDS ((1u << QUESTION_KINDS) - 1)

enum { ASK_HOLD_US = 500000, LATER_US = 120000 };

static struct policy policy, strict, ours, observed;

static void add_rule(struct policy *to, enum rule_event on, const char *match, enum smtp_action_kind kind,
                     const char *line)
{
    rules_add(to, "ask", on, match, kind, line);
    to->rules[to->rule_count - 1].action.ask = true;
}

static void fill_policy(struct policy *of)
{
    policy_init_default(of);
    rules_add(of, "static", RULE_ON_RECIPIENT, "static@*", SMTP_ACTION_VOID, "450 4.7.1 Never");
    add_rule(of, RULE_ON_RECIPIENT, "spoil@*", SMTP_ACTION_REFUSE, "450 4.2.0 Greylisted");
    add_rule(of, RULE_ON_RECIPIENT, "*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    add_rule(of, RULE_ON_STARTTLS, NULL, SMTP_ACTION_REFUSE, "454 4.7.0 Not now");
}

/* The clients of tests/lib/segment are the protected servers. */
static void protect_clients(struct policy *of)
{
    static const uint8_t v4[4] = {10, 1, 0, 1}, v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};
    policy_init_default(of);
    assert_true(policy_protect(of, network_of(4, v4, 32)) && policy_protect(of, network_of(6, v6, 128)) &&
                policy_seal(of));
}

/* By who is asked about. */
static enum answer answer(const struct question *question, int64_t *later_us)
{
    *later_us = 0;
    if (span_equal(question->recipient, span_of("old@b")))
        return ANSWER_PASS;
    if (span_equal(question->recipient, span_of("lost@b")))
        return ANSWER_FAILED;
    if (span_equal(question->recipient, span_of("brings@b")))
        return ANSWER_BRING;
    if (span_equal(question->recipient, span_of("denied@example.com")))
        return ANSWER_DENY;
    return ANSWER_DEFER;
}

static enum answer answer_later(const struct question *question, int64_t *later_us)
{
    enum answer given = answer(question, later_us);
    *later_us = LATER_US;
    return given;
}

static enum answer answer_too_late(const struct question *question, int64_t *later_us)
{
    enum answer given = answer(question, later_us);
    *later_us = ASK_HOLD_US + LATER_US;
    return given;
}

static enum answer never(const struct question *question, int64_t *later_us)
{
    (void)question;
    *later_us = -1;
    return ANSWER_PASS;
}

static const struct dialogue dialogues[] = {
    {.label = "a recipient that is known, its message, and a second transaction in which none is",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD "DATA\r\n"), S("250 ok\r\n" OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), C(MAIL NEW NEW), S("250 ok\r\n" OK "550 5.1.1 Nobody here\r\n"), C("RSET\r\n"),
               S("250 reset\r\n"), GOODBY},
     .client_reads = {CHANGE(OK "550", GREYLIST "550")},
     .asked = "client a@b>old@b old@b=250 message=250 a@b>new@b a@b>new@b new@b=250 new@b=550 reset end"},
    {.label = "a group whose second recipient is unknown: nothing of it is delivered, the third shares its lot",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD NEW OLD "DATA\r\n"), S("250 ok\r\n" OK OK OK OK), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK OK OK OK, OK GREYLIST GREYLIST GREYLIST)},
     .of_client = "EHLO MAIL a@b>old@b=pass,known RCPT a@b>new@b=defer,first RCPT a@b>old@b=pass,known RCPT DATA~ QUIT",
     .asked = "client a@b>old@b a@b>new@b a@b>old@b old@b=250 new@b=250 old@b=250 reset end"},
    {.label = "the same, and each answer takes its time",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_later,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD NEW OLD "DATA\r\n"), S("250 ok\r\n" OK OK OK OK), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK OK OK OK, OK GREYLIST GREYLIST GREYLIST)},
     .asked = "client a@b>old@b a@b>new@b a@b>old@b old@b=250 new@b=250 old@b=250 reset end"},
    {.label = "answers that come too late, or not at all, are none: mail flows",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_too_late,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD NEW "DATA\r\n"), S("250 ok\r\n" OK OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .asked = "client a@b>old@b a@b>new@b old@b=250 new@b=250 message=250 end"},
    {.label = "nobody answers, and the rules say that then nothing passes",
     .policy = &strict,
     .questions = ALL_KINDS,
     .answer = never,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD NEW "DATA\r\n"), S("250 ok\r\n" OK OK OK), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK OK OK, GREYLIST GREYLIST GREYLIST)},
     .asked = "client a@b>old@b a@b>new@b old@b=250 new@b=250 reset end"},
    {.label = "a dry run asks and learns, nothing waits, and its answers are told",
     .policy = &observed,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL), S("250 ok\r\n"), C(OLD), S(OK), C(NEW), S(OK), C("DATA\r\n"),
               S("354 go\r\n"), C("x\r\n.\r\n"), S("250 queued\r\n"), GOODBY},
     .of_client =
         "EHLO MAIL @ask=greylist RCPT a@b>old@b=pass,known @ask=greylist RCPT a@b>new@b=defer,first DATA (6) QUIT",
     .asked = "client a@b>old@b old@b=250 a@b>new@b new@b=250 message=250 end"},
    {.label = "and where answers take their time, mail does not",
     .policy = &observed,
     .questions = ALL_KINDS,
     .answer = never,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD NEW "DATA\r\n"), S("250 ok\r\n" OK OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .of_client = "EHLO MAIL @ask=greylist RCPT @ask=greylist RCPT DATA (6) QUIT",
     .asked = "client a@b>old@b a@b>new@b old@b=250 new@b=250 message=250 end"},
    {.label = "nobody may be asked, and mail flows",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD NEW "DATA\r\n"), S("250 ok\r\n" OK OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .asked = ""},
    {.label = "nobody can tell: by the rules",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL LOST "DATA\r\n"), S("250 ok\r\n" OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .of_client = "EHLO MAIL a@b>lost@b=pass,no-answer RCPT DATA (6) QUIT",
     .asked = "client a@b>lost@b lost@b=250 message=250 end"},
    {.label = "nobody can tell: by other rules",
     .policy = &strict,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL LOST), S("250 ok\r\n" OK), GOODBY},
     .client_reads = {CHANGE(OK, GREYLIST)},
     .asked = "client a@b>lost@b lost@b=250 end"},
    {.label = "one recipient of several: it is spoiled, the others go on",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_later,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD OTHER "DATA\r\n"),
               S("250 ok\r\n" OK "501 5.1.3 Bad recipient address syntax\r\n354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .server_reads = {CHANGE("spoil@example.com", "xxxxxx@x..invalid")},
     .client_reads = {CHANGE("501 5.1.3 Bad recipient address syntax\r\n", GREYLIST)},
     .asked = "client a@b>old@b a@b>spoil@example.com old@b=250 message=250 end"},
    {.label =
         "one that passes brings those before it whom the server has not answered, and these are told what it says",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL NEW NEW OLD BRINGS "DATA\r\n"), S("250 ok\r\n" OK BUSY OK OK "354 go\r\n"),
               C("x\r\n.\r\n"), S("250 queued\r\n"), GOODBY},
     .of_client = "EHLO MAIL a@b>new@b=defer,first RCPT a@b>new@b=defer,first RCPT a@b>old@b=pass,known RCPT "
                  "a@b>brings@b=pass,known RCPT DATA (6) QUIT",
     .asked = "client a@b>new@b a@b>new@b a@b>old@b a@b>brings@b new@b=250 new@b=452 old@b=250 brings@b=250 "
              "message=250 end"},
    {.label = "the same, and each answer takes its time",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_later,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(MAIL NEW BRINGS "DATA\r\n"), S("250 ok\r\n" BUSY OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .asked = "client a@b>new@b a@b>brings@b new@b=452 brings@b=250 message=250 end"},
    {.label = "nobody is brought by one of another transaction of the group",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL NEW "RSET\r\n" MAIL BRINGS "RSET\r\n" MAIL NEW "RSET\r\n"),
               S("250 ok\r\n" OK "250 reset\r\n250 ok\r\n" OK "250 reset\r\n250 ok\r\n" OK "250 reset\r\n"), GOODBY},
     .client_reads = {CHANGE(OK "250 reset", GREYLIST "250 reset"),
                      CHANGE(OK "250 reset\r\n221", GREYLIST "250 reset\r\n221")}},
    {.label = "nobody is brought by one in whose transaction another is refused for good",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL NEW STATIC BRINGS "DATA\r\n"), S("250 ok\r\n" OK OK OK OK), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK OK OK OK, GREYLIST "450 4.7.1 Never\r\n" GREYLIST GREYLIST)}},
    {.label = "one that is denied is refused alone, before one that passes and behind it, also of the null sender",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_later,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(MAIL DENIED OLD "DATA\r\n"), S("250 ok\r\n" BAD OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), C(BOUNCE OLD DENIED "DATA\r\n"), S("250 ok\r\n" OK BAD "354 go\r\n"),
               C("x\r\n.\r\n"), S("250 queued\r\n"), GOODBY},
     .server_reads = {CHANGE("denied@example.com", "xxxxxxx@x..invalid"),
                      CHANGE("denied@example.com", "xxxxxxx@x..invalid")},
     .client_reads = {CHANGE(BAD, GREYLIST), CHANGE(BAD, GREYLIST)},
     .asked = "client a@b>denied@example.com a@b>old@b old@b=250 message=250 >old@b >denied@example.com old@b=250 "
              "message=250 end"},
    {.label = "the null sender is put off at DATA, so that who verifies a sender hears the server",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_later,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C(BOUNCE NEW OTHER "DATA\r\n"), S("250 ok\r\n250 fine\r\n250 fine\r\n" OK), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK, GREYLIST)},
     .asked = "client >new@b new@b=250 reset end"},
    {.label = "the null sender is put off at BDAT, and the next transaction is another one",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(BOUNCE NEW), S("250 ok\r\n550 5.1.1 Nobody\r\n"), C(NEW "BDAT 2 LAST\r\n.."),
               S("250 fine\r\n" OK), C("RSET\r\n" BOUNCE OLD "DATA\r\n"),
               S("250 reset\r\n250 ok\r\n250 fine\r\n354 go\r\n"), C("x\r\n.\r\n"), S("250 queued\r\n"), GOODBY},
     .server_reads = {CHANGE("BDAT 2 LAST", "BDAT 2     ")},
     .client_reads = {CHANGE(OK, GREYLIST)},
     .asked = "client >new@b new@b=550 >old@b reset old@b=250 message=250 end"},
    {.label = "STARTTLS is asked about, too, and refused in clear text",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer_later,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C("STARTTLS\r\n"), S("250 2.0.0 Nothing\r\n"), C(MAIL OLD), S("250 ok\r\n" OK),
               GOODBY},
     .server_reads = {CHANGE("STARTTLS", "NOOP    ")},
     .client_reads = {CHANGE("250 2.0.0 Nothing", "454 4.7.0 Not now")},
     .of_client = "EHLO >client.example.net=defer,first STARTTLS~ MAIL a@b>old@b=pass,known RCPT QUIT",
     .asked = "client tls a@b>old@b old@b=250 end"},
    {.label = "STARTTLS passes, and nothing more is to be learnt",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = never,
     .live_only = true,
     .turns = {GREET, EHLO, OFFER, C("STARTTLS\r\n"), S("220 go ahead\r\n"), C("\x16\x03\x01 hello"),
               S("\x16\x03\x01 hello")},
     .asked = "client tls end"},
    {.label = "case 40: RCPT before MAIL: there is no sender to ask about",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(NEW), S("503 5.5.1 MAIL first\r\n"), GOODBY},
     .of_client = "EHLO RCPT QUIT",
     .asked = "client end"},
    {.label = "case 90: MAIL that the server refuses in a transaction: its sender is asked about",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL), S("250 ok\r\n"), C("MAIL FROM:<other@b>\r\n"), S("503 nested\r\n"), C(OLD),
               S(OK), C("MAIL\r\n"), S("501 Syntax\r\n"), C(OLD), S(OK), GOODBY},
     .of_client = "EHLO MAIL MAIL a@b>old@b=pass,known RCPT MAIL a@b>old@b=pass,known RCPT QUIT",
     .asked = "client a@b>old@b old@b=250 a@b>old@b old@b=250 end"},
    {.label = "case 90: the same where the server begins another one: the new sender is asked about",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL "MAIL FROM:<other@b>\r\n"), S("250 ok\r\n250 ok\r\n"), C(OLD), S(OK), GOODBY},
     .of_client = "EHLO MAIL MAIL other@b>old@b=pass,known RCPT QUIT",
     .asked = "client other@b>old@b old@b=250 end"},
    {.label = "case 90: the same in a group whose first sender is refused",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL "MAIL FROM:<other@b>\r\n"), S("550 no\r\n250 ok\r\n"), C(OLD), S(OK), GOODBY},
     .of_client = "EHLO MAIL MAIL other@b>old@b=pass,known RCPT QUIT",
     .asked = "client other@b>old@b old@b=250 end"},
    {.label = "case 90: EHLO refused: the old name holds; HELO accepted: the new one does",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C("EHLO\r\n"), S("501 Syntax\r\n"), C("STARTTLS\r\n"), S("250 2.0.0 Nothing\r\n"),
               C("HELO other.example.net\r\n"), S("250 mail\r\n"), C("STARTTLS\r\n"), S("250 2.0.0 Nothing\r\n"),
               GOODBY},
     .client_reads = {CHANGE("250 2.0.0 Nothing", "454 4.7.0 Not now"),
                      CHANGE("250 2.0.0 Nothing", "454 4.7.0 Not now")},
     .server_reads = {CHANGE("STARTTLS", "NOOP    "), CHANGE("STARTTLS", "NOOP    ")},
     .live_only = true,
     .of_client =
         "EHLO EHLO >client.example.net=defer,first STARTTLS~ HELO >other.example.net=defer,first STARTTLS~ QUIT",
     .asked = "client tls tls end"},
    {.label = "case 20: the server gives up while a line waits",
     .policy = &policy,
     .questions = ALL_KINDS,
     .answer = answer,
     .turns = {GREET, EHLO, OFFER, C(MAIL OLD), S("250 ok\r\n421 4.3.2 Shutting down\r\n")},
     .asked = "client a@b>old@b old@b=421 end"},
    {.label = "whom our servers write to, and what came of it",
     .policy = &ours,
     .questions = ALL_KINDS & ~(1u << QUESTION_CLIENT),
     .turns = {GREET, EHLO, OFFER, C(MAIL NEW OLD), S("250 ok\r\n" OK "550 5.1.1 Nobody\r\n"), C("DATA\r\n"),
               S("354 go\r\n"), C("x\r\n.\r\nMAIL FROM:<c@b>\r\n" NEW), S("250 queued\r\n250 ok\r\n" OK), C("RSET\r\n"),
               S("250 reset\r\n"), GOODBY},
     .asked = "a@b->new@b a@b->old@b c@b->new@b message=250 reset end"},
};

/* ---- packet by packet ------------------------------------------------------------------------- */

static struct drive *begin(const char *name, enum answer (*with)(const struct question *, int64_t *))
{
    struct drive_plan plan = {
        .name = name, .policy = &policy, .seed = 7, .no_acknowledgments = true, .questions = ALL_KINDS, .answer = with};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 hi\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, MAIL);
    drive_acknowledge(drive, SMTP_SERVER);
    return drive;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static const uint32_t mail_len = sizeof MAIL - 1;
static const uint32_t new_len = sizeof NEW - 1;

/* The answer lets the line go with the next verdict, and what waited behind it, resends not twice. */
static void test_a_line_waits(void **state)
{
    (void)state;
    struct drive *drive = begin("a line waits", answer_later);
    uint64_t line = drive_send_text(drive, SMTP_CLIENT, mail_len, NEW "DA");
    uint64_t again = drive_send_text(drive, SMTP_CLIENT, mail_len, NEW "DA");
    uint64_t behind = drive_send_text(drive, SMTP_CLIENT, mail_len + new_len + 2, "TA\r\n");
    drive_wait(drive, LATER_US / 2);
    assert_int_equal(drive_fate(drive, line), DRIVE_WAITS);
    assert_int_equal(drive_fate(drive, again), DRIVE_DROPPED);
    assert_int_equal(drive_fate(drive, behind), DRIVE_WAITS);
    assert_int_equal(drive_counters(drive)->probes, 0);
    drive_wait(drive, LATER_US / 2 + 1000);
    assert_int_equal(drive_fate(drive, line), DRIVE_EDITED);
    assert_int_equal(drive_fate(drive, behind), DRIVE_EDITED);
    assert_memory_equal(drive_read(drive, SMTP_SERVER).ptr + mail_len, NEW "RSET\r\n", new_len + 6);
    assert_int_equal(drive_counters(drive)->questions, 2);
    assert_int_equal(drive_counters(drive)->questions_unanswered, 0);
    end(drive);
}

/* At the end of its time, not before and not later. */
static void test_nobody_answers(void **state)
{
    (void)state;
    struct drive *drive = begin("nobody answers", never);
    uint64_t line = drive_send_text(drive, SMTP_CLIENT, mail_len, NEW);
    drive_wait(drive, ASK_HOLD_US - 2000);
    assert_int_equal(drive_fate(drive, line), DRIVE_WAITS);
    drive_wait(drive, 4000);
    assert_int_equal(drive_fate(drive, line), DRIVE_PASSED);
    assert_int_equal(drive_counters(drive)->questions_unanswered, 1);
    end(drive);
}

static void test_stop_while_a_line_waits(void **state)
{
    (void)state;
    struct drive *drive = begin("stop", never);
    uint64_t line = drive_send_text(drive, SMTP_CLIENT, mail_len, NEW);
    uint64_t second = drive_send_text(drive, SMTP_CLIENT, mail_len + new_len, NEW);
    drive_finish(drive);
    assert_int_equal(drive_fate(drive, line), DRIVE_PASSED);
    assert_int_equal(drive_fate(drive, second), DRIVE_PASSED);
    assert_int_equal(drive_counters(drive)->questions_unanswered, 2);
    drive_free(drive);
}

/* FIN stays behind what waits, a reset does not. */
static void test_ends_while_a_line_waits(void **state)
{
    (void)state;
    struct drive *drive = begin("FIN", answer_later);
    struct segment last = drive_segment(drive, SMTP_CLIENT, mail_len, span_of(NEW));
    last.flags |= PACKET_FIN;
    uint64_t line = drive_send(drive, SMTP_CLIENT, &last);
    drive_wait(drive, LATER_US / 2);
    assert_false(drive_read_fin(drive, SMTP_SERVER));
    drive_wait(drive, LATER_US);
    assert_int_equal(drive_fate(drive, line), DRIVE_PASSED);
    assert_true(drive_read_fin(drive, SMTP_SERVER));
    end(drive);

    drive = begin("RST", never);
    line = drive_send_text(drive, SMTP_CLIENT, mail_len, NEW);
    struct segment reset = drive_segment(drive, SMTP_CLIENT, mail_len, (struct span){0});
    reset.flags = PACKET_RST;
    assert_int_equal(drive_fate(drive, drive_send(drive, SMTP_CLIENT, &reset)), DRIVE_PASSED);
    assert_int_equal(drive_fate(drive, line), DRIVE_WAITS);
    end(drive);
}

/* The verb is whole and its line is not: what must leave of it waits for the answer all the same. */
static void test_starttls_without_an_end(void **state)
{
    (void)state;
    struct drive *drive = begin("STARTTLS without an end", answer_later);
    uint64_t line = drive_send_text(drive, SMTP_CLIENT, mail_len, "STARTTLS ");
    drive_wait(drive, LATER_US / 2);
    assert_int_equal(drive_fate(drive, line), DRIVE_WAITS);
    uint64_t rest = drive_send_text(drive, SMTP_CLIENT, mail_len + 9, "\r\n");
    drive_wait(drive, LATER_US);
    assert_int_equal(drive_fate(drive, line), DRIVE_EDITED);
    assert_int_equal(drive_fate(drive, rest), DRIVE_PASSED);
    assert_memory_equal(drive_read(drive, SMTP_SERVER).ptr + mail_len, "NOOP     \r\n", 11);
    end(drive);
}

/* What is asked, in full. */
static void test_a_question_says_who(void **state)
{
    (void)state;
    struct drive *drive = begin("who", answer);
    const char *helo = "HELO client.example\r\n";
    drive_send_text(drive, SMTP_SERVER, 8, "250 ok\r\n");
    drive_send_text(drive, SMTP_CLIENT, mail_len, helo);
    drive_send_text(drive, SMTP_SERVER, 16, "250 ok\r\n");
    drive_send_text(drive, SMTP_CLIENT, mail_len + (uint32_t)strlen(helo), MAIL NEW);
    const struct question *client = drive_question(drive, 0), *recipient = drive_question(drive, 1);
    assert_int_equal(drive_question_count(drive), 2);
    assert_int_equal(client->kind, QUESTION_CLIENT);
    assert_int_equal(recipient->kind, QUESTION_RECIPIENT);
    assert_int_equal(client->flow_id, recipient->flow_id);
    assert_true(client->id != recipient->id);
    assert_int_equal(recipient->ip_version, 4);
    assert_true(span_equal(recipient->helo, span_of("client.example")));
    assert_true(span_equal(recipient->sender, span_of("a@b")));
    assert_true(span_equal(recipient->recipient, span_of("new@b")));
    assert_int_equal(recipient->client[3] + recipient->server[3], 3); /* tests/lib/segment: 1 and 2 */
    assert_int_equal(recipient->client[3], client->client[3]);
    end(drive);
}

/* Until the reply to a MAIL in a transaction has come, nobody knows whose mail the next recipient is. */
static void test_nested_mail_awaits(void **state)
{
    (void)state;
    struct drive *drive = begin("nested", answer);
    const char *group = "MAIL FROM:<c@d>\r\n" NEW;
    drive_send_text(drive, SMTP_CLIENT, mail_len, group);
    assert_int_equal(drive_question_count(drive), 1); /* that of the client */
    drive_send_text(drive, SMTP_SERVER, 8, "250 ok\r\n");
    drive_send_text(drive, SMTP_SERVER, 16, "503 nested\r\n");
    drive_send_text(drive, SMTP_CLIENT, mail_len, group);
    assert_int_equal(drive_question_count(drive), 2);
    assert_true(span_equal(drive_question(drive, 1)->sender, span_of("a@b")));
    end(drive);
}

/* What is told once it is settled, in full. */
static void test_an_answer_is_told(void **state)
{
    (void)state;
    struct drive *drive = begin("told", answer);
    drive_send_text(drive, SMTP_CLIENT, mail_len, NEW);
    const struct event *told = NULL;
    for (size_t i = 0; i < drive_event_count(drive); i++)
        if (drive_event(drive, i)->event.kind == EVENT_GREYLIST)
            told = &drive_event(drive, i)->event;
    assert_non_null(told);
    assert_string_equal(told->action, "defer");
    assert_string_equal(told->reason, "first");
    assert_int_equal(told->verb, SMTP_VERB_RCPT);
    assert_int_equal(told->exchange, 2); /* behind the greeting and MAIL */
    assert_true(span_equal(told->shown, span_of("a@b")));
    assert_true(span_equal(told->text, span_of("new@b")));
    assert_int_equal(told->passes_from_us, told->time_us + 1); /* tests/lib/drive */
    end(drive);
}

/* A recipient waits for the client's name, and what is behind it; a command that no greylist asks about does not. */
static void test_a_name_is_waited_for(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t later_us;
        bool refused, in_time;
    } rows[] = {
        {"mx.good.example", LATER_US, true, true},
        {"GOOD.example", LATER_US, true, true},
        {"notgood.example", LATER_US, false, true},
        {"good.example.net", LATER_US, false, true},
        {"", LATER_US, false, true},
        {"mx.good.example", 0, true, true},
        {"mx.good.example", 2 * ASK_HOLD_US, false, false},
    };
    static struct rule_pattern entry = {.glob = {(const uint8_t *)"good.example", 12}};
    static struct policy named;
    policy_init_default(&named);
    rules_add(&named, "named", RULE_ON_RECIPIENT, "*", SMTP_ACTION_VOID, "550 5.7.1 Named");
    named.rules[0].client_names = (struct rule_patterns){&entry, 1};
    named.rules[0].name_number = named.name_count = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drive_plan plan = {.name = rows[i].name,
                                  .policy = &named,
                                  .seed = 9,
                                  .no_acknowledgments = true,
                                  .questions = ALL_KINDS,
                                  .client_name = rows[i].name,
                                  .client_name_us = rows[i].later_us};
        struct drive *drive = drive_new(&plan);
        drive_handshake(drive);
        uint64_t mail = drive_send_text(drive, SMTP_CLIENT, 0, MAIL);
        uint64_t line = drive_send_text(drive, SMTP_CLIENT, mail_len, NEW);
        uint64_t behind = drive_send_text(drive, SMTP_CLIENT, mail_len + new_len, "DATA\r\n");
        drive_wait(drive, 1000);
        bool at_once = rows[i].later_us == 0;
        assert_int_not_equal(drive_fate(drive, mail), DRIVE_WAITS);
        assert_int_equal(drive_fate(drive, line) == DRIVE_WAITS, !at_once);
        drive_wait(drive, rows[i].in_time ? LATER_US : ASK_HOLD_US - 4000);
        assert_int_equal(drive_fate(drive, line) == DRIVE_WAITS, !rows[i].in_time);
        drive_wait(drive, 6000);
        assert_int_not_equal(drive_fate(drive, line), DRIVE_WAITS);
        assert_int_equal(drive_fate(drive, behind), rows[i].refused ? DRIVE_EDITED : DRIVE_PASSED);
        end(drive);
    }
}

/* Nobody's name is asked for a SYN, which anybody can send in his name: only once he has answered the server's. */
static void test_a_name_is_asked_of_who_answers(void **state)
{
    (void)state;
    static struct policy named;
    policy_init_default(&named);
    rules_add(&named, "named", RULE_ON_RECIPIENT, "*", SMTP_ACTION_VOID, "550 5.7.1 Named");
    named.rules[0].name_number = named.name_count = 1;
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = settings.blocks_max = settings.held_max = 64;
    struct engine *engine = engines_new(&settings, &named);
    const struct segment segments[] = {
        {.source = 1, .destination = 2, .source_port = 2000, .destination_port = 25, .flags = PACKET_SYN, .seq = 1},
        {.source = 2,
         .destination = 1,
         .source_port = 25,
         .destination_port = 2000,
         .flags = PACKET_SYN | PACKET_ACK,
         .seq = 7,
         .ack = 2},
        {.source = 1,
         .destination = 2,
         .source_port = 2000,
         .destination_port = 25,
         .flags = PACKET_ACK,
         .seq = 2,
         .ack = 8},
    };
    enum { SEGMENTS = sizeof segments / sizeof segments[0] };
    for (int i = 0; i < SEGMENTS; i++) {
        uint32_t len;
        uint8_t *bytes = segment_build(&segments[i], &len);
        struct engine_packet packet = {.bytes = bytes, .len = len, .room = len, .checksum = ENGINE_CHECKSUM_GOOD};
        struct engine_verdict verdict;
        struct engine_name_query query;
        engine_packet(engine, &packet, 1 + i);
        while (engine_next_verdict(engine, &verdict))
            assert_int_equal(verdict.action, ENGINE_ACCEPT);
        assert_int_equal(engine_next_name_query(engine, &query), i + 1 == SEGMENTS);
        assert_false(engine_next_name_query(engine, &query));
        free(bytes);
    }
    engines_free(engine);
}

/* Of an address that is longer than any the domain is asked about, and nothing is exempt for what stands before it. */
static void test_a_long_address(void **state)
{
    (void)state;
    char sender[400], recipient[400], line[500];
    snprintf(sender, sizeof sender, "%0*d@partner.example.evil.example", 240, 0);
    snprintf(recipient, sizeof recipient, "%0*d@b", 300, 0);
    struct drive_plan plan = {.name = "long", .policy = &policy, .seed = 7, .questions = ALL_KINDS, .answer = answer};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 hi\r\n");
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", sender);
    drive_say_text(drive, SMTP_CLIENT, line);
    drive_say_text(drive, SMTP_SERVER, "250 ok\r\n");
    snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", recipient);
    drive_say_text(drive, SMTP_CLIENT, line);
    const struct question *question = NULL;
    for (size_t i = 0; i < drive_question_count(drive); i++)
        if (drive_question(drive, i)->kind == QUESTION_RECIPIENT)
            question = drive_question(drive, i);
    assert_non_null(question);
    assert_true(question->unread);
    assert_true(span_equal(question->sender, span_of(sender + strlen(sender) - question->sender.len)));
    assert_true(span_equal(question->recipient, span_of(recipient + strlen(recipient) - question->recipient.len)));
    end(drive);
}

int main(void)
{
    static const struct CMUnitTest more[] = {
        cmocka_unit_test(test_nested_mail_awaits),      cmocka_unit_test(test_a_line_waits),
        cmocka_unit_test(test_nobody_answers),          cmocka_unit_test(test_stop_while_a_line_waits),
        cmocka_unit_test(test_ends_while_a_line_waits), cmocka_unit_test(test_starttls_without_an_end),
        cmocka_unit_test(test_a_question_says_who),     cmocka_unit_test(test_an_answer_is_told),
        cmocka_unit_test(test_a_name_is_waited_for),    cmocka_unit_test(test_a_name_is_asked_of_who_answers),
        cmocka_unit_test(test_a_long_address),
    };
    fill_policy(&policy);
    fill_policy(&strict);
    fill_policy(&observed);
    observed.dry_run = true;
    strict.defers_without_store = true;
    protect_clients(&ours);
    return dialogue_run("question", dialogues, sizeof dialogues / sizeof dialogues[0], more,
                        sizeof more / sizeof more[0]);
}
