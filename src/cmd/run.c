#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/uri.h"
#include "cmd/clock.h"
#include "cmd/cmd.h"
#include "cmd/metrics.h"
#include "cmd/rules.h"
#include "cmd/service.h"
#include "report/types.h"
#include "sys/file.h"
#include "sys/notify.h"
#include "sys/privileges.h"

enum {
    LOG_WAIT_MS = 1000, /* for what is not written yet when the filter ends */
    STORE_WAIT_MS = 2000,
    MAPPED_BYTES = 131072,
};

struct run {
    struct rules rules;
    const char *store_uri;              /* NULL: what the rules say, where they ask */
    const char *events;                 /* where they are written; NULL: nowhere */
    char events_room[CONF_STORE_BYTES]; /* the same, where the rules say it */
    const char *control;                /* the path of the socket; NULL: the usual one, where its folder is there */
    const char *group;                  /* who else but root may ask there; NULL: nobody */
    const char *state;                  /* the folder that keeps what the next process must know; NULL: the usual one */
    char offsets[QUEUES_WORKERS_MAX][PATH_MAX];
    const char *user; /* to run as */
    bool stay_root;
    const char *metrics; /* ADDRESS:PORT where figures may be read; NULL: nowhere */
    struct mark mark;
    struct resolver *names;
    struct service service;
};

