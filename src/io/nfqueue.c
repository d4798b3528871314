#include "io/nfqueue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define KERNEL_TABLE "/proc/net/netfilter/nfnetlink_queue"

/* One packet of NFQUEUE_PACKET_BYTES_MAX with its other attributes (a few hundred octets), in whole pages. */
#define BUFFER_BYTES (68 * 1024)
/* One verdict of full size and many small ones; below the default send buffer of 208 KiB. */
#define VERDICTS_BYTES (128 * 1024)
#define MARK_SHIFT     48  /* in a token: packet id, queue number, place of the mark */
#define CONFIG_BYTES   256 /* a configuration message takes less than 80 */

/* The library's macros for these are signed, which a strict compiler will not have. */
#define ATTRIBUTE_HEADER sizeof(struct nlattr)
#define MESSAGE_HEADERS  (NLMSG_HDRLEN + sizeof(struct nfgenmsg))
#define VERDICT_BYTES    (MESSAGE_HEADERS + ATTRIBUTE_HEADER + sizeof(struct nfqnl_msg_verdict_hdr))
#define PACKET_MESSAGE   (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)

static_assert(VERDICTS_BYTES >= 65 * VERDICT_BYTES + ATTRIBUTE_HEADER + 65536, "64 small and a large one");

struct nfqueue {
    struct mnl_socket *socket;
    int fd;
    uint16_t numbers[2]; /* to servers, from servers */

    uint8_t *buffers; /* NFQUEUE_BATCH_MAX of BUFFER_BYTES; pages that are never needed are never touched */
    struct mmsghdr headers[NFQUEUE_BATCH_MAX];
    struct iovec vectors[NFQUEUE_BATCH_MAX];
    int datagrams; /* how many buffers the last recvmmsg filled */
    int at;        /* the buffer that is parsed now */
    size_t offset; /* octets of it that have been parsed */

    uint8_t *verdicts; /* VERDICTS_BYTES */
    size_t verdicts_bytes;

    uint32_t config_sequence; /* of the configuration message that waits for its answer; 0 for none */
    int config_error;         /* that answer: 0 or an errno */

    uint32_t marks[NFQUEUE_MARKS_MAX]; /* that packets came with; a token has the place of its own, from 1 on */
    uint32_t marks_count;

    FILE *table;            /* KERNEL_TABLE; NULL where it cannot be read */
    uint32_t full_seen[2];  /* the kernel's counts wrap at 32 bits: what they were when last read */
    uint32_t overruns_seen; /* the same */
    struct nfqueue_counters counters;
};

/* ---- messages that came ------------------------------------------------------------------------ */

/* The place of a mark in the table, from 1 on; the last place stands for all that found none. 0: no mark. */
static uint16_t mark_place(struct nfqueue *queue, uint32_t mark)
{
    uint32_t place = 0;

    if (mark == 0)
        return 0;
    while (place < queue->marks_count && queue->marks[place] != mark)
        place++;
    if (place == queue->marks_count && place < NFQUEUE_MARKS_MAX)
        queue->marks[queue->marks_count++] = mark;
    return (uint16_t)(place + 1);
}

/*
 * The packet in the message that starts at `message`: `len` octets of it are there, and the buffer goes on for `room`.
 * False where it does not name a packet. One loop over the attributes, without tables: the kernel sends about ten.
 */
