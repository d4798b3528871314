/*
 * tests/sim/kernel - the kernel of a gateway and the engines that come and go there: a queue, the marks of connections,
 * what passes by while nobody listens.
 *
 * In:     packets as they arrive, ways in which an engine ends and the next one begins, the time.
 * Out:    packets as they leave, through `leave`; questions, through `ask`.
 * Owner:  kernel_arrive takes the packet over, `leave` what leaves.
 * Note:   a mark is set as a verdict is carried out, and is on a packet as it enters the queue, as by the rules of
 *         `postern setup`: RELEASED passes by, until a SYN; PROMISED does not pass while nobody listens, and on its
 *         packets it says so. Nor does the first packet that conntrack sees of a connection, where it is no SYN. Who
 *         is killed loses the verdicts that were not carried out, and what is in the queue.
 * Limits: KERNEL_PORTS connections at once, KERNEL_TOKENS_MAX packets an engine.
 */
#ifndef POSTERN_TESTS_KERNEL_H
#define POSTERN_TESTS_KERNEL_H

#include <stddef.h>

#include "../lib/random.h"
#include "engine/engine.h"
#include "engine/handover.h"
#include "fault.h"
#include "tcp/packet.h"

enum {
    KERNEL_PORT = 40000,
    KERNEL_PORTS = 2000,
    KERNEL_TOKENS_MAX = 60000,
    KERNEL_QUEUE_MAX = 4096,
    KERNEL_WAITS = 64
};

/* What the next engine has of the one before. */
enum kernel_heir {
    KERNEL_HEIR_RECORD,
    KERNEL_HEIR_OTHER_RULES,  /* the record, other rules */
    KERNEL_HEIR_OTHER_LAYOUT, /* a record that it does not understand */
    KERNEL_HEIR_NO_RECORD,    /* a second gateway, or the state folder was lost: the marks alone */
    KERNEL_HEIR_NO_MARKS,     /* a second gateway whose conntrack was told nothing */
    KERNEL_HEIRS
};

struct kernel_packet {
    uint8_t *bytes; /* NULL: it has its verdict, or was dropped */
    uint32_t len;
    int side; /* whose packet: 0 the client's, 1 the server's */
    bool promised, elsewhere;
};

/* A verdict that was given, and not carried out yet. */
struct kernel_verdict {
    uint64_t token;
    enum engine_action action;
    enum engine_mark_class mark_class;
    uint8_t *bytes;
    uint32_t len;
};

typedef void kernel_leave_fn(void *context, int side, uint8_t *packet, uint32_t len);
/* False: it is never answered. */
typedef bool kernel_ask_fn(void *context, const struct question *question, struct finding *finding, int64_t *delay_us);

struct kernel_plan {
    struct engine_settings engine;
    struct engine_settings last_engine; /* of one that has room and time enough; as many connections as the others */
    const struct policy *policy, *other_policy;
    int64_t service_us; /* a packet waits so long in the queue at most */
    kernel_leave_fn *leave;
    kernel_ask_fn *ask;
    void *context;
};

struct kernel {
    struct kernel_plan plan;
    struct engine *engine; /* NULL: nobody listens */
    void *memory;
    size_t memory_bytes;
    uint8_t *records;
    bool other_rules;
    struct kernel_packet packets[KERNEL_TOKENS_MAX]; /* by token */
    uint64_t tokens, served;                         /* those up to `served` were given to the engine */
    int64_t service_us;                              /* when the engine looks again; 0: the queue is empty */
    struct kernel_verdict verdicts[KERNEL_QUEUE_MAX];
    uint32_t verdict_count;
    struct {
        uint64_t id;
        struct finding finding;
        int64_t due_us;
    } answers[KERNEL_WAITS];
    uint32_t answer_count;
    enum engine_mark_class marks[KERNEL_PORTS]; /* of connections, by the client's port */
    bool tracked[KERNEL_PORTS];                 /* a packet of it has left: conntrack knows the connection */
    struct engine_counters sum;                 /* of engines before this one; those that are needed */
    uint16_t strangers;                         /* connections of others so far */
    struct random_source *random;
    struct fault *fault;
};

/* In storage that is zeroed the first time. */
void kernel_init(struct kernel *kernel, const struct kernel_plan *plan, struct random_source *random,
                 struct fault *fault);
void kernel_arrive(struct kernel *kernel, int side, uint8_t *packet, uint32_t len, int64_t now_us);
/* Whether conntrack knows the connection of a packet. */
bool kernel_tracks(const struct kernel *kernel, const struct packet *packet);
void kernel_turn(struct kernel *kernel, int64_t now_us);
int64_t kernel_due(const struct kernel *kernel);
/* The engine looks at the next packet, but its verdicts are not carried out: for those who kill it then. */
void kernel_serve_halfway(struct kernel *kernel, int64_t now_us);
/* It ends, by TERM or killed. */
void kernel_end(struct kernel *kernel, bool killed, int64_t now_us);
/* `last`: with the settings of the last one. */
void kernel_start(struct kernel *kernel, enum kernel_heir heir, bool last, int64_t now_us);
/* Others need the room: so many connections begin. */
void kernel_crowd(struct kernel *kernel, uint32_t connections, int64_t now_us);
/* The rules change. */
void kernel_reload(struct kernel *kernel);
/* Of all engines. */
struct engine_counters kernel_counters(const struct kernel *kernel);
void kernel_fini(struct kernel *kernel);

#endif
