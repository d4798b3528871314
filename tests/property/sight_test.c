/*
 * Law 8: whatever a client says, and however it writes it, a recipient that a rule refuses gets no message from it, and
 * the session is read to its end or ends. Against modelled servers that keep to the RFC and such as are lenient: each
 * reads the octets that leave, and nothing else.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/dialogue.h"
#include "../lib/one.h"
#include "../lib/random.h"
#include "../lib/rules.h"
#include "conf/idna.h"

#define BLOCKED "blocked@victim.example"

enum { SEEDS = 600, PIECES_MAX = 12, ATTACK_BYTES_MAX = 32768 };

/* How a server reads what the standard leaves open, or forbids. */
struct traits {
    const char *name;
    bool chunking;     /* it offers CHUNKING, and takes BDAT */
    bool ends_at_nul;  /* a command ends at NUL, as a C string */
    bool cuts;         /* what is behind 2048 octets of a line is another one */
    bool skips_blanks; /* before a verb; it ends a verb at any white space, too */
};

static const struct traits servers[] = {
    {.name = "strict"},
    {.name = "strict, chunks", .chunking = true},
    {.name = "C strings", .ends_at_nul = true, .skips_blanks = true},
    {.name = "short lines", .cuts = true, .chunking = true},
    {.name = "all of it", .ends_at_nul = true, .cuts = true, .skips_blanks = true},
};

enum { SERVERS = sizeof servers / sizeof servers[0] };

struct server {
    const struct traits *traits;
    struct drive *drive;
    size_t at;         /* octets of the client's that it has read */
    size_t chunk_left; /* of a BDAT */
    bool in_message, mail, closed;
    bool extended; /* behind EHLO, not HELO */
    int recipients;
    bool has_blocked; /* among them */
    bool delivered;   /* a message to it */
};

static void say(struct server *server, const char *reply)
{
    drive_send_text(server->drive, SMTP_SERVER, (uint32_t)drive_said(server->drive, SMTP_SERVER).len, reply);
}

static void end_transaction(struct server *server)
{
    server->mail = server->has_blocked = false;
    server->recipients = 0;
}

static bool holds(struct span text, const char *word)
{
    size_t len = strlen(word);
    for (size_t at = 0; at + len <= text.len; at++)
        if (span_equal_nocase(span_head(span_tail(text, at), len), span_of(word)))
            return true;
    return false;
}

static void take_recipient(struct server *server, struct span line)
{
    bool bad = holds(line, "..") || holds(line, "\"\"") || holds(line, "@>") || holds(line, "@.");
    if (!server->mail || bad) {
        say(server, "501 5.5.4 no, and that is why\r\n");
        return;
    }
    server->recipients++;
    server->has_blocked = server->has_blocked || holds(line, BLOCKED);
    say(server, "250 2.1.5 recipient ok\r\n");
}

static void take_chunk(struct server *server, struct span line)
{
    bool good = server->traits->chunking && server->extended;
    if (!good) {
        say(server, "503 5.5.1 BDAT refused by this server\r\n");
        return;
    }
    server->chunk_left = strtoull((const char *)line.ptr + 5, NULL, 10);
    bool last = holds(line, "LAST");
    server->delivered = server->delivered || (last && server->has_blocked);
    say(server, server->recipients ? "250 2.0.0 chunk ok, all of it\r\n" : "503 5.5.1 need RCPT\r\n");
    if (last)
        end_transaction(server);
}