static bool parse_packet(struct nfqueue *queue, uint8_t *message, size_t len, size_t room,
                         struct nfqueue_packet *packet)
{
    struct nfgenmsg general;
    struct nfqnl_msg_packet_hdr header;
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof general);
    uint32_t captured_len = 0, info = 0, mark = 0, word;
    bool named = false;

    if (len < at)
        return false;
    memcpy(&general, message + NLMSG_HDRLEN, sizeof general);
    *packet = (struct nfqueue_packet){.bytes = message + len, .room = (uint32_t)(room - len)};

    while (len - at >= ATTRIBUTE_HEADER) {
        struct nlattr attribute;
        memcpy(&attribute, message + at, sizeof attribute);
        size_t left = len - at, attribute_len = attribute.nla_len;
        uint8_t *value = message + at + ATTRIBUTE_HEADER;
        bool whole = attribute_len <= left;

        if (attribute_len < ATTRIBUTE_HEADER)
            break;
        switch (attribute.nla_type & NLA_TYPE_MASK) {
        case NFQA_PACKET_HDR:
            if (!whole || attribute_len < ATTRIBUTE_HEADER + sizeof header)
                return false;
            memcpy(&header, value, sizeof header);
            packet->token = (uint64_t)ntohs(general.res_id) << 32 | ntohl(header.packet_id);
            named = true;
            break;
        case NFQA_PAYLOAD:
            packet->bytes = value;
            packet->len = (uint32_t)((whole ? attribute_len : left) - ATTRIBUTE_HEADER);
            packet->room = (uint32_t)(message + room - value);
            packet->cut_short = !whole;
            break;
        case NFQA_CAP_LEN:
        case NFQA_MARK:
        case NFQA_SKB_INFO:
            if (!whole || attribute_len < ATTRIBUTE_HEADER + sizeof word)
                break;
            memcpy(&word, value, sizeof word);
            if ((attribute.nla_type & NLA_TYPE_MASK) == NFQA_CAP_LEN)
                captured_len = ntohl(word);
            else if ((attribute.nla_type & NLA_TYPE_MASK) == NFQA_MARK)
                mark = ntohl(word);
            else
                info = ntohl(word);
            break;
        default: /* of no interest here: interfaces, link addresses, time */
            break;
        }
        if (!whole || NLMSG_ALIGN(attribute_len) >= left)
            break;
        at += NLMSG_ALIGN(attribute_len);
    }
    /* The kernel adds NFQA_CAP_LEN, the true length, only where it copied less. */
    packet->cut_short = packet->cut_short || captured_len > packet->len || packet->len == 0;
    packet->mark = mark;
    packet->token |= (uint64_t)mark_place(queue, mark) << MARK_SHIFT;
    packet->aggregate = info & NFQA_SKB_GSO;
    packet->csum_absent = info & NFQA_SKB_CSUMNOTREADY;
    packet->csum_unseen = info & NFQA_SKB_CSUM_NOTVERIFIED;
    return named;
}

/* The kernel's answer to a message of ours. Verdicts ask for none, so theirs are errors, without a sequence number. */
static void take_answer(struct nfqueue *queue, const struct nlmsghdr *header, const uint8_t *message, size_t len)
{
    int error;

    if (len < NLMSG_HDRLEN + sizeof error)
        return;
    memcpy(&error, message + NLMSG_HDRLEN, sizeof error);
    if (queue->config_sequence && header->nlmsg_seq == queue->config_sequence) {
        queue->config_sequence = 0;
        queue->config_error = -error;
    } else if (error) {
        queue->counters.late++;
    }
}

/*
 * Parse on from where the last call stopped. A datagram is usually one message, but may hold several: what does not
 * fit into `packets` stays in its buffer for the next call, before anything is fetched over it.
 */
static int parse_buffers(struct nfqueue *queue, struct nfqueue_packet packets[NFQUEUE_BATCH_MAX])
{
    int count = 0;

    while (queue->at < queue->datagrams) {
        uint8_t *message = queue->buffers + (size_t)queue->at * BUFFER_BYTES + queue->offset;
        size_t left = queue->headers[queue->at].msg_len - queue->offset;
        struct nlmsghdr header = {0};

        if (left >= sizeof header)
            memcpy(&header, message, sizeof header);
        if (header.nlmsg_len < NLMSG_HDRLEN) { /* the end of the datagram, or no netlink message */
            queue->at++;
            queue->offset = 0;
            continue;
        }
        bool last = NLMSG_ALIGN((size_t)header.nlmsg_len) >= left;
        size_t len = header.nlmsg_len < left ? header.nlmsg_len : left;

        if (header.nlmsg_type == PACKET_MESSAGE) {
            if (count == NFQUEUE_BATCH_MAX)
                break;
            if (parse_packet(queue, message, len, last ? BUFFER_BYTES - queue->offset : len, &packets[count]))
                count++;
        } else if (header.nlmsg_type == NLMSG_ERROR) {
            take_answer(queue, &header, message, len);
        }
        queue->offset += last ? left : NLMSG_ALIGN((size_t)header.nlmsg_len);
    }
    queue->counters.received += (uint64_t)count;
    return count;
}

