/*
 * bench/drain - how long a consumer takes for packets that wait for it already.
 *
 *   drain CAPTURE PID CLIENT-NS CLIENT-MAC SERVER-NS SERVER-MAC GATEWAY-NS
 *
 * Stops the consumer PID, sends packets of the capture (IPv4) from both ends' namespaces through their eth0 to the
 * gateway's link addresses given, lets the consumer go on, and takes the time until none waits any more. So nothing but
 * the consumer, and what its verdicts start, works in that time. In several parts, one after the other, to the end of
 * the capture; prints how many packets a part has, and the least milliseconds of one.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/octets.h"
#include "io/capture.h"
#include "tcp/checksum.h"

enum { SMTP_PORT = 25, WAIT_S = 20, PART = 18000 };

/* The gateway's links take no more at once. */
enum { BURST = 128, PAUSE_US = 200 };

struct end {
    int fd;
    struct sockaddr_ll gateway;
};

static bool enter(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "/var/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool open_end(struct end *end, const char *name, const char *mac)
{
    uint8_t *m = end->gateway.sll_addr;
    if (!enter(name) || sscanf(mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6)
        return false;
    end->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    end->gateway.sll_family = AF_PACKET;
    end->gateway.sll_protocol = htons(ETHERTYPE_IP);
    end->gateway.sll_ifindex = (int)if_nametoindex("eth0");
    end->gateway.sll_halen = ETH_ALEN;
    return end->fd >= 0 && end->gateway.sll_ifindex > 0;
}

static bool send_packet(const struct end *end, uint8_t *packet, uint32_t len)
{
    memset(packet + 10, 0, 2);
    uint16_t checksum = checksum_finish(checksum_add(0, packet, 4u * (packet[0] & 15)));
    memcpy(packet + 10, &checksum, sizeof checksum);
    return sendto(end->fd, packet, len, 0, (const struct sockaddr *)&end->gateway, sizeof end->gateway) == (ssize_t)len;
}

/* The next packets of the capture, each from the end that sent it. Returns their number; -1 on failure. */
static int send_part(struct capture_reader *reader, const struct end *client, const struct end *server)
{
    char message[512];
    struct capture_packet packet;
    int count = 0;
    while (count < PART && capture_next(reader, &packet, message, sizeof message) == CAPTURE_OK) {
        uint8_t *ip = packet.frame + packet.ip_at;
        bool to_server = load_be16(ip + 4 * (ip[0] & 15) + 2) == SMTP_PORT;
        if (!send_packet(to_server ? client : server, ip, packet.ip_len))
            return -1;
        if (++count % BURST == 0)
            usleep(PAUSE_US);
    }
    return count;
}

/* Packets that wait in the gateway's queues; *lost is set where one found no room. */
static unsigned waiting(FILE *table, bool *lost)
{
    unsigned number, port, waits, mode, range, full, overrun, sum = 0;
    char line[256];
    rewind(table);
    while (fgets(line, sizeof line, table))
        if (sscanf(line, "%u %u %u %u %u %u %u", &number, &port, &waits, &mode, &range, &full, &overrun) == 7) {
            sum += waits;
            *lost = *lost || full || overrun;
        }
    return sum;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static bool stop(pid_t consumer)
{
    if (kill(consumer, SIGSTOP) != 0)
        return false;
    usleep(50000); /* until all its threads have */
    return true;
}

/* Milliseconds for the packets that wait; negative where not all of those sent did, or they still do. */
static double drain(FILE *table, pid_t consumer, int sent)
{
    bool lost = false;
    usleep(100000); /* the last ones are still on their way */
    unsigned filled = waiting(table, &lost);
    double began = now_ms();
    kill(consumer, SIGCONT);
    while (waiting(table, &lost) > 0 && now_ms() < began + WAIT_S * 1e3)
        usleep(500);
    double took = now_ms() - began;
    if (!lost && filled == (unsigned)sent && waiting(table, &lost) == 0)
        return took;
    fprintf(stderr, "drain: of %d packets %u waited, and %u still do%s\n", sent, filled, waiting(table, &lost),
            lost ? "; some found no room" : "");
    return -1;
}

int main(int argc, char **argv)
{
    char message[512];
    struct end client = {0}, server = {0};
    struct capture_reader *reader;
    if (argc != 8) {
        fprintf(stderr, "usage: drain CAPTURE PID CLIENT-NS CLIENT-MAC SERVER-NS SERVER-MAC GATEWAY-NS\n");
        return 2;
    }
    if (capture_open(argv[1], &reader, message, sizeof message) != CAPTURE_OK) {
        fprintf(stderr, "drain: %s\n", message);
        return 1;
    }
    pid_t consumer = (pid_t)strtol(argv[2], NULL, 10);
    if (!open_end(&client, argv[3], argv[4]) || !open_end(&server, argv[5], argv[6]) || !enter(argv[7])) {
        perror("drain: namespaces");
        return 1;
    }
    FILE *table = fopen("/proc/self/net/netfilter/nfnetlink_queue", "re");
    double least = 0, took;
    int sent = 0;
    do {
        if (!table || !stop(consumer) || (sent = send_part(reader, &client, &server)) < 0) {
            perror("drain");
            break;
        }
        took = drain(table, consumer, sent);
        least = took < least || least <= 0 ? took : least;
    } while (sent == PART && least > 0);
    kill(consumer, SIGCONT);
    capture_close(reader);
    printf("%d %.1f\n", PART, least);
    return sent >= 0 && least > 0 ? 0 : 1;
}
