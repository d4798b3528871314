#include "apps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool apps_line_begins(const uint8_t *line, uint32_t len, const char *word)
{
    for (uint32_t i = 0; word[i]; i++)
        if (i >= len || (line[i] | 0x20) != (word[i] | 0x20))
            return false;
    return true;
}

/* ---- both ---- */

static void app_write(struct apps *apps, struct app *app, const void *octets, uint32_t len)
{
    if (app->pending_len + len > sizeof app->pending) {
        fault_note(apps->fault, "the script is too long");
        return;
    }
    memcpy(app->pending + app->pending_len, octets, len);
    app->pending_len += len;
}

static uint32_t next_write_len(struct apps *apps, enum app_cut cut, const struct app *app)
{
    uint32_t left = app->pending_len - app->written;
    uint32_t len = left;
    const uint8_t *at = app->pending + app->written;
    const uint8_t *end = memchr(at, '\n', left);
    if (cut == APP_CUT_LINES && end)
        len = (uint32_t)(end - at) + 1;
    else if (cut == APP_CUT_OCTETS)
        len = 1;
    else if (cut == APP_CUT_RANDOM)
        len = 1 + random_below(apps->random, left < 300 ? left : 300);
    /* A long message goes on in larger pieces. */
    return app->written > 4000 ? left : len;
}

static void app_tick(struct apps *apps, int side, struct app *app, int64_t now_us)
{
    struct endpoint *end = &apps->ends[side];
    while (app->written < app->pending_len && app->next_us <= now_us) {
        uint32_t len = next_write_len(apps, apps->plan.cut[side], app);
        endpoint_write(end, app->pending + app->written, len, now_us);
        app->written += len;
        app->next_us = now_us + apps->plan.pause_us[side];
    }
    if (app->close_after && app->written == app->pending_len && !end->fin_wanted)
        endpoint_close(end, now_us);
}

/* ---- the server ---- */

static void reply(struct apps *apps, enum app_reply_kind kind, const char *text)
{
    struct app_server *server = &apps->server;
    if (server->reply_count == APPS_REPLIES_MAX) {
        fault_note(apps->fault, "too many replies");
        return;
    }
    uint32_t len = (uint32_t)strlen(text);
    server->replies[server->reply_count++] =
        (struct app_reply){kind, {server->app.pending_len, len}, server->transaction};
    app_write(apps, &server->app, text, len);
}

static const char *const keywords[] = {"SIZE 1000",  "PIPELINING", "X-EXPS GSSAPI NTLM", "XEXCH50X", "CHUNKING",
                                       "AUTH=LOGIN", "STARTTLS",   "X-LINK2STAT",        "8bitmime", "DSN",
                                       "VRFY",       "TURN"};

static void reply_ehlo(struct apps *apps)
{
    char text[2048];
    uint32_t len =
        (uint32_t)snprintf(text, sizeof text, "250-host.example\r\n%s", apps->plan.chunking ? "250-CHUNKING\r\n" : "");
    uint32_t count = 1 + random_below(apps->random, 12);
    uint32_t exchange = apps->plan.offer ? random_below(apps->random, count) : count;
    uint32_t link = apps->plan.offer ? random_below(apps->random, count) : count;
    for (uint32_t i = 0; i < count; i++) {
        const char *word = i == exchange ? (i % 2 ? "xexch50" : "XEXCH50")
                           : i == link   ? "X-LINK2STATE now"
                                         : keywords[random_below(apps->random, 12)];
        len += (uint32_t)snprintf(text + len, sizeof text - len, "250%c%s\r\n", i + 1 == count ? ' ' : '-', word);
    }
    reply(apps, APP_REPLY_EHLO, text);
}

static void server_takes_xexch50(struct apps *apps, const uint8_t *line)
{
    struct app_server *server = &apps->server;
    server->octets_left = (uint32_t)strtoul((const char *)line + 8, NULL, 10);
    if (apps->plan.accepts_xexch50 && server->octets_left) {
        server->mode = APP_SERVER_OCTETS;
        reply(apps, APP_REPLY_PLAIN, "354 Send binary data\r\n");
    } else {
        reply(apps, APP_REPLY_PLAIN, "504 Need to authenticate first\r\n");
    }
}

static void server_takes_bdat(struct apps *apps, const uint8_t *line, bool deferred)
{
    struct app_server *server = &apps->server;
    server->octets_left = (uint32_t)strtoul((const char *)line + 5, NULL, 10);
    server->octets_deferred = deferred;
    server->mode = server->octets_left ? APP_SERVER_OCTETS : APP_SERVER_COMMAND;
    if (server->octets_left == 0)
        reply(apps, deferred ? APP_REPLY_DEFERRED : APP_REPLY_PLAIN, "250 2.0.0 chunk\r\n");
}

