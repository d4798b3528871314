/*
 * Greylisted sessions drawn at random: a client that pipelines as RFC 2920 lets it, a server that keeps its own account
 * of transactions, answers of the store at once, late or never, segments cut anywhere and sent again at any time. What
 * a name begins with says what becomes of it. In the end
 * - each command had one reply, and where the server refused it itself the client read so
 * - what the client believes to be delivered was delivered, to those who were accepted, once, and nothing else was
 * - nobody was served whom an answer put off, unless one behind brought it, and nobody was put off without one
 * - nobody was served whom an answer denied
 * - what passed was learnt from if, and only if, its message was taken
 * - the server read what the client wrote, but for the lines that are written over.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../lib/dialogue.h"
#include "../lib/mail_server.h"
#include "../lib/rules.h"

enum {
    SEEDS = 4000,
    MS = 1000,
    OCTETS_MAX = 16384,
    TRANSACTIONS_MAX = 16,
    RECIPIENTS_MAX = 8,
    COMMANDS_MAX = 160,
    TURNS_MAX = 40000,
    IN_TIME_MS = 300,
    TOO_LATE_MS = 700,
};

/* What a recipient's name begins with: what the server says of it, and what the store does. */
static const char by_server[] = "ooooofmnt", by_store[] = "pppppdddlnwbx";

struct recipient {
    char name[24];
    uint32_t code; /* that the client read; 0: none yet */
    uint32_t delivered;
};

struct transaction {
    struct recipient recipients[RECIPIENTS_MAX];
    uint32_t count;
    uint32_t mail, code; /* replies to MAIL and to its message; 0: none */
    bool null_sender;
};

struct command {
    char verb[5]; /* "." is the end of a message, "" the greeting */
    uint32_t transaction, recipient;
    uint32_t at, len; /* in what the client wrote */
};

static struct session {
    uint64_t seed;
    struct random_source random;
    struct drive *drive;
    bool pipelining, spoils, strict;
    struct mail_server server;
    uint32_t sent[2]; /* by enum smtp_side, of what it wrote */

    /* The client. */
    uint8_t written[OCTETS_MAX];
    uint32_t written_len;
    uint32_t parsed; /* of what it read */
    struct transaction transactions[TRANSACTIONS_MAX];
    uint32_t transaction_count, transactions_wanted;
    struct command commands[COMMANDS_MAX];
    uint32_t command_count, answered;
    bool begun;     /* MAIL was sent, and neither message nor RSET */
    bool chunked;   /* and a chunk */
    bool data_open; /* the last DATA drew a 354 */
    bool over;      /* QUIT was sent, 421 read, or encryption begun */
    bool tls_deferred;
    uint32_t hangs_up; /* turn at which it does; 0: none */
} session;

static uint32_t delivered_count; /* in all sessions */
static uint32_t brought_count;   /* of these, who was put off, and brought by one behind */
static struct policy
    policies[2][2][2]; /* that spoil, and have who encrypts wait; that put off without a store, that delay refusals */

static uint32_t below(uint32_t count)
{
    return random_below(&session.random, count);
}

/* Fail, and say of which seed. */
static void __attribute__((format(printf, 1, 2))) wrong(const char *format, ...)
{
    char text[160];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(text, sizeof text, format, values);
    va_end(values);
    fail_msg("seed %llu: %s", (unsigned long long)session.seed, text);
}

/* All that a side has written. */
static struct span written_by(enum smtp_side side)
{
    return side == SMTP_CLIENT ? (struct span){session.written, session.written_len}
                               : (struct span){session.server.said, session.server.said_len};
}

/* ---- the store ---- */

static enum answer answer(const struct question *question, int64_t *later_us)
{
    *later_us = below(2) ? 0 : (int64_t)(1 + below(IN_TIME_MS)) * MS;
    if (question->kind == QUESTION_TLS) {
        session.tls_deferred = below(3) > 0;
        return session.tls_deferred ? ANSWER_DEFER : ANSWER_PASS;
    }
    if (question->kind == QUESTION_CLIENT)
        return ANSWER_PASS;
    assert_true(question->recipient.len > 2 && question->transaction != 0);
    switch (question->recipient.ptr[1]) {
    case 'd':
        return ANSWER_DEFER;
    case 'l':
        return ANSWER_FAILED;
    case 'b':
        return ANSWER_BRING;
    case 'x':
        return ANSWER_DENY;
    case 'n':
        *later_us = -1;
        return ANSWER_DEFER;
    case 'w':
        *later_us = TOO_LATE_MS * MS;
        return ANSWER_DEFER;
    default:
        return ANSWER_PASS;
    }
}

