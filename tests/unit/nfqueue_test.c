/*
 * unit/nfqueue - io/nfqueue against the real kernel, in a network namespace of this process alone.
 *
 * The namespace goes with the process, so nothing is left behind. Where none may be made, or no NFQUEUE rule put into
 * it, the tests are skipped and the reason is said once. Two tests put a socket pair in the netlink socket's place, to
 * show the reader datagrams that no kernel sends. Packets are UDP datagrams of this process to itself.
 */
#include "base/octets.h"
#include "io/nfqueue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TO_SERVERS    40
#define FROM_SERVERS  41
#define PORT          2500 /* UDP and TCP to this port go to TO_SERVERS */
#define PORT_BACK     2501 /* and to this one to FROM_SERVERS */
#define TIME_LIMIT_S  60   /* for all tests together; they need two or three */
#define ARRIVAL_MS    1000
#define HEADERS_BYTES 28 /* IPv4 without options, UDP */

static char skip_reason[160];

/* ---- the namespace ------------------------------------------------------------------------------ */

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

static bool set_loopback_mtu(int mtu)
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
                 i & 1 ? "tcp" : "udp", i & 2 ? PORT_BACK : PORT, i & 2 ? FROM_SERVERS : TO_SERVERS);
        if (system(command) != 0)
            return false;
    }
    return true;
}

static int enter(void **state)
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

static void need_namespace(void)
{
    if (skip_reason[0])
        skip();
}

/* ---- packets -------------------------------------------------------------------------------------- */

static struct nfqueue_settings settings_small(void)
{
    return (struct nfqueue_settings){.to_servers = TO_SERVERS,
                                     .from_servers = FROM_SERVERS,
                                     .to_servers_gso = true,
                                     .queue_len = 1024,
                                     .receive_bytes = 4u << 20};
}

static struct nfqueue *opened; /* one at a time */

static struct nfqueue *open_queue(const struct nfqueue_settings *settings)
{
    char message[256] = "";
    struct nfqueue *queue = nfqueue_open(settings, message, sizeof message);

    if (!queue)
        fail_msg("nfqueue_open: %s", message);
    opened = queue;
    return queue;
}

static void close_queue(void)
{
    nfqueue_close(opened);
    opened = NULL;
}

/* A test that failed has not closed its queue; the next one needs the numbers. */
static int close_left_open(void **state)
{
    (void)state;
    close_queue();
    return 0;
}

/* A socket on 127.0.0.1; with port 0 one that sends only. */
static int udp_socket(uint16_t port)
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
static void udp_send(int fd, uint16_t port, const void *octets, size_t len)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    sendto(fd, octets, len, 0, (struct sockaddr *)&address, sizeof address);
}

static bool readable(int fd, int wait_ms)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};

    return poll(&waiting, 1, wait_ms) == 1;
}

/* What arrived within the time, or -1. */
static ssize_t udp_take(int fd, void *octets, size_t size, int wait_ms)
{
    return readable(fd, wait_ms) ? recv(fd, octets, size, 0) : -1;
}

static int receive_wait(struct nfqueue *queue, struct nfqueue_packet packets[NFQUEUE_BATCH_MAX])
{
    return readable(nfqueue_fd(queue), ARRIVAL_MS) ? nfqueue_receive(queue, packets) : 0;
}

