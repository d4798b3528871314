/* Events and records against what both sides read: what left, who got which reply from whom, and why. */
#include "../lib/dialogue.h"
#include "../lib/one.h"
#include "../lib/rules.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "report/json.h"
#include "report/session.h"

#define GREETED    S("220 mail.example.com ESMTP\r\n"), EHLO, OFFER
#define EHLO       C("EHLO client.example.net\r\n")
#define OFFER      S("250-mail.example.com\r\n250-PIPELINING\r\n250-XEXCH50\r\n250 CHUNKING\r\n")
#define NO_GROUPS  S("220 mail.example.com ESMTP\r\n"), EHLO, S("250-mail.example.com\r\n250 HELP\r\n")
#define MAIL       "MAIL FROM:<a@example.net>\r\n"
#define GOOD       "RCPT TO:<good@example.com>\r\n"
#define OK         "250 2.1.5 Everything is very well\r\n"
#define MESSAGE    "Subject: x\r\n\r\ntext\r\n.\r\n"
#define A20        "AAAAAAAAAAAAAAAAAAAA"
#define A100       A20 A20 A20 A20 A20
#define A500       A100 A100 A100 A100 A100
#define STRIPPED   "{reply EHLO removed 'strip'}"
#define SLOW_US    25000
#define EVENT_TEXT 1024

static struct policy policy;

static void add_rule(const char *name, enum rule_event on, const char *pattern, enum smtp_action_kind kind,
                     const char *line)
{
    rules_add(&policy, name, on, pattern, kind, line);
}

