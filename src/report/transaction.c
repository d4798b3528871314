#include "report/transaction.h"

#include <stdlib.h>

#include "report/json.h"
#include "smtp/command.h"

enum { BUCKETS = 4096, COMMANDS_MAX = 1024, CHANGES_MAX = 100 };

/* A list that is told of up to a bound, and how many entries it would have without. */
struct list {
    json_t *entries; /* NULL while there is none */
    uint32_t count;
};

/* A session as far as its events tell. */
struct session {
    struct session *next;
    uint64_t flow_id;
    struct event where; /* addresses and ports */
    json_t *helo;
    json_t *mail_from;       /* NULL outside a transaction */
    json_t *rcpt_to;         /* addresses that a reply came to, in order */
    struct list recipients;  /* and what came of each */
    struct list changes;     /* of this transaction */
    struct list all_changes; /* of the session */
    struct list anomalies;
    json_t *pending[COMMANDS_MAX]; /* MAIL and RCPT arguments whose replies have not come, oldest first */
    uint32_t pending_head, pending_count;
    uint64_t octets;
    const char *method;
    const char *unedited;  /* why it is no longer followed; NULL while it is */
    int64_t began_us;      /* the transaction */
    int64_t connected_us;  /* the session */
    uint32_t transactions; /* that ended */
    uint32_t commands, replies;
    uint16_t refused_code; /* what the filter said of the whole transaction; 0 where it said nothing */
    bool tls;
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
           1u << EVENT_PAYLOAD | 1u << EVENT_UNEDITED | 1u << EVENT_ANOMALY;
}

static void list_forget(struct list *list)
{
    json_decref(list->entries);
    *list = (struct list){0};
}

/* One more entry, which is the list's. */
static void list_add(struct list *list, uint32_t most, json_t *entry)
{
    if (!list->entries)
        list->entries = json_array();
    if (list->count++ < most)
        json_array_append_new(list->entries, entry);
    else
        json_decref(entry);
}

/* Tell of a list, and of how many entries were left out; an empty one is told, too. */
static void list_tell(const struct list *list, json_t *object, const char *name, const char *omitted_name)
{
    size_t told = json_array_size(list->entries);
    json_object_set_new(object, name, list->entries ? json_incref(list->entries) : json_array());
    if (list->count > told)
        json_object_set_new(object, omitted_name, json_integer((json_int_t)(list->count - told)));
}

