/*
 * The ways to refuse: what both sides read where a rule refuses, closes or resets, however the dialogue is cut.
 *
 * Case numbers are those of smtp-cases.md. That real servers take it so is shown by tests/live/matrix_test.
 */
#include "../lib/dialogue.h"
#include "../lib/rules.h"

#include <stdlib.h>

#define GREET     S("220 mail.example.com ESMTP\r\n")
#define EHLO      C("EHLO client.example.net\r\n")
#define OFFER     S("250-mail.example.com\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
#define NO_GROUPS S("250-mail.example.com\r\n250 HELP\r\n")
#define GOODBY    C("QUIT\r\n"), S("221 2.0.0 closing\r\n")
#define MAIL      "MAIL FROM:<a@example.net>\r\n"
#define GOOD      "RCPT TO:<good@example.com>\r\n"
#define SPOILED   "RCPT TO:<spoil@example.com>\r\n"
#define VOIDED    "RCPT TO:<void@example.com> NOTIFY=NEVER\r\n"
#define OK        "250 2.1.5 Everything is very well\r\n"
#define GREYLIST  "450 4.2.0 Greylisted\r\n"
#define LATER     "451 4.3.0 Try again later\r\n"
#define BAD       "501 5.1.3 Bad recipient address syntax\r\n"

#define BARE "554 5.5.1 Error: no valid recipients\r\n"

#define A20  "AAAAAAAAAAAAAAAAAAAA"
#define A100 A20 A20 A20 A20 A20
#define A500 A100 A100 A100 A100 A100
#define B100 "                                                                                                    "
#define B500 B100 B100 B100 B100 B100

static struct policy policy, lenient, anyone;

static void add_rule(enum rule_event on, const char *match, enum smtp_action_kind kind, const char *line)
{
    rules_add(&policy, "a rule", on, match, kind, line);
}