static bool is_denied(const struct recipient *recipient)
{
    return recipient->name[1] == 'x';
}

/* Whether what the store said, or did not, puts this one off. */
static bool is_put_off(const struct recipient *recipient)
{
    char said = recipient->name[1];
    return said == 'd' || said == 'x' || (session.strict && said != 'p' && said != 'b');
}

/* Whether its refusal stands in place of what the server says of it. */
static bool is_refused_alone(const struct recipient *recipient)
{
    return is_denied(recipient) || (session.spoils && is_put_off(recipient));
}

/* Whether one behind it may have brought it. */
static bool may_be_brought(const struct transaction *transaction, uint32_t recipient)
{
    bool may = false;
    for (uint32_t i = recipient + 1; i < transaction->count; i++)
        may = may || transaction->recipients[i].name[1] == 'b';
    return may && !is_refused_alone(&transaction->recipients[recipient]);
}

/* ---- the client ---- */

static struct command *write_command(const char *verb, const char *text)
{
    assert_true(session.command_count < COMMANDS_MAX);
    struct command *command = &session.commands[session.command_count++];
    *command = (struct command){
        .transaction = session.transaction_count ? session.transaction_count - 1 : 0,
        .at = session.written_len,
        .len = (uint32_t)strlen(text),
    };
    memcpy(command->verb, verb, strlen(verb) + 1);
    assert_true(command->at + command->len <= OCTETS_MAX);
    memcpy(session.written + command->at, text, command->len);
    session.written_len += command->len;
    return command;
}

static void write_mail(void)
{
    char text[64];
    struct transaction *transaction = &session.transactions[session.transaction_count++];
    *transaction = (struct transaction){.null_sender = below(5) == 0};
    const char *form = transaction->null_sender ? "MAIL FROM:<>\r\n"
                       : below(8)               ? "MAIL FROM:<s%u@example.net> BODY=8BITMIME\r\n"
                                                : "MAIL FROM:<busy%u@example.net>\r\n";
    (void)snprintf(text, sizeof text, form, session.transaction_count);
    write_command("MAIL", text);
    session.begun = true;
}

static void write_rcpt(void)
{
    char text[64];
    struct transaction *transaction = &session.transactions[session.transaction_count - 1];
    struct recipient *recipient = &transaction->recipients[transaction->count];
    *recipient = (struct recipient){0};
    (void)snprintf(recipient->name, sizeof recipient->name, "%c%c%u.%u@example.com",
                   by_server[below(sizeof by_server - 1)], by_store[below(sizeof by_store - 1)],
                   session.transaction_count - 1, transaction->count);
    (void)snprintf(text, sizeof text, "RCPT TO:<%s>%s\r\n", recipient->name, below(4) ? "" : " NOTIFY=NEVER");
    write_command("RCPT", text)->recipient = transaction->count++;
}

static void write_chunk(bool last)
{
    char text[128], body[64];
    uint32_t number = session.transaction_count - 1;
    (void)snprintf(body, sizeof body, "message %u\r\nRCPT TO:<x@y>\r\n", number);
    (void)snprintf(text, sizeof text, "BDAT %zu%s\r\n%s", strlen(body), last ? " LAST" : "", body);
    write_command(last ? "LAST" : "BDAT", text);
    session.begun = !last;
    session.chunked = !last;
}

static void write_rset(void)
{
    write_command("RSET", "RSET\r\n");
    session.begun = session.chunked = false;
}

/* One more command where the client may say so; false where it must wait for replies. */
static bool write_more(void)
{
    uint32_t count = session.begun ? session.transactions[session.transaction_count - 1].count : 0;
    if (!session.begun) {
        if (session.transaction_count == session.transactions_wanted)
            return false;
        write_mail();
    } else if (!session.chunked && (count == 0 || (count < RECIPIENTS_MAX && below(2)))) {
        write_rcpt();
    } else if (below(8) == 0) {
        write_rset();
    } else if (session.chunked || below(2)) {
        write_chunk(below(3) > 0);
    } else {
        write_command("DATA", "DATA\r\n");
        return false;
    }
    return session.pipelining && below(8) > 0;
}

