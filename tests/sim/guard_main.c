/*
 * The guard in simulation: an Exchange 2003 of ours sends to servers with greylists of 1 to 25 minutes, with
 * GlitchRetrySeconds 1 and 60, without the guard and with it. It tries four times, then the message is lost. Prints a
 * table of what became of it, and TAP: with the guard nothing is lost to greylists that its four attempts can outlast,
 * whatever is lost is reported, and nothing else is.
 *
 *   guard_main
 *
 * Source: Microsoft KB 950757 and the field's reports of Exchange 2003; RFC 5321 4.5.3.2 for how long a client waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/rules.h"
#include "policy/guard.h"
#include "session.h"

enum { ATTEMPTS = 4, RUNS = 10, LINK_US = 20000, PATIENCE_S = 300 };

static const int64_t second_us = 1000000;

/* What the two say, each in turn; the reply to RCPT is the greylist's. */
static const char *const commands[] = {NULL,
                                       "EHLO exchange.example.com\r\n",
                                       "MAIL FROM:<a@example.com> SIZE=9\r\n",
                                       "RCPT TO:<b@example.net>\r\n",
                                       "DATA\r\n",
                                       "message\r\n.\r\n",
                                       "QUIT\r\n"};
static const char *const replies[] = {"220 mx.example.net ESMTP\r\n",
                                      "250-mx.example.net\r\n250 SIZE\r\n",
                                      "250 2.1.0 Ok\r\n",
                                      "250 2.1.5 Ok\r\n",
                                      "354 go on\r\n",
                                      "250 2.0.0 Ok\r\n",
                                      "221 2.0.0 Bye\r\n"};
static const char greylisted[] = "450 4.2.0 <b@example.net>: Recipient address rejected: Greylisted\r\n";
enum { RCPT = 3, END_OF_DATA = 5, QUIT = 6, STEPS = 7 };

/* A message on its way, and the attempt that goes on. */
struct message {
    int64_t greylist_us;
    int64_t first_us;                  /* when the server outside heard of it; 0: not yet */
    int64_t asked_us;                  /* when the last command was said */
    int64_t waited_us;                 /* the longest wait for a reply */
    int step;                          /* of the client: the command that is said next */
    int answered;                      /* of the server */
    uint32_t client_read, server_read; /* octets that either has looked at */
    uint32_t said;                     /* octets of the server's last reply that are not read */
    bool refused, taken;
    struct guard *guard; /* NULL: there is none */
    struct guard_settings settings;
    uint32_t attempt; /* as the guard counts them */
    bool reported;    /* that it may be lost */
};

static void server_says(struct session *session, struct message *message, const char *reply)
{
    endpoint_write(&session->ends[1], reply, (uint32_t)strlen(reply), session->now_us);
    message->said = (uint32_t)strlen(reply);
}

static void server_turn(struct session *session, struct message *message)
{
    const struct endpoint *server = &session->ends[1];
    const char *command = commands[message->step];
    if (message->answered > message->step || server->read - message->server_read < strlen(command))
        return;
    message->server_read = server->read;
    message->answered++;
    if (message->step == RCPT && message->first_us == 0)
        message->first_us = session->now_us;
    message->refused =
        message->refused || (message->step == RCPT && session->now_us - message->first_us < message->greylist_us);
    message->taken = message->taken || message->step == END_OF_DATA;
    server_says(session, message, message->step == RCPT && message->refused ? greylisted : replies[message->step]);
    if (message->step == QUIT)
        endpoint_close(&session->ends[1], session->now_us);
}

static void client_turn(struct session *session, struct message *message)
{
    struct endpoint *client = &session->ends[0];
    if (message->answered <= message->step || client->read - message->client_read < message->said)
        return;
    message->client_read = client->read;
    int64_t waited_us = session->now_us - message->asked_us;
    message->waited_us = waited_us > message->waited_us ? waited_us : message->waited_us;
    if (message->step == QUIT) {
        endpoint_close(client, session->now_us);
        message->answered = message->step = 0;
        message->said = UINT32_MAX;
        return;
    }
    message->step = message->refused ? QUIT : message->step + 1;
    message->answered = message->step;
    message->asked_us = session->now_us;
    endpoint_write(client, commands[message->step], (uint32_t)strlen(commands[message->step]), session->now_us);
}

static void talk(struct session *session, void *context)
{
    struct message *message = context;
    if (message->answered == 0 && message->step == 0 && message->said == 0) {
        message->answered = 1;
        message->asked_us = session->now_us;
        server_says(session, message, replies[0]);
    }
    client_turn(session, message);
    if (message->step > 0)
        server_turn(session, message);
}

/* What cmd/watch does with it. */
static void take_event(const struct event *event, void *context)
{
    struct message *message = context;
    struct guard_mail mail = {
        .ip_version = event->ip_version, .sender = event->sender, .recipient = event->recipient, .size = event->octets};
    if (event->kind != EVENT_GUARD || !message->guard)
        return;
    if (strcmp(event->action, "taken") == 0) {
        guard_taken(message->guard, &message->settings, &mail, event->time_us / 1000);
        return;
    }
    message->attempt = guard_refused(message->guard, &message->settings, &mail, event->time_us / 1000, event->delay_ms);
    message->reported = message->reported || message->attempt == message->settings.attempts;
}

static struct policy plain, guarded;

struct row {
    uint32_t greylist_s, glitch_s, delay_s; /* of the guard; 0: none */
};

