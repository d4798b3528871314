/*
 * Simulation: two modelled TCP endpoints speak SMTP through an engine, over a network that loses, repeats, reorders,
 * delays and corrupts packets, on a virtual clock. One seed decides everything.
 *
 *   sim_main [FROM:COUNT]              default 1:2000; prints TAP
 *   sim_main --seed N [TRACE.pcap]     one seed, with what happened; the trace has what came to the gateway
 *
 * What each side must have read is said by an independent reference (reference_* below), which knows whole streams and
 * no code of src/smtp. A failing seed is run again with one impairment less at a time, as long as it still fails.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/rules.h"
#include "endpoint.h"
#include "engine/engine.h"
#include "io/capture.h"
#include "policy/policy.h"

enum { TINY = 16, FAILURES_MAX = 5 };
enum { DLT_RAW_IP = 12 };

enum { TRANSACTIONS_MAX = 3, ASKED_MAX = 64, ASK_SURE_US = 400000, ASK_OVER_US = 600000 };
enum { IN_FLIGHT_MAX = 4096, REPLIES_MAX = 400, STEPS_MAX = 200, COVERED_MAX = 16, TOKENS_MAX = 20000 };

/* ---- one run ---- */

enum cut { CUT_WHOLE, CUT_LINES, CUT_OCTETS, CUT_RANDOM, CUTS };

struct impairments {
    uint32_t loss, repeat, reorder, corrupt; /* per 1000 */
    int64_t delay_us, jitter_us;
};

struct plan {
    struct impairments net;
    struct endpoint_plan ends[2];
    enum cut cut[2];
    int64_t pause_us[2]; /* between writes */
    bool asks;           /* about each recipient */
    bool slow;           /* replies to RCPT and DATA, and refusals, leave later */
    bool pipelined, chunking, authenticate, starttls, offer, force_xexch50, server_accepts_xexch50;
    uint32_t transactions, recipients, body_len;
    struct engine_settings engine;
};

struct flight {
    int64_t at_us;
    uint64_t order;
    uint8_t *packet;
    uint32_t len;
    int to; /* 0, 1: an endpoint; 2: the gateway */
    int from;
};

/* What a side's application has to write, piece by piece. */
struct app {
    uint8_t pending[ENDPOINT_STREAM_BYTES];
    uint32_t pending_len, written;
    int64_t next_us;
    bool close_after;
};

enum reply_kind { REPLY_PLAIN, REPLY_EHLO, REPLY_COVERED, REPLY_OPAQUE, REPLY_RCPT, REPLY_DEFERRED };

struct reply {
    enum reply_kind kind;
    uint32_t at, len; /* in what the server writes */
    uint32_t transaction;
};

enum server_mode { MODE_COMMAND, MODE_DATA, MODE_OCTETS, MODE_AUTH, MODE_OPAQUE };

struct step {
    uint32_t at, len; /* in `script` */
    uint32_t replies; /* to be read before the next step */
    bool xexch50, opaque;
    bool body; /* only behind a 354 */
};

/* A question, and when its answer comes. */
struct asked {
    uint64_t id;
    enum answer answer;
    int64_t asked_us, due_us; /* INT64_MAX: never */
    int64_t at_us;            /* the same, INT64_MAX once it has come */
    uint32_t transaction;
};

struct run {
    struct plan plan;
    bool filtered;
    struct random_source random;
    int64_t now_us;
    struct endpoint ends[2];
    struct app apps[2];
    struct flight flights[IN_FLIGHT_MAX];
    uint32_t flight_count;
    uint64_t orders;
    uint32_t lost_in_a_row[2];

    /* the client */
    uint8_t script[ENDPOINT_STREAM_BYTES];
    uint32_t script_len;
    struct step steps[STEPS_MAX];
    uint32_t step_count, step, replies_read, replies_wanted, client_parsed;
    uint32_t last_code;
    bool xexch50_pending;
    struct {
        uint32_t at, len;
    } covered[COVERED_MAX]; /* XEXCH50 lines in what the client writes */
    uint32_t covered_count;
    struct {
        uint32_t at, len;
    } deferred[TRANSACTIONS_MAX]; /* DATA and BDAT lines that the server read in another form */
    uint32_t deferred_count;

    /* the server */
    enum server_mode mode;
    uint32_t server_parsed, octets_left;
    bool octets_reply, octets_deferred;
    struct reply replies[REPLIES_MAX];
    uint32_t reply_count;
    bool opaque_seen;
    uint32_t transaction; /* MAIL commands that the server read */

    struct asked asked[ASKED_MAX];
    uint32_t asked_count;
    struct engine *engine;
    uint8_t verdicts[TOKENS_MAX];
    uint64_t tokens;
    uint32_t in_seq[TOKENS_MAX], in_len[TOKENS_MAX];
    uint8_t in_from[TOKENS_MAX];
    uint32_t largest_in[2];
    uint8_t left[2][ENDPOINT_STREAM_BYTES]; /* octets that left, by egress position, and whether they did */
    bool has_left[2][ENDPOINT_STREAM_BYTES];
    uint32_t acked[2];
    bool good[TOKENS_MAX];
    struct capture_writer *trace;
    char wrong[256];
};

static void *engine_memory;
static size_t engine_memory_bytes;
static struct policy policies[2][2]; /* that ask, and that delay replies */

static void fail(struct run *run, const char *format, ...)
{
    va_list args;
    if (run->wrong[0])
        return;
    va_start(args, format);
    vsnprintf(run->wrong, sizeof run->wrong, format, args);
    va_end(args);
}

static uint32_t chance(struct run *run, uint32_t per_1000)
{
    return random_below(&run->random, 1000) < per_1000;
}

/* ---- the network ---- */

static void fly(struct run *run, int from, int to, uint8_t *packet, uint32_t len)
{
    const struct impairments *net = &run->plan.net;
    if (run->flight_count == IN_FLIGHT_MAX) {
        free(packet);
        return;
    }
    int64_t at = run->now_us + net->delay_us;
    if (net->jitter_us)
        at += (int64_t)random_below(&run->random, (uint32_t)net->jitter_us + 1) / 8;
    if (chance(run, net->reorder))
        at += net->jitter_us + 1 + (int64_t)random_below(&run->random, 20000);
    run->flights[run->flight_count++] = (struct flight){at, run->orders++, packet, len, to, from};
}

/*
 * One link: direction `side` is who sent it. The network is never bad for ever: at most two in a row are lost, and none
 * while an endpoint has sent the same thing four times. So nobody has to give up, and one who does was stalled.
 */
