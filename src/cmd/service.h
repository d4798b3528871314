/*
 * cmd/service - what runs beside the workers: signals, requests of the administrator, and the end of it all.
 *
 * In:     signals (SIGTERM and SIGINT end it, SIGHUP reads the rules again, SIGUSR1 opens the event file anew);
 *         requests on the control socket: status, reload, reopen.
 * Out:    answers in JSON: `code` as an exit code, `message` for people, and of a status its `status`.
 * Owner:  who fills the structure owns all that it names.
 * Thread: the main one.
 */
#ifndef POSTERN_CMD_SERVICE_H
#define POSTERN_CMD_SERVICE_H

#include <jansson.h>

#include "cmd/figures.h"
#include "cmd/late_store.h"
#include "cmd/queues.h"
#include "cmd/rules.h"
#include "cmd/worker.h"
#include "io/queue_rules.h"
#include "report/log.h"
#include "sys/control.h"

#define SERVICE_FOLDER       "/run/postern"
#define SERVICE_CONTROL_PATH SERVICE_FOLDER "/control"

enum { SERVICE_ANSWER_MS = 500 }; /* how long a worker may be busy before it describes itself */

struct metrics;

/* What was said of a counter, so that it is not said too often. */
struct told {
    uint64_t count;
    int64_t at_us;
};

/* What is known of the rules that send packets to the queues. */
struct rules_seen {
    int64_t looked_us;                  /* the last time */
    bool seen[QUEUE_RULES_FAMILIES];    /* there were some */
    bool missing[QUEUE_RULES_FAMILIES]; /* there are none any more, or there never were any of either family */
    bool told_none;                     /* that there never were any was said */
};

struct service {
    struct queues queues;
    struct worker *workers[QUEUES_WORKERS_MAX];
    struct log *log;     /* NULL: none */
    struct store *store; /* NULL: none */
    struct watch *watch;
    bool store_faulty;       /* it was said that it fails */
    struct late_store *late; /* NULL: the store is open, or there is none; else `store` stands in for it */
    struct control *control; /* NULL: none */
    struct metrics *metrics; /* NULL: none */
    struct rules *rules;
    bool reload_failed;  /* the last one; the rules from before hold */
    int64_t reloaded_us; /* when the rules in use were read; the start counts */
    int64_t began_us;
    struct told descriptors, offsets;
    struct queue_rules *queue_rules; /* NULL: not looked at */
    struct rules_seen rules_seen;
    int signals; /* signalfd */
    int ended;   /* eventfd: a worker failed */
};

/* Open `ended`; workers are told of it. False where that fails. */
bool service_open(struct service *service);

/* Block the signals and open their descriptor; before any thread is made that takes signals. False where that fails. */
bool service_take_signals(struct service *service);

/* Serve until a signal ends it (0), or a worker or a descriptor fails (1). */
int service_run(struct service *service);

/* What all workers say of themselves, added up. */
void service_ask_workers(struct service *service, struct worker_status *sum);

/* Guarded mail is counted in the store, too. False where there is no memory. */
bool service_share_guard(struct service *service);

/* What there is once. */
struct common_status service_common(const struct service *service);

/* The service in JSON, as `postern status --json` prints it. */
json_t *service_describe(struct service *service);

#endif
