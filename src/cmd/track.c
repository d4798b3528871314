/* What became of mails, a line each, from the event files. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "cmd/event_files.h"
#include "cmd/greylist.h"
#include "conf/entries.h"
#include "report/json.h"

struct track {
    const char *from, *to; /* NULL: whoever */
    struct network client;
    bool of_client, as_json;
    bool incomplete; /* a line could not be written */
    uint64_t count;
};

/* An address, or a domain with all below it. */
static bool is_meant(const char *wanted, const char *address)
{
    size_t len = strlen(wanted), all = strlen(address);
    if (!wanted[0] || strcmp(wanted, "<>") == 0)
        return !address[0];
    if (strcasecmp(wanted, address) == 0)
        return true;
    const char *end = all > len ? address + (all - len) : "";
    return !strchr(wanted, '@') && all > len && strcasecmp(end, wanted) == 0 && (end[-1] == '@' || end[-1] == '.');
}

static bool is_in_network(const struct network *network, const char *client)
{
    struct network one;
    return entries_read_network(client, &one) && network_contains(network, &one);
}

static void write_json(struct track *track, const struct history_mail *mail)
{
    struct json_members members = {json_object(), false};
    json_add_number(&members, "time_ms", mail->time_us / 1000);
    json_add(&members, "client", json_string(mail->client));
    json_add(&members, "from", json_string(mail->from));
    json_add(&members, "to", json_string(mail->to));
    json_add(&members, "outcome", json_string(mail->outcome));
    if (mail->by)
        json_add(&members, "by", json_string(mail->by));
    if (mail->rule)
        json_add(&members, "rule", json_string(mail->rule));
    if (mail->code)
        json_add_number(&members, "code", mail->code);
    if (mail->text)
        json_add(&members, "text", json_string(mail->text));
    if (mail->waited_s >= 0)
        json_add_number(&members, "waited_s", mail->waited_s);
    track->incomplete = !json_write_line(stdout, json_whole(&members)) || track->incomplete;
}

static void print_line(const struct history_mail *mail)
{
    char time[GREYLIST_TIME_BYTES], waited[GREYLIST_DURATION_BYTES];
    printf("%s  %s  <%s>  <%s>  %s", greylist_time(mail->time_us / 1000, time), mail->client, mail->from, mail->to,
           mail->outcome);
    if (mail->by)
        printf(" by the %s", mail->by);
    if (mail->rule && mail->rule[0])
        printf(", rule \"%s\"", mail->rule);
    if (mail->code >= 400)
        printf(": %d %s", mail->code, mail->text ? mail->text : "");
    if (mail->waited_s > 0)
        printf(", waited %s", greylist_duration((uint64_t)mail->waited_s * 1000, waited));
    putchar('\n');
}

static void take_mail(void *context, const struct history_mail *mail)
{
    struct track *track = context;
    if ((track->from && !is_meant(track->from, mail->from)) || (track->to && !is_meant(track->to, mail->to)) ||
        (track->of_client && !is_in_network(&track->client, mail->client)))
        return;
    track->count++;
    if (track->as_json)
        write_json(track, mail);
    else
        print_line(mail);
}

static int take_options(struct track *track, struct history_reader *reader, int argc, char **argv)
{
    static const struct option options[] = {
        {"from", required_argument, NULL, 'f'},   {"to", required_argument, NULL, 't'},
        {"client", required_argument, NULL, 'c'}, {"since", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},         {0}};
    int code = CMD_GOOD;
    for (int c; code == CMD_GOOD && (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        switch (c) {
        case 'f':
            track->from = optarg;
            break;
        case 't':
            track->to = optarg;
            break;
        case 'c':
            track->of_client = true;
            if (!entries_read_network(optarg, &track->client))
                code = cmd_complain(CMD_USAGE, "--client %s: write an address or a network like 192.0.2.0/24", optarg);
            break;
        case 's':
            code = event_files_since(optarg, &reader->since_us);
            break;
        case 'j':
            track->as_json = true;
            break;
        default:
            return cmd_usage("track");
        }
    return code;
}

int cmd_track(int argc, char **argv)
{
    struct track track = {0};
    struct history_reader reader = {.mail = take_mail, .context = &track, .since_us = INT64_MIN};
    int code = take_options(&track, &reader, argc, argv);
    if (code != CMD_GOOD)
        return code;
    code = event_files_read(argv + optind, argc - optind, &reader);
    if (code == CMD_GOOD && track.count == 0 && !track.as_json)
        puts("no such mail is in the event files");
    int printed = greylist_printed(!track.incomplete);
    return code != CMD_GOOD ? code : printed;
}