static void fill_policy(void)
{
    policy_init_default(&policy);
    add_rule("spoil them", RULE_ON_RECIPIENT, "spoil@*", SMTP_ACTION_REFUSE, "550 5.7.1 No");
    add_rule("void them", RULE_ON_RECIPIENT, "void@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    add_rule("not him", RULE_ON_SENDER, "bad@*", SMTP_ACTION_REFUSE, "550 5.7.1 Not from you");
    add_rule("no VRFY", RULE_ON_COMMAND, "VRFY", SMTP_ACTION_REFUSE, "502 5.5.1 No");
    add_rule("in clear", RULE_ON_STARTTLS, NULL, SMTP_ACTION_REFUSE, "454 4.7.0 Not now");
    add_rule("go away", RULE_ON_COMMAND, "EXPN", SMTP_ACTION_CLOSE, "421 4.7.0 Closing connection");
    add_rule("caf\xe9\n", RULE_ON_COMMAND, "ETRN", SMTP_ACTION_REFUSE, "458 4.0.0 No");
}

/* ---- records ----------------------------------------------------------------------------------- */

struct row {
    const char *label;
    const char *told; /* see summary */
    struct dialogue_turn turns[DIALOGUE_TURNS_MAX];
    bool without_rules;
};

static const struct row rows[] = {
    {.label = "a mail",
     .told = "smtp accepted DATA 23 250 - <good@example.com>=250 session closed 1/1 " STRIPPED,
     .turns = {GREETED, C(MAIL), S(OK), C(GOOD), S(OK), C("DATA\r\n"), S("354 go\r\n"), C(MESSAGE),
               S("250 queued\r\n")}},
    {.label = "a message that nobody answers, more behind it",
     .told = "smtp unfinished DATA 23 354 - <good@example.com>=250 session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL), S(OK), C(GOOD), S(OK), C("DATA\r\n"), S("354 go\r\n"),
               C(MESSAGE MAIL GOOD "BDAT 3\r\nabc")}},
    {.label = "chunks of which nobody answers the last, which is not complete",
     .told = "smtp unfinished BDAT 12 250 - <good@example.com>=250 session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("BDAT 3\r\nabc"), S("250 ok\r\n"),
               C("BDAT 4\r\nabcdBDAT 9 LAST\r\nabcde")}},
    {.label = "recipients whom the server refuses",
     .told = "smtp unfinished - 0 - - <good@example.com>=250 <no@example.com>=550:server session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD "RCPT TO:<no@example.com>\r\n"), S(OK OK "550 5.1.1 unknown\r\n")}},
    {.label = "one recipient spoiled inside a group",
     .told = "smtp accepted DATA 23 250 - <good@example.com>=250 <spoil@example.com>=550:filter(501)'spoil them' "
             "{command RCPT replaced 'spoil them'} {reply RCPT replaced 'spoil them'} session closed 1/1 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD "RCPT TO:<spoil@example.com>\r\nDATA\r\n"),
               S(OK OK "501 5.1.3 Bad recipient address syntax\r\n354 go\r\n"), C(MESSAGE), S("250 queued\r\n")}},
    {.label = "one recipient spoiled alone",
     .told = "smtp unfinished - 0 - - <spoil@example.com>=550:filter(250)'spoil them' <good@example.com>=250 "
             "{command RCPT replaced 'spoil them'} {reply NOOP replaced 'spoil them'} session closed 1/0",
     .turns = {NO_GROUPS, C(MAIL), S(OK), C("RCPT TO:<spoil@example.com>\r\n"), S("250 2.0.0 Nothing done\r\n"),
               C(GOOD), S(OK)}},
    {.label = "a void transaction, DATA covered",
     .told = "smtp refused DATA 0 450 filter(250)'void them' <void@example.com>=450:filter(250)'void them' "
             "{reply RCPT replaced 'void them'} {command DATA replaced 'void'} {reply RSET replaced 'void them'} "
             "session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL "RCPT TO:<void@example.com>\r\n"), S(OK OK), C("DATA\r\n"), S(OK), C("RSET\r\n"),
               S(OK)}},
    {.label = "a void transaction, BDAT without its LAST",
     .told = "smtp refused BDAT 5 450 filter(250)'void them' <void@example.com>=450:filter(250)'void them' "
             "{reply RCPT replaced 'void them'} {command BDAT replaced 'void'} {reply BDAT replaced 'void them'} "
             "session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL "RCPT TO:<void@example.com>\r\n"), S(OK OK), C("BDAT 5 LAST\r\nx\r\ny\n"), S(OK)}},
    {.label = "the server's own refusal in a void transaction",
     .told = "smtp unfinished - 0 - - <void@example.com>=550:server session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL "RCPT TO:<void@example.com>\r\n"), S(OK "550 5.1.1 unknown\r\n")}},
    {.label = "a sender refused: no transaction",
     .told = "session closed 0/0 " STRIPPED " {command MAIL replaced 'not him'} {reply RSET replaced 'not him'}",
     .turns = {GREETED, C("MAIL FROM:<bad@example.net>\r\n"), S(OK)}},
    {.label = "covered commands do not shift what replies answer",
     .told = "smtp accepted DATA 23 250 - <good@example.com>=250 <no@example.com>=550:server "
             "{command VRFY replaced 'no VRFY'} {reply NOOP replaced 'no VRFY'} session closed 1/1 " STRIPPED
             " {command MAIL replaced 'not him'} {reply RSET replaced 'not him'}",
     .turns = {GREETED, C("MAIL FROM:<bad@example.net>\r\n" MAIL GOOD "VRFY x\r\n"), S(OK OK OK OK),
               C("RCPT TO:<no@example.com>\r\nDATA\r\n"), S("550 5.1.1 unknown\r\n354 go\r\n"), C(MESSAGE),
               S("250 ok\r\n")}},
    {.label = "two mails in flight",
     .told = "smtp accepted DATA 23 250 - <good@example.com>=250 smtp accepted DATA 3 250 - <e@f>=250 session closed "
             "2/2 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD "DATA\r\n"), S(OK OK "354 go\r\n"),
               C(MESSAGE "MAIL FROM:<>\r\nRCPT TO:<e@f>\r\nDATA\r\n"), S("250 queued\r\n" OK OK "354 go\r\n"),
               C(".\r\n"), S("250 queued\r\n")}},
    {.label = "chunks, and authentication that is none of the message",
     .told = "smtp accepted BDAT 12 250 - <good@example.com>=250 session closed 1/1 " STRIPPED,
     .turns = {GREETED, C("AUTH LOGIN\r\n"), S("334 VXNlcm5hbWU6\r\n"), C("dXNlcg==\r\n"), S("235 ok\r\n"),
               C(MAIL GOOD), S(OK OK), C("BDAT 7\r\nabc\r\nde"), S("250 ok\r\n"), C("BDAT 5 LAST\r\nfghij"),
               S("250 queued\r\n")}},
    {.label = "a chunk refused",
     .told = "smtp reset BDAT 0 552 server <good@example.com>=250 session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("BDAT 0\r\n"), S("552 too much\r\n"), C("RSET\r\n"), S(OK)}},
    {.label = "DATA refused by the server",
     .told = "smtp unfinished DATA 0 451 server <good@example.com>=250 session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("DATA\r\n"), S("451 no\r\n")}},
    {.label = "a message that never ended",
     .told = "smtp unfinished DATA 6 354 - <good@example.com>=250 session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("DATA\r\n"), S("354 go\r\n"), C("half a")}},
    {.label = "a chunk that never ended",
     .told = "smtp unfinished - 4 - - <good@example.com>=250 session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("BDAT 100 LAST\r\nhalf")}},
    {.label = "STARTTLS in a transaction",
     .told = "smtp not-followed tls - 0 - - <good@example.com>=250 session closed 1/0 tls #encrypted " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("STARTTLS\r\n"), S("220 go\r\n"), C("\x16\x03\x01"), S("\x16\x03")},
     .without_rules = true},
    {.label = "X-ANONYMOUSTLS",
     .told = "session closed 0/0 tls #encrypted " STRIPPED,
     .turns = {GREETED, C("X-ANONYMOUSTLS\r\n"), S("220 go\r\n"), C("\x16\x03\x01")},
     .without_rules = true},
    {.label = "STARTTLS refused by the server",
     .told = "session closed 0/0 " STRIPPED,
     .turns = {GREETED, C("STARTTLS\r\n"), S("454 no\r\n")},
     .without_rules = true},
    {.label = "STARTTLS refused by a rule",
     .told = "session closed 0/0 " STRIPPED " {command STARTTLS replaced 'in clear'} {reply NOOP replaced 'in clear'}",
     .turns = {GREETED, C("STARTTLS\r\n"), S(OK)}},
    {.label = "closed by a rule, and what follows",
     .told = "smtp unfinished - 0 - - <good@example.com>=250 {command EXPN replaced 'go away'} "
             "{reply QUIT replaced 'go away'} {command NOOP replaced 'closing'} session closed 1/0 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD), S(OK OK), C("EXPN list\r\nNOOP\r\n"), S("221 2.0.0 Closing connection\r\n")}},
    {.label = "a rule whose name is no UTF-8",
     .told = "session closed 0/0 " STRIPPED " {command ETRN replaced 'caf\\xe9'} {reply NOOP replaced 'caf\\xe9'}",
     .turns = {GREETED, C("ETRN x\r\n"), S(OK)}},
    {.label = "LMTP: a reply for each recipient",
     .told = "smtp accepted DATA 23 452 server <good@example.com>=250/250 <no@example.com>=550:server <e@f>=250/452 "
             "session closed 1/1",
     .turns = {S("220 x\r\n"), C("LHLO x\r\n"), S("250 x\r\n"),
               C(MAIL GOOD "RCPT TO:<no@example.com>\r\nRCPT TO:<e@f>\r\n"), S(OK OK "550 no\r\n" OK), C("DATA\r\n"),
               S("354 go\r\n"), C(MESSAGE), S("250 ok\r\n452 full\r\n")}},
    {.label = "PRDR: one for each recipient, and one for all",
     .told = "smtp accepted DATA 23 250 - <good@example.com>=250/250 <e@f>=250/550 session closed 1/1 " STRIPPED,
     .turns = {GREETED, C(MAIL GOOD "RCPT TO:<e@f>\r\n"), S(OK OK OK), C("DATA\r\n"), S("354 go\r\n"), C(MESSAGE),
               S("353 more\r\n250 ok\r\n550 no\r\n250 all\r\n")}},
    {.label = "anomalies are counted",
     .told = "session closed 0/0 !nul-in-command !nul-in-command " STRIPPED
             " {command NOOP replaced 'nul-in-command'} {reply NOOP replaced 'nul-in-command'} {command NOOP replaced "
             "'nul-in-command'} {reply NOOP replaced 'nul-in-command'}",
     .turns = {GREETED, C("NOOP \0\r\nNOOP \0\r\n"), S(OK OK)}},
    {.label = "octets that are no UTF-8",
     .told =
         "smtp unfinished - 0 - - <caf\\xe9@x>=550:server <\\x5c\\x1b[31m>=501:filter(550)'unreadable-address' "
         "{command RCPT replaced 'unreadable-address'} {reply RCPT replaced 'unreadable-address'} session closed 1/0 "
         "!unreadable-address " STRIPPED,
     .turns = {GREETED, C(MAIL "RCPT TO:<caf\xe9@x>\r\nRCPT TO:<\\\033[31m>\r\n"), S(OK "550 \xff\r\n550 no\r\n")}},
};

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static void write_number(FILE *out, const json_t *object, const char *key, const char *before)
{
    const json_t *number = json_object_get(object, key);
    if (number)
        fprintf(out, "%s%lld", before, (long long)json_integer_value(number));
}

/* ":server", or ":filter(server's code)'rule'". */
static void write_refuser(FILE *out, const json_t *answer)
{
    fprintf(out, "%s", text_of(answer, "refused_by"));
    write_number(out, answer, "server_code", "(");
    if (json_object_get(answer, "rule"))
        fprintf(out, ")'%s'", text_of(answer, "rule"));
}

static void write_changes(FILE *out, const json_t *postern)
{
    size_t i;
    json_t *change;
    json_array_foreach(json_object_get(postern, "changes"), i, change)
        fprintf(out, " {%s %s %s '%s'}", text_of(change, "what"), text_of(change, "verb"), text_of(change, "change"),
                text_of(change, "why"));
}

static void write_transaction(FILE *out, const json_t *postern)
{
    size_t i;
    json_t *recipient;
    fprintf(out, "smtp %s%s %s", text_of(postern, "outcome"),
            json_is_true(json_object_get(postern, "tls")) ? " tls" : "", text_of(postern, "method"));
    write_number(out, postern, "octets", " ");
    if (json_object_get(postern, "code"))
        write_number(out, postern, "code", " ");
    else
        fprintf(out, " -");
    fprintf(out, " ");
    write_refuser(out, postern);
    json_array_foreach(json_object_get(postern, "recipients"), i, recipient)
    {
        fprintf(out, " %s", text_of(recipient, "address"));
        write_number(out, recipient, "code", "=");
        write_number(out, recipient, "message_code", "/");
        if (json_object_get(recipient, "refused_by")) {
            fprintf(out, ":");
            write_refuser(out, recipient);
        }
    }
    write_number(out, postern, "recipients_omitted", " omitted ");
}

static void write_session(FILE *out, const json_t *postern)
{
    size_t i;
    json_t *name;
    fprintf(out, "session %s", text_of(postern, "ended"));
    write_number(out, postern, "transactions", " ");
    write_number(out, postern, "accepted", "/");
    json_array_foreach(json_object_get(postern, "anomalies"), i, name) fprintf(out, " !%s", json_string_value(name));
    if (json_is_true(json_object_get(postern, "tls")))
        fprintf(out, " tls");
    if (json_is_string(json_object_get(postern, "unedited")))
        fprintf(out, " #%s", text_of(postern, "unedited"));
}

/*
 * What the records say, in words; the caller frees it.
 *     smtp OUTCOME [tls] METHOD OCTETS CODE BY  ADDRESS=CODE[/of the message]:BY ...  {what verb change 'why'} ...
 *     session ENDED TRANSACTIONS/ACCEPTED !ANOMALY [tls] #UNEDITED  {what verb change 'why'} ...
 */
static char *summary(const char *lines)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    for (const char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *record = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        json_t *postern = json_object_get(record, "postern");
        assert_non_null(postern);
        if (line > lines)
            fprintf(out, " ");
        if (strcmp(text_of(record, "event_type"), "smtp") == 0)
            write_transaction(out, postern);
        else
            write_session(out, postern);
        write_changes(out, postern);
        json_decref(record);
    }
    assert_int_equal(fclose(out), 0);
    return text;
}

/* The lines that the records of a run take; the caller frees them. */
static char *records_of(const struct drive *drive, struct sessions *sessions)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_true(out && sessions);
    for (size_t i = 0; i < drive_event_count(drive); i++)
        assert_true(sessions_take(sessions, &drive_event(drive, i)->event, out));
    assert_int_equal(fclose(out), 0);
    return text;
}

static void check_records(const struct row *row, const struct drive_plan *plan)
{
    struct drive *drive = dialogue_play(row->label, row->turns, DIALOGUE_TURNS_MAX, plan);
    struct sessions *sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    char *lines = records_of(drive, sessions);
    char *told = summary(lines);
    if (strcmp(told, row->told) != 0)
        fail_msg("%s, cut %d:\n#   %s\n# is told, expected is\n#   %s", row->label, (int)plan->cut, told, row->told);
    free(told);
    free(lines);
    sessions_free(sessions);
    drive_free(drive);
}

static void test_records(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        for (int cut = DRIVE_WHOLE; cut <= DRIVE_LINES; cut++) {
            struct drive_plan plan = {
                .cut = (enum drive_cut)cut, .seed = 1, .policy = rows[i].without_rules ? NULL : &policy};
            check_records(&rows[i], &plan);
        }
    }
}

/* The names that clients said, each that of its transaction, the last that of the session. */
static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *label, *names;
        struct dialogue_turn turns[DIALOGUE_TURNS_MAX];
    } dialogues[] = {
        {"an EHLO in a transaction ends it, and names what follows",
         "client.example.net other.example other.example",
         {GREETED, C(MAIL), S(OK), C("EHLO other.example\r\n"), OFFER, C(MAIL), S(OK), C("RSET\r\n"), S(OK)}},
        {"an EHLO behind a message, before its reply",
         "client.example.net second.example",
         {GREETED, C(MAIL GOOD "DATA\r\n"), S(OK OK "354 go\r\n"), C(MESSAGE "HELO second.example\r\n"),
          S("250 queued\r\n250 mail\r\n")}},
        {"an EHLO that was refused",
         "client.example.net client.example.net",
         {GREETED, C("EHLO\r\n"), S("501 Syntax: EHLO hostname\r\n"), C(MAIL), S(OK), C("LHLO x\r\n"), S("500 no\r\n"),
          C("RSET\r\n"), S(OK)}},
    };
    for (size_t i = 0; i < sizeof dialogues / sizeof dialogues[0]; i++) {
        struct drive_plan plan = {.cut = DRIVE_WHOLE, .seed = 1, .policy = &policy};
        struct drive *drive = dialogue_play(dialogues[i].label, dialogues[i].turns, DIALOGUE_TURNS_MAX, &plan);
        struct sessions *sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
        char *lines = records_of(drive, sessions), names[256] = "";
        for (const char *line = lines, *end; (end = strchr(line, '\n')); line = end + 1) {
            json_t *record = json_loadb(line, (size_t)(end - line), 0, NULL);
            size_t len = strlen(names);
            snprintf(names + len, sizeof names - len, "%s%s", len ? " " : "",
                     text_of(json_object_get(record, "smtp"), "helo"));
            json_decref(record);
        }
        if (strcmp(names, dialogues[i].names) != 0)
            fail_msg("%s: %s", dialogues[i].label, names);
        free(lines);
        sessions_free(sessions);
        drive_free(drive);
    }
}

