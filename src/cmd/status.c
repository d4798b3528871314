#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd/ask.h"
#include "cmd/cmd.h"
#include "cmd/figures.h"
#include "cmd/greylist.h"
#include "cmd/service.h"

enum { WORKER_COLUMNS_MAX = 8, NAME_WIDTH = 22 };

/* The name of each figure, what kind it is and what it means: for manuals and those who graph it. */
static void print_list(void)
{
    for (size_t i = 0; i < worker_figure_count; i++)
        printf("%-*s %-8s %s\n", NAME_WIDTH, worker_figures[i].name, worker_figures[i].gauge ? "gauge" : "counter",
               worker_figures[i].help);
    printf("%-*s %-8s %s\n", NAME_WIDTH, FIGURES_REASONS, "counter", FIGURES_REASONS_HELP);
    printf("%-*s %-8s %s\n", NAME_WIDTH, FIGURES_SESSIONS, "counter", FIGURES_SESSIONS_HELP);
    printf("%-*s %-8s %s\n", NAME_WIDTH, FIGURES_TLS, "counter", FIGURES_TLS_HELP);
    printf("%-*s %-8s %s\n", NAME_WIDTH, FIGURES_RULES, "counter", FIGURES_RULES_HELP);
    for (size_t i = 0; i < common_figure_count; i++)
        printf("%-*s %-8s %s\n", NAME_WIDTH, common_figures[i].name, common_figures[i].gauge ? "gauge" : "counter",
               common_figures[i].help);
}

/* ---- what a person wants to know first ---- */

static uint64_t figure(const json_t *status, const char *name)
{
    return ask_number(status, "figures", name);
}

static uint64_t common(const json_t *status, const char *name)
{
    return ask_number(status, "common_figures", name);
}

/* Of the rules that hold now. */
static bool is_dry_run(const json_t *status)
{
    return json_is_true(json_object_get(status, "dry_run"));
}

static void print_sessions(const json_t *status)
{
    char began[GREYLIST_TIME_BYTES];
    json_int_t up_s = json_integer_value(json_object_get(status, "uptime_s"));
    printf("Since %s %" PRIu64 " sessions: %" PRIu64 " inbound, %" PRIu64 " outbound, %" PRIu64 " internal, %" PRIu64
           " neither; %" PRIu64 " now.\n",
           greylist_time(((json_int_t)time(NULL) - up_s) * 1000, began), figure(status, "flows_created"),
           figure(status, "flows_inbound"), figure(status, "flows_outbound"), figure(status, "flows_internal"),
           figure(status, "flows_neither"), figure(status, "flows_now"));
}

/* The counters of what a dry run did are all 0; those of the greylist say what it would have done. */
static double percent(uint64_t part, uint64_t all)
{
    return all ? 100.0 * (double)part / (double)all : 0;
}

/* Of the sessions that ended: which could be read to their end, and which versions of TLS the others had. */
static void print_encrypted(const json_t *status)
{
    size_t index;
    json_t *one;
    uint64_t ended = 0, encrypted = 0;
    json_array_foreach(json_object_get(status, FIGURES_SESSIONS), index, one)
    {
        uint64_t count = (uint64_t)json_integer_value(json_object_get(one, "count"));
        ended += count;
        encrypted += json_is_true(json_object_get(one, "encrypted")) ? count : 0;
    }
    printf("Of those that ended %.1f %% were encrypted", percent(encrypted, ended));
    json_array_foreach(json_object_get(status, FIGURES_TLS), index, one)
    {
        const char *version = json_string_value(json_object_get(one, "version"));
        printf("%s%s %" JSON_INTEGER_FORMAT, index ? ", " : " (", version ? version : "?",
               json_integer_value(json_object_get(one, "count")));
    }
    printf("%s, and %.1f %% were let go; %" PRIu64 " handshakes failed.\n", index ? ")" : "",
           percent(figure(status, "flows_released"), ended), figure(status, "handshakes_failed"));
}

