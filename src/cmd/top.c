#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/figures.h"
#include "cmd/service.h"

/*
 * A frame is text, made of two answers of the service and the time between them; ncurses only shows it. The first frame
 * has no rates.
 */
struct frame {
    const json_t *now;
    const json_t *before; /* NULL: none */
    double seconds;       /* between them */
    int lines;            /* that there is room for; INT_MAX: for all */
    FILE *out;
};

/* One row: names of figures, each with what it has come to and, of a counter, how much a second. */
struct row {
    const char *title;
    const char *figures[5];
};

static const struct row rows[] = {
    {"sessions", {"flows_now", "flows_created", "flows_ended", "flows_midstream", "flows_unedited"}},
    {"packets", {"packets", "queue_received", "not_tcp", "retransmissions", "rewritten"}},
    {"verdicts", {"accepted", "dropped", "edited"}},
    {"changes",
     {"keywords_stripped", "commands_refused", "replies_replaced", "connections_closed", "connections_reset"}},
    {"greylist", {"greylist_asked", "greylist_passed", "greylist_deferred", "greylist_failed", "tarpitted_now"}},
    {"delays", {"held_now", "held", "fragments_out", "stale", "out_of_bounds"}},
    {"queues", {"queue_verdicts", "queue_late", "queue_overruns", "queue_full", "queue_too_long"}},
    {"memory", {"blocks_now", "flows_evicted"}},
};

static void print_rate(const struct frame *frame, const char *name)
{
    uint64_t now = ask_number(frame->now, "figures", name);
    fprintf(frame->out, "  %-20s %14" PRIu64, name, now);
    size_t len = strlen(name);
    bool gauge = len > 4 && strcmp(name + len - 4, "_now") == 0;
    if (frame->before && frame->seconds > 0 && !gauge)
        fprintf(frame->out, " %12.1f/s", (double)(now - ask_number(frame->before, "figures", name)) / frame->seconds);
    fputc('\n', frame->out);
}

static json_int_t hits_of(const json_t *status, size_t index)
{
    return json_integer_value(json_object_get(json_array_get(json_object_get(status, FIGURES_RULES), index), "hits"));
}

/* The rule that held most often after those that were shown; the count of them where there is none left. */
static size_t next_rule(const json_t *status, size_t count, const bool *shown)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++)
        if (!shown[i] && hits_of(status, i) > 0 && (best == count || hits_of(status, i) > hits_of(status, best)))
            best = i;
    return best;
}

/* The rules that held most often. */
static void print_rules(const struct frame *frame, int most)
{
    bool shown[RULES_MAX] = {0};
    const json_t *rules = json_object_get(frame->now, FIGURES_RULES);
    size_t count = json_array_size(rules) < RULES_MAX ? json_array_size(rules) : RULES_MAX;
    /* With other rules than a second ago there are no rates. */
    const char *now = json_string_value(json_object_get(frame->now, "rules_hash"));
    const char *before = json_string_value(json_object_get(frame->before, "rules_hash"));
    bool same = now && before && strcmp(now, before) == 0 && frame->seconds > 0;
    for (int line = 0; line < most; line++) {
        size_t i = next_rule(frame->now, count, shown);
        if (i == count)
            return;
        if (line == 0)
            fputs("rules\n", frame->out);
        shown[i] = true;
        const json_t *rule = json_array_get(rules, i);
        fprintf(frame->out, "  %-20.48s %14" JSON_INTEGER_FORMAT, json_string_value(json_object_get(rule, "rule")),
                hits_of(frame->now, i));
        if (same)
            fprintf(frame->out, " %12.1f/s",
                    (double)(hits_of(frame->now, i) - hits_of(frame->before, i)) / frame->seconds);
        fputc('\n', frame->out);
    }
}

static void print_workers(const struct frame *frame)
{
    const json_t *workers = json_object_get(frame->now, "workers");
    size_t index;
    json_t *worker;
    if (json_array_size(workers) < 2)
        return;
    fputs("workers\n", frame->out);
    json_array_foreach(workers, index, worker)
    {
        fprintf(frame->out, "  worker %-3zu %10" PRIu64 " sessions %14" PRIu64 " packets%s\n", index,
                ask_number(worker, "figures", "flows_now"), ask_number(worker, "figures", "packets"),
                json_is_true(json_object_get(worker, "answers")) ? "" : "  does not answer");
    }
}

enum { ROWS = sizeof rows / sizeof rows[0], ROW_FIGURES = 5, RULES_SHOWN = 5 };

/* What of a frame is shown. */
struct extent {
    int figures; /* of each row */
    int rules;
    bool titles, workers;
};

