/*
 * Law 7: a promise is kept, or the connection ends. Each kind of promise meets each way out of the filter's sight.
 *
 * A script brings a connection to where something is promised; then the filter ends, or gives the connection up; then
 * the ends go on. What must never be: that the client reads a reply of the server's which was to be replaced, that a
 * void transaction is completed, or that an octet comes untranslated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/rules.h"
#include "../lib/segment.h"
#include "engine/engine.h"
#include "engine/handover.h"
#include "policy/policy.h"

enum { FLOWS = 8, CLIENT_ISN = 1000, SERVER_ISN = 5000, PORT = 40000, OCTETS_MAX = 4096 };

static struct policy rules, other_rules, balanced;

/* ---- a gateway between two ends that say what the test wants ---- */

struct gateway {
    struct engine *engine; /* NULL: none runs */
    struct engine_settings settings;
    uint8_t *records;
    int64_t now_us;
    bool marks;                /* the kernel's rules know of marks */
    bool verdicts_lost;        /* it is killed before it carries out what the engine decides */
    bool marked;               /* the connection's mark says that something is promised */
    bool elsewhere;            /* the kernel sees the connection for the first time, in its middle */
    uint32_t seq[2], acked[2]; /* by enum smtp_side: what each has said; what each has read, in its peer's numbers */
    char read[2][OCTETS_MAX];  /* what each has read */
    bool reset[2];             /* each has read a RST */
};

static void start(struct gateway *gateway, const struct policy *policy)
{
    gateway->engine = aligned_alloc(64, (engine_bytes(&gateway->settings) + 63) / 64 * 64);
    assert_non_null(gateway->engine);
    memset(gateway->engine, 0, engine_bytes(&gateway->settings));
    engine_init(gateway->engine, &gateway->settings, policy);
    uint8_t *before = gateway->records;
    gateway->records = calloc(1, handover_bytes(FLOWS));
    handover_begin(gateway->engine, gateway->records);
    if (before)
        engine_take_over(gateway->engine, before, handover_bytes(FLOWS), gateway->now_us);
    free(before);
}

static void end(struct gateway *gateway)
{
    free(gateway->engine);
    gateway->engine = NULL;
}

static void note_read(struct gateway *gateway, enum smtp_side reader, const struct packet *packet)
{
    if (packet->flags & PACKET_RST)
        gateway->reset[reader] = true;
    if (packet->seq != gateway->acked[reader] || packet->payload_len == 0)
        return; /* its receiver has it, or waits for what is before */
    size_t len = strlen(gateway->read[reader]);
    assert_true(len + packet->payload_len < OCTETS_MAX);
    memcpy(gateway->read[reader] + len, packet->bytes + packet->payload_at, packet->payload_len);
    gateway->acked[reader] += packet->payload_len;
}

static void carry_out(struct gateway *gateway, const uint8_t *came, uint32_t len, enum smtp_side sender)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(gateway->engine, &verdict)) {
        if (verdict.action == ENGINE_DROP || verdict.token != 1 || gateway->verdicts_lost)
            continue;
        if (verdict.mark_class != ENGINE_MARK_NONE)
            gateway->marked = verdict.mark_class == ENGINE_MARK_PROMISED && gateway->marks;
        if (!verdict.edited && !came)
            continue; /* held, and leaves as it came: lost on its way */
        struct span octets = verdict.edited ? verdict.packet : (struct span){came, len};
        uint8_t copy[2048];
        struct packet packet;
        memcpy(copy, octets.ptr, octets.len);
        assert_int_equal(packet_parse(&packet, copy, (uint32_t)octets.len), PACKET_TCP);
        note_read(gateway, (enum smtp_side) !sender, &packet);
    }
}

/* A segment of `side` that begins `behind` octets before the end of what it has said. */
static void send(struct gateway *gateway, enum smtp_side side, uint8_t flags, uint32_t behind, const char *text)
{
    bool from_server = side == SMTP_SERVER;
    struct segment segment = {
        .ip_version = 4,
        .source = from_server ? 25 : 2,
        .destination = from_server ? 2 : 25,
        .source_port = from_server ? 25 : PORT,
        .destination_port = from_server ? PORT : 25,
        .seq = gateway->seq[side] - behind,
        .ack = flags & PACKET_ACK ? gateway->acked[side] : 0,
        .flags = flags,
        .window = 60000,
        .payload = span_of(text),
    };
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    gateway->now_us += 1000;
    if (gateway->engine) {
        struct engine_packet packet = {
            .bytes = bytes, .len = len, .room = len, .token = 1, .marked_promised = gateway->marked};
        packet.marked_elsewhere = gateway->elsewhere && !gateway->marked;
        engine_packet(gateway->engine, &packet, gateway->now_us);
        carry_out(gateway, bytes, len, side);
    } else if (!gateway->marked) {
        struct packet packet;
        assert_int_equal(packet_parse(&packet, bytes, len), PACKET_TCP);
        note_read(gateway, (enum smtp_side) !side, &packet);
    } /* else the kernel drops it: the queue has no bypass for this mark */
    free(bytes);
}

/* A packet of somebody else in the name of `side`: its numbers are so far ahead of those that it would have. */
static void forge(struct gateway *gateway, enum smtp_side side, uint8_t flags, uint32_t seq_ahead, uint32_t ack_ahead)
{
    gateway->acked[side] += ack_ahead;
    send(gateway, side, flags, -seq_ahead, "");
    gateway->acked[side] -= ack_ahead;
}

static void say(struct gateway *gateway, enum smtp_side side, const char *text)
{
    gateway->seq[side] += (uint32_t)strlen(text);
    send(gateway, side, PACKET_ACK, (uint32_t)strlen(text), text);
}

