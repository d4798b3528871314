#include "sender.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { XEXCH50_OCTETS = 12 };

void sender_init(struct sender *sender, const struct sender_plan *plan, struct endpoint *end, struct mails *mails,
                 struct random_source *random, struct fault *fault)
{
    memset(sender, 0, sizeof *sender);
    sender->plan = *plan;
    sender->end = end;
    sender->mails = mails;
    sender->random = random;
    sender->fault = fault;
    sender->writer.cut = plan->cut;
    sender->writer.pause_us = plan->pause_us;
    sender->mail = -1;
    sender->asked[sender->asked_count++] = (struct sender_asked){'G', 0};
}

static const struct mails_mail *mail_of(const struct sender *sender)
{
    return &sender->mails->each[sender->mail];
}

/* ---- commands ---- */

static void put(struct sender *sender, const void *octets, uint32_t len)
{
    if (!writer_put(&sender->writer, octets, len))
        fault_note(sender->fault, "the client talks too much");
}

static void ask(struct sender *sender, char verb, uint32_t number)
{
    if (sender->asked_count == sizeof sender->asked / sizeof sender->asked[0])
        fault_note(sender->fault, "the client asks too much");
    else
        sender->asked[sender->asked_count++] = (struct sender_asked){verb, number};
}

static void say(struct sender *sender, char verb, uint32_t number, const char *line)
{
    put(sender, line, (uint32_t)strlen(line));
    put(sender, "\r\n", 2);
    ask(sender, verb, number);
}

/* More than a line may have: nobody can say where servers cut it. */
static void say_long(struct sender *sender)
{
    char line[2300];
    memset(line, 'x', sizeof line);
    memcpy(line, "NOOP ", 5);
    line[sizeof line - 1] = '\0';
    say(sender, 'N', 0, line);
}

static void say_mail(struct sender *sender)
{
    char address[80], line[100];
    mails_sender(sender->mails, (uint32_t)sender->mail, sender->attempt, address, sizeof address);
    snprintf(line, sizeof line, "MAIL FROM:<%s>", address);
    say(sender, 'M', 0, line);
}

static bool waits(const struct sender *sender, uint32_t recipient)
{
    return mail_of(sender)->recipients[recipient].state == MAILS_WAITS;
}

static void say_recipient(struct sender *sender, uint32_t recipient)
{
    char address[80], line[100];
    mails_address(sender->mails, (uint32_t)sender->mail, recipient, sender->attempt, address, sizeof address);
    snprintf(line, sizeof line, "RCPT TO:<%s>", address);
    say(sender, 'R', recipient, line);
}

static void say_chunk(struct sender *sender, uint32_t from, uint32_t len, bool last)
{
    char line[40];
    snprintf(line, sizeof line, "BDAT %u%s", len, last ? " LAST" : "");
    say(sender, last ? 'L' : 'B', 0, line);
    put(sender, mail_of(sender)->body + from, len);
    sender->chunk_said = true;
    sender->chunk_last_said = last;
}

static uint32_t first_chunk(const struct sender *sender)
{
    return sender->plan.whole_chunk ? mail_of(sender)->body_len : mail_of(sender)->body_len / 2;
}

static void say_message(struct sender *sender)
{
    const uint8_t *at = mail_of(sender)->body, *end = at + mail_of(sender)->body_len;
    while (sender->accepted_count > 0 && at < end) {
        const uint8_t *nl = memchr(at, '\n', (size_t)(end - at));
        if (*at == '.')
            put(sender, ".", 1);
        put(sender, at, (uint32_t)(nl - at) + 1);
        at = nl + 1;
    }
    say(sender, '.', 0, ".");
    sender->step = SENDER_END;
    if (sender->plan.pipelines_end && sender->pipelining && !sender->plan.reuses)
        say(sender, 'Q', 0, "QUIT");
}

/* ---- the envelope ---- */

static bool in_groups(const struct sender *sender)
{
    return sender->pipelining && sender->plan.model <= SENDER_EXIM;
}

static bool by_chunks(const struct sender *sender)
{
    return sender->chunking && sender->plan.model == SENDER_EXIM;
}

/* The command of the envelope at this place. False where there is none any more. */
static bool say_part(struct sender *sender, uint32_t place)
{
    uint32_t recipients = mail_of(sender)->recipient_count;
    if (place == 0) {
        say_mail(sender);
    } else if (place <= recipients) {
        if (!waits(sender, place - 1))
            return say_part(sender, ++sender->said);
        say_recipient(sender, place - 1);
    } else if (sender->plan.model == SENDER_EXCHANGE && place == recipients + 1 && sender->accepted_count > 0) {
        char line[40];
        snprintf(line, sizeof line, "XEXCH50 %d 2", XEXCH50_OCTETS);
        say(sender, 'X', 0, line);
    } else {
        return false;
    }
    sender->said++;
    return true;
}

