/*
 * Events of fuzzed packets, and fuzzed events, as lines of JSON. The first octet chooses rules and bounds; then records
 * as in engine_fuzz.c, whose segments are always in order here:
 *
 *     kind   bit 0 who sends, bits 2-3 how long before it, bit 7 the payload is an event (see send_event)
 *     flags  of TCP
 *     2 octets that are not looked at
 *     len    octets of payload
 *     payload
 *
 * Each line is an object in UTF-8, no key twice, with what every record has.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "../lib/rules.h"
#include "../lib/segment.h"
#include "engine/engine.h"
#include "policy/policy.h"
#include "report/json.h"
#include "report/session.h"
#include "smtp/tls.h"

enum { RECORD = 5, RECORDS_MAX = 300, FEW_BYTES = 6000 };

struct world {
    struct engine *engine;
    struct sessions *sessions;
    FILE *out;
    int64_t now_us;
    uint64_t tokens;
    uint32_t seq[2];
};

static struct policy policies[2];

static void add_rule(struct policy *policy, enum rule_event on, const char *match, enum smtp_action_kind kind,
                     const char *line)
{
    rules_add(policy, "caf\xe9 \"rule\"\n", on, match, kind, line);
}

static void fill_policies(void)
{
    policy_init_default(&policies[0]);
    policy_init_default(&policies[1]);
    rules_guard(&policies[1], "*y*", 1000);
    add_rule(&policies[1], RULE_ON_RECIPIENT, "*a*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    add_rule(&policies[1], RULE_ON_RECIPIENT, "*e*", SMTP_ACTION_REFUSE, "550 5.7.1 No");
    add_rule(&policies[1], RULE_ON_SENDER, "*x*", SMTP_ACTION_REFUSE, "450 4.7.1 Not now");
    add_rule(&policies[1], RULE_ON_STARTTLS, NULL, SMTP_ACTION_REFUSE, "454 4.7.0 Not now");
    add_rule(&policies[1], RULE_ON_COMMAND, "NOOP", SMTP_ACTION_CLOSE, "421 4.7.0 Closing connection");
}

static void write_event(struct world *world, const struct event *event)
{
    MUST(json_write_event(world->out, event));
    MUST(sessions_take(world->sessions, event, world->out));
}

static void take_events(struct world *world)
{
    struct engine_verdict verdict;
    struct event event;
    while (engine_next_verdict(world->engine, &verdict))
        look_at(verdict.packet.ptr, verdict.packet.len);
    while (engine_next_event(world->engine, &event))
        write_event(world, &event);
}

/* An event that no engine may ever tell, in one of four connections. */
static void send_event(struct world *world, struct span payload)
{
    enum { HEAD = 8 };
    static const char *const reasons[] = {"", "closed", "caf\xe9", "\033[31m"};
    if (payload.len < HEAD)
        return;
    const uint8_t *head = payload.ptr;
    struct span text = span_tail(payload, HEAD);
    size_t half = text.len * head[7] / 256;
    static struct tls tls;
    tls_begin(&tls);
    tls_take(&tls, false, span_head(text, half));
    tls_take(&tls, true, span_tail(text, half));
    struct event event = {
        .kind = (enum event_kind)(head[0] % EVENT_KINDS),
        .time_us = world->now_us,
        .flow_id = UINT64_MAX / 2 + head[1] % 4,
        .ip_version = head[1] & 4 ? 6 : 4,
        .from_server = head[1] & 8,
        .lost = (head[1] & 0xf0) == 0xf0,
        .verb = (enum smtp_verb)(head[2] % SMTP_VERBS),
        .exchange = UINT32_MAX - 3 + head[3] % 8,
        .code = (uint16_t)(head[4] * 3),
        .last = head[5] & 1,
        .closes = head[5] & 2,
        .change = (enum event_change)((head[5] >> 2) % 3),
        .octets = 3 + text.len,
        .reason = reasons[head[6] % 4],
        .action = reasons[head[6] / 4 % 2], /* a rule's name, or a word: printable */
        .text = span_head(text, half),
        .shown = span_tail(text, half),
        .sender = text,
        .recipient = span_head(text, half),
        .attempt = head[3] % 8,
        .attempts = 4,
    };
    if (event.kind == EVENT_TLS)
        event.tls = &tls.seen;
    write_event(world, &event);
}

