/* What the filter did, from its event files: as text for a mail at night, as JSON, as a page. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/event_files.h"
#include "cmd/greylist.h"
#include "cmd/report_data.h"

enum format { AS_TEXT, AS_JSON, AS_HTML };

static void print_top(const char *title, json_t *counts)
{
    struct report_entry top[REPORT_TOP_MAX];
    size_t count = report_top(counts, top);
    if (count)
        printf("\n%s\n", title);
    for (size_t i = 0; i < count; i++)
        printf("  %10" JSON_INTEGER_FORMAT "  %s\n", top[i].count, top[i].name[0] ? top[i].name : "(no name)");
    if (json_object_size(counts) > count)
        printf("  and %zu more\n", json_object_size(counts) - count);
}

static void print_text(const struct report *report)
{
    char first[GREYLIST_TIME_BYTES], last[GREYLIST_TIME_BYTES], median[GREYLIST_DURATION_BYTES],
        most[GREYLIST_DURATION_BYTES];
    if (!report->last_us) {
        puts("no events are in the files");
        return;
    }
    printf("From %s to %s\n\n", greylist_time(report->first_us / 1000, first),
           greylist_time(report->last_us / 1000, last));
    printf("%" PRIu64 " sessions, %.1f %% of them encrypted; %" PRIu64 " mails were accepted.\n", report->sessions,
           report->sessions ? 100.0 * (double)report->encrypted / (double)report->sessions : 0, report->accepted);
    printf("The greylist put off %" PRIu64 " mails, %" PRIu64 " times; %" PRIu64 " came back", report->mails,
           report->put_off, report->came_back);
    if (report->delay_count)
        printf(", half of them within %s, 95 percent within %s",
               greylist_duration((uint64_t)report_delay_s(report, 50) * 1000, median),
               greylist_duration((uint64_t)report_delay_s(report, 95) * 1000, most));
    printf(".\nRefused: %" PRIu64 " by the filter, %" PRIu64 " by the server, which put off %" PRIu64 ".\n",
           report->refused_by_filter, report->refused_by_server, report->put_off_by_server);
    if (report->would_wait)
        printf("In the dry run %" PRIu64 " mails of strangers would have waited.\n", report->would_wait);
    if (report->events_lost)
        printf("Events are missing in %" PRIu64 " places.\n", report->events_lost);
    print_top("Never came back, by the sender's domain", report->domains);
    print_top("Rules, by how often they held", report->rules);
    print_top("Refusals", report->refusals);
    print_top("Errors", report->errors);
}

static bool print_json(const struct report *report)
{
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O, s:O, s:O, s:O}",
        "first_ms", (json_int_t)(report->first_us / 1000), "last_ms", (json_int_t)(report->last_us / 1000), "sessions",
        (json_int_t)report->sessions, "encrypted", (json_int_t)report->encrypted, "accepted",
        (json_int_t)report->accepted, "put_off", (json_int_t)report->put_off, "mails_put_off",
        (json_int_t)report->mails, "came_back", (json_int_t)report->came_back, "median_s",
        (json_int_t)report_delay_s(report, 50), "percent_95_s", (json_int_t)report_delay_s(report, 95),
        "refused_by_filter", (json_int_t)report->refused_by_filter, "refused_by_server",
        (json_int_t)report->refused_by_server, "put_off_by_server", (json_int_t)report->put_off_by_server, "would_wait",
        (json_int_t)report->would_wait, "events_lost", (json_int_t)report->events_lost, "never_came_back",
        report->domains, "rules", report->rules, "refusals", report->refusals, "errors", report->errors, "hours",
        report->hours);
    bool good = object && json_dumpf(object, stdout, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 && putchar('\n') != EOF;
    json_decref(object);
    return good;
}

static int take_options(enum format *format, struct history_reader *reader, int argc, char **argv)
{
    static const struct option options[] = {{"since", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"html", no_argument, NULL, 'h'},
                                            {0}};
    int code = CMD_GOOD;
    for (int c; code == CMD_GOOD && (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (c == 's')
            code = event_files_since(optarg, &reader->since_us);
        else if ((c == 'j' || c == 'h') && *format == AS_TEXT)
            *format = c == 'j' ? AS_JSON : AS_HTML;
        else
            code = cmd_usage("report");
    return code;
}

int cmd_report(int argc, char **argv)
{
    struct report report;
    enum format format = AS_TEXT;
    struct history_reader reader = {
        .mail = report_take_mail, .event = report_take_event, .context = &report, .since_us = INT64_MIN};
    int code = take_options(&format, &reader, argc, argv);
    if (code != CMD_GOOD)
        return code;
    if (!report_init(&report))
        return cmd_complain(CMD_FAILED, "no memory");
    code = event_files_read(argv + optind, argc - optind, &reader);
    report_finish(&report);
    bool good = !report.no_memory;
    if (format == AS_TEXT)
        print_text(&report);
    else
        good = (format == AS_JSON ? print_json(&report) : report_write_html(&report, stdout)) && good;
    int printed = greylist_printed(good);
    report_free(&report);
    return code != CMD_GOOD ? code : printed;
}