static void take_command(struct server *server, struct span line)
{
    struct span word = line;
    if (server->traits->skips_blanks)
        while (line.len && isspace(line.ptr[0]))
            line = span_tail(line, 1);
    for (word.ptr = line.ptr, word.len = 0; word.len < line.len; word.len++)
        if (line.ptr[word.len] == ' ' || (server->traits->skips_blanks && isspace(line.ptr[word.len])))
            break;
    if (span_equal_nocase(word, span_of("EHLO"))) {
        server->extended = true;
        end_transaction(server);
        say(server, server->traits->chunking
                        ? "250-mail\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-XEXCH50\r\n250 HELP\r\n"
                        : "250-mail\r\n250-PIPELINING\r\n250-XEXCH50\r\n250 HELP\r\n");
    } else if (span_equal_nocase(word, span_of("HELO"))) {
        server->extended = false;
        end_transaction(server);
        say(server, "250 mail.victim.example\r\n");
    } else if (span_equal_nocase(word, span_of("MAIL"))) {
        bool nested = server->mail;
        server->mail = true;
        say(server, nested ? "503 5.5.1 nested MAIL command\r\n" : "250 2.1.0 sender ok\r\n");
    } else if (span_equal_nocase(word, span_of("RCPT"))) {
        take_recipient(server, line);
    } else if (span_equal_nocase(word, span_of("DATA"))) {
        server->in_message = server->recipients > 0;
        say(server, server->in_message ? "354 go ahead\r\n" : "503 5.5.1 need RCPT before DATA\r\n");
    } else if (span_equal_nocase(word, span_of("BDAT"))) {
        take_chunk(server, line);
    } else if (span_equal_nocase(word, span_of("RSET"))) {
        end_transaction(server);
        say(server, "250 2.0.0 forgotten, all of it\r\n");
    } else if (span_equal_nocase(word, span_of("NOOP")) || span_equal_nocase(word, span_of("HELP"))) {
        say(server, "250 2.0.0 nothing was done\r\n");
    } else if (span_equal_nocase(word, span_of("QUIT"))) {
        server->closed = true;
        say(server, "221 2.0.0 closing this connection\r\n");
    } else {
        say(server, "500 5.5.2 what would that be?\r\n");
    }
}

/* One step on; false where nothing that is complete has come. */
static bool step(struct server *server)
{
    enum { LINE_MAX = 2048 };
    struct span all = span_tail(drive_read(server->drive, SMTP_SERVER), server->at);
    if (server->closed || all.len == 0)
        return false;
    if (server->chunk_left > 0) {
        size_t taken = server->chunk_left < all.len ? server->chunk_left : all.len;
        server->chunk_left -= taken;
        server->at += taken;
        return true;
    }
    const uint8_t *end = memchr(all.ptr, '\n', all.len);
    size_t len = end ? (size_t)(end - all.ptr) + 1 : all.len;
    bool cut = server->traits->cuts && len > LINE_MAX;
    if (!end && !cut)
        return false;
    uint8_t text[LINE_MAX + 1] = {0};
    struct span line = span_head(all, cut ? LINE_MAX : len);
    server->at += line.len;
    line = smtp_line_text(span_head(line, LINE_MAX));
    if (line.len)
        memcpy(text, line.ptr, line.len);
    line.ptr = text;
    if (server->in_message) {
        if (span_equal(line, span_of("."))) {
            server->in_message = false;
            server->delivered = server->delivered || server->has_blocked;
            end_transaction(server);
            say(server, "250 2.0.0 queued, as it were\r\n");
        }
        return true;
    }
    const uint8_t *nul = memchr(text, '\0', line.len);
    if (nul && server->traits->ends_at_nul)
        line.len = (size_t)(nul - text);
    take_command(server, line);
    return true;
}

static void serve(struct server *server)
{
    drive_wait(server->drive, 600000); /* what waits for its end, or for an answer, has gone on by then */
    while (step(server))
        continue;
}

/* What waits for a reply is sent again, as TCP does. */
static void client_says(struct server *server, struct span octets)
{
    enum { A_PACKET = 1400, AGAIN = 4 };
    drive_send_octets(server->drive, SMTP_CLIENT, octets);
    serve(server);
    for (int i = 0; i < AGAIN; i++) {
        uint32_t at = drive_acknowledged(server->drive, SMTP_CLIENT);
        struct span rest = span_tail(drive_said(server->drive, SMTP_CLIENT), at);
        if (rest.len == 0)
            return;
        struct segment segment = drive_segment(server->drive, SMTP_CLIENT, at, span_head(rest, A_PACKET));
        drive_send(server->drive, SMTP_CLIENT, &segment);
        serve(server);
    }
}

static struct policy policy;

/* What the client's attack is followed by: a mail as everybody sends it. */
static const char *const mail[] = {
    "RSET\r\n", "MAIL FROM:<a@example.net>\r\n", "RCPT TO:<good@victim.example>\r\n", "RCPT TO:<" BLOCKED ">\r\n",
    "DATA\r\n", "Subject: x\r\n\r\nx\r\n.\r\n",
};

