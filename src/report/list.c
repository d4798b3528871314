#include "report/list.h"

#include "report/json.h"

void list_add(struct list *list, struct account *account, size_t most, json_t *entry)
{
    size_t bytes = json_memory(entry);
    if (json_array_size(list->entries) == most || !account_take(account, bytes)) {
        list->omitted++;
        json_decref(entry);
        return;
    }
    list->bytes += bytes;
    if (!list->entries)
        list->entries = json_array();
    json_array_append_new(list->entries, entry);
}

void list_write(const struct list *list, json_t *record, const char *name, const char *omitted_name)
{
    json_object_set_new(record, name, list->entries ? json_incref(list->entries) : json_array());
    if (list->omitted)
        json_object_set_new(record, omitted_name, json_integer(list->omitted));
}

void list_clear(struct list *list, struct account *account)
{
    account_give(account, list->bytes);
    json_decref(list->entries);
    *list = (struct list){0};
}
