#include "cmd/worker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/steady.h"
#include "cmd/clock.h"
#include "cmd/cmd.h"
#include "cmd/watcher.h"
#include "engine/handover.h"
#include "report/log.h"
#include "sys/mapping.h"
#include "sys/privileges.h"

enum { BATCHES_A_TURN = 16 }; /* of packets, before timers and requests have theirs */

struct worker {
    struct worker_settings settings;
    struct nfqueue *queue;
    struct engine *engine;
    struct mapping offsets;
    struct answers *answers; /* NULL: nobody answers */
    struct watcher *watcher; /* NULL: guarded mail is counted here alone */
    struct feed *feed;
    struct log *log;
    pthread_t thread;
    bool started;
    bool failed;
    bool cut_short_seen;
    bool unmarked_seen;
    int wake; /* eventfd */
    atomic_bool stop;
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t answer;
    uint64_t asked, answered;
    struct worker_status status;
    void (*call)(struct engine *engine, void *context); /* NULL: nothing to run */
    void *context;
    bool over; /* the thread has ended */
};

/* ---- packets ---- */

/* True where the log has something to read. */
static bool give_event(const struct worker *worker, const struct event *event)
{
    if (event->kind == EVENT_GUARD && event->last)
        watch_complain(event);
    if (worker->feed)
        feed_put(worker->feed, event);
    return worker->feed != NULL;
}

static bool is_worth_telling(struct worker *worker, struct event *event)
{
    if (event->kind != EVENT_GUARD)
        return true;
    return worker->watcher ? watcher_take(worker->watcher, event) : watch_take(worker->settings.watch, event);
}

static void give_events(struct worker *worker)
{
    struct event event;
    bool any = false;
    while (engine_next_event(worker->engine, &event))
        any = (is_worth_telling(worker, &event) && give_event(worker, &event)) || any;
    if (any)
        log_wake(worker->log);
}

/* Events of guarded mail that the store was asked about. */
static void give_watched(struct worker *worker, int64_t now)
{
    struct event event;
    bool any = false;
    while (worker->watcher && watcher_next(worker->watcher, now, &event))
        any = give_event(worker, &event) || any;
    if (any)
        log_wake(worker->log);
}

/* The bits that are ours say what may become of the connection, the others what a rule wants. */
static void give_verdict(struct worker *worker, const struct engine_verdict *verdict)
{
    const struct mark *ours = &worker->settings.mark;
    static_assert(ENGINE_MARK_PROMISED == 2 && ENGINE_MARK_KEPT == 3, "each class has its bits");
    const uint32_t bits[] = {0, ours->released, ours->promised, ours->mask};
    uint32_t mask = (verdict->mark_class ? ours->mask : 0) | (verdict->mark ? ~ours->mask : 0);
    if (mask && verdict->action == ENGINE_ACCEPT)
        nfqueue_accept_marked(worker->queue, verdict->token, verdict->packet, bits[verdict->mark_class] | verdict->mark,
                              mask);
    else
        nfqueue_verdict(worker->queue, verdict->token, verdict->action == ENGINE_ACCEPT, verdict->packet);
}

static_assert(sizeof(struct engine_name_query) <= RESOLVER_NOTE_BYTES, "a note has room for it");

static void ask_names(struct worker *worker)
{
    struct engine_name_query query;
    while (engine_next_name_query(worker->engine, &query)) {
        struct resolver_query asked = {.ip_version = query.ip_version};
        memcpy(asked.address, query.address, sizeof asked.address);
        memcpy(asked.note, &query, sizeof query);
        if (!resolver_ask(worker->settings.names, &asked))
            engine_name(worker->engine, &query, (struct span){0}, clock_now_us());
    }
}

static void carry_out(struct worker *worker)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(worker->engine, &verdict))
        give_verdict(worker, &verdict);
    give_events(worker);
    ask_names(worker);
}

static void give_names(struct worker *worker)
{
    struct resolver_answer answer;
    struct engine_name_query query;
    while (resolver_next(worker->settings.names, &answer)) {
        memcpy(&query, answer.query.note, sizeof query);
        engine_name(worker->engine, &query, (struct span){answer.name, answer.len}, clock_now_us());
        carry_out(worker);
    }
}

static void give_answers(struct worker *worker, int64_t now)
{
    uint64_t id;
    struct finding finding;
    while (worker->answers && answers_next(worker->answers, worker->engine, now, &id, &finding)) {
        engine_answer(worker->engine, id, finding, now);
        carry_out(worker);
    }
}