static void fill_policies(void)
{
    policy_init_default(&policy);
    add_rule(RULE_ON_RECIPIENT, "spoil@*", SMTP_ACTION_REFUSE, "450 4.2.0 Greylisted");
    add_rule(RULE_ON_RECIPIENT, "x@*", SMTP_ACTION_REFUSE, "450 4.2.0 Greylisted");
    add_rule(RULE_ON_RECIPIENT, "void@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    add_rule(RULE_ON_RECIPIENT, "reset@*", SMTP_ACTION_RESET, NULL);
    add_rule(RULE_ON_SENDER, "bad@*", SMTP_ACTION_REFUSE, "550 5.7.1 Not from you");
    add_rule(RULE_ON_STARTTLS, NULL, SMTP_ACTION_REFUSE, "454 4.7.0 Not now");
    add_rule(RULE_ON_COMMAND, "VRFY", SMTP_ACTION_CLOSE, "421 4.7.0 Closing connection");
    add_rule(RULE_ON_COMMAND, "DATA", SMTP_ACTION_PASS, NULL); /* the first that matches decides */
    add_rule(RULE_ON_COMMAND, "DATA", SMTP_ACTION_CLOSE, "421 4.7.0 Closing connection");
    policy_init_empty(&anyone);
    rules_add(&anyone, "a rule", RULE_ON_RECIPIENT, "*", SMTP_ACTION_REFUSE, "450 4.2.0 Greylisted");
    policy_init_empty(&lenient); /* strips nothing, has only the verdicts */
}

static const struct dialogue dialogues[] = {
    /* One recipient. */
    {.label = "cases 32, 85: a recipient refused inside a group, the others go on",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL GOOD SPOILED GOOD "DATA\r\n"),
               S("250 ok\r\n" OK "501 5.1.3 Bad recipient address syntax\r\n" OK "354 go\r\n"), C("x\r\n.\r\n"),
               S("250 queued\r\n"), GOODBY},
     .server_reads = {CHANGE("<spoil@example.com>", "<xxxxxx@x..invalid>")},
     .client_reads = {CHANGE("501 5.1.3 Bad recipient address syntax\r\n", GREYLIST)},
     .of_client = "EHLO MAIL RCPT RCPT~ RCPT DATA (6) QUIT"},
    {.label =
         "nobody is left because one is refused alone: what is deferred is not refused for good by the reply to DATA",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL SPOILED "DATA\r\n"), S("250 ok\r\n" BAD BARE),
               C("RSET\r\n" MAIL SPOILED GOOD "DATA\r\n"),
               S("250 reset\r\n250 ok\r\n" BAD OK "554 5.7.1 Not this message\r\n"), C("RSET\r\n" MAIL GOOD "DATA\r\n"),
               S("250 reset\r\n250 ok\r\n550 5.1.1 Nobody here\r\n" BARE), GOODBY},
     .server_reads = {CHANGE("<spoil@example.com>", "<xxxxxx@x..invalid>"),
                      CHANGE("<spoil@example.com>", "<xxxxxx@x..invalid>")},
     .client_reads = {CHANGE(BAD BARE, GREYLIST LATER), CHANGE(BAD, GREYLIST)}},
    {.label = "the same of BDAT",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL SPOILED "BDAT 2\r\nx\nBDAT 2 LAST\r\ny\n"), S("250 ok\r\n" BAD BARE BARE),
               GOODBY},
     .server_reads = {CHANGE("<spoil@example.com>", "<xxxxxx@x..invalid>")},
     .client_reads = {CHANGE(BAD BARE BARE, GREYLIST LATER LATER)}},
    {.label = "case 32: a recipient sent alone, where nothing may follow unseen",
     .policy = &policy,
     .turns = {GREET, EHLO, NO_GROUPS, C(MAIL), S("250 ok\r\n"), C(SPOILED), S("250 2.0.0 Nothing done\r\n"), C(GOOD),
               S(OK), GOODBY},
     .server_reads = {CHANGE(SPOILED, "NOOP                       \r\n")},
     .client_reads = {CHANGE("250 2.0.0 Nothing done\r\n", GREYLIST)}},
    {.label = "a server that takes any recipient: the transaction is void",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL SPOILED), S("250 ok\r\n" OK), C(GOOD), S(OK), C("DATA\r\n"),
               S("250 2.0.0 All forgotten, so to say\r\n"), GOODBY},
     .server_reads = {CHANGE("<spoil@example.com>", "<xxxxxx@x..invalid>"), CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK, GREYLIST), CHANGE(OK, LATER),
                      CHANGE("250 2.0.0 All forgotten, so to say\r\n", LATER)}},
    {.label = "case 85: the shortest addresses, with brackets and without, and parameters",
     .policy = &anyone,
     .turns = {GREET, EHLO, OFFER, C(MAIL "RCPT TO:<a>\r\nRCPT TO:a\r\n"), S("250 ok\r\n" BAD BAD),
               C("RSET\r\n" MAIL "RCPT TO: <a@b> NOTIFY=NEVER\r\nRCPT TO:<a@b.c>\r\n"),
               S("250 reset\r\n250 ok\r\n" BAD BAD), GOODBY},
     .server_reads = {CHANGE("<a>\r\nRCPT TO:a\r\n", "<@>\r\nRCPT TO:\"\r\n"),
                      CHANGE(" <a@b> NOTIFY=NEVER", "<(xx@x..invalid)\"\">"), CHANGE("<a@b.c>", "<(@)\"\">")},
     .client_reads = {CHANGE(BAD BAD, GREYLIST GREYLIST), CHANGE(BAD BAD, GREYLIST GREYLIST)}},
    {.label = "case 85: from the third on in a form that is no error to Exim",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL SPOILED SPOILED SPOILED SPOILED GOOD "DATA\r\n"),
               S("250 ok\r\n" BAD BAD BAD BAD OK "354 go\r\n"), C("x\r\n.\r\n"), S("250 queued\r\n"), GOODBY},
     .server_reads = {CHANGE(SPOILED, "RCPT TO:<xxxxxx@x..invalid>\r\n"),
                      CHANGE(SPOILED, "RCPT TO:<xxxxxx@x..invalid>\r\n"),
                      CHANGE(SPOILED, "RCPT TO:<(xx@x..invalid)\"\">\r\n"),
                      CHANGE(SPOILED, "RCPT TO:<(xx@x..invalid)\"\">\r\n")},
     .client_reads = {CHANGE(BAD BAD BAD BAD, GREYLIST GREYLIST GREYLIST GREYLIST)}},
    {.label = "case 8: quoted local parts, source routes and blanks are read as servers read them",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER,
               C(MAIL "RCPT TO: <@relay.example,@b:\"void\"@example.com>\r\nRCPT TO:<@relay:void@b>\r\n"
                      "RCPT TO:<\"y x>\"@example.com>\r\nRCPT TO:<spoil@b> (comment)\r\n"),
               S("250 ok\r\n" OK "250 2.1.5 The long way round\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n"), GOODBY},
     .server_reads = {CHANGE(" <@relay.example,@b:\"void\"@example.com>", "<\"void\"@example.com>                   "),
                      CHANGE("<@relay:void@b>", "<void@b>       "),
                      CHANGE("<spoil@b> (comment)", "<xxxxxx@x..invalid>")},
     .client_reads = {CHANGE(OK, GREYLIST), CHANGE("250 2.1.5 The long way round\r\n", GREYLIST),
                      CHANGE("250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n", GREYLIST GREYLIST)}},
    /* A transaction. */
    {.label = "void: the server judges first, and nothing of the transaction is delivered",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL GOOD VOIDED GOOD "DATA\r\n"), S("250 ok\r\n" OK OK OK OK), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE(OK OK OK OK, OK GREYLIST GREYLIST GREYLIST)}},
    {.label = "void: the server's own refusal reaches the client, and the others go on",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL GOOD), S("250 ok\r\n" OK), C(VOIDED), S("550 5.1.1 Nobody here\r\n"),
               C("DATA\r\n"), S("354 go\r\n"), C("QUIT\r\n.\r\n"), S("250 queued\r\n"), GOODBY}},
    {.label = "void: in a group, DATA is covered before the server has refused the recipient itself",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL GOOD VOIDED "DATA\r\n"), S("250 ok\r\n" OK "550 5.1.1 Nobody here\r\n" OK),
               C(MAIL), S("250 ok\r\n"), GOODBY},
     .server_reads = {CHANGE("DATA", "RSET")},
     .client_reads = {CHANGE("here\r\n" OK, "here\r\n" GREYLIST)}},
    {.label = "void: RSET and the next transaction in one group",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL VOIDED), S("250 ok\r\n" OK), C("RSET\r\n" MAIL GOOD "DATA\r\n"),
               S("250 reset\r\n250 ok\r\n" OK "354 go\r\n"), C(".\r\n"), S("250 queued\r\n"), GOODBY},
     .client_reads = {CHANGE(OK, GREYLIST)}},
    {.label = "void: the group goes on with RSET and the next transaction",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL VOIDED "RSET\r\n" MAIL GOOD "DATA\r\n"),
               S("250 ok\r\n" OK "250 reset\r\n250 ok\r\n" OK "354 go\r\n"), C(".\r\n"), S("250 queued\r\n"), GOODBY},
     .client_reads = {CHANGE(OK, GREYLIST)}},
    {.label = "void: the next MAIL without RSET is put off, and the server's transaction is gone",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL VOIDED), S("250 ok\r\n" OK), C(MAIL), S(OK), C(MAIL GOOD "DATA\r\n"),
               S("250 ok\r\n" OK "354 go\r\n"), C(".\r\n"), S("250 queued\r\n"), GOODBY},
     .server_reads = {CHANGE(VOIDED MAIL, VOIDED "RSET                     \r\n")},
     .client_reads = {CHANGE(OK OK, GREYLIST LATER)}},
    {.label = "case 46: void, BDAT in chunks: the octets flow, the message never ends",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL GOOD VOIDED "BDAT 6\r\nRSET\r\nBDAT 0 LAST\r\n"), S("250 ok\r\n" OK OK OK OK),
               C("RSET\r\n" MAIL GOOD "BDAT 1 last\r\n.QUIT\r\n"),
               S("250 reset\r\n250 ok\r\n" OK "250 queued\r\n221 bye\r\n")},
     .server_reads = {CHANGE("BDAT 0 LAST", "BDAT 0     ")},
     .client_reads = {CHANGE(OK OK OK OK, OK GREYLIST GREYLIST GREYLIST)},
     .of_client = "EHLO MAIL RCPT RCPT BDAT (6) BDAT~ RSET MAIL RCPT BDAT (1) QUIT"},
    {.label = "void: EHLO begins anew",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL VOIDED), S("250 ok\r\n" OK), EHLO, OFFER, C(MAIL GOOD "DATA\r\n"),
               S("250 ok\r\n" OK "354 go\r\n"), C(".\r\n"), S("250 queued\r\n"), GOODBY},
     .client_reads = {CHANGE(OK, GREYLIST)}},

    /* Other commands. */
    {.label = "a sender refused inside a group",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C("MAIL FROM:<bad@example.net> SIZE=9\r\n" GOOD "DATA\r\n"),
               S("250 2.0.0 Reset, and the like\r\n503 5.5.1 MAIL first\r\n503 5.5.1 RCPT first\r\n"), GOODBY},
     .server_reads = {CHANGE("MAIL FROM:<bad@example.net> SIZE=9", "RSET                              ")},
     .client_reads = {CHANGE("250 2.0.0 Reset, and the like", "550 5.7.1 Not from you")}},
    {.label = "case 53: STARTTLS refused by a rule, clear text goes on",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C("STARTTLS\r\n"), S("250 2.0.0 Nothing\r\n"), C(MAIL), S("250 ok\r\n"), GOODBY},
     .server_reads = {CHANGE("STARTTLS", "NOOP    ")},
     .client_reads = {CHANGE("250 2.0.0 Nothing", "454 4.7.0 Not now")},
     .of_server = "connect=220 EHLO=250 NOOP=250~ MAIL=250 QUIT=221"},
    {.label = "closed: the server reads QUIT, the client 421, and nothing behind it is a command",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C("VRFY postmaster\r\n" MAIL), S("221 2.0.0 Bye, and come again\r\n")},
     .server_reads = {CHANGE("VRFY postmaster", "QUIT           "), CHANGE(MAIL, "QUIT                     \r\n")},
     .client_reads = {CHANGE("221 2.0.0 Bye, and come again", "421 4.7.0 Closing connection")}},
    {.label =
         "case 21: LMTP, the last chunk of a void transaction: a refusal for each who was accepted, and one for none",
     .policy = &policy,
     .turns = {S("220 LMTP\r\n"), C("LHLO x\r\n"), OFFER, C(MAIL GOOD VOIDED GOOD "BDAT 2\r\n..BDAT 2 LAST\r\n.."),
               S("250 ok\r\n" OK OK "550 5.1.1 Nobody\r\n" OK OK), C("RSET\r\n"), S("250 reset\r\n"),
               C(MAIL GOOD GOOD VOIDED "BDAT 2 LAST\r\n.."), S("250 ok\r\n" OK OK OK OK), C("RSET\r\n"),
               S("250 reset\r\n"), C(MAIL VOIDED "BDAT 2 LAST\r\n.."), S("250 ok\r\n" OK OK), GOODBY},
     .server_reads = {CHANGE("BDAT 2 LAST", "BDAT 2     "), CHANGE("BDAT 2 LAST", "BDAT 2     "),
                      CHANGE("BDAT 2 LAST", "BDAT 2     ")},
     .client_reads = {CHANGE(OK "550 5.1.1 Nobody\r\n" OK OK, GREYLIST "550 5.1.1 Nobody\r\n" GREYLIST GREYLIST),
                      CHANGE(OK OK "250 reset", GREYLIST GREYLIST GREYLIST "250 reset"),
                      CHANGE(OK OK "221", GREYLIST GREYLIST "221")}},
    {.label = "case 20: 421 in place of an answer to what was refused",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL VOIDED), S("250 ok\r\n421 4.3.2 Shutting down\r\n")}},
    {.label = "case 36: a message behind a DATA that is refused never becomes commands",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C(MAIL VOIDED "DATA\r\nEXPN staff\r\n.EXPN\r\n"),
               S("250 ok\r\n" OK "250 2.0.0 Reset, and the like\r\n221 bye, and come again, please\r\n")},
     .server_reads = {CHANGE("DATA\r\nEXPN staff\r\n.EXPN", "RSET\r\nQUIT      \r\nQUIT ")},
     .client_reads = {CHANGE(OK, GREYLIST), CHANGE("250 2.0.0 Reset, and the like", "450 4.2.0 Greylisted"),
                      CHANGE("221 bye, and come again, please", "421 4.7.0 Closing connection")},
     .live_only = true},

    /* Verdicts. */
    {.label = "case 36: a command hidden behind a DATA that will be refused",
     .turns = {GREET, EHLO, OFFER, C("DATA\r\nX\r\nX-LINK2STATEX \r\n EXCH50 X-LINK2STATE\r\n")},
     .of_client = "EHLO DATA"},
    {.label = "case 50: XEXCH50 with a size that breaks servers (MS03-046)",
     .policy = &lenient,
     .turns = {GREET, EHLO, OFFER, C("XEXCH50 -1 2\r\n"), S("250 2.0.0 Nothing done, so to say\r\n"),
               C("XEXCH50 1073741825 2\r\n"), S("250 ok\r\n"), C("XEXCH50 5 2\r\n"), S("354 go\r\n"), C("QUIT\n"),
               S("250 ok\r\n"), GOODBY},
     .server_reads = {CHANGE("XEXCH50 -1 2", "NOOP        "), CHANGE("XEXCH50 1073741825 2", "NOOP                ")},
     .client_reads = {CHANGE("250 2.0.0 Nothing done, so to say", "504 Need to authenticate first"),
                      CHANGE("250 ok", "504")},
     .live_only = true},
    {.label = "case 29: a client that does not wait for the greeting",
     .turns = {EHLO, S("220 hi\r\n250 ok\r\n"), GOODBY},
     .of_client = "!early-talker EHLO QUIT"},

    /* Parts of the protocol that change what follows. */
    {.label = "case 21: PRDR: 353, a reply for each recipient, one for all",
     .turns = {GREET, EHLO, OFFER, C("MAIL FROM:<> PRDR\r\n" GOOD GOOD "DATA\r\n"), S("250 ok\r\n" OK OK "354 go\r\n"),
               C(".\r\n"), S("353 PRDR content analysis beginning\r\n250 first\r\n450 second\r\n250 all\r\n"),
               C("XEXCH50 1 2\r\n"), S("250 OK, nothing has been done!\r\n"), GOODBY},
     .server_reads = {CHANGE("XEXCH50 1 2", "NOOP       ")},
     .client_reads = {CHANGE("250 OK, nothing has been done!", "504 Need to authenticate first")}},
    {.label = "case 55: XCLIENT begins anew",
     .policy = &policy,
     .turns = {GREET, EHLO, OFFER, C("XCLIENT ADDR=10.0.0.1\r\n"), S("220 mail.example.com ESMTP\r\n"), EHLO, OFFER,
               C(MAIL), S("250 ok\r\n"), GOODBY}},

    /* MS05-021: more than 520 octets in a chunk of link state that no FIRST began. */
    {.label = "case 51: X-LINK2STATE: 520 octets pass",
     .policy = &lenient,
     .turns = {GREET, EHLO, OFFER, C("X-LINK2STATE LAST CHUNK=" A500 A20 "\r\n"), S("200 ok\r\n"), GOODBY}},
    {.label = "case 51: X-LINK2STATE: 521 octets do not, whatever length they say",
     .policy = &lenient,
     .turns = {GREET, EHLO, OFFER, C("X-LINK2STATE LAST CHUNK={00000008}" A500 "AAAAAAAAAAA\r\n"), S("250 ok\r\n"),
               GOODBY},
     .server_reads = {CHANGE("X-LINK2STATE LAST CHUNK={00000008}" A500 "AAAAAAAAAAA",
                             "NOOP                              " B500 "           ")},
     .client_reads = {CHANGE("250 ok", "500")},
     .of_client = "EHLO !link2state-overflow X-LINK2STATE~ QUIT"},
    {.label = "case 51: X-LINK2STATE: a chunk that FIRST began passes, one with another command in between does not",
     .policy = &lenient,
     .turns = {GREET, EHLO, OFFER, C("X-LINK2STATE FIRST CHUNK=A\r\n"), S("200 ok\r\n"),
               C("x-link2state NEXT CHUNK=" A500 A100 "\r\n"), S("200 ok\r\n"), C("NOOP\r\n"), S("250 ok\r\n"),
               C("X-LINK2STATE NEXT CHUNK=" A500 A20 "A\r\n"), S("250 ok\r\n"), GOODBY},
     .server_reads = {CHANGE("X-LINK2STATE NEXT CHUNK=" A500 A20 "A\r\nQUIT",
                             "NOOP                    " B500 "                     \r\nQUIT")},
     .client_reads = {CHANGE("250 ok\r\n250 ok", "250 ok\r\n500")}},
    {.label = "case 51: X-LINK2STATE: a FIRST that the server refused begins nothing",
     .policy = &lenient,
     .turns = {GREET, EHLO, OFFER, C("X-LINK2STATE FIRST CHUNK=A\r\n"), S("500 no\r\n"),
               C("X-LINK2STATE NEXT CHUNK=" A500 A20 "A\r\n"), S("250 ok\r\n"), GOODBY},
     .server_reads = {CHANGE("X-LINK2STATE NEXT CHUNK=" A500 A20 "A",
                             "NOOP                    " B500 "                     ")},
     .client_reads = {CHANGE("250 ok", "500")}},
};