static void cross(struct run *run, int side, int from, int to, uint8_t *packet, uint32_t len)
{
    const struct impairments *net = &run->plan.net;
    bool calm = run->ends[0].resends >= 3 || run->ends[1].resends >= 3 || run->lost_in_a_row[side] >= 2;
    if (!calm && chance(run, net->loss)) {
        run->lost_in_a_row[side]++;
        free(packet);
        return;
    }
    /* On the first link only: two changes could cancel each other in the checksum. */
    bool corrupt = !calm && to == 2 && chance(run, net->corrupt);
    run->lost_in_a_row[side] = corrupt ? run->lost_in_a_row[side] + 1 : 0;
    if (!corrupt && chance(run, net->repeat)) {
        uint8_t *again = malloc(len);
        memcpy(again, packet, len);
        fly(run, from, to, again, len);
    }
    if (corrupt)
        packet[20 + random_below(&run->random, len - 20)] ^= (uint8_t)(1 + random_below(&run->random, 255));
    fly(run, from, to, packet, len);
}

static void endpoint_sends(void *context, struct endpoint *from, uint8_t *packet, uint32_t len)
{
    struct run *run = context;
    int side = from == &run->ends[0] ? 0 : 1;
    cross(run, side, side, 2, packet, len);
}

static void check_carrier(struct run *run, uint64_t token, const uint8_t *bytes, uint32_t len)
{
    struct packet p;
    uint8_t *copy = malloc(len);
    memcpy(copy, bytes, len);
    int side = run->in_from[token];
    if (packet_parse(&p, copy, len) == PACKET_TCP && p.source_port + p.destination_port != 40025) {
        free(copy); /* corrupted on its way here, and not known for one of ours */
        return;
    }
    if (packet_parse(&p, copy, len) != PACKET_TCP || !segment_checksums_good(copy, len)) {
        fail(run, "packet %llu left malformed or with a wrong checksum", (unsigned long long)token);
    } else {
        uint32_t isn = run->ends[side].plan.isn;
        uint32_t end_in = run->in_seq[token] + run->in_len[token] - isn;
        uint32_t end_out = p.seq + p.payload_len - isn;
        if (!(p.flags & (PACKET_SYN | PACKET_RST)) && (int32_t)(end_out - end_in) > 0)
            fail(run, "packet %llu shows octets beyond those that were sent (law 3)", (unsigned long long)token);
        if (side == 0 && p.payload_len > 1 && p.seq != run->in_seq[token])
            fail(run, "packet %llu was moved on its way to the server (law 3)", (unsigned long long)token);
        for (uint32_t i = 0; i < p.payload_len && !(p.flags & PACKET_RST); i++) {
            uint32_t place = p.seq + i - (isn + 1);
            if (place >= ENDPOINT_STREAM_BYTES || (int32_t)(place - run->acked[side]) < 0)
                continue;
            if (run->has_left[side][place] && run->left[side][place] != packet_payload(&p).ptr[i])
                fail(run, "packet %llu: octet %u of side %d left as another one before (law 2)",
                     (unsigned long long)token, place, side);
            run->left[side][place] = packet_payload(&p).ptr[i];
            run->has_left[side][place] = true;
        }
        uint32_t limit = run->largest_in[side] > 536 ? run->largest_in[side] : 536;
        if (p.payload_len > limit)
            fail(run, "packet %llu is longer than the path is known to carry", (unsigned long long)token);
    }
    free(copy);
}

static void carry_out(struct run *run, uint64_t current, const uint8_t *bytes, uint32_t len)
{
    struct engine_verdict verdict;
    static uint8_t *kept[TOKENS_MAX];
    static uint32_t kept_len[TOKENS_MAX];
    if (current) {
        kept[current] = malloc(len);
        memcpy(kept[current], bytes, len);
        kept_len[current] = len;
    }
    while (engine_next_verdict(run->engine, &verdict)) {
        uint64_t token = verdict.token;
        if (token == 0 || token > run->tokens || run->verdicts[token]++) {
            fail(run, "packet %llu got a second verdict, or never came", (unsigned long long)token);
            return;
        }
        if (verdict.action == ENGINE_ACCEPT) {
            struct span out = verdict.edited ? verdict.packet : (struct span){kept[token], kept_len[token]};
            uint8_t *packet = malloc(out.len);
            memcpy(packet, out.ptr, out.len);
            check_carrier(run, token, packet, (uint32_t)out.len);
            cross(run, run->in_from[token], 2, !run->in_from[token], packet, (uint32_t)out.len);
        }
        free(kept[token]);
        kept[token] = NULL;
    }
    struct engine_gauges gauges = engine_gauges(run->engine);
    if (gauges.blocks > run->plan.engine.blocks_max || gauges.held > run->plan.engine.held_max ||
        gauges.flows > run->plan.engine.flows_max)
        fail(run, "bounds exceeded");
}

/* Some answers come at once, some later, some too late, some never. */
static void take_questions(struct run *run)
{
    struct question question;
    while (run->plan.asks && engine_next_question(run->engine, &question)) {
        if (question.kind != QUESTION_RECIPIENT)
            continue;
        if (run->asked_count == ASKED_MAX) {
            fail(run, "too many questions");
            return;
        }
        struct asked *asked = &run->asked[run->asked_count++];
        *asked = (struct asked){.id = question.id, .asked_us = run->now_us, .at_us = run->now_us};
        asked->answer = random_below(&run->random, 3) ? ANSWER_PASS : ANSWER_DEFER;
        asked->transaction = (uint32_t)strtoul((const char *)question.sender.ptr + 1, NULL, 10);
        if (random_below(&run->random, 2))
            asked->at_us += random_below(&run->random, ASK_OVER_US);
        if (random_below(&run->random, 8) == 0)
            asked->at_us = INT64_MAX;
        asked->due_us = asked->at_us;
    }
}

static int64_t next_answer(const struct run *run)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < run->asked_count; i++)
        at = run->asked[i].at_us < at ? run->asked[i].at_us : at;
    return at;
}

static void give_answers(struct run *run)
{
    take_questions(run);
    for (uint32_t i = 0; i < run->asked_count; i++) {
        if (run->asked[i].at_us > run->now_us)
            continue;
        run->asked[i].at_us = INT64_MAX;
        engine_answer(run->engine, run->asked[i].id, (struct finding){.answer = run->asked[i].answer}, run->now_us);
        carry_out(run, 0, NULL, 0);
        take_questions(run);
        i = UINT32_MAX; /* from the first on again */
    }
}

