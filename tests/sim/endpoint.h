/*
 * tests/sim/endpoint - a small TCP endpoint: what a real one does to a filter, without a kernel.
 *
 * In:     packets that arrive, octets that its application writes, the time.
 * Out:    packets, through `send`; octets in order, in `read`.
 * Owner:  the endpoint owns its buffers; endpoint_fini frees them.
 * Limits: ENDPOINT_STREAM_BYTES a direction.
 * Note:   independent of src/: own sequence arithmetic, own reassembly. A segment that arrives twice must carry the
 *         same octets where it overlaps; `conflict` is set where it does not.
 * Source: RFC 9293 3.10.7.4, RFC 6298 (timer), RFC 5681 3.2 (fast retransmit), RFC 2018, RFC 7323 5.3 (PAWS), RFC 896.
 */
#ifndef POSTERN_TESTS_ENDPOINT_H
#define POSTERN_TESTS_ENDPOINT_H

#include "../lib/random.h"
#include "../lib/segment.h"

enum { ENDPOINT_STREAM_BYTES = 64000 };

struct endpoint_plan {
    bool nagle, sack, delayed_ack, timestamps, fast_retransmit;
    uint16_t mss;
    uint32_t window; /* receive buffer, octets */
    uint8_t window_shift;
    int64_t rto_us;       /* initial */
    unsigned resends_max; /* of one segment; then the endpoint gives up */
    bool keep_backoff;    /* its timer stays long until something is acknowledged that was sent once (RFC 6298 5.3) */
    uint8_t ip_version;
    uint32_t drain_bytes; /* its application reads so much at a time; 0: at once */
    int64_t drain_us;
    uint32_t aggregate; /* segments a packet (GSO) */
    bool keep_alive;
    bool resegment; /* a resend has other boundaries */
    uint32_t isn;
    uint16_t port;        /* the client's, of both; 0: 40000 */
    bool answers_unknown; /* it challenges a RST whose number is not the one it waits for (RFC 5961 3.2), and once dead
                             resets who goes on (RFC 9293 3.10.7.1) */
};

enum endpoint_state {
    ENDPOINT_CLOSED,
    ENDPOINT_LISTEN,
    ENDPOINT_SYN_SENT,
    ENDPOINT_SYN_RECEIVED,
    ENDPOINT_OPEN,
    ENDPOINT_DEAD, /* gave up, or was reset */
};

struct endpoint;
typedef void endpoint_send_fn(void *context, struct endpoint *from, uint8_t *packet, uint32_t len);

struct endpoint {
    struct endpoint_plan plan;
    enum endpoint_state state;
    bool client;
    endpoint_send_fn *send; /* takes the packet over */
    void *context;
    struct random_source *random;
    int64_t now_us;

    uint8_t *out; /* what the application wrote; position 0 has sequence number isn + 1 */
    uint32_t out_len, una, nxt, out_max_sent;
    bool fin_wanted, fin_acked;
    uint32_t peer_window, peer_mss;
    uint8_t peer_shift;
    bool peer_sack, both_scale, both_timestamps;
    unsigned resends, duplicates;
    unsigned backoff; /* doublings of the timer */
    int64_t timer_us; /* 0: off */
    uint8_t *sacked;  /* by position */

    uint32_t irs;
    uint8_t *in, *have; /* octets received, and which */
    uint32_t in_end;    /* behind the last octet received */
    uint32_t read;      /* in order */
    bool fin_read;
    uint32_t fin_at; /* its position, once seen */
    bool fin_seen;
    uint32_t timestamp_recent;
    int64_t ack_us; /* delayed acknowledgment; 0: none owed */
    unsigned unacknowledged;
    uint32_t recover;  /* a partial acknowledgment up to here draws a resend (RFC 6582) */
    uint32_t consumed; /* by the application */
    int64_t drain_due_us, keep_alive_us;
    bool conflict;
};

void endpoint_init(struct endpoint *endpoint, const struct endpoint_plan *plan, bool client, endpoint_send_fn *send,
                   void *context, struct random_source *random);
void endpoint_fini(struct endpoint *endpoint);
void endpoint_open(struct endpoint *endpoint, int64_t now_us);
void endpoint_write(struct endpoint *endpoint, const void *octets, uint32_t len, int64_t now_us);
void endpoint_close(struct endpoint *endpoint, int64_t now_us);
/* Give up, and say so with a RST. */
void endpoint_abort(struct endpoint *endpoint, int64_t now_us);
void endpoint_receive(struct endpoint *endpoint, uint8_t *packet, uint32_t len, int64_t now_us);
void endpoint_tick(struct endpoint *endpoint, int64_t now_us);
/* When endpoint_tick is needed; INT64_MAX: not. */
int64_t endpoint_due(const struct endpoint *endpoint);
/* Everything written has arrived, FIN included, and the other side's FIN was read. */
bool endpoint_finished(const struct endpoint *endpoint);

#endif
