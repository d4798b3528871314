#include "cmd/report_data.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/greylist.h"

enum { SESSIONS, ACCEPTED, PUT_OFF, HOUR_COUNTS };

bool report_init(struct report *report)
{
    *report = (struct report){.rules = json_object(),
                              .refusals = json_object(),
                              .errors = json_object(),
                              .hours = json_object(),
                              .waiting = json_object(),
                              .domains = json_object()};
    return report->rules && report->refusals && report->errors && report->hours && report->waiting && report->domains;
}

void report_free(struct report *report)
{
    json_t *const objects[] = {report->rules, report->refusals, report->errors,
                               report->hours, report->waiting,  report->domains};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++)
        json_decref(objects[i]);
    free(report->delays_s);
}

static void count(struct report *report, json_t *counts, const char *name)
{
    json_int_t before = json_integer_value(json_object_get(counts, name));
    report->no_memory = json_object_set_new(counts, name, json_integer(before + 1)) != 0 || report->no_memory;
}

static void count_hour(struct report *report, int64_t time_us, int what)
{
    char hour[32];
    struct tm utc;
    time_t seconds = (time_t)(time_us / 1000000);
    gmtime_r(&seconds, &utc);
    strftime(hour, sizeof hour, "%Y-%m-%dT%H", &utc);
    json_t *counts = json_object_get(report->hours, hour);
    if (!counts) {
        counts = json_pack("[i, i, i]", 0, 0, 0);
        report->no_memory = json_object_set_new(report->hours, hour, counts) != 0 || report->no_memory;
    }
    json_t *number = json_array_get(counts, (size_t)what);
    if (number)
        json_integer_set(number, json_integer_value(number) + 1);
}

/* ---- events ---- */

static const char *text_of(const json_t *event, const char *name)
{
    const char *text = json_string_value(json_object_get(event, name));
    return text ? text : "";
}

static void add_delay(struct report *report, int64_t delay_s)
{
    if (report->delay_count == report->delay_room) {
        size_t room = report->delay_room ? 2 * report->delay_room : 1024;
        int64_t *delays = realloc(report->delays_s, room * sizeof *delays);
        if (!delays) {
            report->no_memory = true;
            return;
        }
        report->delays_s = delays;
        report->delay_room = room;
    }
    report->delays_s[report->delay_count++] = delay_s;
}

/* A mail was put off, or one that had been came back. */
static void take_greylist(struct report *report, const json_t *event, int64_t time_us)
{
    char key[800];
    bool passes = strcmp(text_of(event, "verdict"), "pass") == 0;
    const json_t *delayed = json_object_get(event, "delayed_s");
    const char *who = json_object_get(event, "sender") ? text_of(event, "sender") : text_of(event, "helo");
    snprintf(key, sizeof key, "%s\t%s", who, text_of(event, "recipient"));
    if (json_is_true(json_object_get(event, "dry_run"))) {
        report->would_wait += strcmp(text_of(event, "reason"), greylist_reason_name(GREYLIST_FIRST)) == 0;
        return; /* the rule has an event of its own */
    }
    count(report, report->rules, text_of(event, "rule"));
    if (strcmp(text_of(event, "verdict"), "wait") == 0)
        return; /* within its session */
    if (!passes) {
        report->put_off++;
        count_hour(report, time_us, PUT_OFF);
        if (!json_object_get(report->waiting, key))
            report->no_memory = json_object_set_new(report->waiting, key, json_false()) != 0 || report->no_memory;
    } else if (delayed && json_is_false(json_object_get(report->waiting, key))) {
        add_delay(report, json_integer_value(delayed));
        json_object_set_new(report->waiting, key, json_true());
    }
}

static void take_session(struct report *report, const json_t *event, int64_t time_us)
{
    report->sessions++;
    report->encrypted += json_is_true(json_object_get(json_object_get(event, "postern"), "tls"));
    count_hour(report, time_us, SESSIONS);
}

