/*
 * The guard: whose mail a server outside put off or took, however the dialogue is cut, and how late the reply leaves.
 */
#include "../lib/dialogue.h"
#include "../lib/rules.h"

#define GREET  S("220 mx.example.net ESMTP\r\n")
#define EHLO   C("EHLO exchange.example.com\r\n")
#define OFFER  S("250-mx.example.net\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
#define HELLO  GREET, EHLO, OFFER
#define QUIT   C("QUIT\r\n"), S("221 2.0.0 closing\r\n")
#define MAIL   "MAIL FROM:<a@b> SIZE=1904\r\n"
#define FIRST  "RCPT TO:<c@d>\r\n"
#define SECOND "RCPT TO:<e@d> NOTIFY=FAILURE\r\n"
#define DATA   "DATA\r\n"
#define OK     "250 2.1.5 Everything is very well\r\n"
#define GO     "354 go on\r\n"
#define GREY   "450 4.2.0 <c@d>: Recipient address rejected: Greylisted, see http://example.net/\r\n"
#define BUSY   "450 4.2.1 Mailbox busy\r\n"

enum { DELAY_MS = 10000, MS = 1000 };

static struct policy policy, late;

static const struct dialogue rows[] = {
    {"a recipient is put off",
     {HELLO, C(MAIL FIRST), S(OK GREY), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=450 &a@b>c@d=refused QUIT=221"},
    {"not by a greylist",
     {HELLO, C(MAIL FIRST), S(OK BUSY), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=450 QUIT=221"},
    {"refused for good, in the same words",
     {HELLO, C(MAIL FIRST), S(OK "550 5.7.1 Greylisted for ever\r\n"), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=550 QUIT=221"},
    {"one of two, and the other's message is taken",
     {HELLO, C(MAIL FIRST SECOND DATA), S(OK GREY OK GO), C("m\r\n.\r\n"), S(OK), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=450 &a@b>c@d=refused RCPT=250 DATA=354 end-of-data=250 "
                  "&a@b>e@d=taken QUIT=221"},
    {"the message is put off, for both",
     {HELLO, C(MAIL FIRST SECOND DATA), S(OK OK OK GO), C("m\r\n.\r\n"), S("451 4.7.1 Greylisted\r\n"), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=250 RCPT=250 DATA=354 end-of-data=451 &a@b>e@d=refused "
                  "&a@b>c@d=refused QUIT=221"},
    {"DATA is put off",
     {HELLO, C(MAIL FIRST), S(OK OK), C(DATA), S("451 Greylisting\r\n"), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=250 DATA=451 &a@b>c@d=refused QUIT=221"},
    {"MAIL is put off",
     {HELLO, C(MAIL), S("451 greylisted\r\n"), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=451 &a@b>=refused QUIT=221"},
    {"in chunks",
     {HELLO, C(MAIL FIRST), S(OK OK), C("BDAT 1\r\nxBDAT 2 LAST\r\n\r\n"), S(OK "452 4.7.1 greylisted\r\n"), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=250 BDAT=250 bdat-last=452 &a@b>c@d=refused QUIT=221"},
    {"two transactions in one group",
     {HELLO, C(MAIL FIRST "RSET\r\nMAIL FROM:<f@b>\r\n" SECOND), S(OK GREY OK OK GREY), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=450 &a@b>c@d=refused RSET=250 MAIL=250 RCPT=450 &f@b>e@d=refused "
                  "QUIT=221"},
    {"MAIL that is refused in a transaction: the first one's sender",
     {HELLO, C(MAIL), S(OK), C("MAIL FROM:<f@b>\r\n"), S("503 5.5.1 Nested\r\n"), C(FIRST), S(GREY), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 MAIL=503 RCPT=450 &a@b>c@d=refused QUIT=221"},
    {"what was accepted before RSET is not taken after it",
     {HELLO, C(MAIL FIRST "RSET\r\nMAIL FROM:<f@b>\r\n" SECOND DATA), S(OK OK OK OK OK GO), C("m\r\n.\r\n"), S(OK),
      QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=250 RSET=250 MAIL=250 RCPT=250 DATA=354 end-of-data=250 "
                  "&f@b>e@d=taken QUIT=221"},
    {"several lines, of which the first has the marks",
     {HELLO, C(MAIL FIRST), S(OK "450-4.7.1 Greylisted\r\n450 4.7.1 Greylisted, too\r\n"), QUIT},
     .of_server = "connect=220 EHLO=250 MAIL=250 &a@b>c@d=refused RCPT=450 QUIT=221"},
    {"what encrypts is not seen",
     {HELLO, C(MAIL FIRST), S(OK OK), C("STARTTLS\r\n"), S("220 go\r\n"), C("\26\3\1\0\1x"), S("\26\3\1\0\1y")},
     .of_client = "EHLO MAIL RCPT STARTTLS #encrypted",
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=250 STARTTLS=220"},
};

/* ---- how late it leaves ------------------------------------------------------------------------ */

/* What the client has read once `wait_ms` have passed since the server spoke. */
static void assert_read_after(struct drive *drive, uint32_t wait_ms, const char *end)
{
    drive_wait(drive, (int64_t)wait_ms * MS);
    drive_acknowledge(drive, SMTP_CLIENT);
    struct span read = drive_read(drive, SMTP_CLIENT);
    size_t len = strlen(end);
    assert_true(read.len >= len);
    assert_true(span_equal(span_tail(read, read.len - len), span_of(end)));
}

static struct drive *begin(const char *name, const struct policy *of)
{
    struct drive_plan plan = {.name = name, .policy = of, .seed = 11, .no_acknowledgments = true};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 hi\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    return drive;
}

/* The client says something, the server answers; both at the place they have come to. */
static void exchange(struct drive *drive, const char *command, const char *reply)
{
    drive_send_text(drive, SMTP_CLIENT, (uint32_t)drive_said(drive, SMTP_CLIENT).len, command);
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, (uint32_t)drive_said(drive, SMTP_SERVER).len, reply);
    drive_acknowledge(drive, SMTP_CLIENT);
}

/* Once in a transaction: our server has no more retries for a mail to twenty than for one to one. */
static void test_once_in_a_transaction(void **state)
{
    (void)state;
    struct drive *drive = begin("once", &late);
    exchange(drive, MAIL, OK);
    assert_read_after(drive, 0, OK);
    exchange(drive, FIRST, GREY);
    assert_read_after(drive, DELAY_MS - 1, OK);
    assert_read_after(drive, 2, GREY);
    exchange(drive, SECOND, GREY);
    assert_read_after(drive, 0, GREY GREY);
    exchange(drive, "RSET\r\n", OK);
    exchange(drive, MAIL, OK);
    exchange(drive, SECOND, GREY);
    assert_read_after(drive, DELAY_MS - 1, OK);
    assert_read_after(drive, 2, GREY);
    assert_int_equal(drive_counters(drive)->guarded, 3);
    assert_int_equal(drive_counters(drive)->tarpits, 2);
    drive_finish(drive);
    drive_free(drive);
}

/* What is told of it says how late it leaves. */
static void test_the_delay_is_told(void **state)
{
    (void)state;
    struct drive *drive = begin("told", &late);
    exchange(drive, MAIL, OK);
    exchange(drive, FIRST, GREY);
    const struct event *event = NULL;
    for (size_t i = 0; i < drive_event_count(drive); i++)
        if (drive_event(drive, i)->event.kind == EVENT_GUARD)
            event = &drive_event(drive, i)->event;
    assert_non_null(event);
    assert_int_equal(event->delay_ms, DELAY_MS);
    assert_int_equal(event->code, 450);
    assert_int_equal(event->octets, 1904);
    assert_true(span_equal(event->text, span_of(GREY)));
    drive_finish(drive);
    drive_free(drive);
}

int main(void)
{
    static const struct CMUnitTest more[] = {
        cmocka_unit_test(test_once_in_a_transaction),
        cmocka_unit_test(test_the_delay_is_told),
    };
    static struct dialogue filled[sizeof rows / sizeof rows[0]];
    policy_init_default(&policy);
    rules_guard(&policy, "*greylist*", 0);
    policy_init_default(&late);
    rules_guard(&late, "*greylist*", DELAY_MS);
    memcpy(filled, rows, sizeof filled);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        filled[i].policy = &policy;
    return dialogue_run("guard", filled, sizeof rows / sizeof rows[0], more, sizeof more / sizeof more[0]);
}