static void print_dry_run(const json_t *status)
{
    printf("A dry run, nothing is changed: %" PRIu64 " strangers would have waited; %" PRIu64 " of %" PRIu64
           " mails that the greylist was asked about would have been put off.\n",
           ask_number(status, FIGURES_REASONS, greylist_reason_name(GREYLIST_FIRST)),
           figure(status, "greylist_deferred"), figure(status, "greylist_asked"));
}

static void print_deeds(const json_t *status)
{
    if (is_dry_run(status)) {
        print_dry_run(status);
        return;
    }
    printf("Put off %" PRIu64 " of %" PRIu64 " mails that the greylist was asked about, refused %" PRIu64
           " commands, closed %" PRIu64 " and reset %" PRIu64 " sessions, delayed %" PRIu64 " replies.\n",
           figure(status, "greylist_deferred"), figure(status, "greylist_asked"), figure(status, "commands_refused"),
           figure(status, "connections_closed"), figure(status, "connections_reset"), figure(status, "tarpits"));
}

/* One more thing that is wrong, behind those before. */
static void __attribute__((format(printf, 2, 3))) say_wrong(unsigned *count, const char *format, ...)
{
    va_list args;
    fputs((*count)++ ? "; " : "Wrong: ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
}

static void print_wrong(const json_t *status)
{
    unsigned count = 0;
    const char *reload = json_string_value(json_object_get(status, "last_reload"));
    const char *fault = json_string_value(json_object_get(status, "store_fault"));
    uint64_t neither = figure(status, "flows_neither"), lost = common(status, "events_failed");
    if (reload && strcmp(reload, "failed") == 0)
        say_wrong(&count, "the last reload failed, and the rules from before it hold");
    if (common(status, "queue_rules_missing"))
        say_wrong(&count, "no rule of the kernel sends packets to the queues, see 'postern setup --check'");
    if (fault)
        say_wrong(&count, "%s", fault);
    if (neither && neither == figure(status, "flows_created"))
        say_wrong(&count,
                  "no session was to or from a network of 'protected', so rules with a direction match nothing: "
                  "write the networks of your servers there, as this gateway sees them");
    if (lost)
        say_wrong(&count, "%" PRIu64 " events could not be written", lost);
    for (size_t w = 0; w < json_array_size(json_object_get(status, "workers")); w++)
        if (!json_is_true(json_object_get(json_array_get(json_object_get(status, "workers"), w), "answers")))
            say_wrong(&count, "worker %zu did not answer in time; its figures are older", w);
    puts(count ? "." : "Nothing is wrong.");
}

static void print_head(const json_t *status, size_t workers)
{
    json_int_t up_s = json_integer_value(json_object_get(status, "uptime_s"));
    const char *rules = json_string_value(json_object_get(status, "rules"));
    const char *version = json_string_value(json_object_get(status, "version"));
    printf("\npostern %s, process %" JSON_INTEGER_FORMAT ", up %" JSON_INTEGER_FORMAT ":%02d:%02d, rules: %s\n",
           version ? version : "?", json_integer_value(json_object_get(status, "pid")), up_s / 3600,
           (int)(up_s / 60 % 60), (int)(up_s % 60), rules ? rules : "as they hold without a file");
    printf("\n%-*s %14s", NAME_WIDTH, "", "all");
    for (size_t i = 0; workers > 1 && i < workers; i++)
        printf("     worker %3zu", i);
    putchar('\n');
}

static const json_t *worker_at(const json_t *status, size_t index)
{
    return json_array_get(json_object_get(status, "workers"), index);
}

static void print_queues(const json_t *status, size_t workers)
{
    if (workers < 2)
        return;
    printf("%-*s %14s", NAME_WIDTH, "queues", "");
    for (size_t i = 0; i < workers; i++) {
        const json_t *queues = json_object_get(worker_at(status, i), "queues");
        printf(" %8" JSON_INTEGER_FORMAT ",%5" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(queues, 0)),
               json_integer_value(json_array_get(queues, 1)));
    }
    putchar('\n');
}

