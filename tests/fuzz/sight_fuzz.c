/*
 * What a client sends, against a modelled server. The first octet chooses how the server reads what the standard leaves
 * open, the second whether the client waits at each line; the rest is said behind EHLO, and a standard mail behind
 * that, twice.
 *
 * Held to law 8: the server delivers nothing to the recipient whom a rule refuses, and the session is read to its end
 * or ends: the server neither encrypts nor closes, so nothing that the client says makes the connection pass unedited.
 */
#include "fuzz.h"

#include <string.h>

#include "../lib/drive.h"
#include "../lib/rules.h"

#define BLOCKED "blocked@victim.example"

enum { SAID_BYTES_MAX = 32768, LINE_MAX = 2048 };

enum trait {
    CHUNKS = 1,       /* it offers CHUNKING, and takes BDAT */
    ENDS_AT_NUL = 2,  /* a command ends at NUL, as a C string */
    CUTS = 4,         /* what is behind LINE_MAX octets of a line is another one */
    SKIPS_BLANKS = 8, /* before a verb, and in a path */
    ENDS_AT_LF = 16,  /* a message ends at a dot between line feeds */
};

struct server {
    struct drive *drive;
    unsigned traits; /* of enum trait */
    size_t at;       /* octets of the client's that it has read */
    size_t chunk_left;
    bool in_message, mail, extended;
    bool last; /* the chunk is the last one of its message */
    int recipients;
    bool has_blocked; /* among them */
};

static struct policy policy;

static void say(struct server *server, const char *reply)
{
    drive_send_text(server->drive, SMTP_SERVER, (uint32_t)drive_said(server->drive, SMTP_SERVER).len, reply);
}

static void end_transaction(struct server *server)
{
    server->mail = server->has_blocked = false;
    server->recipients = 0;
}

static void deliver(struct server *server)
{
    MUST(!server->has_blocked);
    end_transaction(server);
    say(server, "250 2.0.0 queued, as it were\r\n");
}

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || (octet >= '\t' && octet <= '\r');
}

static bool begins(struct span line, const char *word)
{
    return span_equal_nocase(span_head(line, strlen(word)), span_of(word));
}

/* The path of MAIL or RCPT: what stands in its brackets, or behind its colon. */
static struct span path_of(const struct server *server, struct span line)
{
    const uint8_t *colon = memchr(line.ptr, ':', line.len);
    if (!colon)
        return (struct span){line.ptr, 0};
    struct span path = span_tail(line, (size_t)(colon - line.ptr) + 1);
    while (path.len && is_blank(path.ptr[0]))
        path = span_tail(path, 1);
    if (path.len && path.ptr[0] == '<')
        path = span_tail(path, 1);
    while (server->traits & SKIPS_BLANKS && path.len && is_blank(path.ptr[0]))
        path = span_tail(path, 1);
    size_t len = 0;
    while (len < path.len && path.ptr[len] != '>' && !is_blank(path.ptr[len]))
        len++;
    return span_head(path, len);
}

static void take_recipient(struct server *server, struct span line)
{
    struct span path = path_of(server, line);
    bool dots = false;
    for (size_t i = 1; i < path.len; i++)
        dots = dots || (path.ptr[i] == '.' && path.ptr[i - 1] == '.');
    if (!server->mail || path.len == 0 || dots || !memchr(path.ptr, '@', path.len)) {
        say(server, "501 5.5.4 no, and that is why\r\n");
        return;
    }
    server->recipients++;
    server->has_blocked = server->has_blocked || span_equal_nocase(path, span_of(BLOCKED));
    say(server, "250 2.1.5 recipient ok\r\n");
}

static void take_chunk(struct server *server, struct span line)
{
    if (!(server->traits & CHUNKS && server->extended)) {
        say(server, "503 5.5.1 BDAT refused by this server\r\n");
        return;
    }
    struct span size = span_tail(line, 4);
    while (size.len && is_blank(size.ptr[0]))
        size = span_tail(size, 1);
    server->chunk_left = 0;
    for (; size.len && size.ptr[0] >= '0' && size.ptr[0] <= '9' && server->chunk_left < SAID_BYTES_MAX;
         size = span_tail(size, 1))
        server->chunk_left = server->chunk_left * 10 + size.ptr[0] - '0';
    while (size.len && is_blank(size.ptr[0]))
        size = span_tail(size, 1);
    server->last = begins(size, "LAST");
}

/* All of a chunk has come. */
static void end_chunk(struct server *server)
{
    if (server->recipients == 0)
        say(server, "503 5.5.1 need RCPT before BDAT\r\n");
    else if (server->last)
        deliver(server);
    else
        say(server, "250 2.0.0 chunk ok, all of it\r\n");
}

static void take_hello(struct server *server, bool extended)
{
    server->extended = extended;
    end_transaction(server);
    if (!extended)
        say(server, "250 mail.victim.example\r\n");
    else if (server->traits & CHUNKS)
        say(server, "250-mail\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-XEXCH50\r\n250 HELP\r\n");
    else
        say(server, "250-mail\r\n250-PIPELINING\r\n250-XEXCH50\r\n250 HELP\r\n");
}

