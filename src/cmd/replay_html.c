#include "cmd/replay_html.h"

#include <inttypes.h>
#include <stdlib.h>

#include "cmd/html.h"
#include "report/dialogue.h"
#include "report/text.h"

enum { SHOWN_OCTETS = 1024, BUCKETS = 1024 };

/* The section of a connection. */
struct section {
    struct section *next, *next_in_bucket;
    uint64_t flow_id;
    unsigned capture;
    int64_t began_us;
    FILE *out;
    char *text;
    size_t len;
    bool in_reply; /* lines of one reply are folded together */
};

struct replay_page {
    struct section *first, **last;
    struct section *buckets[BUCKETS];
    unsigned capture;
};

struct replay_page *replay_page_new(void)
{
    struct replay_page *page = calloc(1, sizeof *page);
    if (page)
        page->last = &page->first;
    return page;
}

void replay_page_free(struct replay_page *page)
{
    for (struct section *section = page ? page->first : NULL, *next; section; section = next) {
        next = section->next;
        if (section->out)
            fclose(section->out);
        free(section->text);
        free(section);
    }
    free(page);
}

void replay_page_next_capture(struct replay_page *page)
{
    page->capture++;
}

static void write_ends(FILE *out, const struct event *event)
{
    char client[TEXT_ADDRESS_BYTES], server[TEXT_ADDRESS_BYTES], time[TEXT_TIME_BYTES];
    fprintf(out, "<h2>[%s]:%u to [%s]:%u, %s</h2>\n", text_address(&event->client, event->ip_version, client),
            event->client.port, text_address(&event->server, event->ip_version, server), event->server.port,
            text_time(event->time_us, time));
}

static struct section *section_of(struct replay_page *page, const struct event *event)
{
    struct section **bucket = &page->buckets[event->flow_id % BUCKETS];
    for (struct section *section = *bucket; section; section = section->next_in_bucket)
        if (section->flow_id == event->flow_id && section->capture == page->capture)
            return section;
    struct section *section = calloc(1, sizeof *section);
    if (!section || !(section->out = open_memstream(&section->text, &section->len))) {
        free(section);
        return NULL;
    }
    section->flow_id = event->flow_id;
    section->capture = page->capture;
    section->began_us = event->time_us;
    section->next_in_bucket = *bucket;
    *bucket = section;
    *page->last = section;
    page->last = &section->next;
    write_ends(section->out, event);
    return section;
}

static void write_line(const struct section *section, const struct event *event, const char *class, const char *text,
                       const char *why)
{
    fprintf(section->out, "<div class=\"line %s %s\"><span class=\"at\">%.3f s</span><pre>",
            event->from_server ? "server" : "client", class, (double)(event->time_us - section->began_us) / 1e6);
    html_text(section->out, text, SIZE_MAX);
    fputs("</pre>", section->out);
    if (why[0]) {
        fputs("<span class=\"why\">", section->out);
        html_text(section->out, why, 120);
        fputs("</span>", section->out);
    }
    fputs("</div>\n", section->out);
}

/* A line that came, and, where it was changed, what left. */
static void write_text(const struct section *section, const struct event *event)
{
    char text[TEXT_BYTES(SHOWN_OCTETS)], why[160] = "";
    text_escape(event->text, text, sizeof text);
    if (event->change != EVENT_KEPT)
        snprintf(why, sizeof why, "%s%s%s", event->change == EVENT_REMOVED ? "removed" : "replaced",
                 event->reason[0] ? " by " : "", event->reason);
    write_line(section, event, event->change == EVENT_KEPT ? "" : "gone", text, why);
    if (event->change == EVENT_REPLACED)
        write_line(section, event, "ours", text_escape(event->shown, text, sizeof text), "");
}

/* A reply of several lines can be folded up; it is open where the filter changed something. */
static void write_reply(struct section *section, const struct event *event)
{
    if (!section->in_reply && !event->last) {
        fprintf(section->out, "<details open><summary class=\"server note\">reply to %s</summary>\n",
                smtp_verb_name(event->verb));
        section->in_reply = true;
    }
    write_text(section, event);
    if (section->in_reply && event->last) {
        fputs("</details>\n", section->out);
        section->in_reply = false;
    }
}

static void write_payload(const struct section *section, const struct event *event)
{
    fprintf(section->out,
            "<details class=\"%s\"><summary class=\"note\">%.3f s: %s, %" PRIu64 " octets%s</summary>"
            "<p class=\"note\">What a message says is in the capture only.</p></details>\n",
            event->from_server ? "server" : "client", (double)(event->time_us - section->began_us) / 1e6,
            smtp_verb_name(event->verb), event->octets, event->change == EVENT_REMOVED ? ", removed" : "");
}

bool replay_page_take(struct replay_page *page, const struct event *event)
{
    char text[TEXT_BYTES(SHOWN_OCTETS)];
    struct section *section = section_of(page, event);
    if (!section)
        return false;
    if (event->kind != EVENT_REPLY && section->in_reply) {
        fputs("</details>\n", section->out);
        section->in_reply = false;
    }
    if (event->kind == EVENT_COMMAND)
        write_text(section, event);
    else if (event->kind == EVENT_REPLY)
        write_reply(section, event);
    else if (event->kind == EVENT_PAYLOAD)
        write_payload(section, event);
    else if (dialogue_remark(event, text, sizeof text))
        write_line(section, event, "note", text, "");
    return !ferror(section->out);
}

bool replay_page_write(struct replay_page *page, FILE *out)
{
    html_begin(out, "postern: sessions");
    fputs(
        "<h1>postern</h1>\n<p>Client on the left, server on the right. What was struck out did not leave; what left in "
        "its place is green.</p>\n",
        out);
    for (struct section *section = page->first; section; section = section->next) {
        if (section->in_reply)
            fputs("</details>\n", section->out);
        section->in_reply = false;
        if (fflush(section->out) != 0)
            return false;
        fwrite(section->text, 1, section->len, out);
    }
    html_end(out);
    return !ferror(out);
}