static void say_again(struct gateway *gateway, enum smtp_side side, const char *text)
{
    send(gateway, side, PACKET_ACK, (uint32_t)strlen(text), text);
}

#define OFFER "250-host\r\n250-XEXCH50\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
#define PLAIN "250-host\r\n250-PIPELINING\r\n250 CHUNKING\r\n"

static struct gateway prepare(void)
{
    struct gateway gateway = {.now_us = 1000000, .marks = true, .settings = engine_settings_default()};
    gateway.settings.flows_max = FLOWS;
    gateway.settings.blocks_max = 256;
    gateway.settings.held_max = 16;
    gateway.settings.flow_held_max = 4;
    gateway.settings.release = true;
    gateway.settings.events = 1u << EVENT_FLOW_START | 1u << EVENT_FLOW_END;
    start(&gateway, &rules);
    gateway.seq[SMTP_CLIENT] = CLIENT_ISN;
    gateway.seq[SMTP_SERVER] = SERVER_ISN;
    return gateway;
}

static void shake_hands(struct gateway *gateway)
{
    send(gateway, SMTP_CLIENT, PACKET_SYN, 0, "");
    gateway->seq[SMTP_CLIENT]++;
    gateway->acked[SMTP_SERVER] = CLIENT_ISN + 1;
    send(gateway, SMTP_SERVER, PACKET_SYN | PACKET_ACK, 0, "");
    gateway->seq[SMTP_SERVER]++;
    gateway->acked[SMTP_CLIENT] = SERVER_ISN + 1;
    send(gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
}

static struct gateway begin(void)
{
    struct gateway gateway = prepare();
    shake_hands(&gateway);
    return gateway;
}

static void say_hello(struct gateway *gateway, const char *reply)
{
    say(gateway, SMTP_SERVER, "220 host\r\n");
    say(gateway, SMTP_CLIENT, "EHLO x\r\n");
    say(gateway, SMTP_SERVER, reply);
    send(gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
}

/* ---- kinds of promise ---- */

#define OK "250 2.1.5 All is very well here\r\n"

/* A command was covered; the server has not answered. */
static void promise_covered(struct gateway *gateway)
{
    say_hello(gateway, PLAIN);
    say(gateway, SMTP_CLIENT, "XEXCH50 1904 2\r\n");
}

static void go_on_covered(struct gateway *gateway)
{
    say(gateway, SMTP_SERVER, OK);
    say_again(gateway, SMTP_SERVER, OK);
}

static void judge_covered(const struct gateway *gateway)
{
    assert_null(strstr(gateway->read[SMTP_CLIENT], OK));
    assert_null(strstr(gateway->read[SMTP_SERVER], "XEXCH50"));
}

/* A recipient was refused though the server said yes: nothing may be delivered. */
static void make_void(struct gateway *gateway, const char *reply)
{
    say_hello(gateway, PLAIN);
    say(gateway, SMTP_CLIENT, "MAIL FROM:<a@b.example>\r\n");
    say(gateway, SMTP_SERVER, "250 ok\r\n");
    say(gateway, SMTP_CLIENT, "RCPT TO:<void@example.com>\r\n");
    say(gateway, SMTP_SERVER, reply);
    send(gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
}

static void promise_void(struct gateway *gateway)
{
    make_void(gateway, OK);
}

static void go_on_void(struct gateway *gateway)
{
    say(gateway, SMTP_CLIENT, "DATA\r\n");
    say_again(gateway, SMTP_CLIENT, "DATA\r\n");
}

static void judge_void(const struct gateway *gateway)
{
    assert_null(strstr(gateway->read[SMTP_SERVER], "DATA"));
    assert_null(strstr(gateway->read[SMTP_CLIENT], OK));
}

/* DATA of a void transaction was covered: the server's reply to what it read instead is about to come. */
static void promise_data(struct gateway *gateway)
{
    promise_void(gateway);
    say(gateway, SMTP_CLIENT, "DATA\r\n");
}

/* An address was written over: the server's refusal names another one. */
static void promise_spoiled(struct gateway *gateway)
{
    say_hello(gateway, PLAIN);
    say(gateway, SMTP_CLIENT, "MAIL FROM:<a@b.example>\r\n");
    say(gateway, SMTP_SERVER, "250 ok\r\n");
    say(gateway, SMTP_CLIENT, "RCPT TO:<spoiled@example.com>\r\n");
}

static void judge_spoiled(const struct gateway *gateway)
{
    assert_null(strstr(gateway->read[SMTP_CLIENT], OK));
    assert_null(strstr(gateway->read[SMTP_SERVER], "spoiled@"));
}

/* The beginning of a covered line has left, its end has not come. */
static void promise_part(struct gateway *gateway)
{
    say_hello(gateway, PLAIN);
    say(gateway, SMTP_CLIENT, "XEXCH50 19");
    gateway->now_us += 50000;
    if (gateway->engine) {
        engine_tick(gateway->engine, gateway->now_us);
        carry_out(gateway, NULL, 0, SMTP_CLIENT);
    }
    say_again(gateway, SMTP_CLIENT, "XEXCH50 19");
}

static void go_on_part(struct gateway *gateway)
{
    say(gateway, SMTP_CLIENT, "04 2\r\n");
    say(gateway, SMTP_SERVER, OK);
    say_again(gateway, SMTP_SERVER, OK);
}

/* A refusal has left in place of the server's reply, and was lost: the server sends its own again. */
static void promise_unread(struct gateway *gateway)
{
    promise_covered(gateway);
    gateway->acked[SMTP_CLIENT] += 1; /* what comes is not what it waits for: lost */
    say(gateway, SMTP_SERVER, OK);
    gateway->acked[SMTP_CLIENT] -= 1;
}

static void go_on_unread(struct gateway *gateway)
{
    say_again(gateway, SMTP_SERVER, OK);
    say_again(gateway, SMTP_SERVER, OK);
}

/* A line was taken out of a reply: numbers differ. */
static void promise_offset(struct gateway *gateway)
{
    say_hello(gateway, OFFER);
}

static void go_on_offset(struct gateway *gateway)
{
    say(gateway, SMTP_CLIENT, "NOOP\r\n");
    say_again(gateway, SMTP_CLIENT, "NOOP\r\n");
    say(gateway, SMTP_SERVER, "250 noop\r\n");
    say_again(gateway, SMTP_SERVER, "250 noop\r\n");
}

/* Both ends read what is theirs, or nothing more: translated wrongly, neither would be at the octet it waits for. */
static void judge_offset(const struct gateway *gateway)
{
    assert_null(strstr(gateway->read[SMTP_CLIENT], "XEXCH50"));
    assert_true(strstr(gateway->read[SMTP_CLIENT], "250 noop\r\n") || gateway->reset[SMTP_CLIENT] ||
                gateway->reset[SMTP_SERVER]);
}

static const struct kind {
    const char *name;
    void (*promise)(struct gateway *gateway);
    void (*go_on)(struct gateway *gateway);
    void (*judge)(const struct gateway *gateway);
    bool resumes;      /* its record says how to go on, so that nothing is reset */
    bool only_streams; /* it holds without the session: translating, and sending again what left */
    bool in_line;      /* it is about the line that the client is in: whatever it adds is covered as well */
} kinds[] = {
    {"a covered command", promise_covered, go_on_covered, judge_covered, true, false, false},
    {"a void transaction", promise_void, go_on_void, judge_void, true, false, false},
    {"a covered DATA", promise_data, go_on_covered, judge_void, true, false, false},
    {"a spoiled recipient", promise_spoiled, go_on_covered, judge_spoiled, true, false, false},
    {"a line of which a part has left", promise_part, go_on_part, judge_covered, false, false, true},
    {"a refusal that is not read", promise_unread, go_on_unread, judge_covered, true, true, false},
    {"an offset", promise_offset, go_on_offset, judge_offset, true, true, false},
};

/* ---- ways out of sight ---- */

static void out_killed(struct gateway *gateway)
{
    end(gateway);
    start(gateway, &rules);
}

static void out_stopped(struct gateway *gateway)
{
    engine_stop(gateway->engine, gateway->now_us);
    carry_out(gateway, NULL, 0, SMTP_CLIENT);
    out_killed(gateway);
}

static void out_other_rules(struct gateway *gateway)
{
    end(gateway);
    start(gateway, &other_rules);
}

/* A second gateway without the record, or another number of workers: the marks are there. */
static void out_no_record(struct gateway *gateway)
{
    end(gateway);
    memset(gateway->records, 0, handover_bytes(FLOWS));
    start(gateway, &rules);
}

/* A version whose records this one does not understand. */
static void out_other_version(struct gateway *gateway)
{
    end(gateway);
    for (size_t at = 16; at < handover_bytes(FLOWS); at += HANDOVER_COPY_BYTES)
        gateway->records[at] ^= 1;
    start(gateway, &rules);
}

/* The filter is away for a while; what is sent meanwhile waits, for its sender sends it again. */
static void out_away(struct gateway *gateway)
{
    end(gateway);
    say(gateway, SMTP_SERVER, "");
    say_again(gateway, SMTP_SERVER, OK); /* a lie about what was said: whatever comes, nothing passes */
    start(gateway, &rules);
}

/* The client makes the session unreadable. */
static void out_client_unreadable(struct gateway *gateway)
{
    static char line[3000];
    memset(line, 'x', sizeof line - 1);
    for (int i = 0; i < 3; i++) {
        char part[1001];
        memcpy(part, line, 1000);
        part[1000] = '\0';
        say(gateway, SMTP_CLIENT, part);
    }
    say(gateway, SMTP_CLIENT, "\r\n");
}

/* The server says what is no reply. */
static void out_server_unreadable(struct gateway *gateway)
{
    say(gateway, SMTP_SERVER, "this is no reply\r\n");
}

/* Others need the room. */
static void out_evicted(struct gateway *gateway)
{
    for (uint16_t i = 0; i < 3 * FLOWS; i++) {
        struct segment segment = {.ip_version = 4,
                                  .source = 2,
                                  .destination = 25,
                                  .source_port = (uint16_t)(50000 + i),
                                  .destination_port = 25,
                                  .flags = PACKET_SYN,
                                  .window = 60000};
        uint32_t len;
        uint8_t *bytes = segment_build(&segment, &len);
        struct engine_verdict verdict;
        engine_packet(gateway->engine, &(struct engine_packet){.bytes = bytes, .len = len, .room = len, .token = 2},
                      gateway->now_us++);
        while (engine_next_verdict(gateway->engine, &verdict))
            ;
        free(bytes);
    }
}

static void out_idle(struct gateway *gateway)
{
    gateway->now_us += INT64_C(6) * 24 * 3600 * 1000000;
    engine_tick(gateway->engine, gateway->now_us);
    carry_out(gateway, NULL, 0, SMTP_CLIENT);
    assert_int_equal(engine_gauges(gateway->engine).flows, 0);
}

static void out_rules_gone(struct gateway *gateway)
{
    assert_true(engine_use_policy(gateway->engine, &other_rules));
    assert_true(engine_needs_policy(gateway->engine, &rules));
}

enum outcome {
    MAY_GO_ON, /* where a record says how */
    GOES_ON,   /* whatever was promised */
    MAY_RESET, /* what holds without the session goes on, the rest is reset */
    MUST_RESET,
};

static const struct way {
    const char *name;
    void (*out)(struct gateway *gateway);
    enum outcome outcome;
} ways[] = {
    {"killed", out_killed, MAY_GO_ON},
    {"stopped", out_stopped, MAY_GO_ON},
    {"away for a while", out_away, MAY_GO_ON},
    {"started with other rules", out_other_rules, MAY_GO_ON},
    {"no record", out_no_record, MUST_RESET},
    {"another version's record", out_other_version, MUST_RESET},
    {"unreadable by the client", out_client_unreadable, MAY_RESET},
    {"unreadable by the server", out_server_unreadable, MAY_RESET},
    {"room for others", out_evicted, GOES_ON},
    {"idle", out_idle, MUST_RESET},
    {"a reload", out_rules_gone, GOES_ON},
};

static void check(const struct kind *kind, const struct way *way)
{
    struct gateway gateway = begin();
    kind->promise(&gateway);
    if (!gateway.marked)
        fail_msg("%s: its packets are not marked", kind->name);
    way->out(&gateway);
    kind->go_on(&gateway);
    kind->judge(&gateway);
    bool reset = gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER];
    bool lost = way->out != out_client_unreadable || !kind->in_line;
    bool must = way->outcome == MUST_RESET || (way->outcome == MAY_RESET && lost) ||
                (way->outcome == MAY_GO_ON && !kind->resumes);
    if (must && !reset)
        fail_msg("%s, %s: neither end is reset", kind->name, way->name);
    if (!must && reset)
        fail_msg("%s, %s: an end is reset", kind->name, way->name);
    end(&gateway);
    free(gateway.records);
}

static void test_each_promise_on_each_way_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (size_t j = 0; j < sizeof ways / sizeof ways[0]; j++)
            check(&kinds[i], &ways[j]);
}

/* What was promised is kept: the mark is given back, and the record is gone. */
static void test_the_mark_is_given_back(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    assert_true(gateway.marked);
    say(&gateway, SMTP_SERVER, "250 This is as long as the 504\r\n"); /* so that no offset is left */
    assert_true(gateway.marked); /* the client has not said that it has read the refusal */
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    assert_false(gateway.marked);
    for (size_t i = 0; i < handover_bytes(FLOWS); i += HANDOVER_COPY_BYTES)
        assert_memory_equal(gateway.records + i, (uint8_t[16]){0}, 16);
    say(&gateway, SMTP_CLIENT, "XEXCH50 1904 2\r\n");
    assert_true(gateway.marked); /* from the very packet on that promises */
    end(&gateway);
    free(gateway.records);
}

/* Under other rules a number means another text: what was refused for good is deferred. */
static void test_other_rules_defer(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_spoiled(&gateway);
    out_other_rules(&gateway);
    go_on_covered(&gateway);
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], "451 "));
    end(&gateway);
    free(gateway.records);
}

