#include "report/session.h"

#include <stdlib.h>

#include "report/exchanges.h"
#include "report/handshake.h"
#include "report/json.h"
#include "report/text.h"
#include "report/transaction.h"
#include "report/types.h"
#include "smtp/command.h"

enum { BUCKETS = 4096, CHANGES_MAX = 100, ANOMALIES_MAX = 100 };

/* A connection as far as its events tell. */
struct session {
    struct session *next; /* in its bucket */
    uint64_t flow_id;
    struct event first; /* addresses and ports */
    json_t *helo;
    size_t helo_bytes; /* taken from the account */
    struct exchanges exchanges;
    struct transaction transaction;
    struct list changes; /* outside transactions */
    struct list anomalies;
    const char *unedited; /* why nothing more was edited; NULL while it was */
    json_t *tls;          /* what was seen of its handshake; NULL: nothing */
    bool encrypted;       /* STARTTLS or X-ANONYMOUSTLS was accepted */
    bool events_lost;
    uint32_t transactions, accepted;
    uint32_t commands, replies, removed, replaced;
    struct event unfinished; /* the payload that was still coming when the filter stopped; all zero: none */
};

struct sessions {
    struct session *buckets[BUCKETS];
    struct account account;
    uint32_t types; /* of lines that are written (report/types) */
};

struct sessions *sessions_new(size_t bytes_max)
{
    struct sessions *sessions = calloc(1, sizeof *sessions);
    if (sessions)
        *sessions = (struct sessions){.account.left = bytes_max, .types = TYPES_ALL};
    return sessions;
}

void sessions_write_only(struct sessions *sessions, uint32_t types)
{
    sessions->types = types;
}

uint32_t sessions_events(void)
{
    return (1u << EVENT_KINDS) - 1;
}

/* ---- records ------------------------------------------------------------------------------------- */

/* The head of a record, and its objects "smtp" and "postern". */
struct record {
    json_t *record, *smtp, *postern;
};

static struct record begin_record(const struct session *session, int64_t time_us, const char *event_type)
{
    struct event at = session->first;
    at.time_us = time_us;
    struct record made = {json_record(&at, event_type), json_object(), json_object()};
    if (session->helo)
        json_object_set(made.smtp, "helo", session->helo);
    return made;
}

/* `type`: one of TYPES_RECORD_. */
static bool write_record(const struct sessions *sessions, const struct session *session, uint32_t type,
                         struct record made, int64_t took_us, FILE *out)
{
    json_object_set_new(made.postern, "tls", json_boolean(session->encrypted));
    json_object_set_new(made.postern, "duration_ms", json_integer(took_us / 1000));
    if (session->events_lost)
        json_object_set_new(made.postern, "events_lost", json_true());
    json_object_set_new(made.record, "smtp", made.smtp);
    json_object_set_new(made.record, "postern", made.postern);
    if (sessions->types & type)
        return json_write_line(out, made.record);
    json_decref(made.record);
    return true;
}

static bool end_transaction(struct sessions *sessions, struct session *session, int64_t now_us, const char *outcome,
                            FILE *out)
{
    struct transaction *transaction = &session->transaction;
    if (!transaction->open)
        return true;
    if (transaction->filter_refused)
        outcome = "refused"; /* and the client had no way but to give it up */
    struct record made = begin_record(session, now_us, "smtp");
    json_object_set_new(made.record, "tx_id", json_integer(session->transactions++));
    json_object_set_new(made.postern, "outcome", json_string(outcome));
    session->accepted += strcmp(outcome, "accepted") == 0;
    transaction_write(transaction, made.smtp, made.postern);
    bool good = write_record(sessions, session, TYPES_RECORD_SMTP, made, now_us - transaction->began_us, out);
    transaction_clear(transaction, &sessions->account);
    return good;
}