/* Where the client wrote an XEXCH50 here, the filter has something else in its place. */
static bool is_covered(const struct apps *apps, uint32_t at)
{
    for (uint32_t i = 0; i < apps->client.covered_count; i++)
        if (apps->client.covered[i].at == at)
            return true;
    return false;
}

static void server_line(struct apps *apps, const uint8_t *line, uint32_t len)
{
    static const char *const texts[] = {"250 OK\r\n", "250 2.1.0 Sender OK\r\n", "250-2.1.5 one\r\n250 two\r\n"};
    struct app_server *server = &apps->server;
    const uint8_t *written = apps->ends[0].out + server->parsed;
    bool was_data = apps_line_begins(written, len, "DATA");
    bool deferred = memcmp(line, written, len) != 0 && (was_data || apps_line_begins(written, len, "BDAT"));
    if (apps_line_begins(line, len, "MAIL"))
        server->transaction++;
    if (deferred && apps->plan.asks && server->deferred_count < APPS_TRANSACTIONS_MAX)
        server->deferred[server->deferred_count++] = (struct app_piece){server->parsed, len};
    if (apps_line_begins(line, len, "XEXCH50")) {
        server_takes_xexch50(apps, line);
    } else if (is_covered(apps, server->parsed)) {
        reply(apps, APP_REPLY_COVERED, apps_line_begins(line, len, "NOOP") ? "250 2.0.0 OK\r\n" : "500 5.3.3 What\r\n");
    } else if (apps_line_begins(line, len, "EHLO")) {
        reply_ehlo(apps);
    } else if (deferred && was_data) {
        reply(apps, APP_REPLY_DEFERRED,
              apps_line_begins(line, len, "RSET") ? "250 2.0.0 reset\r\n" : "500 5.3.3 What\r\n");
    } else if (apps_line_begins(line, len, "RCPT")) {
        reply(apps, APP_REPLY_RCPT, texts[random_below(apps->random, 3)]);
    } else if (apps_line_begins(line, len, "DATA")) {
        server->mode = APP_SERVER_DATA;
        reply(apps, APP_REPLY_PLAIN, "354 go on\r\n");
    } else if (apps_line_begins(line, len, "BDAT")) {
        server_takes_bdat(apps, line, deferred);
    } else if (apps_line_begins(line, len, "AUTH")) {
        server->mode = APP_SERVER_AUTH;
        reply(apps, APP_REPLY_PLAIN, "334 VXNlcm5hbWU6\r\n");
    } else if (apps_line_begins(line, len, "STARTTLS")) {
        server->mode = APP_SERVER_OPAQUE;
        reply(apps, APP_REPLY_PLAIN, "220 go ahead\r\n");
    } else if (apps_line_begins(line, len, "QUIT")) {
        reply(apps, APP_REPLY_PLAIN, "221 bye\r\n");
        server->app.close_after = true;
    } else {
        reply(apps, APP_REPLY_PLAIN, texts[random_below(apps->random, 3)]);
    }
}

static void server_takes_octets(struct apps *apps, uint32_t len)
{
    struct app_server *server = &apps->server;
    server->octets_left -= len;
    if (server->octets_left)
        return;
    server->mode = APP_SERVER_COMMAND;
    reply(apps, server->octets_deferred ? APP_REPLY_DEFERRED : APP_REPLY_PLAIN, "250 2.0.0 octets\r\n");
    server->octets_deferred = false;
}

static void server_takes_opaque(struct apps *apps)
{
    char noise[1500];
    if (apps->server.opaque_seen)
        return;
    apps->server.opaque_seen = true;
    for (size_t i = 0; i < sizeof noise - 1; i++)
        noise[i] = (char)(1 + random_below(apps->random, 255));
    noise[sizeof noise - 1] = '\0';
    reply(apps, APP_REPLY_OPAQUE, noise);
}

static void server_reads(struct apps *apps)
{
    struct app_server *server = &apps->server;
    const struct endpoint *end = &apps->ends[1];
    while (server->parsed < end->read) {
        const uint8_t *at = end->in + server->parsed;
        uint32_t left = end->read - server->parsed;
        const uint8_t *nl = memchr(at, '\n', left);
        uint32_t len = nl ? (uint32_t)(nl - at) + 1 : 0;
        switch (server->mode) {
        case APP_SERVER_COMMAND:
            if (!nl)
                return;
            server_line(apps, at, len);
            break;
        case APP_SERVER_AUTH:
            if (!nl)
                return;
            server->mode = APP_SERVER_COMMAND;
            reply(apps, APP_REPLY_PLAIN, "235 good\r\n");
            break;
        case APP_SERVER_DATA:
            if (!nl)
                return;
            if (len == 3 && at[0] == '.' && at[1] == '\r') {
                server->mode = APP_SERVER_COMMAND;
                reply(apps, APP_REPLY_PLAIN, "250 2.6.0 queued\r\n");
            }
            break;
        case APP_SERVER_OCTETS:
            len = left < server->octets_left ? left : server->octets_left;
            server_takes_octets(apps, len);
            break;
        case APP_SERVER_OPAQUE:
            len = left;
            server_takes_opaque(apps);
            break;
        }
        server->parsed += len;
    }
    if (end->fin_read)
        server->app.close_after = true;
}