/* The dialogue is read on: rules hold for what comes behind the restart. */
static void test_the_next_process_reads_on(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_void(&gateway);
    out_killed(&gateway);
    say(&gateway, SMTP_CLIENT, "RSET\r\n");
    say(&gateway, SMTP_SERVER, "250 reset\r\n");
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], "250 reset\r\n"));
    say(&gateway, SMTP_CLIENT, "MAIL FROM:<a@b.example>\r\n");
    say(&gateway, SMTP_SERVER, "250 ok\r\n");
    say(&gateway, SMTP_CLIENT, "RCPT TO:<spoiled@example.com>\r\n");
    assert_null(strstr(gateway.read[SMTP_SERVER], "spoiled@"));
    assert_int_equal(engine_counters(gateway.engine)->flows_resumed, 1);
    end(&gateway);
    free(gateway.records);
}

/* The client is a load balancer: the next process knows whose connection it brought. */
static void test_the_next_process_knows_the_client(void **state)
{
    (void)state;
    struct gateway gateway = prepare();
    end(&gateway);
    start(&gateway, &balanced);
    shake_hands(&gateway);
    say(&gateway, SMTP_CLIENT, "PROXY TCP4 192.0.2.7 10.1.0.2 40000 25\r\n");
    promise_void(&gateway);
    end(&gateway);
    start(&gateway, &balanced);
    say(&gateway, SMTP_CLIENT, "RSET\r\n");
    say(&gateway, SMTP_SERVER, "250 reset\r\n");
    say(&gateway, SMTP_CLIENT, "MAIL FROM:<a@b.example>\r\n");
    say(&gateway, SMTP_SERVER, "250 ok\r\n");
    say(&gateway, SMTP_CLIENT, "RCPT TO:<told@example.com>\r\n");
    assert_null(strstr(gateway.read[SMTP_SERVER], "told@"));
    assert_int_equal(engine_counters(gateway.engine)->flows_resumed, 1);
    end(&gateway);
    free(gateway.records);
}

