#include "report/dialogue.h"

#include "report/text.h"

#define RED   "\033[31m"
#define GREEN "\033[32m"
#define DIM   "\033[2m"
#define PLAIN "\033[0m"

uint32_t dialogue_events(void)
{
    return (1u << EVENT_KINDS) - 1;
}

static void show_flow(struct dialogue *dialogue, const struct event *event)
{
    char client[TEXT_ADDRESS_BYTES], server[TEXT_ADDRESS_BYTES], time[TEXT_TIME_BYTES];
    if (event->flow_id == dialogue->flow_id)
        return;
    fprintf(dialogue->out, "%sconnection %llu: [%s]:%u --> [%s]:%u  %s\n", dialogue->flow_id ? "\n" : "",
            (unsigned long long)event->flow_id, text_address(&event->client, event->ip_version, client),
            event->client.port, text_address(&event->server, event->ip_version, server), event->server.port,
            text_time(event->time_us, time));
    dialogue->flow_id = event->flow_id;
}

static void show_line(const struct dialogue *dialogue, const char *arrow, const char *colour, const char *text,
                      const char *mark)
{
    bool coloured = dialogue->colour && colour[0];
    fprintf(dialogue->out, "%s%s %s%s%s%s\n", coloured ? colour : "", arrow, text, mark[0] ? "   " : "", mark,
            coloured ? PLAIN : "");
}

void dialogue_show(struct dialogue *dialogue, const struct event *event)
{
    char text[4200], time[TEXT_TIME_BYTES];
    const char *arrow = event->from_server ? "<--" : "-->";
    show_flow(dialogue, event);
    switch (event->kind) {
    case EVENT_COMMAND:
    case EVENT_REPLY:
        text_escape(event->text, text, sizeof text);
        if (event->change == EVENT_KEPT) {
            show_line(dialogue, arrow, "", text, "");
        } else if (event->change == EVENT_REMOVED) {
            show_line(dialogue, event->from_server ? "<-x" : "x->", RED, text, "[removed]");
        } else {
            show_line(dialogue, event->from_server ? "<-x" : "x->", RED, text, "[replaced by the next line]");
            show_line(dialogue, arrow, GREEN, text_escape(event->shown, text, sizeof text), "");
        }
        break;
    case EVENT_PAYLOAD:
        snprintf(text, sizeof text, "(%llu octets)", (unsigned long long)event->octets);
        if (event->change == EVENT_REMOVED)
            show_line(dialogue, "x->", RED, text, "[removed]");
        else
            show_line(dialogue, arrow, DIM, text, "");
        break;
    case EVENT_ANOMALY:
        snprintf(text, sizeof text, "(anomaly from the %s: %s)", event->from_server ? "server" : "client",
                 event->reason);
        show_line(dialogue, " ! ", RED, text, "");
        break;
    case EVENT_RULE:
        snprintf(text, sizeof text, "(rule \"%s\"%s: %s)", event->reason, event->dry_run ? ", dry run" : "",
                 event->action);
        show_line(dialogue, " . ", DIM, text, "");
        break;
    case EVENT_GREYLIST:
        snprintf(text, sizeof text, "(greylist: %s, %s%s%s)", event->action, event->reason,
                 event->passes_from_us ? "; passes from " : "",
                 event->passes_from_us ? text_time(event->passes_from_us, time) : "");
        show_line(dialogue, " . ", DIM, text, "");
        break;
    case EVENT_TARPIT:
        snprintf(text, sizeof text, "(tarpit of \"%s\": %u of %u ms, %s)", event->action, event->waited_ms,
                 event->delay_ms, event->reason);
        show_line(dialogue, " . ", DIM, text, "");
        break;
    case EVENT_GUARD:
        snprintf(text, sizeof text, "(guard: %s, attempt %u of %u)", event->action, event->attempt, event->attempts);
        show_line(dialogue, " . ", DIM, text, "");
        break;
    case EVENT_UNEDITED:
        snprintf(text, sizeof text, "(not edited from here on: %s)", event->reason);
        show_line(dialogue, " . ", DIM, text, "");
        break;
    case EVENT_FLOW_END:
        snprintf(text, sizeof text, "(%s)", event->reason);
        show_line(dialogue, " . ", DIM, text, "");
        break;
    case EVENT_FLOW_START:
    case EVENT_KINDS:
        break;
    }
}
