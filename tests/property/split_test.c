/*
 * Split invariance: however a dialogue is cut into segments, the filter understands and edits it alike.
 *
 * Each dialogue goes through whole, octet by octet, line by line and at seeded random cuts, with live and with recorded
 * peers; what each side reads and what is told of each direction must be the same every time. Case numbers are those of
 * docs/cases.md.
 */
#include "../lib/dialogue.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/capture.h"

enum { RANDOM_CUTS = 200, CAPTURE_CUTS = 40, CAPTURES_MAX = 64 };

#define GREET        S("220 mail.example.com Microsoft ESMTP MAIL Service ready\r\n")
#define EHLO         C("EHLO client.example.net\r\n")
#define OFFER_CHUNKS S("250-mail.example.com\r\n250-CHUNKING\r\n250 OK\r\n")
#define OFFER        S("250-mail.example.com Hello [10.1.0.1]\r\n250-SIZE 1000\r\n250-PIPELINING\r\n250 OK\r\n")
#define GOODBY       C("QUIT\r\n"), S("221 2.0.0 closing\r\n")

static struct policy lost_passes; /* where the pairing is lost: on-lost-pairing = pass; an ambiguous end, too */

static const struct dialogue dialogues[] = {
    {
        "Exchange, XEXCH50 in the middle",
        {GREET, EHLO,
         S("250-mail.example.com Hello [10.1.0.1]\r\n250-TURN\r\n250-SIZE\r\n250-ETRN\r\n250-PIPELINING\r\n250-DSN\r\n"
           "250-ENHANCEDSTATUSCODES\r\n250-8bitmime\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250-VRFY\r\n250-TLS\r\n"
           "250-STARTTLS\r\n250-X-EXPS GSSAPI NTLM LOGIN\r\n250-X-EXPS=LOGIN\r\n250-AUTH GSSAPI NTLM LOGIN\r\n"
           "250-AUTH=LOGIN\r\n250-X-LINK2STATE\r\n250-XEXCH50\r\n250 OK\r\n"),
         C("MAIL FROM:<a@example.net>\r\n"), S("250 2.1.0 a@example.net....Sender OK\r\n"),
         C("RCPT TO:<b@example.com>\r\n"), S("250 2.1.5 b@example.com\r\n"), C("DATA\r\n"),
         S("354 Start mail input\r\n"), C("Subject: x\r\n\r\n250-XEXCH50\r\nXEXCH50 1 2\r\n..\r\nend\r\n.\r\n"),
         S("250 2.6.0 Queued\r\n"), GOODBY},
        .client_reads = {CHANGE("250-X-LINK2STATE\r\n250-XEXCH50\r\n", "")},
    },
    {.label = "case 24: XEXCH50 on the last line",
     .turns = {GREET, EHLO, S("250-mail.example.com\r\n250-SIZE\r\n250 XEXCH50\r\n"), GOODBY},
     .client_reads = {CHANGE("250-SIZE\r\n250 XEXCH50\r\n", "250 SIZE\r\n")},
     .or_reads = {CHANGE("250 XEXCH50\r\n", "250 OK\r\n")}},
    {.label = "case 24: both last lines go",
     .turns = {GREET, EHLO, S("250-mail.example.com\r\n250-AUTH=LOGIN\r\n250-X-LINK2STATE\r\n250 XEXCH50\r\n"), GOODBY},
     .client_reads = {CHANGE("250-AUTH=LOGIN\r\n250-X-LINK2STATE\r\n250 XEXCH50\r\n", "250 AUTH=LOGIN\r\n")},
     .or_reads = {CHANGE("250-X-LINK2STATE\r\n250 XEXCH50\r\n", "250 OK\r\n")}},
    {.label = "case 24: nothing but the host name is left",
     .turns = {GREET, EHLO, S("250-mail.example.com\r\n250 XEXCH50\r\n"), GOODBY},
     .client_reads = {CHANGE("250-mail.example.com\r\n250 XEXCH50\r\n", "250 mail.example.com\r\n")},
     .or_reads = {CHANGE("250 XEXCH50\r\n", "250 OK\r\n")}},
    {.label = "case 26: a host named XEXCH50",
     .turns = {GREET, EHLO, S("250-XEXCH50\r\n250-XEXCH50\r\n250 SIZE\r\n"), C("EHLO again\r\n"), S("250 XEXCH50\r\n"),
               GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\n250-XEXCH50\r\n", "250-XEXCH50\r\n")}},
    {.label = "case 27: case, separators, whole words only",
     .turns = {GREET, EHLO,
               S("250-host\r\n250-xExCh50\r\n250-XEXCH50 "
                 "2\r\n250-XEXCH50=2\r\n250-XEXCH50\t2\r\n250-XEXCH50X\r\n250-XEXCH5\r\n"
                 "250-X XEXCH50\r\n250-XEXCH50-2\r\n250-SIZE=XEXCH50\r\n250 HELP\r\n"),
               GOODBY},
     .client_reads = {CHANGE("250-xExCh50\r\n250-XEXCH50 2\r\n250-XEXCH50=2\r\n250-XEXCH50\t2\r\n", "")}},
    {.label = "case 28: a second EHLO",
     .turns = {GREET, EHLO, S("250-host\r\n250-XEXCH50\r\n250 SIZE\r\n"), C("ehlo again\r\n"),
               S("250-host\r\n250-SIZE\r\n250-XEXCH50\r\n250 DSN\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\n", ""), CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 28: EHLO refused, then HELO",
     .turns = {GREET, EHLO, S("502 5.5.1 XEXCH50\r\n"), C("HELO client\r\n"), S("250-host\r\n250 XEXCH50\r\n"),
               GOODBY}},
    {.label = "case 28: EHLO refused in several lines, then EHLO",
     .turns = {GREET, EHLO, S("550-no\r\n550-XEXCH50\r\n550 XEXCH50\r\n"), EHLO,
               S("250-host\r\n250-XEXCH50\r\n250 OK\r\n"), GOODBY},
     .client_reads = {CHANGE("550-no\r\n550-XEXCH50\r\n550 XEXCH50\r\n", "550 no\r\n"), CHANGE("250-XEXCH50\r\n", "")},
     .or_reads = {CHANGE("550-XEXCH50\r\n550 XEXCH50", "550"), CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 27: a keyword is gone whatever the code of its line, as clients judge by the last line's",
     .turns = {GREET, EHLO, S("250-host\r\n550-XEXCH50\r\n220-X-LINK2STATE\r\n250 HELP\r\n"), GOODBY},
     .client_reads = {CHANGE("550-XEXCH50\r\n220-X-LINK2STATE\r\n", "")}},
    {.label = "case 27: a keyword is gone with blanks before it, and whatever ends it",
     .turns = {GREET, EHLO,
               S("250-host\r\n250- XEXCH50\r\n250-\t XEXCH50\r\n250--XEXCH50 2\r\n250-\0XEXCH50\r\n"
                 "250-XEXCH50\0 2\r\n250-XEXCH50;2\r\n250-XEXCH50\v\r\n250-XEXCH50\r 2\r\n250-XEXCH50_2\r\n"
                 "250-XEXCH50\xa0\r\n250-(XEXCH50)\r\n250 HELP\r\n"),
               GOODBY},
     .client_reads = {CHANGE("250- XEXCH50\r\n250-\t XEXCH50\r\n250--XEXCH50 2\r\n250-\0XEXCH50\r\n"
                             "250-XEXCH50\0 2\r\n250-XEXCH50;2\r\n250-XEXCH50\v\r\n250-XEXCH50\r 2\r\n"
                             "250-XEXCH50_2\r\n250-XEXCH50\xa0\r\n250-(XEXCH50)\r\n",
                             "")}},
    {.label = "case 21: what LHLO offers is what EHLO offers",
     .turns = {GREET, C("LHLO client\r\n"), S("250-host\r\n250-XEXCH50\r\n250 SIZE\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 15, 16: bare and multi-line replies",
     .turns = {S("220-one\r\n220-two\r\n220\r\n"), C("HELO x\r\n"), S("250\r\n"), C("HELP\r\n"),
               S("214-a\r\n214-\r\n214 b\r\n"), GOODBY}},
    {.label = "case 19: greeting of 554", .turns = {S("554 no\r\n"), C("QUIT\r\n"), S("221 bye\r\n")}},
    {.label = "case 20: 421 at any time",
     .turns = {GREET, EHLO, OFFER, C("MAIL FROM:<a@b>\r\n"), S("421 4.3.2 shutting down\r\n")}},
    {.label = "case 20: 421 unasked", .turns = {GREET, EHLO, OFFER, S("421 4.4.2 timeout\r\n")}},
    {.label = "XEXCH50 used all the same, live",
     .turns = {GREET, EHLO, S("250-host\r\n250-XEXCH50\r\n250 OK\r\n"), C("MAIL FROM:<a@b>\r\n"), S("250 ok\r\n"),
               C("XEXCH50 1904 2\r\n"), S("250 2.0.0 OK\r\n"), C("RSET\r\n"), S("250 ok\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\n", ""), CHANGE("250 2.0.0 OK\r\n", "504 Need to authenticate\r\n")},
     .server_reads = {CHANGE("XEXCH50 1904 2\r\n", "NOOP          \r\n")},
     .live_only = true},
    {.label = "XEXCH50 used with nothing saved, live",
     .turns = {GREET, EHLO, OFFER, C("xexch50 1904 2\r\n"), S("250 OK\r\n"), GOODBY},
     .client_reads = {CHANGE("250 OK\r\n", "250 OK\r\n"), CHANGE("250 OK\r\n", "504\r\n")},
     .server_reads = {CHANGE("xexch50 1904 2\r\n", "NOOP          \r\n")},
     .live_only = true},
    {.label = "X-LINK2STATE used, its answer in several lines, live",
     .turns = {GREET, EHLO, OFFER, C("X-LINK2STATE LAST CHUNK={x}\r\n"),
               S("250-fine\r\n250-quite\r\n250 OK, whatever that means\r\n"), GOODBY},
     .client_reads = {CHANGE("250-fine\r\n250-quite\r\n250 OK, whatever that means\r\n",
                             "500 5.5.1 Unrecognized command\r\n")},
     .server_reads = {CHANGE("X-LINK2STATE LAST CHUNK={x}\r\n", "NOOP                       \r\n")},
     .live_only = true},
    {.label = "421 instead of an answer to XEXCH50, live",
     .turns = {GREET, EHLO, OFFER, C("XEXCH50 1 2\r\n"), S("421 closing\r\n")},
     .server_reads = {CHANGE("XEXCH50 1 2\r\n", "NOOP       \r\n")},
     .live_only = true},
    {.label = "verbs that begin alike pass",
     .turns = {GREET, EHLO, OFFER, C("XEXCH5\r\n"), S("500 no\r\n"), C("XEXCH50X 5 5\r\n"), S("500 no\r\n"), C("X\r\n"),
               S("500 no\r\n"), GOODBY},
     .never_slow = true},
    {
        "case 37: MAIL, RCPT, DATA pipelined",
        {GREET, EHLO, S("250-host\r\n250-XEXCH50\r\n250 PIPELINING\r\n"),
         C("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"),
         S("250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"), C("x\r\n.\r\nQUIT\r\n"), S("250 queued\r\n221 bye\r\n")},
        .client_reads = {CHANGE("250-XEXCH50\r\n", "")},
    },
    {.label = "case 35: DATA refused behind a pipelined group",
     .turns = {GREET, EHLO, OFFER, C("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
               S("250 ok\r\n550 no\r\n554 no\r\n"), C("RSET\r\n"), S("250 ok\r\n"), GOODBY}},
    {.label = "case 38: MAIL right behind the final dot",
     .turns = {GREET, EHLO, OFFER, C("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
               S("250 ok\r\n250 ok\r\n354 go\r\n"), C("one\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
               S("250 queued\r\n250 ok\r\n250 ok\r\n354 go\r\n"), C(".\r\n"), S("250 queued\r\n"), GOODBY}},
    {.label = "case 44: a transcript as body, dot-stuffed lines",
     .turns = {GREET, EHLO, OFFER, C("DATA\r\n"), S("354 go\r\n"),
               C("..\r\n..a\r\nQUIT\r\nXEXCH50 5 5\r\n250-XEXCH50\r\n\r\n.\r\n"), S("250 ok\r\n"), GOODBY}},
    {.label = "case 43: an end that is ambiguous",
     .policy = &lost_passes,
     .turns = {GREET, EHLO, OFFER, C("DATA\r\n"), S("354 go\r\n"), C("a\n.\nb\r\n.\r\n"), S("250 ok\r\n"), GOODBY}},
    {.label = "case 46: BDAT, payload and next command together",
     .turns = {GREET, EHLO, OFFER_CHUNKS, C("BDAT 14\r\nQUIT\r\n\0XEXCH50BDAT 0\r\nBDAT 3 LAST\r\n\r\n.RSET\r\n"),
               S("250 ok\r\n250 ok\r\n250 queued\r\n250 ok\r\n"), C("BDAT 0 LAST\r\n"), S("250 queued\r\n"), GOODBY}},
    {.label = "case 47: BDAT that two servers read differently",
     .turns = {GREET, EHLO, OFFER_CHUNKS, C("BDAT 5 X\r\n"), S("221 bye now\r\n")},
     .server_reads = {CHANGE("BDAT 5 X\r\n", "QUIT    \r\n")},
     .client_reads = {CHANGE("221 bye now\r\n", "421 4.7.0\r\n")}},
    {.label = "case 39: a refused command takes its slot",
     .turns = {GREET, EHLO, OFFER, C("FOO\r\n\r\nEHLO x\r\n"),
               S("500 no\r\n500 no\r\n250-host\r\n250-XEXCH50\r\n250 OK\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 54: AUTH, answers that look like commands",
     .turns = {GREET, EHLO, OFFER, C("AUTH LOGIN\r\n"), S("334 VXNlcm5hbWU6\r\n"), C("QUIT\r\n"),
               S("334 UGFzc3dvcmQ6\r\n"), C("XEXCH50 1 2\r\n"), S("535 no\r\n"), C("AUTH PLAIN AGEAYg==\r\n"),
               S("235 yes\r\n"), C("X-EXPS LOGIN\r\n"), S("334 \r\n"), C("*\r\n"), S("501 cancelled\r\n"), GOODBY}},
    {.label = "case 53: STARTTLS refused, then accepted",
     .turns = {GREET, EHLO, S("250-host\r\n250-XEXCH50\r\n250 STARTTLS\r\n"), C("STARTTLS\r\n"), S("454 not now\r\n"),
               C("staRttLs\r\n"), S("220 go\r\n"), C("\x16\x03\x01\0XEXCH50\r\nEHLO x\r\n"),
               S("250-h\r\n250-XEXCH50\r\n250 OK\r\n\x17\0")},
     .client_reads = {CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 2, 3: bare LF ends a line, bare CR does not",
     .turns = {S("220 hi\n"), C("EHLO x\n"), S("250-host\n250-XEXCH50\n250 OK\n"), C("NOOP a\rXEXCH50 1\r\n"),
               S("250 ok\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\n", "")}},
    {.label = "case 3: CR CR LF is one line end",
     .turns = {GREET, C("EHLO x\r\r\n"), S("250-host\r\r\n250-XEXCH50\r\r\n250 OK\r\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\r\n", "")}},
    {.label = "case 5: NUL in a command",
     .turns = {GREET, C("NOOP \0 x\r\n"), S("250 ok\r\n"), C("EHLO x\r\n"), S("250-host\r\n250-XEXCH50\r\n250 OK\r\n"),
               GOODBY},
     .server_reads = {CHANGE("\0 x", "   ")},
     .client_reads = {CHANGE("250 ok", "500"), CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 7: blanks before the verb, TAB behind it",
     .turns = {GREET, C(" \tEHLO\tx\r\n"), S("250-host\r\n250-XEXCH50\r\n250 OK\r\n"), GOODBY},
     .client_reads = {CHANGE("250-XEXCH50\r\n", "")}},
    {.label = "case 12: not SMTP",
     .policy = &lost_passes,
     .turns = {S("HTTP/1.1 400 Bad Request\r\n\r\n"), C("GET / HTTP/1.1\r\n\r\n"),
               S("250-a\r\n250-XEXCH50\r\n250 b\r\n")}},
    {.label = "case 17: a reply line without a code",
     .policy = &lost_passes,
     .turns = {GREET, C("FOO\r\n"), S("500 unrecognized: \"FOO\r\n\"\r\n"), EHLO,
               S("250-h\r\n250-XEXCH50\r\n250 OK\r\n")}},
    {.label = "case 50: XEXCH50 accepted in the record",
     .turns = {GREET, EHLO, OFFER, C("XEXCH50 12 2\r\n"), S("354 Send binary data\r\n"), C("QUIT\r\n\0\r\n.\r\n"),
               S("250 XEXCH50 OK\r\n"), GOODBY},
     .client_reads = {CHANGE("354 Send binary data\r\n", "504 Refused\r\n"), CHANGE("250 XEXCH50 OK\r\n", "")},
     .server_reads = {CHANGE("XEXCH50 12 2\r\n", "NOOP        \r\n"), CHANGE("QUIT\r\n\0\r\n.\r\n", "")},
     .recorded_only = true},
    {.label = "case 50: XEXCH50 refused in the record",
     .turns = {GREET, EHLO, OFFER, C("XEXCH50 12 2\r\n"), S("504 Need to authenticate first\r\n"), GOODBY},
     .server_reads = {CHANGE("XEXCH50 12 2\r\n", "NOOP        \r\n")},
     .recorded_only = true},
    {.label = "case 55: TURN accepted",
     .turns = {GREET, EHLO, OFFER, C("TURN\r\n"), S("250 ok\r\n"), C("220 hi\r\n"), S("EHLO x\r\n"),
               C("250-h\r\n250 SIZE\r\n"), S("XEXCH50 5 2\r\n"), C("250 OK, nothing has been done!\r\n"), S("QUIT\r\n"),
               C("221 bye\r\n")},
     .client_reads = {CHANGE("XEXCH50 5 2\r\n", "NOOP       \r\n")},
     .server_reads = {CHANGE("250 OK, nothing has been done!", "504 Need to authenticate first")}},
};

/* ---- slow senders: the rest of a line comes after the hold has ended (case 25, law 4) ------------ */

/* Whether a reader finds `keyword` at the beginning of a line of an EHLO reply. */
static bool finds_keyword(struct span read, const char *keyword)
{
    char line[64];
    for (int hyphen = 0; hyphen < 2; hyphen++) {
        int len = snprintf(line, sizeof line, "\n250%c%s", hyphen ? '-' : ' ', keyword);
        if (memmem(read.ptr, read.len, line, (size_t)len))
            return true;
    }
    return false;
}

static void slow(enum drive_cut cut, const char *offer, uint64_t seed)
{
    struct drive_plan plan = {.name = offer, .cut = cut, .seed = seed, .step_us = 25000};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, "220 hi\r\n");
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, offer);
    drive_say_text(drive, SMTP_CLIENT, "XEXCH50 1904 2\r\n");
    drive_say_text(drive, SMTP_SERVER, "250 OK\r\n");
    drive_say_text(drive, SMTP_CLIENT, "QUIT\r\n");
    drive_say_text(drive, SMTP_SERVER, "221 bye\r\n");
    drive_close(drive, SMTP_CLIENT);
    drive_finish(drive);
    struct span client = drive_read(drive, SMTP_CLIENT);
    struct span server = drive_read(drive, SMTP_SERVER);
    if (finds_keyword(client, "XEXCH50\r") || memmem(server.ptr, server.len, "XEXCH50 1904", 12) ||
        memmem(client.ptr, client.len, "\r\n504", 5) == NULL) {
        dialogue_print_span("client reads", client);
        dialogue_print_span("server reads", server);
        fail_msg("slow, cut %d, seed %llu", (int)cut, (unsigned long long)seed);
    }
    drive_free(drive);
}

static void test_case_25_slow_senders_see_no_keyword(void **state)
{
    (void)state;
    static const char *const offers[] = {
        "250-host\r\n250-XEXCH50\r\n250 OK\r\n",
        "250-host\r\n250-SIZE\r\n250 XEXCH50\r\n",
        "250-host\r\n250-XEXCH50\r\n250 XEXCH50\r\n",
    };
    for (size_t i = 0; i < sizeof offers / sizeof offers[0]; i++) {
        slow(DRIVE_OCTETS, offers[i], 1);
        slow(DRIVE_LINES, offers[i], 1);
        for (uint64_t seed = 1; seed <= RANDOM_CUTS; seed++)
            slow(DRIVE_RANDOM, offers[i], seed);
    }
}

/* The reply cut once, at each place, with a pause behind the cut that is longer than the hold. */
static void test_case_25_keyword_cut_at_each_octet_with_a_pause(void **state)
{
    (void)state;
    static const char offer[] = "250-host\r\n250-XEXCH50\r\n250 OK\r\n";
    static const char command[] = "XEXCH50 1904 2\r\n";
    for (uint32_t cut = 1; cut + 1 < sizeof offer; cut++) {
        struct drive_plan plan = {.name = "pause", .seed = cut};
        struct drive *drive = drive_new(&plan);
        drive_handshake(drive);
        drive_say_text(drive, SMTP_SERVER, "220 hi\r\n");
        drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
        drive_say(drive, SMTP_SERVER, span_head(span_of(offer), cut));
        drive_wait(drive, 100000);
        drive_say(drive, SMTP_SERVER, span_tail(span_of(offer), cut));
        uint32_t half = cut % (sizeof command - 2) + 1;
        drive_say(drive, SMTP_CLIENT, span_head(span_of(command), half));
        drive_wait(drive, 100000);
        drive_say(drive, SMTP_CLIENT, span_tail(span_of(command), half));
        drive_say_text(drive, SMTP_SERVER, "250 OK\r\n");
        drive_close(drive, SMTP_CLIENT);
        drive_finish(drive);
        struct span client = drive_read(drive, SMTP_CLIENT);
        struct span server = drive_read(drive, SMTP_SERVER);
        if (finds_keyword(client, "XEXCH50\r") || memmem(server.ptr, server.len, "XEXCH50 ", 8) ||
            memmem(client.ptr, client.len, "\r\n504", 5) == NULL) {
            dialogue_print_span("client reads", client);
            dialogue_print_span("server reads", server);
            fail_msg("cut %u", cut);
        }
        drive_free(drive);
    }
}

/* ---- our captures ------------------------------------------------------------------------------ */

struct script {
    struct dialogue_turn *turns;
    size_t count;
};

/* One direction of the capture's first connection, as far as it came in order. */
struct direction {
    bool begun;
    uint32_t next;
};

static void add_octets(struct script *script, enum smtp_side side, struct span octets)
{
    if (octets.len == 0)
        return;
    if (script->count == 0 || script->turns[script->count - 1].side != side) {
        script->turns = realloc(script->turns, (script->count + 1) * sizeof *script->turns);
        assert_non_null(script->turns);
        script->turns[script->count++] = (struct dialogue_turn){side, {NULL, 0}};
    }
    struct dialogue_turn *turn = &script->turns[script->count - 1];
    uint8_t *all = realloc((void *)(uintptr_t)turn->octets.ptr, turn->octets.len + octets.len);
    assert_non_null(all);
    memcpy(all + turn->octets.len, octets.ptr, octets.len);
    turn->octets = (struct span){all, turn->octets.len + octets.len};
}

static void add_packet(struct script *script, struct direction *directions, const struct packet *packet)
{
    enum smtp_side side =
        packet->destination_port == 25 || packet->destination_port == 2525 ? SMTP_CLIENT : SMTP_SERVER;
    struct direction *direction = &directions[side];
    if (packet->flags & PACKET_SYN) {
        *direction = (struct direction){true, packet->seq + 1};
        return;
    }
    int32_t old = (int32_t)(direction->next - packet->seq);
    if (!direction->begun || old < 0 || (uint32_t)old >= packet->payload_len)
        return;
    struct span fresh = span_tail(packet_payload(packet), (uint32_t)old);
    add_octets(script, side, fresh);
    direction->next += (uint32_t)fresh.len;
}

static struct script read_capture(const char *path)
{
    struct script script = {0};
    struct direction directions[2] = {0};
    char message[512];
    struct capture_reader *reader;
    if (capture_open(path, &reader, message, sizeof message) != CAPTURE_OK)
        fail_msg("%s", message);
    struct capture_packet frame;
    struct packet packet;
    while (capture_next(reader, &frame, message, sizeof message) == CAPTURE_OK)
        if (frame.ip_len && packet_parse(&packet, frame.frame + frame.ip_at, frame.ip_len) == PACKET_TCP)
            add_packet(&script, directions, &packet);
    capture_close(reader);
    return script;
}

/* XEXCH50 used and accepted: of live peers the server would have been shown no XEXCH50, so the script means nothing. */
static bool accepts_xexch50(const struct script *script)
{
    bool asked = false;
    for (size_t i = 0; i < script->count; i++) {
        struct span octets = script->turns[i].octets;
        if (script->turns[i].side == SMTP_CLIENT)
            asked = octets.len > 8 && memcmp(octets.ptr, "XEXCH50 ", 8) == 0;
        else if (asked)
            return true;
    }
    return false;
}

static void check_capture(const char *path, const struct script *script, enum engine_peers peers)
{
    /* A script is all connections of its capture, one behind the other. */
    struct drive_plan plan = {.peers = peers, .cut = DRIVE_WHOLE, .seed = 1, .policy = &lost_passes};
    struct drive *whole = dialogue_play(path, script->turns, script->count, &plan);
    plan.cut = DRIVE_OCTETS;
    struct drive *octets = dialogue_play(path, script->turns, script->count, &plan);
    plan.cut = DRIVE_RANDOM;
    for (plan.seed = 1; plan.seed <= CAPTURE_CUTS; plan.seed++) {
        struct drive *cut = dialogue_play(path, script->turns, script->count, &plan);
        if (!(dialogue_same_streams(whole, cut) && dialogue_same_events(whole, cut, false)) &&
            !(dialogue_same_streams(octets, cut) && dialogue_same_events(octets, cut, false))) {
            (void)dialogue_same_events(whole, cut, true);
            dialogue_print_span("whole, client", drive_read(whole, SMTP_CLIENT));
            dialogue_print_span("  cut, client", drive_read(cut, SMTP_CLIENT));
            fail_msg("%s: peers %d, seed %llu differs", path, (int)peers, (unsigned long long)plan.seed);
        }
        drive_free(cut);
    }
    drive_free(whole);
    drive_free(octets);
}

static void test_capture(void **state)
{
    const char *path = *state;
    struct script script = read_capture(path);
    assert_true(script.count > 0);
    check_capture(path, &script, ENGINE_PEERS_RECORDED);
    if (!accepts_xexch50(&script))
        check_capture(path, &script, ENGINE_PEERS_LIVE);
    for (size_t i = 0; i < script.count; i++)
        free((void *)(uintptr_t)script.turns[i].octets.ptr);
    free(script.turns);
}

/* ---- all --------------------------------------------------------------------------------------- */

static char paths[CAPTURES_MAX][300];

static size_t list_captures(void)
{
    size_t count = 0;
    DIR *folder = opendir("pcaps");
    for (struct dirent *entry; folder && (entry = readdir(folder)) != NULL && count < CAPTURES_MAX;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot && strcmp(dot, ".pcap") == 0)
            (void)snprintf(paths[count++], sizeof paths[0], "pcaps/%s", entry->d_name);
    }
    if (folder)
        closedir(folder);
    qsort(paths, count, sizeof paths[0], (int (*)(const void *, const void *))strcmp);
    return count;
}

int main(void)
{
    static struct CMUnitTest tests[CAPTURES_MAX + 2];
    size_t count = 0;
    policy_init_default(&lost_passes);
    lost_passes.verdicts[SMTP_ANOMALY_AMBIGUOUS_END] = (struct smtp_action){.kind = SMTP_ACTION_PASS};
    policy_set_lost(&lost_passes, POLICY_LOST_PASS);
    size_t captures = list_captures();
    for (size_t i = 0; i < captures; i++)
        tests[count++] = (struct CMUnitTest){paths[i], test_capture, NULL, NULL, paths[i]};
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_case_25_slow_senders_see_no_keyword);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_case_25_keyword_cut_at_each_octet_with_a_pause);
    return dialogue_run("split", dialogues, sizeof dialogues / sizeof dialogues[0], tests, count);
}