/* Rules for a load balancer, and for a client behind it. */
static void prepare_balanced(void)
{
    static const uint8_t balancer[] = {10, 1, 0, 0}, client[] = {192, 0, 2, 0};
    struct rule rule = rule_of("told", RULE_ON_RECIPIENT);
    policy_init_default(&balanced);
    rules_add(&balanced, "void", RULE_ON_RECIPIENT, "void@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    rule.action.kind = SMTP_ACTION_REFUSE;
    rule.action.refusal = smtp_refusal_add(&balanced.refusals, span_of("550 5.7.1 Not from there"), rule.name);
    assert_true(policy_name_network(&balanced, &rule, POLICY_CLIENT, network_of(4, client, 24), false) &&
                policy_name_word(&balanced, &rule, WORD_LOCAL, span_of("told"), false) &&
                policy_name_balancer(&balanced, network_of(4, balancer, 24)) && policy_add_rule(&balanced, &rule) &&
                policy_seal(&balanced));
}

/* A connection that was over, or was being reset, is translated or reset on, and nothing is told of it twice. */
static void test_what_was_over_is_not_told_again(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    struct event event;
    promise_offset(&gateway);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        send(&gateway, (enum smtp_side)side, PACKET_ACK | PACKET_FIN, 0, "");
        gateway.seq[side]++;
        gateway.acked[!side]++;
    }
    out_killed(&gateway);
    assert_int_equal(engine_counters(gateway.engine)->flows_taken_over, 1);
    assert_int_equal(engine_counters(gateway.engine)->flows_resumed, 0);
    assert_false(engine_next_event(gateway.engine, &event));
    end(&gateway);
    free(gateway.records);

    gateway = begin();
    promise_covered(&gateway);
    out_server_unreadable(&gateway); /* which is reset */
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    out_killed(&gateway);
    assert_int_equal(engine_counters(gateway.engine)->flows_taken_over, 1);
    assert_int_equal(engine_counters(gateway.engine)->promises_broken, 0);
    assert_int_equal(engine_counters(gateway.engine)->connections_reset, 0);
    end(&gateway);
    free(gateway.records);
}