/* ---- the client ---- */

static struct app_step *add_step(struct app_client *client, uint32_t replies, const void *octets, uint32_t len)
{
    if (client->step_count == APPS_STEPS_MAX || client->script_len + len > sizeof client->script)
        abort();
    struct app_step *step = &client->steps[client->step_count++];
    memcpy(client->script + client->script_len, octets, len);
    *step = (struct app_step){.piece = {client->script_len, len}, .replies = replies};
    client->script_len += len;
    return step;
}

static void add_text(struct app_client *client, uint32_t replies, const char *text)
{
    add_step(client, replies, text, (uint32_t)strlen(text));
}

/* Lines of a message with what is hard about them: dots, commands, long lines. */
static uint32_t make_body(struct apps *apps, char *out)
{
    static const char *const lines[] = {"..\r\n", "XEXCH50 5 2\r\n", "250-XEXCH50\r\n", "a line of text\r\n",
                                        "\r\n",   "QUIT\r\n",        "... three\r\n",   "DATA\r\n"};
    uint32_t at = 0;
    while (at + 20 < apps->plan.body_len) {
        const char *line = lines[random_below(apps->random, 8)];
        memcpy(out + at, line, strlen(line));
        at += (uint32_t)strlen(line);
    }
    return at;
}

static void add_message(struct apps *apps, char *text, uint32_t len, uint32_t room, uint32_t replies)
{
    struct app_client *client = &apps->client;
    if (apps->plan.chunking) {
        char body[ENDPOINT_STREAM_BYTES / 4];
        uint32_t octets = make_body(apps, body);
        len += (uint32_t)snprintf(text + len, room - len, "BDAT %u LAST\r\n", octets);
        memcpy(text + len, body, octets);
        add_step(client, replies, text, len + octets);
        return;
    }
    len += (uint32_t)snprintf(text + len, room - len, "DATA\r\n");
    if (apps->plan.impatient) {
        len += make_body(apps, text + len);
        memcpy(text + len, ".\r\n", 3);
        add_step(client, replies + 1, text, len + 3);
        return;
    }
    add_step(client, replies, text, len);
    len = make_body(apps, text);
    memcpy(text + len, ".\r\n", 3);
    add_step(client, 1, text, len + 3)->body = true;
}

/* Octets wait in `text` until a step is made of them: the whole group, or each command. */
static void add_transaction(struct apps *apps, uint32_t number)
{
    static char text[ENDPOINT_STREAM_BYTES];
    const struct apps_plan *plan = &apps->plan;
    struct app_client *client = &apps->client;
    uint32_t len = (uint32_t)snprintf(text, sizeof text, "MAIL FROM:<s%u@example.com>\r\n", number);
    for (uint32_t r = 0; r < plan->recipients; r++) {
        if (!plan->pipelined) {
            add_step(client, 1, text, len);
            len = 0;
        }
        len += (uint32_t)snprintf(text + len, sizeof text - len, "RCPT TO:<r%u@example.net>\r\n", r);
    }
    if (!plan->pipelined || (plan->force_xexch50 && number == 0)) {
        add_step(client, plan->pipelined ? plan->recipients + 1 : 1, text, len);
        len = 0;
    }
    if (plan->force_xexch50 && number == 0) {
        uint32_t size = (uint32_t)snprintf(text, sizeof text, "XEXCH50 %u 2\r\n", 5 + random_below(apps->random, 50));
        add_step(client, 1, text, size)->xexch50 = true;
    }
    add_message(apps, text, len, sizeof text, len ? plan->recipients + 2 : 1);
    if (plan->asks)
        add_text(client, 1, "RSET\r\n");
}