/* ---- what events say that left ------------------------------------------------------------------- */

static void append(struct span *stream, struct span octets)
{
    uint8_t *longer = malloc(stream->len + octets.len + 1);
    assert_non_null(longer);
    if (stream->len)
        memcpy(longer, stream->ptr, stream->len);
    if (octets.len)
        memcpy(longer + stream->len, octets.ptr, octets.len);
    free((void *)(uintptr_t)stream->ptr);
    *stream = (struct span){longer, stream->len + octets.len};
}

/* Every line is told, and as it left. */
static void check_left(const char *label, const struct drive *drive, enum smtp_side side)
{
    struct span told = {0};
    append(&told, span_of(""));
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        bool line = event->kind == EVENT_COMMAND || event->kind == EVENT_REPLY;
        assert_true(event->text.len <= EVENT_TEXT && event->shown.len <= EVENT_TEXT);
        if (line && event->from_server == (side == SMTP_SERVER) && event->change != EVENT_REMOVED)
            append(&told, event->change == EVENT_KEPT ? event->text : event->shown);
    }
    struct span read = drive_read(drive, (enum smtp_side) !side);
    if (!span_equal(told, read)) {
        dialogue_print_span("told", told);
        dialogue_print_span("read", read);
        fail_msg("%s: what the %s is said to have sent on is not what was read", label,
                 side == SMTP_SERVER ? "server" : "client");
    }
    free((void *)(uintptr_t)told.ptr);
}