int nfqueue_receive(struct nfqueue *queue, struct nfqueue_packet packets[NFQUEUE_BATCH_MAX])
{
    int count = parse_buffers(queue, packets);

    while (count == 0) {
        int got = recvmmsg(queue->fd, queue->headers, NFQUEUE_BATCH_MAX, MSG_DONTWAIT, NULL);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        /* ENOBUFS: the kernel found no memory for an answer to a verdict. The error is cleared by being read. */
        if (got < 0 && (errno == EINTR || errno == ENOBUFS))
            continue;
        if (got < 0)
            return -1;
        queue->datagrams = got;
        queue->at = 0;
        queue->offset = 0;
        count = parse_buffers(queue, packets);
        if (got < NFQUEUE_BATCH_MAX)
            break;
    }
    return count;
}

/* ---- verdicts ---------------------------------------------------------------------------------- */

/* False with errno where the kernel did not take them; it takes all octets or none. */
static bool send_octets(const struct nfqueue *queue, const uint8_t *octets, size_t len)
{
    ssize_t sent;

    do
        sent = send(queue->fd, octets, len, 0);
    while (sent < 0 && errno == EINTR);
    return sent >= 0;
}

void nfqueue_flush(struct nfqueue *queue)
{
    if (queue->verdicts_bytes == 0 || send_octets(queue, queue->verdicts, queue->verdicts_bytes)) {
        queue->verdicts_bytes = 0;
        return;
    }
    /* No memory for all at once (ENOBUFS), or a small send buffer (EMSGSIZE): one by one there may be enough. */
    for (size_t at = 0; at < queue->verdicts_bytes;) {
        struct nlmsghdr header;
        memcpy(&header, queue->verdicts + at, sizeof header);
        if (!send_octets(queue, queue->verdicts + at, header.nlmsg_len))
            queue->counters.late++;
        at += NLMSG_ALIGN((size_t)header.nlmsg_len);
    }
    queue->verdicts_bytes = 0;
}

/* The message of a verdict, to be completed and then taken by put_verdict; room for `more` octets behind it. */
static struct nlmsghdr *begin_verdict(struct nfqueue *queue, uint64_t token, bool accept, size_t more)
{
    queue->counters.verdicts++;
    if (VERDICTS_BYTES - queue->verdicts_bytes < VERDICT_BYTES + more)
        nfqueue_flush(queue);

    char *at = (char *)queue->verdicts + queue->verdicts_bytes;
    struct nlmsghdr *header = nfq_nlmsg_put(at, NFQNL_MSG_VERDICT, (uint16_t)(token >> 32));
    nfq_nlmsg_verdict_put(header, (int)(uint32_t)token, accept ? NF_ACCEPT : NF_DROP);
    return header;
}

static void put_verdict(struct nfqueue *queue, struct nlmsghdr *header, struct span packet)
{
    if (packet.len)
        nfq_nlmsg_verdict_put_pkt(header, packet.ptr, (uint32_t)packet.len);
    queue->verdicts_bytes += NLMSG_ALIGN((size_t)header->nlmsg_len);
}

