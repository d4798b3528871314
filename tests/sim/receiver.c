#include "receiver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void receiver_init(struct receiver *receiver, const struct receiver_plan *plan, struct endpoint *end,
                   struct mails *mails, struct random_source *random, struct fault *fault)
{
    memset(receiver, 0, sizeof *receiver);
    receiver->plan = *plan;
    receiver->end = end;
    receiver->mails = mails;
    receiver->random = random;
    receiver->fault = fault;
    receiver->writer.cut = plan->cut;
    receiver->writer.pause_us = plan->pause_us;
}

static bool chance(struct receiver *receiver, uint32_t of, uint32_t in)
{
    return random_below(receiver->random, in) < of;
}

/* ---- replies ---- */

/* One or two lines, of some length. */
static void answer(struct receiver *receiver, int64_t now_us, const char *code, const char *what)
{
    static const char *const texts[] = {"", " ok", " 2.0.0 Fine, and thanks for asking", " mail.there.example"};
    const char *text = texts[random_below(receiver->random, 4)];
    bool two = chance(receiver, 1, 6);
    if (two)
        snprintf(receiver->reply, sizeof receiver->reply, "%s-~%s%s\r\n%s ~%s\r\n", code, what, text, code, what);
    else
        snprintf(receiver->reply, sizeof receiver->reply, "%s ~%s%s\r\n", code, what, text);
    receiver->reply_us = now_us;
    if (chance(receiver, receiver->plan.slow, 100))
        receiver->reply_us += 1000 * (int64_t)(1 + random_below(receiver->random, receiver->plan.slow_up_to_ms));
}

static void answer_ehlo(struct receiver *receiver, int64_t now_us)
{
    const struct receiver_plan *plan = &receiver->plan;
    answer(receiver, now_us, "250", "E");
    snprintf(receiver->reply, sizeof receiver->reply,
             "250-there.example ~E at your service\r\n%s%s%s%s250-SIZE 1000000\r\n%s250 8BITMIME\r\n",
             plan->starttls && !receiver->encrypted ? "250-STARTTLS\r\n" : "",
             plan->pipelining ? "250-PIPELINING\r\n" : "", plan->xexch50 ? "250-XEXCH50\r\n" : "",
             plan->chunking ? "250-CHUNKING\r\n" : "", plan->xexch50 ? "250-X-LINK2STATE\r\n" : "");
}

static void forget(struct receiver *receiver)
{
    receiver->mail_open = false;
    receiver->recipient_count = 0;
    receiver->message_len = 0;
}

/* ---- a message ---- */

static void deliver(struct receiver *receiver, const uint8_t *body, uint32_t len)
{
    for (uint32_t i = 0; i < receiver->recipient_count; i++) {
        if (receiver->recipients[i].mail != receiver->recipients[0].mail ||
            receiver->recipients[i].attempt != receiver->recipients[0].attempt)
            fault_note(receiver->fault, "recipients of two attempts in one transaction");
        mails_delivered(receiver->mails, receiver->recipients[i].mail, receiver->recipients[i].recipient,
                        receiver->recipients[i].attempt, body, len);
    }
}

/* A message has come to its end. */
static void take_message(struct receiver *receiver, int64_t now_us, const char *what)
{
    if (receiver->recipient_count == 0) {
        answer(receiver, now_us, "554", what);
    } else if (chance(receiver, receiver->plan.defers, 100)) {
        answer(receiver, now_us, "452", what);
    } else {
        deliver(receiver, receiver->message, receiver->message_len);
        answer(receiver, now_us, "250", what);
    }
    forget(receiver);
}

static void take_message_line(struct receiver *receiver, const uint8_t *line, uint32_t len, int64_t now_us)
{
    if (len == 3 && memcmp(line, ".\r\n", 3) == 0) {
        receiver->mode = RECEIVER_COMMANDS;
        take_message(receiver, now_us, ".");
        return;
    }
    uint32_t dot = line[0] == '.';
    if (receiver->message_len + len <= sizeof receiver->message)
        memcpy(receiver->message + receiver->message_len, line + dot, len - dot);
    receiver->message_len += len - dot;
}

static void take_chunk_end(struct receiver *receiver, int64_t now_us)
{
    receiver->mode = RECEIVER_COMMANDS;
    if (receiver->octets_xexch50)
        answer(receiver, now_us, "250", "b");
    else if (!receiver->octets_wanted)
        answer(receiver, now_us, "503", receiver->octets_last ? "L" : "B");
    else if (receiver->octets_last)
        take_message(receiver, now_us, "L");
    else
        answer(receiver, now_us, "250", "B");
}