/* All replies were read. */
static void write_group(void)
{
    static const struct {
        const char *verb, *text;
    } others[] = {
        {"NOOP", "NOOP\r\n"}, {"VRFY", "VRFY x\r\n"}, {"EHLO", "EHLO again.example.net\r\n"}, {"TLS", "STARTTLS\r\n"}};
    if (session.data_open) {
        char text[64];
        session.data_open = session.begun = false;
        (void)snprintf(text, sizeof text, "message %u\r\n..\r\nDATA\r\n.\r\n", session.transaction_count - 1);
        write_command(".", text);
        if (!session.pipelining || below(2))
            return;
    } else if (below(8) == 0) {
        uint32_t other = below(sizeof others / sizeof others[0]);
        write_command(others[other].verb, others[other].text);
        session.begun = session.begun && other < 2;
        session.chunked = session.chunked && other < 2;
        return;
    }
    while (write_more())
        ;
    if (!session.begun && session.transaction_count == session.transactions_wanted && below(2)) {
        write_command("QUIT", "QUIT\r\n");
        session.over = true;
    }
}

static bool is_ours(struct span text)
{
    return span_equal(text, span_of("450 4.2.0 Greylisted")) || span_equal(text, span_of("450 4.2.0")) ||
           span_equal(text, span_of("450"));
}

static bool any_put_off(const struct transaction *transaction)
{
    bool any = false;
    for (uint32_t i = 0; i < transaction->count; i++)
        any = any || is_put_off(&transaction->recipients[i]);
    return any;
}

static void read_reply(struct span text)
{
    uint32_t code = (uint32_t)strtoul((const char *)text.ptr, NULL, 10);
    if (code == 421) {
        session.over = true;
        session.answered = session.command_count;
        return;
    }
    assert_true(session.answered < session.command_count);
    const struct command *command = &session.commands[session.answered++];
    struct transaction *transaction = &session.transactions[command->transaction];
    if (is_ours(text) && !any_put_off(transaction) && transaction->mail / 100 == 2)
        wrong("put off without an answer: %s of transaction %u", command->verb, command->transaction);
    if (strcmp(command->verb, "MAIL") == 0) {
        transaction->mail = code;
        session.begun = session.begun && (code < 400 || session.answered < session.command_count);
    } else if (strcmp(command->verb, "RCPT") == 0) {
        struct recipient *recipient = &transaction->recipients[command->recipient];
        recipient->code = code;
        if (recipient->name[0] == 'n' && !is_refused_alone(recipient) && code / 100 != 5)
            wrong("%s was answered %u", recipient->name, code);
        if (transaction->null_sender && transaction->mail / 100 == 2 && is_ours(text) && !is_refused_alone(recipient))
            wrong("a recipient of the null sender was put off");
    } else if (strcmp(command->verb, "TLS") == 0) {
        if (code != (session.tls_deferred && !session.spoils ? 454 : 220))
            wrong("STARTTLS was answered %u", code);
        session.over = session.over || code == 220;
        if (code != 220)
            write_command("EHLO", "EHLO once.more.example.net\r\n");
    } else if (strcmp(command->verb, "DATA") == 0) {
        session.data_open = code == 354;
    } else if (strcmp(command->verb, ".") == 0 || strcmp(command->verb, "LAST") == 0) {
        transaction->code = code;
    }
    if (strcmp(command->verb, "DATA") == 0 && code != 354)
        write_rset();
}

static void client_reads(void)
{
    struct span read = drive_read(session.drive, SMTP_CLIENT);
    for (const uint8_t *end; (end = memchr(read.ptr + session.parsed, '\n', read.len - session.parsed));) {
        struct span line =
            smtp_line_text((struct span){read.ptr + session.parsed, (size_t)(end + 1 - read.ptr) - session.parsed});
        session.parsed = (uint32_t)(end + 1 - read.ptr);
        assert_true(line.len >= 3);
        if (line.len == 3 || line.ptr[3] != '-')
            read_reply(line);
    }
    if (session.answered == session.command_count && !session.over)
        write_group();
}

/* ---- the connection ---- */

static void send_some(enum smtp_side side)
{
    struct span written = written_by(side);
    uint32_t len = (uint32_t)written.len, *sent = &session.sent[side];
    uint32_t acknowledged = drive_acknowledged(session.drive, side);
    uint32_t at = below(4) || acknowledged > *sent ? *sent : acknowledged;
    if (below(8) == 0)
        at += below(64); /* what is before it comes later */
    if (at >= len)
        at = acknowledged;
    if (at >= len)
        return;
    len = below(4) ? len - at : 1 + below(len - at);
    struct segment segment = drive_segment(session.drive, side, at, span_head(span_tail(written, at), len));
    drive_send(session.drive, side, &segment);
    *sent = *sent >= at && *sent < at + len ? at + len : *sent;
}