static void at_gateway(struct run *run, struct flight *flight)
{
    if (run->trace)
        capture_write(run->trace, run->now_us, (struct span){0}, (struct span){flight->packet, flight->len});
    if (!run->filtered) {
        cross(run, flight->from, 2, !flight->from, flight->packet, flight->len);
        return;
    }
    if (run->tokens + 1 >= TOKENS_MAX) {
        fail(run, "too many packets: no end in sight");
        free(flight->packet);
        return;
    }
    uint64_t token = ++run->tokens;
    struct packet p;
    run->in_from[token] = (uint8_t)flight->from;
    run->in_seq[token] = run->in_len[token] = 0;
    if (packet_parse(&p, flight->packet, flight->len) == PACKET_TCP) {
        run->in_seq[token] = p.seq;
        run->in_len[token] = p.payload_len;
        uint32_t acked = p.ack - (run->ends[!flight->from].plan.isn + 1);
        if (segment_checksums_good(flight->packet, flight->len) && p.flags & PACKET_ACK &&
            acked < ENDPOINT_STREAM_BYTES && acked > run->acked[!flight->from])
            run->acked[!flight->from] = acked;
        if (segment_checksums_good(flight->packet, flight->len) && p.payload_len > run->largest_in[flight->from])
            run->largest_in[flight->from] = p.payload_len;
    }
    uint8_t *copy = malloc(flight->len);
    memcpy(copy, flight->packet, flight->len);
    struct engine_packet packet = {.bytes = flight->packet,
                                   .len = flight->len,
                                   .room = flight->len,
                                   .token = token,
                                   .checksum = ENGINE_CHECKSUM_UNSEEN};
    engine_packet(run->engine, &packet, run->now_us);
    carry_out(run, token, copy, flight->len);
    free(copy);
    free(flight->packet);
}

/* ---- the applications ---- */

static void app_write(struct run *run, int side, const void *octets, uint32_t len)
{
    struct app *app = &run->apps[side];
    if (app->pending_len + len > sizeof app->pending) {
        fail(run, "the script is too long");
        return;
    }
    memcpy(app->pending + app->pending_len, octets, len);
    app->pending_len += len;
}

static void app_tick(struct run *run, int side)
{
    struct app *app = &run->apps[side];
    while (app->written < app->pending_len && app->next_us <= run->now_us) {
        uint32_t left = app->pending_len - app->written;
        uint32_t len = left;
        const uint8_t *at = app->pending + app->written;
        const uint8_t *end = memchr(at, '\n', left);
        if (run->plan.cut[side] == CUT_LINES && end)
            len = (uint32_t)(end - at) + 1;
        else if (run->plan.cut[side] == CUT_OCTETS)
            len = 1;
        else if (run->plan.cut[side] == CUT_RANDOM)
            len = 1 + random_below(&run->random, left < 300 ? left : 300);
        if (app->written > 4000)
            len = left; /* a long message goes on in larger pieces */
        endpoint_write(&run->ends[side], at, len, run->now_us);
        app->written += len;
        app->next_us = run->now_us + run->plan.pause_us[side];
    }
    if (app->close_after && app->written == app->pending_len && !run->ends[side].fin_wanted)
        endpoint_close(&run->ends[side], run->now_us);
}

static void reply(struct run *run, enum reply_kind kind, const char *text)
{
    if (run->reply_count == REPLIES_MAX) {
        fail(run, "too many replies");
        return;
    }
    uint32_t len = (uint32_t)strlen(text);
    run->replies[run->reply_count++] = (struct reply){kind, run->apps[1].pending_len, len, run->transaction};
    app_write(run, 1, text, len);
}

static const char *const keywords[] = {"SIZE 1000",  "PIPELINING", "X-EXPS GSSAPI NTLM", "XEXCH50X", "CHUNKING",
                                       "AUTH=LOGIN", "STARTTLS",   "X-LINK2STAT",        "8bitmime", "DSN",
                                       "VRFY",       "TURN"};

static void reply_ehlo(struct run *run)
{
    char text[2048];
    uint32_t len = (uint32_t)snprintf(text, sizeof text, "250%chost.example\r\n", '-');
    uint32_t count = 1 + random_below(&run->random, 12);
    uint32_t exchange = run->plan.offer ? random_below(&run->random, count) : count;
    uint32_t link = run->plan.offer ? random_below(&run->random, count) : count;
    for (uint32_t i = 0; i < count; i++) {
        const char *word = i == exchange ? (i % 2 ? "xexch50" : "XEXCH50")
                           : i == link   ? "X-LINK2STATE now"
                                         : keywords[random_below(&run->random, 12)];
        len += (uint32_t)snprintf(text + len, sizeof text - len, "250%c%s\r\n", i + 1 == count ? ' ' : '-', word);
    }
    reply(run, REPLY_EHLO, text);
}

static bool begins(const uint8_t *line, uint32_t len, const char *word)
{
    for (uint32_t i = 0; word[i]; i++)
        if (i >= len || (line[i] | 0x20) != (word[i] | 0x20))
            return false;
    return true;
}

static void server_line(struct run *run, const uint8_t *line, uint32_t len)
{
    /* Where the client wrote an XEXCH50 here, the filter has something else in its place. */
    bool covered = false;
    for (uint32_t i = 0; i < run->covered_count; i++)
        covered = covered || run->covered[i].at == run->server_parsed;
    const uint8_t *written = run->ends[0].out + run->server_parsed;
    bool deferred = memcmp(line, written, len) != 0 && (begins(written, len, "DATA") || begins(written, len, "BDAT"));
    static const char *const texts[] = {"250 OK\r\n", "250 2.1.0 Sender OK\r\n", "250-2.1.5 one\r\n250 two\r\n"};
    if (begins(line, len, "MAIL"))
        run->transaction++;
    if (deferred && run->plan.asks && run->deferred_count < TRANSACTIONS_MAX) {
        run->deferred[run->deferred_count].at = run->server_parsed;
        run->deferred[run->deferred_count++].len = len;
    }
    if (begins(line, len, "XEXCH50")) {
        run->octets_left = (uint32_t)strtoul((const char *)line + 8, NULL, 10);
        if (run->plan.server_accepts_xexch50 && run->octets_left) {
            run->mode = MODE_OCTETS;
            run->octets_reply = true;
            reply(run, REPLY_PLAIN, "354 Send binary data\r\n");
        } else {
            reply(run, REPLY_PLAIN, "504 Need to authenticate first\r\n");
        }
    } else if (covered) {
        reply(run, REPLY_COVERED, begins(line, len, "NOOP") ? "250 2.0.0 OK\r\n" : "500 5.3.3 What\r\n");
    } else if (begins(line, len, "EHLO")) {
        reply_ehlo(run);
    } else if (deferred && begins(written, len, "DATA")) {
        reply(run, REPLY_DEFERRED, begins(line, len, "RSET") ? "250 2.0.0 reset\r\n" : "500 5.3.3 What\r\n");
    } else if (begins(line, len, "RCPT")) {
        reply(run, REPLY_RCPT, texts[random_below(&run->random, 3)]);
    } else if (begins(line, len, "DATA")) {
        run->mode = MODE_DATA;
        reply(run, REPLY_PLAIN, "354 go on\r\n");
    } else if (begins(line, len, "BDAT")) {
        run->octets_left = (uint32_t)strtoul((const char *)line + 5, NULL, 10);
        run->octets_reply = true;
        run->octets_deferred = deferred;
        run->mode = MODE_OCTETS;
        if (run->octets_left == 0)
            reply(run, deferred ? REPLY_DEFERRED : REPLY_PLAIN, "250 2.0.0 chunk\r\n");
        if (run->octets_left == 0)
            run->mode = MODE_COMMAND;
    } else if (begins(line, len, "AUTH")) {
        run->mode = MODE_AUTH;
        reply(run, REPLY_PLAIN, "334 VXNlcm5hbWU6\r\n");
    } else if (begins(line, len, "STARTTLS")) {
        run->mode = MODE_OPAQUE;
        reply(run, REPLY_PLAIN, "220 go ahead\r\n");
    } else if (begins(line, len, "QUIT")) {
        reply(run, REPLY_PLAIN, "221 bye\r\n");
        run->apps[1].close_after = true;
    } else {
        reply(run, REPLY_PLAIN, texts[random_below(&run->random, 3)]);
    }
}

