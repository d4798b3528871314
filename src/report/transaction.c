#include "report/transaction.h"

#include <stdlib.h>

#include "report/json.h"
#include "smtp/command.h"

enum { BUCKETS = 4096, COMMANDS_MAX = 1024 };

/* A session as far as its events tell. */
struct session {
    struct session *next;
    uint64_t flow_id;
    struct event where; /* addresses and ports */
    json_t *helo;
    json_t *mail_from;             /* NULL outside a transaction */
    json_t *rcpt_to;               /* addresses the server accepted or refused, in order */
    json_t *rcpt_code;             /* and what it replied to each */
    json_t *pending[COMMANDS_MAX]; /* MAIL and RCPT arguments whose replies have not come, oldest first */
    uint32_t pending_head, pending_count;
    uint64_t octets;
    const char *method;
    int64_t began_us;
    uint32_t recipients;
};

struct transactions {
    struct session *buckets[BUCKETS];
};

struct transactions *transactions_new(void)
{
    return calloc(1, sizeof(struct transactions));
}

uint32_t transactions_events(void)
{
    return 1u << EVENT_FLOW_START | 1u << EVENT_FLOW_END | 1u << EVENT_COMMAND | 1u << EVENT_REPLY |
           1u << EVENT_PAYLOAD | 1u << EVENT_UNEDITED;
}

static void forget_transaction(struct session *session)
{
    json_decref(session->mail_from);
    json_decref(session->rcpt_to);
    json_decref(session->rcpt_code);
    session->mail_from = session->rcpt_to = session->rcpt_code = NULL;
    session->octets = 0;
    session->recipients = 0;
    session->method = NULL;
}

static json_t *pop_pending(struct session *session)
{
    if (session->pending_count == 0)
        return NULL;
    json_t *oldest = session->pending[session->pending_head];
    session->pending_head = (session->pending_head + 1) % COMMANDS_MAX;
    session->pending_count--;
    return oldest;
}

static void push_pending(struct session *session, json_t *argument)
{
    if (session->pending_count == COMMANDS_MAX) {
        json_decref(argument);
        return;
    }
    session->pending[(session->pending_head + session->pending_count++) % COMMANDS_MAX] = argument;
}

static void free_session(struct session *session)
{
    forget_transaction(session);
    json_decref(session->helo);
    while (session->pending_count)
        json_decref(pop_pending(session));
    free(session);
}

void transactions_free(struct transactions *transactions)
{
    if (!transactions)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct session *session = transactions->buckets[i], *next; session; session = next) {
            next = session->next;
            free_session(session);
        }
    free(transactions);
}

static struct session **place_of(struct transactions *transactions, uint64_t flow_id)
{
    struct session **place = &transactions->buckets[flow_id % BUCKETS];
    while (*place && (*place)->flow_id != flow_id)
        place = &(*place)->next;
    return place;
}

/* What stands between the first < and the last >, or all of it behind the colon. */
static json_t *path_of(struct span argument)
{
    const uint8_t *colon = argument.len ? memchr(argument.ptr, ':', argument.len) : NULL;
    struct span path = colon ? span_tail(argument, (size_t)(colon - argument.ptr) + 1) : argument;
    while (path.len && path.ptr[0] == ' ')
        path = span_tail(path, 1);
    if (path.len && path.ptr[0] == '<') {
        bool quoted = false;
        size_t len = 1;
        for (; len < path.len && (quoted || path.ptr[len] != '>'); len++) {
            if (path.ptr[len] == '"')
                quoted = !quoted;
            else if (path.ptr[len] == '\\' && quoted && len + 1 < path.len)
                len++;
        }
        path = span_head(path, len + 1);
    }
    return json_text(path);
}