static void take_command(struct server *server, struct span line)
{
    while (server->traits & SKIPS_BLANKS && line.len && is_blank(line.ptr[0]))
        line = span_tail(line, 1);
    if (line.len > 4 && !is_blank(line.ptr[4])) {
        say(server, "500 5.5.2 what would that be?\r\n");
    } else if (begins(line, "EHLO") || begins(line, "HELO")) {
        take_hello(server, begins(line, "EHLO"));
    } else if (begins(line, "MAIL")) {
        say(server, server->mail ? "503 5.5.1 nested MAIL command\r\n" : "250 2.1.0 sender ok\r\n");
        server->mail = true;
    } else if (begins(line, "RCPT")) {
        take_recipient(server, line);
    } else if (begins(line, "DATA")) {
        server->in_message = server->recipients > 0;
        say(server, server->in_message ? "354 go ahead\r\n" : "503 5.5.1 need RCPT before DATA\r\n");
    } else if (begins(line, "BDAT")) {
        take_chunk(server, line);
        if (server->chunk_left == 0 && server->traits & CHUNKS && server->extended)
            end_chunk(server);
    } else if (begins(line, "RSET")) {
        end_transaction(server);
        say(server, "250 2.0.0 forgotten, all of it\r\n");
    } else if (begins(line, "NOOP") || begins(line, "HELP") || begins(line, "QUIT")) {
        say(server, "250 2.0.0 nothing was done\r\n");
    } else {
        say(server, "500 5.5.2 what would that be?\r\n");
    }
}

/* One step on; false where nothing that is complete has come. */
static bool step(struct server *server)
{
    struct span all = span_tail(drive_read(server->drive, SMTP_SERVER), server->at);
    if (all.len == 0)
        return false;
    if (server->chunk_left > 0) {
        size_t taken = server->chunk_left < all.len ? server->chunk_left : all.len;
        server->chunk_left -= taken;
        server->at += taken;
        if (server->chunk_left == 0)
            end_chunk(server);
        return true;
    }
    const uint8_t *end = memchr(all.ptr, '\n', all.len);
    size_t len = end ? (size_t)(end - all.ptr) + 1 : all.len;
    bool cut = server->traits & CUTS && len > LINE_MAX;
    if (!end && !cut)
        return false;
    struct span line = span_head(all, cut ? LINE_MAX : len);
    server->at += line.len;
    bool crlf = line.len >= 2 && line.ptr[line.len - 2] == '\r';
    line = span_head(line, line.len - (cut ? 0 : crlf ? 2 : 1));
    if (server->in_message) {
        if (span_equal(line, span_of(".")) && (crlf || server->traits & ENDS_AT_LF)) {
            server->in_message = false;
            deliver(server);
        }
        return true;
    }
    const uint8_t *nul = memchr(line.ptr, '\0', line.len);
    if (nul && server->traits & ENDS_AT_NUL)
        line = span_head(line, (size_t)(nul - line.ptr));
    take_command(server, line);
    return true;
}

static void client_says(struct server *server, struct span octets)
{
    drive_send_octets(server->drive, SMTP_CLIENT, octets);
    drive_wait(server->drive, 600000); /* what waits for its end, or for an answer, has gone on by then */
    while (step(server))
        continue;
}

static void client_mails(struct server *server)
{
    static const char *const mail[] = {
        "\r\n.\r\nRSET\r\n",
        "MAIL FROM:<a@example.net>\r\n",
        "RCPT TO:<good@victim.example>\r\n",
        "RCPT TO:<" BLOCKED ">\r\n",
        "DATA\r\n",
        "Subject: x\r\n\r\nx\r\n.\r\n",
    };
    for (size_t i = 0; i < sizeof mail / sizeof mail[0]; i++)
        client_says(server, span_of(mail[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > SAID_BYTES_MAX)
        return 0;
    if (policy.rule_count == 0) {
        policy_init_default(&policy);
        rules_add(&policy, "closed", RULE_ON_RECIPIENT, BLOCKED, SMTP_ACTION_REFUSE, "550 5.7.1 Not here");
    }
    struct drive_plan plan = {.name = "sight", .policy = &policy};
    struct server server = {.traits = data[0], .drive = drive_new(&plan)};
    drive_handshake(server.drive);
    say(&server, "220 mail.victim.example ESMTP ready when you are\r\n");
    client_says(&server, span_of("EHLO client.example.net\r\n"));
    struct span said = {data + 2, size - 2};
    while (said.len) {
        const uint8_t *end = data[1] & 1 ? memchr(said.ptr, '\n', said.len) : NULL;
        size_t len = end ? (size_t)(end - said.ptr) + 1 : said.len;
        client_says(&server, span_head(said, len));
        said = span_tail(said, len);
    }
    client_mails(&server);
    client_mails(&server);
    for (size_t i = 0; i < drive_event_count(server.drive); i++)
        MUST(drive_event(server.drive, i)->event.kind != EVENT_UNEDITED);
    drive_finish(server.drive);
    drive_free(server.drive);
    return 0;
}