static bool is_quiet(void)
{
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        if (drive_acknowledged(session.drive, (enum smtp_side)side) < written_by((enum smtp_side)side).len)
            return false;
    bool read = session.parsed == drive_read(session.drive, SMTP_CLIENT).len;
    return read && (session.server.gone || (session.over && session.answered == session.command_count));
}

static void talk(void)
{
    for (uint32_t turn = 1; !is_quiet() && turn != session.hangs_up; turn++) {
        if (turn == TURNS_MAX)
            wrong("the session does not come to an end");
        send_some(below(2) ? SMTP_CLIENT : SMTP_SERVER);
        drive_wait(session.drive, (int64_t)below(below(8) ? 20 : 150) * MS);
        if (below(2))
            mail_server_read(&session.server, drive_read(session.drive, SMTP_SERVER));
        if (below(2))
            client_reads();
    }
}

/* ---- in the end ---- */

static void note_deliveries(void)
{
    const struct mail_server *server = &session.server;
    for (uint32_t i = 0; i < server->delivered_count; i++)
        session.transactions[server->delivered[i].transaction].recipients[server->delivered[i].recipient].delivered++;
    delivered_count += server->delivered_count;
}

static void check_deliveries(void)
{
    for (uint32_t t = 0; t < session.transaction_count; t++) {
        const struct transaction *transaction = &session.transactions[t];
        for (uint32_t i = 0; i < transaction->count; i++) {
            const struct recipient *recipient = &transaction->recipients[i];
            bool believed = transaction->mail / 100 == 2 && transaction->code / 100 == 2 && recipient->code / 100 == 2;
            if (recipient->delivered != believed &&
                !(session.server.gone && recipient->delivered == 1 && !transaction->code))
                wrong("%s: code %u, message %u, delivered %u times", recipient->name, recipient->code,
                      transaction->code, recipient->delivered);
            brought_count += recipient->delivered && is_put_off(recipient);
            if (recipient->delivered && is_put_off(recipient) && !may_be_brought(transaction, i))
                wrong("%s was served, and put off", recipient->name);
        }
    }
}

static bool is_written_over(const uint8_t *line)
{
    static const char *const verbs[] = {"DATA", "BDAT", "MAIL", "STAR"};
    bool denied = line[sizeof "RCPT TO:<o" - 1] == 'x';
    bool may = (session.spoils || denied) && memcmp(line, "RCPT", 4) == 0;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        may = may || memcmp(line, verbs[i], 4) == 0;
    return may;
}

static void check_octets(void)
{
    struct span read = drive_read(session.drive, SMTP_SERVER);
    for (uint32_t i = 0; i < session.command_count; i++) {
        const struct command *command = &session.commands[i];
        const uint8_t *end = memchr(session.written + command->at, '\n', command->len);
        uint32_t head = is_written_over(session.written + command->at) && strcmp(command->verb, ".") != 0
                            ? (uint32_t)(end - (session.written + command->at)) - 1
                            : 0;
        for (uint32_t at = command->at + head; at < command->at + command->len && at < read.len; at++)
            if (read.ptr[at] != session.written[at])
                wrong("octet %u of %s changed", at - command->at, command->verb);
    }
}

/* What became of a recipient that passed: the first lesson about it. */
static bool learnt(uint64_t id, size_t from)
{
    for (size_t i = from; i < drive_question_count(session.drive); i++) {
        const struct question *lesson = drive_question(session.drive, i);
        if (lesson->kind == LESSON_RECIPIENT && lesson->about == id && lesson->code / 100 != 2)
            return false;
        if ((lesson->kind == LESSON_MESSAGE || lesson->kind == LESSON_RESET) && lesson->about > id)
            return lesson->kind == LESSON_MESSAGE && lesson->code / 100 == 2;
    }
    return false;
}

/* What the server said of a recipient is what is told of it. */
static void check_code(const struct question *lesson)
{
    size_t i = 0;
    while (drive_question(session.drive, i)->id != lesson->about)
        i++;
    struct span name = drive_question(session.drive, i)->recipient;
    unsigned transaction, recipient;
    assert_int_equal(sscanf((const char *)name.ptr + 2, "%u.%u@", &transaction, &recipient), 2);
    uint32_t class = name.ptr[0] == 'n' ? 5 : name.ptr[0] == 't' ? 4 : 2;
    uint32_t mail = session.transactions[transaction].mail;
    if (lesson->code != 421 && lesson->code != mail && (mail >= 400 || lesson->code / 100u != class))
        wrong("of %.*s it is told that the server said %u", (int)name.len, (const char *)name.ptr, lesson->code);
}

