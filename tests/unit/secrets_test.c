/* report/secrets: each row is an event of one connection, told in order, and what may be told of it. */
#include "report/secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/command.h"

enum what { SENT, ANSWERED, MORE, RULE_OF_CLIENT, RULE_OF_SERVER, ODD, IN_MESSAGE, BEGUN, LOST };

struct row {
    enum what what;
    enum smtp_verb answered; /* ANSWERED, MORE */
    const char *text, *told;
};

#define SAID(text, told)                                                                                               \
    {                                                                                                                  \
        SENT, SMTP_VERB_UNKNOWN, text "\r\n", told "\r\n"                                                              \
    }
#define REPLY(verb, text, told)                                                                                        \
    {                                                                                                                  \
        ANSWERED, SMTP_VERB_##verb, text "\r\n", told "\r\n"                                                           \
    }
#define HIDDEN               SECRETS_MASK
#define AS_IT_IS(verb, text) REPLY(verb, text, text)
#define COMMAND(text)        SAID(text, text)

static struct event event_of(const struct row *row)
{
    static const enum event_kind kinds[] = {
        [SENT] = EVENT_COMMAND,        [ANSWERED] = EVENT_REPLY,      [MORE] = EVENT_REPLY,
        [RULE_OF_CLIENT] = EVENT_RULE, [RULE_OF_SERVER] = EVENT_RULE, [ODD] = EVENT_ANOMALY,
        [IN_MESSAGE] = EVENT_RULE,     [BEGUN] = EVENT_FLOW_START,    [LOST] = EVENT_COMMAND,
    };
    struct span text = span_of(row->text);
    bool reply = row->what == ANSWERED || row->what == MORE;
    unsigned code = 0;
    if (reply)
        (void)sscanf(row->text, "%3u", &code);
    return (struct event){
        .kind = kinds[row->what],
        .flow_place = 1,
        .reason = "",
        .text = text,
        .lost = row->what == LOST,
        .complete = row->what == IN_MESSAGE,
        .from_server = reply || row->what == RULE_OF_SERVER,
        .verb = reply ? row->answered : smtp_command_parse(text).verb,
        .code = (uint16_t)code,
        .last = row->what == ANSWERED,
    };
}

static void play(const struct row *rows, size_t count)
{
    struct secrets *secrets = secrets_new(2);
    for (size_t i = 0; i < count; i++) {
        struct event event = event_of(&rows[i]);
        secrets_mask(secrets, &event);
        if (!span_equal(event.text, span_of(rows[i].told)))
            fail_msg("row %zu: '%s' is told as '%.*s'", i, rows[i].text, (int)event.text.len,
                     (const char *)event.text.ptr);
    }
    secrets_free(secrets);
}