/* ---- resets ------------------------------------------------------------------------------- */

static struct drive *begin(const struct policy *of, const char *name)
{
    struct drive_plan plan = {.name = name, .policy = of, .seed = 7, .no_acknowledgments = true};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 hi\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    return drive;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

/* It left as a header with these flags, where the octets of its sender that have left end. */
static void assert_header(const struct drive *drive, uint64_t number, enum smtp_side side, uint8_t flags, uint32_t at)
{
    const struct packet *left = drive_left(drive, number);
    assert_non_null(left);
    assert_int_equal(left->flags, flags);
    assert_int_equal(left->payload_len, 0);
    assert_int_equal(left->seq, drive_isn(drive, side) + 1 + at);
}

static void test_reset_by_a_rule(void **state)
{
    (void)state;
    struct drive *drive = begin(&policy, "reset by a rule");
    static const char command[] = "RCPT TO:<reset@example.com>\r\n";
    /* The first line has left, but its receiver says nothing yet. */
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP\r\n");
    uint64_t first = drive_send_text(drive, SMTP_CLIENT, 6, command);
    assert_header(drive, first, SMTP_CLIENT, PACKET_RST | PACKET_ACK, 6);
    /* The reset may be lost, or challenged; the server may have closed, and answers what comes then. */
    uint64_t second = drive_send_text(drive, SMTP_CLIENT, 6, command);
    assert_header(drive, second, SMTP_CLIENT, PACKET_ACK, 6);
    drive_acknowledge(drive, SMTP_SERVER);
    uint64_t third = drive_send_text(drive, SMTP_CLIENT, 6, command);
    assert_header(drive, third, SMTP_CLIENT, PACKET_RST | PACKET_ACK, 6);
    uint64_t reply = drive_send_text(drive, SMTP_SERVER, 8, "250 ok\r\n");
    assert_header(drive, reply, SMTP_SERVER, PACKET_ACK, 8);
    struct segment reset = drive_segment(drive, SMTP_SERVER, 8, (struct span){0});
    reset.flags = PACKET_RST;
    assert_non_null(drive_left(drive, drive_send(drive, SMTP_SERVER, &reset)));
    assert_int_equal(drive_counters(drive)->connections_reset, 1);
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, 6);
    end(drive);
}

