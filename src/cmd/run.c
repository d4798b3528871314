#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "io/nfqueue.h"
#include "report/json.h"
#include "report/session.h"

enum {
    QUEUE_LEN = 65536,
    RECEIVE_BYTES = 64 * 1024 * 1024,
};

struct run {
    struct conf conf;
    struct nfqueue_settings queues;
    struct nfqueue *queue;
    struct engine *engine;
    int signals; /* signalfd */
    FILE *events;
    struct sessions *sessions;
    bool cut_short_seen;
};

static int usage(void)
{
    return cmd_complain(CMD_USAGE, "usage: postern run [-r RULES] [-q FIRST[:LAST]] [-e EVENTS.jsonl]");
}

/* Microseconds since 1970; never backwards, whatever becomes of the wall clock (it only stamps events). */
static int64_t now_us(void)
{
    static int64_t offset_us;
    struct timespec steady, wall;
    clock_gettime(CLOCK_MONOTONIC, &steady);
    int64_t steady_us = (int64_t)steady.tv_sec * 1000000 + steady.tv_nsec / 1000;
    if (offset_us == 0) {
        clock_gettime(CLOCK_REALTIME, &wall);
        offset_us = (int64_t)wall.tv_sec * 1000000 + wall.tv_nsec / 1000 - steady_us;
    }
    return steady_us + offset_us;
}

/* FIRST or FIRST:LAST. Two queues: packets towards servers come to FIRST, packets from them to LAST. */
static bool parse_queues(const char *text, struct nfqueue_settings *queues)
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
    if (*end || errno || last != first + 1 || last > 65535)
        return false;
    queues->to_servers = (uint16_t)first;
    queues->from_servers = (uint16_t)last;
    return true;
}

static void write_events(struct run *run)
{
    struct event event;
    while (engine_next_event(run->engine, &event))
        if (run->events) {
            json_write_event(run->events, &event);
            sessions_take(run->sessions, &event, run->events);
        }
}

static void carry_out(struct run *run)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(run->engine, &verdict))
        nfqueue_verdict(run->queue, verdict.token, verdict.action == ENGINE_ACCEPT, verdict.packet);
    if (run->conf.engine.events)
        write_events(run);
}

static void take_packet(struct run *run, const struct nfqueue_packet *in, int64_t now)
{
    if (in->cut_short) {
        /* Over 65531 octets: no verdict could give it back edited, and what cannot be followed must not pass. */
        if (!run->cut_short_seen)
            cmd_complain(CMD_GOOD, "a packet of more than %d octets was dropped; lower gso_max_size on the interface",
                         NFQUEUE_PACKET_BYTES_MAX);
        run->cut_short_seen = true;
        nfqueue_verdict(run->queue, in->token, false, (struct span){0});
        return;
    }
    struct engine_packet packet = {
        .bytes = in->bytes,
        .len = in->len,
        .room = in->room,
        .token = in->token,
        .checksum = in->csum_absent   ? ENGINE_CHECKSUM_ABSENT
                    : in->csum_unseen ? ENGINE_CHECKSUM_UNSEEN
                                      : ENGINE_CHECKSUM_GOOD,
    };
    engine_packet(run->engine, &packet, now);
    carry_out(run);
}

/* All that waits in the socket; false where the socket is of no more use. */
static bool take_packets(struct run *run)
{
    static struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    int count;
    do {
        count = nfqueue_receive(run->queue, packets);
        int64_t now = now_us();
        for (int i = 0; i < count; i++)
            take_packet(run, &packets[i], now);
        nfqueue_flush(run->queue);
    } while (count == NFQUEUE_BATCH_MAX);
    return count >= 0;
}

static int timeout_ms(const struct run *run)
{
    int64_t due = engine_next_due(run->engine);
    if (due == INT64_MAX)
        return -1;
    int64_t wait_us = due - now_us();
    if (wait_us <= 0)
        return 0;
    return wait_us > 60000000 ? 60000 : (int)((wait_us + 999) / 1000);
}

static int serve(struct run *run)
{
    struct pollfd fds[2] = {
        {.fd = nfqueue_fd(run->queue), .events = POLLIN},
        {.fd = run->signals, .events = POLLIN},
    };
    for (;;) {
        if (run->events)
            fflush(run->events);
        if (poll(fds, 2, timeout_ms(run)) < 0 && errno != EINTR)
            return cmd_complain(CMD_FAILED, "cannot wait for packets: %m");
        if (fds[0].revents && !take_packets(run))
            return cmd_complain(CMD_FAILED, "the queue's socket failed: %m");
        if (fds[1].revents)
            return CMD_GOOD;
        if (engine_next_due(run->engine) <= now_us()) {
            engine_tick(run->engine, now_us());
            carry_out(run);
            nfqueue_flush(run->queue);
        }
    }
}

