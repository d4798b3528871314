#include "report/json.h"

#include "report/text.h"

json_t *json_text(struct span octets)
{
    char text[4096];
    return json_string(text_escape(octets, text, sizeof text));
}

json_t *json_record(const struct event *event, const char *event_type)
{
    char time[TEXT_TIME_BYTES], from[TEXT_ADDRESS_BYTES], to[TEXT_ADDRESS_BYTES];
    json_t *record = json_object();
    json_object_set_new(record, "timestamp", json_string(text_time(event->time_us, time)));
    json_object_set_new(record, "flow_id", json_integer((json_int_t)event->flow_id));
    json_object_set_new(record, "event_type", json_string(event_type));
    json_object_set_new(record, "src_ip", json_string(text_address(&event->client, event->ip_version, from)));
    json_object_set_new(record, "src_port", json_integer(event->client.port));
    json_object_set_new(record, "dest_ip", json_string(text_address(&event->server, event->ip_version, to)));
    json_object_set_new(record, "dest_port", json_integer(event->server.port));
    json_object_set_new(record, "proto", json_string("TCP"));
    return record;
}

bool json_write_line(FILE *out, json_t *object)
{
    bool good = json_dumpf(object, out, JSON_COMPACT) == 0 && fputc('\n', out) != EOF;
    json_decref(object);
    return good;
}

bool json_write_event(FILE *out, const struct event *event)
{
    static const char *const changes[] = {
        [EVENT_KEPT] = "kept", [EVENT_REMOVED] = "removed", [EVENT_REPLACED] = "replaced"};
    json_t *record = json_record(event, event_kind_name(event->kind));
    switch (event->kind) {
    case EVENT_COMMAND:
    case EVENT_REPLY:
        json_object_set_new(record, "line", json_text(event->text));
        json_object_set_new(record, "verb", json_string(smtp_verb_name(event->verb)));
        if (event->kind == EVENT_REPLY && event->code)
            json_object_set_new(record, "code", json_integer(event->code));
        json_object_set_new(record, "change", json_string(changes[event->change]));
        if (event->change == EVENT_REPLACED)
            json_object_set_new(record, "shown", json_text(event->shown));
        if (event->change != EVENT_KEPT)
            json_object_set_new(record, "reason", json_text(span_of(event->reason)));
        break;
    case EVENT_PAYLOAD:
        json_object_set_new(record, "octets", json_integer((json_int_t)event->octets));
        break;
    case EVENT_ANOMALY:
        json_object_set_new(record, "line", json_text(event->text));
        json_object_set_new(record, "reason", json_string(event->reason));
        json_object_set_new(record, "from", json_string(event->from_server ? "server" : "client"));
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
