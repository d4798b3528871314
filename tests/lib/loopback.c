#include "loopback.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIME_LIMIT_S = 60 }; /* for all tests of a program; they need two or three */

static char skip_reason[160];
static struct nfqueue *opened; /* one at a time */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return done;
}

/*
 * As root a network namespace is enough; others get one inside a user namespace, where the kernel lets them. The maps
 * come first: files of the network namespace belong to whoever is root when it is made.
 */
static bool enter_namespace(void)
{
    char uid_map[64], gid_map[64];

    if (unshare(CLONE_NEWNET) == 0)
        return true;
    snprintf(uid_map, sizeof uid_map, "0 %u 1\n", (unsigned)getuid());
    snprintf(gid_map, sizeof gid_map, "0 %u 1\n", (unsigned)getgid());
    return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/uid_map", uid_map) &&
           write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/gid_map", gid_map) &&
           unshare(CLONE_NEWNET) == 0;
}

static bool raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

    if (fd >= 0)
        close(fd);
    return done;
}

bool loopback_set_mtu(int mtu)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_mtu = mtu};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool done = fd >= 0 && ioctl(fd, SIOCSIFMTU, &request) == 0;

    if (fd >= 0)
        close(fd);
    return done;
}

static bool put_rules(void)
{
    char command[256];

    for (int i = 0; i < 4; i++) {
        snprintf(command, sizeof command,
                 "PATH=$PATH:/usr/sbin:/sbin XTABLES_LOCKFILE=/dev/null "
                 "iptables -A OUTPUT -p %s --dport %d -j NFQUEUE --queue-num %d 2>/dev/null",
                 i & 1 ? "tcp" : "udp", i & 2 ? LOOPBACK_PORT_BACK : LOOPBACK_PORT,
                 i & 2 ? LOOPBACK_FROM_SERVERS : LOOPBACK_TO_SERVERS);
        if (system(command) != 0)
            return false;
    }
    return true;
}

int loopback_enter(void **state)
{
    (void)state;
    alarm(TIME_LIMIT_S);
    if (!enter_namespace())
        snprintf(skip_reason, sizeof skip_reason, "no network namespace for this user (%s)", strerror(errno));
    else if (!raise_loopback())
        snprintf(skip_reason, sizeof skip_reason, "no loopback in the new namespace (%s)", strerror(errno));
    else if (!put_rules())
        snprintf(skip_reason, sizeof skip_reason, "iptables cannot put an NFQUEUE rule here");
    if (skip_reason[0])
        printf("# skipped: %s\n", skip_reason);
    return 0;
}

void loopback_need(void)
{
    if (skip_reason[0])
        skip();
}

struct nfqueue_settings loopback_settings(void)
{
    return (struct nfqueue_settings){.to_servers = LOOPBACK_TO_SERVERS,
                                     .from_servers = LOOPBACK_FROM_SERVERS,
                                     .to_servers_gso = true,
                                     .queue_len = 1024,
                                     .receive_bytes = 4u << 20};
}

struct nfqueue *loopback_open(const struct nfqueue_settings *settings)
{
    char message[256] = "";
    struct nfqueue *queue = nfqueue_open(settings, message, sizeof message);

    if (!queue)
        fail_msg("nfqueue_open: %s", message);
    opened = queue;
    return queue;
}

void loopback_close(void)
{
    nfqueue_close(opened);
    opened = NULL;
}

int loopback_close_left_open(void **state)
{
    (void)state;
    loopback_close();
    return 0;
}

int loopback_udp(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), bytes = 8 << 20;

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); /* as much as anybody may; then more */
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* What the queue does with it is no error of sending: a packet that finds it full answers EPERM. */
void loopback_send(int fd, uint16_t port, const void *octets, size_t len)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    sendto(fd, octets, len, 0, (struct sockaddr *)&address, sizeof address);
}

bool loopback_readable(int fd, int wait_ms)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};

    return poll(&waiting, 1, wait_ms) == 1;
}

ssize_t loopback_take(int fd, void *octets, size_t size, int wait_ms)
{
    return loopback_readable(fd, wait_ms) ? recv(fd, octets, size, 0) : -1;
}

int loopback_receive(struct nfqueue *queue, struct nfqueue_packet packets[NFQUEUE_BATCH_MAX])
{
    return loopback_readable(nfqueue_fd(queue), LOOPBACK_ARRIVAL_MS) ? nfqueue_receive(queue, packets) : 0;
}