static void send_segment(struct world *world, const uint8_t *record, struct span payload)
{
    bool from_server = record[0] & 1;
    static const int64_t pauses_us[] = {10, 5000, 40000, 4000000};
    world->now_us += pauses_us[record[0] >> 2 & 3];
    engine_tick(world->engine, world->now_us);
    take_events(world);
    struct segment segment = {
        .ip_version = 4,
        .source = from_server ? 2 : 1,
        .destination = from_server ? 1 : 2,
        .source_port = from_server ? 25 : 40000,
        .destination_port = from_server ? 40000 : 25,
        .flags = record[1] & 0x3f,
        .seq = world->seq[from_server],
        .ack = world->seq[!from_server],
        .window = 60000,
        .payload = payload,
    };
    world->seq[from_server] +=
        (uint32_t)payload.len + (uint32_t) !!(segment.flags & PACKET_SYN) + (uint32_t) !!(segment.flags & PACKET_FIN);
    uint32_t len;
    struct engine_packet packet = {.bytes = segment_build(&segment, &len), .token = ++world->tokens};
    packet.len = packet.room = len;
    engine_packet(world->engine, &packet, world->now_us);
    take_events(world);
    free(packet.bytes);
}

static void check_line(const char *line, size_t len)
{
    json_t *record = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    MUST(json_is_object(record));
    const char *type = json_string_value(json_object_get(record, "event_type"));
    MUST(type && json_is_string(json_object_get(record, "timestamp")) &&
         json_is_string(json_object_get(record, "src_ip")));
    if (strcmp(type, "command") == 0 || strcmp(type, "reply") == 0)
        MUST(json_is_string(json_object_get(record, "line")) && json_is_string(json_object_get(record, "change")));
    if (strcmp(type, "smtp") == 0 || strcmp(type, "smtp-session") == 0)
        MUST(json_is_object(json_object_get(record, "postern")) && json_is_object(json_object_get(record, "smtp")));
    if (strcmp(type, "smtp") == 0)
        MUST(json_is_array(json_object_get(json_object_get(record, "postern"), "recipients")));
    for (size_t i = 0; i < len; i++)
        MUST((uint8_t)line[i] >= ' ' && line[i] != 0x7f);
    json_decref(record);
}

static void check_lines(const char *text, size_t len)
{
    const char *end;
    for (; len > 0; len -= (size_t)(end + 1 - text), text = end + 1) {
        end = memchr(text, '\n', len);
        MUST(end != NULL);
        check_line(text, (size_t)(end - text));
    }
}

static struct engine *make_engine(const struct policy *policy)
{
    static void *memory;
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 4;
    settings.blocks_max = 64;
    settings.held_max = 16;
    settings.guarded_max = 8;
    settings.peers = ENGINE_PEERS_RECORDED;
    settings.events = sessions_events();
    size_t bytes = engine_bytes(&settings);
    if (!memory)
        memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    MUST(memory != NULL);
    /* Events, their texts and the packet buffers lie at the end and need no clearing. */
    memset(memory, 0, bytes > 900000 ? bytes - 800000 : bytes);
    return engine_init(memory, &settings, policy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t len = 0;
    if (size < 1)
        return 0;
    if (policies[0].watched == 0)
        fill_policies();
    struct world world = {.now_us = 1000000, .seq = {UINT32_MAX - 20, UINT32_MAX - 50}};
    world.engine = make_engine(&policies[data[0] & 1]);
    world.sessions = sessions_new(data[0] & 2 ? FEW_BYTES : SESSIONS_BYTES_DEFAULT);
    world.out = open_memstream(&text, &len);
    MUST(world.sessions && world.out);

    static const uint8_t handshake[][RECORD] = {
        {0, PACKET_SYN, 0, 0, 0}, {1, PACKET_SYN | PACKET_ACK, 0, 0, 0}, {0, PACKET_ACK, 0, 0, 0}};
    for (int i = 0; i < 3; i++)
        send_segment(&world, handshake[i], (struct span){data, 0});
    struct span rest = {data + 1, size - 1};
    for (int i = 0; i < RECORDS_MAX && rest.len >= RECORD; i++) {
        const uint8_t *record = rest.ptr;
        struct span payload = span_head(span_tail(rest, RECORD), record[4]);
        rest = span_tail(rest, RECORD + payload.len);
        if (record[0] & 0x80)
            send_event(&world, payload);
        else
            send_segment(&world, record, payload);
    }
    engine_stop(world.engine, world.now_us);
    take_events(&world);
    MUST(sessions_stop(world.sessions, world.now_us, world.out));
    MUST(fclose(world.out) == 0);
    check_lines(text, len);
    sessions_free(world.sessions);
    free(text);
    return 0;
}