/* How much of what the greylist was asked about met this answer, where any did. */
static void print_answers(const json_t *status, const char *figure, const char *answer)
{
    uint64_t count = ask_number(status, "figures", figure);
    if (count)
        printf("\ngreylist: %" PRIu64 " of %" PRIu64 " attempts %s\n", count,
               ask_number(status, "figures", "greylist_asked"), answer);
}

/* Those of the reasons from `from` to before `to` that there were. */
static void print_reasons(const json_t *status, enum greylist_reason from, enum greylist_reason to)
{
    for (enum greylist_reason reason = from; reason < to; reason++) {
        const char *name = greylist_reason_name(reason);
        uint64_t count = ask_number(status, FIGURES_REASONS, name);
        if (count)
            printf("  %-*s %14" PRIu64 "  %s\n", NAME_WIDTH - 2, name, count, greylist_reason_text(reason));
    }
}

static void print_greylist(const json_t *status)
{
    print_answers(status, "greylist_passed", is_dry_run(status) ? "would have passed" : "passed");
    print_reasons(status, GREYLIST_OUTBOUND, GREYLIST_FIRST);
    print_answers(status, "greylist_deferred", is_dry_run(status) ? "would have been put off" : "put off");
    print_reasons(status, GREYLIST_FIRST, GREYLIST_REASONS);
    print_answers(status, "greylist_failed", "without an answer of the store, left to on-lost-store");
}

/* What each rule did. */
static void print_rules(const json_t *status)
{
    size_t index;
    json_t *rule;
    const json_t *rules = json_object_get(status, FIGURES_RULES);
    if (json_array_size(rules) > 0)
        printf("\nrules: %s\n", FIGURES_RULES_HELP);
    json_array_foreach(rules, index, rule)
    {
        const char *name, *action, *place;
        json_int_t hits;
        if (json_unpack(rule, "{s:s, s:s, s:s, s:I}", "rule", &name, "action", &action, "place", &place, "hits",
                        &hits) == 0)
            printf("  %14" JSON_INTEGER_FORMAT "  %-8s  %s  (%s)\n", hits, action, name, place);
    }
}

static void print_table(const json_t *status)
{
    size_t all = json_array_size(json_object_get(status, "workers"));
    size_t workers = all < WORKER_COLUMNS_MAX ? all : WORKER_COLUMNS_MAX;
    print_sessions(status);
    print_encrypted(status);
    print_deeds(status);
    print_wrong(status);
    print_head(status, workers);
    print_queues(status, workers);
    for (size_t i = 0; i < worker_figure_count; i++) {
        printf("%-*s %14" PRIu64, NAME_WIDTH, worker_figures[i].name,
               ask_number(status, "figures", worker_figures[i].name));
        for (size_t w = 0; workers > 1 && w < workers; w++)
            printf(" %14" PRIu64, ask_number(worker_at(status, w), "figures", worker_figures[i].name));
        putchar('\n');
    }
    for (size_t i = 0; i < common_figure_count; i++)
        printf("%-*s %14" PRIu64 "\n", NAME_WIDTH, common_figures[i].name,
               ask_number(status, "common_figures", common_figures[i].name));
    print_greylist(status);
    print_rules(status);
}

int cmd_status(int argc, char **argv)
{
    static const struct option options[] = {{"control", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"list", no_argument, NULL, 'l'},
                                            {0}};
    const char *path = SERVICE_CONTROL_PATH;
    bool as_json = false, list = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case 'j':
            as_json = true;
            break;
        case 'l':
            list = true;
            break;
        default:
            return cmd_usage("status");
        }
    if (optind != argc || (as_json && list))
        return cmd_usage("status");
    if (list) {
        print_list();
        return CMD_GOOD;
    }
    json_t *answer = ask(path, "status");
    if (!answer)
        return CMD_FAILED;
    const json_t *status = json_object_get(answer, "status");
    if (as_json && json_dumpf(status, stdout, JSON_INDENT(2)) == 0)
        putchar('\n');
    else if (!as_json)
        print_table(status);
    json_decref(answer);
    return CMD_GOOD;
}