struct outcome {
    bool taken, reported;
    int attempts;
    int64_t after_us;  /* from the first attempt on */
    int64_t waited_us; /* the longest that our server waited for a reply */
    const char *wrong;
};

/* Every fifth message meets a path that loses packets: there delays may end sooner. */
static bool is_lossy(uint64_t seed)
{
    return seed % 5 == 0;
}

/* Every other server outside resends soon: it must see an octet of progress every 3 s, as long as there are octets. */
static bool is_quick(uint64_t seed)
{
    return seed % 2 == 0;
}

/* From the first attempt to the last, at least. */
static uint32_t outlasts_s(const struct row *row, uint64_t seed)
{
    uint32_t delay_s = is_lossy(seed) ? row->delay_s * 4 / 5 : row->delay_s;
    uint32_t octets_s = 3 * (uint32_t)(sizeof greylisted - sizeof "\r\n");
    if (is_quick(seed) && delay_s > octets_s)
        delay_s = octets_s;
    return (ATTEMPTS - 1) * (delay_s + row->glitch_s);
}

/* One message, with all its attempts. */
static struct outcome send_message(const struct row *row, uint64_t seed)
{
    static struct session session;
    static struct guard guard;
    struct outcome outcome = {0};
    struct message message = {
        .greylist_us = row->greylist_s * second_us,
        .guard = row->delay_s ? &guard : NULL,
        .settings = guard_settings_default(),
    };
    memset(&guard, 0, sizeof guard);
    int64_t now_us = second_us;
    while (!message.taken && outcome.attempts < ATTEMPTS && !outcome.wrong) {
        message.step = message.answered = 0;
        message.client_read = message.server_read = message.said = 0;
        message.refused = false;
        struct session_plan plan = {
            .policy = row->delay_s ? &guarded : &plain,
            .endpoint = {.mss = 1460,
                         .window = 60000,
                         .rto_us = is_quick(seed) ? 200000 : 1000000,
                         .resends_max = 15,
                         .timestamps = seed % 3 == 0,
                         .sack = seed % 2 == 0},
            .link_us = LINK_US,
            .loss = is_lossy(seed) ? 20 : 0,
            .events = 1u << EVENT_GUARD,
            .seed = seed * ATTEMPTS + (uint64_t)outcome.attempts,
            .from_us = now_us,
            .until_us = now_us + 1000 * second_us,
            .talk = talk,
            .tell = take_event,
            .context = &message,
        };
        outcome.wrong = session_play(&session, &plan);
        outcome.attempts++;
        outcome.after_us = session.now_us - second_us;
        now_us = session.now_us + row->glitch_s * second_us;
    }
    session_fini(&session);
    outcome.taken = message.taken;
    outcome.reported = message.reported;
    outcome.waited_us = message.waited_us;
    if (!outcome.wrong && message.guard && message.attempt != (uint32_t)(outcome.attempts - outcome.taken))
        outcome.wrong = "the guard counted other attempts";
    return outcome;
}

/* False where a run is not as it must be. */
static bool run_row(const struct row *row, unsigned number, unsigned *lost)
{
    struct outcome outcome = {0};
    *lost = 0;
    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t seed = number * RUNS + i;
        outcome = send_message(row, seed);
        if (!outcome.wrong && outlasts_s(row, seed) >= row->greylist_s && !outcome.taken)
            outcome.wrong = "lost, though there was time";
        if (!outcome.wrong && row->delay_s && outcome.reported == outcome.taken)
            outcome.wrong = outcome.taken ? "reported as lost, and delivered" : "lost, and not reported";
        if (!outcome.wrong && outcome.waited_us > PATIENCE_S * second_us)
            outcome.wrong = "our server would not have waited so long (RFC 5321 4.5.3.2)";
        *lost += !outcome.taken;
        if (outcome.wrong)
            break;
    }
    printf("%sok %u - greylist %4u s, GlitchRetrySeconds %2u, guard %3u s: %2u of %u lost, the last one %s after %.0f "
           "s, %d attempts%s%s\n",
           outcome.wrong ? "not " : "", number, row->greylist_s, row->glitch_s, row->delay_s, *lost, RUNS,
           outcome.taken ? "delivered" : "lost", (double)outcome.after_us / 1e6, outcome.attempts,
           outcome.wrong ? ": " : "", outcome.wrong ? outcome.wrong : "");
    return !outcome.wrong;
}

int main(void)
{
    static const uint32_t delays_s[] = {0, 110, 240}, glitches_s[] = {1, 60};
    static const uint32_t greylists_s[] = {60, 120, 180, 300, 480, 600, 720, 900, 1500};
    enum { GREYLISTS = sizeof greylists_s / sizeof greylists_s[0] };
    unsigned number = 0, failures = 0, lost[3][2] = {{0}};
    policy_init_default(&plain);
    for (unsigned d = 0; d < 3; d++) {
        policy_init_default(&guarded);
        rules_guard(&guarded, "*greylisted*", delays_s[d] * 1000);
        for (unsigned i = 0; i < 2 * GREYLISTS; i++) {
            struct row row = {greylists_s[i / 2], glitches_s[i % 2], delays_s[d]};
            unsigned of_row;
            failures += !run_row(&row, ++number, &of_row);
            lost[d][i % 2] += of_row;
        }
    }
    printf("1..%u\n", number);
    for (unsigned d = 0; d < 3; d++)
        printf("# guard %3u s: of %u messages lost with GlitchRetrySeconds 1: %u, with 60: %u\n", delays_s[d],
               GREYLISTS * RUNS, lost[d][0], lost[d][1]);
    return failures > 0;
}