static void check_lessons(void)
{
    for (size_t i = 0; i < drive_question_count(session.drive); i++)
        if (drive_question(session.drive, i)->kind == LESSON_RECIPIENT)
            check_code(drive_question(session.drive, i));
    for (size_t i = 0; i < drive_question_count(session.drive); i++) {
        const struct question *question = drive_question(session.drive, i);
        unsigned transaction, recipient;
        if (question->kind != QUESTION_RECIPIENT || !strchr("pb", question->recipient.ptr[1]) ||
            sscanf((const char *)question->recipient.ptr + 2, "%u.%u@", &transaction, &recipient) != 2)
            continue;
        bool delivered = session.transactions[transaction].recipients[recipient].delivered > 0;
        bool told = session.transactions[transaction].code != 0;
        if (learnt(question->id, i) != delivered && (told || !delivered))
            wrong("%.*s was %s, and that was not learnt", (int)question->recipient.len, question->recipient.ptr,
                  delivered ? "delivered" : "not delivered");
    }
}

/* In the middle of it: the engine forgets all of it (drive_finish). */
static void hang_up(void)
{
    struct segment segment = drive_segment(session.drive, SMTP_CLIENT, session.sent[SMTP_CLIENT], (struct span){0});
    segment.flags |= below(2) ? PACKET_FIN : PACKET_RST;
    drive_send(session.drive, SMTP_CLIENT, &segment);
    drive_wait(session.drive, (int64_t)below(2000) * MS);
}

static void plan_session(uint64_t seed)
{
    memset(&session, 0, sizeof session);
    session.random.state = session.seed = seed;
    session.pipelining = below(4) > 0;
    session.spoils = below(3) == 0;
    session.strict = below(3) == 0;
    session.transactions_wanted = 1 + below(TRANSACTIONS_MAX / 2);
    mail_server_begin(&session.server, ~seed, session.pipelining);
    session.hangs_up = below(8) ? 0 : 1 + below(150);
}

static void begin_session(const char *name)
{
    struct drive_plan plan = {
        .name = name,
        .seed = session.seed,
        .policy = &policies[session.spoils][session.strict][below(3) == 0],
        .questions = (1u << QUESTION_KINDS) - 1,
        .answer = answer,
        .flow_held_max = below(4) ? 0 : 1 + below(4),
        .blocks_max = below(4) ? 0 : 32 + below(16),
    };
    session.drive = drive_new(&plan);
    drive_handshake(session.drive);
    session.command_count = 1; /* the greeting, which is asked for by connecting */
    while (drive_read(session.drive, SMTP_CLIENT).len < session.server.said_len)
        send_some(SMTP_SERVER);
    write_command("EHLO", "EHLO client.example.net\r\n");
}

static void run(uint64_t seed)
{
    char name[40];
    (void)snprintf(name, sizeof name, "any greylist %llu", (unsigned long long)seed);
    plan_session(seed);
    begin_session(name);
    talk();
    if (session.hangs_up) {
        hang_up();
    } else {
        note_deliveries();
        check_deliveries();
        check_octets();
        check_lessons();
        drive_close(session.drive, SMTP_CLIENT);
    }
    drive_finish(session.drive);
    drive_free(session.drive);
}

static void test_any_greylist(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
    assert_true(delivered_count > SEEDS); /* who delivers nothing loses nothing */
    assert_true(brought_count > 0);
}

static void fill_policy(struct policy *policy, bool spoils, bool strict, bool slow)
{
    policy_init_default(policy);
    rules_add(policy, "ask", RULE_ON_RECIPIENT, "*", spoils ? SMTP_ACTION_REFUSE : SMTP_ACTION_VOID,
              "450 4.2.0 Greylisted");
    rules_add(policy, "ask", RULE_ON_STARTTLS, NULL, spoils ? SMTP_ACTION_WAIT : SMTP_ACTION_REFUSE,
              "454 4.7.0 Not now");
    policy->rules[0].action.ask = policy->rules[1].action.ask = true;
    policy->refusals.texts[policy->rules[0].action.refusal].delay_ms = slow ? 1500 : 0;
    policy->refusals.texts[policy->rules[1].action.refusal].delay_ms = slow && spoils ? 1500 : 0;
    policy->defers_without_store = strict;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"any greylisted session", test_any_greylist, NULL, NULL, NULL},
    };
    for (int i = 0; i < 8; i++)
        fill_policy(&policies[i / 4][i / 2 % 2][i % 2], i / 4, i / 2 % 2, i % 2);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("any greylist", tests, NULL, NULL);
}