static bool end_transaction(struct session *session, const struct event *event, const char *outcome, FILE *out)
{
    if (!session->mail_from)
        return true;
    struct event where = session->where;
    where.time_us = event->time_us;
    json_t *record = json_record(&where, "smtp");
    json_t *smtp = json_object();
    if (session->helo)
        json_object_set(smtp, "helo", session->helo);
    json_object_set(smtp, "mail_from", session->mail_from);
    json_object_set(smtp, "rcpt_to", session->rcpt_to);
    json_object_set_new(record, "smtp", smtp);
    json_t *more = json_object();
    json_object_set(more, "rcpt_code", session->rcpt_code);
    json_object_set_new(more, "recipients", json_integer(session->recipients));
    json_object_set_new(more, "octets", json_integer((json_int_t)session->octets));
    json_object_set_new(more, "method", session->method ? json_string(session->method) : json_null());
    json_object_set_new(more, "outcome", json_string(outcome));
    if (event->kind == EVENT_REPLY)
        json_object_set_new(more, "code", json_integer(event->code));
    json_object_set_new(more, "duration_ms", json_integer((event->time_us - session->began_us) / 1000));
    json_object_set_new(record, "postern", more);
    forget_transaction(session);
    return json_write_line(out, record);
}

static bool begins_session(enum smtp_verb verb)
{
    return verb == SMTP_VERB_EHLO || verb == SMTP_VERB_HELO || verb == SMTP_VERB_LHLO;
}

static void take_command(struct session *session, const struct event *event)
{
    struct smtp_command command = smtp_command_parse(event->text);
    if (begins_session(event->verb)) {
        json_decref(session->helo);
        session->helo = json_text(command.argument);
    } else if (event->verb == SMTP_VERB_MAIL || event->verb == SMTP_VERB_RCPT) {
        push_pending(session, path_of(command.argument));
    }
}

static bool success(const struct event *event)
{
    return event->code / 100 == 2;
}

static bool begin_transaction(struct session *session, const struct event *event, FILE *out)
{
    json_t *sender = pop_pending(session);
    if (!sender || !success(event)) {
        json_decref(sender);
        return true;
    }
    bool good = end_transaction(session, event, "replaced", out);
    session->mail_from = sender;
    session->rcpt_to = json_array();
    session->rcpt_code = json_array();
    session->began_us = event->time_us;
    return good;
}

static void add_recipient(struct session *session, const struct event *event)
{
    json_t *recipient = pop_pending(session);
    if (recipient && session->mail_from && session->recipients++ < TRANSACTION_RECIPIENTS_MAX) {
        json_array_append(session->rcpt_to, recipient);
        json_array_append_new(session->rcpt_code, json_integer(event->code));
    }
    json_decref(recipient);
}

static bool take_reply(struct session *session, const struct event *event, FILE *out)
{
    enum smtp_verb verb = event->verb;
    if (!event->last)
        return true;
    if (verb == SMTP_VERB_MAIL)
        return begin_transaction(session, event, out);
    if (verb == SMTP_VERB_RCPT)
        add_recipient(session, event);
    else if ((verb == SMTP_VERB_RSET || begins_session(verb)) && success(event))
        return end_transaction(session, event, "reset", out);
    else if (verb == SMTP_VERB_END_OF_DATA || verb == SMTP_VERB_BDAT_LAST) {
        session->method = verb == SMTP_VERB_BDAT_LAST ? "BDAT" : "DATA";
        return end_transaction(session, event, success(event) ? "accepted" : "refused", out);
    }
    return true;
}

bool transactions_take(struct transactions *transactions, const struct event *event, FILE *out)
{
    struct session **place = place_of(transactions, event->flow_id);
    if (event->kind == EVENT_FLOW_START && !*place) {
        struct session *session = calloc(1, sizeof *session);
        if (!session)
            return true;
        session->flow_id = event->flow_id;
        session->where = *event;
        *place = session;
        return true;
    }
    struct session *session = *place;
    if (!session)
        return true;
    bool good = true;
    switch (event->kind) {
    case EVENT_COMMAND:
        take_command(session, event);
        break;
    case EVENT_REPLY:
        good = take_reply(session, event, out);
        break;
    case EVENT_PAYLOAD:
        session->octets += event->octets;
        break;
    case EVENT_UNEDITED:
        good = end_transaction(session, event, "not-followed", out);
        break;
    case EVENT_FLOW_END:
        good = end_transaction(session, event, "unfinished", out);
        *place = session->next;
        free_session(session);
        break;
    case EVENT_FLOW_START:
    case EVENT_ANOMALY:
    case EVENT_KINDS:
        break;
    }
    return good;
}
