#include "report/table.h"

#include <stdlib.h>

#include "report/text.h"

struct row {
    struct event first;
    uint32_t commands, replies, removed, replaced, anomalies;
    const char *state;
};

struct table {
    struct row *rows;
    size_t count, room;
};

struct table *table_new(void)
{
    return calloc(1, sizeof(struct table));
}

void table_free(struct table *table)
{
    if (table)
        free(table->rows);
    free(table);
}

uint32_t table_events(void)
{
    return (1u << EVENT_KINDS) - 1;
}

/* Flow ids ascend, so the row is near the end. */
static struct row *row_of(struct table *table, const struct event *event)
{
    for (size_t i = table->count; i > 0; i--)
        if (table->rows[i - 1].first.flow_id == event->flow_id)
            return &table->rows[i - 1];
    if (table->count == table->room) {
        size_t room = table->room ? table->room * 2 : 64;
        struct row *rows = realloc(table->rows, room * sizeof *rows);
        if (!rows)
            return NULL;
        table->rows = rows;
        table->room = room;
    }
    table->rows[table->count] = (struct row){.first = *event, .state = "open"};
    return &table->rows[table->count++];
}

void table_take(struct table *table, const struct event *event)
{
    struct row *row = table ? row_of(table, event) : NULL;
    if (!row)
        return;
    row->commands += event->kind == EVENT_COMMAND;
    row->replies += event->kind == EVENT_REPLY && event->last;
    row->removed += event->change == EVENT_REMOVED;
    row->replaced += event->change == EVENT_REPLACED;
    row->anomalies += event->kind == EVENT_ANOMALY;
    if (event->kind == EVENT_UNEDITED || (event->kind == EVENT_FLOW_END && strcmp(row->state, "open") == 0))
        row->state = event->reason;
}

void table_show(const struct table *table, FILE *out)
{
    fprintf(out, "%-26s %-22s %-22s %8s %7s %7s %8s %9s  %s\n", "began", "client", "server", "commands", "replies",
            "removed", "replaced", "anomalies", "state");
    for (size_t i = 0; i < table->count; i++) {
        const struct row *row = &table->rows[i];
        char time[TEXT_TIME_BYTES], address[TEXT_ADDRESS_BYTES], client[TEXT_ADDRESS_BYTES + 8],
            server[TEXT_ADDRESS_BYTES + 8];
        snprintf(client, sizeof client, "%s:%u", text_address(&row->first.client, row->first.ip_version, address),
                 row->first.client.port);
        snprintf(server, sizeof server, "%s:%u", text_address(&row->first.server, row->first.ip_version, address),
                 row->first.server.port);
        fprintf(out, "%-26.26s %-22s %-22s %8u %7u %7u %8u %9u  %s\n", text_time(row->first.time_us, time), client,
                server, row->commands, row->replies, row->removed, row->replaced, row->anomalies, row->state);
    }
}