static void server_reads(struct run *run)
{
    const struct endpoint *end = &run->ends[1];
    while (run->server_parsed < end->read) {
        const uint8_t *at = end->in + run->server_parsed;
        uint32_t left = end->read - run->server_parsed;
        const uint8_t *nl = memchr(at, '\n', left);
        uint32_t len = nl ? (uint32_t)(nl - at) + 1 : 0;
        switch (run->mode) {
        case MODE_COMMAND:
            if (!nl)
                return;
            server_line(run, at, len);
            break;
        case MODE_AUTH:
            if (!nl)
                return;
            run->mode = MODE_COMMAND;
            reply(run, REPLY_PLAIN, "235 good\r\n");
            break;
        case MODE_DATA:
            if (!nl)
                return;
            if (len == 3 && at[0] == '.' && at[1] == '\r') {
                run->mode = MODE_COMMAND;
                reply(run, REPLY_PLAIN, "250 2.6.0 queued\r\n");
            }
            break;
        case MODE_OCTETS:
            len = left < run->octets_left ? left : run->octets_left;
            run->octets_left -= len;
            if (run->octets_left == 0) {
                run->mode = MODE_COMMAND;
                if (run->octets_reply)
                    reply(run, run->octets_deferred ? REPLY_DEFERRED : REPLY_PLAIN, "250 2.0.0 octets\r\n");
                run->octets_deferred = false;
            }
            break;
        case MODE_OPAQUE:
            len = left;
            if (!run->opaque_seen) {
                run->opaque_seen = true;
                char noise[1500];
                for (size_t i = 0; i < sizeof noise - 1; i++)
                    noise[i] = (char)(1 + random_below(&run->random, 255));
                noise[sizeof noise - 1] = '\0';
                reply(run, REPLY_OPAQUE, noise);
            }
            break;
        }
        run->server_parsed += len;
    }
    if (end->fin_read)
        run->apps[1].close_after = true;
}

static void add_step(struct run *run, uint32_t replies, bool xexch50, bool opaque, const void *octets, uint32_t len)
{
    if (run->step_count == STEPS_MAX || run->script_len + len > sizeof run->script)
        abort();
    memcpy(run->script + run->script_len, octets, len);
    run->steps[run->step_count++] =
        (struct step){.at = run->script_len, .len = len, .replies = replies, .xexch50 = xexch50, .opaque = opaque};
    run->script_len += len;
}

static void add_text(struct run *run, uint32_t replies, const char *text)
{
    add_step(run, replies, false, false, text, (uint32_t)strlen(text));
}

/* Lines of a message with what is hard about them: dots, commands, long lines. */
static uint32_t make_body(struct run *run, char *out, uint32_t len)
{
    static const char *const lines[] = {"..\r\n", "XEXCH50 5 2\r\n", "250-XEXCH50\r\n", "a line of text\r\n",
                                        "\r\n",   "QUIT\r\n",        "... three\r\n",   "DATA\r\n"};
    uint32_t at = 0;
    while (at + 20 < len) {
        const char *line = lines[random_below(&run->random, 8)];
        memcpy(out + at, line, strlen(line));
        at += (uint32_t)strlen(line);
    }
    return at;
}

static void write_script(struct run *run)
{
    static char text[ENDPOINT_STREAM_BYTES];
    const struct plan *plan = &run->plan;
    add_text(run, 1, ""); /* the greeting */
    add_text(run, 1, "EHLO client.example\r\n");
    if (plan->authenticate) {
        add_text(run, 1, "AUTH LOGIN\r\n");
        add_text(run, 1, "XEXCH50 in base64\r\n");
    }
    for (uint32_t t = 0; t < plan->transactions; t++) {
        uint32_t len = (uint32_t)snprintf(text, sizeof text, "MAIL FROM:<s%u@example.com>\r\n", t);
        if (!plan->pipelined) {
            add_step(run, 1, false, false, text, len);
            len = 0;
        }
        for (uint32_t r = 0; r < plan->recipients; r++) {
            len += (uint32_t)snprintf(text + len, sizeof text - len, "RCPT TO:<r%u@example.net>\r\n", r);
            if (!plan->pipelined) {
                add_step(run, 1, false, false, text, len);
                len = 0;
            }
        }
        if (plan->force_xexch50 && t == 0) {
            if (len) {
                add_step(run, plan->recipients + 1, false, false, text, len);
                len = 0;
            }
            uint32_t size = (uint32_t)snprintf(text, sizeof text, "%s %u 2\r\n", t % 2 ? "xexch50" : "XEXCH50",
                                               5 + random_below(&run->random, 50));
            add_step(run, 1, true, false, text, size);
        }
        uint32_t replies = len ? plan->recipients + 2 : 1;
        if (plan->chunking) {
            char body[ENDPOINT_STREAM_BYTES / 4];
            uint32_t octets = make_body(run, body, plan->body_len);
            len += (uint32_t)snprintf(text + len, sizeof text - len, "BDAT %u LAST\r\n", octets);
            memcpy(text + len, body, octets);
            add_step(run, octets ? replies : replies, false, false, text, len + octets);
        } else {
            len += (uint32_t)snprintf(text + len, sizeof text - len, "DATA\r\n");
            add_step(run, replies, false, false, text, len);
            len = make_body(run, text, plan->body_len);
            memcpy(text + len, ".\r\n", 3);
            add_step(run, 1, false, false, text, len + 3);
            run->steps[run->step_count - 1].body = true;
        }
        if (plan->asks)
            add_text(run, 1, "RSET\r\n");
    }
    if (plan->starttls) {
        add_text(run, 1, "STARTTLS\r\n");
        for (uint32_t i = 0; i < 2000; i++)
            text[i] = (char)random_next(&run->random);
        add_step(run, 0, false, true, text, 2000);
    } else {
        add_text(run, 1, "QUIT\r\n");
    }
}

