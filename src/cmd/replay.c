#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/uri.h"
#include "cmd/answers.h"
#include "cmd/cmd.h"
#include "cmd/replay_html.h"
#include "cmd/watch.h"
#include "io/capture.h"
#include "report/dialogue.h"
#include "report/json.h"
#include "report/secrets.h"
#include "report/session.h"
#include "report/table.h"

enum { STORE_WAIT_MS = 2000 };

enum format {
    FORMAT_DIALOGUE,
    FORMAT_TABLE,
    FORMAT_JSON,
    FORMAT_NONE,
    FORMAT_HTML,
};

/* A frame whose packet waits for its verdict. */
struct waiting {
    struct waiting *next;
    uint64_t token;
    uint32_t ip_at;
    uint32_t frame_len;
    uint8_t frame[];
};

/* Where events go as lines of JSON. */
struct log {
    FILE *out; /* NULL: nowhere */
    struct sessions *sessions;
};

struct replay {
    struct conf conf;
    enum format format;
    bool format_named; /* by an option */
    bool stats;
    const char *out_path;
    struct capture_writer *writer;
    int link_type;
    struct log logs[2]; /* standard output, and the file of -e */
    struct secrets *secrets;
    struct dialogue dialogue;
    struct replay_page *page; /* NULL: none is wanted */
    struct table *table;
    struct engine *engine;
    const char *store_uri; /* NULL: memory: where rules ask, else none */
    struct store *store;
    struct answers *answers; /* NULL: nobody answers */
    struct watch *watch;
    struct waiting *waiting;
    uint64_t tokens;
    int64_t out_us; /* the latest stamp written */
};

static void write_frame(struct replay *replay, int64_t time_us, struct span link, struct span ip)
{
    if (!replay->writer)
        return;
    if (time_us > replay->out_us)
        replay->out_us = time_us;
    capture_write(replay->writer, time_us, link, ip);
}

static void carry_out_waiting(struct replay *replay, const struct engine_verdict *verdict, int64_t now_us)
{
    struct waiting **place = &replay->waiting;
    while (*place && (*place)->token != verdict->token)
        place = &(*place)->next;
    struct waiting *waiting = *place;
    if (!waiting)
        return;
    *place = waiting->next;
    struct span frame = {waiting->frame, waiting->frame_len};
    if (verdict->action == ENGINE_ACCEPT)
        write_frame(replay, now_us, span_head(frame, waiting->ip_at),
                    verdict->edited ? verdict->packet : span_tail(frame, waiting->ip_at));
    free(waiting);
}

static bool show_events(struct replay *replay)
{
    struct event event;
    bool good = true;
    while (engine_next_event(replay->engine, &event)) {
        if (event.kind == EVENT_GUARD && !watch_take(replay->watch, &event))
            continue;
        secrets_mask(replay->secrets, &event);
        if (replay->format == FORMAT_DIALOGUE)
            dialogue_show(&replay->dialogue, &event);
        else if (replay->format == FORMAT_TABLE)
            table_take(replay->table, &event);
        else if (replay->page)
            good = replay_page_take(replay->page, &event) && good;
        for (int i = 0; i < 2 && replay->logs[i].out; i++)
            good = json_write_event(replay->logs[i].out, &event) &&
                   sessions_take(replay->logs[i].sessions, &event, replay->logs[i].out) && good;
    }
    return good;
}

/* The capture is over, and with it what is known of its connections. */
static bool stop_logs(struct replay *replay, int64_t now_us)
{
    bool good = true;
    for (int i = 0; i < 2 && replay->logs[i].out; i++)
        good = sessions_stop(replay->logs[i].sessions, now_us, replay->logs[i].out) && good;
    return good;
}

/* What the engine decided in this call. `frame` is the current one, NULL after a tick. True where it has its verdict.
 */