static void test_left(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct dialogue_turn turns[DIALOGUE_TURNS_MAX];
        bool in_time; /* a pause inside a line would end it otherwise: by a reset */
    } lines[] = {
        {.label = "refusals in place of replies",
         .turns = {GREETED, C(MAIL GOOD "RCPT TO:<void@example.com>\r\n"), S(OK OK OK), C("VRFY someone\r\n"),
                   S("250 2.0.0 Nothing done\r\n"), C("RSET\r\n"), S(OK), C("RCPT TO:<spoil@example.com>\r\n"),
                   S("503-5.5.1 Which\r\n503 5.5.1 one?\r\n"), C("QUIT\r\n"), S("221 bye\r\n")}},
        {.label = "refusals in place of replies of many lines",
         .turns = {GREETED, C("VRFY someone\r\n"), S("250-2.0.0 Nothing\r\n250-2.0.0 at all\r\n250 2.0.0 done\r\n"),
                   C("XEXCH50 1 2\r\n"), S("250-2.0.0 Nothing\r\n250 done\r\n"), C("QUIT\r\n"), S("221 bye\r\n")}},
        {.label = "keywords stripped, the last one too",
         .turns = {S("220 x\r\n"), EHLO, S("250-x\r\n250-X-LINK2STATE\r\n250-HELP\r\n250 XEXCH50\r\n"), C("NOOP\r\n"),
                   S(OK)}},
        {.label = "closed",
         .turns = {GREETED, C("NOOP\r\nEXPN list\r\nNOOP\r\n"), S(OK), S("221 2.0.0 Closing connection\r\n")},
         .in_time = true},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!one_row(lines[i].label))
            continue;
        for (uint64_t seed = 1; seed <= 40; seed++) {
            struct drive_plan plan = {.policy = &policy, .seed = seed};
            plan.cut = seed <= 3 ? (enum drive_cut)(seed - 1) : DRIVE_RANDOM;
            plan.step_us = seed % 2 || lines[i].in_time ? 0 : SLOW_US;
            plan.peers = seed % 4 < 2 ? ENGINE_PEERS_LIVE : ENGINE_PEERS_RECORDED;
            struct drive *drive = dialogue_play(lines[i].label, lines[i].turns, DIALOGUE_TURNS_MAX, &plan);
            check_left(lines[i].label, drive, SMTP_CLIENT);
            check_left(lines[i].label, drive, SMTP_SERVER);
            drive_free(drive);
        }
    }
}