/* `told` where it is not NULL: what must be told of the client. */
static void check(const char *name, const struct traits *traits, struct span attack, const char *hello,
                  const char *told)
{
    struct drive_plan plan = {.name = name, .policy = &policy};
    struct server server = {.traits = traits, .drive = drive_new(&plan)};
    drive_handshake(server.drive);
    say(&server, "220 mail.victim.example ESMTP ready when you are\r\n");
    client_says(&server, span_of(hello));
    client_says(&server, attack);
    for (size_t i = 0; i < sizeof mail / sizeof mail[0]; i++)
        client_says(&server, span_of(mail[i]));
    client_says(&server, span_of("\r\n.\r\nRSET\r\n")); /* out of whatever it is in */
    for (size_t i = 0; i < sizeof mail / sizeof mail[0]; i++)
        client_says(&server, span_of(mail[i]));
    char *of_client = dialogue_told(server.drive, SMTP_CLIENT);
    bool unread = strchr(of_client, '#') != NULL;
    if (server.delivered || unread)
        dialogue_print_span(traits->name, attack);
    if (server.delivered)
        fail_msg("%s, a server of the kind '%s': the recipient got the message; told: %s", name, traits->name,
                 of_client);
    if (unread)
        fail_msg("%s, a server of the kind '%s': not read any more: %s", name, traits->name, of_client);
    if (told && !strstr(of_client, told))
        fail_msg("%s, a server of the kind '%s': '%s' is not told: %s", name, traits->name, told, of_client);
    free(of_client);
    drive_finish(server.drive);
    drive_free(server.drive);
}

struct blind {
    const char *name;
    struct span octets;
    size_t times;
    const char *told;
};

static struct blind blinds[] = {
    {"NOOP and NUL", TEXT("NOOP \0\r\n"), 1, "!nul-in-command"},
    {"NUL alone", TEXT("\0\r\n"), 1, "!nul-in-command"},
    {"NUL in a verb", TEXT("RC\0PT TO:<" BLOCKED ">\r\n"), 1, "!nul-in-command"},
    {"a line of 2,100 octets", TEXT("NOOP xxxxxxxxxxxxxxxxxxxxxx"), 80, "!line-too-long"},
    {"a line of 30,000 octets of AUTH", TEXT("AUTH PLAIN xxxxxxxxxxxxxxxx"), 1100, "!line-too-long"},
    {"1,100 NOOPs", TEXT("NOOP\r\n"), 1100, NULL},
    {"2,100 empty lines", TEXT("\r\n"), 2100, NULL},
    {"BDAT alone", TEXT("BDAT 10\r\n"), 1, NULL},
    {"BDAT, its octets commands", TEXT("MAIL FROM:<a@b>\r\nBDAT 36\r\nRCPT TO:<" BLOCKED ">\r\nDATA\r\nx\r\n.\r\n"), 1,
     NULL},
    {"a message without a transaction", TEXT("DATA\r\nmail\r\n.\r\n"), 1, NULL},
    {"a message in a message",
     TEXT("MAIL FROM:<a@b>\r\nRCPT TO:<good@victim.example>\r\nDATA\r\nx\n.\nMAIL FROM:<a@b>\r\n"
          "RCPT TO:<" BLOCKED ">\r\nDATA\r\nx\r\n.\r\n"),
     1, "!ambiguous-end-of-data"},
    {"a message in a message, behind a dot and NUL",
     TEXT("MAIL FROM:<a@b>\r\nRCPT TO:<good@victim.example>\r\nDATA\r\nx\r\n.\0\r\nMAIL FROM:<a@b>\r\n"
          "RCPT TO:<" BLOCKED ">\r\nDATA\r\nx\r\n.\r\n"),
     1, "!ambiguous-end-of-data"},
    {"BDAT of a size that has two readings", TEXT("BDAT 5 X\r\n"), 1, NULL},
    {"PROXY", TEXT("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n"), 1, NULL},
};

static void test_blinds(void **state)
{
    (void)state;
    static uint8_t octets[ATTACK_BYTES_MAX];
    static const char *const hellos[] = {"EHLO client.example.net\r\n", "HELO client.example.net\r\n",
                                         "EHLO x\r\nHELO y\r\n"};
    for (size_t i = 0; i < sizeof blinds / sizeof blinds[0]; i++) {
        const struct blind *blind = &blinds[i];
        if (!one_row(blind->name))
            continue;
        size_t len = 0;
        for (size_t time = 0; time < blind->times && len + blind->octets.len + 2 < sizeof octets; time++) {
            memcpy(octets + len, blind->octets.ptr, blind->octets.len);
            len += blind->octets.len;
        }
        if (octets[len - 1] != '\n') {
            memcpy(octets + len, "\r\n", 2);
            len += 2;
        }
        for (size_t j = 0; j < SERVERS; j++)
            for (size_t k = 0; k < sizeof hellos / sizeof hellos[0]; k++)
                check(blind->name, &servers[j], (struct span){octets, len}, hellos[k], blind->told);
    }
}

