/*
 * Hard cases of message data, changes of mode and the end, each under its number in docs/cases.md: what both sides
 * read, and what is told, whatever the cuts.
 */
#include "../lib/dialogue.h"

#include <stdio.h>
#include <stdlib.h>

#define GREET  S("220 mail.example.com ESMTP\r\n")
#define EHLO   C("EHLO client.example.net\r\n")
#define OFFER  S("250-mail.example.com\r\n250-CHUNKING\r\n250 PIPELINING\r\n")
#define GOODBY C("QUIT\r\n"), S("221 2.0.0 closing\r\n")
/* That the pairing of commands and replies still holds: a keyword goes. */
#define STILL_PAIRED C("EHLO again\r\n"), S("250-host\r\n250-XEXCH50\r\n250 OK\r\n"), GOODBY
#define STRIPPED     CHANGE("250-XEXCH50\r\n", "")

static struct policy lets_all, observer; /* nothing stripped, nothing refused */
static struct policy ends_pass;          /* what may end a message is only told */
static struct policy all_passes;         /* both that, and the next */
static struct policy lost_passes;        /* where the pairing is lost: on-lost-pairing = pass */
static char challenge[9000];             /* 334 and its end, longer than any line that is kept */

/* `octets` in a message that goes on behind it, as far as the standard says. */
#define AMBIGUOUS_END(name, octets, len)                                                                               \
    {                                                                                                                  \
        .label = "case 43: " name " ends no message, and is told",                                                     \
        .turns = {GREET,           EHLO,                                                                               \
                  OFFER,           C("DATA\r\n"),                                                                      \
                  S("354 go\r\n"), C("a" octets "XEXCH50 1 2\r\n.\r\n"),                                               \
                  S("250 ok\r\n"), STILL_PAIRED},                                                                      \
        .policy = &ends_pass, .client_reads = {STRIPPED},                                                              \
        .of_client = "EHLO DATA !ambiguous-end-of-data (" len ") EHLO QUIT",                                           \
        .of_server = "connect=220 EHLO=250 DATA=354 end-of-data=250 EHLO=250 QUIT=221",                                \
    }

/* A BDAT that servers read differently: from there on nothing is edited. */
#define AMBIGUOUS_SIZE(argument)                                                                                       \
    {                                                                                                                  \
        .label = "case 47: BDAT " argument " has two readings", .policy = &observer,                                   \
        .turns =                                                                                                       \
            {GREET, EHLO, OFFER, C("BDAT " argument "\r\n"), S("501 no\r\n"), EHLO, S("250-host\r\n250 XEXCH50\r\n")}, \
        .of_client = "EHLO !ambiguous-chunk BDAT #ambiguous-chunk", .of_server = "connect=220 EHLO=250",               \
    }