void nfqueue_verdict(struct nfqueue *queue, uint64_t token, bool accept, struct span packet)
{
    if (!accept)
        packet = (struct span){0};
    if (packet.len > NFQUEUE_PACKET_BYTES_MAX) {
        queue->counters.too_long++;
        accept = false;
        packet = (struct span){0};
    }
    put_verdict(queue, begin_verdict(queue, token, accept, ATTRIBUTE_HEADER + NLMSG_ALIGN(packet.len)), packet);
}

void nfqueue_accept_marked(struct nfqueue *queue, uint64_t token, struct span packet, uint32_t mark, uint32_t mask)
{
    uint32_t place = (uint32_t)(token >> MARK_SHIFT);

    if (place > NFQUEUE_MARKS_MAX || packet.len > NFQUEUE_PACKET_BYTES_MAX) {
        nfqueue_verdict(queue, token, true, packet);
        return;
    }
    uint32_t had = place ? queue->marks[place - 1] : 0;
    struct nlmsghdr *header =
        begin_verdict(queue, token, true, 2 * ATTRIBUTE_HEADER + sizeof mark + NLMSG_ALIGN(packet.len));
    nfq_nlmsg_verdict_put_mark(header, (had & ~mask) | (mark & mask));
    put_verdict(queue, header, packet);
}

/* ---- counts that the kernel keeps -------------------------------------------------------------- */

/* One line of KERNEL_TABLE. */
struct table_row {
    unsigned number, port_id, waiting, mode, range, queue_dropped, user_dropped;
};

static bool next_row(FILE *table, struct table_row *row)
{
    char line[256];

    return fgets(line, sizeof line, table) &&
           sscanf(line, "%u %u %u %u %u %u %u", &row->number, &row->port_id, &row->waiting, &row->mode, &row->range,
                  &row->queue_dropped, &row->user_dropped) == 7;
}

const struct nfqueue_counters *nfqueue_counters(struct nfqueue *queue)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof memory;
    struct table_row row;

    /*
     * With NETLINK_NO_ENOBUFS the socket counts its drops all the same. The column user_dropped would tell as much,
     * but not everybody can read it.
     */
    if (getsockopt(queue->fd, SOL_SOCKET, SO_MEMINFO, memory, &len) == 0) {
        queue->counters.overruns += memory[SK_MEMINFO_DROPS] - queue->overruns_seen;
        queue->overruns_seen = memory[SK_MEMINFO_DROPS];
    }
    if (queue->table) {
        rewind(queue->table);
        while (next_row(queue->table, &row)) {
            for (int i = 0; i < 2; i++) {
                if (row.number != queue->numbers[i])
                    continue;
                queue->counters.queue_full += (uint32_t)(row.queue_dropped - queue->full_seen[i]);
                queue->full_seen[i] = row.queue_dropped;
            }
        }
    }
    return &queue->counters;
}

/* ---- opening and closing ----------------------------------------------------------------------- */

/* Send one configuration message and wait for the kernel's answer. Returns 0 or an errno. */
static int configure(struct nfqueue *queue, struct nlmsghdr *header)
{
    static const int answer_wait_ms = 2000; /* it is there when send returns; this is for the impossible */
    struct nfqueue_packet packets[NFQUEUE_BATCH_MAX];
    int count;

    header->nlmsg_flags |= NLM_F_ACK;
    header->nlmsg_seq = queue->config_sequence = 1;
    if (!send_octets(queue, (const uint8_t *)header, header->nlmsg_len))
        return errno;
    for (;;) {
        /* Packets of the queue that is bound already may come first. */
        while ((count = nfqueue_receive(queue, packets)) > 0) {
            for (int i = 0; i < count; i++)
                nfqueue_verdict(queue, packets[i].token, false, (struct span){0});
            nfqueue_flush(queue);
        }
        if (count < 0)
            return errno;
        if (queue->config_sequence == 0)
            return queue->config_error;
        struct pollfd waiting = {.fd = queue->fd, .events = POLLIN};
        if (poll(&waiting, 1, answer_wait_ms) == 0)
            return ETIMEDOUT;
    }
}

