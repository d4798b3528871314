#include "report/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "report/json.h"
#include "report/reasons.h"
#include "report/session.h"
#include "sys/descriptors.h"

enum { REOPEN_AGAIN_MS = 1000 };

struct log {
    const char *path; /* NULL: syslog */
    FILE *out;
    char *lines; /* of syslog: what was written to `out` since it was rewound */
    size_t lines_len;
    struct sessions *sessions;
    struct reasons *reasons; /* records are told when the rules behind them may be gone */
    struct feed *feeds[LOG_FEEDS_MAX];
    unsigned feed_count;
    pthread_t thread;
    bool started;
    int wake; /* eventfd */
    atomic_bool asleep;
    atomic_bool reopen;
    bool reopen_owed; /* it could not be done yet */
    int64_t reopen_at_ms;
    atomic_bool stop;
    _Atomic uint64_t written;
    _Atomic uint64_t failed;
};

/* ---- where lines go ---- */

static void close_destination(struct log *log)
{
    if (log->out)
        fclose(log->out);
    free(log->lines);
    log->out = NULL;
    log->lines = NULL;
}

static bool open_destination(struct log *log)
{
    if (log->path) {
        log->out = fopen(log->path, "ae");
    } else {
        openlog("postern", LOG_NDELAY, LOG_MAIL);
        log->out = open_memstream(&log->lines, &log->lines_len);
    }
    return log->out != NULL;
}

/* A message for each line. */
static void send_to_syslog(struct log *log)
{
    fflush(log->out);
    for (char *line = log->lines, *end = line + log->lines_len; line < end;) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        if (!next)
            break;
        syslog(LOG_INFO, "%.*s", (int)(next - line), line);
        line = next + 1;
    }
    rewind(log->out);
}

static void write_event(struct log *log, const struct event *event)
{
    bool good = json_write_event(log->out, event) && sessions_take(log->sessions, event, log->out);
    if (good && !log->path)
        send_to_syslog(log);
    atomic_fetch_add_explicit(good ? &log->written : &log->failed, 1, memory_order_relaxed);
    if (!good)
        clearerr(log->out);
}

static void flush(struct log *log)
{
    if (log->path && fflush(log->out) != 0) {
        atomic_fetch_add_explicit(&log->failed, 1, memory_order_relaxed);
        clearerr(log->out);
    }
}

/* ---- a file that was moved away ---- */

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Until there is a new file events go to the old one: nothing is lost meanwhile. */
static void reopen_destination(struct log *log)
{
    FILE *out = fopen(log->path, "ae");
    if (!out) {
        int error = errno;
        descriptors_out(error);
        if (!log->reopen_owed)
            fprintf(stderr, "postern: %s: cannot be opened anew: %s; events go to the old file until it can\n",
                    log->path, strerror(error));
        log->reopen_owed = true;
        log->reopen_at_ms = clock_ms() + REOPEN_AGAIN_MS;
        return;
    }
    if (log->reopen_owed)
        fprintf(stderr, "postern: %s: opened anew\n", log->path);
    log->reopen_owed = false;
    flush(log);
    fclose(log->out);
    log->out = out;
}

static void reopen_where_due(struct log *log)
{
    bool asked = atomic_exchange(&log->reopen, false);
    if (log->path && (asked || (log->reopen_owed && clock_ms() >= log->reopen_at_ms)))
        reopen_destination(log);
}

/* ---- the thread ---- */

/* What is in the feeds now, a batch of each in turn. False where there was nothing. */
static bool write_batch(struct log *log)
{
    enum { BATCH = 256 };
    bool any = false;
    for (unsigned i = 0; i < log->feed_count; i++) {
        struct event event;
        for (int n = 0; n < BATCH && feed_take(log->feeds[i], &event); n++) {
            event.reason = reasons_keep(log->reasons, event.reason);
            event.flow_id = (event.flow_id - 1) * log->feed_count + i + 1;
            write_event(log, &event);
            any = true;
        }
    }
    return any;
}

static bool anything_waits(struct log *log)
{
    for (unsigned i = 0; i < log->feed_count; i++)
        if (feed_waits(log->feeds[i]))
            return true;
    return atomic_load(&log->stop) || atomic_load(&log->reopen);
}

/* Who fills a feed looks at `asleep` afterwards; we look at the feeds after setting it. One of us sees the other. */
static void sleep_until_woken(struct log *log)
{
    atomic_store(&log->asleep, true);
    if (!anything_waits(log)) {
        struct pollfd waiting = {.fd = log->wake, .events = POLLIN};
        uint64_t count;
        if (poll(&waiting, 1, log->reopen_owed ? REOPEN_AGAIN_MS : -1) > 0 && read(log->wake, &count, sizeof count) < 0)
            abort();
    }
    atomic_store(&log->asleep, false);
}

static void *run_log(void *argument)
{
    struct log *log = argument;
    for (;;) {
        bool stop = atomic_load(&log->stop);
        reopen_where_due(log);
        if (write_batch(log))
            continue;
        if (stop)
            return NULL;
        flush(log);
        sleep_until_woken(log);
    }
}

/* ---- what others call ---- */

static void release(struct log *log)
{
    close_destination(log);
    sessions_free(log->sessions);
    reasons_free(log->reasons);
    if (log->wake >= 0)
        close(log->wake);
    free(log);
}

struct log *log_open(const char *destination, struct feed *const *feeds, unsigned feed_count, char *message,
                     size_t message_size)
{
    assert(feed_count <= LOG_FEEDS_MAX);
    struct log *log = calloc(1, sizeof *log);
    if (!log) {
        snprintf(message, message_size, "no memory");
        return NULL;
    }
    log->path = strcmp(destination, LOG_TO_SYSLOG) == 0 ? NULL : destination;
    log->feed_count = feed_count;
    for (unsigned i = 0; i < feed_count; i++)
        log->feeds[i] = feeds[i];
    log->wake = eventfd(0, EFD_CLOEXEC);
    log->sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    log->reasons = reasons_new();
    if (!open_destination(log))
        snprintf(message, message_size, "%s: events cannot be written: %m", destination);
    else if (log->wake < 0 || !log->sessions || !log->reasons)
        snprintf(message, message_size, "no memory");
    else
        return log;
    release(log);
    return NULL;
}

bool log_start(struct log *log)
{
    log->started = pthread_create(&log->thread, NULL, run_log, log) == 0;
    return log->started;
}

void log_wake(struct log *log)
{
    uint64_t one = 1;
    if (atomic_load(&log->asleep) && atomic_exchange(&log->asleep, false) &&
        write(log->wake, &one, sizeof one) != sizeof one)
        abort();
}

void log_reopen(struct log *log)
{
    atomic_store(&log->reopen, true);
    log_wake(log);
}

struct log_counters log_counters(struct log *log)
{
    struct log_counters counters = {.written = atomic_load(&log->written), .failed = atomic_load(&log->failed)};
    for (unsigned i = 0; i < log->feed_count; i++)
        counters.dropped += feed_dropped(log->feeds[i]);
    return counters;
}

struct log_counters log_close(struct log *log, int64_t now_us)
{
    if (!log)
        return (struct log_counters){0};
    if (log->started) {
        atomic_store(&log->stop, true);
        log_wake(log);
        pthread_join(log->thread, NULL);
    }
    sessions_stop(log->sessions, now_us, log->out);
    if (!log->path)
        send_to_syslog(log);
    flush(log);
    struct log_counters counters = log_counters(log);
    release(log);
    return counters;
}