static void take_packet(struct worker *worker, const struct nfqueue_packet *in, int64_t now)
{
    if (in->cut_short) {
        /* Over 65531 octets: no verdict could give it back edited, and what cannot be followed must not pass. */
        if (!worker->cut_short_seen)
            cmd_complain(CMD_GOOD, "a packet of more than %d octets was dropped; lower gso_max_size on the interface",
                         NFQUEUE_PACKET_BYTES_MAX);
        worker->cut_short_seen = true;
        nfqueue_verdict(worker->queue, in->token, false, (struct span){0});
        return;
    }
    const struct mark *ours = &worker->settings.mark;
    struct engine_packet packet = {
        .bytes = in->bytes,
        .len = in->len,
        .room = in->room,
        .token = in->token,
        .marked_promised = ours->mask && (in->mark & ours->mask) == ours->promised,
        .marked_elsewhere = ours->mask && (in->mark & ours->mask) == ours->mask,
        .checksum = in->csum_absent   ? ENGINE_CHECKSUM_ABSENT
                    : in->csum_unseen ? ENGINE_CHECKSUM_UNSEEN
                                      : ENGINE_CHECKSUM_GOOD,
    };
    engine_packet(worker->engine, &packet, now);
    carry_out(worker);
    give_answers(worker, now);
}

/* Said once: connections that were promised something are not kept in the queue while nobody listens. */
static void complain_of_marks(struct worker *worker)
{
    if (worker->unmarked_seen || !worker->settings.mark.mask || engine_counters(worker->engine)->promises_unmarked == 0)
        return;
    worker->unmarked_seen = true;
    cmd_complain(CMD_GOOD,
                 "packets come without the marks that their connections were given: a restart may bounce mail; run "
                 "'postern setup --apply', or set the marks as 'postern setup --print' does");
}

/* What waits in the socket, up to a bound; false where the socket is of no more use. */
static bool take_packets(struct worker *worker)
{
    int count = NFQUEUE_BATCH_MAX;
    for (int batch = 0; batch < BATCHES_A_TURN && count == NFQUEUE_BATCH_MAX; batch++) {
        count = nfqueue_receive(worker->queue, worker->packets);
        int64_t now = clock_now_us();
        for (int i = 0; i < count; i++)
            take_packet(worker, &worker->packets[i], now);
        nfqueue_flush(worker->queue);
    }
    complain_of_marks(worker);
    return count >= 0;
}

/* ---- what others ask ---- */

static void look(const struct worker *worker, struct worker_status *status)
{
    *status = (struct worker_status){
        .engine = *engine_counters(worker->engine),
        .gauges = engine_gauges(worker->engine),
        .sessions = *engine_sessions(worker->engine),
        .queue = *nfqueue_counters(worker->queue),
    };
    memcpy(status->rule_hits, engine_rule_hits(worker->engine), sizeof status->rule_hits);
    if (worker->answers)
        answers_counters(worker->answers, &status->greylist);
}

static void take_requests(struct worker *worker)
{
    uint64_t count;
    if (read(worker->wake, &count, sizeof count) < 0)
        return;
    pthread_mutex_lock(&worker->lock);
    if (worker->answered != worker->asked) {
        look(worker, &worker->status);
        worker->answered = worker->asked;
        pthread_cond_broadcast(&worker->answer);
    }
    if (worker->call) {
        worker->call(worker->engine, worker->context);
        worker->call = NULL;
        pthread_cond_broadcast(&worker->answer);
    }
    pthread_mutex_unlock(&worker->lock);
}

static void wake(const struct worker *worker)
{
    uint64_t one = 1;
    if (write(worker->wake, &one, sizeof one) != sizeof one)
        abort();
}

bool worker_ask(struct worker *worker, struct worker_status *status, uint32_t wait_ms)
{
    struct timespec until = steady_after(wait_ms);
    pthread_mutex_lock(&worker->lock);
    uint64_t asked = ++worker->asked;
    if (worker->started)
        wake(worker);
    while (worker->started && worker->answered < asked &&
           pthread_cond_timedwait(&worker->answer, &worker->lock, &until) == 0)
        ;
    if (!worker->started)
        look(worker, &worker->status);
    bool answered = !worker->started || worker->answered >= asked;
    *status = worker->status;
    pthread_mutex_unlock(&worker->lock);
    return answered;
}

bool worker_call(struct worker *worker, void (*call)(struct engine *engine, void *context), void *context)
{
    pthread_mutex_lock(&worker->lock);
    if (!worker->started && !worker->over)
        call(worker->engine, context);
    bool ran = !worker->over;
    if (worker->started && ran) {
        worker->call = call;
        worker->context = context;
        wake(worker);
        while (worker->call && !worker->over)
            pthread_cond_wait(&worker->answer, &worker->lock);
        ran = worker->call == NULL;
        worker->call = NULL;
    }
    pthread_mutex_unlock(&worker->lock);
    return ran;
}