void report_take_event(void *context, const char *type, const json_t *event, int64_t time_us)
{
    struct report *report = context;
    bool anomaly = strcmp(type, "anomaly") == 0;
    const char *reason = anomaly ? text_of(json_object_get(event, "anomaly"), "event") : text_of(event, "reason");
    bool lost_pairing = strcmp(type, "unedited") == 0 && strcmp(reason, "encrypted") != 0 &&
                        strcmp(reason, "server-closes") != 0 && strcmp(reason, "midstream") != 0;
    if (!report->first_us || time_us < report->first_us)
        report->first_us = time_us;
    if (time_us > report->last_us)
        report->last_us = time_us;
    report->events_lost += json_is_true(json_object_get(event, "events_lost"));
    if (strcmp(type, "greylist") == 0)
        take_greylist(report, event, time_us);
    else if (strcmp(type, "smtp-session") == 0)
        take_session(report, event, time_us);
    else if (strcmp(type, "rule") == 0)
        count(report, report->rules, text_of(event, "rule"));
    else if (anomaly || lost_pairing)
        count(report, report->errors, reason);
}

void report_take_mail(void *context, const struct history_mail *mail)
{
    struct report *report = context;
    bool filter = mail->by && strcmp(mail->by, "filter") == 0;
    char name[200];
    if (strcmp(mail->outcome, "accepted") == 0) {
        report->accepted++;
        count_hour(report, mail->time_us, ACCEPTED);
    } else if (mail->code < 400) {
        report->unfinished++;
    } else if (!filter) {
        report->put_off_by_server += mail->code < 500;
        report->refused_by_server += mail->code >= 500;
    } else if (mail->code >= 500) {
        report->refused_by_filter++;
    }
    if (mail->code < 400 || (filter && mail->waited_s >= 0))
        return; /* what the greylist put off was counted by its answer */
    snprintf(name, sizeof name, "%d %s%s", mail->code, filter ? "rule: " : "server",
             filter && mail->rule ? mail->rule : "");
    count(report, report->refusals, name);
    if (filter && mail->rule && mail->code >= 500)
        count(report, report->rules, mail->rule);
}

/* ---- in the end ---- */

static int compare(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

void report_finish(struct report *report)
{
    const char *key;
    json_t *back;
    if (report->delay_count)
        qsort(report->delays_s, report->delay_count, sizeof *report->delays_s, compare);
    json_object_foreach(report->waiting, key, back)
    {
        const char *end = strchr(key, '\t'), *at = end ? memrchr(key, '@', (size_t)(end - key)) : NULL;
        char domain[400];
        report->mails++;
        report->came_back += json_is_true(back);
        if (json_is_true(back) || !end)
            continue;
        const char *begin = at ? at + 1 : key;
        snprintf(domain, sizeof domain, "%.*s", (int)(end - begin), begin);
        count(report, report->domains, domain[0] ? domain : "<>");
    }
}

int64_t report_delay_s(const struct report *report, unsigned percent)
{
    if (report->delay_count == 0)
        return 0;
    size_t at = (report->delay_count * percent + 99) / 100;
    return report->delays_s[at > 0 ? at - 1 : 0];
}

size_t report_top(json_t *counts, struct report_entry top[REPORT_TOP_MAX])
{
    size_t used = 0;
    const char *name;
    json_t *value;
    json_object_foreach(counts, name, value)
    {
        json_int_t number = json_integer_value(value);
        size_t at = used;
        while (at > 0 && top[at - 1].count < number)
            at--;
        if (at == REPORT_TOP_MAX)
            continue;
        size_t last = used < REPORT_TOP_MAX ? used++ : REPORT_TOP_MAX - 1;
        memmove(&top[at + 1], &top[at], (last - at) * sizeof *top);
        top[at] = (struct report_entry){name, number};
    }
    return used;
}