static void client_reads(struct run *run)
{
    const struct endpoint *end = &run->ends[0];
    while (run->client_parsed < end->read) {
        const uint8_t *at = end->in + run->client_parsed;
        const uint8_t *nl = memchr(at, '\n', end->read - run->client_parsed);
        if (!nl)
            break;
        uint32_t len = (uint32_t)(nl - at) + 1;
        if (len < 4 || at[3] != '-') {
            run->replies_read++;
            run->last_code = (uint32_t)strtoul((const char *)at, NULL, 10);
        }
        run->client_parsed += len;
    }
    while (run->replies_read >= run->replies_wanted && run->step <= run->step_count) {
        if (run->xexch50_pending && run->last_code == 354) {
            char payload[64];
            const struct step *step = &run->steps[run->step - 1];
            uint32_t octets = (uint32_t)strtoul((const char *)run->script + step->at + 8, NULL, 10);
            memset(payload, 'P', sizeof payload);
            payload[0] = '\n';
            run->xexch50_pending = false;
            app_write(run, 0, payload, octets);
            run->replies_wanted++;
            return;
        }
        run->xexch50_pending = false;
        if (run->step == run->step_count) {
            run->apps[0].close_after = true;
            run->step++;
            return;
        }
        const struct step *step = &run->steps[run->step++];
        if (step->body && run->last_code != 354)
            continue;
        if (step->xexch50 && run->covered_count < COVERED_MAX) {
            run->covered[run->covered_count].at = run->apps[0].pending_len;
            run->covered[run->covered_count++].len = step->len;
            run->xexch50_pending = true;
        }
        app_write(run, 0, run->script + step->at, step->len);
        run->replies_wanted += step->replies;
        if (step->opaque)
            run->replies_wanted = UINT32_MAX; /* no more replies: closes when the server's octets are read */
    }
    if (run->replies_wanted == UINT32_MAX && run->mode == MODE_OPAQUE && run->opaque_seen &&
        run->apps[1].written == run->apps[1].pending_len && end->read > 0 && run->ends[1].una == run->ends[1].out_len)
        run->apps[0].close_after = true;
    if (end->fin_read)
        run->apps[0].close_after = true;
}

/* ---- the reference ---- */

static bool is_stripped(const uint8_t *line, uint32_t len)
{
    static const char *const names[] = {"XEXCH50", "X-LINK2STATE"};
    for (int i = 0; i < 2; i++) {
        uint32_t name_len = (uint32_t)strlen(names[i]);
        if (len > 4 + name_len && begins(line + 4, len - 4, names[i]) && strchr(" \t=\r\n", line[4 + name_len]))
            return true;
    }
    return false;
}

/* XEXCH50X: a keyword of its own, but nobody knows before its last octet has come. */
static bool begins_stripped(const uint8_t *line, uint32_t len)
{
    return len > 4 && (begins(line + 4, len - 4, "XEXCH50") || begins(line + 4, len - 4, "X-LINK2STATE"));
}

static uint32_t line_len(const uint8_t *at, uint32_t left)
{
    const uint8_t *nl = memchr(at, '\n', left);
    return nl ? (uint32_t)(nl - at) + 1 : left;
}

/* Another keyword of the same length in the place of one that had begun to leave: its rest became hyphens. */
static bool is_spoiled(const uint8_t *sent, const uint8_t *seen, uint32_t len)
{
    uint32_t at = 0;
    if (memcmp(sent, seen, 4) != 0)
        return false;
    for (at = 4; at < len && !strchr(" \t=\r\n", sent[at]); at++)
        if (seen[at] != sent[at] && seen[at] != '-' && !(at == 4 && seen[at] == 'X'))
            return false;
    return memcmp(sent + at, seen + at, len - at) == 0 && memcmp(sent + 4, seen + 4, at - 4) != 0;
}

/* What the client read of an EHLO reply; returns octets of it, or UINT32_MAX where that cannot be. */
static uint32_t reference_ehlo(const struct run *run, const struct reply *r, uint32_t seen_at)
{
    const uint8_t *sent = run->ends[1].out + r->at;
    const uint8_t *seen = run->ends[0].in;
    uint32_t total = run->ends[0].read;
    uint32_t from = seen_at;
    for (uint32_t at = 0; at < r->len;) {
        uint32_t len = line_len(sent + at, r->len - at);
        const uint8_t *line = sent + at;
        const uint8_t *other = seen + seen_at;
        uint32_t other_len = seen_at < total ? line_len(other, total - seen_at) : 0;
        bool stripped = at > 0 && is_stripped(line, len);
        bool rest_stripped = true;
        for (uint32_t next = at + len; next < r->len; next += line_len(sent + next, r->len - next))
            rest_stripped = rest_stripped && is_stripped(sent + next, line_len(sent + next, r->len - next));
        if (!stripped && other_len == len && memcmp(line, other, len) == 0) {
            seen_at += len;
        } else if (!stripped && other_len == len && begins_stripped(line, len) && is_spoiled(line, other, len)) {
            seen_at += len; /* it had to go on when it was still the same as a keyword to be stripped */
        } else if (!stripped && other_len == len && line[3] == '-' && other[3] == ' ' && rest_stripped &&
                   memcmp(line, other, 3) == 0 && memcmp(line + 4, other + 4, len - 4) == 0) {
            return seen_at + len - from;
        } else if (stripped && other_len == len && is_spoiled(line, other, len)) {
            seen_at += len;
        } else if (stripped && line[3] == ' ') {
            if (other_len != 8 || memcmp(other, "250 OK\r\n", 8) != 0)
                return UINT32_MAX;
            seen_at += other_len;
        } else if (!stripped) {
            return UINT32_MAX;
        }
        at += len;
    }
    return seen_at - from;
}

static bool is_deferral(const uint8_t *line, uint32_t len)
{
    static const char *const forms[] = {"450 4.2.0 Greylisted\r\n", "450 4.2.0\r\n", "450\r\n"};
    for (int i = 0; i < 3; i++)
        if (len == strlen(forms[i]) && memcmp(line, forms[i], len) == 0)
            return true;
    return false;
}

/*
 * Whether answers let a transaction be deferred (`may`), or leave no doubt that it was. That at the last moment may
 * have been late.
 */
