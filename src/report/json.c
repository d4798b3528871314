#include "report/json.h"

#include "report/handshake.h"
#include "report/text.h"

json_t *json_text(struct span octets)
{
    char text[TEXT_BYTES(JSON_TEXT_OCTETS_MAX)];
    return json_string(text_escape(octets, text, sizeof text));
}

json_t *json_line(struct span line)
{
    char text[TEXT_BYTES(JSON_LINE_OCTETS_MAX)];
    return json_string(text_escape_line(line, text, sizeof text));
}

size_t json_memory(json_t *value)
{
    enum { VALUE_BYTES = 64, TABLE_BYTES = 256 }; /* malloc's own included */
    size_t bytes = VALUE_BYTES + json_string_length(value) + (json_is_object(value) ? TABLE_BYTES : 0);
    for (size_t i = 0; i < json_array_size(value); i++)
        bytes += json_memory(json_array_get(value, i));
    for (void *member = json_object_iter(value); member; member = json_object_iter_next(value, member))
        bytes += VALUE_BYTES + strlen(json_object_iter_key(member)) + json_memory(json_object_iter_value(member));
    return bytes;
}

const char *json_change_name(enum event_change change)
{
    static const char *const names[] = {
        [EVENT_KEPT] = "kept", [EVENT_REMOVED] = "removed", [EVENT_REPLACED] = "replaced"};
    return names[change];
}

json_t *json_record(const struct event *event, const char *event_type)
{
    char time[TEXT_TIME_BYTES], from[TEXT_ADDRESS_BYTES], to[TEXT_ADDRESS_BYTES], told[TEXT_ADDRESS_BYTES];
    json_t *record = json_object();
    json_object_set_new(record, "timestamp", json_string(text_time(event->time_us, time)));
    json_object_set_new(record, "flow_id", json_integer((json_int_t)event->flow_id));
    json_object_set_new(record, "event_type", json_string(event_type));
    json_object_set_new(record, "src_ip", json_string(text_address(&event->client, event->ip_version, from)));
    json_object_set_new(record, "src_port", json_integer(event->client.port));
    json_object_set_new(record, "dest_ip", json_string(text_address(&event->server, event->ip_version, to)));
    json_object_set_new(record, "dest_port", json_integer(event->server.port));
    json_object_set_new(record, "proto", json_string("TCP"));
    if (event->told.ip_version) {
        const char *client = text_address(&event->told.end, event->told.ip_version, told);
        json_object_set_new(record, "client_ip", json_string(client));
        json_object_set_new(record, "client_port", json_integer(event->told.end.port));
    }
    return record;
}

void json_add(struct json_members *members, const char *name, json_t *value)
{
    if (json_object_set_new(members->object, name, value) != 0)
        members->missing = true;
}

void json_add_number(struct json_members *members, const char *name, int64_t number)
{
    json_add(members, name, json_integer(number));
}

json_t *json_whole(struct json_members *members)
{
    if (members->missing) {
        json_decref(members->object);
        members->object = NULL;
    }
    return members->object;
}

bool json_write_line(FILE *out, json_t *object)
{
    bool good = json_dumpf(object, out, JSON_COMPACT) == 0 && fputc('\n', out) != EOF;
    json_decref(object);
    return good;
}

/* How a line that changed left, and why. */
static void set_shown(json_t *record, const struct event *event)
{
    if (event->change == EVENT_REPLACED)
        json_object_set_new(record, "shown", json_line(event->shown));
    if (event->change != EVENT_KEPT)
        json_object_set_new(record, "reason", json_text(span_of(event->reason)));
}

/* What the greylist said, of whom, and why. */
static void set_verdict(json_t *record, const struct event *event)
{
    char time[TEXT_TIME_BYTES];
    bool recipient = event->verb == SMTP_VERB_RCPT;
    json_object_set_new(record, "verdict", json_string(event->action));
    if (event->dry_run)
        json_object_set_new(record, "dry_run", json_true());
    json_object_set_new(record, "reason", json_string(event->reason));
    if (event->passes_from_us)
        json_object_set_new(record, "passes_from", json_string(text_time(event->passes_from_us, time)));
    if (event->rule.len)
        json_object_set_new(record, "rule", json_text(event->rule));
    if (event->first_seen_us) {
        json_object_set_new(record, "first_seen", json_string(text_time(event->first_seen_us, time)));
        json_object_set_new(record, "delayed_s", json_integer((event->time_us - event->first_seen_us) / 1000000));
        json_object_set_new(record, "attempts", json_integer(event->attempt));
    }
    json_object_set_new(record, "verb", json_string(smtp_verb_name(event->verb)));
    json_object_set_new(record, "exchange", json_integer(event->exchange));
    json_object_set_new(record, recipient ? "recipient" : "helo", json_text(event->text));
    if (recipient)
        json_object_set_new(record, "sender", json_text(event->shown));
}

