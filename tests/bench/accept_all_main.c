/*
 * bench/accept_all - the baseline that postern is compared with: a consumer that accepts every packet as it came.
 *
 * Usage: accept_all FIRST [HELD]
 * Takes aggregates (NFQA_CFG_F_GSO) on queues FIRST and FIRST+1 until SIGTERM or SIGINT, then prints one line of JSON:
 * what passed, and its own processor time. That includes the kernel's work for a verdict: the packet's way out. The
 * first HELD packets of UDP get no verdict until then, as those of tarpits; it says "held" when they have come.
 */
#include "io/nfqueue.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* The signals are open only while ppoll waits, so that none falls between the look at `stopped` and the wait. */
static void prepare_signals(sigset_t *while_waiting)
{
    struct sigaction action = {.sa_handler = stop};
    sigset_t blocked;

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, while_waiting);
    sigdelset(while_waiting, SIGTERM);
    sigdelset(while_waiting, SIGINT);
}

static uint64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Whether a packet is one of those to be held. */
static bool is_held(const struct nfqueue_packet *packet)
{
    enum { PROTOCOL_AT = 9, UDP = 17 };
    return packet->len > PROTOCOL_AT && packet->bytes[0] >> 4 == 4 && packet->bytes[PROTOCOL_AT] == UDP;
}

/* False where the socket failed. */
static bool accept_packets(struct nfqueue *queue, const sigset_t *while_waiting, unsigned long to_hold,
                           uint64_t *octets, uint64_t *batches)
{
    struct pollfd waiting = {.fd = nfqueue_fd(queue), .events = POLLIN};
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];

    while (!stopped) {
        if (ppoll(&waiting, 1, NULL, while_waiting) < 0) {
            if (errno == EINTR)
                continue;
            return false;
        }
        int count = nfqueue_receive(queue, packets);
        if (count < 0)
            return false;
        for (int i = 0; i < count; i++) {
            if (to_hold && is_held(&packets[i])) {
                if (--to_hold == 0)
                    puts("held"), fflush(stdout);
                continue;
            }
            *octets += packets[i].len;
            nfqueue_verdict(queue, packets[i].token, true, (struct span){0});
        }
        *batches += count > 0;
        nfqueue_flush(queue);
    }
    return true;
}

int main(int argc, char **argv)
{
    struct nfqueue_settings settings = {
        .to_servers_gso = true, .from_servers_gso = true, .queue_len = 65536, .receive_bytes = 64u << 20};
    uint64_t octets = 0, batches = 0;
    char message[256], *end = NULL;
    sigset_t while_waiting;
    struct nfqueue *queue;
    unsigned long first = argc > 1 ? strtoul(argv[1], &end, 10) : 0;
    unsigned long to_hold = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;

    if (argc < 2 || argc > 3 || end == argv[1] || *end || first > 65534 || to_hold >= settings.queue_len) {
        fprintf(stderr, "usage: accept_all FIRST [HELD]    (accepts everything on the queues FIRST and FIRST+1)\n");
        return 2;
    }
    settings.to_servers = (uint16_t)first;
    settings.from_servers = (uint16_t)(first + 1);
    prepare_signals(&while_waiting);
    queue = nfqueue_open(&settings, message, sizeof message);
    if (!queue) {
        fprintf(stderr, "accept_all: %s\n", message);
        return 1;
    }
    bool clean = accept_packets(queue, &while_waiting, to_hold, &octets, &batches);
    if (!clean)
        fprintf(stderr, "accept_all: reading the packet queue: %s\n", strerror(errno));

    const struct nfqueue_counters *counters = nfqueue_counters(queue);
    uint64_t spent_us = cpu_us();
    printf("{\"packets\":%" PRIu64 ",\"octets\":%" PRIu64 ",\"batches\":%" PRIu64 ",\"cpu_us\":%" PRIu64
           ",\"cpu_us_per_packet\":%.3f,\"late\":%" PRIu64 ",\"overruns\":%" PRIu64 ",\"queue_full\":%" PRIu64 "}\n",
           counters->received, octets, batches, spent_us,
           counters->received ? (double)spent_us / (double)counters->received : 0.0, counters->late, counters->overruns,
           counters->queue_full);
    nfqueue_close(queue);
    return clean ? 0 : 1;
}