static uint16_t ip_checksum(const uint8_t *header, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i += 2)
        sum += load_be16(header + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* Give an IPv4 UDP packet the octets `text`; its checksum is left out, which UDP allows. Returns the new length. */
static size_t write_datagram(uint8_t *packet, const char *text)
{
    size_t len = HEADERS_BYTES + strlen(text);

    memcpy(packet + HEADERS_BYTES, text, strlen(text));
    store_be16(packet + 2, (uint16_t)len);
    store_be16(packet + 24, (uint16_t)(len - 20));
    store_be16(packet + 26, 0);
    store_be16(packet + 10, 0);
    store_be16(packet + 10, ip_checksum(packet, 20));
    return len;
}

/* ---- opening -------------------------------------------------------------------------------------- */

static void test_held_by_another(void **state)
{
    struct nfqueue_settings first = settings_small(), second = settings_small();
    char message[256] = "", name[32] = "", holder[64];

    (void)state;
    need_namespace();
    first.from_servers = 50;
    open_queue(&first);

    second.to_servers = 51;
    second.from_servers = 50; /* the second of the two is the one that is taken */
    assert_null(nfqueue_open(&second, message, sizeof message));
    assert_non_null(strstr(message, "queue number 50 is held by another program"));
    assert_non_null(strstr(message, "/proc/net/netfilter/nfnetlink_queue"));
    assert_null(strchr(message, '\n'));
    assert_int_equal(prctl(PR_GET_NAME, name), 0);
    snprintf(holder, sizeof holder, "process %d, %s)", getpid(), name);
    if (!strstr(message, holder))
        fail_msg("\"%s\" does not name \"%s\"", message, holder);

    /* The failed attempt has let go of number 51. */
    close_queue();
    open_queue(&second);
    close_queue();
}

static void test_same_number_twice(void **state)
{
    struct nfqueue_settings settings = settings_small();
    char message[256] = "";

    (void)state;
    settings.from_servers = settings.to_servers;
    assert_null(nfqueue_open(&settings, message, sizeof message));
    assert_non_null(strstr(message, "queue number 40 cannot serve both directions"));
}

static void test_no_capability(void **state)
{
    int status;

    (void)state;
    need_namespace();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[2] = {{0}};
        struct nfqueue_settings settings = settings_small();
        char message[256] = "";

        if (syscall(SYS_capset, &header, none) != 0)
            _exit(2);
        if (nfqueue_open(&settings, message, sizeof message))
            _exit(3);
        _exit(strstr(message, "CAP_NET_ADMIN") && strstr(message, "run as root") && !strchr(message, '\n') ? 0 : 4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A kernel without it is not at hand: a filter on system calls says what such a kernel says. */
static void test_kernel_without(void **state)
{
    int status;

    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {sizeof code / sizeof code[0], code};
        struct nfqueue_settings settings = settings_small();
        char message[256] = "";

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
            _exit(77);
        if (nfqueue_open(&settings, message, sizeof message))
            _exit(3);
        _exit(strstr(message, "modprobe nfnetlink_queue") && strstr(message, "CONFIG_NETFILTER_NETLINK_QUEUE") ? 0 : 4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- verdicts ------------------------------------------------------------------------------------- */

static void test_accept_and_drop(void **state)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    char text[8];
    int seen = 0;

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT), back = udp_socket(PORT_BACK);

    for (char c = 'a'; c < 'a' + 20; c++)
        udp_send(from, c & 1 ? PORT : PORT_BACK, &c, 1);
    while (seen < 20) {
        int count = receive_wait(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++, seen++) {
            char c = (char)packets[i].bytes[HEADERS_BYTES];
            assert_int_equal(packets[i].len, HEADERS_BYTES + 1);
            assert_true(packets[i].room >= NFQUEUE_PACKET_BYTES_MAX);
            assert_int_equal(c, 'a' + seen); /* in the order of arrival, over both queues */
            assert_int_equal(packets[i].token >> 32, c & 1 ? TO_SERVERS : FROM_SERVERS);
            assert_false(packets[i].cut_short);
            assert_false(packets[i].aggregate);
            /* Not computed yet, as this is the host that sends; without GSO the kernel does it for us. */
            assert_int_equal(packets[i].csum_absent, c & 1);
            nfqueue_verdict(queue, packets[i].token, c != 'c' && c != 'd', (struct span){0});
        }
        nfqueue_flush(queue);
    }
    assert_int_equal(nfqueue_receive(queue, packets), 0);
    for (char c = 'a'; c < 'a' + 20; c++) {
        if (c == 'c' || c == 'd')
            continue;
        assert_int_equal(udp_take(c & 1 ? to : back, text, sizeof text, ARRIVAL_MS), 1);
        assert_int_equal(text[0], c);
    }
    assert_int_equal(udp_take(to, text, sizeof text, 0), -1);

    const struct nfqueue_counters *counters = nfqueue_counters(queue);
    assert_int_equal(counters->received, 20);
    assert_int_equal(counters->verdicts, 20);
    assert_int_equal(counters->late, 0);
    assert_int_equal(counters->overruns, 0);
    assert_int_equal(counters->queue_full, 0);
    assert_true(counters->queue_full_known);
    close_queue();
    close(from), close(to), close(back);
}

#ifndef SO_RCVMARK
#define SO_RCVMARK 75 /* Linux 5.19 */
#endif

/* The mark of a packet that arrived, which crossed the loopback with it. */
static uint32_t take_mark(int fd)
{
    char text[8], space[64];
    struct iovec vector = {text, sizeof text};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    uint32_t mark = UINT32_MAX;

    assert_true(readable(fd, ARRIVAL_MS));
    assert_int_equal(recvmsg(fd, &message, 0), 1);
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_MARK)
            memcpy(&mark, CMSG_DATA(part), sizeof mark);
    return mark;
}

/* Of each packet the bits of the mask are ours, the others stay, as long as there are not too many different marks. */
static void test_marks(void **state)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    const uint32_t mask = 0x30000000, ours = 0x20000000;
    int on = 1;

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT);
    if (setsockopt(to, SOL_SOCKET, SO_RCVMARK, &on, sizeof on) != 0)
        skip();
    for (uint32_t i = 0; i < NFQUEUE_MARKS_MAX + 20; i++) {
        /* One more time each, in between: marks that are known take no further place. */
        uint32_t mark = i % 2 ? i : i | 0x10000000;
        for (int again = 0; again < 2; again++) {
            assert_int_equal(setsockopt(from, SOL_SOCKET, SO_MARK, &mark, sizeof mark), 0);
            udp_send(from, PORT, "x", 1);
            assert_int_equal(receive_wait(queue, packets), 1);
            assert_int_equal(packets[0].token >> 32 & 0xffff, TO_SERVERS);
            nfqueue_accept_marked(queue, packets[0].token, (struct span){0}, ours | 0xf, mask);
            nfqueue_flush(queue);
            assert_int_equal(take_mark(to), i < NFQUEUE_MARKS_MAX ? (mark & ~mask) | ours : mark);
        }
    }
    /* A plain verdict leaves it as it was. */
    uint32_t mark = 0x12345678;
    assert_int_equal(setsockopt(from, SOL_SOCKET, SO_MARK, &mark, sizeof mark), 0);
    udp_send(from, PORT, "x", 1);
    assert_int_equal(receive_wait(queue, packets), 1);
    nfqueue_verdict(queue, packets[0].token, true, (struct span){0});
    nfqueue_flush(queue);
    assert_int_equal(take_mark(to), mark);
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    close_queue();
    close(from), close(to);
}