/* `offset` is NULL where it is not known. */
static bool write_session(const struct sessions *sessions, const struct session *session, int64_t now_us,
                          const char *ended, const int32_t *offset, FILE *out)
{
    char began[TEXT_TIME_BYTES];
    struct record made = begin_record(session, now_us, "smtp-session");
    json_t *postern = made.postern;
    json_object_set_new(postern, "began", json_string(text_time(session->first.time_us, began)));
    json_object_set_new(postern, "ended", json_string(ended));
    json_object_set_new(postern, "commands", json_integer(session->commands));
    json_object_set_new(postern, "replies", json_integer(session->replies));
    json_object_set_new(postern, "transactions", json_integer(session->transactions));
    json_object_set_new(postern, "accepted", json_integer(session->accepted));
    json_object_set_new(postern, "edited", json_boolean(session->removed + session->replaced > 0));
    json_object_set_new(postern, "removed", json_integer(session->removed));
    json_object_set_new(postern, "replaced", json_integer(session->replaced));
    if (offset) {
        json_object_set_new(postern, "client_offset", json_integer(offset[0]));
        json_object_set_new(postern, "server_offset", json_integer(offset[1]));
    }
    json_object_set_new(postern, "unedited", session->unedited ? json_string(session->unedited) : json_null());
    list_write(&session->anomalies, postern, "anomalies", "anomalies_omitted");
    list_write(&session->changes, postern, "changes", "changes_omitted");
    if (session->tls)
        json_object_set(made.record, "tls", session->tls);
    return write_record(sessions, session, TYPES_RECORD_SMTP_SESSION, made, now_us - session->first.time_us, out);
}

/* ---- commands ------------------------------------------------------------------------------------ */

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

/* The server has accepted a name; NULL where there was no room to keep it. */
static void set_helo(struct sessions *sessions, struct session *session, json_t *name)
{
    json_decref(session->helo);
    account_give(&sessions->account, session->helo_bytes);
    session->helo = NULL;
    session->helo_bytes = json_memory(name);
    if (name && account_take(&sessions->account, session->helo_bytes))
        session->helo = json_incref(name);
    else
        session->helo_bytes = 0;
}

/* An entry of a list of changes; the caller owns it. */
static json_t *change_entry(const struct event *event, const char *why)
{
    json_t *entry = json_object();
    json_object_set_new(entry, "what", json_string(event_kind_name(event->kind)));
    json_object_set_new(entry, "verb", json_string(smtp_verb_name(event->verb)));
    json_object_set_new(entry, "change", json_string(json_change_name(event->change)));
    if (event->kind == EVENT_PAYLOAD)
        json_object_set_new(entry, "octets", json_integer((json_int_t)event->octets));
    else
        json_object_set_new(entry, "line", json_text(event->text));
    if (event->change == EVENT_REPLACED)
        json_object_set_new(entry, "shown", json_text(event->shown));
    json_object_set_new(entry, "why", json_text(span_of(why)));
    return entry;
}

/* What a command or payload holds until its reply has come. */
static void hold(struct account *account, struct exchange *exchange, json_t **place, json_t *value)
{
    size_t bytes = json_memory(value);
    if (account_take(account, bytes)) {
        exchange->bytes += bytes;
        *place = value;
    } else {
        json_decref(value);
    }
}

/* What the client meant, in words that replies are told in. */
static enum smtp_verb client_verb(const struct event *event, const struct smtp_command *command)
{
    uint64_t octets;
    bool last = false;
    if (event->verb == SMTP_VERB_BDAT)
        (void)smtp_chunk_parse(command->argument, &octets, &last);
    return last ? SMTP_VERB_BDAT_LAST : event->verb;
}

/* Remember what draws a reply. */
static struct exchange *expect_reply(struct sessions *sessions, struct session *session, const struct event *event,
                                     enum smtp_verb verb)
{
    /* Octets that belong to a command are taken out for the same reason as the command. */
    const struct exchange *command = exchanges_newest(&session->exchanges);
    const char *why = event->kind == EVENT_PAYLOAD && command ? command->why : event->reason;
    struct exchange *exchange = exchanges_add(&session->exchanges, &sessions->account);
    if (!exchange) {
        session->events_lost = true;
        return NULL;
    }
    exchange->number = event->exchange;
    exchange->verb = (uint8_t)verb;
    exchange->time_us = event->time_us;
    if (event->change != EVENT_KEPT) {
        exchange->why = why;
        hold(&sessions->account, exchange, &exchange->change, change_entry(event, why));
    }
    return exchange;
}

