#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/clock.h"
#include "cmd/cmd.h"
#include "cmd/figures.h"
#include "cmd/worker.h"
#include "report/log.h"
#include "report/session.h"

enum {
    QUEUE_LEN = 65536,
    RECEIVE_BYTES = 64 * 1024 * 1024,
    ANSWER_MS = 500, /* how long a worker may be busy before it describes itself */
};

struct run {
    struct conf conf;
    const char *events; /* where they are written; NULL: nowhere */
    uint16_t first_queue;
    unsigned worker_count;
    struct worker *workers[LOG_FEEDS_MAX];
    struct log *log;
    int signals; /* signalfd */
    int ended;   /* eventfd: a worker failed */
};

static int usage(void)
{
    return cmd_complain(CMD_USAGE, "usage: postern run [-r RULES] [-q FIRST[:LAST]] [-e EVENTS.jsonl|syslog:]");
}

/* FIRST or FIRST:LAST: an even number of queues, of which the first half are towards servers. FIRST: two of them. */
static bool parse_queues(const char *text, struct run *run)
{
    char *end;
    errno = 0;
    unsigned long first = strtoul(text, &end, 10);
    unsigned long last = first + 1;
    if (end == text || text[0] == '-')
        return false;
    if (*end == ':') {
        const char *second = end + 1;
        last = strtoul(second, &end, 10);
        if (end == second || second[0] == '-')
            return false;
    }
    if (*end || errno || last > 65535 || last <= first || (last - first) % 2 == 0 ||
        last - first >= 2ul * LOG_FEEDS_MAX)
        return false;
    run->first_queue = (uint16_t)first;
    run->worker_count = (unsigned)(last - first + 1) / 2;
    return true;
}

/* The processor for a worker; -1 where it is alone, for the scheduler places one thread better than a rule does. */
static int processor_of(const struct run *run, unsigned number)
{
    cpu_set_t allowed;
    if (run->worker_count == 1 || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return -1;
    unsigned skip = number % (unsigned)CPU_COUNT(&allowed);
    size_t cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
        cpu++;
    return (int)cpu;
}

static bool open_worker(struct run *run, unsigned number, char *message, size_t message_size)
{
    struct worker_settings settings = {
        .queues =
            {
                .to_servers = (uint16_t)(run->first_queue + number),
                .from_servers = (uint16_t)(run->first_queue + run->worker_count + number),
                .to_servers_gso = true,
                .queue_len = QUEUE_LEN,
                .receive_bytes = RECEIVE_BYTES,
            },
        .engine = run->conf.engine,
        .policy = &run->conf.policy,
        .processor = processor_of(run, number),
        .ended = run->ended,
    };
    run->workers[number] = worker_new(&settings, message, message_size);
    return run->workers[number] != NULL;
}

static int open_log(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    struct feed *feeds[LOG_FEEDS_MAX];
    for (unsigned i = 0; i < run->worker_count; i++)
        feeds[i] = worker_feed(run->workers[i]);
    run->log = log_open(run->events, feeds, run->worker_count, message, sizeof message);
    return run->log ? CMD_GOOD : cmd_complain(CMD_FAILED, "%s", message);
}

static bool take_signals(struct run *run)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    run->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return run->signals >= 0 && run->ended >= 0;
}

/* All that may need privileges. */
static int open_all(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    if (getrandom(&run->conf.engine.seed, sizeof run->conf.engine.seed, 0) != sizeof run->conf.engine.seed)
        return cmd_complain(CMD_FAILED, "no random numbers: %m");
    if (!take_signals(run))
        return cmd_complain(CMD_FAILED, "cannot take signals: %m");
    for (unsigned i = 0; i < run->worker_count; i++)
        if (!open_worker(run, i, message, sizeof message))
            return cmd_complain(CMD_FAILED, "%s", message);
    return run->events ? open_log(run) : CMD_GOOD;
}

static int start_threads(struct run *run)
{
    bool good = !run->log || log_start(run->log);
    for (unsigned i = 0; good && i < run->worker_count; i++)
        good = worker_start(run->workers[i], run->log);
    if (!good)
        return cmd_complain(CMD_FAILED, "cannot start a thread: %m");
    unsigned first = run->first_queue, count = run->worker_count;
    if (count == 1)
        fprintf(stderr, "postern: ready; queue %u towards servers, queue %u from servers\n", first, first + 1);
    else
        fprintf(stderr, "postern: ready; queues %u to %u towards servers, queues %u to %u from servers\n", first,
                first + count - 1, first + count, first + 2 * count - 1);
    return CMD_GOOD;
}

