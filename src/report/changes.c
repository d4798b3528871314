#include "report/changes.h"

#include "report/json.h"

json_t *changes_entry(const struct event *event, const char *why)
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

void changes_add(struct changes *changes, struct account *account, json_t *entry)
{
    if (!entry)
        return;
    size_t bytes = json_memory(entry);
    if (json_array_size(changes->list) == CHANGES_MAX || !account_take(account, bytes)) {
        changes->omitted++;
        json_decref(entry);
        return;
    }
    changes->bytes += bytes;
    if (!changes->list)
        changes->list = json_array();
    json_array_append_new(changes->list, entry);
}

void changes_write(const struct changes *changes, json_t *record)
{
    if (json_array_size(changes->list) > 0)
        json_object_set(record, "changes", changes->list);
    if (changes->omitted)
        json_object_set_new(record, "changes_omitted", json_integer(changes->omitted));
}

void changes_clear(struct changes *changes, struct account *account)
{
    account_give(account, changes->bytes);
    json_decref(changes->list);
    *changes = (struct changes){0};
}