/* A PROXY header of a stranger, before the greeting: to servers that want none there are commands in it. */
static void test_proxy_header(void **state)
{
    (void)state;
    static const struct span header =
        TEXT("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x80\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\0\x19\r\n"
             "HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<" BLOCKED ">\r\nDATA\r\nx\r\n.\r\n");
    for (size_t i = 0; i < SERVERS; i++) {
        struct drive_plan plan = {.name = servers[i].name, .policy = &policy};
        struct server server = {.traits = &servers[i], .drive = drive_new(&plan)};
        drive_handshake(server.drive);
        client_says(&server, header);
        say(&server, "220 mail.victim.example ESMTP ready when you are\r\n");
        for (size_t j = 0; j < sizeof mail / sizeof mail[0]; j++)
            client_says(&server, span_of(mail[j]));
        char *of_client = dialogue_told(server.drive, SMTP_CLIENT);
        bool unread = strchr(of_client, '#') != NULL;
        if (server.delivered || unread || !strstr(of_client, "!proxy-header"))
            fail_msg("%s: %s; told: %s", servers[i].name,
                     server.delivered ? "delivered"
                     : unread         ? "unread"
                                      : "not told",
                     of_client);
        free(of_client);
        drive_finish(server.drive);
        drive_free(server.drive);
    }
}

static const struct span pieces[] = {
    TEXT("NOOP\r\n"),
    TEXT("NOOP \0x\r\n"),
    TEXT("\r\n"),
    TEXT("\n"),
    TEXT(" "),
    TEXT("\t"),
    TEXT("\r"),
    TEXT("\v"),
    TEXT("\f"),
    TEXT("\0"),
    TEXT("EHLO x\r\n"),
    TEXT("HELO x\r\n"),
    TEXT("RSET\r\n"),
    TEXT("MAIL FROM:<a@b>\r\n"),
    TEXT("MAIL FROM:<>\r\n"),
    TEXT("RCPT TO:<good@victim.example>\r\n"),
    TEXT("RCPT TO:<" BLOCKED ">\r\n"),
    TEXT("RCPT\tTO:<" BLOCKED ">\r\n"),
    TEXT("DATA\r\n"),
    TEXT("DATA\0\r\n"),
    TEXT("x\r\n.\r\n"),
    TEXT("BDAT 0 LAST\r\n"),
    TEXT("BDAT 5\r\nRSET"),
    TEXT("BDAT 36\r\n"),
    TEXT("BDAT 20 LAST\r\n"),
    TEXT("BDAT 3 X\r\n"),
    TEXT("AUTH PLAIN\r\n"),
    TEXT("XEXCH50 5 2\r\n"),
    TEXT("\xff\xfd\x06"),
    TEXT("FOO bar\r\n"),
};

static void test_any_client(void **state)
{
    (void)state;
    static uint8_t octets[ATTACK_BYTES_MAX];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct random_source random = {seed};
        char name[32];
        size_t len = 0;
        (void)snprintf(name, sizeof name, "client %llu", (unsigned long long)seed);
        for (uint32_t left = 1 + random_below(&random, PIECES_MAX); left > 0; left--) {
            struct span piece = pieces[random_below(&random, sizeof pieces / sizeof pieces[0])];
            memcpy(octets + len, piece.ptr, piece.len);
            len += piece.len;
        }
        check(name, &servers[seed % SERVERS], (struct span){octets, len},
              random_below(&random, 4) ? "EHLO c\r\n" : "HELO c\r\n", NULL);
    }
}