/* The processor for a worker; -1 where it is alone, for the scheduler places one thread better than a rule does. */
static int processor_of(const struct run *run, unsigned number)
{
    cpu_set_t allowed;
    if (run->service.queues.workers == 1 || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return -1;
    unsigned skip = number % (unsigned)CPU_COUNT(&allowed);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
        cpu++;
    return (int)cpu;
}

/* Where the records of a worker's connections are kept; NULL where the usual folder is not there. */
static const char *offsets_of(struct run *run, unsigned number)
{
    const char *folder = run->state ? run->state : SERVICE_FOLDER;
    if (!run->state && access(folder, W_OK) != 0)
        return NULL;
    snprintf(run->offsets[number], sizeof run->offsets[number], "%s/offsets-%u", folder,
             run->service.queues.first + number);
    return run->offsets[number];
}

static bool open_worker(struct run *run, unsigned number, char *message, size_t message_size)
{
    struct worker_settings settings = {
        .queues =
            {
                .to_servers = (uint16_t)(run->service.queues.first + number),
                .from_servers = (uint16_t)(run->service.queues.first + run->service.queues.workers + number),
                .to_servers_gso = true,
                .queue_len = run->rules.now->queue_length,
                .receive_bytes = run->rules.now->queue_buffer,
            },
        .engine = run->rules.now->engine,
        .policy = &run->rules.now->policy,
        .watch = run->service.watch,
        .names = resolver_client(run->names, number),
        .feeds = run->events ? types_logged(run->rules.now->event_types) : 0,
        .mark = run->mark,
        .offsets = offsets_of(run, number),
        .processor = processor_of(run, number),
        .ended = run->service.ended,
    };
    run->service.workers[number] = worker_new(&settings, message, message_size);
    return run->service.workers[number] != NULL;
}

static int open_log(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    run->service.log = log_open(run->events, run->rules.now->event_types, message, sizeof message);
    if (message[0])
        cmd_complain(CMD_FAILED, "%s", message);
    return run->service.log ? CMD_GOOD : CMD_FAILED;
}

/* The control socket. Without a path the usual one is used, where its folder was made for it. */
static int open_control(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    const char *path = run->control ? run->control : SERVICE_CONTROL_PATH;
    if (!run->control && access(SERVICE_FOLDER, W_OK) != 0)
        return CMD_GOOD;
    run->service.control = control_open(path, run->group, message, sizeof message);
    if (run->service.control)
        return CMD_GOOD;
    cmd_complain(CMD_FAILED, "%s", message);
    return run->control ? CMD_FAILED : CMD_GOOD;
}

static int open_workers(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    for (unsigned i = 0; i < run->service.queues.workers; i++)
        if (!open_worker(run, i, message, sizeof message))
            return cmd_complain(CMD_FAILED, "%s", message);
    return CMD_GOOD;
}

/* All that may need privileges; the queues last, for from then on mail waits for us. */
static int open_all(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    if (getrandom(&run->rules.now->engine.seed, sizeof run->rules.now->engine.seed, 0) !=
        sizeof run->rules.now->engine.seed)
        return cmd_complain(CMD_FAILED, "no random numbers: %m");
    run->service.watch = run->rules.watch = watch_new(&run->rules.now->guard);
    if (!run->service.watch)
        return cmd_complain(CMD_FAILED, "no memory for the guard, or no random numbers: %m");
    run->names = resolver_new(run->service.queues.workers);
    if (!run->names)
        return cmd_complain(CMD_FAILED, "no memory or file descriptor to ask for names");
    if (!service_open(&run->service))
        return cmd_complain(CMD_FAILED, "no file descriptor: %m");
    run->service.queue_rules = queue_rules_new(
        run->service.queues.first, (uint16_t)(run->service.queues.first + 2 * run->service.queues.workers - 1));
    int code = run->events ? open_log(run) : CMD_GOOD;
    if (code == CMD_GOOD && run->metrics &&
        !(run->service.metrics = metrics_open(run->metrics, &run->service, message, sizeof message)))
        code = cmd_complain(CMD_FAILED, "%s", message);
    if (code == CMD_GOOD)
        code = open_control(run);
    return code == CMD_GOOD ? open_workers(run) : code;
}

/* Whether guarded mail is to be counted together with other gateways, so that a store is of use. */
static bool shares_guard(const struct conf *conf)
{
    return conf->policy.guard != RULES_MAX && store_is_shared(conf->store);
}

/* The filter starts without its store, too: what `fault` says may be over by and by. */
static int stand_in(struct run *run, const char *uri, const struct store_settings *settings, const char *fault)
{
    char message[CMD_MESSAGE_BYTES];
    run->rules.store = run->service.store =
        store_open_lost(fault, settings, clock_now_us() / 1000000, message, sizeof message);
    if (!run->rules.store)
        return cmd_complain(CMD_FAILED, "%s", message);
    run->service.late = late_store_new(uri, settings, fault);
    if (!run->service.late)
        return cmd_complain(CMD_FAILED, "no thread for the store: %m");
    cmd_complain(CMD_GOOD, "%s; until the store can be used on-lost-store holds: %s", fault,
                 run->rules.now->policy.defers_without_store ? "defer" : "pass");
    run->service.store_faulty = true; /* this was said */
    return CMD_GOOD;
}

/* Where what is asked is remembered, and guarded mail counted. As the user that the filter runs as. */
static int open_store(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    struct store_settings settings = store_settings_default();
    const struct conf *conf = run->rules.now;
    const char *uri = run->store_uri ? run->store_uri : conf->store;
    bool asks = run->store_uri || answers_wanted(&conf->policy);
    if (!asks && !shares_guard(conf))
        return CMD_GOOD;
    if (!store_understands(uri, message, sizeof message))
        return cmd_complain(CMD_FAILED, "%s", message);
    settings.clients_max = 3 * run->service.queues.workers; /* for the guard, and the greylist: at a reload two each */
    run->rules.store = run->service.store =
        store_open(uri, &settings, clock_now_us() / 1000000, message, sizeof message);
    int code = CMD_GOOD;
    if (!run->rules.store)
        code = stand_in(run, uri, &settings, message);
    else if (message[0])
        cmd_complain(CMD_GOOD, "%s", message);
    if (code == CMD_GOOD && asks && !rules_answer(&run->rules, conf))
        return cmd_complain(CMD_FAILED, "no memory for the greylist");
    if (code == CMD_GOOD && !run->service.late && !service_share_guard(&run->service))
        return cmd_complain(CMD_FAILED, "no memory for the guard");
    return code;
}

/* What was made as root will be made anew as that user. */
static int drop_privileges(const struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    if (run->stay_root)
        return CMD_GOOD;
    if (run->events && strcmp(run->events, LOG_TO_SYSLOG) != 0)
        privileges_give(run->events, run->user);
    return privileges_drop(run->user, message, sizeof message) ? CMD_GOOD : cmd_complain(CMD_FAILED, "%s", message);
}

/* Until here SIGTERM ends the process as it is: whatever the start waits for. */
static int start_threads(struct run *run)
{
    if (!service_take_signals(&run->service))
        return cmd_complain(CMD_FAILED, "cannot take signals: %m");
    struct feed *feeds[QUEUES_WORKERS_MAX];
    for (unsigned i = 0; i < run->service.queues.workers; i++)
        feeds[i] = worker_feed(run->service.workers[i]);
    bool good = !run->service.log || log_start(run->service.log, feeds, run->service.queues.workers);
    good = good && resolver_start(run->names);
    for (unsigned i = 0; good && i < run->service.queues.workers; i++)
        good = worker_start(run->service.workers[i], run->service.log);
    if (!good)
        return cmd_complain(CMD_FAILED, "cannot start a thread: %m");
    unsigned first = run->service.queues.first, count = run->service.queues.workers;
    if (count == 1)
        fprintf(stderr, "postern: ready; queue %u towards servers, queue %u from servers\n", first, first + 1);
    else
        fprintf(stderr, "postern: ready; queues %u to %u towards servers, queues %u to %u from servers\n", first,
                first + count - 1, first + count, first + 2 * count - 1);
    return CMD_GOOD;
}

static void tell_counts(const struct worker_status *sum, struct log_counters log)
{
    fprintf(stderr,
            "postern: stopped after %llu packets (%llu accepted, %llu dropped), %llu connections; %llu keywords "
            "stripped, %llu commands refused; %llu overruns, %llu dropped at a full queue\n",
            (unsigned long long)sum->engine.packets, (unsigned long long)sum->engine.accepted,
            (unsigned long long)sum->engine.dropped, (unsigned long long)sum->engine.flows_created,
            (unsigned long long)sum->engine.keywords_stripped, (unsigned long long)sum->engine.commands_refused,
            (unsigned long long)sum->queue.overruns, (unsigned long long)sum->queue.queue_full);
    if (log.dropped || log.failed)
        fprintf(stderr, "postern: %llu events were lost for want of room, %llu could not be written\n",
                (unsigned long long)log.dropped, (unsigned long long)log.failed);
}

/*
 * Every packet that waits gets its verdict, and the queues are let go before anything else is waited for. Then every
 * event gets its line. False where the log's thread does not come back: it may still use what the workers have.
 */
static bool stop(struct run *run)
{
    struct worker_status sum;
    struct log_counters log;
    for (unsigned i = 0; i < run->service.queues.workers; i++)
        worker_stop(run->service.workers[i]);
    service_ask_workers(&run->service, &sum);
    for (unsigned i = 0; i < run->service.queues.workers; i++)
        worker_let_go(run->service.workers[i]);
    bool ended = log_close(run->service.log, clock_now_us(), LOG_WAIT_MS, &log);
    run->service.log = NULL;
    tell_counts(&sum, log);
    return ended;
}

static void close_all(struct run *run, bool log_ended)
{
    struct log_counters log;
    log_ended = log_close(run->service.log, clock_now_us(), LOG_WAIT_MS, &log) && log_ended;
    for (unsigned i = 0; log_ended && i < run->service.queues.workers; i++)
        worker_free(run->service.workers[i]);
    resolver_free(run->names);
    watch_free(run->service.watch);
    queue_rules_free(run->service.queue_rules);
    control_close(run->service.control);
    metrics_close(run->service.metrics);
    if (run->service.signals >= 0)
        close(run->service.signals);
    if (run->service.ended >= 0)
        close(run->service.ended);
}

static void close_store(struct run *run)
{
    late_store_free(run->service.late);
    uint64_t lost = store_close(run->rules.store, STORE_WAIT_MS);
    if (lost)
        cmd_complain(CMD_GOOD, "%llu records could not be written to the store in time", (unsigned long long)lost);
}

/*
 * Large tables are mapped, so that only what is used of them takes memory, and a reload gives the old ones back. The
 * library does so until the first is freed; then it raises the size from which it does, unless that size was set.
 */
static void keep_tables_apart(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
#endif
}

/* Whoever reads what we write may end, or stop: mail goes on. What asks for a reload or a new event file waits until we
   are ready; until then it would end us. */
static void stand_alone(void)
{
    sigset_t later;
    signal(SIGPIPE, SIG_IGN);
    file_never_wait(STDERR_FILENO);
    sigemptyset(&later);
    sigaddset(&later, SIGHUP);
    sigaddset(&later, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &later, NULL);
}

static const struct option options[] = {
    {"rules", required_argument, NULL, 'r'},         {"queues", required_argument, NULL, 'q'},
    {"events", required_argument, NULL, 'e'},        {"control", required_argument, NULL, 'c'},
    {"control-group", required_argument, NULL, 'g'}, {"metrics", required_argument, NULL, 'm'},
    {"mark-mask", required_argument, NULL, 'k'},     {"state", required_argument, NULL, 's'},
    {"user", required_argument, NULL, 'u'},          {"stay-root", no_argument, NULL, 'S'},
    {"store", required_argument, NULL, 'd'},         {0},
};

/* One option. CMD_GOOD, or what the program ends with. */
static int take_option(struct run *run, int option)
{
    char message[CMD_MESSAGE_BYTES];
    switch (option) {
    case 'r':
        if (!conf_read(run->rules.now, optarg, message, sizeof message))
            return cmd_complain(CMD_FAILED, "%s", message);
        if (run->rules.now->warnings)
            cmd_complain(CMD_GOOD, "%s: taken, with warnings; postern check %s says them", optarg, optarg);
        run->rules.path = optarg;
        return CMD_GOOD;
    case 'q':
        if (!queues_parse(optarg, &run->service.queues))
            return cmd_complain(CMD_USAGE, "-q %s: %s", optarg, QUEUES_ADVICE);
        return CMD_GOOD;
    case 'e':
        run->events = optarg;
        return CMD_GOOD;
    case 'c':
        run->control = optarg;
        return CMD_GOOD;
    case 'g':
        run->group = optarg;
        return CMD_GOOD;
    case 'm':
        run->metrics = optarg;
        return CMD_GOOD;
    case 'u':
        run->user = optarg;
        return CMD_GOOD;
    case 'S':
        run->stay_root = true;
        return CMD_GOOD;
    case 'd':
        if (!conf_is_store(optarg))
            return cmd_complain(CMD_USAGE, "--store %s: " CONF_STORE_ADVICE,
                                uri_shown(optarg, message, sizeof message));
        run->store_uri = optarg;
        return CMD_GOOD;
    case 's':
        run->state = optarg;
        return CMD_GOOD;
    case 'k':
        if (!mark_parse(optarg, &run->mark))
            return cmd_complain(CMD_USAGE, "--mark-mask %s: %s", optarg, MARK_ADVICE);
        return CMD_GOOD;
    default:
        return cmd_usage("run");
    }
}

int cmd_run(int argc, char **argv)
{
    static struct run run = {
        .user = "postern", .mark = MARK_DEFAULT, .service = {.queues = QUEUES_DEFAULT, .signals = -1, .ended = -1}};
    int code = CMD_GOOD;
    bool log_ended = true;
    keep_tables_apart();
    stand_alone();
    if (!rules_init(&run.rules))
        return cmd_complain(CMD_FAILED, "no memory");
    for (int c; (c = getopt_long(argc, argv, "r:q:e:", options, NULL)) != -1;)
        if ((code = take_option(&run, c)) != CMD_GOOD)
            return code;
    if (optind != argc)
        return cmd_usage("run");
    if (!run.events && run.rules.now->events[0]) {
        snprintf(run.events_room, sizeof run.events_room, "%s", run.rules.now->events);
        run.events = run.events_room;
    }
    run.rules.now->engine.events = 1u << EVENT_GUARD | (run.events ? types_told(run.rules.now->event_types) : 0);
    run.rules.now->engine.release = run.mark.mask != 0;
    run.rules.now->engine.questions = answers_questions();
    clock_begin();
    run.service.began_us = run.service.reloaded_us = clock_now_us();
    run.service.rules = &run.rules;
    code = open_all(&run);
    run.rules.workers = run.service.workers;
    run.rules.worker_count = run.service.queues.workers;
    if (code == CMD_GOOD)
        code = drop_privileges(&run);
    if (code == CMD_GOOD)
        code = open_store(&run);
    if (code == CMD_GOOD)
        code = start_threads(&run);
    if (code == CMD_GOOD) {
        notify("READY=1");
        code = service_run(&run.service);
        notify("STOPPING=1");
        log_ended = stop(&run);
    }
    close_all(&run, log_ended);
    close_store(&run);
    rules_fini(&run.rules);
    return code;
}