static void test_edited(void **state)
{
    static const struct {
        const char *label, *sent, *edited;
        bool in_place;
    } rows[] = {
        {"same length, in place", "250 XEXCH50", "250 NOTHING", true},
        {"shorter, in place", "250 XEXCH50", "250 OK", true},
        {"longer, in place", "250 OK", "250 a longer text than came", true},
        {"longer, elsewhere", "250 OK", "250 this text has its own storage", false},
    };
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint8_t elsewhere[256];
    char text[256];

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT_BACK);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        udp_send(from, PORT_BACK, rows[i].sent, strlen(rows[i].sent));
        assert_int_equal(receive_wait(queue, packets), 1);
        uint8_t *bytes = packets[0].bytes;
        if (!rows[i].in_place)
            bytes = memcpy(elsewhere, packets[0].bytes, packets[0].len);
        size_t len = write_datagram(bytes, rows[i].edited);
        nfqueue_verdict(queue, packets[0].token, true, (struct span){bytes, len});
        memset(bytes, 0, len); /* copied by now */
        nfqueue_flush(queue);
        ssize_t got = udp_take(to, text, sizeof text - 1, ARRIVAL_MS);
        text[got < 0 ? 0 : got] = '\0';
        if (strcmp(text, rows[i].edited) != 0)
            fail_msg("%s: \"%s\" arrived", rows[i].label, text);
    }
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    close_queue();
    close(from), close(to);
}

