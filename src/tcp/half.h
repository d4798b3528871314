/*
 * tcp/half - one direction of a connection: where it is in both sequence spaces.
 *
 * Owner:  the blocks and entries belong to the pools; half_clear gives them back.
 * Note:   positions are ingress (the sender's numbers) unless their name says egress (the receiver's).
 *
 *      log.anchor   log.end     next
 *          |           |          |
 *   ------ | --------- | -------- | ------------->  ingress
 *   acknowledged  decided    waiting   not seen in order yet
 *
 * Source: RFC 9293 3.3.1, 3.10.7.4; RFC 5961 3 (RST); RFC 7323 5 (PAWS).
 */
#ifndef POSTERN_TCP_HALF_H
#define POSTERN_TCP_HALF_H

#include "tcp/edit.h"
#include "tcp/packet.h"
#include "tcp/retain.h"

#define HALF_MSS_LEAST 536u

struct half {
    struct edit_log log;
    uint32_t isn;               /* of its SYN */
    struct retain retained;     /* egress octets from log.anchor_egress on that left and are not acknowledged */
    uint32_t changed_from;      /* of what left and is not acknowledged, all that left in another form is between */
    uint32_t changed_to;        /* these two places; of no meaning at or before log.anchor */
    uint32_t next;              /* all before it came in order */
    uint32_t ack_ahead;         /* of a record: acknowledged up to here, and not all of that has come */
    uint32_t sent_egress;       /* all before it has left */
    uint32_t window_end_egress; /* the right edge of the window that the receiver has advertised, at its widest */
    uint32_t window_least;      /* octets of the smallest window that it has advertised; UINT32_MAX before the first */
    uint32_t timestamp;         /* the newest TSval that left (RFC 7323 3.2) */
    uint32_t held;              /* packets without verdict, ascending; POOL_NONE where there are none */
    uint32_t ack_came;          /* the last acknowledgment its sender gave, as it came (of the other half's octets) */
    uint32_t ack_left;          /* and as it left */
    uint16_t largest;           /* octets of the largest payload that it sent: the path is known to carry that many */
    uint16_t held_count;        /* of those packets */
    uint16_t mss;               /* what the sender's SYN said it can receive; 0 where it said nothing */
    uint8_t window_shift : 4;   /* of the windows that the sender of this half advertises */
    uint8_t ahead_packets : 4;  /* so many packets ago; 0 where nothing is */
    bool window_scaled : 1;     /* its SYN had the window scale option; scaling needs it of both (RFC 7323 2.2) */
    bool shielded : 1;     /* its SYN was signed, or offered MPTCP; it comes about if both SYNs do (RFC 8684 3.1) */
    bool synchronized : 1; /* its SYN was seen: the positions mean something */
    bool closed : 1;       /* its FIN was decided; it stands right before log.end */
    bool paused : 1;       /* what comes behind `next` waits unread, though nothing before it is missing */
    bool awaits : 1;       /* the same, until the other end has said what it means; what stands before it leaves */
    bool timestamped : 1;  /* `timestamp` is set */
    bool changed : 1;      /* octets that left in another form are not acknowledged: only we can send them again */
};

/* What a SYN says of its sender. */
struct half_syn {
    uint32_t isn;
    uint16_t mss;         /* 0 where it says nothing */
    uint8_t window_shift; /* 0 to 14 */
    bool window_scaled;
};

static inline struct half_syn half_syn_of(const struct packet *packet)
{
    return (struct half_syn){packet->seq, packet->mss, packet->window_shift, packet->window_scaled};
}

/* The direction begins with this SYN. */
void half_start(struct half *half, struct half_syn syn);

/* The receiver acknowledged everything before `ack_egress`; lets go of what was kept for a resend. */
void half_acknowledge(struct half *half, struct pool *entries, struct pool *blocks, uint32_t ack_egress);

/* Give everything back but the held packets, which are the engine's. */
void half_clear(struct half *half, struct pool *entries, struct pool *blocks);

/* Octets [from, log.end), just decided, leave in another form than they came. */
void half_note_change(struct half *half, uint32_t from);

/*
 * Octets of a segment at `seq` that came before, are not acknowledged, and left as others than these. Those that left
 * in another form than they came, and those between, are not looked at.
 */
uint32_t half_differs(const struct half *half, const struct pool *entries, const struct pool *blocks, uint32_t seq,
                      struct span octets);

/* The longest payload that its sender receives, as far as its SYN says (the least that every end does, RFC 9293 3.7.1).
 */
static inline uint32_t half_mss(const struct half *half)
{
    return half->mss ? half->mss : HALF_MSS_LEAST;
}

/*
 * Octets that may be taken out of what it sends from here on. Conntrack sees octets in its sender's numbers and their
 * acknowledgments in the receiver's, and takes what begins no further behind an acknowledgment than the window: with an
 * offset of the whole window nothing is taken any more, and the connection stands still. Carriers show the sender the
 * window less the offset (see carry_window), so a part of the smallest window must do.
 */
static inline uint32_t half_spare(const struct half *half)
{
    enum { PART = 4 };
    int32_t offset = edit_offset(&half->log);
    uint32_t taken = offset < 0 ? (uint32_t)-offset : 0;
    return taken < half->window_least / PART ? half->window_least / PART - taken : 0;
}

/* Octets that came in order and are not decided. */
static inline uint32_t half_waiting(const struct half *half)
{
    return half->next - half->log.end;
}

/* Whether octets that came in order are not read now. */
static inline bool half_stops(const struct half *half)
{
    return half->paused || half->awaits;
}

/* Where what is retained ends, egress: behind it octets leave as they come. */
static inline uint32_t half_retained_end(const struct half *half)
{
    return half->log.anchor_egress + half->retained.len;
}

/* Whether an octet at egress position `seq`, a FIN for one, is in the window that the receiver has advertised. */
static inline bool half_in_window(const struct half *half, uint32_t seq_egress)
{
    return !seq_before(seq_egress, half->log.anchor_egress) && !seq_after(seq_egress, half->window_end_egress);
}

/* Whether a reset at egress position `seq` may be meant: in the receiver's window (RFC 9293 3.10.7.4, RFC 5961 3.2). */
static inline bool half_reset_in_window(const struct half *half, uint32_t seq_egress)
{
    uint32_t right = seq_max(half->window_end_egress, half->sent_egress + 1);
    return !seq_before(seq_egress, half->log.anchor_egress) && !seq_after(seq_egress, right);
}

#endif