/* Whether this process may configure queues, and this kernel has them. Since Linux 3.8 the message does nothing else.
 */
static int probe(struct nfqueue *queue)
{
    char buffer[CONFIG_BYTES] = {0};
    struct nlmsghdr *header = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, 0);

    nfq_nlmsg_cfg_put_cmd(header, AF_INET, NFQNL_CFG_CMD_PF_BIND);
    return configure(queue, header);
}

/* All in one message: a queue that is bound and not configured yet drops its packets. */
static int bind_queue(struct nfqueue *queue, uint16_t number, bool gso, uint32_t queue_len)
{
    char buffer[CONFIG_BYTES] = {0};
    struct nlmsghdr *header = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, number);

    nfq_nlmsg_cfg_put_cmd(header, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
    nfq_nlmsg_cfg_put_params(header, NFQNL_COPY_PACKET, 0xffff);
    nfq_nlmsg_cfg_put_qmaxlen(header, queue_len);
    if (gso) {
        mnl_attr_put_u32(header, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_GSO));
        mnl_attr_put_u32(header, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO));
    }
    return configure(queue, header);
}

static void explain_probe(int error, char *message, size_t message_size)
{
    if (error == EPERM || error == EACCES)
        snprintf(message, message_size,
                 "the kernel's packet queue needs the capability CAP_NET_ADMIN: run as root, or once "
                 "`setcap cap_net_admin+ep` on the program");
    else if (error == EINVAL || error == ENOENT || error == EPROTONOSUPPORT || error == EAFNOSUPPORT ||
             error == EOPNOTSUPP)
        snprintf(message, message_size,
                 "this kernel has no packet queue: load it with `modprobe nfnetlink_queue`, or use a kernel built with "
                 "CONFIG_NETFILTER_NETLINK_QUEUE");
    else
        snprintf(message, message_size, "cannot use the kernel's packet queue: %s", strerror(error));
}

/* Another program's queue answers EPERM to a bind (EBUSY would be our own), so the capability was probed before. */
static void explain_bind(int error, uint16_t number, char *message, size_t message_size)
{
    FILE *table;
    struct table_row row;
    char path[64], name[32] = "", holder[80] = "";

    if (error != EPERM && error != EBUSY && error != EEXIST) {
        snprintf(message, message_size, "cannot bind queue number %u: %s", number, strerror(error));
        return;
    }
    table = fopen(KERNEL_TABLE, "re");
    while (table && next_row(table, &row)) {
        if (row.number != number)
            continue;
        snprintf(holder, sizeof holder, " (netlink port %u)", row.port_id);
        /* The first netlink socket of a process has its process id for port; further ones have huge numbers. */
        snprintf(path, sizeof path, "/proc/%u/comm", row.port_id);
        FILE *comm = fopen(path, "re");
        if (comm && fgets(name, sizeof name, comm)) {
            name[strcspn(name, "\n")] = '\0';
            for (char *c = name; *c; c++)
                if (*c < ' ' || *c > '~')
                    *c = '?';
            snprintf(holder, sizeof holder, " (process %u, %s)", row.port_id, name);
        }
        if (comm)
            fclose(comm);
    }
    if (table)
        fclose(table);
    snprintf(message, message_size,
             "queue number %u is held by another program%s: stop that, or choose another number; " KERNEL_TABLE
             " lists those in use",
             number, holder);
}

/* Where buffers cannot be as large as wished, the largest allowed will do. */
static void set_buffer_bytes(int fd, int force, int ordinary, uint32_t bytes)
{
    int value = bytes > INT32_MAX ? INT32_MAX : (int)bytes;

    if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) != 0)
        setsockopt(fd, SOL_SOCKET, ordinary, &value, sizeof value);
}