/* More verdicts than the buffer holds, small and large ones mixed: it is sent when full, and the order stays. */
static void test_verdict_buffer_full(void **state)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    char *large = calloc(1, 40000), text[8];
    int seen = 0;

    (void)state;
    if (skip_reason[0])
        free(large);
    need_namespace();
    settings.receive_bytes = 32u << 20;
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT);

    for (int i = 0; i < 10; i++) {
        large[0] = (char)i;
        udp_send(from, PORT, large, i & 1 ? 40000 : 1);
    }
    while (seen < 10) {
        int count = receive_wait(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++, seen++) {
            store_be16(packets[i].bytes + 26, 0);
            nfqueue_verdict(queue, packets[i].token, true, (struct span){packets[i].bytes, packets[i].len});
        }
    }
    nfqueue_flush(queue);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(udp_take(to, text, sizeof text, ARRIVAL_MS), i & 1 ? sizeof text : 1);
        assert_int_equal(text[0], i);
    }
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    close_queue();
    close(from), close(to);
    free(large);
}

/* Case 72: an IP packet of 65535 octets is four longer than an attribute can carry. */
static void test_case_72_cut_short(void **state)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    static uint8_t datagram[65507], copy[65535];

    (void)state;
    need_namespace();
    settings.receive_bytes = 32u << 20;
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT);

    datagram[65506] = 'z';
    for (int i = 0; i < 3; i++)
        udp_send(from, PORT, datagram, i == 2 ? sizeof datagram - 4 : sizeof datagram);
    for (int i = 0, count = 0, at = 0; i < 3; i++, at++) {
        if (at == count) {
            count = receive_wait(queue, packets);
            at = 0;
        }
        assert_true(count > 0);
        assert_int_equal(packets[at].len, NFQUEUE_PACKET_BYTES_MAX);
        assert_int_equal(packets[at].cut_short, i < 2);
        memcpy(copy, packets[at].bytes, packets[at].len);
        /* As it came; with too many octets, which drops it; with as many as can be. */
        store_be16(copy + 26, 0);
        nfqueue_verdict(queue, packets[at].token, true,
                        (struct span){copy, i == 0   ? 0
                                            : i == 1 ? NFQUEUE_PACKET_BYTES_MAX + 1
                                                     : NFQUEUE_PACKET_BYTES_MAX});
    }
    nfqueue_flush(queue);
    assert_int_equal(udp_take(to, copy, sizeof copy, ARRIVAL_MS), sizeof datagram);
    assert_int_equal(copy[65506], 'z');
    assert_int_equal(udp_take(to, copy, sizeof copy, ARRIVAL_MS), sizeof datagram - 4);
    assert_int_equal(udp_take(to, copy, sizeof copy, 50), -1);
    assert_int_equal(nfqueue_counters(queue)->too_long, 1);
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    close_queue();
    close(from), close(to);
}

/* One direction of TCP with a link of 1500 octets: whole aggregates with the flag, single packets without. */
static void stream(bool gso, uint32_t *longest, bool *aggregate)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static uint8_t block[65536];
    size_t sent = 0, taken = 0, total = 1u << 20;
    int on = 1, accepted = -1;

    settings.to_servers_gso = gso;
    struct nfqueue *queue = open_queue(&settings);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(from, (struct sockaddr *)&address, sizeof address), -1);
    assert_int_equal(errno, EINPROGRESS);

    while (taken < total) {
        int count = receive_wait(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++) {
            *longest = packets[i].len > *longest ? packets[i].len : *longest;
            *aggregate = *aggregate || packets[i].aggregate;
            nfqueue_verdict(queue, packets[i].token, true, (struct span){0});
        }
        nfqueue_flush(queue);
        if (accepted < 0)
            accepted = accept(listener, NULL, NULL);
        for (ssize_t n = 1; sent < total && n > 0; sent += n > 0 ? (size_t)n : 0)
            n = send(from, block, total - sent < sizeof block ? total - sent : sizeof block, MSG_DONTWAIT);
        for (ssize_t n = 1; accepted >= 0 && n > 0; taken += n > 0 ? (size_t)n : 0)
            n = recv(accepted, block, sizeof block, MSG_DONTWAIT);
    }
    /* Reset, for else the connection would speak into the next test. */
    struct linger now = {.l_onoff = 1};
    setsockopt(accepted, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(accepted), close(from), close(listener);
    close_queue();
}

