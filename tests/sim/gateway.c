#include "gateway.h"

#include <stdlib.h>
#include <string.h>

/* The engine's packet buffers, at the end of its memory, need no clearing. */
enum { BUFFERS_BYTES = 2 * 65536 };

void gateway_start(struct gateway *gateway, const struct engine_settings *settings, const struct policy *policy,
                   gateway_leave_fn *leave, void *context, struct fault *fault)
{
    size_t bytes = engine_bytes(settings);
    if (bytes > gateway->memory_bytes) {
        free(gateway->memory);
        gateway->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
        gateway->memory_bytes = bytes;
    }
    memset(gateway->memory, 0, bytes - BUFFERS_BYTES);
    gateway->engine = engine_init(gateway->memory, settings, policy);
    gateway->settings = *settings;
    gateway->leave = leave;
    gateway->context = context;
    gateway->fault = fault;
    gateway->tokens = 0;
}

static void leave(struct gateway *gateway, const struct gateway_packet *arrived, const struct engine_verdict *verdict)
{
    struct span out = verdict->edited ? verdict->packet : (struct span){arrived->bytes, arrived->len};
    uint8_t *packet = malloc(out.len);
    memcpy(packet, out.ptr, out.len);
    gateway->leave(gateway->context, arrived, packet, (uint32_t)out.len);
}

void gateway_carry_out(struct gateway *gateway)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(gateway->engine, &verdict)) {
        uint64_t token = verdict.token;
        if (token == 0 || token > gateway->tokens || !gateway->packets[token].bytes) {
            fault_note(gateway->fault, "packet %llu got a second verdict, or never came", (unsigned long long)token);
            continue; /* the engine goes on once all are fetched */
        }
        struct gateway_packet *arrived = &gateway->packets[token];
        if (verdict.action == ENGINE_ACCEPT)
            leave(gateway, arrived, &verdict);
        free(arrived->bytes);
        arrived->bytes = NULL;
    }
    struct engine_gauges gauges = engine_gauges(gateway->engine);
    if (gauges.blocks > gateway->settings.blocks_max || gauges.held > gateway->settings.held_max ||
        gauges.flows > gateway->settings.flows_max)
        fault_note(gateway->fault, "bounds exceeded");
}

void gateway_arrive(struct gateway *gateway, int side, uint8_t *packet, uint32_t len, int64_t now_us)
{
    if (gateway->tokens + 1 >= GATEWAY_TOKENS_MAX) {
        fault_note(gateway->fault, "too many packets: no end in sight");
        free(packet);
        return;
    }
    uint64_t token = ++gateway->tokens;
    gateway->packets[token] = (struct gateway_packet){token, packet, len, side};
    uint8_t *bytes = malloc(len);
    memcpy(bytes, packet, len);
    struct engine_packet at_engine = {
        .bytes = bytes, .len = len, .room = len, .token = token, .checksum = ENGINE_CHECKSUM_UNSEEN};
    engine_packet(gateway->engine, &at_engine, now_us);
    gateway_carry_out(gateway);
    free(bytes);
}

void gateway_tick(struct gateway *gateway, int64_t now_us)
{
    if (engine_next_due(gateway->engine) > now_us)
        return;
    engine_tick(gateway->engine, now_us);
    gateway_carry_out(gateway);
}

static void check_verdicts(struct gateway *gateway)
{
    for (uint64_t token = 1; token <= gateway->tokens; token++) {
        if (gateway->packets[token].bytes)
            fault_note(gateway->fault, "packet %llu got no verdict", (unsigned long long)token);
        free(gateway->packets[token].bytes);
        gateway->packets[token].bytes = NULL;
    }
}

void gateway_stop(struct gateway *gateway, int64_t now_us)
{
    engine_stop(gateway->engine, now_us);
    gateway_carry_out(gateway);
    check_verdicts(gateway);
}

void gateway_run_out(struct gateway *gateway, int64_t now_us)
{
    for (int i = 0; i < 20; i++) {
        engine_tick(gateway->engine, now_us + INT64_C(864000000000) * (i + 1));
        gateway_carry_out(gateway);
    }
    if (engine_counters(gateway->engine)->resend_differs)
        fault_note(gateway->fault, "a resend is said to have had other octets");
    struct engine_gauges gauges = engine_gauges(gateway->engine);
    if (gauges.flows || gauges.held || gauges.blocks)
        fault_note(gateway->fault, "the engine kept %u flows, %u packets, %u blocks", gauges.flows, gauges.held,
                   gauges.blocks);
}

void gateway_fini(struct gateway *gateway)
{
    free(gateway->memory);
    gateway->memory = NULL;
    gateway->memory_bytes = 0;
}
