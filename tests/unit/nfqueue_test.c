/*
 * unit/nfqueue - io/nfqueue against the real kernel: opening, packets as they come, verdicts as they are given.
 *
 * What goes wrong is in nfqueue_trouble_test, messages that no kernel sends in nfqueue_message_test.
 */
#include "../lib/loopback.h"
#include "../lib/one.h"
#include "base/octets.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADERS_BYTES 28 /* IPv4 without options, UDP */

/* ---- opening -------------------------------------------------------------------------------------- */

static void test_held_by_another(void **state)
{
    struct nfqueue_settings first = loopback_settings(), second = loopback_settings();
    char message[256] = "", name[32] = "", holder[64];

    (void)state;
    loopback_need();
    first.from_servers = 50;
    loopback_open(&first);

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
    loopback_close();
    loopback_open(&second);
    loopback_close();
}

static void test_same_number_twice(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
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
    loopback_need();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[2] = {{0}};
        struct nfqueue_settings settings = loopback_settings();
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
        struct nfqueue_settings settings = loopback_settings();
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
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    char text[8];
    int seen = 0;

    (void)state;
    loopback_need();
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT), back = loopback_udp(LOOPBACK_PORT_BACK);

    for (char c = 'a'; c < 'a' + 20; c++)
        loopback_send(from, c & 1 ? LOOPBACK_PORT : LOOPBACK_PORT_BACK, &c, 1);
    while (seen < 20) {
        int count = loopback_receive(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++, seen++) {
            char c = (char)packets[i].bytes[HEADERS_BYTES];
            assert_int_equal(packets[i].len, HEADERS_BYTES + 1);
            assert_true(packets[i].room >= NFQUEUE_PACKET_BYTES_MAX);
            assert_int_equal(c, 'a' + seen); /* in the order of arrival, over both queues */
            assert_int_equal(packets[i].token >> 32, c & 1 ? LOOPBACK_TO_SERVERS : LOOPBACK_FROM_SERVERS);
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
        assert_int_equal(loopback_take(c & 1 ? to : back, text, sizeof text, LOOPBACK_ARRIVAL_MS), 1);
        assert_int_equal(text[0], c);
    }
    assert_int_equal(loopback_take(to, text, sizeof text, 0), -1);

    const struct nfqueue_counters *counters = nfqueue_counters(queue);
    assert_int_equal(counters->received, 20);
    assert_int_equal(counters->verdicts, 20);
    assert_int_equal(counters->late, 0);
    assert_int_equal(counters->overruns, 0);
    assert_int_equal(counters->queue_full, 0);
    assert_true(counters->queue_full_known);
    loopback_close();
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

    assert_true(loopback_readable(fd, LOOPBACK_ARRIVAL_MS));
    assert_int_equal(recvmsg(fd, &message, 0), 1);
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_MARK)
            memcpy(&mark, CMSG_DATA(part), sizeof mark);
    return mark;
}

/* Of each packet the bits of the mask are ours, the others stay, as long as there are not too many different marks. */
static void test_marks(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    const uint32_t mask = 0x30000000, ours = 0x20000000;
    int on = 1;

    (void)state;
    loopback_need();
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);
    if (setsockopt(to, SOL_SOCKET, SO_RCVMARK, &on, sizeof on) != 0)
        skip();
    for (uint32_t i = 0; i < NFQUEUE_MARKS_MAX + 20; i++) {
        /* One more time each, in between: marks that are known take no further place. */
        uint32_t mark = i % 2 ? i : i | 0x10000000;
        for (int again = 0; again < 2; again++) {
            assert_int_equal(setsockopt(from, SOL_SOCKET, SO_MARK, &mark, sizeof mark), 0);
            loopback_send(from, LOOPBACK_PORT, "x", 1);
            assert_int_equal(loopback_receive(queue, packets), 1);
            assert_int_equal(packets[0].token >> 32 & 0xffff, LOOPBACK_TO_SERVERS);
            nfqueue_accept_marked(queue, packets[0].token, (struct span){0}, ours | 0xf, mask);
            nfqueue_flush(queue);
            assert_int_equal(take_mark(to), i < NFQUEUE_MARKS_MAX ? (mark & ~mask) | ours : mark);
        }
    }
    /* A plain verdict leaves it as it was. */
    uint32_t mark = 0x12345678;
    assert_int_equal(setsockopt(from, SOL_SOCKET, SO_MARK, &mark, sizeof mark), 0);
    loopback_send(from, LOOPBACK_PORT, "x", 1);
    assert_int_equal(loopback_receive(queue, packets), 1);
    nfqueue_verdict(queue, packets[0].token, true, (struct span){0});
    nfqueue_flush(queue);
    assert_int_equal(take_mark(to), mark);
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    loopback_close();
    close(from), close(to);
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
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    uint8_t elsewhere[256];
    char text[256];

    (void)state;
    loopback_need();
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT_BACK);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        loopback_send(from, LOOPBACK_PORT_BACK, rows[i].sent, strlen(rows[i].sent));
        assert_int_equal(loopback_receive(queue, packets), 1);
        uint8_t *bytes = packets[0].bytes;
        if (!rows[i].in_place)
            bytes = memcpy(elsewhere, packets[0].bytes, packets[0].len);
        size_t len = write_datagram(bytes, rows[i].edited);
        nfqueue_verdict(queue, packets[0].token, true, (struct span){bytes, len});
        memset(bytes, 0, len); /* copied by now */
        nfqueue_flush(queue);
        ssize_t got = loopback_take(to, text, sizeof text - 1, LOOPBACK_ARRIVAL_MS);
        text[got < 0 ? 0 : got] = '\0';
        if (strcmp(text, rows[i].edited) != 0)
            fail_msg("%s: \"%s\" arrived", rows[i].label, text);
    }
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    loopback_close();
    close(from), close(to);
}