static void test_reset_drops_what_waits(void **state)
{
    (void)state;
    struct drive *drive = begin(&policy, "reset drops what waits");
    static const char command[] = "RCPT TO:<reset@example.com>\r\n";
    uint64_t early = drive_send_text(drive, SMTP_CLIENT, sizeof command - 1, "DATA\r\n");
    assert_int_equal(drive_fate(drive, early), DRIVE_WAITS);
    uint64_t number = drive_send_text(drive, SMTP_CLIENT, 0, command);
    assert_header(drive, number, SMTP_CLIENT, PACKET_RST | PACKET_ACK, 0);
    assert_int_equal(drive_fate(drive, early), DRIVE_DROPPED);
    end(drive);
}

static bool told(const struct drive *drive, const char *anomaly, bool from_server)
{
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        if (event->kind == EVENT_ANOMALY && strcmp(event->reason, anomaly) == 0 && event->from_server == from_server)
            return true;
    }
    return false;
}

/* In one segment the command itself becomes QUIT; later it is too late for that. */
static void test_case_52_client_octets_behind_starttls(void **state)
{
    (void)state;
    struct drive *drive = begin(&lenient, "case 52, one segment");
    uint64_t number = drive_send_text(drive, SMTP_CLIENT, 0, "STARTTLS\r\nRSET\r\n");
    const struct packet *left = drive_left(drive, number);
    assert_memory_equal(packet_payload(left).ptr, "QUIT    \r\nQUIT\r\n", left->payload_len);
    assert_true(told(drive, "octets-before-tls", false));
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 8, "221 2.0.0 Bye\r\n");
    assert_memory_equal(drive_read(drive, SMTP_CLIENT).ptr + 8, "421 4.7.0\r\n", 11);
    end(drive);

    drive = begin(&lenient, "case 52, two segments");
    drive_send_text(drive, SMTP_CLIENT, 0, "STARTTLS\r\n");
    number = drive_send_text(drive, SMTP_CLIENT, 10, "RSET\r\n");
    assert_header(drive, number, SMTP_CLIENT, PACKET_RST | PACKET_ACK, 10);
    assert_true(told(drive, "octets-before-tls", false));
    end(drive);
}