static void test_long_changed_lines(void **state)
{
    (void)state;
    static const struct dialogue_turn turns[DIALOGUE_TURNS_MAX] = {
        GREETED, C("XEXCH50 1 2 " A500 A500), C(A500 "\r\n"), S(OK), C("QUIT\r\n"), S("221 bye\r\n")};
    struct drive_plan plan = {.seed = 1, .step_us = SLOW_US};
    struct drive *drive = dialogue_play("a long line in pieces", turns, DIALOGUE_TURNS_MAX, &plan);
    bool seen = false;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        assert_true(event->text.len <= EVENT_TEXT && event->shown.len <= EVENT_TEXT);
        seen = seen || (event->kind == EVENT_COMMAND && event->change == EVENT_REPLACED &&
                        event->shown.len == EVENT_TEXT && memcmp(event->shown.ptr, "NOOP ", 5) == 0);
    }
    assert_true(seen);
    drive_free(drive);
}

/* ---- bounds -------------------------------------------------------------------------------------- */

/* Events as the engine tells them, made here. */
static struct event made(uint64_t flow_id, enum event_kind kind, uint32_t exchange, enum smtp_verb verb,
                         const char *text)
{
    struct event event = {.kind = kind,
                          .flow_id = flow_id,
                          .ip_version = 4,
                          .from_server = kind == EVENT_REPLY,
                          .verb = verb,
                          .exchange = exchange,
                          .last = true,
                          .closes = true,
                          .text = span_of(text),
                          .reason = kind == EVENT_FLOW_END ? "closed" : ""};
    event.code = kind == EVENT_REPLY ? (uint16_t)strtol(text, NULL, 10) : 0;
    return event;
}

