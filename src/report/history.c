#include "report/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An answer of the greylist, until the transaction that it belongs to ends. */
struct waiting {
    json_int_t flow_id; /* -1: free */
    int64_t delayed_s;
    char recipient[330];
};

struct history {
    struct history_reader reader;
    size_t next; /* the oldest of them is taken first */
    struct waiting waiting[HISTORY_WAITING_MAX];
};

struct history *history_new(const struct history_reader *reader)
{
    struct history *history = malloc(sizeof *history);
    if (!history)
        return NULL;
    history->reader = *reader;
    history->next = 0;
    for (size_t i = 0; i < HISTORY_WAITING_MAX; i++)
        history->waiting[i].flow_id = -1;
    return history;
}

void history_free(struct history *history)
{
    free(history);
}

bool history_time(const char *text, int64_t *time_us)
{
    struct tm tm = {0};
    int us = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%6d+0000", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &us) != 7)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    *time_us = (int64_t)timegm(&tm) * 1000000 + us;
    return true;
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ---- answers of the greylist ---- */

/* Its place by the connection and a few next to it, so that one is found without a look at all. */
enum { NEIGHBOURS = 16 };

static struct waiting *place_of(struct history *history, json_int_t flow_id, const char *recipient)
{
    for (size_t i = 0; i < NEIGHBOURS; i++) {
        struct waiting *waiting = &history->waiting[((size_t)flow_id * NEIGHBOURS + i) % HISTORY_WAITING_MAX];
        if (waiting->flow_id == flow_id && strcasecmp(waiting->recipient, recipient) == 0)
            return waiting;
    }
    return NULL;
}

static void remember(struct history *history, const json_t *event)
{
    json_int_t flow_id = json_integer_value(json_object_get(event, "flow_id"));
    const json_t *delayed = json_object_get(event, "delayed_s");
    const char *recipient = text_of(event, "recipient");
    if (!delayed || !recipient || json_is_true(json_object_get(event, "dry_run"))) /* nobody waited */
        return;
    struct waiting *waiting = place_of(history, flow_id, recipient);
    if (!waiting)
        waiting =
            &history->waiting[((size_t)flow_id * NEIGHBOURS + history->next++ % NEIGHBOURS) % HISTORY_WAITING_MAX];
    waiting->flow_id = flow_id;
    waiting->delayed_s = json_integer_value(delayed);
    snprintf(waiting->recipient, sizeof waiting->recipient, "%s", recipient);
}

static int64_t waited_of(struct history *history, json_int_t flow_id, const char *recipient)
{
    struct waiting *waiting = place_of(history, flow_id, recipient);
    if (!waiting)
        return -1;
    waiting->flow_id = -1;
    return waiting->delayed_s;
}

/* ---- transactions ---- */

/* An address without its brackets, into `room`. */
static const char *plain(const char *address, char *room, size_t size)
{
    size_t len = address ? strlen(address) : 0;
    bool brackets = len > 1 && address[0] == '<' && address[len - 1] == '>';
    snprintf(room, size, "%.*s", (int)(brackets ? len - 2 : len), address ? address + brackets : "");
    return room;
}

static const char *outcome_of(const json_t *transaction, int code)
{
    static const char *const words[][2] = {{"accepted", "accepted"},     {"refused", "refused"},
                                           {"reset", "reset"},           {"replaced", "replaced"},
                                           {"unfinished", "unfinished"}, {"not-followed", "not followed"}};
    const char *outcome = text_of(transaction, "outcome");
    if (code >= 400)
        return code < 500 ? "put off" : "refused";
    if (json_is_true(json_object_get(transaction, "tls")))
        return "encrypted";
    for (size_t i = 0; outcome && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(outcome, words[i][0]) == 0)
            return words[i][1];
    return "unknown";
}

/* What the recipient was told, where that was no; else what became of the whole message. */
static void tell_mail(struct history *history, const json_t *event, const json_t *recipient, int64_t time_us)
{
    char from[400], to[400];
    const json_t *transaction = json_object_get(event, "postern");
    int code = (int)json_integer_value(json_object_get(recipient, "code"));
    int message = (int)json_integer_value(json_object_get(recipient, "message_code"));
    const json_t *told = code >= 400 ? recipient : transaction;
    code = code >= 400 ? code : message ? message : (int)json_integer_value(json_object_get(transaction, "code"));
    const char *told_client = text_of(event, "client_ip"); /* behind a load balancer */
    struct history_mail mail = {
        .time_us = time_us,
        .client = told_client ? told_client : text_of(event, "src_ip"),
        .from = plain(text_of(json_object_get(event, "smtp"), "mail_from"), from, sizeof from),
        .to = plain(text_of(recipient, "address"), to, sizeof to),
        .outcome = outcome_of(transaction, code),
        .by = text_of(told, "refused_by"),
        .rule = text_of(told, "rule"),
        .text = text_of(told, "text"),
        .code = code,
    };
    mail.waited_s = waited_of(history, json_integer_value(json_object_get(event, "flow_id")), mail.to);
    if (mail.client)
        history->reader.mail(history->reader.context, &mail);
}

static void tell_mails(struct history *history, const json_t *event, int64_t time_us)
{
    size_t index;
    json_t *recipient;
    json_array_foreach(json_object_get(json_object_get(event, "postern"), "recipients"), index, recipient)
        tell_mail(history, event, recipient, time_us);
}

bool history_take(struct history *history, const char *line, size_t len)
{
    const struct history_reader *reader = &history->reader;
    /* Most lines are commands and replies, which nobody wants. */
    if (!reader->event && !strstr(line, "\"event_type\":\"smtp\"") && !strstr(line, "\"event_type\":\"greylist\""))
        return line[0] == '{';
    json_t *event = json_loadb(line, len, 0, NULL);
    const char *type = text_of(event, "event_type"), *timestamp = text_of(event, "timestamp");
    int64_t time_us;
    bool good = type && timestamp && history_time(timestamp, &time_us);
    if (good && time_us >= reader->since_us) {
        if (reader->mail && strcmp(type, "greylist") == 0)
            remember(history, event);
        if (reader->mail && strcmp(type, "smtp") == 0)
            tell_mails(history, event, time_us);
        if (reader->event)
            reader->event(reader->context, type, event, time_us);
    }
    json_decref(event);
    return good;
}
