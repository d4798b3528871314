/* The report as one page: plots are SVG in the page itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/greylist.h"
#include "cmd/html.h"
#include "cmd/report_data.h"

enum { WIDTH = 720, HEIGHT = 160, BAR = 18, NAME_WIDTH = 260 };

/* ---- plots ---- */

/* A bar for each name, the longest as wide as there is room for. */
static void write_bars(FILE *out, const char *title, const struct report_entry *entries, size_t count)
{
    json_int_t most = 1;
    for (size_t i = 0; i < count; i++)
        most = entries[i].count > most ? entries[i].count : most;
    fprintf(out, "<h2>%s</h2>\n", title);
    if (count == 0) {
        fputs("<p>None.</p>\n", out);
        return;
    }
    fprintf(out, "<svg width=\"%d\" height=\"%zu\" role=\"img\">\n", WIDTH, count * BAR + 4);
    for (size_t i = 0; i < count; i++) {
        int long_px = (int)(entries[i].count * (WIDTH - NAME_WIDTH - 80) / most);
        fprintf(out, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">", NAME_WIDTH - 6, i * BAR + 14);
        html_text(out, entries[i].name[0] ? entries[i].name : "(no name)", 40);
        fprintf(
            out,
            "</text><rect x=\"%d\" y=\"%zu\" width=\"%d\" height=\"%d\"/><text x=\"%d\" y=\"%zu\">%" JSON_INTEGER_FORMAT
            "</text>\n",
            NAME_WIDTH, i * BAR + 3, long_px > 0 ? long_px : 1, BAR - 5, NAME_WIDTH + long_px + 5, i * BAR + 14,
            entries[i].count);
    }
    fputs("</svg>\n", out);
}

static void write_top(FILE *out, const char *title, json_t *counts)
{
    struct report_entry top[REPORT_TOP_MAX];
    write_bars(out, title, top, report_top(counts, top));
}

/* Sessions, accepted mails and mails that were put off, hour by hour. */
static void write_hours(FILE *out, const struct report *report)
{
    static const char *const classes[] = {"sessions", "accepted", "off"};
    const char *hour;
    json_t *counts;
    json_int_t most = 1;
    size_t count = json_object_size(report->hours), at = 0;
    json_object_foreach(report->hours, hour, counts) for (size_t i = 0; i < 3; i++)
    {
        json_int_t number = json_integer_value(json_array_get(counts, i));
        most = number > most ? number : most;
    }
    fprintf(
        out,
        "<h2>By the hour (UTC)</h2>\n<p class=\"key\"><i class=\"sessions\"></i> sessions <i class=\"accepted\"></i> "
        "accepted <i class=\"off\"></i> put off; the longest: %" JSON_INTEGER_FORMAT "</p>\n"
        "<svg width=\"%d\" height=\"%d\" role=\"img\">\n",
        most, WIDTH, HEIGHT + 16);
    json_object_foreach(report->hours, hour, counts)
    {
        double step = (double)WIDTH / (double)count, x = step * (double)at;
        for (int i = 0; i < 3; i++) {
            double high = (double)json_integer_value(json_array_get(counts, (size_t)i)) * HEIGHT / (double)most;
            fprintf(out,
                    "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s</title></rect>",
                    classes[i], x + i * step / 3.5, HEIGHT - high, step / 4, high, hour);
        }
        if (at++ % (count / 12 + 1) == 0)
            fprintf(out, "<text x=\"%.1f\" y=\"%d\">%s</text>", x, HEIGHT + 13, hour + 5);
        fputc('\n', out);
    }
    fputs("</svg>\n", out);
}

static void write_delays(FILE *out, const struct report *report)
{
    static const struct {
        int64_t below_s;
        const char *name;
    } ranges[] = {{300, "under 5 min"}, {600, "5 to 10 min"}, {1200, "10 to 20 min"},         {3600, "20 to 60 min"},
                  {14400, "1 to 4 h"},  {86400, "4 to 24 h"}, {INT64_MAX, "a day and longer"}};
    enum { RANGES = sizeof ranges / sizeof ranges[0] };
    struct report_entry entries[RANGES];
    size_t at = 0;
    for (size_t i = 0; i < RANGES; i++) {
        entries[i] = (struct report_entry){.name = ranges[i].name};
        for (; at < report->delay_count && report->delays_s[at] < ranges[i].below_s; at++)
            entries[i].count++;
    }
    write_bars(out, "How late mail was that came back", entries, report->delay_count ? RANGES : 0);
}

bool report_write_html(const struct report *report, FILE *out)
{
    char first[GREYLIST_TIME_BYTES], last[GREYLIST_TIME_BYTES], median[GREYLIST_DURATION_BYTES],
        most[GREYLIST_DURATION_BYTES];
    html_begin(out, "postern: report");
    fprintf(out,
            "<h1>postern</h1>\n<p>%s to %s</p>\n<table>\n<tr><td>sessions</td><td>%" PRIu64
            "</td></tr>\n<tr><td>of these encrypted</td><td>%" PRIu64
            "</td></tr>\n<tr><td>mails accepted</td><td>%" PRIu64
            "</td></tr>\n<tr><td>put off by the greylist</td><td>%" PRIu64 " times, %" PRIu64
            " mails</td></tr>\n<tr><td>of these came back</td><td>%" PRIu64
            "</td></tr>\n<tr><td>half of them within</td><td>%s"
            "</td></tr>\n<tr><td>95 percent within</td><td>%s</td></tr>\n<tr><td>refused by the filter</td><td>%" PRIu64
            "</td></tr>\n<tr><td>refused by the server</td><td>%" PRIu64 "</td></tr>\n</table>\n",
            greylist_time(report->first_us / 1000, first), greylist_time(report->last_us / 1000, last),
            report->sessions, report->encrypted, report->accepted, report->put_off, report->mails, report->came_back,
            greylist_duration((uint64_t)report_delay_s(report, 50) * 1000, median),
            greylist_duration((uint64_t)report_delay_s(report, 95) * 1000, most), report->refused_by_filter,
            report->refused_by_server);
    write_hours(out, report);
    write_delays(out, report);
    write_top(out, "Senders whose mail never came back, by domain", report->domains);
    write_top(out, "Rules", report->rules);
    write_top(out, "Refusals", report->refusals);
    write_top(out, "Errors", report->errors);
    html_end(out);
    return !ferror(out);
}