static bool deferred_by(const struct run *run, uint32_t transaction, bool may)
{
    for (uint32_t i = 0; i < run->asked_count; i++) {
        const struct asked *asked = &run->asked[i];
        if (asked->transaction == transaction && asked->answer == ANSWER_DEFER &&
            asked->due_us - asked->asked_us < (may ? ASK_OVER_US : ASK_SURE_US))
            return true;
    }
    return false;
}

static void reference_deferrals(struct run *run, const bool *deferred, const bool *recipient_deferred)
{
    for (uint32_t t = 0; t < run->plan.transactions; t++) {
        if (deferred[t] != recipient_deferred[t])
            fail(run, "transaction %u: some recipients were deferred, and its message was not, or the other way", t);
        if (deferred[t] && !deferred_by(run, t, true))
            fail(run, "transaction %u was deferred, and nobody wanted that", t);
        if (!deferred[t] && deferred_by(run, t, false))
            fail(run, "transaction %u was delivered in spite of an answer", t);
    }
}

static void reference_client(struct run *run)
{
    bool deferred[TRANSACTIONS_MAX] = {false}, recipient_deferred[TRANSACTIONS_MAX] = {false};
    const struct endpoint *server = &run->ends[1];
    const struct endpoint *client = &run->ends[0];
    uint32_t seen = 0;
    for (uint32_t i = 0; i < run->reply_count; i++) {
        const struct reply *r = &run->replies[i];
        uint32_t len = r->len;
        if (run->filtered && r->kind == REPLY_EHLO) {
            len = reference_ehlo(run, r, seen);
            if (len == UINT32_MAX) {
                fail(run, "reply %u: the client read another EHLO reply than it may", i);
                return;
            }
        } else if (run->filtered && r->kind == REPLY_COVERED) {
            len = line_len(client->in + seen, client->read - seen);
            if (len > r->len + 100 || !begins(client->in + seen, len, "504") || client->in[seen + len - 1] != '\n') {
                fail(run, "reply %u: XEXCH50 was not answered with 504", i);
                return;
            }
        } else if (run->filtered && run->plan.asks && (r->kind == REPLY_RCPT || r->kind == REPLY_DEFERRED) &&
                   is_deferral(client->in + seen, line_len(client->in + seen, client->read - seen))) {
            len = line_len(client->in + seen, client->read - seen);
            (r->kind == REPLY_RCPT ? recipient_deferred : deferred)[r->transaction - 1] = true;
        } else if (r->kind == REPLY_DEFERRED) {
            fail(run, "reply %u: a message was put off, and its client does not know", i);
            return;
        } else if (client->read - seen < len || memcmp(client->in + seen, server->out + r->at, len) != 0) {
            fail(run, "reply %u: the client read other octets than the server wrote", i);
            return;
        }
        seen += len;
    }
    if (seen != client->read)
        fail(run, "the client read %u octets more than it may", client->read - seen);
    if (run->filtered)
        reference_deferrals(run, deferred, recipient_deferred);
}

static void reference_server(struct run *run)
{
    const struct endpoint *client = &run->ends[0];
    const struct endpoint *server = &run->ends[1];
    if (server->read != client->out_len) {
        fail(run, "the server read %u octets of %u", server->read, client->out_len);
        return;
    }
    for (uint32_t i = 0; i < client->out_len; i++) {
        bool covered = false;
        for (uint32_t c = 0; c < run->covered_count && run->filtered; c++)
            covered = covered || (i >= run->covered[c].at && i + 2 < run->covered[c].at + run->covered[c].len);
        for (uint32_t d = 0; d < run->deferred_count && run->filtered; d++)
            covered = covered || (i >= run->deferred[d].at && i + 2 < run->deferred[d].at + run->deferred[d].len);
        if (!covered && server->in[i] != client->out[i]) {
            fail(run, "octet %u: the server read another than the client wrote", i);
            return;
        }
    }
    for (uint32_t c = 0; c < run->covered_count && run->filtered; c++)
        if (begins(server->in + run->covered[c].at, run->covered[c].len, "XEXCH50 "))
            fail(run, "the server read XEXCH50");
}

/* ---- a run ---- */

static void make_plan(struct plan *plan, uint64_t seed)
{
    struct random_source r = {seed * 31 + 7};
    struct random_source w = {seed * 77 + 3};
    static const uint16_t mss[] = {88, 536, 1400, 1460};
    static const uint32_t windows[] = {300, 2000, 16000, 60000};
    *plan = (struct plan){0};
    if (random_below(&r, 4)) {
        plan->net.loss = random_below(&r, 2) ? random_below(&r, 120) : 0;
        plan->net.repeat = random_below(&r, 2) ? random_below(&r, 100) : 0;
        plan->net.reorder = random_below(&r, 2) ? random_below(&r, 150) : 0;
        plan->net.corrupt = random_below(&r, 3) ? 0 : random_below(&r, 60);
    }
    plan->net.delay_us = 50 + random_below(&r, 20000);
    plan->net.jitter_us = random_below(&r, 3000);
    for (int side = 0; side < 2; side++) {
        plan->ends[side] = (struct endpoint_plan){
            .nagle = random_below(&r, 2),
            .sack = random_below(&r, 2),
            .delayed_ack = random_below(&r, 2),
            .timestamps = random_below(&r, 2),
            .fast_retransmit = random_below(&r, 2),
            .mss = mss[random_below(&r, 4)],
            .window = windows[random_below(&r, 4)],
            .window_shift = (uint8_t)random_below(&r, 4),
            .ip_version = random_below(&w, 2) ? 6 : 4,
            .drain_bytes = random_below(&w, 4) ? 0 : 100 + random_below(&w, 3000),
            .drain_us = 1000 + random_below(&w, 100000),
            .aggregate = side == 0 && random_below(&w, 4) == 0 ? 2 + random_below(&w, 20) : 0,
            .keep_alive = random_below(&w, 4) == 0,
            .rto_us = 200000 << random_below(&r, 3),
            .resends_max = random_below(&r, 2) ? 15 : 5,
            .resegment = random_below(&r, 2),
            .isn = random_below(&r, 2) ? UINT32_MAX - random_below(&r, 3000) : (uint32_t)random_next(&r),
        };
        plan->cut[side] = (enum cut)random_below(&r, CUTS);
        plan->pause_us[side] = random_below(&r, 2) ? 0 : random_below(&r, 12000);
    }
    plan->ends[1].ip_version = plan->ends[0].ip_version;
    for (int side = 0; side < 2; side++) {
        struct endpoint_plan *e = &plan->ends[side];
        if (random_below(&w, 2))
            e->mss = (uint16_t)(88 + random_below(&w, 1373));
        if (random_below(&w, 4) == 0)
            e->resends_max = 5;
        if (random_below(&w, 3) == 0) {
            e->window_shift = (uint8_t)random_below(&w, 15);
            e->window = 60000;
        }
        if (random_below(&w, 4) == 0)
            plan->pause_us[side] = random_below(&w, 60000);
    }
    plan->pipelined = random_below(&r, 2);
    plan->chunking = random_below(&r, 2);
    plan->authenticate = random_below(&r, 4) == 0;
    plan->starttls = random_below(&r, 5) == 0;
    plan->offer = random_below(&r, 8) != 0;
    plan->force_xexch50 = random_below(&r, 2);
    plan->server_accepts_xexch50 = random_below(&r, 2);
    plan->transactions = 1 + random_below(&r, TRANSACTIONS_MAX);
    plan->recipients = 1 + random_below(&r, 3);
    plan->body_len = random_below(&r, 3) ? random_below(&r, 400) : random_below(&r, 12000);
    if (plan->body_len < 60)
        plan->body_len = 60;
    plan->engine = engine_settings_default();
    plan->engine.flows_max = 16;
    bool tiny = random_below(&w, 3) == 0;
    plan->engine.held_max = tiny ? 1 + random_below(&w, 4) : 4 + random_below(&w, 60);
    plan->engine.flow_held_max = tiny ? 1 + random_below(&w, 4) : 4 + random_below(&w, 60);
    plan->engine.blocks_max = (tiny ? TINY : 24) + random_below(&w, tiny ? 8 : 200);
    plan->engine.flow_blocks_max = (tiny ? TINY : 16) + random_below(&w, tiny ? 8 : 200);
    plan->engine.liberal_conntrack = false;
    plan->engine.seed = seed;
    struct random_source q = {seed * 101 + 13};
    plan->asks = random_below(&q, 3) == 0;
    plan->slow = random_below(&q, 3) == 0;
    plan->engine.questions = plan->asks ? (1u << QUESTION_KINDS) - 1 : 0;
}