static void test_case_52_server_octets_before_the_handshake(void **state)
{
    (void)state;
    static const char go[] = "220 go\r\n";
    struct drive *drive = begin(&lenient, "case 52, server, one segment");
    drive_send_text(drive, SMTP_CLIENT, 0, "STARTTLS\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    uint64_t number = drive_send_text(drive, SMTP_SERVER, 8, "220 go\r\n250 injected\r\n");
    assert_header(drive, number, SMTP_SERVER, PACKET_RST | PACKET_ACK, 8);
    assert_true(told(drive, "octets-before-tls", true));
    end(drive);

    drive = begin(&lenient, "case 52, server, two segments");
    drive_send_text(drive, SMTP_CLIENT, 0, "STARTTLS\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 8, go);
    number = drive_send_text(drive, SMTP_SERVER, 8 + sizeof go - 1, "250 injected\r\n");
    assert_header(drive, number, SMTP_SERVER, PACKET_RST | PACKET_ACK, 8 + sizeof go - 1);
    end(drive);

    drive = begin(&lenient, "case 52, the handshake goes on");
    drive_send_text(drive, SMTP_CLIENT, 0, "STARTTLS\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 8, go);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 10, "\x16\x03\x01hello");
    number = drive_send_text(drive, SMTP_SERVER, 8 + sizeof go - 1, "\x16\x03\x01hello");
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    assert_false(told(drive, "octets-before-tls", true) || told(drive, "octets-before-tls", false));
    end(drive);
}

/* In pieces so slow that its beginning has to leave: the rest cannot be covered, and the connection ends. */
static void test_case_51_slow(void **state)
{
    (void)state;
    static const char part[] = "X-LINK2STATE LAST CHUNK=" A500;
    struct drive *drive = begin(&lenient, "case 51, slow");
    drive_send_text(drive, SMTP_CLIENT, 0, part);
    drive_wait(drive, 200000);
    drive_acknowledge(drive, SMTP_SERVER);
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, sizeof part - 1);
    uint64_t number = drive_send_text(drive, SMTP_CLIENT, sizeof part - 1, A20 "A");
    drive_wait(drive, 200000);
    assert_int_equal(drive_fate(drive, number), DRIVE_DROPPED);
    number = drive_send_text(drive, SMTP_CLIENT, sizeof part - 1, A20 "A");
    assert_header(drive, number, SMTP_CLIENT, PACKET_RST | PACKET_ACK, sizeof part - 1);
    assert_true(told(drive, "link2state-overflow", false));
    end(drive);
}

/* The server does not answer DATA: what came before the reply is taken for a message, unless it might be a command. */
static void test_case_36_command_before_354(void **state)
{
    (void)state;
    enum { LONGEST_US = 120 * 1000 * 1000 };
    static const char *const lines[] = {"XEXCH50 1 2\r\n", "x\r\n xexch50 1 2\r\n", "a\nX-LINK2STATE\r\n",
                                        "a\r\nb\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        for (uint32_t cut = 1; cut < strlen(lines[i]); cut++) {
            struct drive *drive = begin(NULL, "case 36");
            drive_send_text(drive, SMTP_CLIENT, 0, "DATA\r\n");
            struct segment part = drive_segment(drive, SMTP_CLIENT, 6, span_head(span_of(lines[i]), cut));
            assert_int_equal(drive_fate(drive, drive_send(drive, SMTP_CLIENT, &part)), DRIVE_WAITS);
            drive_acknowledge(drive, SMTP_SERVER);
            drive_wait(drive, LONGEST_US - 1000);
            drive_send_text(drive, SMTP_CLIENT, 6, lines[i]);
            assert_int_equal(drive_read(drive, SMTP_SERVER).len, 6);
            drive_wait(drive, 2000);
            drive_send_text(drive, SMTP_CLIENT, 6, lines[i]);
            bool command = i < 3;
            assert_int_equal(drive_counters(drive)->connections_reset, command);
            assert_int_equal(told(drive, "command-before-354", false), command);
            assert_int_equal(drive_read(drive, SMTP_SERVER).len == 6, command);
            end(drive);
        }
}

/* A message sent together with DATA, under a rule that looks at the verb that one of its lines begins with. */
#define MESSAGE "Mail is what this is about.\r\n.\r\n"

static void test_a_message_waits_for_354(void **state)
{
    (void)state;
    for (int accepts = 0; accepts < 2; accepts++) {
        struct drive *drive = begin(&policy, accepts ? "message, 354" : "message, 503");
        static const char both[] = "DATA\r\n" MESSAGE;
        /* DATA leaves at once, alone; its server answers. */
        uint64_t number = drive_send_text(drive, SMTP_CLIENT, 0, both);
        assert_int_equal(drive_fate(drive, number), DRIVE_EDITED);
        assert_int_equal(drive_left(drive, number)->payload_len, 6);
        /* That may be lost, and comes again. */
        number = drive_send_text(drive, SMTP_CLIENT, 0, both);
        assert_int_equal(drive_left(drive, number)->payload_len, 6);
        drive_acknowledge(drive, SMTP_SERVER);
        number = drive_send_text(drive, SMTP_CLIENT, 6, MESSAGE);
        assert_int_equal(drive_fate(drive, number), DRIVE_WAITS);
        assert_int_equal(drive_fate(drive, drive_send_text(drive, SMTP_CLIENT, 6, MESSAGE)), DRIVE_DROPPED);
        /* The client's acknowledgments do not wait. */
        assert_int_equal(drive_fate(drive, drive_acknowledge(drive, SMTP_CLIENT)), DRIVE_PASSED);
        const char *reply = accepts ? "354 go\r\n" : "503 no\r\n";
        drive_send_text(drive, SMTP_SERVER, 8, reply);
        assert_int_equal(drive_fate(drive, number), accepts ? DRIVE_PASSED : DRIVE_EDITED); /* as a MAIL, unreadable */
        assert_int_equal(drive_read(drive, SMTP_SERVER).len, sizeof both - 1);
        assert_int_equal(drive_counters(drive)->connections_reset, 0);
        char *told = dialogue_told(drive, SMTP_CLIENT);
        assert_string_equal(told, accepts ? "DATA (32)" : "DATA !unreadable-address MAIL~ unknown");
        free(told);
        end(drive);
    }
}

/* What waits is little, whatever a client sends; the rest is dropped, and comes again. */
static void test_little_waits_for_354(void **state)
{
    (void)state;
    enum { WAITS_MAX = 4096, PART = 1000 };
    static char part[PART + 1];
    memset(part, 'x', PART);
    struct drive *drive = begin(&policy, "much behind DATA");
    drive_send_text(drive, SMTP_CLIENT, 0, "DATA\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    uint32_t waits = 0;
    for (uint32_t at = 6; at < 6 + 10 * PART; at += PART) {
        uint64_t number = drive_send_text(drive, SMTP_CLIENT, at, part);
        waits += drive_fate(drive, number) == DRIVE_WAITS ? PART : 0;
        assert_int_equal(drive_fate(drive, number), waits == at - 6 + PART ? DRIVE_WAITS : DRIVE_DROPPED);
    }
    assert_int_equal(waits, WAITS_MAX / PART * PART);
    assert_int_equal(drive_counters(drive)->out_of_bounds, 10 - WAITS_MAX / PART);
    drive_send_text(drive, SMTP_SERVER, 8, "354 go\r\n");
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, 6 + waits);
    for (uint32_t at = 6 + waits; at < 6 + 10 * PART; at += PART)
        assert_int_equal(drive_fate(drive, drive_send_text(drive, SMTP_CLIENT, at, part)), DRIVE_PASSED);
    end(drive);
}

/* Ends of the connection while a message waits. */
static void test_ends_before_354(void **state)
{
    (void)state;
    struct drive *drive = begin(&policy, "the client closes behind DATA");
    drive_send_text(drive, SMTP_CLIENT, 0, "DATA\r\n");
    struct segment fin = drive_segment(drive, SMTP_CLIENT, 6, (struct span){0});
    fin.flags |= PACKET_FIN;
    assert_int_equal(drive_fate(drive, drive_send(drive, SMTP_CLIENT, &fin)), DRIVE_PASSED);
    assert_true(drive_read_fin(drive, SMTP_SERVER));
    end(drive);

    drive = begin(&policy, "the client closes behind a message");
    static const char both[] = "DATA\r\n" MESSAGE;
    fin = drive_segment(drive, SMTP_CLIENT, 0, span_of(both));
    fin.flags |= PACKET_FIN;
    uint64_t number = drive_send(drive, SMTP_CLIENT, &fin);
    assert_int_equal(drive_left(drive, number)->payload_len, 6);
    assert_false(drive_read_fin(drive, SMTP_SERVER));
    fin = drive_segment(drive, SMTP_CLIENT, 6, span_of(MESSAGE));
    fin.flags |= PACKET_FIN;
    number = drive_send(drive, SMTP_CLIENT, &fin);
    assert_int_equal(drive_fate(drive, number), DRIVE_WAITS);
    drive_send_text(drive, SMTP_SERVER, 8, "354 go\r\n");
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    assert_true(drive_read_fin(drive, SMTP_SERVER));
    end(drive);

    /* A server that closes will not reply. */
    drive = begin(&policy, "the server closes");
    drive_send_text(drive, SMTP_CLIENT, 0, "DATA\r\n");
    number = drive_send_text(drive, SMTP_CLIENT, 6, "text\r\n");
    assert_int_equal(drive_fate(drive, number), DRIVE_WAITS);
    fin = drive_segment(drive, SMTP_SERVER, 8, (struct span){0});
    fin.flags |= PACKET_FIN;
    drive_send(drive, SMTP_SERVER, &fin);
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    end(drive);
}

/* What was let pass behind a RSET in a void transaction rests on that RSET. */
static void test_void_and_rset_refused(void **state)
{
    (void)state;
    struct drive *drive = begin(&policy, "RSET refused");
    drive_send_text(drive, SMTP_CLIENT, 0, VOIDED);
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 8, OK);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, sizeof VOIDED - 1, "RSET\r\n" MAIL);
    drive_acknowledge(drive, SMTP_SERVER);
    uint64_t number = drive_send_text(drive, SMTP_SERVER, 8 + sizeof OK - 1, "502 never\r\n");
    const struct packet *left = drive_left(drive, number);
    assert_non_null(left);
    assert_int_equal(left->flags, PACKET_RST | PACKET_ACK);
    end(drive);
}

