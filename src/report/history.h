/*
 * report/history - what became of mails, put together again from lines of events (docs/events.md).
 *
 * In:     lines in the order in which they were written, of one or several files.
 * Out:    for each recipient of a transaction that ended a mail; every other event as it is. What is told of a mail by
 *         the greylist before its transaction ends is told with it.
 * Owner:  what a callback is given lives as long as the call.
 * Limits: HISTORY_WAITING_MAX answers of the greylist whose transaction has not ended; older ones are forgotten.
 */
#ifndef POSTERN_REPORT_HISTORY_H
#define POSTERN_REPORT_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define HISTORY_WAITING_MAX 65536

/* One recipient of one transaction. Texts are escaped as in events; addresses without brackets. */
struct history_mail {
    int64_t time_us;
    const char *client; /* its address */
    const char *from, *to;
    const char *outcome; /* static: accepted, put off, refused, reset, unfinished, encrypted, not followed, replaced */
    const char *by;      /* server, filter; NULL: nobody refused it */
    const char *rule;    /* the filter's reason; NULL: none */
    const char *text;    /* of the reply; NULL: none */
    int code;            /* that the client read last about it; 0: none */
    int64_t waited_s;    /* since the greylist saw it first; -1: the greylist did not decide by its attempts */
};

struct history_reader {
    void (*mail)(void *context, const struct history_mail *mail);                         /* NULL: not wanted */
    void (*event)(void *context, const char *type, const json_t *event, int64_t time_us); /* NULL: not wanted */
    void *context;
    int64_t since_us; /* what is older is left out */
};

struct history;

/* NULL where there is no memory. */
struct history *history_new(const struct history_reader *reader);
void history_free(struct history *history); /* NULL is allowed */

/* A line. False where it is no event. */
bool history_take(struct history *history, const char *line, size_t len);

/* A timestamp of an event as microseconds since 1970; false where it is none. */
bool history_time(const char *text, int64_t *time_us);

#endif