/* What the client has not acknowledged may come again for minutes, whichever process is there. */
static void test_what_was_heard_to_its_end_is_soon_forgotten(void **state)
{
    (void)state;
    for (int heard = 0; heard < 2; heard++) {
        struct gateway gateway = begin();
        promise_offset(&gateway);
        for (int turn = 0; turn < 2; turn++) {
            enum smtp_side side = (enum smtp_side)(heard ? !turn : turn); /* the server closes first, or last */
            send(&gateway, side, PACKET_ACK | PACKET_FIN, 0, "");
            gateway.seq[side]++;
            gateway.acked[!side]++;
        }
        out_killed(&gateway);
        gateway.now_us += 61000000;
        engine_tick(gateway.engine, gateway.now_us);
        assert_int_equal(engine_gauges(gateway.engine).flows, heard ? 0 : 1);
        gateway.now_us += 240000000;
        engine_tick(gateway.engine, gateway.now_us);
        assert_int_equal(engine_gauges(gateway.engine).flows, 0);
        end(&gateway);
        free(gateway.records);
    }
}

/* An end that has closed answers a bare acknowledgment, and no RST: whose turn it is outlives the process. */
static void test_resets_take_turns_across_restarts(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    out_server_unreadable(&gateway);
    assert_true(gateway.reset[SMTP_CLIENT]);
    for (int i = 0; i < 4; i++) {
        gateway.reset[SMTP_CLIENT] = false;
        out_killed(&gateway);
        send(&gateway, SMTP_SERVER, PACKET_ACK, 0, "");
        assert_int_equal(gateway.reset[SMTP_CLIENT], i % 2);
    }
    end(&gateway);
    free(gateway.records);
}

/* A reply that is delayed is sent again, and again; each process that takes it over would delay it anew. */
static void test_no_reply_waits_in_two_processes(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    rules.refusals.texts[rules.refusals.count - 1].delay_ms = 5000;
    promise_spoiled(&gateway);
    say(&gateway, SMTP_SERVER, "501 5.1.3 Bad recipient address syntax\r\n");
    assert_null(strstr(gateway.read[SMTP_CLIENT], "501"));
    assert_null(strstr(gateway.read[SMTP_CLIENT], "550"));
    out_killed(&gateway);
    say_again(&gateway, SMTP_SERVER, "501 5.1.3 Bad recipient address syntax\r\n");
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], "550 5.7.1 Not to you\r\n"));
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    size_t read = strlen(gateway.read[SMTP_CLIENT]); /* but the next one waits */
    say(&gateway, SMTP_CLIENT, "RCPT TO:<spoiled@example.com>\r\n");
    say(&gateway, SMTP_SERVER, "501 5.1.3 Bad recipient address syntax\r\n");
    assert_int_equal(strlen(gateway.read[SMTP_CLIENT]), read);
    rules.refusals.texts[rules.refusals.count - 1].delay_ms = 0;
    end(&gateway);
    free(gateway.records);
}

/* Where marks are missing it is counted; the first seconds are those of packets that were in the queue. */
static void test_missing_marks_are_counted(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    gateway.marks = false;
    promise_offset(&gateway);
    say(&gateway, SMTP_CLIENT, "NOOP\r\n");
    assert_int_equal(engine_counters(gateway.engine)->promises_unmarked, 0);
    gateway.now_us += 6000000;
    say(&gateway, SMTP_SERVER, "250 noop\r\n");
    assert_int_equal(engine_counters(gateway.engine)->promises_unmarked, 1);
    /* What is being reset comes without them anyhow: conntrack calls it INVALID. */
    out_server_unreadable(&gateway);
    out_no_record(&gateway);
    gateway.marked = true;
    say(&gateway, SMTP_SERVER, "250 noop\r\n");
    gateway.marked = false;
    gateway.now_us += 6000000;
    say(&gateway, SMTP_SERVER, "250 noop\r\n");
    assert_int_equal(engine_counters(gateway.engine)->promises_unmarked, 0);
    end(&gateway);
    free(gateway.records);
}

