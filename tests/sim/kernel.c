#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/segment.h"

enum { BATCH = 8, STRANGER_TOKEN = 0, LAYOUT_AT = 16 };

/* ---- verdicts ---- */

static uint16_t port_of(const uint8_t *bytes, uint32_t len)
{
    struct packet packet;
    uint8_t copy[2048];
    if (len > sizeof copy)
        return 0;
    memcpy(copy, bytes, len);
    if (packet_parse(&packet, copy, len) != PACKET_TCP)
        return 0;
    uint16_t port = packet.source_port == 25 ? packet.destination_port : packet.source_port;
    return port >= KERNEL_PORT && port < KERNEL_PORT + KERNEL_PORTS ? (uint16_t)(port - KERNEL_PORT) : 0;
}

static void carry_out(struct kernel *kernel, const struct kernel_verdict *verdict)
{
    struct kernel_packet *packet = &kernel->packets[verdict->token];
    uint16_t port = port_of(packet->bytes, packet->len);
    if (verdict->action == ENGINE_ACCEPT) {
        /* The mark of the packet becomes its connection's, be it the verdict's or the one it came with. */
        if (verdict->mark_class != ENGINE_MARK_NONE)
            kernel->marks[port] = verdict->mark_class;
        else if (packet->promised)
            kernel->marks[port] = ENGINE_MARK_PROMISED;
        kernel->tracked[port] = true;
        kernel->plan.leave(kernel->plan.context, packet->side, verdict->bytes, verdict->len);
    } else {
        free(verdict->bytes);
    }
    free(packet->bytes);
    packet->bytes = NULL;
}

static void flush(struct kernel *kernel)
{
    for (uint32_t i = 0; i < kernel->verdict_count; i++)
        carry_out(kernel, &kernel->verdicts[i]);
    kernel->verdict_count = 0;
}

static void take_verdicts(struct kernel *kernel)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(kernel->engine, &verdict)) {
        if (verdict.token == STRANGER_TOKEN)
            continue;
        const struct kernel_packet *packet = &kernel->packets[verdict.token];
        if (kernel->verdict_count == KERNEL_QUEUE_MAX || !packet->bytes) {
            fault_note(kernel->fault, "packet %llu got a second verdict, or there are too many",
                       (unsigned long long)verdict.token);
            continue;
        }
        struct span out = verdict.edited ? verdict.packet : (struct span){packet->bytes, packet->len};
        uint8_t *bytes = malloc(out.len);
        memcpy(bytes, out.ptr, out.len);
        kernel->verdicts[kernel->verdict_count++] =
            (struct kernel_verdict){verdict.token, verdict.action, verdict.mark_class, bytes, (uint32_t)out.len};
    }
}

static void take_questions(struct kernel *kernel, int64_t now_us)
{
    struct question question;
    struct finding finding = {0};
    int64_t delay_us = 0;
    while (engine_next_question(kernel->engine, &question)) {
        bool answered = kernel->plan.ask(kernel->plan.context, &question, &finding, &delay_us);
        if (!answered || kernel->answer_count == KERNEL_WAITS)
            continue;
        kernel->answers[kernel->answer_count].id = question.id;
        kernel->answers[kernel->answer_count].finding = finding;
        kernel->answers[kernel->answer_count++].due_us = now_us + delay_us;
    }
}

static void take_all(struct kernel *kernel, int64_t now_us)
{
    take_verdicts(kernel);
    take_questions(kernel, now_us);
}

/* ---- engines ---- */

static void start(struct kernel *kernel, const struct engine_settings *settings, const struct policy *policy)
{
    kernel->engine = engine_init(kernel->memory, settings, policy);
    kernel->tokens = kernel->served = 0;
    kernel->service_us = 0;
    kernel->answer_count = 0;
}

static void forget_connections(struct kernel *kernel)
{
    memset(kernel->marks, 0, sizeof kernel->marks);
    memset(kernel->tracked, 0, sizeof kernel->tracked);
}

void kernel_init(struct kernel *kernel, const struct kernel_plan *plan, struct random_source *random,
                 struct fault *fault)
{
    kernel_fini(kernel);
    kernel->plan = *plan;
    kernel->random = random;
    kernel->fault = fault;
    kernel->sum = (struct engine_counters){0};
    kernel->strangers = 0;
    kernel->other_rules = false;
    forget_connections(kernel);
    size_t bytes = engine_bytes(&plan->engine), last_bytes = engine_bytes(&plan->last_engine);
    kernel->memory_bytes = ((bytes > last_bytes ? bytes : last_bytes) + 63) / 64 * 64;
    kernel->memory = aligned_alloc(64, kernel->memory_bytes);
    memset(kernel->memory, 0, kernel->memory_bytes);
    kernel->records = calloc(1, handover_bytes(plan->engine.flows_max));
    start(kernel, &plan->engine, plan->policy);
    handover_begin(kernel->engine, kernel->records);
}