static void start_engine(struct run *run)
{
    size_t bytes = engine_bytes(&run->plan.engine);
    if (bytes > engine_memory_bytes) {
        free(engine_memory);
        engine_memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
        engine_memory_bytes = bytes;
    }
    memset(engine_memory, 0, bytes - 2 * 65536); /* the packet buffers at its end need no clearing */
    run->engine = engine_init(engine_memory, &run->plan.engine, &policies[run->plan.asks][run->plan.slow]);
}

static int64_t next_event(const struct run *run)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < run->flight_count; i++)
        at = run->flights[i].at_us < at ? run->flights[i].at_us : at;
    for (int side = 0; side < 2; side++) {
        int64_t due = endpoint_due(&run->ends[side]);
        at = due < at ? due : at;
        if (run->ends[side].state == ENDPOINT_OPEN && run->apps[side].written < run->apps[side].pending_len &&
            run->apps[side].next_us < at)
            at = run->apps[side].next_us;
    }
    if (run->filtered && engine_next_due(run->engine) < at)
        at = engine_next_due(run->engine);
    if (run->filtered && next_answer(run) < at)
        at = next_answer(run);
    return at;
}

static bool take_flight(struct run *run)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < run->flight_count; i++)
        if (run->flights[i].at_us <= run->now_us &&
            (best == UINT32_MAX || run->flights[i].at_us < run->flights[best].at_us ||
             (run->flights[i].at_us == run->flights[best].at_us && run->flights[i].order < run->flights[best].order)))
            best = i;
    if (best == UINT32_MAX)
        return false;
    struct flight flight = run->flights[best];
    run->flights[best] = run->flights[--run->flight_count];
    if (flight.to == 2) {
        at_gateway(run, &flight);
    } else {
        endpoint_receive(&run->ends[flight.to], flight.packet, flight.len, run->now_us);
        free(flight.packet);
    }
    return true;
}

static bool over(const struct run *run)
{
    return (endpoint_finished(&run->ends[0]) && endpoint_finished(&run->ends[1])) ||
           run->ends[0].state == ENDPOINT_DEAD || run->ends[1].state == ENDPOINT_DEAD || run->wrong[0];
}

static void check_end(struct run *run)
{
    for (int side = 0; side < 2; side++)
        if (run->ends[side].conflict)
            fail(run, "the %s was shown two versions of an octet (law 2)", side ? "server" : "client");
    if (!run->filtered)
        return;
    engine_stop(run->engine, run->now_us);
    carry_out(run, 0, NULL, 0);
    for (uint64_t token = 1; token <= run->tokens; token++)
        if (run->verdicts[token] != 1)
            fail(run, "packet %llu got no verdict", (unsigned long long)token);
    for (int i = 0; i < 20; i++) {
        engine_tick(run->engine, run->now_us + INT64_C(864000000000) * (i + 1));
        carry_out(run, 0, NULL, 0);
    }
    struct engine_gauges gauges = engine_gauges(run->engine);
    if (gauges.flows || gauges.held || gauges.blocks)
        fail(run, "the engine kept %u flows, %u packets, %u blocks", gauges.flows, gauges.held, gauges.blocks);
}

enum outcome { FINISHED, GAVE_UP, WRONG };

/* Run a plan. *ended_us is the virtual time it took. */
static enum outcome simulate(struct run *run, const struct plan *plan, uint64_t seed, bool filtered, int64_t *ended_us,
                             struct capture_writer *trace)
{
    memset(run, 0, sizeof *run);
    run->plan = *plan;
    run->filtered = filtered;
    run->random.state = seed;
    run->now_us = 1000000;
    run->trace = trace;
    if (filtered)
        start_engine(run);
    for (int side = 0; side < 2; side++)
        endpoint_init(&run->ends[side], &plan->ends[side], side == 0, endpoint_sends, run, &run->random);
    write_script(run);
    run->replies_wanted = 0;
    endpoint_open(&run->ends[0], run->now_us);
    reply(run, REPLY_PLAIN, "220 host.example ESMTP ready\r\n");
    for (uint32_t turns = 0; !over(run) && turns < 400000; turns++) {
        int64_t at = next_event(run);
        if (at == INT64_MAX)
            break;
        run->now_us = at > run->now_us ? at : run->now_us;
        if (run->now_us > INT64_C(4000) * 1000000)
            break;
        while (take_flight(run))
            ;
        if (filtered && engine_next_due(run->engine) <= run->now_us) {
            engine_tick(run->engine, run->now_us);
            carry_out(run, 0, NULL, 0);
        }
        if (filtered)
            give_answers(run);
        for (int side = 0; side < 2; side++)
            endpoint_tick(&run->ends[side], run->now_us);
        if (run->ends[1].state == ENDPOINT_OPEN)
            server_reads(run);
        if (run->ends[0].state == ENDPOINT_OPEN)
            client_reads(run);
        for (int side = 0; side < 2; side++)
            if (run->ends[side].state == ENDPOINT_OPEN)
                app_tick(run, side);
    }
    *ended_us = run->now_us;
    bool finished = endpoint_finished(&run->ends[0]) && endpoint_finished(&run->ends[1]);
    if (finished && !run->wrong[0]) {
        reference_client(run);
        reference_server(run);
    }
    check_end(run);
    for (uint32_t i = 0; i < run->flight_count; i++)
        free(run->flights[i].packet);
    for (int side = 0; side < 2; side++)
        endpoint_fini(&run->ends[side]);
    return run->wrong[0] ? WRONG : finished ? FINISHED : GAVE_UP;
}

