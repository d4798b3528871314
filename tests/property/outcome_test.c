/* What became of each session, as it is counted when the connection ends. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lib/dialogue.h"
#include "conf/conf.h"

#define BEGIN S("220 mail ESMTP\r\n"), C("EHLO x\r\n"), S("250-mail\r\n250-CHUNKING\r\n250 STARTTLS\r\n")
#define OPEN  BEGIN, C("MAIL FROM:<a@example.net>\r\n"), S("250 2.1.0 Sender ok\r\n")
#define RCPT  C("RCPT TO:<b@example.com>\r\n")
#define MAIL                                                                                                           \
    OPEN, RCPT, S("250 2.1.5 Recipient ok\r\n"), C("DATA\r\n"), S("354 go\r\n"), C("Subject: x\r\n\r\nx\r\n.\r\n")
#define QUIT C("QUIT\r\n"), S("221 bye\r\n")

static const struct row {
    const char *label, *rules;
    struct dialogue_turn turns[DIALOGUE_TURNS_MAX];
    enum engine_outcome outcome;
    bool encrypted;
} rows[] = {
    {"no mail is tried", "", {BEGIN, QUIT}, ENGINE_OUTCOME_NO_MAIL, false},
    {"a command that nobody knows refuses no mail",
     "",
     {BEGIN, C("VRFY x\r\n"), S("502 no\r\n"), QUIT},
     ENGINE_OUTCOME_NO_MAIL,
     false},
    {"a mail is taken", "", {MAIL, S("250 2.0.0 queued\r\n"), QUIT}, ENGINE_OUTCOME_ACCEPTED, false},
    {"one with BDAT",
     "",
     {OPEN, RCPT, S("250 ok\r\n"), C("BDAT 3 LAST\r\nabc"), S("250 2.0.0 queued\r\n"), QUIT},
     ENGINE_OUTCOME_ACCEPTED,
     false},
    {"the server refuses a message", "", {MAIL, S("554 5.7.1 spam\r\n"), QUIT}, ENGINE_OUTCOME_REFUSED, false},
    {"the server puts a recipient off",
     "",
     {OPEN, RCPT, S("450 4.2.0 later\r\n"), QUIT},
     ENGINE_OUTCOME_PUT_OFF,
     false},
    {"one is refused, another put off",
     "",
     {OPEN, RCPT, S("550 no\r\n"), RCPT, S("450 later\r\n"), RCPT, S("550 no\r\n"), QUIT},
     ENGINE_OUTCOME_PUT_OFF,
     false},
    {"one is put off, another gets the mail",
     "",
     {OPEN, RCPT, S("450 later\r\n"), RCPT, S("250 ok\r\n"), C("DATA\r\n"), S("354 go\r\n"), C("x\r\n.\r\n"),
      S("250 ok\r\n"), QUIT},
     ENGINE_OUTCOME_ACCEPTED,
     false},
    {"the server is busy", "", {S("421 4.3.2 busy\r\n")}, ENGINE_OUTCOME_PUT_OFF, false},
    {"a rule refuses, as the client reads it",
     "rule \"no\" { on = recipient action = refuse code = 550 text = \"5.7.1 No\" }",
     {OPEN, RCPT, S("250 2.1.5 Recipient ok\r\n"), QUIT},
     ENGINE_OUTCOME_REFUSED,
     false},
    {"encrypted",
     "",
     {BEGIN, C("STARTTLS\r\n"), S("220 go\r\n"), C("\26\3\1"), S("\26\3\3")},
     ENGINE_OUTCOME_UNREAD,
     true},
    {"encryption is refused, and the mail goes in clear",
     "",
     {BEGIN, C("STARTTLS\r\n"), S("454 not now\r\n"), C("MAIL FROM:<a@example.net>\r\n"), S("250 ok\r\n"), RCPT,
      S("250 ok\r\n"), C("DATA\r\n"), S("354 go\r\n"), C("x\r\n.\r\n"), S("250 ok\r\n"), QUIT},
     ENGINE_OUTCOME_ACCEPTED,
     false},
    {"it is no SMTP", "on-lost-pairing = pass", {S("SSH-2.0-x\r\n"), C("SSH-2.0-y\r\n")}, ENGINE_OUTCOME_UNREAD, false},
};

static void read_rules(struct conf *conf, const char *text)
{
    char path[64], message[512];
    int fd = memfd_create("rules", 0);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    conf_init(conf);
    if (!conf_read(conf, path, message, sizeof message))
        fail_msg("%s", message);
    close(fd);
}

/* Which kinds were counted: of all the session's one. */
static void check_row(const struct row *row, enum drive_cut cut)
{
    static struct conf conf;
    read_rules(&conf, row->rules);
    struct drive_plan plan = {.seed = 5, .cut = cut, .policy = &conf.policy};
    struct drive *drive = dialogue_play(row->label, row->turns, DIALOGUE_TURNS_MAX, &plan);
    const struct engine_sessions *sessions = drive_sessions(drive);
    for (int direction = 0; direction < POLICY_DIRECTIONS; direction++)
        for (int outcome = 0; outcome < ENGINE_OUTCOMES; outcome++)
            for (int encrypted = 0; encrypted < 2; encrypted++) {
                bool ours = direction == POLICY_INBOUND && outcome == (int)row->outcome && encrypted == row->encrypted;
                if (sessions->ended[direction][outcome][encrypted] != ours)
                    fail_msg("%s: %d sessions of direction %d, outcome %d, encrypted %d", row->label,
                             (int)sessions->ended[direction][outcome][encrypted], direction, outcome, encrypted);
            }
    drive_free(drive);
    conf_free(&conf);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check_row(&rows[i], DRIVE_WHOLE);
        check_row(&rows[i], DRIVE_OCTETS);
    }
}

/* A reset by a rule. Both ends are gone then, so there is no dialogue to be played to its end. */
static void test_reset(void **state)
{
    (void)state;
    static struct conf conf;
    read_rules(&conf, "rule \"away\" { on = command match = {\"VRFY\"} action = reset }");
    struct drive_plan plan = {.name = "reset", .seed = 5, .policy = &conf.policy, .no_acknowledgments = true};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 mail\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, "VRFY x\r\n");
    drive_finish(drive);
    assert_int_equal(drive_sessions(drive)->ended[POLICY_INBOUND][ENGINE_OUTCOME_RESET][0], 1);
    drive_free(drive);
    conf_free(&conf);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"a session that ends is counted by what became of it", test_rows, NULL, NULL, NULL},
        {"so is one that the filter resets", test_reset, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
