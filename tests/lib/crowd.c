#include "crowd.h"

#include <stdlib.h>
#include <string.h>

#include "base/octets.h"
#include "engines.h"
#include "rules.h"
#include "tcp/packet.h"

enum { HEADERS = 40, TEXT_MAX = 1400, PORTS = 50000, CLIENT_ISN = 99, SERVER_ISN = 999, TRIES = 20 };

/* Where a connection is. */
struct talk {
    uint32_t client; /* its address */
    uint16_t port;
    uint32_t said, heard; /* octets of the client, and of the server, in their own numbers */
    uint32_t shown;       /* of the server, in the client's */
};

static const char *const names[CROWD_ATTACKS] = {
    [CROWD_SYNS] = "SYNs",
    [CROWD_IDLE] = "connections",
    [CROWD_OFFSETS] = "connections with an offset",
    [CROWD_COMMANDS] = "unfinished commands",
    [CROWD_REPLIES] = "unfinished replies",
    [CROWD_LEDGERS] = "commands without a reply",
    [CROWD_OCTETS] = "octets that nobody acknowledges",
    [CROWD_EDITS] = "edits that nobody acknowledges",
    [CROWD_GAPS] = "packets behind a gap",
    [CROWD_AWAITING] = "packets that wait for a reply",
    [CROWD_TARPITS] = "tarpits",
    [CROWD_QUESTIONS] = "questions that nobody answers",
    [CROWD_RECIPIENTS] = "recipients of a guarded server",
};

const char *crowd_name(enum crowd_attack attack)
{
    return names[attack];
}

/* ---- the engine ---- */

/* The attackers' networks and the mails' are ours, so that all of them are guarded. */
static void make_policy(struct policy *policy)
{
    static const uint8_t attackers[4] = {10}, others[4] = {192, 0, 2, 0};
    const struct network ours[] = {network_of(4, attackers, 8), network_of(4, others, 24)};
    policy_init_default(policy);
    rules_add(policy, "late", RULE_ON_RECIPIENT, "slow@*", SMTP_ACTION_VOID, "450 4.2.0 Not so fast");
    policy->refusals.texts[policy->rules[0].action.refusal].delay_ms = 120000;
    rules_add(policy, "ask", RULE_ON_RECIPIENT, "asked@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    policy->rules[1].action.ask = true;
    struct rule rule = rule_of("guard", RULE_ON_REPLY);
    bool good = policy_name_pattern(policy, &rule, (struct rule_pattern){.glob = span_of("*reylist*")}, false);
    rule.directions = 1u << POLICY_OUTBOUND;
    rule.codes.count = 1;
    rule.codes.ranges[0].first = 400;
    rule.codes.ranges[0].last = 499;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        good = good && policy_protect(policy, ours[i]) &&
               policy_name_network(policy, &rule, POLICY_CLIENT, ours[i], false);
    if (!good || !policy_set_guard(policy, &rule) || !policy_seal(policy))
        abort();
}

struct crowd *crowd_new(size_t memory)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    if (!crowd)
        abort();
    struct engine_settings settings = engine_settings_default();
    settings.blocks_max = (uint32_t)(memory / ENGINE_BLOCK_BYTES);
    settings.questions = 1u << QUESTION_RECIPIENT;
    settings.events = 1u << EVENT_ANOMALY;
    settings.ask_hold_ms = 10000;
    settings.order_hold_ms = 60000;
    make_policy(&crowd->policy);
    crowd->engine = engines_new(&settings, &crowd->policy);
    crowd->now_us = 1000000;
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    engines_free(crowd->engine);
    free(crowd);
}

/* ---- packets ---- */

enum crowd_fate { NO_VERDICT, PASSED, DROPPED };

/* Fetch what the last call brought. What became of the last packet, as far as it is known. */
static enum crowd_fate fetch(struct crowd *crowd, uint32_t len)
{
    struct engine_verdict verdict;
    struct event event;
    enum crowd_fate fate = NO_VERDICT;
    while (engine_next_verdict(crowd->engine, &verdict)) {
        if (verdict.token != crowd->token)
            continue;
        fate = verdict.action == ENGINE_ACCEPT ? PASSED : DROPPED;
        crowd->left = (verdict.edited ? (uint32_t)verdict.packet.len : len) - HEADERS;
        crowd->flags = verdict.edited ? verdict.packet.ptr[33] : crowd->flags;
    }
    while (engine_next_event(crowd->engine, &event))
        crowd->relieved += strcmp(event.reason, "no-room") == 0;
    return fate;
}

/* Who is not an attacker may pass. */
static enum crowd_fate answer(struct crowd *crowd, enum crowd_fate fate, uint32_t len)
{
    struct question question;
    while (engine_next_question(crowd->engine, &question))
        if (question.id && question.client[0] != 10) {
            engine_answer(crowd->engine, question.id, (struct finding){.answer = ANSWER_PASS}, crowd->now_us);
            enum crowd_fate later = fetch(crowd, len);
            fate = later == NO_VERDICT ? fate : later;
        }
    return fate;
}