/* Both ways. False, with a reason in run->wrong, where the filter did something it must not. */
static bool seed_passes(struct run *run, const struct plan *plan, uint64_t seed, struct capture_writer *trace)
{
    int64_t without_us, with_us;
    enum outcome without = simulate(run, plan, seed, false, &without_us, NULL);
    if (without == WRONG) {
        char why[sizeof run->wrong - 24];
        memcpy(why, run->wrong, sizeof why - 1);
        why[sizeof why - 1] = 0;
        snprintf(run->wrong, sizeof run->wrong, "without the filter: %s", why);
        return false;
    }
    enum outcome with = simulate(run, plan, seed, true, &with_us, trace);
    if (with == WRONG)
        return false;
    if (without == FINISHED && with == FINISHED && with_us > 5 * without_us + INT64_C(300000000)) {
        fail(run, "took %.1f s without the filter, %.1f s with it", (double)without_us / 1e6, (double)with_us / 1e6);
        return false;
    }
    if (without == FINISHED && with != FINISHED) {
        fail(run, "finished without the filter (%.1f s), not with it (%.1f s)", (double)without_us / 1e6,
             (double)with_us / 1e6);
        return false;
    }
    return true;
}

/* One impairment less at a time, as long as it still fails. */
static void shrink(struct run *run, struct plan *plan, uint64_t seed)
{
    for (int i = 0; i < 12; i++) {
        struct plan less = *plan;
        switch (i) {
        case 0:
            less.net.loss = 0;
            break;
        case 1:
            less.net.repeat = 0;
            break;
        case 2:
            less.net.reorder = 0;
            break;
        case 3:
            less.net.corrupt = 0;
            break;
        case 4:
            less.net.jitter_us = 0;
            break;
        case 5:
            less.transactions = 1;
            break;
        case 6:
            less.recipients = 1;
            break;
        case 7:
            less.body_len = 60;
            break;
        case 8:
            less.authenticate = less.starttls = false;
            break;
        case 9:
            less.pipelined = less.chunking = false;
            break;
        case 10:
            less.cut[0] = CUT_WHOLE;
            break;
        case 11:
            less.cut[1] = CUT_WHOLE;
            break;
        }
        if (!seed_passes(run, &less, seed, NULL))
            *plan = less;
    }
}

static bool show_failure(struct run *run, uint64_t seed, const char *trace_path)
{
    struct plan plan;
    char message[256];
    struct capture_writer *trace = NULL;
    make_plan(&plan, seed);
    shrink(run, &plan, seed);
    if (trace_path && capture_create(trace_path, DLT_RAW_IP, &trace, message, sizeof message) != CAPTURE_OK)
        fprintf(stderr, "%s\n", message);
    bool passes = seed_passes(run, &plan, seed, trace);
    capture_finish(trace, message, sizeof message);
    printf("# seed %llu, shrunken: %s; loss %u repeat %u reorder %u corrupt %u, cut %d/%d, mss %u/%u, window %u/%u, "
           "nagle %d/%d shift %u/%u drain %u/%u blocks %u/%u held %u/%u agg %u ka %d/%d rtomax %u/%u%s%s\n",
           (unsigned long long)seed, passes ? "passes" : run->wrong, plan.net.loss, plan.net.repeat, plan.net.reorder,
           plan.net.corrupt, plan.cut[0], plan.cut[1], plan.ends[0].mss, plan.ends[1].mss, plan.ends[0].window,
           plan.ends[1].window, plan.ends[0].nagle, plan.ends[1].nagle, plan.ends[0].window_shift,
           plan.ends[1].window_shift, plan.ends[0].drain_bytes, plan.ends[1].drain_bytes, plan.engine.blocks_max,
           plan.engine.flow_blocks_max, plan.engine.held_max, plan.engine.flow_held_max, plan.ends[0].aggregate,
           plan.ends[0].keep_alive, plan.ends[1].keep_alive, plan.ends[0].resends_max, plan.ends[1].resends_max,
           trace_path ? ", trace in " : "", trace_path ? trace_path : "");
    return passes;
}

static void fill_policies(void)
{
    for (int i = 0; i < 4; i++) {
        struct policy *policy = &policies[i / 2][i % 2];
        policy_init_default(policy);
        rules_add(policy, "ask", RULE_ON_RECIPIENT, i / 2 ? NULL : "nobody", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
        policy->rules[0].action.ask = true;
        if (i % 2 == 0)
            continue;
        policy->refusals.texts[policy->rules[0].action.refusal].delay_ms = 3000;
        struct rule rule = rule_of("slow", RULE_ON_REPLY);
        rule.verbs = UINT64_C(1) << SMTP_VERB_RCPT | UINT64_C(1) << SMTP_VERB_DATA;
        rule.action.delay_ms = 1500;
        if (!policy_add_rule(policy, &rule))
            abort();
    }
}

int main(int argc, char **argv)
{
    static struct run run;
    fill_policies();
    if (argc > 2 && strcmp(argv[1], "--seed") == 0)
        return !show_failure(&run, strtoull(argv[2], NULL, 10), argc > 3 ? argv[3] : NULL);
    unsigned long long from = 1, count = 2000;
    if (argc > 1 && sscanf(argv[1], "%llu:%llu", &from, &count) != 2)
        return 2;
    unsigned long long failures = 0, finished = 0;
    for (unsigned long long seed = from; seed < from + count && failures < FAILURES_MAX; seed++) {
        struct plan plan;
        make_plan(&plan, seed);
        if (seed_passes(&run, &plan, seed, NULL)) {
            finished += endpoint_finished(&run.ends[0]);
            continue;
        }
        failures++;
        printf("# seed %llu: %s\n", seed, run.wrong);
        show_failure(&run, seed, "build/sim-trace.pcap");
        fflush(stdout);
    }
    printf("1..2\n%sok 1 - %llu seeds from %llu on: each side read what it had to, every law held\n",
           failures ? "not " : "", count, from);
    /* A network that stops everybody would prove nothing. */
    bool most = failures || finished * 100 >= count * 95;
    printf("%sok 2 - %llu of %llu sessions finished\n", most ? "" : "not ", finished, count);
    free(engine_memory);
    return failures || !most;
}