static void take_octets(struct receiver *receiver, const uint8_t *octets, uint32_t len, int64_t now_us)
{
    if (receiver->octets_wanted && receiver->message_len + len <= sizeof receiver->message) {
        memcpy(receiver->message + receiver->message_len, octets, len);
        receiver->message_len += len;
    }
    receiver->octets_left -= len;
    if (receiver->octets_left == 0)
        take_chunk_end(receiver, now_us);
}

/* ---- commands ---- */

/* A path as every server wants it: nothing but letters, digits, single dots and one @. */
static bool is_path(const char *text, char *address, size_t room)
{
    const char *end = strchr(text, '>');
    size_t len = end ? (size_t)(end - text) - 1 : 0;
    if (text[0] != '<' || !end || len == 0 || len >= room)
        return false;
    memcpy(address, text + 1, len);
    address[len] = '\0';
    const char *at = strchr(address, '@');
    return at && at > address && at[1] && strspn(address, "abcdefghijklmnopqrstuvwxyz0123456789.@") == len &&
           !strstr(address, "..") && !strstr(address, "@.") && !strchr(at + 1, '@') && address[len - 1] != '.';
}

static void take_recipient(struct receiver *receiver, const char *text, int64_t now_us)
{
    char address[80], what[16];
    uint32_t mail, recipient, attempt;
    if (!is_path(text, address, sizeof address)) {
        answer(receiver, now_us, "501", "R?");
        return;
    }
    if (!mails_parse(receiver->mails, address, &mail, &recipient, &attempt)) {
        fault_note(receiver->fault, "the server was shown a recipient that nobody wrote: %s", address);
        return;
    }
    snprintf(what, sizeof what, "R%u", recipient);
    if (!receiver->mail_open)
        answer(receiver, now_us, "503", what);
    else if (receiver->mails->each[mail].recipients[recipient].kind == MAILS_UNKNOWN)
        answer(receiver, now_us, "550", what);
    else if (receiver->recipient_count == MAILS_RECIPIENTS_MAX)
        answer(receiver, now_us, "452", what);
    else if (chance(receiver, receiver->plan.defers, 100))
        answer(receiver, now_us, "450", what);
    else {
        receiver->recipients[receiver->recipient_count].mail = mail;
        receiver->recipients[receiver->recipient_count].recipient = recipient;
        receiver->recipients[receiver->recipient_count++].attempt = attempt;
        answer(receiver, now_us, "250", what);
    }
}

static void take_mail(struct receiver *receiver, int64_t now_us)
{
    if (receiver->mail_open) {
        answer(receiver, now_us, "503", "M");
    } else if (chance(receiver, receiver->plan.defers, 100)) {
        answer(receiver, now_us, "451", "M");
    } else {
        receiver->mail_open = true;
        answer(receiver, now_us, "250", "M");
    }
}

static void take_data(struct receiver *receiver, int64_t now_us)
{
    if (receiver->recipient_count == 0) {
        answer(receiver, now_us, receiver->mail_open ? "554" : "503", "D");
        return;
    }
    receiver->message_len = 0;
    receiver->mode = RECEIVER_MESSAGE;
    answer(receiver, now_us, "354", "D");
}

static void take_bdat(struct receiver *receiver, const char *text, int64_t now_us)
{
    receiver->octets_left = (uint32_t)strtoul(text, NULL, 10);
    receiver->octets_last = strstr(text, "LAST") != NULL;
    receiver->octets_xexch50 = false;
    receiver->octets_wanted = receiver->recipient_count > 0;
    receiver->mode = RECEIVER_OCTETS;
    if (receiver->octets_left == 0)
        take_chunk_end(receiver, now_us);
}

static void take_xexch50(struct receiver *receiver, const char *text, int64_t now_us)
{
    if (!receiver->plan.takes_xexch50) {
        answer(receiver, now_us, "504", "X");
        return;
    }
    receiver->octets_left = (uint32_t)strtoul(text, NULL, 10);
    receiver->octets_xexch50 = true;
    receiver->octets_wanted = false;
    receiver->mode = RECEIVER_OCTETS;
    answer(receiver, now_us, "354", "X");
}

