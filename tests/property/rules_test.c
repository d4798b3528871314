/* Rules as they are written in a file: each moment, condition and action, at every cut. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lib/dialogue.h"
#include "conf/conf.h"

#define GREET   S("220 mail.example.com Microsoft ESMTP MAIL Service, Version: 6.0.3790 ready\r\n")
#define EHLO    C("EHLO client.example.net\r\n")
#define OFFER   S("250-mail.example.com\r\n250-PIPELINING\r\n250-XEXCH50\r\n250 SIZE 1000\r\n")
#define PLAIN   "250-mail.example.com\r\n250-PIPELINING\r\n250 SIZE 1000\r\n"
#define MAIL    "MAIL FROM:<a@example.net>\r\n"
#define RCPT    "RCPT TO:<b@example.com>\r\n"
#define OK      "250 2.1.5 Recipient ok\r\n"
#define HARD    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* ^(a+)+$ has 2^39 ways to fail on it */
#define DONE    "250 2.0.0 Nothing is done at all\r\n"
#define REFUSED "500 5.5.1 Unrecognized command\r\n"
#define END     C("QUIT\r\n"), S("221 bye\r\n")

/* The other end is a load balancer; and what is told of its clients. */
#define BALANCED "balancers = {\"10.1.0.1\", \"2001:db8::1\"}\n"
#define TOLD                                                                                                           \
    "rule \"seen\" { on = connect client = {\"192.0.2.0/24\"} action = log }\n"                                        \
    "rule \"told\" { on = recipient client = {\"192.0.2.0/24\"} action = refuse code = 550 "                           \
    "text = \"5.7.1 Not from there\" }"
#define PROXIED "PROXY TCP4 192.0.2.7 10.1.0.2 40000 25\r\n"
#define V2      "\r\n\r\n\0\r\nQUIT\n"

/* Whether a question is about the client of whom the balancer told. */
static enum answer is_told(const struct question *question, int64_t *later_us)
{
    static const uint8_t told[] = {192, 0, 2, 7};
    *later_us = 0;
    return question->ip_version == 4 && memcmp(question->client, told, sizeof told) == 0 ? ANSWER_PASS : ANSWER_DEFER;
}

/* A local part of 320 octets: longer than any that may be (RFC 5321 4.5.3.1.1), and taken by servers all the same. */
#define TEN   "xxxxxxxxxx"
#define FORTY TEN TEN TEN TEN
#define LONG  FORTY FORTY FORTY FORTY FORTY FORTY FORTY FORTY

#define LISTED "/proc/self/fd/100" /* a list file */

struct row {
    const char *rules;
    struct dialogue dialogue;
};