/*
 * A limit of recipients, of a client that sends one command at a time: the server keeps the transaction, and sees too
 * much of nothing. In a group that the server did not offer there is no NOOP.
 */
static void test_case_86_many_refused(void **state)
{
    (void)state;
    enum { REFUSED = 120 };
    struct drive *drive = drive_new(&(struct drive_plan){.policy = &anyone});
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 mail.example.com ESMTP\r\n");
    drive_say_text(drive, SMTP_CLIENT, "EHLO client.example.net\r\n");
    drive_say_text(drive, SMTP_SERVER, "250-mail.example.com\r\n250 HELP\r\n");
    drive_say_text(drive, SMTP_CLIENT, MAIL);
    drive_say_text(drive, SMTP_SERVER, "250 ok\r\n");
    unsigned noops = 0, errors = 0;
    for (unsigned i = 0; i < REFUSED; i++) {
        size_t before = drive_read(drive, SMTP_SERVER).len, told = drive_read(drive, SMTP_CLIENT).len;
        drive_say_text(drive, SMTP_CLIENT, SPOILED);
        struct span line = span_tail(drive_read(drive, SMTP_SERVER), before);
        assert_int_equal(line.len, sizeof SPOILED - 1);
        bool noop = memcmp(line.ptr, "NOOP ", 5) == 0;
        noops += noop;
        errors += !noop;
        if (noops + errors <= 25) {
            /* Exim hangs up at the eleventh NOOP, Postfix behind the twentieth error. */
            assert_true(noops <= 10);
            assert_true(noop || memcmp(line.ptr, "RCPT TO:<(", 10) == 0);
        }
        assert_true(errors < 20);
        drive_say_text(drive, SMTP_SERVER, noop ? "250 2.0.0 Nothing done\r\n" : BAD);
        struct span reply = span_tail(drive_read(drive, SMTP_CLIENT), told);
        assert_int_equal(reply.len, sizeof GREYLIST - 1);
        assert_memory_equal(reply.ptr, GREYLIST, reply.len);
    }
    size_t before = drive_read(drive, SMTP_SERVER).len;
    drive_say_text(drive, SMTP_CLIENT, SPOILED SPOILED);
    assert_null(memmem(drive_read(drive, SMTP_SERVER).ptr + before, 4, "NOOP", 4));
    end(drive);
}

