/*
 * io/nfqueue - the kernel's packet queue, through libmnl and libnetfilter_queue. An adapter.
 *
 * In:     packets that an iptables NFQUEUE rule sends to one of our queues.
 * Out:    verdicts, several to a system call, in the order given.
 * Owner:  packets live in the reader's buffers until the next nfqueue_receive.
 * Thread: one socket, one worker. A worker owns two queues on one socket: towards servers with NFQA_CFG_F_GSO
 *         (whole aggregates, edits there keep their length), from servers without it (an aggregate that comes back
 *         shorter than one MSS is dropped by the kernel, so what we shorten must come as single packets).
 * Limits: NFQUEUE_BATCH_MAX, NFQUEUE_PACKET_BYTES_MAX. Nothing is allocated after nfqueue_open.
 * Errors: nfqueue_open says in one line what is missing: a capability, a queue that another program holds, a kernel
 *         without NFQUEUE. What the kernel dropped for want of room is counted, never fatal: the socket runs with
 *         NETLINK_NO_ENOBUFS, so that a read never fails for it, and nfqueue_counters asks the kernel for its counts.
 * Source: Linux net/netfilter/nfnetlink_queue.c.
 *
 * The order of calls:
 *
 *     poll nfqueue_fd for reading
 *     nfqueue_receive, nfqueue_verdict for each packet, nfqueue_flush; again while a batch came full
 */
#ifndef POSTERN_IO_NFQUEUE_H
#define POSTERN_IO_NFQUEUE_H

#include "base/span.h"

#define NFQUEUE_BATCH_MAX 64 /* packets fetched by one nfqueue_receive at most */
#define NFQUEUE_PACKET_BYTES_MAX                                                                                       \
    65531 /* octets that a message or a verdict can carry: an attribute's 65535 less its header */

#define NFQUEUE_MARKS_MAX 1000

struct nfqueue;

struct nfqueue_settings {
    uint16_t to_servers;    /* queue number of packets on their way to a server */
    uint16_t from_servers;  /* queue number of packets on their way from one; not the same */
    bool to_servers_gso;    /* take aggregates (NFQA_CFG_F_GSO) on that queue */
    bool from_servers_gso;  /* the same; only for a consumer that never shortens a packet */
    uint32_t queue_len;     /* packets the kernel keeps without a verdict, a queue (NFQA_CFG_QUEUE_MAXLEN) */
    uint32_t receive_bytes; /* the socket's receive buffer (SO_RCVBUFFORCE) */
};

struct nfqueue_packet {
    uint8_t *bytes;   /* the IP packet, writable */
    uint32_t len;     /* octets of it, up to NFQUEUE_PACKET_BYTES_MAX */
    uint32_t room;    /* octets of room from `bytes` on, at least len */
    uint64_t token;   /* queue, kernel packet id and which mark; give it to nfqueue_verdict, once */
    uint32_t mark;    /* as it came */
    bool cut_short;   /* the packet is longer than what the kernel copied (NFQA_CAP_LEN): accept it as it came, or drop
                         it, but never give back its octets */
    bool aggregate;   /* NFQA_SKB_GSO: several segments in one; given back no longer than one MSS it is dropped */
    bool csum_absent; /* NFQA_SKB_CSUMNOTREADY: checksum to be filled in by offload; only on a queue with GSO */
    bool csum_unseen; /* NFQA_SKB_CSUM_NOTVERIFIED */
};

/* Each since nfqueue_open. */
struct nfqueue_counters {
    uint64_t received;     /* packets handed out by nfqueue_receive */
    uint64_t verdicts;     /* verdicts given; equals `received` when none is held */
    uint64_t late;         /* of these, the kernel no longer knew the packet (ENOENT) or refused the verdict */
    uint64_t too_long;     /* of these, accepted with more than NFQUEUE_PACKET_BYTES_MAX octets: dropped */
    uint64_t overruns;     /* messages the kernel dropped because the receive buffer was full: we read too slowly */
    uint64_t queue_full;   /* packets the kernel dropped because queue_len others waited for a verdict */
    bool queue_full_known; /* false where the kernel's count cannot be read, as by a process that is not root */
};

/*
 * Bind both queues. NULL on failure, and `message` (of `message_size` octets) says what and what to do.
 * Packets that come before it returns are dropped, for their senders to send again.
 */
struct nfqueue *nfqueue_open(const struct nfqueue_settings *settings, char *message, size_t message_size);

/* The socket, to be polled for reading. */
int nfqueue_fd(const struct nfqueue *queue);

/*
 * Fetch what has come, without waiting: up to NFQUEUE_BATCH_MAX packets into `packets`. Returns their number, 0 where
 * there are none now, -1 where the socket is of no more use (errno is set). After fewer than NFQUEUE_BATCH_MAX the
 * socket was empty a moment ago: to poll is cheaper than to call again.
 */
int nfqueue_receive(struct nfqueue *queue, struct nfqueue_packet packets[NFQUEUE_BATCH_MAX]);

/*
 * Give a verdict: drop, accept as it came (`packet` empty), or accept with other octets. Collected, and sent by
 * nfqueue_flush or when the buffer is full; `packet` is copied before the call returns.
 */
void nfqueue_verdict(struct nfqueue *queue, uint64_t token, bool accept, struct span packet);

/*
 * Accept, and give the packet a mark: `mark` in the bits of `mask`, which is not 0, and what it had in the others.
 * Where the filter came across more than NFQUEUE_MARKS_MAX marks of others, a packet with one more keeps what it has.
 */
void nfqueue_accept_marked(struct nfqueue *queue, uint64_t token, struct span packet, uint32_t mark, uint32_t mask);

/* Send all verdicts collected so far. */
void nfqueue_flush(struct nfqueue *queue);

/*
 * The counters, with `overruns` and `queue_full` read from the kernel now: SO_MEMINFO of the socket, and the column
 * queue_dropped of /proc/net/netfilter/nfnetlink_queue, opened by nfqueue_open so that privileges may be given up
 * afterwards. A few system calls: for reports, not for every packet. The result lives as long as the queue.
 */
const struct nfqueue_counters *nfqueue_counters(struct nfqueue *queue);

/* Send what is collected, unbind and free; the kernel drops what still waits. NULL is allowed. */
void nfqueue_close(struct nfqueue *queue);

#endif