/* The server gives up in place of an answer to what was covered, and its second line comes in pieces. */
static void test_a_goodbye_in_lines(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    say(&gateway, SMTP_SERVER, "421-going\r\n");
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    say(&gateway, SMTP_SERVER, "42");
    gateway.now_us += 50000;
    engine_tick(gateway.engine, gateway.now_us);
    carry_out(&gateway, NULL, 0, SMTP_SERVER);
    say_again(&gateway, SMTP_SERVER, "42");
    say(&gateway, SMTP_SERVER, "1 gone\r\n");
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], "421-going\r\n421 gone\r\n"));
    end(&gateway);
    free(gateway.records);
}

/*
 * A line behind a covered DATA comes in more pieces than may wait, so its beginning must leave, which is a reset: the
 * packet that brought it about, behind a gap, gets one verdict, not two.
 */
static void test_who_is_reset_waits_no_more(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_data(&gateway);
    for (uint32_t i = 0; i < gateway.settings.flow_held_max; i++)
        say(&gateway, SMTP_CLIENT, "x");
    gateway.seq[SMTP_CLIENT] += 3;
    say(&gateway, SMTP_CLIENT, "x");
    assert_true(gateway.reset[SMTP_SERVER]);
    assert_int_equal(engine_gauges(gateway.engine).held, 0);
    end(&gateway);
    free(gateway.records);
}

/*
 * The filter is killed between a decision and its verdict: the record has a promise that was never made, for the mark
 * was never set, and while nobody ran the command passed as it came.
 */
static void lose_spoiled(struct gateway *gateway)
{
    say(gateway, SMTP_CLIENT, "MAIL FROM:<a@b.example>\r\n");
    say(gateway, SMTP_SERVER, "250 ok\r\n");
    assert_false(gateway->marked);
    gateway->verdicts_lost = true;
    say(gateway, SMTP_CLIENT, "RCPT TO:<spoiled@example.com>\r\n");
    gateway->verdicts_lost = false;
    end(gateway);
    say_again(gateway, SMTP_CLIENT, "RCPT TO:<spoiled@example.com>\r\n");
    assert_non_null(strstr(gateway->read[SMTP_SERVER], "spoiled@"));
    start(gateway, &rules);
    assert_int_equal(engine_counters(gateway->engine)->flows_taken_over, 1);
    say(gateway, SMTP_SERVER, OK);
}

/* Marks are known to be set: then nothing was promised. */
static void test_a_lost_verdict_promised_nothing(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    say(&gateway, SMTP_SERVER, "250 This is as long as the 504\r\n");
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    lose_spoiled(&gateway);
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], OK));
    say(&gateway, SMTP_CLIENT, "DATA\r\n");
    assert_non_null(strstr(gateway.read[SMTP_SERVER], "DATA\r\n"));
    assert_false(gateway.marked);
    end(&gateway);
    free(gateway.records);
}

/* Nobody has seen one: it may have been made, and kept for others to break. */
static void test_a_lost_verdict_in_doubt(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    say_hello(&gateway, PLAIN);
    lose_spoiled(&gateway);
    assert_true(gateway.reset[SMTP_CLIENT]);
    assert_null(strstr(gateway.read[SMTP_CLIENT], "550"));
    assert_int_equal(engine_counters(gateway.engine)->promises_broken, 1);
    end(&gateway);
    free(gateway.records);
}

/*
 * The same of a keyword that was to be stripped, in a reply of which a part of a line has left, so that numbers would
 * only be translated: they would be moved, though nothing was taken out.
 */
static void test_a_lost_offset_in_doubt(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    say(&gateway, SMTP_SERVER, "220 host\r\n");
    say(&gateway, SMTP_CLIENT, "EHLO x\r\n");
    say(&gateway, SMTP_SERVER, "250-host\r\n");
    gateway.verdicts_lost = true;
    say(&gateway, SMTP_SERVER, "250-XEXCH50\r\n250-CHU");
    gateway.now_us += 50000;
    engine_tick(gateway.engine, gateway.now_us);
    carry_out(&gateway, NULL, 0, SMTP_SERVER);
    gateway.verdicts_lost = false;
    end(&gateway);
    say_again(&gateway, SMTP_SERVER, "250-XEXCH50\r\n250-CHU");
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    start(&gateway, &rules);
    assert_int_equal(engine_counters(gateway.engine)->flows_taken_over, 1);
    say(&gateway, SMTP_SERVER, "NKING\r\n250 last\r\n");
    assert_true(gateway.reset[SMTP_CLIENT]);
    end(&gateway);
    free(gateway.records);
}

/* Without marks packets passed while nobody ran: who acknowledges what nobody sent here is reset, not misread. */
static void test_without_marks_what_passed_unseen_ends_it(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    gateway.marks = false;
    make_void(&gateway, "250 2.1.5 Acceptable\r\n"); /* as long as the refusal */
    end(&gateway);
    say(&gateway, SMTP_CLIENT, "RSET\r\n");
    say(&gateway, SMTP_SERVER, "250 reset\r\n");
    start(&gateway, &rules);
    say(&gateway, SMTP_CLIENT, "MAIL FROM:<a@b.example>\r\n");
    assert_true(gateway.reset[SMTP_SERVER]);
    assert_int_equal(engine_counters(gateway.engine)->promises_broken, 1);
    end(&gateway);
    free(gateway.records);
}