/* The address has left before its line was whole: what the server then begins cannot be completed. */
static void test_sender_refused_late(void **state)
{
    (void)state;
    struct drive *drive = begin(&policy, "a sender refused late");
    static const char part[] = "MAIL FROM:<bad@example.net>";
    drive_send_text(drive, SMTP_CLIENT, 0, part);
    drive_wait(drive, 200000);
    drive_acknowledge(drive, SMTP_SERVER);
    uint32_t at = sizeof part - 1;
    drive_send_text(drive, SMTP_CLIENT, at, "\r\n" GOOD "DATA\r\n");
    at += sizeof "\r\n" GOOD "DATA\r\n" - 1;
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 8, OK OK OK);
    assert_memory_equal(drive_read(drive, SMTP_SERVER).ptr + at - 6, "RSET\r\n", 6);
    static const char replies[] = "550 5.7.1 Not from you\r\n550 5.7.1 Not from you\r\n550 5.7.1 Not from you\r\n";
    assert_memory_equal(drive_read(drive, SMTP_CLIENT).ptr + 8, replies, sizeof replies - 1);
    end(drive);
}

/* Our code has left in the place of a reply that then turns out to be longer than a line may be: ours goes on. */
static void test_long_reply_replaced_late(void **state)
{
    (void)state;
    struct drive *drive = begin(NULL, "a long reply replaced late");
    drive_send_text(drive, SMTP_CLIENT, 0, "XEXCH50 1 2\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    drive_send_text(drive, SMTP_SERVER, 8, "250 A");
    drive_wait(drive, 200000);
    drive_acknowledge(drive, SMTP_CLIENT);
    static const char *const rest[] = {A500 A500, A500 A500, A500, "\r\n"};
    uint32_t at = 8 + sizeof "250 A" - 1;
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        drive_send_text(drive, SMTP_SERVER, at, rest[i]);
        drive_wait(drive, 200000);
        drive_acknowledge(drive, SMTP_CLIENT);
        at += (uint32_t)strlen(rest[i]);
    }
    static const char reply[] = "220 hi\r\n504 Need to authenticate first\r\n";
    assert_int_equal(drive_read(drive, SMTP_CLIENT).len, sizeof reply - 1);
    assert_memory_equal(drive_read(drive, SMTP_CLIENT).ptr, reply, sizeof reply - 1);
    end(drive);
}

/* What follows of a line that was covered is covered, whatever it is. */
static void test_case_5_nul_behind_a_verb_that_was_covered(void **state)
{
    (void)state;
    struct drive *drive = begin(NULL, "case 5, slow");
    drive_send_text(drive, SMTP_CLIENT, 0, "XEXCH50 1 ");
    drive_wait(drive, 200000);
    drive_acknowledge(drive, SMTP_SERVER);
    struct span rest = TEXT("\0 2\r\n");
    struct segment segment = drive_segment(drive, SMTP_CLIENT, 10, rest);
    drive_send(drive, SMTP_CLIENT, &segment);
    drive_acknowledge(drive, SMTP_SERVER);
    static const char command[] = "NOOP         \r\n";
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, sizeof command - 1);
    assert_memory_equal(drive_read(drive, SMTP_SERVER).ptr, command, sizeof command - 1);
    drive_send_text(drive, SMTP_SERVER, 8, "250 2.0.0 Nothing done\r\n");
    assert_memory_equal(drive_read(drive, SMTP_CLIENT).ptr + 8, "504", 3);
    end(drive);
}