static enum crowd_fate send(struct crowd *crowd, const struct talk *talk, bool from_client, uint8_t flags,
                            uint32_t ahead, const char *text)
{
    uint8_t bytes[HEADERS + TEXT_MAX] = {0x45};
    uint32_t len = HEADERS + (uint32_t)strlen(text);
    uint8_t *tcp = bytes + 20;
    bool opens = flags & PACKET_SYN;
    store_be16(bytes + 2, (uint16_t)len);
    bytes[9] = 6;
    store_be32(bytes + (from_client ? 12 : 16), talk->client);
    store_be32(bytes + (from_client ? 16 : 12), 0xc6336419u);
    store_be16(tcp, from_client ? talk->port : 25);
    store_be16(tcp + 2, from_client ? 25 : talk->port);
    store_be32(tcp + 4, (from_client ? CLIENT_ISN + talk->said : SERVER_ISN + talk->heard) + !opens + ahead);
    if (flags & PACKET_ACK)
        store_be32(tcp + 8, (from_client ? SERVER_ISN + talk->shown : CLIENT_ISN + talk->said) + 1);
    tcp[12] = 5 << 4;
    tcp[13] = crowd->flags = flags;
    store_be16(tcp + 14, 65000);
    memcpy(tcp + 20, text, strlen(text));
    struct engine_packet packet = {.bytes = bytes, .len = len, .room = sizeof bytes, .token = ++crowd->token};
    engine_packet(crowd->engine, &packet, crowd->now_us);
    return answer(crowd, fetch(crowd, len), len);
}

void crowd_wait(struct crowd *crowd, int64_t us)
{
    crowd->now_us += us;
    do {
        engine_tick(crowd->engine, crowd->now_us);
        answer(crowd, fetch(crowd, HEADERS), HEADERS);
    } while (engine_next_due(crowd->engine) <= crowd->now_us);
}

/* ---- dialogues ---- */

static void note(struct crowd *crowd, struct talk *talk, bool from_client, const char *text)
{
    if (from_client) {
        talk->said += (uint32_t)strlen(text);
    } else {
        talk->heard += (uint32_t)strlen(text);
        talk->shown += crowd->left;
    }
}

/* One says something, and the other acknowledges it. Whoever is attacking does not try again. */
static enum crowd_fate say(struct crowd *crowd, struct talk *talk, bool from_client, const char *text)
{
    enum crowd_fate fate = send(crowd, talk, from_client, PACKET_ACK, 0, text);
    if (fate != PASSED)
        return fate;
    note(crowd, talk, from_client, text);
    send(crowd, talk, !from_client, PACKET_ACK, 0, "");
    return PASSED;
}

static void open_talk(struct crowd *crowd, struct talk *talk)
{
    send(crowd, talk, true, PACKET_SYN, 0, "");
    send(crowd, talk, false, PACKET_SYN | PACKET_ACK, 0, "");
    send(crowd, talk, true, PACKET_ACK, 0, "");
}

static struct talk talk_of(uint32_t network, uint32_t number)
{
    return (struct talk){.client = 0x0a000001u + (network << 8) + number / PORTS,
                         .port = (uint16_t)(1024 + number % PORTS)};
}

#define OFFER "250-h\r\n250-XEXCH50\r\n250 DSN\r\n"

static void go_on(struct crowd *crowd, enum crowd_attack attack, struct talk *talk)
{
    static char filler[TEXT_MAX - 100];
    memset(filler, 'x', sizeof filler - 1);
    say(crowd, talk, false, "220 h\r\n");
    if (attack == CROWD_COMMANDS) {
        send(crowd, talk, true, PACKET_ACK, 0, "N");
        return;
    }
    if (attack == CROWD_GAPS) {
        send(crowd, talk, true, PACKET_ACK, 100, "NOOP\r\n");
        return;
    }
    say(crowd, talk, true, "EHLO x\r\n");
    if (attack == CROWD_REPLIES) {
        send(crowd, talk, false, PACKET_ACK, 0, "2");
        return;
    }
    if (attack == CROWD_EDITS) {
        send(crowd, talk, false, PACKET_ACK, 0, OFFER OFFER);
        return;
    }
    say(crowd, talk, false, OFFER);
    for (int i = 0; i < 20 && attack == CROWD_LEDGERS; i++)
        say(crowd, talk, true, "NOOP\r\n");
    if (attack == CROWD_OFFSETS || attack == CROWD_LEDGERS)
        return;
    say(crowd, talk, true, "MAIL FROM:<a@b>\r\n");
    say(crowd, talk, false, "250 2.1.0 Sender OK\r\n");
    const char *recipient = attack == CROWD_TARPITS     ? "RCPT TO:<slow@d>\r\n"
                            : attack == CROWD_QUESTIONS ? "RCPT TO:<asked@d>\r\n"
                                                        : "RCPT TO:<c@d>\r\n";
    say(crowd, talk, true, recipient);
    for (int i = 0; i < 5 && attack == CROWD_RECIPIENTS; i++)
        say(crowd, talk, true, recipient);
    if (attack == CROWD_RECIPIENTS || attack == CROWD_QUESTIONS)
        return;
    say(crowd, talk, false, "250 2.1.5 Recipient OK\r\n");
    if (attack == CROWD_TARPITS)
        return;
    say(crowd, talk, true, "DATA\r\n");
    if (attack == CROWD_AWAITING) {
        send(crowd, talk, true, PACKET_ACK, 0, "RSET\r\n");
        return;
    }
    say(crowd, talk, false, "354 go on\r\n");
    for (uint32_t i = 0; i < 20; i++)
        send(crowd, talk, true, PACKET_ACK, i * (uint32_t)strlen(filler), filler);
}