static void write_script(struct apps *apps)
{
    struct app_client *client = &apps->client;
    add_text(client, 1, ""); /* the greeting */
    add_text(client, 1, "EHLO client.example\r\n");
    if (apps->plan.authenticate && apps->plan.impatient) {
        add_text(client, 2, "AUTH LOGIN\r\nXEXCH50 in base64\r\n");
    } else if (apps->plan.authenticate) {
        add_text(client, 1, "AUTH LOGIN\r\n");
        add_text(client, 1, "XEXCH50 in base64\r\n");
    }
    for (uint32_t t = 0; t < apps->plan.transactions; t++)
        add_transaction(apps, t);
    if (apps->plan.starttls) {
        char noise[2000];
        add_text(client, 1, "STARTTLS\r\n");
        for (uint32_t i = 0; i < sizeof noise; i++)
            noise[i] = (char)random_next(apps->random);
        add_step(client, 0, noise, sizeof noise)->opaque = true;
    } else {
        add_text(client, 1, "QUIT\r\n");
    }
}

static void read_replies(struct app_client *client, const struct endpoint *end)
{
    while (client->parsed < end->read) {
        const uint8_t *at = end->in + client->parsed;
        const uint8_t *nl = memchr(at, '\n', end->read - client->parsed);
        if (!nl)
            return;
        uint32_t len = (uint32_t)(nl - at) + 1;
        if (len < 4 || at[3] != '-') {
            client->replies_read++;
            client->last_code = (uint32_t)strtoul((const char *)at, NULL, 10);
        }
        client->parsed += len;
    }
}

static void write_xexch50_payload(struct apps *apps)
{
    struct app_client *client = &apps->client;
    char payload[64];
    const struct app_step *step = &client->steps[client->step - 1];
    uint32_t octets = (uint32_t)strtoul((const char *)client->script + step->piece.at + 8, NULL, 10);
    memset(payload, 'P', sizeof payload);
    payload[0] = '\n';
    app_write(apps, &client->app, payload, octets);
    client->replies_wanted++;
}

static void take_step(struct apps *apps, const struct app_step *step)
{
    struct app_client *client = &apps->client;
    if (step->xexch50 && client->covered_count < APPS_COVERED_MAX) {
        client->covered[client->covered_count++] = (struct app_piece){client->app.pending_len, step->piece.len};
        client->xexch50_pending = true;
    }
    app_write(apps, &client->app, client->script + step->piece.at, step->piece.len);
    client->replies_wanted += step->replies;
    if (step->opaque)
        client->replies_wanted = UINT32_MAX; /* no more replies: closes when the server's octets are read */
}

static void take_steps(struct apps *apps)
{
    struct app_client *client = &apps->client;
    while (client->replies_read >= client->replies_wanted && client->step <= client->step_count) {
        bool payload_wanted = client->xexch50_pending && client->last_code == 354;
        client->xexch50_pending = false;
        if (payload_wanted) {
            write_xexch50_payload(apps);
            return;
        }
        if (client->step == client->step_count) {
            client->app.close_after = true;
            client->step++;
            return;
        }
        const struct app_step *step = &client->steps[client->step++];
        if (!step->body || client->last_code == 354)
            take_step(apps, step);
    }
}

static void client_reads(struct apps *apps)
{
    struct app_client *client = &apps->client;
    const struct app_server *server = &apps->server;
    const struct endpoint *end = &apps->ends[0];
    read_replies(client, end);
    take_steps(apps);
    bool all_read = server->mode == APP_SERVER_OPAQUE && server->opaque_seen &&
                    server->app.written == server->app.pending_len && end->read > 0 &&
                    apps->ends[1].una == apps->ends[1].out_len;
    if (end->fin_read || (client->replies_wanted == UINT32_MAX && all_read))
        client->app.close_after = true;
}

/* ---- both ---- */

void apps_init(struct apps *apps, const struct apps_plan *plan, struct endpoint *ends, struct random_source *random,
               struct fault *fault)
{
    memset(apps, 0, sizeof *apps);
    apps->plan = *plan;
    apps->ends = ends;
    apps->random = random;
    apps->fault = fault;
    write_script(apps);
    reply(apps, APP_REPLY_PLAIN, "220 host.example ESMTP ready\r\n");
}

void apps_turn(struct apps *apps, int64_t now_us)
{
    if (apps->ends[1].state == ENDPOINT_OPEN)
        server_reads(apps);
    if (apps->ends[0].state == ENDPOINT_OPEN)
        client_reads(apps);
    for (int side = 0; side < 2; side++)
        if (apps->ends[side].state == ENDPOINT_OPEN)
            app_tick(apps, side, side ? &apps->server.app : &apps->client.app, now_us);
}

int64_t apps_due(const struct apps *apps)
{
    int64_t at_us = INT64_MAX;
    for (int side = 0; side < 2; side++) {
        const struct app *app = side ? &apps->server.app : &apps->client.app;
        if (apps->ends[side].state == ENDPOINT_OPEN && app->written < app->pending_len && app->next_us < at_us)
            at_us = app->next_us;
    }
    return at_us;
}