static bool carry_out(struct replay *replay, const struct capture_packet *frame, int64_t now_us)
{
    struct engine_verdict verdict;
    bool decided = false;
    while (engine_next_verdict(replay->engine, &verdict)) {
        if (!frame || verdict.token != replay->tokens) {
            carry_out_waiting(replay, &verdict, now_us);
            continue;
        }
        decided = true;
        struct span whole = {frame->frame, frame->frame_len};
        if (verdict.action == ENGINE_ACCEPT)
            write_frame(replay, now_us, span_head(whole, frame->ip_at),
                        verdict.edited ? verdict.packet : span_tail(whole, frame->ip_at));
    }
    return decided;
}

static bool wait_for_verdict(struct replay *replay, const struct capture_packet *frame)
{
    struct waiting *waiting = malloc(sizeof *waiting + frame->frame_len);
    if (!waiting)
        return false;
    waiting->token = replay->tokens;
    waiting->ip_at = frame->ip_at;
    waiting->frame_len = frame->frame_len;
    memcpy(waiting->frame, frame->frame, frame->frame_len);
    waiting->next = replay->waiting;
    replay->waiting = waiting;
    return true;
}

/*
 * What the greylist says of what was asked, on the capture's clock: a store that takes its time is waited for. `frame`
 * is the current one, NULL after a tick; true where it has its verdict by now.
 */
static bool give_answers(struct replay *replay, const struct capture_packet *frame, int64_t now_us, bool *good)
{
    uint64_t id;
    struct finding finding;
    bool decided = false;
    for (int waited_ms = 0; replay->answers && waited_ms <= STORE_WAIT_MS;) {
        if (answers_next(replay->answers, replay->engine, now_us, &id, &finding)) {
            *good = show_events(replay) && *good; /* before what comes of the answer takes their place */
            engine_answer(replay->engine, id, finding, now_us);
            decided = carry_out(replay, frame, now_us) || decided;
            continue;
        }
        if (answers_due_us(replay->answers) == INT64_MAX)
            break;
        struct pollfd fd = {.fd = answers_fd(replay->answers), .events = POLLIN};
        poll(&fd, 1, 1);
        waited_ms++;
    }
    return decided;
}

/* Whatever has to do with time goes by the capture's clock. */
static void set_time(struct replay *replay, int64_t now_us)
{
    if (replay->store)
        store_set_time(replay->store, now_us);
}

static bool take_frame(struct replay *replay, struct capture_packet *frame)
{
    bool good = true;
    for (int64_t due; (due = engine_next_due(replay->engine)) <= frame->time_us;) {
        set_time(replay, due);
        engine_tick(replay->engine, due);
        carry_out(replay, NULL, due);
        give_answers(replay, NULL, due, &good);
        good = show_events(replay) && good;
    }
    if (frame->ip_len == 0 || frame->cut_short) {
        write_frame(replay, frame->time_us, (struct span){0}, (struct span){frame->frame, frame->frame_len});
        return good;
    }
    struct engine_packet packet = {
        .bytes = frame->frame + frame->ip_at,
        .len = frame->ip_len < ENGINE_PACKET_BYTES_MAX ? frame->ip_len : ENGINE_PACKET_BYTES_MAX,
        .room = CAPTURE_FRAME_BYTES_MAX - frame->ip_at,
        .token = ++replay->tokens,
        .checksum = ENGINE_CHECKSUM_GOOD,
    };
    set_time(replay, frame->time_us);
    engine_packet(replay->engine, &packet, frame->time_us);
    bool decided = carry_out(replay, frame, frame->time_us);
    if (!give_answers(replay, frame, frame->time_us, &good) && !decided)
        good = wait_for_verdict(replay, frame) && good;
    return show_events(replay) && good;
}