static void take_command(struct sessions *sessions, struct session *session, const struct event *event)
{
    struct smtp_command command = smtp_command_parse(event->text);
    session->commands++;
    struct exchange *exchange = expect_reply(sessions, session, event, client_verb(event, &command));
    if (exchange && (event->verb == SMTP_VERB_MAIL || event->verb == SMTP_VERB_RCPT))
        hold(&sessions->account, exchange, &exchange->argument, path_of(command.argument));
    else if (exchange && smtp_verb_is(event->verb, SMTP_TRAIT_HELLO))
        hold(&sessions->account, exchange, &exchange->argument, json_text(command.argument));
}

static void take_payload(struct sessions *sessions, struct session *session, const struct event *event)
{
    struct exchange *newest = exchanges_newest(&session->exchanges);
    bool chunk = newest && smtp_verb_is((enum smtp_verb)newest->verb, SMTP_TRAIT_CHUNK);
    if (event->verb == SMTP_VERB_END_OF_DATA) {
        struct exchange *exchange = expect_reply(sessions, session, event, event->verb);
        if (exchange)
            exchange->octets = event->octets;
    } else if (event->verb == SMTP_VERB_BDAT && chunk) {
        newest->octets += event->octets;
    } else if (event->verb == SMTP_VERB_XEXCH50_DATA || event->change != EVENT_KEPT) {
        (void)expect_reply(sessions, session, event, event->verb);
    }
}

/* ---- replies ------------------------------------------------------------------------------------- */

/* A change belongs to the transaction that is open, if one is. */
static void note(struct sessions *sessions, struct session *session, json_t *entry)
{
    struct list *changes = session->transaction.open ? &session->transaction.changes : &session->changes;
    if (entry)
        list_add(changes, &sessions->account, CHANGES_MAX, entry);
}

static void forget_oldest(struct sessions *sessions, struct session *session)
{
    struct exchange oldest = exchanges_pop(&session->exchanges, &sessions->account);
    note(sessions, session, oldest.change);
    json_decref(oldest.argument);
}

/* What a reply answers; NULL where that is not known. What was sent before has been answered. */
static struct exchange *answered(struct sessions *sessions, struct session *session, const struct event *event)
{
    struct exchange *oldest;
    while ((oldest = exchanges_oldest(&session->exchanges)) && (int32_t)(oldest->number - event->exchange) < 0)
        forget_oldest(sessions, session);
    return oldest && oldest->number == event->exchange ? oldest : NULL;
}

static struct answer answer_of(const struct event *event, const char *why)
{
    bool replaced = event->change == EVENT_REPLACED;
    struct answer answer = {
        .code = event->code,
        .server_code = event->code,
        .by_filter = replaced,
        .text = replaced ? event->shown : event->text,
        .rule = why,
    };
    if (!replaced)
        return answer;
    answer.code = 0;
    for (size_t i = 0; i < 3 && i < answer.text.len && answer.text.ptr[i] >= '0' && answer.text.ptr[i] <= '9'; i++)
        answer.code = (uint16_t)(answer.code * 10 + answer.text.ptr[i] - '0');
    return answer;
}

static bool success(const struct answer *answer)
{
    return answer->code / 100 == 2;
}

static bool begin_transaction(struct sessions *sessions, struct session *session, const struct exchange *exchange,
                              int64_t now_us, FILE *out)
{
    bool good = end_transaction(sessions, session, now_us, "replaced", out);
    transaction_begin(&session->transaction, &sessions->account, exchange->argument, exchange->time_us);
    return good;
}

/* The message, or its last chunk, was answered. */
static bool message_answered(struct sessions *sessions, struct session *session, const struct event *event,
                             const struct answer *answer, FILE *out)
{
    enum { PRDR_FOLLOWS = 353 };
    struct transaction *transaction = &session->transaction;
    bool one_of_many = !event->closes || transaction->next_delivered > 0;
    if (answer->code == PRDR_FOLLOWS)
        return true;
    if (one_of_many)
        transaction_delivered(transaction, answer);
    transaction_answer(transaction, answer);
    if (!event->closes)
        return true;
    bool accepted = success(answer) || transaction->any_delivered;
    return end_transaction(sessions, session, event->time_us, accepted ? "accepted" : "refused", out);
}

