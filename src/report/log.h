/*
 * report/log - the thread that writes events, so that no packet waits for a disk.
 *
 * In:     feeds, one of each engine.
 * Out:    lines of JSON (docs/events.md) to a file, a FIFO, a terminal or syslog; connections of all engines have one
 *         numbering.
 * Owner:  the log owns its thread and its destination; the feeds are the caller's and must outlive it.
 * Thread: log_wake may be called by any thread, the others by the one that opened the log.
 * Limits: what the feeds hold; records as of report/session.
 * Errors: log_open says in one line what is wrong. An event whose lines cannot be written is counted (a full disk, a
 *         FIFO without a reader), a line on standard error says so once, and the next one is tried again. SIGPIPE must
 *         be ignored. A reader that stops is waited for, while the feeds fill up. Where the file cannot be opened anew,
 *         the old one is written on, a line on standard error says so, and it is tried again each second.
 */
#ifndef POSTERN_REPORT_LOG_H
#define POSTERN_REPORT_LOG_H

#include "report/feed.h"

#define LOG_TO_SYSLOG "syslog:" /* a destination that is no file */
#define LOG_FEEDS_MAX 64

struct log;

struct log_counters {
    uint64_t written; /* events whose lines were written */
    uint64_t failed;  /* events whose lines could not be written */
    uint64_t dropped; /* events that found no room on their way to the log */
};

/*
 * `destination` is a file, to be appended to, or LOG_TO_SYSLOG. Waits for nobody: a FIFO that nobody reads is opened by
 * the thread as soon as somebody does. NULL on failure, with a message; else it is empty, or what the administrator
 * ought to know.
 */
struct log *log_open(const char *destination, uint32_t types, char *message, size_t message_size);

/* Start the thread; apart from log_open, so that feeds may be made and privileges given up in between. False where it
   cannot be. */
bool log_start(struct log *log, struct feed *const *feeds, unsigned feed_count);

/* There is something in a feed. Costs nothing while the log is at work. */
void log_wake(struct log *log);

/* Close the file and open it anew by its name: it was moved away. */
void log_reopen(struct log *log);

struct log_counters log_counters(struct log *log);

/*
 * Write all that is in the feeds, and records of connections that are open at `now_us`; then end. A reader that does
 * not read is waited for up to `wait_ms`, a disk that does not answer hardly longer, and what is not written then
 * counts as failed. False where the thread does not come back from a disk: the log and the feeds stay where they are.
 * NULL is allowed.
 */
bool log_close(struct log *log, int64_t now_us, uint32_t wait_ms, struct log_counters *counters);

#endif