struct swap {
    struct worker *worker;
    struct answers *answers;
};

static void swap_answers(struct engine *engine, void *context)
{
    struct swap *swap = context;
    struct question question;
    struct answers *before = swap->worker->answers;
    while (engine_next_question(engine, &question)) /* from before anybody answered */
        ;
    if (before && swap->answers)
        answers_go_on(swap->answers, before);
    swap->worker->answers = swap->answers;
    swap->answers = before;
}

bool worker_use_answers(struct worker *worker, struct answers *answers)
{
    struct swap swap = {worker, answers};
    if (!worker_call(worker, swap_answers, &swap))
        return false;
    answers_free(swap.answers);
    return true;
}

/* ---- the thread ---- */

static int64_t next_due(const struct worker *worker)
{
    int64_t due = engine_next_due(worker->engine);
    int64_t answers = worker->answers ? answers_due_us(worker->answers) : INT64_MAX;
    int64_t watcher = worker->watcher ? watcher_due_us(worker->watcher) : INT64_MAX;
    due = due < answers ? due : answers;
    return due < watcher ? due : watcher;
}

static int timeout_ms(const struct worker *worker)
{
    int64_t due = next_due(worker);
    if (due == INT64_MAX)
        return -1;
    int64_t wait_us = due - clock_now_us();
    if (wait_us <= 0)
        return 0;
    return wait_us > 60000000 ? 60000 : (int)((wait_us + 999) / 1000);
}

static bool serve(struct worker *worker)
{
    enum { QUEUE_FD, WAKE_FD, ANSWERS_FD, WATCHER_FD, NAMES_FD, FDS };
    struct pollfd fds[FDS] = {
        [QUEUE_FD] = {.fd = nfqueue_fd(worker->queue), .events = POLLIN},
        [WAKE_FD] = {.fd = worker->wake, .events = POLLIN},
        [ANSWERS_FD] = {.events = POLLIN},
        [WATCHER_FD] = {.events = POLLIN},
        [NAMES_FD] = {.fd = resolver_fd(worker->settings.names), .events = POLLIN},
    };
    while (!atomic_load(&worker->stop)) {
        fds[ANSWERS_FD].fd = worker->answers ? answers_fd(worker->answers) : -1;
        fds[WATCHER_FD].fd = worker->watcher ? watcher_fd(worker->watcher) : -1;
        if (poll(fds, FDS, timeout_ms(worker)) < 0 && errno != EINTR) {
            cmd_complain(CMD_FAILED, "cannot wait for packets: %m");
            return false;
        }
        if (fds[QUEUE_FD].revents && !take_packets(worker)) {
            cmd_complain(CMD_FAILED, "the queue's socket failed: %m");
            return false;
        }
        if (fds[WAKE_FD].revents)
            take_requests(worker);
        if (fds[NAMES_FD].revents)
            give_names(worker);
        int64_t now = clock_now_us();
        if (engine_next_due(worker->engine) <= now) {
            engine_tick(worker->engine, now);
            carry_out(worker);
        }
        give_answers(worker, now);
        give_watched(worker, now);
        nfqueue_flush(worker->queue);
    }
    return true;
}

/* Every packet that waits gets its verdict. What comes meanwhile is still served. */
static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    uint64_t one = 1;
    if (!privileges_confine_worker())
        cmd_complain(CMD_GOOD, "a worker is not confined to the system calls it needs: %m");
    carry_out(worker); /* what was told of connections that were taken over */
    worker->failed = !serve(worker);
    take_packets(worker);
    engine_stop(worker->engine, clock_now_us());
    carry_out(worker);
    nfqueue_flush(worker->queue);
    give_watched(worker, INT64_MAX);
    pthread_mutex_lock(&worker->lock);
    worker->over = true;
    pthread_cond_broadcast(&worker->answer);
    pthread_mutex_unlock(&worker->lock);
    if (worker->failed && write(worker->settings.ended, &one, sizeof one) != sizeof one)
        abort();
    return NULL;
}

static void pin(const struct worker *worker)
{
    cpu_set_t set;
    if (worker->settings.processor < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)worker->settings.processor, &set);
    pthread_setaffinity_np(worker->thread, sizeof set, &set); /* where it may not, it runs anywhere */
}

bool worker_start(struct worker *worker, struct log *log)
{
    worker->log = log;
    worker->started = pthread_create(&worker->thread, NULL, run_worker, worker) == 0;
    if (worker->started)
        pin(worker);
    return worker->started;
}

struct share {
    struct worker *worker;
    struct watcher *watcher;
};