/* False where it is time to end. */
static bool take_signal(struct run *run)
{
    struct signalfd_siginfo signal;
    if (read(run->signals, &signal, sizeof signal) != sizeof signal)
        return true;
    if (signal.ssi_signo != SIGUSR1)
        return false;
    if (run->log)
        log_reopen(run->log);
    return true;
}

static int serve(struct run *run)
{
    struct pollfd fds[2] = {
        {.fd = run->signals, .events = POLLIN},
        {.fd = run->ended, .events = POLLIN},
    };
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return cmd_complain(CMD_FAILED, "cannot wait for signals: %m");
        if (fds[1].revents)
            return CMD_FAILED;
        if (fds[0].revents && !take_signal(run))
            return CMD_GOOD;
    }
}

/* What all workers say of themselves, added up. */
static void ask_all(struct run *run, struct worker_status *sum)
{
    *sum = (struct worker_status){0};
    for (unsigned i = 0; i < run->worker_count; i++) {
        struct worker_status one;
        worker_ask(run->workers[i], &one, ANSWER_MS);
        figures_add(sum, &one);
    }
}

static void tell_counts(struct run *run, struct log_counters log)
{
    struct worker_status sum;
    ask_all(run, &sum);
    fprintf(stderr,
            "postern: stopped after %llu packets (%llu accepted, %llu dropped), %llu connections; %llu keywords "
            "stripped, %llu commands refused; %llu overruns, %llu dropped at a full queue\n",
            (unsigned long long)sum.engine.packets, (unsigned long long)sum.engine.accepted,
            (unsigned long long)sum.engine.dropped, (unsigned long long)sum.engine.flows_created,
            (unsigned long long)sum.engine.keywords_stripped, (unsigned long long)sum.engine.commands_refused,
            (unsigned long long)sum.queue.overruns, (unsigned long long)sum.queue.queue_full);
    if (log.dropped || log.failed)
        fprintf(stderr, "postern: %llu events were lost for want of room, %llu could not be written\n",
                (unsigned long long)log.dropped, (unsigned long long)log.failed);
}

/* Every packet that waits gets its verdict, every event its line. */
static void stop(struct run *run)
{
    for (unsigned i = 0; i < run->worker_count; i++)
        worker_stop(run->workers[i]);
    tell_counts(run, log_close(run->log, clock_now_us()));
    run->log = NULL;
}

static void close_all(struct run *run)
{
    log_close(run->log, clock_now_us());
    for (unsigned i = 0; i < run->worker_count; i++)
        worker_free(run->workers[i]);
    if (run->signals >= 0)
        close(run->signals);
    if (run->ended >= 0)
        close(run->ended);
}

static const struct option options[] = {
    {"rules", required_argument, NULL, 'r'},
    {"queues", required_argument, NULL, 'q'},
    {"events", required_argument, NULL, 'e'},
    {0},
};

int cmd_run(int argc, char **argv)
{
    static struct run run = {.worker_count = 1, .signals = -1, .ended = -1};
    char message[CMD_MESSAGE_BYTES];
    conf_init(&run.conf);
    for (int c; (c = getopt_long(argc, argv, "r:q:e:", options, NULL)) != -1;)
        switch (c) {
        case 'r':
            if (!conf_read(&run.conf, optarg, message, sizeof message))
                return cmd_complain(CMD_FAILED, "%s", message);
            break;
        case 'q':
            if (!parse_queues(optarg, &run))
                return cmd_complain(CMD_USAGE,
                                    "-q %s: give an even number of queues in a row, FIRST:LAST: 0:1 is one worker, 0:3 "
                                    "two with queues 0 and 1 towards servers",
                                    optarg);
            break;
        case 'e':
            run.events = optarg;
            break;
        default:
            return usage();
        }
    if (optind != argc)
        return usage();
    if (run.events)
        run.conf.engine.events = sessions_events();
    clock_begin();
    int code = open_all(&run);
    if (code == CMD_GOOD && (code = start_threads(&run)) == CMD_GOOD) {
        code = serve(&run);
        stop(&run);
    }
    close_all(&run);
    return code;
}
