/*
 * report/log - the thread that writes events, so that no packet waits for a disk.
 *
 * In:     feeds, one of each engine.
 * Out:    lines of JSON (docs/events.md) to a file or to syslog; connections of all engines have one numbering.
 * Owner:  the log owns its thread and its destination; the feeds are the caller's and must outlive it.
 * Thread: log_wake may be called by any thread, the others by the one that opened the log.
 * Limits: what the feeds hold; records as of report/session.
 * Errors: log_open says in one line what is wrong. A line that cannot be written is counted. Where the file cannot be
 *         opened anew, the old one is written on, a line on standard error says so, and it is tried again each second.
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

/* `destination` is a file, to be appended to, or LOG_TO_SYSLOG. NULL on failure, with a message. */
struct log *log_open(const char *destination, struct feed *const *feeds, unsigned feed_count, char *message,
                     size_t message_size);

/* Start the thread; apart from log_open, so that privileges may be given up in between. False where it cannot be. */
bool log_start(struct log *log);

/* There is something in a feed. Costs nothing while the log is at work. */
void log_wake(struct log *log);

/* Close the file and open it anew by its name: it was moved away. */
void log_reopen(struct log *log);

struct log_counters log_counters(struct log *log);

/* Write all that is in the feeds, and records of connections that are open at `now_us`; then end. NULL is allowed. */
struct log_counters log_close(struct log *log, int64_t now_us);

#endif
