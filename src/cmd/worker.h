/*
 * cmd/worker - one thread that carries packets, verdicts and events between two queues and an engine of its own.
 *
 * In:     packets of its queues; what other threads ask of it.
 * Out:    verdicts; events into its feed.
 * Owner:  the worker owns its queue, its engine and its feed.
 * Thread: worker_new and worker_free before and after the thread; the others from any one thread meanwhile. Workers
 *         share nothing but the policy, which none of them changes.
 * Errors: worker_new says in one line what is wrong. A worker whose queue fails ends by itself, and says so through
 *         `ended`.
 */
#ifndef POSTERN_CMD_WORKER_H
#define POSTERN_CMD_WORKER_H

#include "cmd/answers.h"
#include "cmd/mark.h"
#include "cmd/watch.h"
#include "engine/engine.h"
#include "io/nfqueue.h"
#include "report/feed.h"
#include "sys/resolver.h"

struct log;
struct worker;

struct worker_settings {
    struct nfqueue_settings queues;
    struct engine_settings engine;
    const struct policy *policy;
    struct watch *watch;           /* shared by all */
    struct resolver_client *names; /* who is asked for names of clients */
    uint32_t feeds;                /* its events that are wanted outside, bits 1u << enum event_kind; 0: none */
    struct mark mark;
    const char *offsets; /* the file that keeps what the next process must know; NULL: none */
    int processor;       /* it runs there and nowhere else; -1: anywhere */
    int ended;           /* an eventfd of the caller's, written when the thread ends by itself */
};

/* What a worker says of itself. */
struct worker_status {
    struct engine_counters engine;
    struct engine_gauges gauges;
    struct nfqueue_counters queue;
    struct greylist_counters greylist;
    struct engine_sessions sessions;
    uint64_t rule_hits[RULES_MAX]; /* of the rules in use, by number, since they are */
};

/*
 * Bind the queues, lay out the engine, and take over the connections that the last process promised something. NULL on
 * failure, with a message.
 */
struct worker *worker_new(const struct worker_settings *settings, char *message, size_t message_size);

/* Where its events go: NULL where none are wanted. */
struct feed *worker_feed(const struct worker *worker);

/* Start the thread. `log` is woken where events are wanted. False where no thread can be. */
bool worker_start(struct worker *worker, struct log *log);

/* Ask it to describe itself. False, and *status is as it was the last time, where it did not within `wait_ms`. */
bool worker_ask(struct worker *worker, struct worker_status *status, uint32_t wait_ms);

/* Run `call` in its thread, between two packets, and wait for it. False where its thread has ended. */
bool worker_call(struct worker *worker, void (*call)(struct engine *engine, void *context), void *context);

/*
 * From here on questions are answered by `answers`, which the worker then owns; NULL: by nobody. Those that were under
 * way are as if the store had failed. False where its thread has ended; the caller keeps them.
 */
bool worker_use_answers(struct worker *worker, struct answers *answers);

/* Once: attempts of guarded mail are counted in this store, too. False where there is no memory. */
bool worker_share(struct worker *worker, struct store *store);

/* Ask it to give every packet that waits its verdict, and wait until its thread has ended. */
void worker_stop(struct worker *worker);

/* Unbind its queues, once its thread has ended; after that it is not asked any more. */
void worker_let_go(struct worker *worker);

/* Whether its queue failed. */
bool worker_failed(const struct worker *worker);

/* The thread must have ended. NULL is allowed. */
void worker_free(struct worker *worker);

#endif