/* A netlink socket that hears nobody but the kernel. */
static int open_socket(struct nfqueue *queue, uint32_t receive_bytes)
{
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int on = 1;

    queue->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (!queue->socket)
        return errno;
    queue->fd = mnl_socket_get_fd(queue->socket);
    if (mnl_socket_bind(queue->socket, 0, MNL_SOCKET_AUTOPID) != 0)
        return errno;
    if (connect(queue->fd, (const struct sockaddr *)&kernel, sizeof kernel) != 0)
        return errno;
    mnl_socket_setsockopt(queue->socket, NETLINK_NO_ENOBUFS, &on, sizeof on);
    mnl_socket_setsockopt(queue->socket, NETLINK_CAP_ACK, &on, sizeof on); /* errors without the verdict's octets */
    set_buffer_bytes(queue->fd, SO_RCVBUFFORCE, SO_RCVBUF, receive_bytes);
    set_buffer_bytes(queue->fd, SO_SNDBUFFORCE, SO_SNDBUF, VERDICTS_BYTES);
    return 0;
}

static bool map_buffers(struct nfqueue *queue)
{
    size_t bytes = (size_t)NFQUEUE_BATCH_MAX * BUFFER_BYTES + VERDICTS_BYTES;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    queue->buffers = memory;
    queue->verdicts = queue->buffers + (size_t)NFQUEUE_BATCH_MAX * BUFFER_BYTES;
    for (size_t i = 0; i < NFQUEUE_BATCH_MAX; i++) {
        queue->vectors[i] = (struct iovec){queue->buffers + i * BUFFER_BYTES, BUFFER_BYTES};
        queue->headers[i].msg_hdr = (struct msghdr){.msg_iov = &queue->vectors[i], .msg_iovlen = 1};
    }
    return true;
}

static bool open_queues(struct nfqueue *queue, const struct nfqueue_settings *settings, char *message,
                        size_t message_size)
{
    const bool gso[2] = {settings->to_servers_gso, settings->from_servers_gso};
    int error;

    error = open_socket(queue, settings->receive_bytes);
    if (error == 0)
        error = probe(queue);
    if (error) {
        explain_probe(error, message, message_size);
        return false;
    }
    for (int i = 0; i < 2; i++) {
        error = bind_queue(queue, queue->numbers[i], gso[i], settings->queue_len);
        if (error) {
            explain_bind(error, queue->numbers[i], message, message_size);
            return false;
        }
    }
    return true;
}

struct nfqueue *nfqueue_open(const struct nfqueue_settings *settings, char *message, size_t message_size)
{
    struct nfqueue *queue;

    if (settings->to_servers == settings->from_servers) {
        snprintf(message, message_size, "queue number %u cannot serve both directions: give two numbers",
                 settings->to_servers);
        return NULL;
    }
    queue = calloc(1, sizeof *queue);
    if (!queue || !map_buffers(queue)) {
        snprintf(message, message_size, "no memory for the packet queue's buffers");
        nfqueue_close(queue);
        return NULL;
    }
    queue->numbers[0] = settings->to_servers;
    queue->numbers[1] = settings->from_servers;
    if (!open_queues(queue, settings, message, message_size)) {
        nfqueue_close(queue);
        return NULL;
    }
    queue->table = fopen(KERNEL_TABLE, "re");
    nfqueue_counters(queue);
    queue->counters = (struct nfqueue_counters){.queue_full_known = queue->table != NULL};
    return queue;
}

int nfqueue_fd(const struct nfqueue *queue)
{
    return queue->fd;
}

void nfqueue_close(struct nfqueue *queue)
{
    if (!queue)
        return;
    if (queue->socket) {
        nfqueue_flush(queue);
        mnl_socket_close(queue->socket); /* unbinds both queues */
    }
    if (queue->table)
        fclose(queue->table);
    if (queue->buffers)
        munmap(queue->buffers, (size_t)NFQUEUE_BATCH_MAX * BUFFER_BYTES + VERDICTS_BYTES);
    free(queue);
}