static void test_case_71_aggregates_with_the_flag_only(void **state)
{
    uint32_t longest = 0;
    bool aggregate = false;

    (void)state;
    need_namespace();
    assert_true(set_loopback_mtu(1500));
    stream(true, &longest, &aggregate);
    assert_true(longest > 1500); /* how long depends on the machine's pace: TCP sends what a millisecond is worth */
    assert_true(aggregate);
    longest = 0;
    aggregate = false;
    stream(false, &longest, &aggregate);
    assert_true(longest > 0 && longest <= 1500);
    assert_false(aggregate);
    assert_true(set_loopback_mtu(65536));
}

/* ---- what goes wrong ------------------------------------------------------------------------------ */

static void test_case_76_late(void **state)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint8_t edited[40000] = {0};
    char text[8];

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT);

    udp_send(from, PORT, "ab", 2);
    udp_send(from, PORT, "cd", 2);
    for (int seen = 0; seen < 2;) {
        int count = receive_wait(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++, seen++)
            nfqueue_verdict(queue, packets[i].token, true, (struct span){0});
    }
    uint64_t token = packets[0].token;
    nfqueue_verdict(queue, token, true, (struct span){0});                               /* a second one */
    nfqueue_verdict(queue, token, true, (struct span){edited, sizeof edited});           /* and a large one */
    nfqueue_verdict(queue, (uint64_t)FROM_SERVERS << 32 | 999, false, (struct span){0}); /* never there */
    nfqueue_verdict(queue, (uint64_t)60000 << 32 | 1, true, (struct span){0});           /* not even our queue */
    nfqueue_flush(queue);
    assert_int_equal(udp_take(to, text, sizeof text, ARRIVAL_MS), 2);
    assert_int_equal(udp_take(to, text, sizeof text, ARRIVAL_MS), 2);
    assert_int_equal(receive_wait(queue, packets), 0);
    assert_int_equal(nfqueue_counters(queue)->late, 4);
    assert_int_equal(nfqueue_counters(queue)->received, 2);
    close_queue();
    close(from), close(to);
}

static void test_close_with_packets_waiting(void **state)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    char text[8];

    (void)state;
    need_namespace();
    int from = udp_socket(0), to = udp_socket(PORT);
    for (int round = 0; round < 3; round++) {
        struct nfqueue *queue = open_queue(&settings);
        for (int i = 0; i < 100; i++)
            udp_send(from, PORT, "held", 4);
        int count = round == 0 ? 0 : receive_wait(queue, packets);
        if (round == 2) /* given, but not flushed: close sends it */
            nfqueue_verdict(queue, packets[count - 1].token, true, (struct span){0});
        close_queue();
        assert_int_equal(udp_take(to, text, sizeof text, round == 2 ? ARRIVAL_MS : 20), round == 2 ? 4 : -1);
        assert_int_equal(udp_take(to, text, sizeof text, 20), -1);
    }
    close(from), close(to);
}

static uint64_t accept_rest(struct nfqueue *queue)
{
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint64_t total = 0;
    int count;

    while ((count = nfqueue_receive(queue, packets)) > 0) {
        for (int i = 0; i < count; i++)
            nfqueue_verdict(queue, packets[i].token, true, (struct span){0});
        nfqueue_flush(queue);
        total += (uint64_t)count;
    }
    assert_int_equal(count, 0);
    return total;
}

static void test_case_74_queue_full(void **state)
{
    struct nfqueue_settings settings = settings_small();

    (void)state;
    need_namespace();
    settings.queue_len = 16;
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0);

    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < 100; i++)
            udp_send(from, PORT, "flood", 5);
        for (int i = 0; i < 20; i++)
            udp_send(from, PORT_BACK, "flood", 5);
        assert_int_equal(accept_rest(queue), 32);
        assert_int_equal(nfqueue_counters(queue)->queue_full, round * (84 + 4));
        assert_int_equal(nfqueue_counters(queue)->overruns, 0);
    }
    close_queue();
    close(from);
}