static void give(struct sessions *sessions, FILE *out, struct event event)
{
    assert_true(sessions_take(sessions, &event, out));
}

/* A transaction with so many recipients, up to its end. Returns what is told; the caller frees it. */
static char *many_recipients(struct sessions *sessions, uint64_t flow_id, uint32_t count, bool lost)
{
    char *lines = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&lines, &len);
    assert_non_null(out);
    give(sessions, out, made(flow_id, EVENT_FLOW_START, 0, SMTP_VERB_UNKNOWN, ""));
    give(sessions, out, made(flow_id, EVENT_COMMAND, 1, SMTP_VERB_MAIL, "MAIL FROM:<a@b>\r\n"));
    give(sessions, out, made(flow_id, EVENT_REPLY, 1, SMTP_VERB_MAIL, "250 ok\r\n"));
    for (uint32_t i = 0; i < count; i++) {
        struct event event = made(flow_id, EVENT_COMMAND, 2 + i, SMTP_VERB_RCPT, "RCPT TO:<c@d>\r\n");
        event.lost = lost && i == 1;
        give(sessions, out, event);
        give(sessions, out, made(flow_id, EVENT_REPLY, 2 + i, SMTP_VERB_RCPT, "250 ok\r\n"));
    }
    give(sessions, out, made(flow_id, EVENT_FLOW_END, 0, SMTP_VERB_UNKNOWN, ""));
    assert_int_equal(fclose(out), 0);
    return lines;
}