static void forget_transaction(struct session *session)
{
    json_decref(session->mail_from);
    json_decref(session->rcpt_to);
    session->mail_from = session->rcpt_to = NULL;
    list_forget(&session->recipients);
    list_forget(&session->changes);
    session->octets = 0;
    session->refused_code = 0;
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
    list_forget(&session->all_changes);
    list_forget(&session->anomalies);
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

/* The record of a session or transaction, at the time of `event`. */
static json_t *begin_record(const struct session *session, const struct event *event, const char *event_type)
{
    struct event where = session->where;
    where.time_us = event->time_us;
    json_t *record = json_record(&where, event_type);
    json_t *smtp = json_object();
    if (session->helo)
        json_object_set(smtp, "helo", session->helo);
    if (session->mail_from) {
        json_object_set(smtp, "mail_from", session->mail_from);
        json_object_set(smtp, "rcpt_to", session->rcpt_to);
    }
    json_object_set_new(record, "smtp", smtp);
    return record;
}

/* `code`: the last reply to the client that belongs to it; 0 where there is none. */
static bool end_transaction(struct session *session, const struct event *event, const char *outcome, uint16_t code,
                            FILE *out)
{
    if (!session->mail_from)
        return true;
    if (session->refused_code) {
        outcome = "refused";
        code = session->refused_code;
    }
    json_t *record = begin_record(session, event, "smtp");
    json_object_set_new(record, "tx_id", json_integer((json_int_t)session->transactions));
    json_t *more = json_object();
    list_tell(&session->recipients, more, "recipients", "recipients_omitted");
    json_object_set_new(more, "octets", json_integer((json_int_t)session->octets));
    json_object_set_new(more, "method", session->method ? json_string(session->method) : json_null());
    json_object_set_new(more, "tls", json_boolean(session->tls));
    json_object_set_new(more, "outcome", json_string(outcome));
    if (code)
        json_object_set_new(more, "code", json_integer(code));
    json_object_set_new(more, "duration_ms", json_integer((event->time_us - session->began_us) / 1000));
    list_tell(&session->changes, more, "changes", "changes_omitted");
    json_object_set_new(record, "postern", more);
    session->transactions++;
    forget_transaction(session);
    return json_write_line(out, record);
}

static bool end_session(struct session *session, const struct event *event, FILE *out)
{
    bool good = end_transaction(session, event, "unfinished", 0, out);
    json_t *record = begin_record(session, event, "smtp-session");
    json_t *more = json_object();
    json_object_set_new(more, "commands", json_integer(session->commands));
    json_object_set_new(more, "replies", json_integer(session->replies));
    json_object_set_new(more, "transactions", json_integer(session->transactions));
    json_object_set_new(more, "tls", json_boolean(session->tls));
    json_object_set_new(more, "unedited", session->unedited ? json_string(session->unedited) : json_null());
    json_object_set_new(more, "ended", json_string(event->reason));
    json_object_set_new(more, "duration_ms", json_integer((event->time_us - session->connected_us) / 1000));
    list_tell(&session->all_changes, more, "changes", "changes_omitted");
    list_tell(&session->anomalies, more, "anomalies", "anomalies_omitted");
    json_object_set_new(record, "postern", more);
    return json_write_line(out, record) && good;
}

/* What the other side saw was not what was sent. */
static void note_change(struct session *session, const struct event *event)
{
    if (event->change == EVENT_KEPT)
        return;
    bool reply = event->kind == EVENT_REPLY;
    json_t *change = json_pack(
        "{s:s, s:s, s:s, s:o}", "what", reply ? "reply" : "command", "verb", smtp_verb_name(event->verb), "change",
        event->change == EVENT_REMOVED ? "removed" : "replaced", "why", json_text(span_of(event->reason)));
    if (session->mail_from)
        list_add(&session->changes, CHANGES_MAX, json_incref(change));
    list_add(&session->all_changes, CHANGES_MAX, change);
}

/* The code as the client saw it. */
static uint16_t code_shown(const struct event *event)
{
    const uint8_t *at = event->shown.ptr;
    if (event->change != EVENT_REPLACED || event->shown.len < 3)
        return event->code;
    return (uint16_t)((at[0] - '0') * 100 + (at[1] - '0') * 10 + (at[2] - '0'));
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
    bool good = end_transaction(session, event, "replaced", 0, out);
    session->mail_from = sender;
    session->rcpt_to = json_array();
    session->began_us = event->time_us;
    return good;
}

static void add_recipient(struct session *session, const struct event *event)
{
    json_t *address = pop_pending(session);
    if (!address || !session->mail_from) {
        json_decref(address);
        return;
    }
    uint16_t code = code_shown(event);
    json_t *recipient = json_pack("{s:O, s:i}", "address", address, "code", code);
    if (code != event->code) {
        json_object_set_new(recipient, "server_code", json_integer(event->code));
        json_object_set_new(recipient, "why", json_text(span_of(event->reason)));
    }
    if (session->recipients.count < TRANSACTION_RECIPIENTS_MAX)
        json_array_append(session->rcpt_to, address);
    list_add(&session->recipients, TRANSACTION_RECIPIENTS_MAX, recipient);
    json_decref(address);
}

static bool take_reply(struct session *session, const struct event *event, FILE *out)
{
    enum smtp_verb verb = event->verb;
    if (!event->last)
        return true;
    uint16_t code = code_shown(event);
    session->replies++;
    if (verb == SMTP_VERB_MAIL)
        return begin_transaction(session, event, out);
    if (verb == SMTP_VERB_RCPT) {
        add_recipient(session, event);
    } else if ((verb == SMTP_VERB_RSET || verb == SMTP_VERB_BDAT) && code != event->code) {
        /* In place of DATA, or of a chunk: the filter's verdict on the whole transaction. */
        session->refused_code = code;
        session->method = verb == SMTP_VERB_BDAT ? "BDAT" : "DATA";
    }
    if ((verb == SMTP_VERB_RSET || begins_session(verb)) && success(event))
        return end_transaction(session, event, "reset", code, out);
    if (verb == SMTP_VERB_END_OF_DATA || verb == SMTP_VERB_BDAT_LAST) {
        session->method = verb == SMTP_VERB_BDAT_LAST ? "BDAT" : "DATA";
        return end_transaction(session, event, success(event) ? "accepted" : "refused", code, out);
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
        session->connected_us = event->time_us;
        *place = session;
        return true;
    }
    struct session *session = *place;
    if (!session)
        return true;
    bool good = true;
    switch (event->kind) {
    case EVENT_COMMAND:
        session->commands++;
        note_change(session, event);
        take_command(session, event);
        break;
    case EVENT_REPLY:
        note_change(session, event);
        good = take_reply(session, event, out);
        break;
    case EVENT_PAYLOAD:
        session->octets += event->octets;
        break;
    case EVENT_ANOMALY:
        list_add(&session->anomalies, CHANGES_MAX, json_string(event->reason));
        break;
    case EVENT_UNEDITED:
        session->unedited = event->reason;
        session->tls = strcmp(event->reason, "encrypted") == 0;
        good = end_transaction(session, event, "not-followed", 0, out);
        break;
    case EVENT_FLOW_END:
        good = end_session(session, event, out);
        *place = session->next;
        free_session(session);
        break;
    case EVENT_FLOW_START:
    case EVENT_KINDS:
        break;
    }
    return good;
}