static void test_case_75_overrun(void **state)
{
    struct nfqueue_settings settings = settings_small();
    char text[1000] = "";

    (void)state;
    need_namespace();
    settings.receive_bytes = 16384;
    settings.queue_len = 10000;
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0);

    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 500; i++)
            udp_send(from, PORT, text, sizeof text);
        uint64_t seen = accept_rest(queue);
        assert_true(seen > 0 && seen < 500);
        assert_int_equal(nfqueue_counters(queue)->received + nfqueue_counters(queue)->overruns, round * 500);
        assert_int_equal(nfqueue_counters(queue)->queue_full, 0);
    }
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    close_queue();
    close(from);
}

/* The shortest of several rounds: what it takes to send, fetch, accept and take 100 packets, in nanoseconds. */
static int64_t round_trips(struct nfqueue *queue, int from, int to)
{
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    int64_t shortest = INT64_MAX;
    char text[8];

    for (int round = 0; round < 10; round++) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        for (int i = 0; i < 100; i++) {
            udp_send(from, PORT, "now", 3);
            assert_int_equal(receive_wait(queue, packets), 1);
            nfqueue_verdict(queue, packets[0].token, true, (struct span){0});
            nfqueue_flush(queue);
            assert_int_equal(udp_take(to, text, sizeof text, ARRIVAL_MS), 3);
        }
        clock_gettime(CLOCK_MONOTONIC, &after);
        int64_t took = (int64_t)(after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
        shortest = took < shortest ? took : shortest;
    }
    return shortest;
}

/* Newer kernels find a packet by a hash, older ones search a list: some ten times as long, and bearable. */
static void test_case_81_verdicts_beside_packets_held(void **state)
{
    enum { HELD = 20000, FACTOR_MAX = 100 };
    struct nfqueue_settings settings = settings_small();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    int count;

    (void)state;
    need_namespace();
    settings.queue_len = HELD + 1000;
    settings.receive_bytes = 64u << 20;
    struct nfqueue *queue = open_queue(&settings);
    int from = udp_socket(0), to = udp_socket(PORT);

    int64_t alone = round_trips(queue, from, to);
    for (int held = 0; held < HELD; held += 50) {
        for (int i = 0; i < 50; i++)
            udp_send(from, PORT, "held", 4);
        for (int seen = 0; seen < 50; seen += count) {
            count = receive_wait(queue, packets);
            assert_true(count > 0);
        }
    }
    int64_t beside = round_trips(queue, from, to);
    printf("# %d packets held: a verdict takes %.2f times as long\n", (int)HELD, (double)beside / (double)alone);
    assert_in_range(beside, 1, alone * FACTOR_MAX);
    close_queue();
    close(from), close(to);
}

static volatile sig_atomic_t interruptions;

static void count_interruption(int number)
{
    static const struct itimerval none;

    (void)number;
    if (++interruptions == 20)
        setitimer(ITIMER_PROF, &none, NULL);
}

/* Twenty signals, two milliseconds apart, without SA_RESTART, while the queue is opened,
 * read, answered and closed. */
static void test_interrupted(void **state)
{
    struct sigaction action = {.sa_handler = count_interruption}, before;
    struct itimerval fast = {{0, 2000}, {0, 2000}}, none = {{0, 0}, {0, 0}};
    struct nfqueue_settings settings = settings_small();
    uint64_t seen = 0;

    (void)state;
    need_namespace();
    int from = udp_socket(0), to = udp_socket(PORT);
    sigaction(SIGPROF, &action, &before);
    setitimer(ITIMER_PROF, &fast, NULL);
    for (int round = 0; round < 50 || (interruptions < 20 && round < 5000); round++) {
        struct nfqueue *queue = open_queue(&settings);
        for (int i = 0; i < 20; i++)
            udp_send(from, PORT, "x", 1);
        seen += accept_rest(queue) == 20;
        assert_int_equal(nfqueue_counters(queue)->late, 0);
        close_queue();
        assert_int_equal(seen, round + 1);
    }
    setitimer(ITIMER_PROF, &none, NULL);
    sigaction(SIGPROF, &before, NULL);
    close(from), close(to);
}

/* ---- datagrams that no kernel sends --------------------------------------------------------------- */