static bool take_answer(struct sessions *sessions, struct session *session, const struct event *event,
                        const struct exchange *exchange, const struct answer *answer, FILE *out)
{
    struct transaction *transaction = &session->transaction;
    enum smtp_verb verb = exchange ? (enum smtp_verb)exchange->verb : event->verb;
    if (smtp_verb_is(verb, SMTP_TRAIT_HELLO) || verb == SMTP_VERB_RSET) {
        bool good = !success(answer) || end_transaction(sessions, session, event->time_us, "reset", out);
        if (success(answer) && verb != SMTP_VERB_RSET && exchange)
            set_helo(sessions, session, exchange->argument);
        return good;
    }
    if (verb == SMTP_VERB_MAIL && exchange)
        return !success(answer) || begin_transaction(sessions, session, exchange, event->time_us, out);
    if (smtp_verb_is(verb, SMTP_TRAIT_ENCRYPTS))
        session->encrypted = session->encrypted || success(answer);
    if (!transaction->open)
        return true;
    switch (verb) {
    case SMTP_VERB_RCPT:
        transaction_recipient(transaction, &sessions->account, exchange ? exchange->argument : NULL, answer);
        break;
    case SMTP_VERB_DATA:
        transaction->method = "DATA";
        transaction_answer(transaction, answer);
        break;
    case SMTP_VERB_BDAT:
        transaction->method = "BDAT";
        transaction->octets += exchange ? exchange->octets : 0;
        transaction_answer(transaction, answer);
        break;
    case SMTP_VERB_BDAT_LAST:
        transaction->method = "BDAT";
        transaction->octets += exchange && event->closes ? exchange->octets : 0;
        return message_answered(sessions, session, event, answer, out);
    case SMTP_VERB_END_OF_DATA:
        transaction->octets = exchange ? exchange->octets : 0;
        return message_answered(sessions, session, event, answer, out);
    default:
        break;
    }
    return true;
}

static bool take_reply(struct sessions *sessions, struct session *session, const struct event *event, FILE *out)
{
    struct exchange *exchange = answered(sessions, session, event);
    const char *why = event->reason[0] || !exchange ? event->reason : exchange->why;
    json_t *entry = event->change == EVENT_KEPT ? NULL : change_entry(event, why);
    if (!event->last) {
        note(sessions, session, entry);
        return true;
    }
    session->replies++;
    struct answer answer = answer_of(event, why);
    bool begins = exchange && exchange->verb == SMTP_VERB_MAIL;
    bool good = !begins || take_answer(sessions, session, event, exchange, &answer, out);
    if (exchange) {
        note(sessions, session, exchange->change);
        exchange->change = NULL;
    }
    note(sessions, session, entry);
    if (exchange)
        exchange->answered = event->closes;
    return begins ? good : take_answer(sessions, session, event, exchange, &answer, out);
}

/* ---- the life of a session ------------------------------------------------------------------------ */

static struct session **place_of(struct sessions *sessions, uint64_t flow_id)
{
    struct session **place = &sessions->buckets[flow_id % BUCKETS];
    while (*place && (*place)->flow_id != flow_id)
        place = &(*place)->next;
    return place;
}

static void free_session(struct sessions *sessions, struct session *session)
{
    while (exchanges_oldest(&session->exchanges))
        forget_oldest(sessions, session);
    exchanges_clear(&session->exchanges, &sessions->account);
    transaction_clear(&session->transaction, &sessions->account);
    list_clear(&session->changes, &sessions->account);
    list_clear(&session->anomalies, &sessions->account);
    account_give(&sessions->account, session->helo_bytes);
    json_decref(session->helo);
    json_decref(session->tls);
    free(session);
}

void sessions_free(struct sessions *sessions)
{
    for (size_t i = 0; sessions && i < BUCKETS; i++)
        for (struct session *session = sessions->buckets[i], *next; session; session = next) {
            next = session->next;
            free_session(sessions, session);
        }
    free(sessions);
}

/*
 * What crossed of the open transaction's message is told though nobody answers it. False where it is over with this
 * exchange, or another one begins.
 */
