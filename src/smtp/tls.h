/*
 * smtp/tls - what a TLS handshake shows in clear, read in passing.
 *
 * In:     octets of each side in order, cut anywhere.
 * Out:    struct tls_seen, filled in as it is read; whether more can still come of reading on.
 * Owner:  the caller owns struct tls; nothing points into the octets.
 * Thread: one worker, nothing shared.
 * Limits: a hello of TLS_MESSAGE_BYTES, of a longer certificate message so many of its first octets. What is beyond,
 *         and what is no TLS, ends the reading of its side, more than TLS_OCTETS_MAX of one side that of both: what was
 *         seen before holds.
 * Note:   nothing is judged here: a field says what the peer wrote, and peers may write anything. TLS 1.3 encrypts
 *         what follows the ServerHello: certificates and the protocol that the server chose are seen up to TLS 1.2.
 * Source: RFC 8446 4 and 5, RFC 5246 6 and 7, RFC 6066 3 (server_name), RFC 7301 (ALPN), RFC 8701 (GREASE).
 */
#ifndef POSTERN_SMTP_TLS_H
#define POSTERN_SMTP_TLS_H

#include "smtp/tls_hello.h"

#define TLS_MESSAGE_BYTES 4096  /* a ClientHello with a key share of ML-KEM has about 1,800 */
#define TLS_OCTETS_MAX    65536 /* of one side; a server's certificates and the names that it asks for */

/* One side of a handshake, as it comes. */
struct tls_side {
    uint32_t octets;      /* that were taken */
    uint16_t record_left; /* of the record that goes on */
    uint8_t record_type;  /* of it */
    uint8_t head_len;     /* of what is gathered in `head` */
    uint8_t head[5];      /* of a record; behind it, of an alert */
    uint8_t alert_len;    /* of what is gathered in `alert` */
    uint8_t alert[2];
    uint8_t message_head_len;
    uint8_t message_head[4]; /* type and length of a handshake message */
    uint32_t message_left;   /* of it */
    bool over;               /* nothing more is read */
};

struct tls {
    struct tls_seen seen;
    struct tls_side sides[2];   /* by enum smtp_side */
    struct tls_session session; /* that the client offered to go on with */
    uint16_t message_len; /* what is gathered of one side's message: the client's hello, then what the server says */
    uint8_t message[TLS_MESSAGE_BYTES];
};

/* A handshake begins. */
void tls_begin(struct tls *tls);

/* The next octets of a side. */
void tls_take(struct tls *tls, bool from_server, struct span octets);

/* Whether nothing more can come of reading on. */
bool tls_is_over(const struct tls *tls);

#endif