static void say_group(struct sender *sender)
{
    while (say_part(sender, sender->said))
        ;
    if (random_below(sender->random, 200) < sender->plan.odd)
        say_long(sender);
    if (by_chunks(sender)) {
        say_chunk(sender, 0, first_chunk(sender), sender->plan.whole_chunk);
    } else {
        say(sender, 'D', 0, "DATA");
        sender->data_said = true;
    }
}

static void begin_mail(struct sender *sender, int mail)
{
    sender->mail = mail;
    sender->attempt = mails_begin(sender->mails, (uint32_t)mail);
    sender->step = SENDER_ENVELOPE;
    sender->said = sender->done = sender->accepted_count = 0;
    sender->mail_refused = sender->data_said = sender->chunk_said = sender->chunk_last_said = false;
    sender->data_code = sender->chunk_code = 0;
    memset(sender->accepted, 0, sizeof sender->accepted);
    if (in_groups(sender))
        say_group(sender);
    else
        say_part(sender, 0);
}

/* ---- what becomes of a mail ---- */

static void end_mail(struct sender *sender, int64_t now_us)
{
    int64_t wait_us = sender->plan.retry_us;
    if (sender->mail < 0)
        return;
    if (sender->plan.model == SENDER_EXCHANGE && sender->attempt % 4)
        wait_us = 60000000;
    mails_end(sender->mails, (uint32_t)sender->mail, now_us + wait_us);
    sender->mail = -1;
}

static void quit(struct sender *sender)
{
    if (sender->step == SENDER_OVER)
        return;
    bool said = sender->asked_count > 0 && sender->asked[sender->asked_count - 1].verb == 'Q';
    if (!said)
        say(sender, 'Q', 0, "QUIT");
    sender->step = SENDER_QUIT;
}

/* Before a mail: something that few clients say. */
static void begin_next(struct sender *sender, int64_t now_us)
{
    uint32_t drawn = random_below(sender->random, 100 * 3);
    if (mails_next(sender->mails, now_us) < 0) {
        quit(sender);
        return;
    }
    sender->step = SENDER_ODD;
    if (drawn >= sender->plan.odd * 3) {
        begin_mail(sender, mails_next(sender->mails, now_us));
    } else if (drawn % 3 == 0) {
        say(sender, 'V', 0, "VRFY someone");
    } else if (drawn % 3 == 1) {
        say(sender, 'N', 0, "NOOP");
    } else {
        say_long(sender);
    }
}

/* This transaction is over. `clean`: the server has come to the end of it, too. */
static void leave_transaction(struct sender *sender, bool clean, int64_t now_us)
{
    end_mail(sender, now_us);
    if (sender->asked_count > 0 || !sender->plan.reuses) {
        quit(sender);
    } else if (!clean || sender->plan.resets) {
        say(sender, 'S', 0, "RSET");
        sender->step = SENDER_RSET;
    } else {
        begin_next(sender, now_us);
    }
}

/* The reply to DATA, or to a message, decides about those who were accepted. */
static void settle(struct sender *sender, uint16_t code, const char *what)
{
    for (uint32_t i = 0; i < mail_of(sender)->recipient_count; i++) {
        if (!sender->accepted[i])
            continue;
        char why[80];
        snprintf(why, sizeof why, "%u in reply to %s", code, what);
        if (code / 100 == 2 && *what == 'm')
            mails_sent(sender->mails, (uint32_t)sender->mail, i);
        else
            mails_refused(sender->mails, (uint32_t)sender->mail, i, sender->attempt);
        if (code / 100 == 5 || (code / 100 < 4 && *what != 'm'))
            mails_bounced(sender->mails, (uint32_t)sender->mail, i, why);
    }
}

/* Everything of the envelope is answered. */
static void end_envelope(struct sender *sender, int64_t now_us)
{
    const struct mails_mail *mail = mail_of(sender);
    if (sender->data_said && sender->data_code == 354) {
        say_message(sender);
    } else if (sender->data_said) {
        settle(sender, sender->data_code, "DATA");
        leave_transaction(sender, false, now_us);
    } else if (sender->chunk_last_said) {
        settle(sender, sender->chunk_code, "message");
        leave_transaction(sender, sender->accepted_count > 0, now_us);
    } else if (sender->accepted_count == 0) {
        leave_transaction(sender, sender->mail_refused, now_us);
    } else if (sender->chunk_said && sender->chunk_code / 100 != 2) {
        settle(sender, sender->chunk_code, "chunk");
        leave_transaction(sender, false, now_us);
    } else if (by_chunks(sender)) {
        uint32_t from = sender->chunk_said ? first_chunk(sender) : 0;
        say_chunk(sender, from, mail->body_len - from, true);
        sender->step = SENDER_END;
    } else {
        say(sender, 'D', 0, "DATA");
        sender->data_said = true;
        sender->step = SENDER_DATA;
    }
}