static int rows_height(int figures)
{
    int height = 0;
    for (size_t i = 0; i < ROWS; i++)
        for (int n = 0; n < figures && rows[i].figures[n]; n++)
            height++;
    return height;
}

static int height_of(const struct frame *frame, struct extent extent)
{
    size_t workers = json_array_size(json_object_get(frame->now, "workers"));
    int rules = (int)json_array_size(json_object_get(frame->now, FIGURES_RULES));
    rules = rules < extent.rules ? rules : extent.rules;
    return 1 + rows_height(extent.figures) + (extent.titles ? (int)ROWS : 0) + (rules ? rules + 1 : 0) +
           (extent.workers && workers > 1 ? (int)workers + 1 : 0);
}

/* As much as there is room for: what a terminal of 24 lines has no room for is the last of each row, then titles. */
static struct extent extent_of(const struct frame *frame)
{
    struct extent extent = {.figures = ROW_FIGURES, .rules = RULES_SHOWN, .titles = true, .workers = true};
    while (height_of(frame, extent) > frame->lines) {
        int figures_least = extent.titles || extent.rules > 0 ? 2 : 0;
        if (extent.workers)
            extent.workers = false;
        else if (extent.figures > figures_least)
            extent.figures--;
        else if (extent.titles)
            extent.titles = false;
        else if (extent.rules > 0)
            extent.rules--;
        else
            break;
    }
    return extent;
}

static void print_frame(const struct frame *frame)
{
    struct extent extent = extent_of(frame);
    json_int_t up_s = json_integer_value(json_object_get(frame->now, "uptime_s"));
    const char *version = json_string_value(json_object_get(frame->now, "version"));
    fprintf(frame->out,
            "postern %s  up %" JSON_INTEGER_FORMAT ":%02d:%02d  events: %" PRIu64 " written, %" PRIu64 " lost\n",
            version ? version : "?", up_s / 3600, (int)(up_s / 60 % 60), (int)(up_s % 60),
            ask_number(frame->now, "common_figures", "events_written"),
            ask_number(frame->now, "common_figures", "events_dropped") +
                ask_number(frame->now, "common_figures", "events_failed"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (extent.titles)
            fprintf(frame->out, "%s\n", rows[i].title);
        for (int n = 0; n < extent.figures && rows[i].figures[n]; n++)
            print_rate(frame, rows[i].figures[n]);
    }
    print_rules(frame, extent.rules);
    if (extent.workers)
        print_workers(frame);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The frame on the screen, as much of it as there is room for. */
static void show(const struct frame *frame)
{
    char *text = NULL;
    size_t len = 0;
    struct frame copy = *frame;
    copy.lines = LINES - 1; /* the last one says how to quit */
    copy.out = open_memstream(&text, &len);
    if (!copy.out)
        return;
    print_frame(&copy);
    fclose(copy.out);
    erase();
    addstr(text);
    mvaddstr(LINES - 1, 0, "q: quit");
    refresh();
    free(text);
}

static int once(const char *path)
{
    json_t *answer = ask(path, "status");
    if (!answer)
        return CMD_FAILED;
    print_frame(&(struct frame){.now = json_object_get(answer, "status"), .lines = INT_MAX, .out = stdout});
    json_decref(answer);
    return CMD_GOOD;
}

static int live(const char *path)
{
    enum { INTERVAL_MS = 1000 };
    json_t *before = NULL, *answer = ask(path, "status");
    if (!answer)
        return CMD_FAILED;
    setlocale(LC_CTYPE, "");
    if (!newterm(NULL, stdout, stdin)) {
        json_decref(answer);
        return cmd_complain(CMD_FAILED, "this is no terminal that top can draw on; use postern top --once");
    }
    cbreak();
    noecho();
    curs_set(0);
    timeout(INTERVAL_MS);
    double at = now_s(), seconds = 0;
    do {
        show(&(struct frame){
            .now = json_object_get(answer, "status"), .before = json_object_get(before, "status"), .seconds = seconds});
        if (getch() == 'q')
            break;
        json_decref(before);
        before = answer;
        answer = ask(path, "status");
        seconds = now_s() - at;
        at += seconds;
    } while (answer);
    endwin();
    bool ended = !answer;
    json_decref(before);
    json_decref(answer);
    return ended ? cmd_complain(CMD_FAILED, "%s: the service does not answer any more", path) : CMD_GOOD;
}

int cmd_top(int argc, char **argv)
{
    static const struct option options[] = {
        {"control", required_argument, NULL, 'c'}, {"once", no_argument, NULL, '1'}, {0}};
    const char *path = SERVICE_CONTROL_PATH;
    bool one = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case '1':
            one = true;
            break;
        default:
            return cmd_usage("top");
        }
    if (optind != argc)
        return cmd_usage("top");
    return one ? once(path) : live(path);
}
