#include "mail_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static uint32_t below(struct mail_server *server, uint32_t count)
{
    return random_below(&server->random, count);
}

static void reply(struct mail_server *server, const char *text)
{
    static const char *const said[] = {"250\r\n", "250 2.0.0 ok\r\n", "250-2.0.0 one\r\n250 2.0.0 two\r\n"};
    if (below(server, 400) == 0) {
        server->gone = true;
        text = "421 4.3.2 Shutting down\r\n";
    } else if (!text) {
        text = said[below(server, 3)];
    }
    size_t len = strlen(text);
    assert_true(server->said_len + len <= sizeof server->said);
    memcpy(server->said + server->said_len, text, len);
    server->said_len += (uint32_t)len;
}

static void forget(struct mail_server *server)
{
    server->mail = false;
    server->accepted_count = 0;
    server->message = UINT32_MAX;
}

static void take_message(struct mail_server *server)
{
    static const char *const refusals[] = {"451 4.3.0 Try later\r\n", "554 5.6.0 Never\r\n"};
    uint32_t refusal = below(server, 10);
    bool takes = server->accepted_count > 0 && refusal > 1;
    for (uint32_t i = 0; takes && i < server->accepted_count; i++) {
        assert_int_equal(server->accepted[i].transaction, server->message);
        assert_true(server->delivered_count < MAIL_SERVER_DELIVERED_MAX);
        server->delivered[server->delivered_count++] = server->accepted[i];
    }
    forget(server);
    reply(server, takes ? "250 2.6.0 Queued\r\n" : refusals[refusal % 2]);
}

static void take_rcpt(struct mail_server *server, const char *line)
{
    unsigned transaction, recipient;
    bool known = sscanf(line, "RCPT TO:<%*1c%*1c%u.%u@example.com>", &transaction, &recipient) == 2;
    if (!server->mail)
        reply(server, "503 5.5.1 MAIL first\r\n");
    else if (!known)
        reply(server, "554 5.7.1 Relay access denied\r\n");
    else if (line[9] == 'n')
        reply(server, "550 5.1.1 Nobody here\r\n");
    else if (line[9] == 't')
        reply(server, "450 4.3.2 Busy\r\n");
    else {
        assert_true(server->accepted_count < MAIL_SERVER_ACCEPTED_MAX);
        server->accepted[server->accepted_count++] = (struct mail_server_recipient){transaction, recipient};
        reply(server, line[9] == 'f'   ? "251 2.1.5 Forwarded\r\n"
                      : line[9] == 'm' ? "250-2.1.5 ok\r\n250 2.1.5 ok\r\n"
                                       : NULL);
    }
}

static void take_bdat(struct mail_server *server, const char *line)
{
    char last[8] = "";
    (void)sscanf(line, "BDAT %u %4s", &server->chunk_left, last);
    server->last_chunk = strcmp(last, "LAST") == 0;
    server->chunk_refused = server->accepted_count == 0;
}

static void take_command(struct mail_server *server, const char *line)
{
    if (strncmp(line, "EHLO ", 5) == 0) {
        forget(server);
        reply(server, server->pipelining ? "250-mail.example.com\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
                                         : "250-mail.example.com\r\n250 CHUNKING\r\n");
    } else if (strncmp(line, "MAIL ", 5) == 0) {
        bool busy = strncmp(line, "MAIL FROM:<busy", 15) == 0;
        if (server->mail)
            reply(server, "503 5.5.1 Nested MAIL\r\n");
        else
            reply(server, busy ? "451 4.3.0 Try later\r\n" : NULL);
        server->mail = server->mail || !busy;
    } else if (strncmp(line, "RCPT ", 5) == 0) {
        take_rcpt(server, line);
    } else if (strncmp(line, "DATA\r", 5) == 0) {
        server->in_data = server->accepted_count > 0;
        reply(server, server->in_data ? "354 go on\r\n"
                      : server->mail  ? "554 5.5.1 No valid recipients\r\n"
                                      : "503 No\r\n");
    } else if (strncmp(line, "BDAT ", 5) == 0) {
        take_bdat(server, line);
    } else if (strncmp(line, "RSET", 4) == 0) {
        forget(server);
        reply(server, NULL);
    } else if (strncmp(line, "STARTTLS", 8) == 0) {
        reply(server, "220 2.0.0 Ready\r\n");
    } else if (strncmp(line, "QUIT", 4) == 0) {
        reply(server, "221 2.0.0 Bye\r\n");
        server->gone = true;
    } else {
        reply(server, strncmp(line, "NOOP", 4) == 0 ? NULL : "500 5.5.2 What\r\n");
    }
}

static void note_text(struct mail_server *server, const char *text)
{
    unsigned message;
    if (server->message == UINT32_MAX && sscanf(text, "message %u\r", &message) == 1)
        server->message = message;
}

static void take_chunk(struct mail_server *server, const char *octets)
{
    server->chunk_left = 0;
    if (!server->chunk_refused)
        note_text(server, octets);
    if (server->chunk_refused && server->last_chunk)
        forget(server);
    if (server->chunk_refused)
        reply(server, "503 5.5.1 No valid recipients\r\n");
    else if (server->last_chunk)
        take_message(server);
    else
        reply(server, NULL);
}

static void take(struct mail_server *server, const char *line)
{
    if (server->chunk_left) {
        take_chunk(server, line);
    } else if (server->in_data) {
        server->in_data = strcmp(line, ".\r\n") != 0;
        note_text(server, line);
        if (!server->in_data)
            take_message(server);
    } else {
        take_command(server, line);
    }
}

void mail_server_read(struct mail_server *server, struct span read)
{
    char line[256];
    while (!server->gone && server->parsed < read.len) {
        struct span left = span_tail(read, server->parsed);
        const uint8_t *end = memchr(left.ptr, '\n', left.len);
        size_t len = server->chunk_left ? server->chunk_left : end ? (size_t)(end - left.ptr) + 1 : left.len + 1;
        if (len > left.len)
            return;
        assert_true(len < sizeof line);
        memcpy(line, left.ptr, len);
        line[len] = '\0';
        server->parsed += (uint32_t)len;
        take(server, line);
    }
}

void mail_server_begin(struct mail_server *server, uint64_t seed, bool pipelining)
{
    static const char greeting[] = "220 mail.example.com ESMTP\r\n";
    *server = (struct mail_server){.random = {seed}, .pipelining = pipelining, .message = UINT32_MAX};
    memcpy(server->said, greeting, sizeof greeting - 1);
    server->said_len = sizeof greeting - 1;
}