static void note_recipient(struct sender *sender, uint32_t recipient, uint16_t code)
{
    uint32_t mail = (uint32_t)sender->mail;
    if (code / 100 == 2) {
        sender->accepted[recipient] = true;
        sender->accepted_count++;
        return;
    }
    mails_refused(sender->mails, mail, recipient, sender->attempt);
    if (code / 100 == 5 && !sender->mail_refused)
        mails_bounced(sender->mails, mail, recipient, "refused by RCPT");
}

static void note_sender(struct sender *sender, uint16_t code)
{
    sender->mail_refused = code / 100 != 2;
    if (code / 100 == 5)
        fault_note(sender->fault, "mail %d is bounced: %u in reply to MAIL", sender->mail, code);
}

/* ---- replies ---- */

static void reply_in_envelope(struct sender *sender, struct sender_asked asked, uint16_t code, int64_t now_us)
{
    sender->done++;
    switch (asked.verb) {
    case 'M':
        note_sender(sender, code);
        break;
    case 'R':
        note_recipient(sender, asked.number, code);
        break;
    case 'D':
        sender->data_code = code;
        break;
    case 'B':
    case 'L':
        sender->chunk_code = code;
        break;
    case 'X':
        if (code / 100 == 3) {
            put(sender, "blob by blob", XEXCH50_OCTETS);
            ask(sender, 'b', 0);
        } else if (code / 100 != 5 && code / 100 != 4) {
            fault_note(sender->fault, "%u in reply to XEXCH50", code);
        }
        break;
    }
    if (sender->asked_count > 0)
        return;
    bool alone = !in_groups(sender);
    if (alone && !sender->mail_refused && say_part(sender, sender->said))
        return;
    end_envelope(sender, now_us);
}

static void take_reply(struct sender *sender, struct sender_asked asked, uint16_t code, int64_t now_us)
{
    switch (sender->step) {
    case SENDER_GREETING:
        say(sender, 'E', 0, "EHLO here.example");
        sender->step = SENDER_EHLO;
        break;
    case SENDER_EHLO:
        if (sender->plan.encrypts && sender->starttls && !sender->encrypted) {
            say(sender, 'T', 0, "STARTTLS");
            sender->step = SENDER_STARTTLS;
        } else {
            begin_next(sender, now_us);
        }
        break;
    case SENDER_STARTTLS:
        if (code == 220) {
            put(sender, WRITER_HELLO, WRITER_HELLO_LEN);
            sender->writer.encrypts = sender->encrypted = true;
            sender->step = SENDER_HELLO;
        } else {
            begin_next(sender, now_us);
        }
        break;
    case SENDER_ODD:
    case SENDER_RSET:
        if (sender->step == SENDER_RSET && code != 250)
            fault_note(sender->fault, "%u in reply to RSET", code);
        if (sender->step == SENDER_ODD && mails_next(sender->mails, now_us) >= 0)
            begin_mail(sender, mails_next(sender->mails, now_us));
        else
            begin_next(sender, now_us);
        break;
    case SENDER_ENVELOPE:
        reply_in_envelope(sender, asked, code, now_us);
        break;
    case SENDER_DATA:
        sender->data_code = code;
        end_envelope(sender, now_us);
        break;
    case SENDER_END:
        settle(sender, code, "message");
        leave_transaction(sender, true, now_us);
        break;
    case SENDER_QUIT:
        if (sender->asked_count == 0) {
            sender->step = SENDER_OVER;
            sender->end_reason = "quit";
            sender->writer.close_after = true;
        }
        break;
    case SENDER_HELLO:
    case SENDER_OVER:
        break;
    }
}

static void lose(struct sender *sender, const char *why, int64_t now_us)
{
    if (sender->step == SENDER_OVER)
        return;
    sender->end_reason = why;
    end_mail(sender, now_us);
    sender->step = SENDER_OVER;
    if (sender->end->state == ENDPOINT_OPEN && sender->plan.aborts)
        endpoint_abort(sender->end, now_us);
    else if (sender->end->state == ENDPOINT_OPEN)
        endpoint_close(sender->end, now_us);
    else
        sender->end->state = ENDPOINT_DEAD;
}