/* A queue whose socket is one end of a pair; *kernel is the other, where datagrams go in and verdicts come out. */
static struct nfqueue *open_on_pair(int *kernel)
{
    struct nfqueue_settings settings = settings_small();
    struct nfqueue *queue = open_queue(&settings);
    int ends[2], bytes = 8 << 20;

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    for (int i = 0; i < 2; i++)
        setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    assert_int_equal(dup2(ends[0], nfqueue_fd(queue)), nfqueue_fd(queue));
    close(ends[0]);
    *kernel = ends[1];
    return queue;
}

static size_t put_attribute(uint8_t *at, uint16_t type, const void *value, size_t len)
{
    struct nlattr header = {.nla_len = (uint16_t)(sizeof header + len), .nla_type = type};

    memcpy(at, &header, sizeof header);
    memcpy(at + sizeof header, value, len);
    return NLMSG_ALIGN(sizeof header + len);
}

/* A packet message as the kernel writes it; returns its length. */
static size_t put_message(uint8_t *at, uint32_t id, const char *payload)
{
    struct nfgenmsg general = {.res_id = htons(TO_SERVERS)};
    struct nfqnl_msg_packet_hdr packet = {.packet_id = htonl(id)};
    uint32_t word = htonl(NFQA_SKB_GSO | NFQA_SKB_CSUM_NOTVERIFIED);
    size_t len = sizeof(struct nlmsghdr) + sizeof general;

    memcpy(at + sizeof(struct nlmsghdr), &general, sizeof general);
    len += put_attribute(at + len, NFQA_PACKET_HDR, &packet, sizeof packet);
    len += put_attribute(at + len, NFQA_IFINDEX_INDEV, &word, sizeof word);
    len += put_attribute(at + len, NFQA_SKB_INFO, &word, sizeof word);
    len += put_attribute(at + len, NFQA_PAYLOAD, payload, strlen(payload));
    struct nlmsghdr header = {.nlmsg_len = (uint32_t)len, .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET};
    memcpy(at, &header, sizeof header);
    return len;
}

/* Twenty-three messages a datagram, ten datagrams at once: 230 packets, and one call hands out 64. */
static void test_case_73_78_one_verdict_a_packet(void **state)
{
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint8_t datagram[2048];
    int kernel, count;
    uint32_t sent = 0, seen = 0, answered = 0;

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_on_pair(&kernel);
    for (int i = 0; i < 10; i++) { /* a socket pair holds ten datagrams or so */
        size_t len = 0;
        for (int j = 0; j < 23; j++)
            len += put_message(datagram + len, sent++, "payload");
        assert_int_equal(send(kernel, datagram, len, 0), len);
    }
    while ((count = nfqueue_receive(queue, packets)) > 0) {
        for (int i = 0; i < count; i++, seen++) {
            assert_int_equal(packets[i].token, (uint64_t)TO_SERVERS << 32 | seen);
            assert_int_equal(packets[i].len, 7);
            assert_true(packets[i].room >= 7);
            assert_memory_equal(packets[i].bytes, "payload", 7);
            memset(packets[i].bytes, 0, packets[i].room); /* its room is its own, up to the next message */
            assert_true(packets[i].aggregate && packets[i].csum_unseen);
            assert_false(packets[i].csum_absent || packets[i].cut_short);
            nfqueue_verdict(queue, packets[i].token, seen & 1, (struct span){0});
        }
        nfqueue_flush(queue);
        /* One system call for the batch, one small message a verdict, in order. */
        ssize_t got = recv(kernel, datagram, sizeof datagram, 0);
        assert_int_equal(got, count * 32);
        for (ssize_t at = 0; at < got; at += 32, answered++) {
            assert_int_equal(load_be32(datagram + at + 24), answered & 1); /* NF_DROP 0, NF_ACCEPT 1 */
            assert_int_equal(load_be32(datagram + at + 28), answered);
        }
    }
    assert_int_equal(seen, sent);
    assert_int_equal(answered, sent);
    close_queue();
    close(kernel);
}

