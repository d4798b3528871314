/*
 * unit/nfqueue_message - io/nfqueue and messages octet by octet: many in a datagram, damaged ones, verdicts as they are
 * written. A socket pair stands in the netlink socket's place.
 */
#include "../lib/loopback.h"
#include "base/octets.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A queue whose socket is one end of a pair; *kernel is the other, where datagrams go in and verdicts come out. */
static struct nfqueue *open_on_pair(int *kernel)
{
    struct nfqueue_settings settings = loopback_settings();
    struct nfqueue *queue = loopback_open(&settings);
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
    struct nfgenmsg general = {.res_id = htons(LOOPBACK_TO_SERVERS)};
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
    loopback_need();
    struct nfqueue *queue = open_on_pair(&kernel);
    for (int i = 0; i < 10; i++) { /* a socket pair holds ten datagrams or so */
        size_t len = 0;
        for (int j = 0; j < 23; j++)
            len += put_message(datagram + len, sent++, "payload");
        assert_int_equal(send(kernel, datagram, len, 0), len);
    }
    while ((count = nfqueue_receive(queue, packets)) > 0) {
        for (int i = 0; i < count; i++, seen++) {
            assert_int_equal(packets[i].token, (uint64_t)LOOPBACK_TO_SERVERS << 32 | seen);
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
    loopback_close();
    close(kernel);
}

/* What the buffer promises to hold goes in one system call, and it is sent before it overflows. */
static void test_verdicts_sent_when_full(void **state)
{
    static uint8_t packet[NFQUEUE_PACKET_BYTES_MAX], datagram[262144];
    int kernel;

    (void)state;
    loopback_need();
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
    loopback_close();
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
    loopback_need();
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
    loopback_close();
    close(kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_case_73_78_one_verdict_a_packet, loopback_close_left_open),
        cmocka_unit_test_teardown(test_verdicts_sent_when_full, loopback_close_left_open),
        cmocka_unit_test_teardown(test_damaged_messages, loopback_close_left_open),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("nfqueue_message", tests, loopback_enter, NULL);
}
