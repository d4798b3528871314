#include "report/dialogue.h"

#include "report/handshake.h"
#include "report/text.h"

#define RED   "\033[31m"
#define GREEN "\033[32m"
#define DIM   "\033[2m"
#define PLAIN "\033[0m"

enum { SHOWN_OCTETS = 1024 }; /* of a line: more is not kept of one */

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

/* What became of a line, and which rule or verdict is behind it. */
static const char *mark_of(const struct event *event, const char *what, char *mark, size_t size)
{
    const char *reason = event->reason ? event->reason : "";
    snprintf(mark, size, "[%s%s%s]", what, *reason ? ": " : "", reason);
    return mark;
}

/* A line of the session, and where we changed it what left. */
static void show_text(struct dialogue *dialogue, const struct event *event)
{
    char text[TEXT_BYTES(SHOWN_OCTETS)], mark[160];
    const char *arrow = event->from_server ? "<--" : "-->", *stopped = event->from_server ? "<-x" : "x->";
    text_escape(event->text, text, sizeof text);
    if (event->change == EVENT_KEPT) {
        show_line(dialogue, arrow, "", text, "");
    } else if (event->change == EVENT_REMOVED) {
        show_line(dialogue, stopped, RED, text, mark_of(event, "removed", mark, sizeof mark));
    } else {
        show_line(dialogue, stopped, RED, text, mark_of(event, "replaced by the next line", mark, sizeof mark));
        show_line(dialogue, arrow, GREEN, text_escape(event->shown, text, sizeof text), "");
    }
}

static void show_payload(struct dialogue *dialogue, const struct event *event)
{
    char text[TEXT_BYTES(SHOWN_OCTETS)];
    snprintf(text, sizeof text, "(%llu octets%s)", (unsigned long long)event->octets,
             event->unfinished ? " so far" : "");
    if (event->change == EVENT_REMOVED)
        show_line(dialogue, "x->", RED, text, "[removed]");
    else
        show_line(dialogue, event->from_server ? "<--" : "-->", DIM, text, "");
}

bool dialogue_remark(const struct event *event, char *text, size_t size)
{
    char time[TEXT_TIME_BYTES], words[TEXT_BYTES(TLS_NAME_BYTES) + 256];
    switch (event->kind) {
    case EVENT_ANOMALY:
        snprintf(text, size, "(anomaly from the %s: %s)", event->from_server ? "server" : "client", event->reason);
        return true;
    case EVENT_RULE:
        snprintf(text, size, "(rule \"%s\"%s: %s)", event->reason, event->dry_run ? ", dry run" : "", event->action);
        return true;
    case EVENT_GREYLIST:
        snprintf(text, size, "(greylist%s: %s, %s%s%s)", event->dry_run ? ", dry run" : "", event->action,
                 event->reason, event->passes_from_us ? "; passes from " : "",
                 event->passes_from_us ? text_time(event->passes_from_us, time) : "");
        return true;
    case EVENT_TARPIT:
        snprintf(text, size, "(tarpit of \"%s\": %u of %u ms, %s)", event->action, event->waited_ms, event->delay_ms,
                 event->reason);
        return true;
    case EVENT_GUARD:
        snprintf(text, size, "(guard: %s, attempt %u of %u)", event->action, event->attempt, event->attempts);
        return true;
    case EVENT_TLS:
        snprintf(text, size, "(%s)", handshake_words(event->tls, words, sizeof words));
        return true;
    case EVENT_RESEND_DIFFERS:
        snprintf(text, size, "(the %s sent %llu octets again as others; the first ones left)",
                 event->from_server ? "server" : "client", (unsigned long long)event->octets);
        return true;
    case EVENT_UNEDITED:
        snprintf(text, size, "(not edited from here on: %s)", event->reason);
        return true;
    case EVENT_FLOW_END:
        snprintf(text, size, "(%s)", event->reason);
        return true;
    default:
        return false;
    }
}

void dialogue_show(struct dialogue *dialogue, const struct event *event)
{
    char text[TEXT_BYTES(SHOWN_OCTETS)];
    bool anomaly = event->kind == EVENT_ANOMALY;
    show_flow(dialogue, event);
    if (event->kind == EVENT_COMMAND || event->kind == EVENT_REPLY)
        show_text(dialogue, event);
    else if (event->kind == EVENT_PAYLOAD)
        show_payload(dialogue, event);
    else if (dialogue_remark(event, text, sizeof text))
        show_line(dialogue, anomaly ? " ! " : " . ", anomaly ? RED : DIM, text, "");
}