static bool count_unanswered(struct transaction *transaction, const struct exchange *exchange)
{
    if (exchange->verb == SMTP_VERB_END_OF_DATA)
        transaction->octets = exchange->octets;
    else if (smtp_verb_is((enum smtp_verb)exchange->verb, SMTP_TRAIT_CHUNK))
        transaction->octets += exchange->octets;
    return !smtp_verb_is((enum smtp_verb)exchange->verb, SMTP_TRAIT_ENDS_MESSAGE) && exchange->verb != SMTP_VERB_MAIL;
}

/* Nothing more is told of commands and replies. */
static bool break_off(struct sessions *sessions, struct session *session, const struct event *event,
                      const char *outcome, FILE *out)
{
    struct transaction *transaction = &session->transaction;
    bool goes_on = true, counted = true; /* the newest one was, to which octets belong that are not all there */
    for (const struct exchange *oldest; (oldest = exchanges_oldest(&session->exchanges)) != NULL;) {
        counted = goes_on;
        goes_on = goes_on && (oldest->answered || count_unanswered(transaction, oldest));
        forget_oldest(sessions, session);
    }
    if (counted && (event->verb == SMTP_VERB_END_OF_DATA || event->verb == SMTP_VERB_BDAT))
        transaction->octets += event->octets;
    return end_transaction(sessions, session, event->time_us, outcome, out);
}

static bool end_session(struct sessions *sessions, struct session **place, const struct event *event,
                        const int32_t *offset, FILE *out)
{
    struct session *session = *place;
    bool good = break_off(sessions, session, event, "unfinished", out);
    good = write_session(sessions, session, event->time_us, event->reason, offset, out) && good;
    *place = session->next;
    free_session(sessions, session);
    return good;
}

bool sessions_stop(struct sessions *sessions, int64_t now_us, FILE *out)
{
    bool good = true;
    for (size_t i = 0; i < BUCKETS; i++)
        while (sessions->buckets[i]) {
            struct event end = sessions->buckets[i]->first;
            end.time_us = now_us > end.time_us ? now_us : end.time_us;
            end.reason = "stopped";
            end.verb = sessions->buckets[i]->unfinished.verb;
            end.octets = sessions->buckets[i]->unfinished.octets;
            good = end_session(sessions, &sessions->buckets[i], &end, NULL, out) && good;
        }
    return good;
}

static void begin_session(struct session **place, const struct event *event)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return;
    session->flow_id = event->flow_id;
    session->first = *event;
    *place = session;
}

bool sessions_take(struct sessions *sessions, const struct event *event, FILE *out)
{
    struct session **place = place_of(sessions, event->flow_id);
    if (!*place && (event->kind == EVENT_FLOW_START || event->lost))
        begin_session(place, event);
    struct session *session = *place;
    if (!session)
        return true;
    session->events_lost = session->events_lost || event->lost;
    if (event->told.ip_version)
        session->first.told = event->told;
    session->removed += event->change == EVENT_REMOVED;
    session->replaced += event->change == EVENT_REPLACED;
    switch (event->kind) {
    case EVENT_COMMAND:
        take_command(sessions, session, event);
        break;
    case EVENT_REPLY:
        return take_reply(sessions, session, event, out);
    case EVENT_PAYLOAD:
        if (event->unfinished)
            session->unfinished = (struct event){.verb = event->verb, .octets = event->octets};
        else
            take_payload(sessions, session, event);
        break;
    case EVENT_ANOMALY:
        list_add(&session->anomalies, &sessions->account, ANOMALIES_MAX, json_text(span_of(event->reason)));
        break;
    case EVENT_UNEDITED:
        session->encrypted = session->encrypted || strcmp(event->reason, "encrypted") == 0;
        session->unedited = event->reason;
        return break_off(sessions, session, event, "not-followed", out);
    case EVENT_FLOW_END:
        return end_session(sessions, place, event, event->offset, out);
    case EVENT_TLS:
        json_decref(session->tls);
        session->tls = handshake_json(event->tls);
        break;
    case EVENT_FLOW_START:
    case EVENT_RULE:
    case EVENT_GREYLIST:
    case EVENT_TARPIT:
    case EVENT_GUARD:
    case EVENT_RESEND_DIFFERS:
    case EVENT_KINDS:
        break;
    }
    return true;
}
