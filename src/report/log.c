#include "report/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/steady.h"
#include "report/json.h"
#include "report/reasons.h"
#include "report/session.h"
#include "report/types.h"
#include "sys/descriptors.h"
#include "sys/file.h"

enum {
    REOPEN_AGAIN_MS = 1000,
    LOOK_MS = 100, /* while a reader is waited for: at whether the filter ends */
    JOIN_MS = 500, /* for the thread to end once it has given up: on a busy machine it has to get its turn first */
    CHUNK_EVENTS = 256,
    CHUNK_BYTES = 32768, /* of lines, before they are written */
};

struct log {
    const char *path; /* NULL: syslog */
    int fd;           /* -1: syslog, or a FIFO that nobody reads yet */
    FILE *out;        /* lines that are not written yet: into `lines` */
    char *lines;
    size_t lines_len;
    size_t ends[CHUNK_EVENTS]; /* where in `lines` those of an event end */
    unsigned count;            /* of such events */
    bool cut;                  /* the last line that was written lacks its end */
    bool failing;              /* that lines cannot be written was said */
    uint32_t types;            /* of lines that are written (report/types) */
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
    int64_t stop_us;  /* with `stop`: the time */
    int64_t until_ms; /* with `stop`: how long to wait for a reader */
    _Atomic uint64_t written;
    _Atomic uint64_t failed;
};

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* ---- where lines go ---- */

static int open_file(const struct log *log, char why[FILE_WHY_BYTES])
{
    return file_open(log->path, O_WRONLY | O_APPEND | O_CREAT, FILE_REGULAR_OR_STREAM, why);
}

/* A FIFO that nobody reads is waited for by the thread. */
static bool open_destination(struct log *log, char *message, size_t message_size)
{
    char why[FILE_WHY_BYTES];
    if (!log->path) {
        openlog("postern", LOG_NDELAY, LOG_MAIL);
        return true;
    }
    log->fd = open_file(log, why);
    if (log->fd < 0 && errno == ENXIO) {
        snprintf(message, message_size, "%s: nobody reads this FIFO; events are lost and counted until somebody does",
                 log->path);
        log->reopen_owed = true;
        log->reopen_at_ms = clock_ms() + REOPEN_AGAIN_MS;
        return true;
    }
    if (log->fd < 0)
        snprintf(message, message_size, "%s: events cannot be written: %s", log->path, why);
    return log->fd >= 0;
}

/* A message for each line. */
static size_t send_to_syslog(const char *lines, size_t len)
{
    for (const char *line = lines, *end = lines + len; line < end;) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        if (!next)
            break;
        syslog(LOG_INFO, "%.*s", (int)(next - line), line);
        line = next + 1;
    }
    return len;
}

/* Whoever reads a FIFO takes his time. False where he has had enough of it. */
static bool wait_for_reader(struct log *log)
{
    struct pollfd full = {.fd = log->fd, .events = POLLOUT};
    while (!atomic_load(&log->reopen)) {
        int64_t left_ms = atomic_load(&log->stop) ? log->until_ms - clock_ms() : LOOK_MS;
        if (left_ms <= 0)
            break;
        if (poll(&full, 1, left_ms < LOOK_MS ? (int)left_ms : LOOK_MS) > 0)
            return true;
    }
    errno = EAGAIN;
    return false;
}

/* How many of them could be written; errno where not all. */
static size_t write_octets(struct log *log, const char *octets, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t put = log->fd < 0 ? -1 : write(log->fd, octets + done, len - done);
        if (put > 0)
            done += (size_t)put;
        else if (log->fd < 0 || (errno != EINTR && (errno != EAGAIN || !wait_for_reader(log))))
            break;
    }
    return done;
}

/* Said once when it fails, and once when it is well again. */
static void tell_state(struct log *log, bool failing, int error)
{
    if (failing && !log->failing && log->fd >= 0)
        fprintf(stderr, "postern: %s: cannot be written: %s; events are lost and counted until it can\n", log->path,
                error == EAGAIN ? "its reader does not read on" : strerror(error));
    else if (!failing && log->failing)
        fprintf(stderr, "postern: %s: is written again\n", log->path);
    log->failing = failing;
}

/* A line that was cut is ended first, so that none continues another. */
static size_t write_lines(struct log *log)
{
    if (log->cut && write_octets(log, "\n", 1) == 0)
        return 0;
    size_t done = write_octets(log, log->lines, log->lines_len);
    log->cut = done > 0 ? log->lines[done - 1] != '\n' : false;
    return done;
}