/* In pieces that end at `cuts`, each later than what came before it may wait. */
static void say_slowly(struct drive *drive, const char *reply, const size_t cuts[2])
{
    size_t at = 0;
    for (int i = 0; i < 3; i++) {
        size_t to = i < 2 ? cuts[i] : strlen(reply);
        if (to > at)
            drive_say(drive, SMTP_SERVER, span_head(span_tail(span_of(reply), at), to - at));
        drive_wait(drive, 100000);
        at = to > at ? to : at;
    }
}

/* A reply that comes in pieces, in place of the one to a recipient that is refused or to DATA in a void transaction. */
static void check_in_pieces(const char *reply, const char *shown, bool to_data, const size_t cuts[2])
{
    struct drive_plan plan = {.name = reply, .policy = &policy, .seed = cuts[0] * 8 + cuts[1]};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 hi\r\n");
    drive_say_text(drive, SMTP_CLIENT, to_data ? MAIL VOIDED : MAIL);
    drive_say_text(drive, SMTP_SERVER, to_data ? "250 ok\r\n" OK : "250 ok\r\n");
    drive_say_text(drive, SMTP_CLIENT, to_data ? "DATA\r\n" : SPOILED);
    size_t from = drive_read(drive, SMTP_CLIENT).len;
    say_slowly(drive, reply, cuts);
    struct span read = span_tail(drive_read(drive, SMTP_CLIENT), from);
    if (!span_equal(span_head(read, strlen(shown)), span_of(shown)) || read.ptr[read.len - 1] != '\n') {
        dialogue_print_span("the client reads", read);
        fail_msg("%s cut at %zu and %zu", reply, cuts[0], cuts[1]);
    }
    const struct event *told_last = NULL;
    for (size_t i = 0; i < drive_event_count(drive); i++)
        if (drive_event(drive, i)->event.kind == EVENT_REPLY)
            told_last = &drive_event(drive, i)->event;
    assert_non_null(told_last);
    bool as_it_came = span_equal(read, span_of(reply));
    assert_int_equal(told_last->change, as_it_came ? EVENT_KEPT : EVENT_REPLACED);
    assert_true(as_it_came || span_equal(told_last->shown, smtp_line_text(read)) || span_equal(told_last->shown, read));
    end(drive);
}

static void test_case_20_goodbye_in_pieces(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *shown;
    } rows[] = {
        {"421 4.3.2 Shutting down\r\n", "421 4.3.2 Shutting down\r\n"},
        {"421-4.3.2 Shutting\r\n421 down\r\n", "421-4.3.2 Shutting\r\n421 down\r\n"},
        {"521 5.7.0 Go away\r\n", "521 5.7.0 Go away\r\n"},
        {"421\r\n", "421\r\n"},
        {"420 4.3.2 Busy\r\n", "45"},
        {"501-5.1.3 Bad\r\n501 syntax\r\n", "45"},
        {"553 5.1.3\r\n", "45"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t first = 0; first < strlen(rows[i].reply); first++)
            for (size_t second = first; second < strlen(rows[i].reply); second++)
                for (int to_data = 0; to_data < 2; to_data++)
                    check_in_pieces(rows[i].reply, rows[i].shown, to_data, (const size_t[2]){first, second});
}

/* LMTP: there is no room for a refusal of each recipient. Too few would make the client wait for ever. */
static void test_case_21_no_room_for_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *read; /* NULL: the connection is reset */
    } rows[] = {
        {"250 ok then\r\n", "450\n450\n450\n"},
        {"250 good\r\n", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drive_plan plan = {.name = "case 21", .policy = &policy, .seed = 1};
        struct drive *drive = drive_new(&plan);
        drive_handshake(drive);
        drive_say_text(drive, SMTP_SERVER, "220 hi\r\n");
        drive_say_text(drive, SMTP_CLIENT, "LHLO x\r\n");
        drive_say_text(drive, SMTP_SERVER, "250-hi\r\n250 CHUNKING\r\n");
        drive_say_text(drive, SMTP_CLIENT, MAIL GOOD GOOD GOOD VOIDED);
        drive_say_text(drive, SMTP_SERVER, "250 ok\r\n250 1\r\n250 2\r\n250 3\r\n250\r\n");
        drive_say_text(drive, SMTP_CLIENT, "BDAT 2 LAST\r\n..");
        size_t from = drive_read(drive, SMTP_CLIENT).len;
        drive_send_text(drive, SMTP_SERVER, (uint32_t)drive_said(drive, SMTP_SERVER).len, rows[i].reply);
        struct span read = span_tail(drive_read(drive, SMTP_CLIENT), from);
        assert_true(span_equal(read, span_of(rows[i].read ? rows[i].read : "")));
        assert_int_equal(drive_counters(drive)->connections_reset, rows[i].read == NULL);
        end(drive);
    }
}

int main(void)
{
    static const struct CMUnitTest more[] = {
        cmocka_unit_test(test_reset_by_a_rule),
        cmocka_unit_test(test_reset_drops_what_waits),
        cmocka_unit_test(test_case_52_client_octets_behind_starttls),
        cmocka_unit_test(test_case_52_server_octets_before_the_handshake),
        cmocka_unit_test(test_case_51_slow),
        cmocka_unit_test(test_case_36_command_before_354),
        cmocka_unit_test(test_a_message_waits_for_354),
        cmocka_unit_test(test_little_waits_for_354),
        cmocka_unit_test(test_ends_before_354),
        cmocka_unit_test(test_void_and_rset_refused),
        cmocka_unit_test(test_case_86_many_refused),
        cmocka_unit_test(test_sender_refused_late),
        cmocka_unit_test(test_long_reply_replaced_late),
        cmocka_unit_test(test_case_5_nul_behind_a_verb_that_was_covered),
        cmocka_unit_test(test_case_20_goodbye_in_pieces),
        cmocka_unit_test(test_case_21_no_room_for_refusals),
    };
    fill_policies();
    return dialogue_run("refuse", dialogues, sizeof dialogues / sizeof dialogues[0], more,
                        sizeof more / sizeof more[0]);
}