static json_int_t number_in(const char *line, const char *key)
{
    json_t *record = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
    json_t *value = json_object_get(json_object_get(record, "postern"), key);
    json_int_t number = json_is_array(value) ? (json_int_t)json_array_size(value) : json_integer_value(value);
    json_decref(record);
    return number;
}

static void test_recipients_beyond_the_list(void **state)
{
    (void)state;
    struct sessions *sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    char *lines = many_recipients(sessions, 1, 1007, false);
    assert_int_equal(number_in(lines, "recipients"), 1000);
    assert_int_equal(number_in(lines, "recipients_omitted"), 7);
    free(lines);
    sessions_free(sessions);
}

/* What the first connections hold is missing for the others, and there again once they are over. */
static void test_memory_is_bounded_and_given_back(void **state)
{
    (void)state;
    struct sessions *sessions = sessions_new(20000);
    char *alone = many_recipients(sessions, 1, 100, false);
    json_int_t listed = number_in(alone, "recipients");
    assert_in_range(listed, 1, 99);
    assert_int_equal(number_in(alone, "recipients_omitted"), 100 - listed);
    for (uint64_t i = 0; i < 50; i++) {
        char *again = many_recipients(sessions, 2 + i, 100, false);
        assert_int_equal(number_in(again, "recipients"), listed);
        free(again);
    }
    FILE *out = fopen("/dev/null", "w");
    assert_non_null(out);
    for (uint64_t i = 100; i < 200; i++) {
        give(sessions, out, made(i, EVENT_FLOW_START, 0, SMTP_VERB_UNKNOWN, ""));
        give(sessions, out, made(i, EVENT_COMMAND, 1, SMTP_VERB_EHLO, "EHLO " A100 "\r\n"));
    }
    char *crowded = many_recipients(sessions, 300, 100, false);
    assert_in_range(number_in(crowded, "recipients"), 0, listed - 1);
    assert_int_equal(number_in(crowded, "transactions"), 0); /* not even MAIL could be kept until its reply */
    assert_true(sessions_stop(sessions, 1000, out));
    char *after = many_recipients(sessions, 301, 100, false);
    assert_int_equal(number_in(after, "recipients"), listed);
    assert_int_equal(fclose(out), 0);
    free(alone);
    free(crowded);
    free(after);
    sessions_free(sessions);
}

static void test_lost_events_are_told(void **state)
{
    (void)state;
    struct sessions *sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    char *with = many_recipients(sessions, 1, 3, true);
    char *without = many_recipients(sessions, 2, 3, false);
    assert_non_null(strstr(with, "\"events_lost\":true"));
    assert_null(strstr(without, "events_lost"));
    free(with);
    free(without);
    sessions_free(sessions);
}