/* Nanoseconds of processor time that this process has used. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void show_stats(const struct replay *replay, const char *path, uint64_t ns)
{
    const struct engine_counters *counters = engine_counters(replay->engine);
    struct engine_gauges gauges = engine_gauges(replay->engine);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double packets = counters->packets ? (double)counters->packets : 1;
    json_t *stats = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:i, s:I, s:i}", "capture", path, "packets",
        (json_int_t)counters->packets, "accepted", (json_int_t)counters->accepted, "dropped",
        (json_int_t)counters->dropped, "edited", (json_int_t)counters->edited, "held", (json_int_t)counters->held,
        "malformed", (json_int_t)counters->malformed, "flows_created", (json_int_t)counters->flows_created,
        "keywords_stripped", (json_int_t)counters->keywords_stripped, "commands_refused",
        (json_int_t)counters->commands_refused, "ns_per_packet", (double)ns / packets, "flow_bytes",
        (int)gauges.flow_bytes, "blocks", (json_int_t)gauges.blocks, "max_rss_kib", (int)usage.ru_maxrss);
    json_write_line(stderr, stats);
}

static int open_writer(struct replay *replay, const char *path, int link_type)
{
    char message[CMD_MESSAGE_BYTES];
    if (!replay->out_path)
        return CMD_GOOD;
    if (replay->writer && replay->link_type != link_type)
        return cmd_complain(CMD_FAILED,
                            "%s: its link type differs from the first capture's; write it to a file of its own", path);
    if (replay->writer)
        return CMD_GOOD;
    if (capture_create(replay->out_path, link_type, &replay->writer, message, sizeof message) != CAPTURE_OK)
        return cmd_complain(CMD_FAILED, "%s", message);
    replay->link_type = link_type;
    return CMD_GOOD;
}

static int replay_capture(struct replay *replay, const char *path)
{
    char message[CMD_MESSAGE_BYTES];
    struct capture_reader *reader;
    struct capture_packet frame;
    if (capture_open(path, &reader, message, sizeof message) != CAPTURE_OK)
        return cmd_complain(CMD_FAILED, "%s", message);
    int code = open_writer(replay, path, capture_link_type(reader));
    if (code != CMD_GOOD) {
        capture_close(reader);
        return code;
    }
    replay->engine = cmd_engine_new(&replay->conf.engine, &replay->conf.policy);
    replay->answers = replay->store ? answers_new(&replay->conf, replay->store) : NULL;
    if (!replay->engine || (replay->store && !replay->answers)) {
        capture_close(reader);
        return cmd_complain(CMD_FAILED, "no memory for %u flows; lower 'flows' in the rules",
                            replay->conf.engine.flows_max);
    }
    enum capture_status status;
    int64_t last_us = 0;
    bool good = true;
    uint64_t began_ns = cpu_ns();
    while (good && (status = capture_next(reader, &frame, message, sizeof message)) == CAPTURE_OK) {
        last_us = frame.time_us > last_us ? frame.time_us : last_us;
        good = take_frame(replay, &frame);
    }
    engine_stop(replay->engine, last_us);
    carry_out(replay, NULL, last_us);
    good = show_events(replay) && good;
    good = stop_logs(replay, last_us) && good;
    if (replay->page)
        replay_page_next_capture(replay->page);
    if (replay->stats)
        show_stats(replay, path, cpu_ns() - began_ns);
    answers_free(replay->answers);
    replay->answers = NULL;
    cmd_engine_free(replay->engine, &replay->conf.engine);
    capture_close(reader);
    if (!good)
        return cmd_complain(CMD_FAILED, "%s: the output cannot be written or memory ran out", path);
    return status == CAPTURE_END ? CMD_GOOD : cmd_complain(CMD_FAILED, "%s", message);
}

static int finish(struct replay *replay, int code)
{
    char message[CMD_MESSAGE_BYTES];
    if (replay->table)
        table_show(replay->table, stdout);
    table_free(replay->table);
    if (replay->page && !replay_page_write(replay->page, stdout))
        code = cmd_complain(CMD_FAILED, "the page cannot be written");
    replay_page_free(replay->page);
    secrets_free(replay->secrets);
    if (capture_finish(replay->writer, message, sizeof message) != CAPTURE_OK)
        code = cmd_complain(CMD_FAILED, "%s", message);
    for (int i = 0; i < 2; i++) {
        sessions_free(replay->logs[i].sessions);
        if (replay->logs[i].out && replay->logs[i].out != stdout && fclose(replay->logs[i].out) != 0)
            code = cmd_complain(CMD_FAILED, "the events cannot be written");
    }
    if (fflush(stdout) != 0)
        code = cmd_complain(CMD_FAILED, "standard output cannot be written");
    store_close(replay->store, STORE_WAIT_MS);
    watch_free(replay->watch);
    conf_free(&replay->conf);
    return code;
}

/* One more place for lines of JSON. */
static bool add_log(struct replay *replay, FILE *out)
{
    struct log *log = &replay->logs[replay->logs[0].out != NULL];
    *log = (struct log){out, sessions_new(SESSIONS_BYTES_DEFAULT)};
    replay->conf.engine.events = sessions_events();
    return log->sessions != NULL;
}