/* What the buffer promises to hold goes in one system call, and it is sent before it overflows. */
static void test_verdicts_sent_when_full(void **state)
{
    static uint8_t packet[NFQUEUE_PACKET_BYTES_MAX], datagram[262144];
    int kernel;

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_on_pair(&kernel);
    for (uint32_t id = 0; id < 64; id++)
        nfqueue_verdict(queue, id, true, (struct span){0});
    nfqueue_verdict(queue, 64, true, (struct span){packet, sizeof packet});
    assert_int_equal(recv(kernel, datagram, sizeof datagram, 0), -1);
    nfqueue_verdict(queue, 65, true, (struct span){packet, sizeof packet});
    assert_int_equal(recv(kernel, datagram, sizeof datagram, 0), 65 * 32 + 4 + NLMSG_ALIGN(sizeof packet));
    assert_int_equal(load_be32(datagram + 64 * 32 + 28), 64);
    nfqueue_flush(queue);
    assert_int_equal(recv(kernel, datagram, sizeof datagram, 0), 32 + 4 + NLMSG_ALIGN(sizeof packet));
    nfqueue_flush(queue);
    assert_int_equal(recv(kernel, datagram, sizeof datagram, 0), -1);
    assert_int_equal(nfqueue_counters(queue)->verdicts, 66);
    close_queue();
    close(kernel);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Truncated and garbled messages: never a read outside the datagram, nor a span that leaves the buffer. */
static void test_damaged_messages(void **state)
{
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint8_t whole[512], damaged[512];
    uint32_t seed = 1, sum = 0;
    int kernel;

    (void)state;
    need_namespace();
    struct nfqueue *queue = open_on_pair(&kernel);
    size_t len = put_message(whole, 1, "first");
    size_t first_len = len;
    len += put_message(whole + len, 2, "the second");

    for (int round = 0; round < 20000; round++) {
        size_t cut = round < (int)len ? (size_t)round : len;
        memcpy(damaged, whole, len);
        for (uint32_t i = round < (int)len ? 0 : 1 + next_random(&seed) % 4; i > 0; i--)
            damaged[next_random(&seed) % len] = (uint8_t)next_random(&seed);
        if (cut == 0 || send(kernel, damaged, cut, 0) < 0)
            continue;
        int count = nfqueue_receive(queue, packets);
        assert_true(count >= 0 && count <= NFQUEUE_BATCH_MAX);
        for (int i = 0; i < count; i++) {
            assert_true(packets[i].len <= packets[i].room && packets[i].len <= sizeof whole);
            for (uint32_t j = 0; j < packets[i].len; j++)
                sum += packets[i].bytes[j];
        }
        if (round == (int)first_len)
            assert_int_equal(count, 1);
        if (round == (int)len - 1) { /* only the padding is missing, or some of the second payload */
            assert_int_equal(count, 2);
            assert_true(packets[1].len >= 9);
        }
        if (round == (int)len - 4) {
            assert_int_equal(count, 2);
            assert_true(packets[1].cut_short);
        }
    }
    assert_true(sum > 0);
    close_queue();
    close(kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_same_number_twice, close_left_open),
        cmocka_unit_test_teardown(test_held_by_another, close_left_open),
        cmocka_unit_test_teardown(test_no_capability, close_left_open),
        cmocka_unit_test_teardown(test_kernel_without, close_left_open),
        cmocka_unit_test_teardown(test_accept_and_drop, close_left_open),
        cmocka_unit_test_teardown(test_marks, close_left_open),
        cmocka_unit_test_teardown(test_edited, close_left_open),
        cmocka_unit_test_teardown(test_verdict_buffer_full, close_left_open),
        cmocka_unit_test_teardown(test_case_72_cut_short, close_left_open),
        cmocka_unit_test_teardown(test_case_71_aggregates_with_the_flag_only, close_left_open),
        cmocka_unit_test_teardown(test_case_76_late, close_left_open),
        cmocka_unit_test_teardown(test_close_with_packets_waiting, close_left_open),
        cmocka_unit_test_teardown(test_case_74_queue_full, close_left_open),
        cmocka_unit_test_teardown(test_case_75_overrun, close_left_open),
        cmocka_unit_test_teardown(test_case_81_verdicts_beside_packets_held, close_left_open),
        cmocka_unit_test_teardown(test_interrupted, close_left_open),
        cmocka_unit_test_teardown(test_case_73_78_one_verdict_a_packet, close_left_open),
        cmocka_unit_test_teardown(test_verdicts_sent_when_full, close_left_open),
        cmocka_unit_test_teardown(test_damaged_messages, close_left_open),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("nfqueue", tests, enter, NULL);
}
