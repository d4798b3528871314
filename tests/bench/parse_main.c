/*
 * What a packet of a dialogue costs: SMTP alone (cut, judged, committed), and the whole engine. Prints TAP.
 *
 *   parse_main [--quick]
 *
 * Sessions play bench/script beside each other, so that each finds the caches as the others left them. That the core
 * allocates nothing is tests/core_symbols' to show: it has nothing to call for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/segment.h"
#include "clock.h"
#include "engine/engine.h"
#include "policy/policy.h"
#include "script.h"

enum {
    AT_ONCE = 100,
    MESSAGE_BYTES = 1000,
    SMTP_GOAL_NS = 250,
    ENGINE_GOAL_NS = 400,
    HANDSHAKE = 3,
    CLOSING = 3,
    PACKETS = HANDSHAKE + SCRIPT_ROWS + CLOSING,
    EHLO_REPLY = 2, /* its row in the script */
    STRIPPED = 2,   /* keywords in it */
};

static struct policy policy;
static uint8_t message[MESSAGE_BYTES];

static struct span row_octets(int row)
{
    return script[row].text ? span_of(script[row].text) : (struct span){message, sizeof message};
}

static void fill_message(void)
{
    static const char line[] = "The quick brown fox jumps over the lazy dog, and the dog does not mind.\r\n";
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)line[i % (sizeof line - 1)];
    memcpy(message + sizeof message - 5, "\r\n.\r\n", 5);
}

/* ---- SMTP alone ---- */

static struct smtp_session sessions[AT_ONCE];
static struct pool blocks;
static struct smtp_context context;
static struct smtp_change change; /* of one worker, as the engine's */

static void init_smtp(void)
{
    enum { BLOCK_BYTES = 2048 };
    pool_init(&blocks, calloc(AT_ONCE * 3, BLOCK_BYTES), BLOCK_BYTES, AT_ONCE * 3);
    context = (struct smtp_context){
        .blocks = &blocks, .keywords = &policy.strip, .refusals = &policy.refusals, .verbs = policy.watched};
}

/* Returns the units. */
static uint32_t feed(struct smtp_session *session, enum smtp_side side, struct span octets, uint32_t *changed)
{
    const struct smtp_room room = {.saved = 0, .resize = side == SMTP_SERVER};
    static const struct policy_facts facts;
    struct policy_decision decision;
    struct smtp_unit unit;
    uint32_t units = 0;
    for (; smtp_session_next(session, &context, side, &octets, false, &unit); units++) {
        policy_judge(&policy, &unit, &facts, session->recipients, unit.reply.code, &decision);
        smtp_session_commit(session, &context, &unit, decision.action, room, &change);
        *changed += change.changed;
    }
    return units;
}

/* All sessions, each row in packets of at most `size` octets; nanoseconds a packet. */
static double smtp_ns(size_t size)
{
    uint32_t packets = 0, changed = 0;
    for (int i = 0; i < AT_ONCE; i++)
        smtp_session_init(&sessions[i]);
    uint64_t began = clock_ns();
    for (int row = 0; row < SCRIPT_ROWS; row++)
        for (int i = 0; i < AT_ONCE; i++) {
            struct span octets = row_octets(row);
            for (; octets.len; octets = span_tail(octets, size), packets++)
                feed(&sessions[i], script[row].from, span_head(octets, size), &changed);
        }
    double ns = (double)(clock_ns() - began) / packets;
    for (int i = 0; i < AT_ONCE; i++) {
        if (sessions[i].opaque || sessions[i].ledger.count)
            abort(); /* it lost its way */
        smtp_session_fini(&sessions[i], &blocks);
    }
    if (changed < AT_ONCE * STRIPPED)
        abort();
    return ns;
}

/* ---- the engine ---- */

struct end_to_end {
    uint32_t next[2]; /* by enum smtp_side: sequence number of what it sends next, as it sends it */
    uint32_t seen[2]; /* what it acknowledges */
};

struct prepared {
    uint8_t *bytes;
    uint32_t len;
};

static struct engine *engine;
static int64_t now_us = 1000000;
static uint32_t saved; /* octets that the client does not see of the EHLO reply */
static struct prepared prepared[PACKETS][AT_ONCE];