/* More verdicts than the buffer holds, small and large ones mixed: it is sent when full, and the order stays. */
static void test_verdict_buffer_full(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    char text[8];
    int seen = 0;

    (void)state;
    loopback_need();
    char *large = calloc(1, 40000);
    settings.receive_bytes = 32u << 20;
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);

    for (int i = 0; i < 10; i++) {
        large[0] = (char)i;
        loopback_send(from, LOOPBACK_PORT, large, i & 1 ? 40000 : 1);
    }
    while (seen < 10) {
        int count = loopback_receive(queue, packets);
        assert_true(count > 0);
        for (int i = 0; i < count; i++, seen++) {
            store_be16(packets[i].bytes + 26, 0);
            nfqueue_verdict(queue, packets[i].token, true, (struct span){packets[i].bytes, packets[i].len});
        }
    }
    nfqueue_flush(queue);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(loopback_take(to, text, sizeof text, LOOPBACK_ARRIVAL_MS), i & 1 ? sizeof text : 1);
        assert_int_equal(text[0], i);
    }
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    loopback_close();
    close(from), close(to);
    free(large);
}

/* Case 72: an IP packet of 65535 octets is four longer than an attribute can carry. */
static void test_case_72_cut_short(void **state)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    static uint8_t datagram[65507], copy[65535];

    (void)state;
    loopback_need();
    settings.receive_bytes = 32u << 20;
    struct nfqueue *queue = loopback_open(&settings);
    int from = loopback_udp(0), to = loopback_udp(LOOPBACK_PORT);

    datagram[65506] = 'z';
    for (int i = 0; i < 3; i++)
        loopback_send(from, LOOPBACK_PORT, datagram, i == 2 ? sizeof datagram - 4 : sizeof datagram);
    for (int i = 0, count = 0, at = 0; i < 3; i++, at++) {
        if (at == count) {
            count = loopback_receive(queue, packets);
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
    assert_int_equal(loopback_take(to, copy, sizeof copy, LOOPBACK_ARRIVAL_MS), sizeof datagram);
    assert_int_equal(copy[65506], 'z');
    assert_int_equal(loopback_take(to, copy, sizeof copy, LOOPBACK_ARRIVAL_MS), sizeof datagram - 4);
    assert_int_equal(loopback_take(to, copy, sizeof copy, 50), -1);
    assert_int_equal(nfqueue_counters(queue)->too_long, 1);
    assert_int_equal(nfqueue_counters(queue)->late, 0);
    loopback_close();
    close(from), close(to);
}

/* One direction of TCP with a link of 1500 octets: whole aggregates with the flag, single packets without. */
static void stream(bool gso, uint32_t *longest, bool *aggregate)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(LOOPBACK_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static uint8_t block[65536];
    size_t sent = 0, taken = 0, total = 1u << 20;
    int on = 1, accepted = -1;

    settings.to_servers_gso = gso;
    struct nfqueue *queue = loopback_open(&settings);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect(from, (struct sockaddr *)&address, sizeof address), -1);
    assert_int_equal(errno, EINPROGRESS);

    while (taken < total) {
        int count = loopback_receive(queue, packets);
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
    loopback_close();
}

static void test_case_71_aggregates_with_the_flag_only(void **state)
{
    uint32_t longest = 0;
    bool aggregate = false;

    (void)state;
    loopback_need();
    assert_true(loopback_set_mtu(1500));
    stream(true, &longest, &aggregate);
    assert_true(longest > 1500); /* how long depends on the machine's pace: TCP sends what a millisecond is worth */
    assert_true(aggregate);
    longest = 0;
    aggregate = false;
    stream(false, &longest, &aggregate);
    assert_true(longest > 0 && longest <= 1500);
    assert_false(aggregate);
    assert_true(loopback_set_mtu(65536));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_same_number_twice, loopback_close_left_open),
        cmocka_unit_test_teardown(test_held_by_another, loopback_close_left_open),
        cmocka_unit_test_teardown(test_no_capability, loopback_close_left_open),
        cmocka_unit_test_teardown(test_kernel_without, loopback_close_left_open),
        cmocka_unit_test_teardown(test_accept_and_drop, loopback_close_left_open),
        cmocka_unit_test_teardown(test_marks, loopback_close_left_open),
        cmocka_unit_test_teardown(test_edited, loopback_close_left_open),
        cmocka_unit_test_teardown(test_verdict_buffer_full, loopback_close_left_open),
        cmocka_unit_test_teardown(test_case_72_cut_short, loopback_close_left_open),
        cmocka_unit_test_teardown(test_case_71_aggregates_with_the_flag_only, loopback_close_left_open),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("nfqueue", tests, loopback_enter, NULL);
}