/* Where what is asked is remembered: nowhere beyond this run, unless somebody says where. */
static bool open_store(struct replay *replay)
{
    char message[CMD_MESSAGE_BYTES];
    struct store_settings settings = store_settings_default();
    const char *uri = replay->store_uri ? replay->store_uri : "memory:";
    settings.is_guest = true;                                               /* by the time of the capture, that is */
    replay->store = store_open(uri, &settings, 0, message, sizeof message); /* until the first packet says what it is */
    if (!replay->store || message[0])
        cmd_complain(CMD_FAILED, "%s", message);
    return replay->store != NULL;
}

static bool format_of(const char *word, enum format *format)
{
    static const char *const names[] = {"dialogue", "table", "json", "none", "html"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(word, names[i]) == 0) {
            *format = (enum format)i;
            return true;
        }
    return false;
}

static const struct option options[] = {
    {"rules", required_argument, NULL, 'r'},  {"write", required_argument, NULL, 'w'},
    {"events", required_argument, NULL, 'e'}, {"format", required_argument, NULL, 'f'},
    {"html", no_argument, NULL, 'h'},         {"stats", no_argument, NULL, 's'},
    {"store", required_argument, NULL, 'd'},  {0},
};

static int take_options(struct replay *replay, int argc, char **argv, const char **events_path)
{
    char message[CMD_MESSAGE_BYTES];
    for (int c; (c = getopt_long(argc, argv, "r:w:e:", options, NULL)) != -1;)
        switch (c) {
        case 'r':
            if (!conf_read(&replay->conf, optarg, message, sizeof message))
                return cmd_complain(CMD_FAILED, "%s", message);
            break;
        case 'w':
            replay->out_path = optarg;
            break;
        case 'e':
            *events_path = optarg;
            break;
        case 'f':
            if (!format_of(optarg, &replay->format))
                return cmd_complain(CMD_USAGE, "unknown format '%s'; choose dialogue, table, json, html or none",
                                    optarg);
            replay->format_named = true;
            break;
        case 'd':
            if (!conf_is_store(optarg))
                return cmd_complain(CMD_USAGE, "--store %s: " CONF_STORE_ADVICE,
                                    uri_shown(optarg, message, sizeof message));
            replay->store_uri = optarg;
            break;
        case 'h':
            replay->format = FORMAT_HTML;
            replay->format_named = true;
            break;
        case 's':
            replay->stats = true;
            break;
        default:
            return cmd_usage("replay");
        }
    return optind < argc ? CMD_GOOD : cmd_usage("replay");
}

/* With `-w -` standard output is the capture's alone. */
static int choose_output(struct replay *replay)
{
    if (!replay->out_path || strcmp(replay->out_path, "-") != 0)
        return CMD_GOOD;
    if (replay->format_named && replay->format != FORMAT_NONE)
        return cmd_complain(CMD_USAGE, "-w - writes the capture to standard output; choose --format none, or give -w a "
                                       "file's name");
    if (isatty(STDOUT_FILENO))
        return cmd_complain(CMD_USAGE, "-w - would write a capture to the terminal; send it to a file or a program");
    replay->format = FORMAT_NONE;
    return CMD_GOOD;
}

