/*
 * cmd/report_data - what `postern report` says, counted from events.
 *
 * Owner:  report_free gives everything back. Counts by name are JSON objects of integers.
 */
#ifndef POSTERN_CMD_REPORT_DATA_H
#define POSTERN_CMD_REPORT_DATA_H

#include "report/history.h"

#define REPORT_TOP_MAX 20 /* of each list by name */

struct report {
    int64_t first_us, last_us; /* of the events; 0: there are none */
    uint64_t sessions, encrypted, accepted, put_off_by_server, refused_by_server, refused_by_filter, unfinished;
    uint64_t put_off;     /* answers of the greylist: not now */
    uint64_t would_wait;  /* of a dry run, mails that it would have put off when they were tried first */
    uint64_t mails;       /* different mails that were put off, by sender and recipient */
    uint64_t came_back;   /* of these */
    uint64_t events_lost; /* events before which others are missing */
    int64_t *delays_s;    /* of those that came back, sorted once report_finish was called */
    size_t delay_count, delay_room;
    json_t *rules, *refusals, *errors;
    json_t *hours;   /* by YYYY-MM-DDTHH, UTC: arrays of sessions, accepted, put off */
    json_t *waiting; /* by sender and recipient: true once it came back */
    json_t *domains; /* of senders whose mail never came back; from report_finish on */
    bool no_memory;
};

/* False where there is no memory. */
bool report_init(struct report *report);
void report_free(struct report *report);

/* Callbacks of report/history; `context` is the report. */
void report_take_mail(void *context, const struct history_mail *mail);
void report_take_event(void *context, const char *type, const json_t *event, int64_t time_us);

/* All is read: sort, and see who never came back. */
void report_finish(struct report *report);

/* So many percent of the mails that came back did within this; 0 where none did. */
int64_t report_delay_s(const struct report *report, unsigned percent);

struct report_entry {
    const char *name;
    json_int_t count;
};

/* The largest of an object's counts, the largest first; returns how many, REPORT_TOP_MAX at most. */
size_t report_top(json_t *counts, struct report_entry top[REPORT_TOP_MAX]);

/* The page: no script, nothing from elsewhere. False where it cannot be written. */
bool report_write_html(const struct report *report, FILE *out);

#endif