/* Who cannot see the connection cannot end it, whatever he forges to a process that has just taken it over. */
static void test_forged_acknowledgments_end_nothing(void **state)
{
    (void)state;
    static const uint32_t far_ahead[][2] = {{0, 1u << 30}, {1u << 30, 100}, {3u << 30, 100}, {1u << 30, 1u << 30}};
    for (size_t i = 0; i < sizeof far_ahead / sizeof far_ahead[0]; i++) {
        struct gateway gateway = begin();
        promise_void(&gateway);
        out_killed(&gateway);
        for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
            forge(&gateway, (enum smtp_side)side, PACKET_ACK, far_ahead[i][0], far_ahead[i][1]);
        assert_int_equal(engine_counters(gateway.engine)->promises_broken, 0);
        go_on_void(&gateway);
        judge_void(&gateway);
        say(&gateway, SMTP_SERVER, "250 2.0.0 Ok\r\n");
        assert_non_null(strstr(gateway.read[SMTP_CLIENT], "450 4.2.0 Greylisted\r\n450 4.2.0"));
        assert_false(gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER]);
        end(&gateway);
        free(gateway.records);
    }
}

/* Nor can he take away what only we can send again, where nothing but the streams is followed. */
static void test_forged_acknowledgments_take_nothing_away(void **state)
{
    (void)state;
    policy_set_lost(&rules, POLICY_LOST_PASS);
    struct gateway gateway = begin();
    promise_unread(&gateway);
    out_server_unreadable(&gateway);
    out_killed(&gateway);
    assert_int_equal(engine_counters(gateway.engine)->flows_taken_over, 1);
    assert_int_equal(engine_counters(gateway.engine)->flows_resumed, 0);
    forge(&gateway, SMTP_CLIENT, PACKET_ACK, 1u << 30, 200);
    say_again(&gateway, SMTP_SERVER, OK "this is no reply\r\n");
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], "504 "));
    judge_covered(&gateway);
    end(&gateway);
    policy_set_lost(&rules, POLICY_LOST_CLOSE);
    free(gateway.records);
}

/* Nor do octets of his, held or passed, move the streams where nobody reads them. */
static void test_forged_octets_are_not_followed(void **state)
{
    (void)state;
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        struct gateway gateway = begin();
        say_hello(&gateway, OFFER);
        for (int round = 0; round < 2; round++) {
            for (int side = SMTP_CLIENT; side <= SMTP_SERVER && round == encrypted; side++)
                send(&gateway, (enum smtp_side)side, PACKET_ACK, (uint32_t) - (1 << 30), "QUIT\r\n");
            if (round == 0) {
                say(&gateway, SMTP_CLIENT, "STARTTLS\r\n");
                say(&gateway, SMTP_SERVER, "220 go\r\n");
                say(&gateway, SMTP_CLIENT, "\x16\x03\x01 hello");
                say(&gateway, SMTP_SERVER, "\x16\x03\x03 hello");
            }
        }
        out_killed(&gateway);
        say(&gateway, SMTP_CLIENT, "\x17 what follows");
        say(&gateway, SMTP_SERVER, "\x17 what follows");
        for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
            assert_non_null(strstr(gateway.read[side], "\x17 what follows"));
        assert_int_equal(engine_counters(gateway.engine)->bad_acknowledgment, 0);
        assert_false(gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER]);
        end(&gateway);
        free(gateway.records);
    }
}

/* Nor once either end was heard of: it is not as if something had passed unseen, even if both numbers are right. */
static void test_what_was_heard_went_not_unseen(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_void(&gateway);
    out_killed(&gateway);
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    forge(&gateway, SMTP_CLIENT, PACKET_ACK, 0, 100);
    assert_int_equal(engine_counters(gateway.engine)->bad_acknowledgment, 1);
    assert_int_equal(engine_counters(gateway.engine)->promises_broken, 0);
    end(&gateway);
    free(gateway.records);
}

/* The filter ended right behind the packet that made the promise. The mark says that it left: nothing passed by. */
static void test_marked_is_promised_even_at_the_last_moment(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    assert_true(gateway.marked);
    out_killed(&gateway);
    forge(&gateway, SMTP_CLIENT, PACKET_ACK, 0, 100); /* the client's own word */
    go_on_covered(&gateway);
    judge_covered(&gateway);
    assert_int_equal(engine_counters(gateway.engine)->flows_unedited, 0);
    end(&gateway);
    free(gateway.records);
}

/* The process ends before the packet leaves that makes the promise. Sent again it passes by, and so do the replies. */
static void test_what_never_left_promised_nothing(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    say(&gateway, SMTP_SERVER, "250 This is as long as the 504\r\n");
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, "");
    assert_false(gateway.marked);
    gateway.verdicts_lost = true;
    say(&gateway, SMTP_CLIENT, "XEXCH50 1904 2\r\n");
    send(&gateway, SMTP_CLIENT, PACKET_ACK, 0, ""); /* more of it, in the same batch */
    gateway.verdicts_lost = false;
    end(&gateway);
    say_again(&gateway, SMTP_CLIENT, "XEXCH50 1904 2\r\n");
    assert_non_null(strstr(gateway.read[SMTP_SERVER], "XEXCH50"));
    start(&gateway, &rules);
    say(&gateway, SMTP_SERVER, OK);
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], OK));
    assert_false(gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER]);
    end(&gateway);
    free(gateway.records);
}

/* A SYN opens nothing where the mark says that there is a connection to which something was promised. */
static void test_a_forged_syn_hides_no_promise(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    end(&gateway);
    memset(gateway.records, 0, handover_bytes(FLOWS));
    start(&gateway, &rules);
    forge(&gateway, SMTP_CLIENT, PACKET_SYN, 12345, 0);
    assert_true(gateway.marked);
    go_on_covered(&gateway);
    judge_covered(&gateway);
    assert_true(gateway.reset[SMTP_CLIENT]);
    end(&gateway);
    free(gateway.records);
}