static void test_open_connections_are_told_at_the_end(void **state)
{
    (void)state;
    char *lines = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&lines, &len);
    struct sessions *sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    assert_true(out && sessions);
    give(sessions, out, made(7, EVENT_FLOW_START, 0, SMTP_VERB_UNKNOWN, ""));
    give(sessions, out, made(7, EVENT_COMMAND, 1, SMTP_VERB_MAIL, "MAIL FROM:<a@b>\r\n"));
    give(sessions, out, made(7, EVENT_REPLY, 1, SMTP_VERB_MAIL, "250 ok\r\n"));
    struct event so_far = made(7, EVENT_PAYLOAD, 0, SMTP_VERB_END_OF_DATA, "");
    so_far.octets = 321;
    so_far.unfinished = true;
    give(sessions, out, so_far);
    assert_true(sessions_stop(sessions, 2500000, out));
    assert_int_equal(fclose(out), 0);
    char *told = summary(lines);
    assert_string_equal(told, "smtp unfinished - 321 - - session stopped 1/0");
    assert_int_equal(number_in(lines, "duration_ms"), 2500);
    assert_null(strstr(lines, "client_offset"));
    free(told);
    free(lines);
    sessions_free(sessions);
}

/* A name or a line of a message has no line end in the event: it is marked as cut only where it is. */
static void test_what_is_complete(void **state)
{
    (void)state;
    static struct policy looks_inside;
    static const struct dialogue_turn turns[DIALOGUE_TURNS_MAX] = {
        GREETED, C(MAIL GOOD "DATA\r\n"), S(OK OK "354 go\r\n"),
        C("Content-Type: a/b; name=a.exe\r\nX: " A500 A100 ".exe\r\n\r\n.\r\n"), S("250 queued\r\n")};
    policy_init_default(&looks_inside);
    struct rule rule = rule_of("inside", RULE_ON_FILE_NAME);
    rule.logs = true;
    assert_true(policy_add_rule(&looks_inside, &rule));
    rule = rule_of("inside", RULE_ON_LINE);
    rule.logs = true;
    assert_true(policy_add_rule(&looks_inside, &rule));
    struct drive_plan plan = {.name = "complete", .policy = &looks_inside};
    struct drive *drive = dialogue_play("complete", turns, DIALOGUE_TURNS_MAX, &plan);
    char *lines = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&lines, &len);
    for (size_t i = 0; i < drive_event_count(drive); i++)
        if (drive_event(drive, i)->event.kind == EVENT_RULE)
            assert_true(json_write_event(out, &drive_event(drive, i)->event));
    assert_int_equal(fclose(out), 0);
    assert_non_null(strstr(lines, "\"line\":\"a.exe\""));
    assert_non_null(strstr(lines, "\"line\":\"Content-Type: a/b; name=a.exe\""));
    assert_non_null(strstr(lines, "AAAA\\\\...\""));
    free(lines);
    drive_free(drive);
}

/* A word of the filter's own is no line that was cut. */
static void test_words_are_not_cut(void **state)
{
    (void)state;
    char line[1024];
    struct event event = made(1, EVENT_ANOMALY, 0, SMTP_VERB_UNKNOWN, "memory");
    event.reason = "no-room";
    for (int complete = 0; complete < 2; complete++) {
        FILE *out = fmemopen(line, sizeof line, "w");
        event.complete = complete;
        assert_true(json_write_event(out, &event));
        assert_int_equal(fclose(out), 0);
        assert_non_null(strstr(line, complete ? "\"line\":\"memory\"" : "\"line\":\"memory\\\\...\""));
        assert_non_null(
            strstr(line, "\"anomaly\":{\"app_proto\":\"smtp\",\"type\":\"applayer\",\"event\":\"no-room\","));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"records: recipients with replies, octets, method, changes and why", test_records, NULL, NULL, NULL},
        {"records: the name that held for a transaction", test_names, NULL, NULL, NULL},
        {"events: every line as it left, in pieces too", test_left, NULL, NULL, NULL},
        {"events: long lines that were changed are capped", test_long_changed_lines, NULL, NULL, NULL},
        {"what is told of the inside of a message is marked where it is cut", test_what_is_complete, NULL, NULL, NULL},
        {"words of an anomaly are not marked as cut", test_words_are_not_cut, NULL, NULL, NULL},
        {"recipients beyond the list are counted", test_recipients_beyond_the_list, NULL, NULL, NULL},
        {"memory is bounded for all together, and given back", test_memory_is_bounded_and_given_back, NULL, NULL, NULL},
        {"events that were lost are told", test_lost_events_are_told, NULL, NULL, NULL},
        {"connections that are open are told at the end", test_open_connections_are_told_at_the_end, NULL, NULL, NULL},
    };
    fill_policy();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