static void tell_counts(struct run *run)
{
    const struct engine_counters *engine = engine_counters(run->engine);
    const struct nfqueue_counters *queue = nfqueue_counters(run->queue);
    fprintf(stderr,
            "postern: stopped after %llu packets (%llu accepted, %llu dropped), %llu connections; %llu keywords "
            "stripped, %llu commands refused; %llu overruns, %llu dropped at a full queue\n",
            (unsigned long long)engine->packets, (unsigned long long)engine->accepted,
            (unsigned long long)engine->dropped, (unsigned long long)engine->flows_created,
            (unsigned long long)engine->keywords_stripped, (unsigned long long)engine->commands_refused,
            (unsigned long long)queue->overruns, (unsigned long long)queue->queue_full);
}

/* Every packet that waits gets its verdict. What comes meanwhile is still served. */
static void stop(struct run *run)
{
    take_packets(run);
    engine_stop(run->engine, now_us());
    carry_out(run);
    nfqueue_flush(run->queue);
    if (run->events)
        sessions_stop(run->sessions, now_us(), run->events);
    tell_counts(run);
}

static bool take_signals(struct run *run)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return false;
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signals >= 0;
}

static int start(struct run *run)
{
    char message[CMD_MESSAGE_BYTES];
    if (getrandom(&run->conf.engine.seed, sizeof run->conf.engine.seed, 0) != sizeof run->conf.engine.seed)
        return cmd_complain(CMD_FAILED, "no random numbers: %m");
    run->engine = cmd_engine_new(&run->conf.engine, &run->conf.policy);
    if (!run->engine)
        return cmd_complain(CMD_FAILED, "no memory for %u flows; lower 'flows' in the rules",
                            run->conf.engine.flows_max);
    if (!take_signals(run))
        return cmd_complain(CMD_FAILED, "cannot take signals: %m");
    run->queue = nfqueue_open(&run->queues, message, sizeof message);
    if (!run->queue)
        return cmd_complain(CMD_FAILED, "%s", message);
    fprintf(stderr, "postern: ready; queue %u towards servers, queue %u from servers\n", run->queues.to_servers,
            run->queues.from_servers);
    return CMD_GOOD;
}

static const struct option options[] = {
    {"rules", required_argument, NULL, 'r'},
    {"queues", required_argument, NULL, 'q'},
    {"events", required_argument, NULL, 'e'},
    {0},
};

int cmd_run(int argc, char **argv)
{
    static struct run run = {
        .queues = {.from_servers = 1, .to_servers_gso = true, .queue_len = QUEUE_LEN, .receive_bytes = RECEIVE_BYTES},
        .signals = -1,
    };
    char message[CMD_MESSAGE_BYTES];
    conf_init(&run.conf);
    for (int c; (c = getopt_long(argc, argv, "r:q:e:", options, NULL)) != -1;)
        switch (c) {
        case 'r':
            if (!conf_read(&run.conf, optarg, message, sizeof message))
                return cmd_complain(CMD_FAILED, "%s", message);
            break;
        case 'q':
            if (!parse_queues(optarg, &run.queues))
                return cmd_complain(CMD_USAGE, "-q %s: give two queue numbers in a row, FIRST:LAST, for example 0:1",
                                    optarg);
            break;
        case 'e':
            if (!(run.events = fopen(optarg, "ae")))
                return cmd_complain(CMD_FAILED, "%s: events cannot be written: %m", optarg);
            break;
        default:
            return usage();
        }
    if (optind != argc)
        return usage();
    if (run.events) {
        run.conf.engine.events = sessions_events();
        if (!(run.sessions = sessions_new(SESSIONS_BYTES_DEFAULT)))
            return cmd_complain(CMD_FAILED, "no memory");
    }
    int code = start(&run);
    if (code == CMD_GOOD) {
        code = serve(&run);
        stop(&run);
    }
    nfqueue_close(run.queue);
    cmd_engine_free(run.engine, &run.conf.engine);
    conf_free(&run.conf);
    sessions_free(run.sessions);
    if (run.events)
        fclose(run.events);
    if (run.signals >= 0)
        close(run.signals);
    return code;
}