static void use_watcher(struct engine *engine, void *context)
{
    struct share *share = context;
    (void)engine;
    assert(!share->worker->watcher);
    share->worker->watcher = share->watcher;
}

bool worker_share(struct worker *worker, struct store *store)
{
    struct share share = {worker, watcher_new(worker->settings.watch, store)};
    if (!share.watcher)
        return false;
    if (!worker_call(worker, use_watcher, &share))
        watcher_free(share.watcher);
    return true;
}

void worker_stop(struct worker *worker)
{
    if (!worker->started)
        return;
    atomic_store(&worker->stop, true);
    wake(worker);
    pthread_join(worker->thread, NULL);
    worker->started = false;
}

void worker_let_go(struct worker *worker)
{
    nfqueue_close(worker->queue);
    worker->queue = NULL;
}

bool worker_failed(const struct worker *worker)
{
    return worker->failed;
}

/* ---- beginning and end ---- */

static void init_lock(struct worker *worker)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&worker->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->answer, &attributes);
    pthread_condattr_destroy(&attributes);
}

static struct handover_result take_parts(struct worker *worker, const struct mapping *old)
{
    struct handover_result sum = {0};
    size_t from, to = 0;
    for (size_t at = 0, len; old->memory && mapping_part(old, &at, &len); at += len) {
        /* Parts are pages, and a place has several: take all places of which a page was written, each once. */
        from = at / HANDOVER_PLACE_BYTES * HANDOVER_PLACE_BYTES;
        from = from > to ? from : to;
        to = (at + len + HANDOVER_PLACE_BYTES - 1) / HANDOVER_PLACE_BYTES * HANDOVER_PLACE_BYTES;
        to = to < old->len ? to : old->len;
        if (from >= to)
            continue;
        struct handover_result part =
            engine_take_over(worker->engine, (const uint8_t *)old->memory + from, to - from, clock_now_us());
        sum.taken += part.taken;
        sum.damaged += part.damaged;
        sum.reset += part.reset;
        sum.left += part.left;
    }
    return sum;
}

/* Connections that the last process left behind, and a file for those of this one. */
static bool take_over(struct worker *worker, char *message, size_t message_size)
{
    const char *path = worker->settings.offsets;
    if (!mapping_may_take(path, message, message_size))
        return false;
    struct mapping old = mapping_read(path);
    struct handover_result result = {0};
    worker->offsets = mapping_new(path, handover_bytes(worker->settings.engine.flows_max));
    if (worker->offsets.memory) {
        handover_begin(worker->engine, worker->offsets.memory);
        result = take_parts(worker, &old);
    }
    mapping_close(&old);
    if (!worker->offsets.memory || !mapping_install(path, result.damaged > 0)) {
        snprintf(message, message_size, "%s: cannot be made: %m", path);
        return false;
    }
    if (result.damaged)
        cmd_complain(CMD_GOOD,
                     "%s: records of %u connections are damaged, or another version's; the file is kept as %s.damaged",
                     path, result.damaged, path);
    if (result.taken + result.reset + result.left > 0)
        cmd_complain(
            CMD_GOOD,
            "%s: of the connections of the last process %u are resumed, %u are reset because what was promised "
            "to them could not be recorded, and for %u there is no room",
            path, result.taken, result.reset, result.left);
    return true;
}

struct worker *worker_new(const struct worker_settings *settings, char *message, size_t message_size)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        snprintf(message, message_size, "no memory");
        return NULL;
    }
    worker->settings = *settings;
    init_lock(worker);
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->engine = cmd_engine_new(&settings->engine, settings->policy);
    worker->feed = settings->feeds ? feed_new(settings->engine.flows_max, settings->feeds) : NULL;
    if (worker->wake < 0)
        snprintf(message, message_size, "no file descriptor for a worker");
    else if (!worker->engine || (settings->feeds && !worker->feed))
        snprintf(message, message_size, "no memory for %u flows; lower 'flows' in the rules",
                 settings->engine.flows_max);
    /* The queue first: whoever has it still needs the file. */
    else if ((worker->queue = nfqueue_open(&settings->queues, message, message_size)) != NULL &&
             (!settings->offsets || take_over(worker, message, message_size)))
        return worker;
    worker_free(worker);
    return NULL;
}

struct feed *worker_feed(const struct worker *worker)
{
    return worker->feed;
}

void worker_free(struct worker *worker)
{
    if (!worker)
        return;
    nfqueue_close(worker->queue);
    cmd_engine_free(worker->engine, &worker->settings.engine);
    answers_free(worker->answers);
    watcher_free(worker->watcher);
    mapping_close(&worker->offsets);
    feed_free(worker->feed);
    if (worker->wake >= 0)
        close(worker->wake);
    pthread_cond_destroy(&worker->answer);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}