/* What captures are replayed through, and who is told, as the options want it. */
static int prepare(struct replay *replay, const char *events_path)
{
    struct engine_settings *engine = &replay->conf.engine;
    FILE *events = NULL;
    if (events_path && !(events = fopen(events_path, "w")))
        return cmd_complain(CMD_FAILED, "%s: cannot be written: %m", events_path);
    if ((replay->store_uri || answers_wanted(&replay->conf.policy)) && !open_store(replay))
        return CMD_FAILED;
    replay->watch = watch_new(&replay->conf.guard);
    replay->secrets = secrets_new(engine->flows_max);
    if (!replay->watch || !replay->secrets)
        return cmd_complain(CMD_FAILED, "no memory");
    engine->peers = ENGINE_PEERS_RECORDED;
    engine->questions = replay->store ? answers_questions() : 0;
    if (getrandom(&engine->seed, sizeof engine->seed, 0) < 0)
        engine->seed = (uint64_t)time(NULL);
    replay->dialogue = (struct dialogue){.out = stdout, .colour = isatty(STDOUT_FILENO)};
    if (replay->format == FORMAT_DIALOGUE)
        engine->events = dialogue_events();
    if (replay->format == FORMAT_HTML) {
        replay->page = replay_page_new();
        engine->events = dialogue_events();
    }
    if (replay->format == FORMAT_TABLE) {
        replay->table = table_new();
        engine->events = table_events();
    }
    if ((replay->format == FORMAT_TABLE && !replay->table) || (replay->format == FORMAT_HTML && !replay->page) ||
        (replay->format == FORMAT_JSON && !add_log(replay, stdout)) || (events && !add_log(replay, events)))
        return cmd_complain(CMD_FAILED, "no memory");
    return CMD_GOOD;
}

/* What a name stands for: "-" for the standard stream `standard`. */
static bool look_at(const char *path, int standard, struct stat *about)
{
    return (strcmp(path, "-") == 0 ? fstat(standard, about) : stat(path, about)) == 0;
}

static bool is_same_file(const char *one, int one_standard, const char *other)
{
    struct stat first, second;
    return one && other && look_at(one, one_standard, &first) && look_at(other, STDOUT_FILENO, &second) &&
           S_ISREG(first.st_mode) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* What is written must be none of what is read; known before anything is. */
static int check_paths(const struct replay *replay, const char *events_path, char **captures, int count)
{
    for (int i = 0; i < count; i++) {
        if (is_same_file(captures[i], STDIN_FILENO, replay->out_path))
            return cmd_complain(CMD_FAILED, "%s: would be overwritten; give -w another name", captures[i]);
        if (is_same_file(captures[i], STDIN_FILENO, events_path))
            return cmd_complain(CMD_FAILED, "%s: would be overwritten; give -e another name", captures[i]);
    }
    if (is_same_file(replay->out_path, STDOUT_FILENO, events_path))
        return cmd_complain(CMD_FAILED, "%s: -w and -e name the same file", events_path);
    return CMD_GOOD;
}

int cmd_replay(int argc, char **argv)
{
    static struct replay replay;
    const char *events_path = NULL;
    conf_init(&replay.conf);
    int code = take_options(&replay, argc, argv, &events_path);
    if (code == CMD_GOOD)
        code = check_paths(&replay, events_path, argv + optind, argc - optind);
    if (code == CMD_GOOD)
        code = choose_output(&replay);
    if (code == CMD_GOOD)
        code = prepare(&replay, events_path);
    if (code != CMD_GOOD)
        return code;
    for (int i = optind; i < argc; i++)
        if (replay_capture(&replay, argv[i]) != CMD_GOOD)
            code = CMD_FAILED;
    return finish(&replay, code);
}