#define PLAY(...)                                                                                                      \
    play((const struct row[]){__VA_ARGS__}, sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static void test_the_initial_response(void **state)
{
    (void)state;
    PLAY(COMMAND("EHLO x"), COMMAND("AUTH LOGIN"), COMMAND("AUTH"), SAID("AUTH PLAIN AGEAYg==", "AUTH PLAIN " HIDDEN),
         SAID("  auth\tplain  AGEAYg==", "  auth\tplain " HIDDEN), SAID("AUTH PLAIN =", "AUTH PLAIN " HIDDEN),
         SAID("X-EXPS GSSAPI YIIF", "X-EXPS GSSAPI " HIDDEN),
         SAID("X-EXPS EXCHANGEAUTH x oAuth y", "X-EXPS EXCHANGEAUTH " HIDDEN),
         SAID("AUTH SCRAM-SHA-256 biws", "AUTH SCRAM-SHA-256 " HIDDEN), COMMAND("MAIL FROM:<a@b> AUTH=<c@d>"));
}

/* What stands where a mechanism belongs may be the secret. */
static void test_no_mechanism(void **state)
{
    (void)state;
    PLAY(SAID("AUTH hunter2", "AUTH " HIDDEN), SAID("AUTH=PLAIN AGEAYg==", "AUTH " HIDDEN),
         SAID("AUTHPLAIN AGEAYg==", "AUTH " HIDDEN), SAID("a1 AUTHENTICATE PLAIN AGEAYg==", "a1 AUTH " HIDDEN),
         SAID("AUTH PLAIN,AGEAYg==", "AUTH " HIDDEN));
}

/* A client that goes on as if it had been asked. */
static void test_names_and_passwords_nobody_asked_for(void **state)
{
    (void)state;
    PLAY(COMMAND("XYZ 1"), AS_IT_IS(UNKNOWN, "500 5.5.1 what is XYZ 1?"), COMMAND("AUTH LOGIN"),
         REPLY(AUTH, "504 5.7.4 no AUTH LOGIN here", "504 5.7.4 " HIDDEN), SAID("dXNlcg==", HIDDEN),
         REPLY(UNKNOWN, "500 5.5.2 unrecognized: \"dXNlcg==\"", "500 5.5.2 " HIDDEN), SAID("hunter2 x", HIDDEN),
         REPLY(UNKNOWN, "500-what is hunter2?", "500-" HIDDEN), COMMAND("QUIT"), AS_IT_IS(QUIT, "221 2.0.0 bye"),
         COMMAND("XYZ 1"));
}

static void test_replies(void **state)
{
    (void)state;
    PLAY(COMMAND("AUTH LOGIN"), REPLY(AUTH, "334 VXNlcm5hbWU6", "334 " HIDDEN),
         REPLY(AUTH_RESPONSE, "535-5.7.8 not with hunter2", "535-5.7.8 " HIDDEN), AS_IT_IS(AUTH_RESPONSE, "235"),
         AS_IT_IS(AUTH_RESPONSE, "235 2.7.0"), REPLY(AUTH_RESPONSE, "235 9.7.0 x", "235 " HIDDEN),
         REPLY(AUTH, "hunter2", HIDDEN), REPLY(AUTH, "53", HIDDEN), AS_IT_IS(NOOP, "250 2.0.0 fine"));
}

/* Rules look at a line before it is a command's event; what answers a 334 is a line for an anomaly alone. */
static void test_rules_and_anomalies(void **state)
{
    (void)state;
    PLAY({RULE_OF_CLIENT, SMTP_VERB_UNKNOWN, "AUTH PLAIN AGEA", "AUTH PLAIN " HIDDEN},
         {RULE_OF_SERVER, SMTP_VERB_UNKNOWN, "250 fine\r\n", "250 fine\r\n"}, COMMAND("AUTH LOGIN"),
         {RULE_OF_SERVER, SMTP_VERB_UNKNOWN, "334 VXNl\r\n", "334 " HIDDEN "\r\n"},
         REPLY(AUTH, "334 VXNl", "334 " HIDDEN), {ODD, SMTP_VERB_UNKNOWN, "RSET\r\n", HIDDEN "\r\n"},
         {RULE_OF_CLIENT, SMTP_VERB_UNKNOWN, "MAIL FROM:<x>\r\n", HIDDEN "\r\n"},
         REPLY(AUTH_RESPONSE, "235 2.7.0 welcome", "235 2.7.0 " HIDDEN),
         {RULE_OF_CLIENT, SMTP_VERB_UNKNOWN, "MAIL FROM:<x>\r\n", "MAIL FROM:<x>\r\n"},
         {ODD, SMTP_VERB_UNKNOWN, "hunter2\r\n", HIDDEN "\r\n"}, COMMAND("MAIL FROM:<x>"),
         {ODD, SMTP_VERB_UNKNOWN, "XYZ \1\r\n", "XYZ \1\r\n"},
         {IN_MESSAGE, SMTP_VERB_UNKNOWN, "Authentication-Results: x", "Authentication-Results: x"});
}

/* Nobody knows what was said. */
static void test_lost_events(void **state)
{
    (void)state;
    PLAY({LOST, SMTP_VERB_UNKNOWN, "dXNlcg==\r\n", HIDDEN "\r\n"}, SAID("hunter2", HIDDEN), COMMAND("NOOP"),
         COMMAND("XYZ 1"));
}

static void test_another_connection_begins(void **state)
{
    (void)state;
    PLAY(COMMAND("AUTH LOGIN"), {BEGUN, SMTP_VERB_UNKNOWN, "", ""}, COMMAND("XYZ 1"));
}

/* A line that came, in the form in which it left: of ours, and of theirs. */
static void test_what_left(void **state)
{
    (void)state;
    struct secrets *secrets = secrets_new(1);
    struct event event = {.kind = EVENT_COMMAND,
                          .flow_place = 1,
                          .verb = SMTP_VERB_AUTH,
                          .change = EVENT_REPLACED,
                          .text = span_of(" AUTH  PLAIN x\r\n"),
                          .shown = span_of("AUTH PLAIN x  \r\n"),
                          .reason = ""};
    secrets_mask(secrets, &event);
    assert_true(span_equal(event.text, span_of(" AUTH  PLAIN " HIDDEN "\r\n")));
    assert_true(span_equal(event.shown, span_of("AUTH PLAIN " HIDDEN "\r\n")));
    event.shown = span_of("NOOP          \r\n");
    secrets_mask(secrets, &event);
    assert_true(span_equal(event.shown, span_of("NOOP          \r\n")));
    event = (struct event){.kind = EVENT_RULE,
                           .flow_place = 1,
                           .reason = "canonical",
                           .text = span_of("AUTH  PLAIN x \r\n"),
                           .shown = span_of("AUTH PLAIN x  \r\n")};
    secrets_mask(secrets, &event);
    assert_true(span_equal(event.shown, span_of("AUTH PLAIN " HIDDEN "\r\n")));
    event = (struct event){.kind = EVENT_REPLY,
                           .flow_place = 1,
                           .verb = SMTP_VERB_AUTH,
                           .change = EVENT_REPLACED,
                           .text = span_of("250 2.0.0 x\r\n"),
                           .shown = span_of("504 Need to authenticate\r\n"),
                           .code = 250,
                           .last = true,
                           .reason = ""};
    secrets_mask(secrets, &event);
    assert_true(span_equal(event.shown, span_of("504 Need to authenticate\r\n")));
    secrets_free(secrets);
}

/* Texts are cut at 1024 octets, and then have no end. */
static void test_long_lines(void **state)
{
    (void)state;
    static uint8_t line[1024];
    struct secrets *secrets = secrets_new(1);
    memset(line, 'x', sizeof line);
    memcpy(line, "AUTH PLAIN ", 11);
    struct event event = {.kind = EVENT_COMMAND, .flow_place = 1, .verb = SMTP_VERB_AUTH, .text = {line, sizeof line}};
    secrets_mask(secrets, &event);
    assert_true(span_equal(event.text, span_of("AUTH PLAIN " HIDDEN)));
    memset(line, ' ', sizeof line);
    memcpy(line, "AUTH", 4);
    line[sizeof line - 1] = 'x';
    event.text = (struct span){line, sizeof line};
    secrets_mask(secrets, &event);
    assert_true(span_equal(event.text, span_of("AUTH " HIDDEN)));
    memset(line, '\n', sizeof line);
    memcpy(line, "AUTH x", 6);
    event.text = (struct span){line, sizeof line};
    secrets_mask(secrets, &event);
    assert_null(memchr(event.text.ptr, 'x', event.text.len));
    secrets_free(secrets);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_initial_response),
        cmocka_unit_test(test_no_mechanism),
        cmocka_unit_test(test_names_and_passwords_nobody_asked_for),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_rules_and_anomalies),
        cmocka_unit_test(test_lost_events),
        cmocka_unit_test(test_another_connection_begins),
        cmocka_unit_test(test_what_left),
        cmocka_unit_test(test_long_lines),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}