/* Ways to write an address that a rule refuses, each delivered to its mailbox by one or more of five servers once. */
static const struct span spellings[] = {
    TEXT("RCPT TO:<victim@example.net.>\r\n"),
    TEXT("RCPT TO:<vic\\tim@example.net>\r\n"),
    TEXT("RCPT TO:<\\victim@example.net>\r\n"),
    TEXT("RCPT TO:<victim@(c)example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net(c)>\r\n"),
    TEXT("RCPT TO:<victim@example(c).net>\r\n"),
    TEXT("RCPT TO:<victim@example.net>(c)\r\n"),
    TEXT("RCPT TO:(c)<victim@example.net>\r\n"),
    TEXT("RCPT TO:< victim@example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net >\r\n"),
    TEXT("RCPT TO:<victim @example.net>\r\n"),
    TEXT("RCPT TO:<victim\t@example.net>\r\n"),
    TEXT("RCPT TO:<\tvictim@example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net\t>\r\n"),
    TEXT("RCPT TO:<victim\r@example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net\r>\r\n"),
    TEXT("RCPT TO:<@a.test:@b.test:victim@example.net>\r\n"),
    TEXT("RCPT TO:<@a.test: victim@example.net>\r\n"),
    TEXT("RCPT TO:<victim%example.net>\r\n"),
    TEXT("RCPT TO:<victim%example.net@>\r\n"),
    TEXT("RCPT TO:<victim%example.net@[10.2.2.41]>\r\n"),
    TEXT("RCPT TO:<<victim@example.net>>\r\n"),
    TEXT("RCPT TO:<victim@example.net>>\r\n"),
    TEXT("RCPT TO:<victim@example.net>;\r\n"),
    TEXT("RCPT TO:<victim@example.net>,\r\n"),
    TEXT("RCPT TO:<victim@example.net;>\r\n"),
    TEXT("RCPT TO:<victim@example.net,>\r\n"),
    TEXT("RCPT TO:x:victim@example.net;\r\n"),
    TEXT("RCPT TO:<x:victim@example.net;>\r\n"),
    TEXT("RCPT TO:<group: victim@example.net;>\r\n"),
    TEXT("RCPT TO:<\"victim\" @example.net>\r\n"),
    TEXT("RCPT TO:<victim@example\\.net>\r\n"),
    TEXT("RCPT TO:<victim@exam\\ple.net>\r\n"),
    TEXT("RCPT TO:<victim\\@example.net>\r\n"),
    TEXT("RCPT TO:\x0b<victim@example.net>\r\n"),
    TEXT("RCPT TO:\r<victim@example.net>\r\n"),
    TEXT("RCPT TO:\x01<victim@example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net>\r \r\n"),
    TEXT("RCPT TO:\"a<b\" <victim@example.net>\r\n"),
    TEXT("RCPT TO:\"good1@example.net\" <victim@example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net..>\r\n"),
    TEXT("RCPT TO:<vic\"t\"im@example.net>\r\n"),
    TEXT("RCPT TO:<victim\"\"@example.net>\r\n"),
    TEXT("RCPT TO:<victim\x0b@example.net>\r\n"),
    TEXT("RCPT TO:<\x0cvictim@example.net>\r\n"),
    TEXT("RCPT TO:<victim@example.net>\x7f\r\n"),
    TEXT("RCPT TO:<mail.example.net!victim>\r\n"),
    TEXT("RCPT TO:<example.net!victim@mail.example.net>\r\n"),
    TEXT("RCPT TO:<victim@[10.2.2.41]>\r\n"),
    TEXT("RCPT TO:<victim@[10.2.2.42]>\r\n"),
    TEXT("RCPT TO:<victim@example.net>x\r\n"),
    TEXT("RCPT TO:<victim@example.net>\xa0\r\n"),
    TEXT("RCPT TO:<=?utf-8?q?victim?=@example.net>\r\n"),
    TEXT("RCPT TO:<mailto:victim@example.net>\r\n"),
    TEXT("RCPT TO:<victim>\r\n"),
    TEXT("RCPT TO:victim\r\n"),
    TEXT("RCPT TO:<\"victim\">\r\n"),
};