static void send_lines(struct log *log)
{
    uint64_t written = 0;
    fflush(log->out);
    if (log->lines_len == 0)
        return;
    size_t done = log->path ? write_lines(log) : send_to_syslog(log->lines, log->lines_len);
    if (log->path)
        tell_state(log, done < log->lines_len, errno);
    while (written < log->count && log->ends[written] <= done)
        written++;
    size_t last_end = log->count ? log->ends[log->count - 1] : 0;
    bool records = log->lines_len > last_end && done < log->lines_len; /* of connections that were open at the end */
    atomic_fetch_add_explicit(&log->written, written, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->failed, log->count - written + records, memory_order_relaxed);
    log->count = 0;
    rewind(log->out);
    log->lines_len = 0;
}

/* Its lines whole, or none. */
static void add_event(struct log *log, const struct event *event)
{
    size_t before = log->count ? log->ends[log->count - 1] : 0;
    bool good = !(log->types >> event->kind & 1) || json_write_event(log->out, event);
    if (types_have_records(log->types))
        good = good && sessions_take(log->sessions, event, log->out);
    good = good && fflush(log->out) == 0;
    if (good && log->lines_len == before) {
        atomic_fetch_add_explicit(&log->written, 1, memory_order_relaxed); /* of records that are still open, or none */
    } else if (good) {
        log->ends[log->count++] = log->lines_len;
    } else {
        atomic_fetch_add_explicit(&log->failed, 1, memory_order_relaxed);
        clearerr(log->out);
        fseek(log->out, (long)before, SEEK_SET);
    }
    if (log->count == CHUNK_EVENTS || log->lines_len >= CHUNK_BYTES)
        send_lines(log);
}

/* ---- a file that was moved away ---- */

/* Until there is a new file events go to the old one: nothing is lost meanwhile. */
static void reopen_destination(struct log *log)
{
    char why[FILE_WHY_BYTES];
    int fd = open_file(log, why);
    if (fd < 0) {
        descriptors_out(errno);
        if (!log->reopen_owed)
            fprintf(stderr, "postern: %s: cannot be opened anew: %s; events go to the old file until it can\n",
                    log->path, why);
        log->reopen_owed = true;
        log->reopen_at_ms = clock_ms() + REOPEN_AGAIN_MS;
        return;
    }
    send_lines(log);
    if (log->reopen_owed)
        fprintf(stderr, "postern: %s: opened anew\n", log->path);
    log->reopen_owed = log->cut = log->failing = false;
    if (log->fd >= 0)
        close(log->fd);
    log->fd = fd;
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
            add_event(log, &event);
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
            sessions_stop(log->sessions, log->stop_us, log->out);
        send_lines(log);
        if (stop)
            return NULL;
        sleep_until_woken(log);
    }
}

/* ---- what others call ---- */

static void release(struct log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    if (log->out)
        fclose(log->out);
    free(log->lines);
    sessions_free(log->sessions);
    reasons_free(log->reasons);
    if (log->wake >= 0)
        close(log->wake);
    free(log);
}

struct log *log_open(const char *destination, uint32_t types, char *message, size_t message_size)
{
    struct log *log = calloc(1, sizeof *log);
    message[0] = '\0';
    if (!log) {
        snprintf(message, message_size, "no memory");
        return NULL;
    }
    log->path = strcmp(destination, LOG_TO_SYSLOG) == 0 ? NULL : destination;
    log->fd = -1;
    log->types = types;
    log->wake = eventfd(0, EFD_CLOEXEC);
    log->out = open_memstream(&log->lines, &log->lines_len);
    log->sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    log->reasons = reasons_new();
    if (log->sessions)
        sessions_write_only(log->sessions, types);
    if (log->wake < 0 || !log->out || !log->sessions || !log->reasons)
        snprintf(message, message_size, "no memory");
    else if (open_destination(log, message, message_size))
        return log;
    release(log);
    return NULL;
}

bool log_start(struct log *log, struct feed *const *feeds, unsigned feed_count)
{
    assert(feed_count <= LOG_FEEDS_MAX);
    log->feed_count = feed_count;
    for (unsigned i = 0; i < feed_count; i++)
        log->feeds[i] = feeds[i];
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

/* What is under way in a thread that does not come back is not written. */
static void count_unwritten(struct log *log, struct log_counters *counters)
{
    uint64_t put = 0;
    for (unsigned i = 0; i < log->feed_count; i++)
        put += feed_put_count(log->feeds[i]);
    counters->failed = put - counters->written;
}

static bool join(struct log *log, int64_t until_ms)
{
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    return steady_join(log->thread, &until) == 0;
}

bool log_close(struct log *log, int64_t now_us, uint32_t wait_ms, struct log_counters *counters)
{
    *counters = (struct log_counters){0};
    if (!log)
        return true;
    bool ended = true;
    if (log->started) {
        log->stop_us = now_us;
        log->until_ms = clock_ms() + wait_ms;
        atomic_store(&log->stop, true);
        log_wake(log);
        ended = join(log, log->until_ms + JOIN_MS);
    }
    *counters = log_counters(log);
    if (ended)
        release(log);
    else
        count_unwritten(log, counters);
    return ended;
}