/* Whose mail was put off or taken, at which attempt, and what was said of it. */
static void set_guarded(json_t *record, const struct event *event)
{
    json_object_set_new(record, "outcome", json_string(event->action));
    if (event->attempt) {
        json_object_set_new(record, "attempt", json_integer(event->attempt));
        json_object_set_new(record, "attempts", json_integer(event->attempts));
    }
    if (event->last)
        json_object_set_new(record, "last", json_true());
    json_object_set_new(record, "sender", json_text(event->sender));
    json_object_set_new(record, "recipient", json_text(event->recipient));
    if (event->octets)
        json_object_set_new(record, "size", json_integer((json_int_t)event->octets));
    json_object_set_new(record, "verb", json_string(smtp_verb_name(event->verb)));
    json_object_set_new(record, "exchange", json_integer(event->exchange));
    json_object_set_new(record, "code", json_integer(event->code));
    json_object_set_new(record, "line", json_line(event->text));
    json_object_set_new(record, "delay_ms", json_integer(event->delay_ms));
}

/* In Suricata's form: all of ours are found by the parser of the protocol. */
static json_t *anomaly_of(const struct event *event)
{
    json_t *anomaly = json_object();
    json_object_set_new(anomaly, "app_proto", json_string("smtp"));
    json_object_set_new(anomaly, "type", json_string("applayer"));
    json_object_set_new(anomaly, "event", json_string(event->reason));
    json_object_set_new(anomaly, "layer", json_string("proto_parser"));
    return anomaly;
}

bool json_write_event(FILE *out, const struct event *event)
{
    if (event->unfinished) /* of records only */
        return true;
    json_t *record = json_record(event, event_kind_name(event->kind));
    if (event->lost)
        json_object_set_new(record, "events_lost", json_true());
    switch (event->kind) {
    case EVENT_COMMAND:
    case EVENT_REPLY:
        json_object_set_new(record, "line", json_line(event->text));
        json_object_set_new(record, "verb", json_string(smtp_verb_name(event->verb)));
        json_object_set_new(record, "exchange", json_integer(event->exchange));
        if (event->kind == EVENT_REPLY && event->code)
            json_object_set_new(record, "code", json_integer(event->code));
        json_object_set_new(record, "change", json_string(json_change_name(event->change)));
        set_shown(record, event);
        break;
    case EVENT_PAYLOAD:
        json_object_set_new(record, "verb", json_string(smtp_verb_name(event->verb)));
        json_object_set_new(record, "octets", json_integer((json_int_t)event->octets));
        json_object_set_new(record, "change", json_string(json_change_name(event->change)));
        break;
    case EVENT_ANOMALY:
        json_object_set_new(record, "from", json_string(event->from_server ? "server" : "client"));
        json_object_set_new(record, "anomaly", anomaly_of(event));
        if (event->text.len)
            json_object_set_new(record, "line", event->complete ? json_text(event->text) : json_line(event->text));
        break;
    case EVENT_RULE:
        json_object_set_new(record, "rule", json_text(span_of(event->reason)));
        json_object_set_new(record, "action", json_string(event->action));
        if (event->dry_run)
            json_object_set_new(record, "dry_run", json_true());
        json_object_set_new(record, "from", json_string(event->from_server ? "server" : "client"));
        if (event->text.len)
            json_object_set_new(record, "line", event->complete ? json_text(event->text) : json_line(event->text));
        if (event->shown.len)
            json_object_set_new(record, "shown", json_line(event->shown));
        break;
    case EVENT_GREYLIST:
        set_verdict(record, event);
        break;
    case EVENT_TARPIT:
        json_object_set_new(record, "rule", json_text(span_of(event->action)));
        json_object_set_new(record, "reason", json_string(event->reason));
        json_object_set_new(record, "verb", json_string(smtp_verb_name(event->verb)));
        json_object_set_new(record, "exchange", json_integer(event->exchange));
        json_object_set_new(record, "delay_ms", json_integer(event->delay_ms));
        json_object_set_new(record, "waited_ms", json_integer(event->waited_ms));
        break;
    case EVENT_GUARD:
        set_guarded(record, event);
        break;
    case EVENT_TLS:
        json_object_set_new(record, "tls", handshake_json(event->tls));
        break;
    case EVENT_RESEND_DIFFERS:
        json_object_set_new(record, "from", json_string(event->from_server ? "server" : "client"));
        json_object_set_new(record, "octets", json_integer((json_int_t)event->octets));
        break;
    case EVENT_FLOW_END:
    case EVENT_UNEDITED:
        json_object_set_new(record, "reason", json_string(event->reason));
        break;
    case EVENT_FLOW_START:
    case EVENT_KINDS:
        break;
    }
    return json_write_line(out, record);
}