/* With `prefix` before it: no RCPT reaches the server but those that it refuses by syntax. */
static void check_spelling(struct span spelling, const char *prefix)
{
    struct drive_plan plan = {.name = "spelling", .policy = &policy};
    struct server server = {.traits = &servers[0], .drive = drive_new(&plan)};
    uint8_t line[256];
    size_t len = strlen(prefix);
    memcpy(line, prefix, len);
    memcpy(line + len, spelling.ptr, spelling.len);
    drive_handshake(server.drive);
    say(&server, "220 mail.victim.example ESMTP ready when you are\r\n");
    client_says(&server, span_of("EHLO c\r\n"));
    client_says(&server, span_of("MAIL FROM:<a@example.net>\r\n"));
    size_t before = drive_read(server.drive, SMTP_SERVER).len;
    client_says(&server, (struct span){line, len + spelling.len});
    struct span read = span_tail(drive_read(server.drive, SMTP_SERVER), before);
    bool spoiled = holds(read, "..") || holds(read, "\"\">") || holds(read, "@.") || holds(read, "NOOP");
    if (read.len != len + spelling.len || !spoiled || server.recipients > 0) {
        dialogue_print_span("said", (struct span){line, len + spelling.len});
        dialogue_print_span("the server reads", read);
        fail_msg("it reaches the server");
    }
    drive_finish(server.drive);
    drive_free(server.drive);
}

static void test_spellings(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"", " ", "\t", "\v", "\f \r"};
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++)
        for (size_t j = 0; j < sizeof prefixes / sizeof prefixes[0]; j++)
            check_spelling(spellings[i], prefixes[j]);
}

/* One domain, however it is written (RFC 5890 2.3.2.4); `refused`: by the rule. */
static void check_domain(const struct policy *by, const char *domain, bool refused)
{
    struct drive_plan plan = {.name = domain, .policy = by};
    struct server server = {.traits = &servers[0], .drive = drive_new(&plan)};
    char line[128];
    (void)snprintf(line, sizeof line, "RCPT TO:<user@%s>\r\n", domain);
    drive_handshake(server.drive);
    say(&server, "220 mail.victim.example ESMTP ready when you are\r\n");
    client_says(&server, span_of("EHLO c\r\n"));
    client_says(&server, span_of("MAIL FROM:<a@example.net> SMTPUTF8\r\n"));
    client_says(&server, span_of(line));
    if ((server.recipients == 0) != refused)
        fail_msg("a recipient of %s is %s", domain, refused ? "not refused" : "refused");
    drive_finish(server.drive);
    drive_free(server.drive);
}

static void test_domains(void **state)
{
    (void)state;
    static const char *const written[] = {"sp\xc3\xa4m.example", "xn--spm-rla.example."};
    static struct policy by;
    for (size_t i = 0; i < sizeof written / sizeof written[0]; i++) {
        policy_init_default(&by);
        by.domain_to_ascii = idna_to_ascii;
        struct rule rule = rule_of("idn", RULE_ON_RECIPIENT);
        rule.action.kind = SMTP_ACTION_REFUSE;
        rule.action.refusal = smtp_refusal_add(&by.refusals, span_of("550 5.7.1 Not here"), rule.name);
        assert_true(policy_name_word(&by, &rule, WORD_DOMAINS, span_of(written[i]), false));
        assert_true(policy_add_rule(&by, &rule) && policy_seal(&by));
        check_domain(&by, "sp\xc3\xa4m.example", true);
        check_domain(&by, "SP\xc3\x84M.example", true);
        check_domain(&by, "spa\xcc\x88m.Example", true);
        check_domain(&by, "xn--spm-rla.example", true);
        check_domain(&by, "XN--SPM-RLA.example.", true);
        check_domain(&by, "mx.sp\xc3\xa4m.example", true);
        check_domain(&by, "spam.example", false);
        check_domain(&by, "sp\xc3\xa4m.example.net", false);
        check_domain(&by, "sp\xff.example", false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"a domain is one, in U-labels and A-labels", test_domains, NULL, NULL, NULL},
        {"what made the filter blind does so no more", test_blinds, NULL, NULL, NULL},
        {"case 13: a PROXY header of a stranger hides nothing", test_proxy_header, NULL, NULL, NULL},
        {"no way to write an address is a way around a rule", test_spellings, NULL, NULL, NULL},
        {"any client, any server", test_any_client, NULL, NULL, NULL},
    };
    policy_init_default(&policy);
    rules_add(&policy, "closed", RULE_ON_RECIPIENT, BLOCKED, SMTP_ACTION_REFUSE, "550 5.7.1 Not here");
    rules_add(&policy, "victim", RULE_ON_RECIPIENT, "victim@example.net", SMTP_ACTION_REFUSE, "550 5.7.1 Not here");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("sight", tests, NULL, NULL);
}
