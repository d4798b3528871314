/*
 * tests/sim/gateway - the gateway: an engine, the packets that wait for its verdicts, and those verdicts carried out.
 *
 * In:     packets as they arrive, the time.
 * Out:    packets as they leave, through `leave`.
 * Checks: each packet gets one verdict, and by the end all have theirs; the engine stays in the bounds of its settings,
 *         and keeps nothing in the end.
 * Owner:  gateway_arrive takes the packet over, `leave` what leaves. The engine's memory is kept for the next start.
 * Limits: GATEWAY_TOKENS_MAX packets.
 */
#ifndef POSTERN_TESTS_GATEWAY_H
#define POSTERN_TESTS_GATEWAY_H

#include <stddef.h>

#include "engine/engine.h"
#include "fault.h"

enum { GATEWAY_TOKENS_MAX = 20000 };

struct gateway_packet {
    uint64_t token;
    uint8_t *bytes; /* as it arrived; NULL: it has its verdict */
    uint32_t len;
    int side; /* whose packet: 0 the client's, 1 the server's */
};

typedef void gateway_leave_fn(void *context, const struct gateway_packet *arrived, uint8_t *packet, uint32_t len);

struct gateway {
    struct engine *engine;
    struct engine_settings settings;
    gateway_leave_fn *leave;
    void *context;
    struct fault *fault;
    struct gateway_packet packets[GATEWAY_TOKENS_MAX]; /* by token; none has token 0 */
    uint64_t tokens;
    void *memory; /* the engine's */
    size_t memory_bytes;
};

/* The first time in zeroed storage, then again after each gateway_stop. */
void gateway_start(struct gateway *gateway, const struct engine_settings *settings, const struct policy *policy,
                   gateway_leave_fn *leave, void *context, struct fault *fault);
void gateway_arrive(struct gateway *gateway, int side, uint8_t *packet, uint32_t len, int64_t now_us);
/* Where it is due. */
void gateway_tick(struct gateway *gateway, int64_t now_us);
/* Carry out what the engine has decided; the other functions do that themselves. */
void gateway_carry_out(struct gateway *gateway);
/* Stop the engine: all that came has its verdict now. */
void gateway_stop(struct gateway *gateway, int64_t now_us);
/* And behind that: so much later that all has run out, nothing is kept. */
void gateway_run_out(struct gateway *gateway, int64_t now_us);
/* Give back the memory. */
void gateway_fini(struct gateway *gateway);

#endif