static const struct row rows[] = {
    {"rule \"mask\" { on = greeting action = strip }",
     {.label = "greeting: product and version are masked, ESMTP stays",
      .turns = {GREET, EHLO, S(PLAIN), END},
      .client_reads = {CHANGE(" Microsoft ESMTP MAIL Service, Version: 6.0.3790 ready", " ESMTP")}}},
    {"rule \"mask\" { on = greeting action = strip }",
     {.label = "greeting: one without ESMTP gets none, each line of several is masked",
      .turns = {S("220-mail.example.com Sendmail 8.11\r\n220 mail.example.com at your service\r\n"), EHLO, S(PLAIN),
                END},
      .client_reads = {CHANGE(" Sendmail 8.11", ""), CHANGE(" at your service", "")}}},
    {"rule \"small\" { on = ehlo-keyword match = {\"SIZE\", \"etrn\"} action = strip }",
     {.label = "ehlo-keyword: two more are stripped, the last line moves",
      .turns = {GREET, EHLO, S("250-mail\r\n250-ETRN\r\n250-8BITMIME\r\n250 SIZE 10\r\n"), END},
      .client_reads = {CHANGE("250-ETRN\r\n250-8BITMIME\r\n250 SIZE 10\r\n", "250 8BITMIME\r\n")},
      .or_reads = {CHANGE("250-ETRN\r\n", ""), CHANGE("250 SIZE 10\r\n", "250 OK\r\n")}}},
    {"rule \"only these\" { on = ehlo-keyword except = {\"PIPELINING\", \"8BIT*\"} action = strip }",
     {.label = "ehlo-keyword: all but some",
      .turns = {GREET, EHLO, S("250-mail\r\n250-ETRN\r\n250-8BITMIME\r\n250-X-FOO bar\r\n250 PIPELINING\r\n"), END},
      .client_reads = {CHANGE("250-ETRN\r\n", ""), CHANGE("250-X-FOO bar\r\n", "")}}},
    {"rule \"no chunks\" { on = ehlo-keyword match = {\"CHUNKING\"} action = strip }",
     {.label = "ehlo-keyword: what a stripped keyword offers is refused",
      .turns = {GREET, EHLO, S("250-mail\r\n250-CHUNKING\r\n250 SIZE 10\r\n"), C("BDAT 3 LAST\r\n"),
                S("250 2.0.0 Nothing done at all\r\n"), END},
      .client_reads = {CHANGE("250-CHUNKING\r\n", ""),
                       CHANGE("250 2.0.0 Nothing done at all", "500 5.5.1 Unrecognized command")},
      .server_reads = {CHANGE("BDAT 3 LAST", "BDAT 3     ")},
      .live_only = true}},
    {"strip = {\"STARTTLS\", \"AUTH\", \"X-EXPS\", \"ETRN\", \"VRFY\"}",
     {.label = "strip: what a stripped keyword offers is refused",
      .turns = {GREET, EHLO, OFFER, C("STARTTLS\r\n"), S(DONE), C("AUTH PLAIN AGEAYg==\r\n"), S(DONE),
                C("AUTH LOGIN\r\n"), S(DONE), C("x-exps GSSAPI\r\n"), S(DONE), C("ETRN example.net\r\n"), S(DONE),
                C("VRFY b\r\n"), S(DONE), C("EXPN b\r\n"), S("502 no\r\n"), END},
      .client_reads = {CHANGE(DONE, REFUSED), CHANGE(DONE, REFUSED), CHANGE(DONE, REFUSED), CHANGE(DONE, REFUSED),
                       CHANGE(DONE, REFUSED), CHANGE(DONE, REFUSED)},
      .server_reads = {CHANGE("STARTTLS", "NOOP    "), CHANGE("AUTH PLAIN AGEAYg==", "NOOP               "),
                       CHANGE("AUTH LOGIN", "NOOP      "), CHANGE("x-exps GSSAPI", "NOOP         "),
                       CHANGE("ETRN example.net", "NOOP            "), CHANGE("VRFY b", "NOOP  ")},
      .live_only = true}},
    {"rule \"few\" { on = ehlo-keyword except = {\"PIPELINING\", \"SIZE\", \"V*\", '/^E(XPN|TRN)$/'} action = strip }",
     {.label = "ehlo-keyword: what no exception, pattern or expression names is refused",
      .turns = {GREET, EHLO, S(PLAIN), C("AUTH LOGIN\r\n"), S(DONE), C("VRFY b\r\n"), S("252 b\r\n"),
                C("ETRN example.net\r\n"), S("250 ok\r\n"), C("HELP\r\n"), S(DONE), C("NOOP\r\n"), S("250 ok\r\n"),
                END},
      .client_reads = {CHANGE(DONE, REFUSED), CHANGE(DONE, REFUSED)},
      .server_reads = {CHANGE("AUTH LOGIN", "NOOP      "), CHANGE("HELP", "NOOP")},
      .live_only = true}},
    {"rule \"no X\" { on = ehlo-keyword match = {\"X*\"} action = strip }\nstrip = {}",
     {.label = "ehlo-keyword: a pattern refuses the verbs of the keywords that it strips",
      .turns = {GREET, EHLO, S(PLAIN), C("XCLIENT ADDR=192.0.2.1\r\n"), S(DONE), C("XFORWARD ADDR=192.0.2.1\r\n"),
                S(DONE), C("AUTH LOGIN\r\n"), S("502 no\r\n"), END},
      .client_reads = {CHANGE(DONE, REFUSED), CHANGE(DONE, REFUSED)},
      .server_reads = {CHANGE("XCLIENT ADDR=192.0.2.1", "NOOP                  "),
                       CHANGE("XFORWARD ADDR=192.0.2.1", "NOOP                   ")},
      .live_only = true}},
    {"rule \"shown\" { on = ehlo-keyword match = {\"AUTH\", \"ETRN\"} action = pass }\nstrip = {\"AUTH\", \"ETRN\"}\n"
     "rule \"queue\" { on = command match = {\"ETRN\"} action = refuse code = 500 "
     "text = \"5.5.1 Unrecognized command\" }",
     {.label = "ehlo-keyword: a verb whose keyword passes is refused by a rule about the command itself alone",
      .turns = {GREET, EHLO, S("250-mail\r\n250-AUTH LOGIN\r\n250 ETRN\r\n"), C("AUTH LOGIN\r\n"), S("535 no\r\n"),
                C("ETRN example.net\r\n"), S(DONE), END},
      .client_reads = {CHANGE(DONE, REFUSED)},
      .server_reads = {CHANGE("ETRN example.net", "NOOP            ")}}},
    {"rule \"ours\" { on = ehlo-keyword match = {\"XEXCH50\"} client = {\"10.1.0.0/30\", \"2001:db8::1\"} "
     "action = pass }",
     {.label = "ehlo-keyword: peers of ours keep XEXCH50, and may use it",
      .turns = {GREET, EHLO, OFFER, C("XEXCH50 4 2\r\n"), S("504 Need to authenticate first\r\n"), END},
      .of_client = "EHLO XEXCH50 QUIT"}},
    {"rule \"others\" { on = ehlo-keyword match = {\"XEXCH50\"} except-client = {\"10.1.0.0/30\", \"2001:db8::1\"} "
     "action = strip }\nstrip = {}",
     {.label = "except-client: the rule does not hold for them", .turns = {GREET, EHLO, OFFER, END}}},
    {"rule \"verbs\" { on = command match = {\"unknown\", \"X-FOO\", \"VRFY\"} action = refuse code = 502 text = "
     "\"5.5.1 No\" }",
     {.label = "command: unknown verbs and named ones",
      .turns = {GREET, EHLO, S(PLAIN), C("X-BAR 1\r\n"), S("250 2.0.0 done\r\n"), C("VRFY x\r\n"),
                S("250 2.0.0 done\r\n"), C("NOOP\r\n"), S("250 2.0.0 done\r\n"), END},
      .server_reads = {CHANGE("X-BAR 1", "NOOP   "), CHANGE("VRFY x", "NOOP  ")},
      .client_reads = {CHANGE("250 2.0.0 done", "502 5.5.1 No"), CHANGE("250 2.0.0 done", "502 5.5.1 No")}}},
    {"rule \"long\" { on = command length-over = 30 action = refuse code = 500 text = \"5.5.2 Too long\" }",
     {.label = "command: length-over",
      .turns = {GREET, EHLO, S(PLAIN), C("HELP aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"), S("250 2.0.0 Nothing done\r\n"),
                C("HELP\r\n"), S("214 2.0.0 Read the book\r\n"), END},
      .server_reads = {CHANGE("HELP aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "NOOP                                ")},
      .client_reads = {CHANGE("250 2.0.0 Nothing done", "500 5.5.2 Too long")}}},
    {"rule \"strange\" { on = recipient match = {'/[|!%]/'} action = refuse code = 553 text = \"5.1.3 No\" }",
     {.label = "recipient: special characters, by an expression",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C("RCPT TO:<b%c@example.com>\r\n"),
                S("250 2.0.0 Nothing done\r\n"), C(RCPT), S(OK), END},
      .server_reads = {CHANGE("RCPT TO:<b%c@example.com>", "NOOP                     ")},
      .client_reads = {CHANGE("250 2.0.0 Nothing done", "553 5.1.3 No")}}},
    {"rule \"relay\" { on = recipient except = {\"example.com\", \"@example.org\"} action = refuse code = 550 text = "
     "\"5.7.1 No relay\" }",
     {.label = "recipient: only our domains, and what is below them",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C("RCPT TO:<b@EXAMPLE.com>\r\n"), S(OK),
                C("RCPT TO:<b@a.b.example.com>\r\n"), S(OK), C("RCPT TO:<b@example.org>\r\n"), S(OK),
                C("RCPT TO:<b@a.example.org>\r\n"), S("250 2.0.0 Nothing done\r\n"), END},
      .server_reads = {CHANGE("RCPT TO:<b@a.example.org>", "NOOP                     ")},
      .client_reads = {CHANGE("250 2.0.0 Nothing done", "550 5.7.1 No relay")}}},
    {"rule \"many\" { on = recipient recipients-over = 2 action = refuse code = 452 text = \"4.5.3 Too many\" }",
     {.label = "case 86: recipients-over counts those that were accepted, who get the message",
      .turns = {GREET, EHLO, S("250-mail\r\n250-PIPELINING\r\n250 HELP\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT),
                S("550 5.1.1 Unknown\r\n"), C(RCPT), S(OK), C(RCPT), S(OK), C(RCPT), S("250 2.0.0 Nothing done\r\n"),
                C("DATA\r\n"), S("354 go\r\n"), C("x\r\n.\r\n"), S("250 queued\r\n"), END},
      .server_reads = {CHANGE(RCPT RCPT RCPT "RCPT TO:<b@example.com>", RCPT RCPT RCPT "NOOP                   ")},
      .client_reads = {CHANGE("250-PIPELINING\r\n", ""), CHANGE("250 2.0.0 Nothing done", "452 4.5.3 Too many")}}},
    {"rule \"who\" { on = sender match = {\"bad.example\", \"<>\", \"root@\", \"a*b@example.net\"} action = refuse }",
     {.label = "sender: domains, the null sender, local parts, patterns",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C("MAIL FROM:<x@sub.Bad.example> SIZE=3\r\n"),
                S("250 2.0.0 Nothing done now\r\n"), C("MAIL FROM:<>\r\n"), S("250 2.0.0 Nothing done now\r\n"),
                C("MAIL FROM:<root@example.org>\r\n"), S("250 2.0.0 Nothing done now\r\n"),
                C("MAIL FROM:<axxb@example.net>\r\n"), S("250 2.0.0 Nothing done now\r\n"), C(MAIL), S("250 ok\r\n"),
                END},
      .server_reads = {CHANGE("MAIL FROM:<x@sub.Bad.example> SIZE=3", "NOOP                                "),
                       CHANGE("MAIL FROM:<>", "NOOP        "),
                       CHANGE("MAIL FROM:<root@example.org>", "NOOP                        "),
                       CHANGE("MAIL FROM:<axxb@example.net>", "NOOP                        ")},
      .client_reads = {CHANGE("250 2.0.0 Nothing done now", "450 4.7.1 Try again later"),
                       CHANGE("250 2.0.0 Nothing done now", "450 4.7.1 Try again later"),
                       CHANGE("250 2.0.0 Nothing done now", "450 4.7.1 Try again later"),
                       CHANGE("250 2.0.0 Nothing done now", "450 4.7.1 Try again later")}}},
    {"rule \"helo\" { on = argument verb = {\"EHLO\", \"HELO\"} match = {\"*.dynamic.example\"} action = log }",
     {.label = "argument: of one verb, told and let go",
      .turns = {GREET, C("EHLO a.dynamic.example\r\n"), S(PLAIN), C("VRFY a.dynamic.example\r\n"), S("252 maybe\r\n"),
                END},
      .of_client = "@helo=log EHLO VRFY QUIT"}},
    {"rule \"said no\" { on = reply match = {\"55x\", \"45*\", \"5xx\", \"*user*\"} action = log }",
     {.label = "reply: a code and a text, both",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL), S("250 user ok\r\n"), C(RCPT), S("550 5.1.1 No such user\r\n"), C(RCPT),
                S("550 5.7.1 No\r\n"), END},
      .of_server = "connect=220 EHLO=250 MAIL=250 @said no=log RCPT=550 RCPT=550 QUIT=221"}},
    {"rule \"harvest\" { on = reply verb = {\"RCPT\"} refused-over = 1 match = {\"550\"} action = log }",
     {.label = "reply: from the second refused recipient on",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL), S("250 ok\r\n"), C(RCPT), S("550 no\r\n"), C(RCPT), S("550 no\r\n"),
                C(RCPT), S("550 no\r\n"), END},
      .of_server = "connect=220 EHLO=250 MAIL=250 RCPT=550 RCPT=550 @harvest=log RCPT=550 QUIT=221"}},
    {"rule \"note\" { on = sender action = log continue = yes }\nrule \"first\" { on = sender action = pass }\n"
     "rule \"last\" { on = argument verb = {\"MAIL\"} action = refuse }",
     {.label = "continue: the next one decides, and those behind it do not",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL), S("250 ok\r\n"), END},
      .of_client = "EHLO @note=log MAIL QUIT"}},
    {"rule \"note\" { on = sender action = log }\nrule \"mark\" { on = sender action = mark mark = 1 log = yes }\n"
     "rule \"end\" { on = sender action = log continue = no }\n"
     "rule \"last\" { on = argument verb = {\"MAIL\"} action = refuse }",
     {.label = "continue: what logs or marks goes on where it does not say otherwise",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL), S("250 ok\r\n"), END},
      .of_client = "EHLO @note=log @mark=log @end=log MAIL QUIT"}},
    {"rule \"before\" { on = sender action = log }\n"
     "rule \"partner\" { on = connect peer = {\"10.1.0.0/16\", \"2001:db8::/32\"} action = pass for = session "
     "log = yes }\n"
     "strip = {\"XEXCH50\"}\non-lost-pairing = reset\n"
     "rule \"no\" { on = recipient action = refuse code = 550 }\n"
     "rule \"verbs\" { on = command match = {\"VRFY\"} action = refuse }",
     {.label = "for session: no rule behind it is for the peer, and nothing is stripped",
      .turns = {GREET, EHLO, OFFER, C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK), C("VRFY a\r\n"), S("252 maybe\r\n"), END},
      .of_client = "@partner=log EHLO @before=log MAIL RCPT VRFY QUIT"}},
    {"protected = {\"10.1.0.2\", \"2001:db8::2\"}\n"
     "rule \"partner\" { on = connect direction = outbound action = pass for = session }\n"
     "rule \"no\" { on = command match = {\"VRFY\"} action = refuse }",
     {.label = "for session: not in another direction",
      .turns = {GREET, EHLO, S(PLAIN), C("VRFY a\r\n"), S("252 2.0.0 perhaps so, who knows, ask him\r\n"), END},
      .server_reads = {CHANGE("VRFY a", "NOOP  ")},
      .client_reads = {CHANGE("252 2.0.0 perhaps so, who knows, ask him", "502 5.5.1 Command not available here")}}},
    {"rule \"long header\" { on = line part = header length-over = 20 action = log }\n"
     "rule \"exe\" { on = file-name match = {\"*.exe\", '/^\\w+\\.(scr|pif)$/'} action = log }\n"
     "rule \"long name\" { on = file-name length-over = 10 action = log }\n"
     "rule \"large\" { on = message size-over = 150 action = log }",
     {.label = "line, file-name, message: what is in it is told, and nothing changes",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL RCPT "DATA\r\n"), S("250 ok\r\n" OK "354 go\r\n"),
                C("Subject: 20 octets:)\r\nX: 21 octets are long\r\nContent-Type: m/x;\r\n boundary=b\r\n\r\n--b\r\n"
                  "Content-Type: a; name=a.scr\r\n\r\na line of a body that is long\r\n--b\r\n"
                  "Content-Disposition: attachment;\r\n\tfilename=\"b.EXE\"\r\n\r\n.\r\n"),
                S("250 queued\r\n"), END},
      .of_client = "EHLO MAIL RCPT DATA @long header=log @long header=log @exe=log @long header=log @exe=log "
                   "@large=log (210) QUIT"}},
    {"rule \"hard\" { on = recipient match = {'/^(a+)+$/'} action = refuse code = 553 text = \"5.1.3 No\" }",
     {.label = "an expression that runs into its limit: refused where the rule refuses, and told",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL), S("250 2.1.0 Sender ok\r\n"), C("RCPT TO:<" HARD "@example.com>\r\n"),
                S(OK), END},
      .server_reads = {CHANGE("RCPT TO:<" HARD "@example.com>",
                              "RCPT TO:<xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@x..invalid>")},
      .client_reads = {CHANGE("250 2.1.5 Recipient ok", "553 5.1.3 No")},
      .of_client = "EHLO MAIL !expression-limit RCPT~ QUIT",
      .live_only = true}},
    {"rule \"ours\" { on = recipient match = {'/^(a+)+$/'} action = pass }\n"
     "rule \"rest\" { on = recipient except = {'/^(a+)+$/'} action = log }",
     {.label = "an expression that runs into its limit: no rule lets it pass, or logs it",
      .turns = {GREET, EHLO, S(PLAIN), C(MAIL), S("250 2.1.0 Sender ok\r\n"), C("RCPT TO:<" HARD "@example.com>\r\n"),
                S(OK), END},
      .of_client = "EHLO MAIL !expression-limit RCPT QUIT"}},
    {"rule \"chunks\" { on = message size-over = 5 action = log }\nrule \"line\" { on = line match = {\"*abc*\"} "
     "action = log }",
     {.label = "message: the octets of all chunks",
      .turns = {GREET, EHLO, S("250-mail\r\n250 CHUNKING\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK),
                C("BDAT 3\r\nxab"), S("250 more\r\n"), C("BDAT 4 LAST\r\nc\r\n."), S("250 queued\r\n"), END},
      .of_client = "EHLO MAIL RCPT BDAT (3) BDAT @line=log @chunks=log (4) QUIT"}},
    {"dry-run = yes\nrule \"no\" { on = recipient match = {\"b@example.com\"} action = refuse }",
     {.label = "dry run: the form in which commands would have left is told, and what cannot be read is",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C("MAIL FROM: a@example.net\r\n"), S("250 ok\r\n"),
                C("RCPT  TO:<c@example.com>\r\n"), S(OK), C("rcpt TO:<@r:b@example.com>\r\n"), S(OK),
                C("RCPT TO:<c%d@example.com>\r\n"), S(OK), C("RCPT TO:<c@example.com>\r\n"), S(OK), C("NOOP \0\r\n"),
                S("250 ok\r\n"), END},
      .of_client =
          "EHLO MAIL @canonical=rewrite RCPT @no=refuse RCPT @unreadable-address=refuse !unreadable-address RCPT "
          "RCPT @nul-in-command=refuse !nul-in-command NOOP QUIT"}},
    {"dry-run = yes\nrule \"told\" { on = connect action = log }\nstrip = {}",
     {.label = "dry run: where nothing would have acted nothing is told",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C("RCPT  TO:<c@example.com>\r\n"), S(OK), C("NOOP \0\r\n"),
                S("250 ok\r\n"), END},
      .of_client = "@told=log EHLO RCPT !nul-in-command NOOP QUIT"}},
    {"rule \"dialup\" { on = recipient helo = {\"*.dyn.example\", '/^\\[/'} action = log }\n"
     "rule \"mail of it\" { on = line part = header helo = {\"*.dyn.example\"} match = {\"Subject*\"} action = log }\n"
     "rule \"ours\" { on = sender helo = {\"mail.ours.example\"} action = log }",
     {.label = "helo: the last name counts, at every later moment",
      .turns = {GREET, C("EHLO a.DYN.example\r\n"), S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK),
                C("DATA\r\n"), S("354 go\r\n"), C("Subject: x\r\n\r\n.\r\n"), S("250 queued\r\n"),
                C("HELO mail.ours.example\r\n"), S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK)},
      .of_client = "EHLO MAIL @dialup=log RCPT DATA @mail of it=log (17) HELO @ours=log MAIL RCPT"}},
    {"rule \"dialup\" { on = recipient helo = {\"*.dyn.example\"} action = refuse code = 550 method = void }",
     {.label = "helo: who is named so is refused",
      .turns = {GREET, C("EHLO a.dyn.example\r\n"), S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK), END},
      .client_reads = {CHANGE("250 2.1.5 Recipient ok", "550")}}},
    {"rule \"ours\" { on = recipient helo = {\"mail.ours.example\"} action = pass }\n"
     "rule \"others\" { on = recipient action = refuse code = 550 method = void }",
     {.label = "helo: a name that the server does not take does not count",
      .turns = {GREET, C("EHLO a.example\r\n"), S("250 mail\r\n"), C("EHLO mail.ours.example\r\n"),
                S("550 5.7.1 You are not\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK), END},
      .client_reads = {CHANGE("250 2.1.5 Recipient ok", "550")}}},
    {"rule \"ours\" { on = recipient helo = {\"mail.ours.example\"} action = pass }\n"
     "rule \"others\" { on = recipient action = refuse code = 550 method = void }",
     {.label = "helo: what comes with a name waits until the server has taken it or not",
      .turns = {GREET, C("HELO mail.ours.example\r\n" MAIL RCPT), S("550 5.7.1 You are not\r\n"), S("250 ok\r\n" OK),
                END},
      .client_reads = {CHANGE("250 2.1.5 Recipient ok", "550")},
      .live_only = true}},
    {"dry-run = yes\nrule \"no\" { on = recipient action = refuse }\nrule \"mask\" { on = greeting action = strip }",
     {.label = "dry run: nothing is changed, what would have been is told",
      .turns = {GREET, EHLO, OFFER, C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK), END},
      .of_client = "EHLO MAIL @no=refuse RCPT QUIT",
      .of_server = "@mask=strip connect=220 @strip=strip EHLO=250 MAIL=250 RCPT=250 QUIT=221"}},
    {"rule \"lenient\" { on = anomaly match = {\"early-talker\"} action = log }",
     {.label = "anomaly: told by the rule's name",
      .turns = {C("EHLO x\r\n"), S("220 mail ESMTP\r\n250 mail\r\n"), END},
      .of_client = "@lenient=log !early-talker EHLO QUIT"}},
    {"rule \"no early talkers\" { on = anomaly match = {\"early-talker\"} action = close }",
     {.label = "anomaly: an early talker is told 421, the server QUIT",
      .turns = {C("EHLO x.example\r\n"), S("220 mail ESMTP\r\n221 2.0.0 Bye, and thank you for calling\r\n")},
      .server_reads = {CHANGE("EHLO x.example", "QUIT          ")},
      .client_reads = {CHANGE("221 2.0.0 Bye, and thank you for calling", "421 4.7.0 Closing connection")},
      .never_slow = true}},
    {"rule \"in a hurry\" { on = recipient early-talker = yes action = refuse text = \"4.7.1 Later\" }\n"
     "rule \"polite\" { on = sender early-talker = no action = refuse }",
     {.label = "early-talker: a condition of any rule behind it",
      .turns = {C("EHLO x\r\n"), S("220 mail ESMTP\r\n250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK), END},
      .server_reads = {CHANGE("RCPT TO:<b@example.com>", "NOOP                   ")},
      .client_reads = {CHANGE("250 2.1.5 Recipient ok", "450 4.7.1 Later")}}},
    {"protected = {\"10.1.0.2\", \"2001:db8::2\", \"203.0.113.0/24\"}\n"
     "rule \"in\" { on = connect direction = inbound action = log continue = yes }\n"
     "rule \"out\" { on = connect direction = outbound action = log continue = yes }",
     {.label = "direction: to a protected server",
      .turns = {GREET, EHLO, S(PLAIN), END},
      .of_client = "@in=log EHLO QUIT"}},
    {"protected = {\"10.1.0.1\", \"2001:db8::/127\"}\n"
     "rule \"in\" { on = connect direction = inbound action = log continue = yes }\n"
     "rule \"them\" { on = connect peer = {\"10.1.0.2/31\", \"2001:db8::2\"} action = log continue = yes }\n"
     "rule \"us\" { on = connect peer = {\"10.1.0.1\", \"2001:db8::1\"} action = log continue = yes }\n"
     "rule \"out\" { on = connect direction = outbound action = log continue = yes }",
     {.label = "direction: from a protected server, and who is at the other end",
      .turns = {GREET, EHLO, S(PLAIN), END},
      .of_client = "@them=log @out=log EHLO QUIT"}},
    {"rule \"from\" { on = sender match = {\"sp\xc3\xa4m.example\"} action = refuse }\n"
     "rule \"to\" { on = recipient match = {\"file:" LISTED "\"} action = refuse code = 550 text = \"5.7.1 No\" }",
     {.label = "domains: one in U-labels in a rule file, A-labels in a list, and whatever a client writes",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C("MAIL FROM:<a@xn--spm-rla.example>\r\n"), S(DONE),
                C("MAIL FROM:<a@SP\xc3\x84M.Example> SMTPUTF8\r\n"), S(DONE),
                C("MAIL FROM:<a@x.XN--SPM-RLA.example>\r\n"), S(DONE), C(MAIL), S("250 ok\r\n"),
                C("RCPT TO:<b@b\xc3\xbc\x63her.example>\r\n"), S(DONE), C("RCPT TO:<b@XN--BCHER-KVA.example>\r\n"),
                S(DONE), C(RCPT), S(OK), END},
      .client_reads = {CHANGE(DONE, "450 4.7.1 Try again later\r\n"), CHANGE(DONE, "450 4.7.1 Try again later\r\n"),
                       CHANGE(DONE, "450 4.7.1 Try again later\r\n"), CHANGE(DONE, "550 5.7.1 No\r\n"),
                       CHANGE(DONE, "550 5.7.1 No\r\n")},
      .server_reads = {CHANGE("MAIL FROM:<a@xn--spm-rla.example>", "NOOP                             "),
                       CHANGE("MAIL FROM:<a@SP\xc3\x84M.Example> SMTPUTF8", "NOOP                                "),
                       CHANGE("MAIL FROM:<a@x.XN--SPM-RLA.example>", "NOOP                               "),
                       CHANGE("RCPT TO:<b@b\xc3\xbc\x63her.example>", "NOOP                       "),
                       CHANGE("RCPT TO:<b@XN--BCHER-KVA.example>", "NOOP                             ")}}},
    {"rule \"from\" { on = sender match = {\"b\xc3\xbc\x63her.example\"} action = log }\n"
     "rule \"to\" { on = recipient match = {\"example.com\"} action = log }",
     {.label = "domains: those of an address that is longer than any",
      .turns = {GREET, EHLO, S("250 mail\r\n"), C("MAIL FROM:<" LONG "@b\xc3\xbc\x63her.example> SMTPUTF8\r\n"),
                S("250 ok\r\n"), C("RCPT TO:<" LONG "@example.com>\r\n"), S(OK), END},
      .of_client = "EHLO @from=log MAIL @to=log RCPT QUIT"}},
    {"rule \"to\" { on = recipient match = {\"office@example.com\", \"kiss@\", \"m\xc3\xbcller@\", "
     "\"B\xc3\x84*@*\", \"mass.example\", \"*@test.example\", \"mas*@example.com\", '/^boss@/'} action = log }",
     {.label = "addresses: letters that servers take for those of ASCII",
      .turns = {GREET,           EHLO,
                S(PLAIN),        C(MAIL),
                S("250 ok\r\n"), C("RCPT TO:<M\xc3\x9cLLER@example.com>\r\n"),
                S(OK),           C("RCPT TO:<B\xc3\x84r@example.com>\r\n"),
                S(OK),           C("RCPT TO:<o\xef\xac\x83\x63\x65@example.com>\r\n"),
                S(OK),           C("RCPT TO:<\xe2\x84\xaai\xc3\x9f@example.net>\r\n"),
                S(OK),           C("RCPT TO:<ma\xc5\xbfx@example.com>\r\n"),
                S(OK),           C("RCPT TO:<bo\xe1\xba\x9e@example.com>\r\n"),
                S(OK),           C("RCPT TO:<x@ma\xc3\x9f.example>\r\n"),
                S(OK),           C("RCPT TO:<x@te\xef\xac\x86.example>\r\n"),
                S(OK),           C("RCPT TO:<mas\xc3\xbf@example.net>\r\n"),
                S(OK),           END},
      .of_client =
          "EHLO MAIL @to=log RCPT @to=log RCPT @to=log RCPT @to=log RCPT @to=log RCPT @to=log RCPT @to=log RCPT "
          "@to=log RCPT RCPT QUIT"}},
    {"rule \"told\" { on = sender match = {\"xn--spm-rla.example.\"} action = log }",
     {.label = "domains: a final dot in a rule file, and one that nothing takes away",
      .turns = {GREET, EHLO, S(PLAIN), C("MAIL FROM:<a@sp\xc3\xa4m.example.> SMTPUTF8\r\n"), S("250 ok\r\n"), END},
      .of_client = "EHLO @told=log MAIL QUIT"}},
    {"rule \"grey\" { on = recipient action = greylist }",
     {.label = "domains: the greylist is asked about one form of them",
      .turns = {GREET, EHLO, S(PLAIN), C("MAIL FROM:<a@SP\xc3\x84M.Example.> SMTPUTF8\r\n"), S("250 ok\r\n"),
                C("RCPT TO:<b@sp\xc3\xa4m.example>\r\n"), S(OK), END},
      .questions = 1u << QUESTION_RECIPIENT,
      .live_only = true,
      .asked = "a@xn--spm-rla.example>b@xn--spm-rla.example"}},
    {BALANCED TOLD,
     {.label = "case 13, balancers: rules see the client that a PROXY v1 header tells",
      .turns = {C(PROXIED), GREET, EHLO, S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(DONE), END},
      .client_reads = {CHANGE(DONE, "550 5.7.1 Not from there\r\n")},
      .server_reads = {CHANGE("RCPT TO:<b@example.com>", "NOOP                   ")},
      .of_client = "@seen=log EHLO MAIL RCPT~ QUIT"}},
    {BALANCED TOLD,
     {.label = "balancers: the same of v2, behind whose addresses more is said",
      .turns = {C(V2 "\x21\x11\0\x12\xc0\0\x02\x07\x0a\x01\0\x02\x9c\x40\0\x19\x03\0\x03\r\n\n"), GREET, EHLO,
                S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(DONE), END},
      .client_reads = {CHANGE(DONE, "550 5.7.1 Not from there\r\n")},
      .server_reads = {CHANGE("RCPT TO:<b@example.com>", "NOOP                   ")},
      .of_client = "@seen=log EHLO MAIL RCPT~ QUIT"}},
    {BALANCED TOLD,
     {.label = "balancers: a client of IPv6, which the rules do not mean",
      .turns = {C("PROXY TCP6 2001:db8:7::1 ::ffff:10.1.0.2 40000 25\r\n"), GREET, EHLO, S("250 mail\r\n"), C(MAIL),
                S("250 ok\r\n"), C(RCPT), S(OK), END},
      .of_client = "EHLO MAIL RCPT QUIT"}},
    {BALANCED TOLD,
     {.label = "balancers: a client of IPv4, told in the form of IPv6",
      .turns = {C("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.1.0.2 40000 25\r\n"), GREET, EHLO, S("250 mail\r\n"), C(MAIL),
                S("250 ok\r\n"), C(RCPT), S(DONE), END},
      .client_reads = {CHANGE(DONE, "550 5.7.1 Not from there\r\n")},
      .server_reads = {CHANGE("RCPT TO:<b@example.com>", "NOOP                   ")},
      .of_client = "@seen=log EHLO MAIL RCPT~ QUIT"}},
    {BALANCED "protected = {\"10.1.0.0/24\", \"2001:db8::/64\"}\nstrip = {}\n"
              "rule \"in\" { on = sender direction = inbound match = {\"a@example.net\"} action = refuse }",
     {.label = "balancers: rules for the client are in force from the very end of the header on",
      .turns = {C(PROXIED "MAIL FROM:<a(c)@example.net>\r\n"), S("220 hi\r\n" DONE), END},
      .server_reads = {CHANGE("MAIL FROM:<a(c)@example.net>", "NOOP                        ")},
      .client_reads = {CHANGE(DONE, "450 4.7.1 Try again later\r\n")}}},
    {BALANCED TOLD,
     {.label = "balancers: an EHLO that the server refuses is no reply to the header",
      .turns = {C("PROXY UNKNOWN\r\n"), GREET, EHLO, S("502 5.5.1 not here\r\n"), C("HELO x\r\n"), S("250 mail\r\n"),
                END},
      .of_client = "EHLO HELO QUIT",
      .of_server = "connect=220 EHLO=502 HELO=250 QUIT=221"}},
    {BALANCED TOLD,
     {.label = "balancers: one that asks for itself (LOCAL)",
      .turns = {C(V2 "\x20\0\0\0"), GREET, C("QUIT\r\n"), S("221 bye\r\n")},
      .of_client = "QUIT",
      .of_server = "connect=220 QUIT=221"}},
    {BALANCED TOLD,
     {.label = "balancers: one without a header is its own client",
      .turns = {GREET, C("PROX\r\n"), S("500 no\r\n"), END},
      .of_client = "unknown QUIT"}},
    {BALANCED TOLD,
     {.label = "balancers: one without a header that talks early",
      .turns = {C("PRINT\r\n"), S("220 mail ESMTP\r\n500 no\r\n"), END},
      .of_client = "!early-talker unknown QUIT"}},
    {"rule \"verbs\" { on = command match = {\"unknown\"} action = refuse code = 500 "
     "text = \"5.5.1 Unrecognized command\" }\n" TOLD,
     {.label = "case 13: balancers: a PROXY v1 header of another one is no unknown verb, and tells nothing",
      .turns = {C(PROXIED), GREET, EHLO, S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT), S(OK), C(PROXIED),
                S(DONE), END},
      .client_reads = {CHANGE(DONE, REFUSED)},
      .server_reads = {CHANGE(RCPT PROXIED, RCPT "NOOP                                  \r\n")},
      .of_client = "unknown EHLO MAIL RCPT unknown~ QUIT"}},
    {BALANCED "rule \"grey\" { on = recipient action = greylist }",
     {.label = "balancers: the greylist is asked about the client that is told",
      .turns = {C(PROXIED), GREET, EHLO, S("250 mail\r\n"), C(MAIL), S("250 ok\r\n"), C(RCPT),
                S("550 5.1.1 Unknown here\r\n"), END},
      .questions = 1u << QUESTION_RECIPIENT | 1u << QUESTION_CLIENT,
      .answer = is_told,
      .asked = "client a@example.net>b@example.com",
      .of_client = "EHLO MAIL a@example.net>b@example.com=pass,known RCPT QUIT",
      .live_only = true}},
    {"on-lost-pairing = reset\nstrip = {}",
     {.label = "settings: what does not lose the pairing is as before", .turns = {GREET, EHLO, OFFER, END}}},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static struct conf *read_rules(const char *text)
{
    char path[64], message[512];
    struct conf *conf = calloc(1, sizeof *conf);
    int fd = memfd_create("rules", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!conf || fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    conf_init(conf);
    if (!conf_read(conf, path, message, sizeof message)) {
        printf("Bail out! %s\n", message);
        exit(1);
    }
    close(fd);
    return conf;
}

/* The client of whom a balancer told is with all events from there on, beside the end that opened the connection. */
static void test_told(void **state)
{
    (void)state;
    static const struct dialogue_turn turns[] = {C(PROXIED), GREET, EHLO, S("250 mail\r\n"), END};
    static const uint8_t told[] = {192, 0, 2, 7};
    struct conf *conf = read_rules(BALANCED);
    struct drive_plan plan = {.policy = &conf->policy};
    struct drive *drive = dialogue_play("told", turns, sizeof turns / sizeof turns[0], &plan);
    size_t with = 0;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        assert_int_equal(event->client.address[0], 10);
        assert_int_equal(event->told.ip_version, event->kind == EVENT_FLOW_START ? 0 : 4);
        if (event->kind == EVENT_FLOW_START)
            continue;
        assert_memory_equal(event->told.end.address, told, sizeof told);
        assert_int_equal(event->told.end.port, 40000);
        with++;
    }
    assert_true(with >= 5);
    drive_free(drive);
    conf_free(conf);
    free(conf);
}

int main(void)
{
    const struct CMUnitTest more[] = {
        {"balancers: the client that is told is with all events", test_told, NULL, NULL, NULL},
    };
    static const char listed[] = "# theirs\nxn--bcher-kva.example\n";
    static struct dialogue dialogues[ROWS];
    int list = memfd_create("list", 0);
    if (write(list, listed, sizeof listed - 1) < 0 || dup2(list, 100) != 100)
        abort();
    struct conf *confs[ROWS];
    for (size_t i = 0; i < ROWS; i++) {
        confs[i] = read_rules(rows[i].rules);
        dialogues[i] = rows[i].dialogue;
        dialogues[i].policy = &confs[i]->policy;
    }
    int failed = dialogue_run("rules", dialogues, ROWS, more, sizeof more / sizeof more[0]);
    for (size_t i = 0; i < ROWS; i++) {
        conf_free(confs[i]);
        free(confs[i]);
    }
    return failed;
}