void crowd_attack(struct crowd *crowd, enum crowd_attack attack, uint32_t network, uint32_t first, uint32_t count)
{
    enum { BURST = 256, LINES = 32, LINE_US = 40000, APART_US = 1000 };
    for (uint32_t number = first; number < first + count; number++) {
        struct talk talk = talk_of(network, number);
        if (attack == CROWD_SYNS)
            send(crowd, &talk, true, PACKET_SYN, 0, "");
        else
            open_talk(crowd, &talk);
        if (attack != CROWD_SYNS && attack != CROWD_IDLE)
            go_on(crowd, attack, &talk);
        bool waits = attack == CROWD_COMMANDS || attack == CROWD_REPLIES;
        if (number % (waits ? LINES : BURST) == 0)
            crowd_wait(crowd, waits ? LINE_US : attack == CROWD_QUESTIONS ? 0 : APART_US);
    }
    crowd_wait(crowd, attack == CROWD_QUESTIONS ? 0 : LINE_US);
}

/* Where a connection of these attacks is whose octet found room. */
static struct talk stuck_talk(enum crowd_attack attack, uint32_t network, uint32_t number)
{
    struct talk talk = talk_of(network, number);
    talk.heard = talk.shown = attack == CROWD_COMMANDS ? 7 : 8;
    talk.said = attack == CROWD_COMMANDS ? 1 : 8;
    return talk;
}

bool crowd_poke(struct crowd *crowd, enum crowd_attack attack, uint32_t network, uint32_t number, bool from_client)
{
    struct talk talk = stuck_talk(attack, network, number);
    return send(crowd, &talk, from_client, PACKET_ACK, 0, "") == PASSED;
}

bool crowd_close(struct crowd *crowd, enum crowd_attack attack, uint32_t network, uint32_t number)
{
    struct talk talk = stuck_talk(attack, network, number);
    bool passed = send(crowd, &talk, true, PACKET_ACK | PACKET_FIN, 0, "") == PASSED;
    talk.said++;
    return send(crowd, &talk, false, PACKET_ACK | PACKET_FIN, 0, "") == PASSED && passed;
}

/* ---- mails ---- */

/* The same with a packet that must arrive: it is sent again until it does. */
static bool deliver(struct crowd *crowd, struct talk *talk, bool from_client, uint8_t flags, const char *text)
{
    for (int i = 0; i < TRIES; i++) {
        crowd->now_us++;
        crowd->sent++;
        if (send(crowd, talk, from_client, flags, 0, text) == PASSED) {
            note(crowd, talk, from_client, text);
            return true;
        }
        crowd_wait(crowd, CROWD_RTO_US);
    }
    return false;
}

static bool mail(struct crowd *crowd, uint32_t number)
{
    static const struct {
        bool from_client;
        const char *text;
    } steps[] = {
        {false, "220 h\r\n"},
        {true, "EHLO mail.example\r\n"},
        {false, OFFER},
        {true, "MAIL FROM:<sender@client.example>\r\n"},
        {false, "250 2.1.0 Ok\r\n"},
        {true, "RCPT TO:<asked@server.example>\r\n"},
        {false, "250 2.1.5 Ok\r\n"},
        {true, "DATA\r\n"},
        {false, "354 go on\r\n"},
        {true, "Subject: x\r\n\r\nBody\r\n.\r\n"},
        {false, "250 2.0.0 Ok: queued\r\n"},
        {true, "QUIT\r\n"},
        {false, "221 2.0.0 Bye\r\n"},
    };
    struct talk talk = {.client = 0xc0000200u + number % 250, .port = (uint16_t)(2000 + number)};
    bool good = deliver(crowd, &talk, true, PACKET_SYN, "") &&
                deliver(crowd, &talk, false, PACKET_SYN | PACKET_ACK, "") &&
                deliver(crowd, &talk, true, PACKET_ACK, "");
    for (size_t i = 0; good && i < sizeof steps / sizeof steps[0]; i++)
        good = deliver(crowd, &talk, steps[i].from_client, PACKET_ACK, steps[i].text) &&
               deliver(crowd, &talk, !steps[i].from_client, PACKET_ACK, "");
    /* One by one: what was stripped shows that it was read. */
    good = good && talk.shown < talk.heard;
    return good && deliver(crowd, &talk, true, PACKET_RST | PACKET_ACK, "");
}

bool crowd_mails(struct crowd *crowd, uint32_t first, uint32_t count)
{
    for (uint32_t number = first; number < first + count; number++)
        if (!mail(crowd, number))
            return false;
    return true;
}