static void init_engine(void)
{
    struct engine_settings settings = engine_settings_default();
    settings.seed = 0x5eed;
    size_t bytes = (engine_bytes(&settings) + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    if (!memory)
        abort();
    memset(memory, 0, bytes);
    engine = engine_init(memory, &settings, &policy);
}

static struct prepared prepare(struct end_to_end *ends, int session, enum smtp_side from, uint8_t flags,
                               struct span octets)
{
    bool of_server = from == SMTP_SERVER;
    struct segment segment = {
        .source = of_server ? 2 : 1,
        .destination = of_server ? 1 : 2,
        .source_port = of_server ? 25 : (uint16_t)(20000 + session),
        .destination_port = of_server ? (uint16_t)(20000 + session) : 25,
        .flags = flags,
        .seq = ends->next[from],
        .ack = flags & PACKET_ACK ? ends->seen[from] : 0,
        .window = 60000,
        .payload = octets,
    };
    uint32_t len = (uint32_t)octets.len + !!(flags & PACKET_SYN) + !!(flags & PACKET_FIN);
    ends->next[from] += len;
    ends->seen[!from] = flags & PACKET_SYN ? ends->next[from] : ends->seen[!from] + len;
    struct prepared packet;
    packet.bytes = segment_build(&segment, &packet.len);
    return packet;
}

static void prepare_session(int session, uint32_t round)
{
    struct end_to_end ends = {.next = {1000 + round * 100000, 5000 + round * 100000}};
    int at = 0;
    prepared[at++][session] = prepare(&ends, session, SMTP_CLIENT, PACKET_SYN, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_SERVER, PACKET_SYN | PACKET_ACK, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_CLIENT, PACKET_ACK, span_of(""));
    for (int row = 0; row < SCRIPT_ROWS; row++) {
        prepared[at++][session] = prepare(&ends, session, script[row].from, PACKET_ACK | PACKET_PSH, row_octets(row));
        if (row == EHLO_REPLY)
            ends.seen[SMTP_CLIENT] -= saved;
    }
    prepared[at++][session] = prepare(&ends, session, SMTP_SERVER, PACKET_FIN | PACKET_ACK, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_CLIENT, PACKET_FIN | PACKET_ACK, span_of(""));
    prepared[at++][session] = prepare(&ends, session, SMTP_SERVER, PACKET_ACK, span_of(""));
}

/* Give a packet to the engine and take its verdict; returns by how many octets it left shorter. */
static uint32_t pass(const struct prepared *packet)
{
    static uint64_t token;
    struct engine_packet given = {.bytes = packet->bytes, .len = packet->len, .room = packet->len, .token = ++token};
    struct engine_verdict verdict;
    engine_packet(engine, &given, now_us++);
    if (!engine_next_verdict(engine, &verdict) || verdict.action != ENGINE_ACCEPT)
        abort();
    return verdict.edited ? packet->len - (uint32_t)verdict.packet.len : 0;
}

/* What is left of earlier sessions ends. */
static void wait_long(void)
{
    struct engine_verdict verdict;
    now_us += INT64_C(10) * 24 * 3600 * 1000000;
    do
        engine_tick(engine, now_us);
    while (engine_gauges(engine).flows);
    if (engine_next_verdict(engine, &verdict))
        abort();
}

static void release_prepared(void)
{
    for (int at = 0; at < PACKETS; at++)
        for (int i = 0; i < AT_ONCE; i++) {
            free(prepared[at][i].bytes);
            prepared[at][i].bytes = NULL;
        }
}

static void learn_saved(void)
{
    prepare_session(0, 0);
    for (int at = 0; at < HANDSHAKE + EHLO_REPLY; at++)
        if (pass(&prepared[at][0]) != 0)
            abort();
    saved = pass(&prepared[HANDSHAKE + EHLO_REPLY][0]);
    release_prepared();
    wait_long();
}

/* All sessions; nanoseconds a packet from the handshake to the last acknowledgment. */
static double engine_ns(uint32_t round)
{
    for (int i = 0; i < AT_ONCE; i++)
        prepare_session(i, round);
    uint64_t stripped = engine_counters(engine)->keywords_stripped;
    uint64_t began = clock_ns();
    for (int at = 0; at < PACKETS; at++)
        for (int i = 0; i < AT_ONCE; i++)
            pass(&prepared[at][i]);
    double ns = (double)(clock_ns() - began) / (PACKETS * AT_ONCE);
    if (engine_counters(engine)->keywords_stripped - stripped != AT_ONCE * STRIPPED ||
        engine_counters(engine)->flows_unedited)
        abort();
    release_prepared();
    wait_long();
    return ns;
}

/* ---- */

static bool tell(int number, const char *what, double ns, int goal_ns)
{
    bool met = ns <= goal_ns;
    printf("%sok %d - %s: %.0f ns a packet (goal %d)\n", met ? "" : "not ", number, what, ns, goal_ns);
    return met;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 100 : 1000;
    double spoken = 0, octets = 0, whole = 0;
    if (CLOCK_SANITIZED) {
        printf("1..0 # SKIP built with a sanitizer\n");
        return 0;
    }
    policy_init_default(&policy);
    fill_message();
    init_smtp();
    init_engine();
    learn_saved();
    for (int i = 1; i <= rounds; i++) {
        clock_keep_least(&spoken, smtp_ns(MESSAGE_BYTES));
        clock_keep_least(&octets, smtp_ns(1));
        clock_keep_least(&whole, engine_ns((uint32_t)i));
    }
    bool good = tell(1, "SMTP of a dialogue, each command and reply a packet", spoken, SMTP_GOAL_NS);
    good = tell(2, "SMTP of a dialogue, each octet a packet", octets, SMTP_GOAL_NS) && good;
    good = tell(3, "the engine, handshake and closing included", whole, ENGINE_GOAL_NS) && good;
    printf("1..3\n");
    return good ? 0 : 1;
}