/* Nor does it say that nothing was promised, where it is the first packet that a new process sees. */
static void test_a_forged_syn_ends_no_doubt(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct gateway gateway = begin();
        kinds[i].promise(&gateway);
        out_killed(&gateway);
        gateway.marked = false; /* it may even have an entry of conntrack's own */
        forge(&gateway, SMTP_CLIENT, PACKET_SYN, 12345, 0);
        gateway.marked = true;
        kinds[i].go_on(&gateway);
        kinds[i].judge(&gateway);
        assert_int_equal(engine_counters(gateway.engine)->flows_unedited, 0);
        end(&gateway);
        free(gateway.records);
    }
}

/* An acknowledgment of nothing ends here: it hides nothing that begins behind it, and hurts nothing. */
static void test_what_begins_behind_nothing_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct gateway gateway = prepare();
        gateway.elsewhere = true;
        forge(&gateway, SMTP_CLIENT, PACKET_ACK, 1u << 30, 1u << 30);
        assert_int_equal(engine_counters(gateway.engine)->connection_unknown, 1);
        shake_hands(&gateway);
        gateway.elsewhere = false;
        kinds[i].promise(&gateway);
        assert_true(gateway.marked);
        kinds[i].go_on(&gateway);
        kinds[i].judge(&gateway);
        assert_false(gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER]);
        end(&gateway);
        free(gateway.records);
    }
}

/* Without its mark the kernel still knows that a connection began elsewhere: what was promised to it is not known. */
static void test_what_began_elsewhere_is_reset(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct gateway gateway = begin();
        kinds[i].promise(&gateway);
        gateway.marked = false;
        gateway.elsewhere = true;
        out_no_record(&gateway);
        kinds[i].go_on(&gateway);
        kinds[i].judge(&gateway);
        assert_true(gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER]);
        end(&gateway);
        free(gateway.records);
    }
}

/* But what this engine follows it goes on with, though the kernel has forgotten it; and a dry run resets nothing. */
static void test_what_is_known_or_only_observed_goes_on(void **state)
{
    (void)state;
    struct gateway gateway = begin();
    promise_covered(&gateway);
    gateway.marked = false;
    gateway.elsewhere = true;
    go_on_covered(&gateway);
    judge_covered(&gateway);
    assert_false(gateway.reset[SMTP_CLIENT] || gateway.reset[SMTP_SERVER]);
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], "504 "));
    end(&gateway);
    free(gateway.records);
    gateway = begin();
    say_hello(&gateway, PLAIN);
    gateway.elsewhere = rules.dry_run = true;
    out_no_record(&gateway);
    say(&gateway, SMTP_SERVER, OK);
    assert_non_null(strstr(gateway.read[SMTP_CLIENT], OK));
    rules.dry_run = false;
    end(&gateway);
    free(gateway.records);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_promise_on_each_way_out),
        cmocka_unit_test(test_the_mark_is_given_back),
        cmocka_unit_test(test_other_rules_defer),
        cmocka_unit_test(test_the_next_process_reads_on),
        cmocka_unit_test(test_the_next_process_knows_the_client),
        cmocka_unit_test(test_what_was_over_is_not_told_again),
        cmocka_unit_test(test_what_was_heard_to_its_end_is_soon_forgotten),
        cmocka_unit_test(test_resets_take_turns_across_restarts),
        cmocka_unit_test(test_no_reply_waits_in_two_processes),
        cmocka_unit_test(test_missing_marks_are_counted),
        cmocka_unit_test(test_a_goodbye_in_lines),
        cmocka_unit_test(test_who_is_reset_waits_no_more),
        cmocka_unit_test(test_a_lost_verdict_promised_nothing),
        cmocka_unit_test(test_a_lost_verdict_in_doubt),
        cmocka_unit_test(test_a_lost_offset_in_doubt),
        cmocka_unit_test(test_without_marks_what_passed_unseen_ends_it),
        cmocka_unit_test(test_forged_acknowledgments_end_nothing),
        cmocka_unit_test(test_forged_acknowledgments_take_nothing_away),
        cmocka_unit_test(test_forged_octets_are_not_followed),
        cmocka_unit_test(test_what_was_heard_went_not_unseen),
        cmocka_unit_test(test_marked_is_promised_even_at_the_last_moment),
        cmocka_unit_test(test_what_never_left_promised_nothing),
        cmocka_unit_test(test_a_forged_syn_hides_no_promise),
        cmocka_unit_test(test_a_forged_syn_ends_no_doubt),
        cmocka_unit_test(test_what_begins_behind_nothing_is_read),
        cmocka_unit_test(test_what_began_elsewhere_is_reset),
        cmocka_unit_test(test_what_is_known_or_only_observed_goes_on),
    };
    policy_init_default(&rules);
    rules_add(&rules, "void", RULE_ON_RECIPIENT, "void@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    rules_add(&rules, "spoil", RULE_ON_RECIPIENT, "spoiled@*", SMTP_ACTION_REFUSE, "550 5.7.1 Not to you");
    prepare_balanced();
    policy_init_default(&other_rules);
    rules_add(&other_rules, "another", RULE_ON_RECIPIENT, "another@*", SMTP_ACTION_REFUSE, "554 5.7.1 Something else");
    rules_add(&other_rules, "more", RULE_ON_RECIPIENT, "more@*", SMTP_ACTION_REFUSE, "553 5.7.1 Something else");
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("promise", tests, NULL, NULL);
}