static void add_counters(struct engine_counters *sum, const struct engine_counters *more)
{
    sum->promises_unknown += more->promises_unknown;
    sum->promises_broken += more->promises_broken;
    sum->promises_unmarked += more->promises_unmarked;
    sum->flows_taken_over += more->flows_taken_over;
    sum->flows_resumed += more->flows_resumed;
    sum->flows_created += more->flows_created;
    sum->flows_evicted += more->flows_evicted;
    sum->flows_midstream += more->flows_midstream;
    sum->flows_unedited += more->flows_unedited;
    sum->flows_released += more->flows_released;
    sum->commands_refused += more->commands_refused;
    sum->replies_replaced += more->replies_replaced;
    sum->keywords_stripped += more->keywords_stripped;
    sum->connections_closed += more->connections_closed;
    sum->connections_reset += more->connections_reset;
    sum->tarpits += more->tarpits;
    sum->questions += more->questions;
    sum->unplaced += more->unplaced;
    sum->out_of_bounds += more->out_of_bounds;
}

struct engine_counters kernel_counters(const struct kernel *kernel)
{
    struct engine_counters sum = kernel->sum;
    if (kernel->engine)
        add_counters(&sum, engine_counters(kernel->engine));
    return sum;
}

static void drop_all(struct kernel *kernel)
{
    for (uint32_t i = 0; i < kernel->verdict_count; i++)
        free(kernel->verdicts[i].bytes);
    kernel->verdict_count = 0;
    for (uint64_t token = 1; token <= kernel->tokens; token++) {
        free(kernel->packets[token].bytes);
        kernel->packets[token].bytes = NULL;
    }
    kernel->tokens = kernel->served = 0;
}

void kernel_end(struct kernel *kernel, bool killed, int64_t now_us)
{
    if (!killed) {
        engine_stop(kernel->engine, now_us);
        take_verdicts(kernel);
        flush(kernel);
        for (uint64_t token = 1; token <= kernel->served; token++)
            if (kernel->packets[token].bytes)
                fault_note(kernel->fault, "packet %llu got no verdict", (unsigned long long)token);
    } else {
        /* The kernel has read some of the verdicts, or all, or none. */
        uint32_t carried = random_below(kernel->random, kernel->verdict_count + 1);
        for (uint32_t i = 0; i < carried; i++)
            carry_out(kernel, &kernel->verdicts[i]);
        memmove(kernel->verdicts, kernel->verdicts + carried,
                (kernel->verdict_count - carried) * sizeof kernel->verdicts[0]);
        kernel->verdict_count -= carried;
    }
    add_counters(&kernel->sum, engine_counters(kernel->engine));
    drop_all(kernel);
    kernel->engine = NULL;
}

void kernel_start(struct kernel *kernel, enum kernel_heir heir, bool last, int64_t now_us)
{
    size_t bytes = handover_bytes(kernel->plan.engine.flows_max);
    uint8_t *before = kernel->records;
    kernel->records = calloc(1, bytes);
    if (heir == KERNEL_HEIR_OTHER_RULES)
        kernel->other_rules = !kernel->other_rules;
    memset(kernel->memory, 0, kernel->memory_bytes);
    start(kernel, last ? &kernel->plan.last_engine : &kernel->plan.engine,
          kernel->other_rules ? kernel->plan.other_policy : kernel->plan.policy);
    handover_begin(kernel->engine, kernel->records);
    for (size_t at = LAYOUT_AT; heir == KERNEL_HEIR_OTHER_LAYOUT && at < bytes; at += HANDOVER_COPY_BYTES)
        before[at] ^= 1;
    if (heir == KERNEL_HEIR_NO_MARKS)
        forget_connections(kernel);
    else if (heir != KERNEL_HEIR_NO_RECORD)
        engine_take_over(kernel->engine, before, bytes, now_us);
    free(before);
    take_all(kernel, now_us);
    flush(kernel);
}

void kernel_reload(struct kernel *kernel)
{
    kernel->other_rules = !kernel->other_rules;
    if (!engine_use_policy(kernel->engine, kernel->other_rules ? kernel->plan.other_policy : kernel->plan.policy))
        kernel->other_rules = !kernel->other_rules;
}