/* The server says what its reply answers. */
static void check_tag(struct sender *sender, const char *tag)
{
    struct sender_asked asked = sender->asked[0];
    char expected[16];
    if (tag[0] == '!') {
        sender->reply_goodbye = true;
        return;
    }
    if (asked.verb == 'R')
        snprintf(expected, sizeof expected, "R%u", asked.number);
    else
        snprintf(expected, sizeof expected, "%c", asked.verb);
    size_t len = strcspn(tag, " ");
    if (len != strlen(expected) || strncmp(tag, expected, len) != 0)
        fault_note(sender->fault, "the client reads the server's reply to %.*s in place of the one to %s", (int)len,
                   tag, expected);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A line of a reply, ended by NUL. */
static void take_line(struct sender *sender, const char *line, int64_t now_us)
{
    bool formed = is_digit(line[0]) && is_digit(line[1]) && is_digit(line[2]) &&
                  (line[3] == '\0' || line[3] == ' ' || line[3] == '-');
    uint16_t code = formed ? (uint16_t)((line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0') : 0;
    if (!formed || (sender->reply_code && sender->reply_code != code)) {
        fault_note(sender->fault, "the client reads what is no reply: %s", line);
        return;
    }
    if (sender->asked_count == 0 && code != 421) {
        fault_note(sender->fault, "the client reads a reply that nothing drew: %s", line);
        return;
    }
    const char *tag = strchr(line, '~');
    if (tag && sender->asked_count > 0)
        check_tag(sender, tag + 1);
    sender->reply_tagged = sender->reply_tagged || tag;
    sender->reply_code = code;
    if (line[3] == '-') {
        sender->pipelining = sender->pipelining || strncmp(line + 4, "PIPELINING", 10) == 0;
        sender->starttls = sender->starttls || strncmp(line + 4, "STARTTLS", 8) == 0;
        sender->chunking = sender->chunking || strncmp(line + 4, "CHUNKING", 8) == 0;
        return;
    }
    if (!sender->reply_tagged && code < 400)
        fault_note(sender->fault, "the client reads a reply that the server did not write: %s", line);
    sender->reply_code = 0;
    sender->reply_tagged = false;
    if (code == 421) {
        lose(sender, "421", now_us);
        return;
    }
    struct sender_asked asked = sender->asked[0];
    sender->asked_count--;
    memmove(sender->asked, sender->asked + 1, sender->asked_count * sizeof sender->asked[0]);
    take_reply(sender, asked, code, now_us);
}

/* The server's part of TLS; false where it is not there. */
static bool take_hello(struct sender *sender, int64_t now_us)
{
    const struct endpoint *end = sender->end;
    if (end->read - sender->parsed < WRITER_HELLO_LEN)
        return false;
    if (memcmp(end->in + sender->parsed, WRITER_HELLO, WRITER_HELLO_LEN) != 0)
        fault_note(sender->fault, "the client was shown another ServerHello");
    sender->parsed += WRITER_HELLO_LEN;
    sender->since_us = now_us;
    sender->pipelining = sender->chunking = false;
    say(sender, 'E', 0, "EHLO here.example");
    sender->step = SENDER_EHLO;
    return true;
}

static void read_replies(struct sender *sender, int64_t now_us)
{
    const struct endpoint *end = sender->end;
    while (sender->step != SENDER_OVER && !sender->fault->text[0]) {
        const uint8_t *at = end->in + sender->parsed;
        uint32_t left = end->read - sender->parsed;
        uint8_t cipher = sender->encrypted ? WRITER_CIPHER : 0;
        if (sender->step == SENDER_HELLO) {
            if (!take_hello(sender, now_us))
                return;
            continue;
        }
        const uint8_t *nl = memchr(at, '\n' ^ cipher, left);
        if (!nl)
            return;
        uint32_t len = (uint32_t)(nl - at) + 1;
        char line[600];
        uint32_t text = len < sizeof line ? len - 1 : (uint32_t)sizeof line - 1;
        for (uint32_t i = 0; i < text; i++)
            line[i] = (char)(at[i] ^ cipher);
        while (text > 0 && line[text - 1] == '\r')
            text--;
        line[text] = '\0';
        sender->parsed += len;
        sender->since_us = now_us;
        take_line(sender, line, now_us);
    }
}

void sender_turn(struct sender *sender, int64_t now_us)
{
    struct endpoint *end = sender->end;
    if (sender->since_us == 0)
        sender->since_us = now_us;
    if (end->state == ENDPOINT_OPEN)
        read_replies(sender, now_us);
    if (end->state == ENDPOINT_DEAD)
        lose(sender, "reset", now_us);
    else if (end->fin_read)
        lose(sender, "closed", now_us);
    else if (now_us - sender->since_us >= sender->plan.patience_us)
        lose(sender, "time-out", now_us);
    if (end->state == ENDPOINT_OPEN)
        writer_tick(&sender->writer, end, sender->random, now_us);
}

int64_t sender_due(const struct sender *sender)
{
    if (sender->step == SENDER_OVER && sender->writer.written == sender->writer.len)
        return INT64_MAX;
    int64_t at = sender->end->state == ENDPOINT_OPEN ? writer_due(&sender->writer) : INT64_MAX;
    int64_t over_us = sender->since_us + sender->plan.patience_us;
    return sender->step != SENDER_OVER && over_us < at ? over_us : at;
}