static struct dialogue rows[] = {
    /* ---- message data ---- */
    AMBIGUOUS_END("LF.LF", "\n.\n", "20"),
    AMBIGUOUS_END("CR.CR", "\r.\r", "20"),
    AMBIGUOUS_END("CR.LF", "\r.\n", "20"),
    AMBIGUOUS_END("LF.CR", "\n.\r", "20"),
    AMBIGUOUS_END("LF.CRLF", "\n.\r\n", "21"),
    AMBIGUOUS_END("CRLF.LF", "\r\n.\n", "21"),
    AMBIGUOUS_END("CR.CRLF", "\r.\r\n", "21"),
    AMBIGUOUS_END("CRLF.CR", "\r\n.\r", "21"),
    AMBIGUOUS_END("CRLF NUL . CRLF", "\r\n\0.\r\n", "23"),
    AMBIGUOUS_END("CRLF . NUL CRLF", "\r\n.\0\r\n", "23"),
    AMBIGUOUS_END("LF . NUL LF", "\n.\0\n", "21"),
    {.label = "case 43: a server that ended the message there is found out by its replies",
     .policy = &all_passes,
     .turns = {GREET, EHLO, OFFER, C("DATA\r\n"), S("354 go\r\n"), C("a\n.\nMAIL FROM:<>\r\n.\r\n"),
               S("250 queued\r\n250 ok\r\n500 no\r\n"), EHLO, S("250-host\r\n250 XEXCH50\r\n")},
     .of_client = "EHLO DATA !ambiguous-end-of-data (21) #unexpected-reply",
     .of_server = "connect=220 EHLO=250 DATA=354 end-of-data=250 !unexpected-reply unknown=250"},
    {.label = "case 44: the dot as the first octets, dot-stuffed lines, a transcript",
     .policy = &ends_pass,
     .turns = {GREET, EHLO, OFFER, C("DATA\r\n"), S("354 go\r\n"), C(".\r\nDATA\r\n"), S("250 ok\r\n354 go\r\n"),
               C("..\r\n.x\r\n220 hi\r\nEHLO x\r\n250-XEXCH50\r\n.\r\rDATA\r\n \r\n.\r\n"), S("250 ok\r\n"),
               STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO DATA (3) DATA !ambiguous-end-of-data (52) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 DATA=354 end-of-data=250 DATA=354 end-of-data=250 EHLO=250 QUIT=221"},
    {.label = "case 45: octets of a message leave as they came",
     .turns = {GREET, EHLO, OFFER, C("DATA\r\n"), S("354 go\r\n"),
               C("\0\x01\xff\r\n\tXEXCH50 1 2\r\nX-LINK2STATE\r\n250 XEXCH50\r\n\r\r\n\n\x80.\r\n.\r\n"),
               S("250 ok\r\n"), STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO DATA (57) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 DATA=354 end-of-data=250 EHLO=250 QUIT=221"},
    {.label = "case 46: chunks, commands and payload in one segment, RSET between chunks",
     .turns = {GREET, EHLO, OFFER,
               C("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nBDAT 6\r\nQUIT\r\nBDAT 0\r\nRSET\r\nMAIL FROM:<>\r\nRCPT "
                 "TO:<a@b>\r\nBDAT 3\r\n\r\n.BDAT 0 LAST\r\n"),
               S("250 ok\r\n250 ok\r\n250 6\r\n250 0\r\n250 reset\r\n250 ok\r\n250 ok\r\n250 3\r\n250 queued\r\n"),
               STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO MAIL RCPT BDAT (6) BDAT RSET MAIL RCPT BDAT (3) BDAT EHLO QUIT",
     .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=250 BDAT=250 BDAT=250 RSET=250 MAIL=250 RCPT=250 BDAT=250 "
                  "bdat-last=250 EHLO=250 QUIT=221"},
    AMBIGUOUS_SIZE("5 X"),
    AMBIGUOUS_SIZE("5 LAST X"),
    AMBIGUOUS_SIZE("-1"),
    AMBIGUOUS_SIZE("+5"),
    AMBIGUOUS_SIZE("5,"),
    AMBIGUOUS_SIZE("0x5"),
    AMBIGUOUS_SIZE("LAST"),
    AMBIGUOUS_SIZE("9223372036854775808"),
    AMBIGUOUS_SIZE("18446744073709551621 LAST"),
    {.label = "case 48: BDAT refused, its octets in flight",
     .turns = {GREET, EHLO, OFFER, C("BDAT 5\r\nRSET\rBDAT 6 LAST\r\nQUIT\r\n"), S("503 no\r\n503 no\r\n"),
               STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO BDAT (5) BDAT (6) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 BDAT=503 bdat-last=503 EHLO=250 QUIT=221"},
    {.label = "case 48: BDAT sent behind EHLO waits for the offer, and is a chunk",
     .turns = {GREET, C("EHLO client.example.net\r\nRSET\r\nBDAT 13\r\nXEXCH50 1 2\r\nNOOP\r\n"),
               S("250-mail.example.com\r\n250 CHUNKING\r\n"), S("250 ok\r\n"), S("250 ok\r\n250 ok\r\n"), GOODBY},
     .live_only = true,
     .of_client = "EHLO RSET BDAT (13) NOOP QUIT",
     .of_server = "connect=220 EHLO=250 RSET=250 BDAT=250 NOOP=250 QUIT=221"},
    {.label = "case 48: BDAT sent behind EHLO waits for the reply that offers no chunks; its octets are commands",
     .turns = {GREET, C("EHLO client.example.net\r\nRSET\r\nBDAT 13\r\nXEXCH50 1 2\r\n"), S("250 mail.example.com\r\n"),
               S("250 ok\r\n"), S("250 ok\r\n250 no\r\n"), GOODBY},
     .server_reads = {CHANGE("BDAT 13\r\nXEXCH50 1 2\r\n", "RSET   \r\nNOOP       \r\n")},
     .client_reads = {CHANGE("250 ok\r\n250 no\r\n", "500\r\n504\r\n")},
     .live_only = true,
     .of_client = "EHLO RSET !chunk-not-offered BDAT~ XEXCH50~ QUIT",
     .of_server = "connect=220 EHLO=250 RSET=250 RSET=250~ XEXCH50=250~ QUIT=221"},
    {.label = "case 48: BDAT recorded before the reply to EHLO is a chunk, as it is if the server offers that",
     .turns = {GREET, C("EHLO client.example.net\r\nBDAT 13\r\nXEXCH50 1 2\r\nNOOP\r\n"),
               S("250-mail.example.com\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n"), GOODBY},
     .recorded_only = true,
     .of_client = "EHLO BDAT (13) NOOP QUIT",
     .of_server = "connect=220 EHLO=250 BDAT=250 NOOP=250 QUIT=221"},
    {.label = "case 48: BDAT refused before any of its octets: nobody knows what comes next",
     .policy = &lost_passes,
     .turns = {GREET, EHLO, OFFER, C("BDAT 13\r\n"), S("503 no\r\n"), C("XEXCH50 1 2\r\n"), S("500 no\r\n")},
     .of_client = "EHLO BDAT #ambiguous-reply",
     .of_server = "connect=220 EHLO=250 !ambiguous-reply BDAT=503"},
    {.label = "case 48: BDAT refused with some of its octets there",
     .turns = {GREET, EHLO, OFFER, C("BDAT 13\r\nXEXCH"), S("503 no\r\n"), C("50 1 2\r\n"), STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO BDAT (13) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 BDAT=503 EHLO=250 QUIT=221"},
    {.label = "case 50: XEXCH50 let through, accepted: raw octets",
     .turns = {GREET, EHLO, S("250-host\r\n250 XEXCH50\r\n"), C("XEXCH50 13 2\r\n"), S("354 Send binary data\r\n"),
               C("QUIT\r\n\0\r\n.\r\n\xff"), S("250 ok\r\n"), GOODBY},
     .policy = &lets_all,
     .of_client = "EHLO XEXCH50 (13) QUIT",
     .of_server = "connect=220 EHLO=250 XEXCH50=354 xexch50-data=250 QUIT=221"},
    {.label = "case 50: XEXCH50 let through, refused: no payload",
     .turns = {GREET, EHLO, S("250-host\r\n250 XEXCH50\r\n"), C("XEXCH50 13 2\r\n"),
               S("504 Need to authenticate first\r\n"), C("MAIL FROM:<>\r\n"), S("250 ok\r\n"), GOODBY},
     .policy = &lets_all,
     .of_client = "EHLO XEXCH50 MAIL QUIT",
     .of_server = "connect=220 EHLO=250 XEXCH50=504 MAIL=250 QUIT=221"},
    {.label = "case 50: XEXCH50 let through, what is sent before the 354 waits for it",
     .turns = {GREET, EHLO, S("250-host\r\n250 XEXCH50\r\n"), C("XEXCH50 13 2\r\nQU"), S("354 Send binary data\r\n"),
               C("IT\r\n\0\r\n.\r\n\xff"), S("250 ok\r\n"), GOODBY},
     .policy = &lets_all,
     .live_only = true,
     .of_client = "EHLO XEXCH50 (13) QUIT",
     .of_server = "connect=220 EHLO=250 XEXCH50=354 xexch50-data=250 QUIT=221"},
    {.label = "case 50: XEXCH50 let through, more sent before the 354",
     .turns = {GREET, EHLO, S("250-host\r\n250 XEXCH50\r\n"), C("XEXCH50 13 2\r\nQU"), S("354 Send binary data\r\n"),
               C("IT\r\n\0\r\n.\r\n\xff"), S("250 ok\r\n")},
     .policy = &lets_all,
     .recorded_only = true,
     .of_client = "EHLO XEXCH50 #ambiguous-reply",
     .of_server = "connect=220 EHLO=250 !ambiguous-reply XEXCH50=354"},
    {.label = "case 51: X-LINK2STATE in the forms of MS05-021",
     .turns = {GREET, EHLO, OFFER, C("X-LINK2STATE FIRST CHUNK={AAAAAAAAAAAA}\r\n"), S("250 ok\r\n"),
               C("x-link2STATE\tNEXT chunk={\xff\x90\r}\n"), S("250 ok\r\n"), C("  X-LINK2STATE\r\n"), S("250 ok\r\n"),
               GOODBY},
     .server_reads = {CHANGE("X-LINK2STATE FIRST CHUNK={AAAAAAAAAAAA}\r\n",
                             "NOOP                                   \r\n"),
                      CHANGE("x-link2STATE\tNEXT chunk={\xff\x90\r}\n", "NOOP                         \n"),
                      CHANGE("  X-LINK2STATE\r\n", "NOOP          \r\n")},
     .client_reads = {CHANGE("250 ok\r\n", "500\r\n"), CHANGE("250 ok\r\n", "500\r\n"),
                      CHANGE("250 ok\r\n", "500 Refused\r\n")},
     .live_only = true,
     .of_client = "EHLO X-LINK2STATE~ X-LINK2STATE~ X-LINK2STATE~ QUIT",
     .of_server = "connect=220 EHLO=250 NOOP=250~ NOOP=250~ NOOP=250~ QUIT=221"},

    /* ---- changes of mode ---- */
    {.label = "case 53: STARTTLS accepted, every octet after it as it came",
     .turns = {GREET, EHLO, S("250-host\r\n250-XEXCH50\r\n250 STARTTLS\r\n"), C("STARTTLS\r\n"), S("220 go\r\n"),
               C("\x16\x03\x01\0\nXEXCH50 1 2\r\n"), S("\x16\x03\x03\0\n250-XEXCH50\r\n"), C("\x17QUIT\r\n"),
               S("\x17")},
     .client_reads = {STRIPPED},
     .of_client = "EHLO STARTTLS #encrypted",
     .of_server = "connect=220 EHLO=250 STARTTLS=220"},
    {.label = "case 53: X-ANONYMOUSTLS accepted",
     .turns = {GREET, EHLO, OFFER, C("X-ANONYMOUSTLS\r\n"), S("220 go\r\n"), C("XEXCH50 1 2\r\n"),
               S("250-x\r\n250 XEXCH50\r\n")},
     .of_client = "EHLO X-ANONYMOUSTLS #encrypted",
     .of_server = "connect=220 EHLO=250 X-ANONYMOUSTLS=220"},
    {.label = "case 54: answers to 334 are data, empty ones too, and = and *",
     .turns = {GREET, EHLO, OFFER, C("AUTH LOGIN\r\n"), S("334 VXNlcm5hbWU6\r\n"), C("\r\n"), S("334\r\n"), C("=\r\n"),
               S("535 no\r\n"), C("AUTH PLAIN =\r\n"), S("334 \r\n"), C("XEXCH50 1 2\r\n"), S("235 yes\r\n"),
               C("AUTH X\r\n"), S("334 go\r\n"), C("*\r\n"), S("501 cancelled\r\n"), STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO AUTH (2) (3) AUTH (13) AUTH (3) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 AUTH=334 auth-response=334 auth-response=535 AUTH=334 auth-response=235 "
                  "AUTH=334 auth-response=501 EHLO=250 QUIT=221"},
    {.label = "case 54: X-EXPS is AUTH, and no 334 comes at all",
     .turns = {GREET, EHLO, OFFER, C("X-EXPS GSSAPI\r\n"), S("334 GSSAPI supported\r\n"), C("YIIE\r\n"),
               S("334 oYG=\r\n"), C("QUIT\r\n"), S("235 2.7.0 yes\r\n"), C("AUTH PLAIN AGEAYg==\r\n"), S("235 yes\r\n"),
               C("AUTH GSSAPI\r\n"), S("504 unknown\r\n"), STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO X-EXPS (6) (6) AUTH AUTH EHLO QUIT",
     .of_server =
         "connect=220 EHLO=250 X-EXPS=334 auth-response=334 auth-response=235 AUTH=235 AUTH=504 EHLO=250 QUIT=221"},
    {.label = "case 54: a security layer behind 235 is no SMTP",
     .turns = {GREET, EHLO, OFFER, C("AUTH GSSAPI YIIE\r\n"), S("235 yes\r\n"),
               C("\0\0\0\x0e\x05\x04\x04\xffXEXCH50 1 2\r\n"), S("\0\0\0\x0e\x05\x04\r\n250 XEXCH50\r\n")},
     .policy = &observer,
     .of_client = "EHLO AUTH !nul-in-command unknown #reply-without-code",
     .of_server = "connect=220 EHLO=250 AUTH=235 !reply-without-code ?"},
    {.label = "case 54: what is sent before the 334 waits, and is its answer",
     .turns = {GREET, EHLO, OFFER, C("AUTH LOGIN\r\nVVNFUg==\r\nUEFTUw==\r\n"), S("334 VXNlcm5hbWU6\r\n"),
               S("334 UGFzc3dvcmQ6\r\n"), S("235 yes\r\n"), STILL_PAIRED},
     .client_reads = {STRIPPED},
     .live_only = true,
     .of_client = "EHLO AUTH (10) (10) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 AUTH=334 auth-response=334 auth-response=235 EHLO=250 QUIT=221"},
    {.label = "case 54: what is sent before AUTH is refused waits, and is commands",
     .turns = {GREET, EHLO, OFFER, C("AUTH LOGIN\r\nXEXCH50 1 2\r\n"), S("504 no\r\n"), S("250 ok\r\n"), GOODBY},
     .server_reads = {CHANGE("XEXCH50 1 2\r\n", "NOOP       \r\n")},
     .client_reads = {CHANGE("250 ok\r\n", "504\r\n")},
     .live_only = true,
     .of_client = "EHLO AUTH XEXCH50~ QUIT",
     .of_server = "connect=220 EHLO=250 AUTH=504 XEXCH50=250~ QUIT=221"},
    {.label = "case 54: what was sent before the 334 may be its answer or a command",
     .policy = &lost_passes,
     .turns = {GREET, EHLO, OFFER, C("AUTH PLAIN\r\nRSET\r\n"), S("334 \r\n535 no\r\n"), C("XEXCH50 1 2\r\n"),
               S("250 ok\r\n")},
     .recorded_only = true,
     .of_client = "EHLO AUTH RSET #ambiguous-response",
     .of_server = "connect=220 EHLO=250 !ambiguous-response AUTH=334"},
    {.label = "case 54: a challenge longer than any line that is kept",
     .turns = {GREET,
               EHLO,
               OFFER,
               C("AUTH GSSAPI\r\n"),
               {SMTP_SERVER, {(const uint8_t *)challenge, sizeof challenge}},
               C("XEXCH50 1 2\r\n"),
               S("235 yes\r\n"),
               STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO AUTH (13) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 AUTH=334 auth-response=235 EHLO=250 QUIT=221"},
    {.label = "case 54: what is sent before a long challenge waits for it",
     .turns = {GREET,
               EHLO,
               OFFER,
               C("AUTH GSSAPI\r\nXEXCH50\r\n"),
               {SMTP_SERVER, {(const uint8_t *)challenge, sizeof challenge}},
               S("535 no\r\n"),
               STILL_PAIRED},
     .client_reads = {STRIPPED},
     .live_only = true,
     .of_client = "EHLO AUTH (9) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 AUTH=334 auth-response=535 EHLO=250 QUIT=221"},
    {.label = "case 54: what was sent before a long challenge",
     .policy = &lost_passes,
     .turns = {GREET,
               EHLO,
               OFFER,
               C("AUTH GSSAPI\r\nRSET\r\n"),
               {SMTP_SERVER, {(const uint8_t *)challenge, sizeof challenge}},
               S("535 no\r\n"),
               C("XEXCH50 1 2\r\n"),
               S("250 ok\r\n")},
     .recorded_only = true,
     .of_client = "EHLO AUTH RSET #ambiguous-response",
     .of_server = "connect=220 EHLO=250 !ambiguous-response AUTH=334"},
    {.label = "case 54: part of a line is sent before the 334, and waits",
     .turns = {GREET, EHLO, OFFER, C("AUTH PLAIN\r\nXEX"), S("334 \r\n"), C("CH50 1 2\r\n"), S("535 no\r\n"),
               STILL_PAIRED},
     .client_reads = {STRIPPED},
     .live_only = true,
     .of_client = "EHLO AUTH (13) EHLO QUIT",
     .of_server = "connect=220 EHLO=250 AUTH=334 auth-response=535 EHLO=250 QUIT=221"},
    {.label = "case 54: part of a line was sent before the 334",
     .policy = &lost_passes,
     .turns = {GREET, EHLO, OFFER, C("AUTH PLAIN\r\nXEX"), S("334 \r\n"), C("CH50 1 2\r\n"), S("535 no\r\n"),
               C("XEXCH50 1 2\r\n"), S("250 ok\r\n")},
     .recorded_only = true,
     .of_client = "EHLO AUTH #ambiguous-response",
     .of_server = "connect=220 EHLO=250 !ambiguous-response AUTH=334"},
    {.label = "case 55: ETRN swaps nothing, TURN refused neither",
     .turns = {GREET, EHLO, OFFER, C("ETRN example.net\r\n"), S("250 queuing started\r\n"), C("TURN\r\n"),
               S("502 no\r\n"), C("ATRN example.net\r\n"), S("530 no\r\n"), STILL_PAIRED},
     .client_reads = {STRIPPED},
     .of_client = "EHLO ETRN TURN ATRN EHLO QUIT",
     .of_server = "connect=220 EHLO=250 ETRN=250 TURN=502 ATRN=530 EHLO=250 QUIT=221"},
    {.label = "case 56: the server closes in the middle of a message",
     .turns = {GREET, EHLO, OFFER, C("DATA\r\n"), S("354 go\r\n"), C("half a li")},
     .of_client = "EHLO DATA",
     .of_server = "connect=220 EHLO=250 DATA=354"},
};

int main(void)
{
    policy_init_empty(&lets_all);
    policy_init_observer(&observer);
    policy_init_default(&lost_passes);
    policy_set_lost(&lost_passes, POLICY_LOST_PASS);
    policy_init_default(&ends_pass);
    ends_pass.verdicts[SMTP_ANOMALY_AMBIGUOUS_END] = (struct smtp_action){.kind = SMTP_ACTION_PASS};
    all_passes = lost_passes;
    all_passes.verdicts[SMTP_ANOMALY_AMBIGUOUS_END] = (struct smtp_action){.kind = SMTP_ACTION_PASS};
    memset(challenge, 'A', sizeof challenge);
    memcpy(challenge, "334 ", 4);
    memcpy(challenge + sizeof challenge - 2, "\r\n", 2);
    return dialogue_run("cases, payload", rows, sizeof rows / sizeof rows[0], NULL, 0);
}