static void take_line(struct receiver *receiver, const char *line, int64_t now_us)
{
    if (chance(receiver, receiver->plan.goodbyes, 1000)) {
        answer(receiver, now_us, "421", "!");
        receiver->over = true;
    } else if (strncmp(line, "EHLO ", 5) == 0) {
        forget(receiver);
        answer_ehlo(receiver, now_us);
    } else if (strncmp(line, "MAIL FROM:", 10) == 0) {
        take_mail(receiver, now_us);
    } else if (strncmp(line, "RCPT TO:", 8) == 0) {
        take_recipient(receiver, line + 8, now_us);
    } else if (strcmp(line, "DATA") == 0) {
        take_data(receiver, now_us);
    } else if (strncmp(line, "BDAT ", 5) == 0) {
        take_bdat(receiver, line + 5, now_us);
    } else if (strncmp(line, "XEXCH50 ", 8) == 0) {
        take_xexch50(receiver, line + 8, now_us);
    } else if (strncmp(line, "NOOP", 4) == 0) {
        answer(receiver, now_us, "250", "N");
    } else if (strncmp(line, "RSET", 4) == 0) {
        forget(receiver);
        answer(receiver, now_us, "250", "S");
    } else if (strncmp(line, "VRFY", 4) == 0) {
        answer(receiver, now_us, "252", "V");
    } else if (strcmp(line, "STARTTLS") == 0) {
        forget(receiver);
        answer(receiver, now_us, "220", "T");
        receiver->mode = RECEIVER_HELLO;
    } else if (strncmp(line, "QUIT", 4) == 0) {
        answer(receiver, now_us, "221", "Q");
        receiver->over = true;
    } else {
        answer(receiver, now_us, "500", "?");
    }
}

/* The beginning of TLS; it is answered, and all behind it is encrypted. */
static bool take_hello(struct receiver *receiver, const uint8_t *at, uint32_t left)
{
    if (left < WRITER_HELLO_LEN)
        return false;
    if (memcmp(at, WRITER_HELLO, WRITER_HELLO_LEN) != 0)
        fault_note(receiver->fault, "the server was shown another ClientHello");
    receiver->parsed += WRITER_HELLO_LEN;
    receiver->mode = RECEIVER_COMMANDS;
    receiver->encrypted = true;
    if (!writer_put(&receiver->writer, WRITER_HELLO, WRITER_HELLO_LEN))
        fault_note(receiver->fault, "the server talks too much");
    receiver->writer.encrypts = true;
    return true;
}

/* The next command, line or chunk. False where it is not there. */
static bool take_next(struct receiver *receiver, int64_t now_us)
{
    const struct endpoint *end = receiver->end;
    static uint8_t plain[ENDPOINT_STREAM_BYTES];
    const uint8_t *at = end->in + receiver->parsed;
    uint32_t left = end->read - receiver->parsed;
    if (receiver->encrypted) {
        for (uint32_t i = 0; i < left; i++)
            plain[i] = at[i] ^ WRITER_CIPHER;
        at = plain;
    }
    if (receiver->mode == RECEIVER_HELLO)
        return take_hello(receiver, at, left);
    if (receiver->mode == RECEIVER_OCTETS) {
        uint32_t len = left < receiver->octets_left ? left : receiver->octets_left;
        receiver->parsed += len;
        if (len)
            take_octets(receiver, at, len, now_us);
        return len > 0;
    }
    const uint8_t *nl = memchr(at, '\n', left);
    if (!nl)
        return false;
    uint32_t len = (uint32_t)(nl - at) + 1;
    receiver->parsed += len;
    if (receiver->mode == RECEIVER_MESSAGE) {
        take_message_line(receiver, at, len, now_us);
        return true;
    }
    char line[4096];
    uint32_t text = len < sizeof line ? len - 1 : (uint32_t)sizeof line - 1;
    memcpy(line, at, text);
    while (text > 0 && (line[text - 1] == '\r' || line[text - 1] == ' '))
        text--;
    line[text] = '\0';
    take_line(receiver, line, now_us);
    return true;
}

void receiver_turn(struct receiver *receiver, int64_t now_us)
{
    struct endpoint *end = receiver->end;
    if (end->state != ENDPOINT_OPEN)
        return;
    if (receiver->since_us == 0 || receiver->heard < end->read || receiver->reply_us)
        receiver->since_us = now_us;
    receiver->heard = end->read;
    if (now_us - receiver->since_us >= receiver->plan.patience_us) {
        endpoint_abort(end, now_us);
        return;
    }
    if (!receiver->greeted) {
        receiver->greeted = true;
        answer(receiver, now_us, "220", "G");
    }
    do {
        if (receiver->reply_us > now_us)
            break;
        if (receiver->reply_us && !writer_put(&receiver->writer, receiver->reply, (uint32_t)strlen(receiver->reply)))
            fault_note(receiver->fault, "the server talks too much");
        receiver->reply_us = 0;
    } while (!receiver->over && take_next(receiver, now_us));
    if (!receiver->reply_us && (receiver->over || end->fin_read))
        receiver->writer.close_after = true;
    writer_tick(&receiver->writer, end, receiver->random, now_us);
}

int64_t receiver_due(const struct receiver *receiver)
{
    int64_t at = writer_due(&receiver->writer);
    int64_t over_us = receiver->since_us + receiver->plan.patience_us;
    if (receiver->end->state != ENDPOINT_OPEN)
        return INT64_MAX;
    at = over_us < at ? over_us : at;
    return receiver->reply_us && receiver->reply_us < at ? receiver->reply_us : at;
}