void kernel_crowd(struct kernel *kernel, uint32_t connections, int64_t now_us)
{
    for (uint32_t i = 0; i < connections; i++) {
        struct segment segment = {.ip_version = 4,
                                  .source = 9,
                                  .destination = 2,
                                  .source_port = (uint16_t)(1024 + kernel->strangers++),
                                  .destination_port = 25,
                                  .flags = PACKET_SYN,
                                  .window = 60000};
        uint32_t len;
        uint8_t *bytes = segment_build(&segment, &len);
        struct engine_packet packet = {.bytes = bytes, .len = len, .room = len, .token = STRANGER_TOKEN};
        engine_packet(kernel->engine, &packet, now_us);
        take_all(kernel, now_us);
        free(bytes);
    }
    flush(kernel);
}

/* ---- packets ---- */

void kernel_arrive(struct kernel *kernel, int side, uint8_t *bytes, uint32_t len, int64_t now_us)
{
    struct packet packet;
    uint16_t port = port_of(bytes, len);
    bool tcp = packet_parse(&packet, bytes, len) == PACKET_TCP;
    if (tcp && packet.flags & PACKET_SYN && kernel->marks[port] == ENGINE_MARK_RELEASED)
        kernel->marks[port] = ENGINE_MARK_NONE;
    bool promised = kernel->marks[port] == ENGINE_MARK_PROMISED;
    bool elsewhere = tcp && !kernel->tracked[port] && !(packet.flags & (PACKET_SYN | PACKET_RST));
    if (kernel->marks[port] == ENGINE_MARK_RELEASED || (!kernel->engine && !promised && !elsewhere)) {
        kernel->tracked[port] = true;
        kernel->plan.leave(kernel->plan.context, side, bytes, len);
        return;
    }
    if (!kernel->engine || kernel->tokens + 1 >= KERNEL_TOKENS_MAX) {
        if (kernel->engine)
            fault_note(kernel->fault, "too many packets: no end in sight");
        free(bytes);
        return;
    }
    kernel->packets[++kernel->tokens] = (struct kernel_packet){bytes, len, side, promised, elsewhere};
    if (!kernel->service_us)
        kernel->service_us = now_us + random_below(kernel->random, (uint32_t)kernel->plan.service_us + 1);
}

bool kernel_tracks(const struct kernel *kernel, const struct packet *packet)
{
    return kernel->tracked[port_of(packet->bytes, packet->len)];
}

static void serve(struct kernel *kernel, int64_t now_us)
{
    uint64_t token = ++kernel->served;
    const struct kernel_packet *packet = &kernel->packets[token];
    uint8_t *bytes = malloc(packet->len);
    memcpy(bytes, packet->bytes, packet->len);
    struct engine_packet at_engine = {.bytes = bytes,
                                      .len = packet->len,
                                      .room = packet->len,
                                      .token = token,
                                      .checksum = ENGINE_CHECKSUM_UNSEEN,
                                      .marked_promised = packet->promised,
                                      .marked_elsewhere = packet->elsewhere};
    engine_packet(kernel->engine, &at_engine, now_us);
    take_all(kernel, now_us);
    free(bytes);
}

void kernel_serve_halfway(struct kernel *kernel, int64_t now_us)
{
    for (int i = 0; i < BATCH && kernel->served < kernel->tokens; i++)
        serve(kernel, now_us);
}

static bool answer_one(struct kernel *kernel, int64_t now_us)
{
    for (uint32_t i = 0; i < kernel->answer_count; i++) {
        if (kernel->answers[i].due_us > now_us)
            continue;
        uint64_t id = kernel->answers[i].id;
        struct finding finding = kernel->answers[i].finding;
        kernel->answers[i] = kernel->answers[--kernel->answer_count];
        engine_answer(kernel->engine, id, finding, now_us);
        take_all(kernel, now_us);
        return true;
    }
    return false;
}

void kernel_turn(struct kernel *kernel, int64_t now_us)
{
    if (!kernel->engine)
        return;
    if (kernel->service_us && kernel->service_us <= now_us) {
        kernel_serve_halfway(kernel, now_us);
        kernel->service_us = kernel->served < kernel->tokens ? now_us + 1 : 0;
        flush(kernel);
    }
    if (engine_next_due(kernel->engine) <= now_us) {
        engine_tick(kernel->engine, now_us);
        take_all(kernel, now_us);
        flush(kernel);
    }
    while (answer_one(kernel, now_us))
        flush(kernel);
}

int64_t kernel_due(const struct kernel *kernel)
{
    if (!kernel->engine)
        return INT64_MAX;
    int64_t at = engine_next_due(kernel->engine);
    at = kernel->service_us && kernel->service_us < at ? kernel->service_us : at;
    for (uint32_t i = 0; i < kernel->answer_count; i++)
        at = kernel->answers[i].due_us < at ? kernel->answers[i].due_us : at;
    return at;
}

void kernel_fini(struct kernel *kernel)
{
    drop_all(kernel);
    free(kernel->memory);
    free(kernel->records);
    kernel->memory = NULL;
    kernel->records = NULL;
    kernel->engine = NULL;
}
