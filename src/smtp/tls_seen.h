/*
 * smtp/tls_seen - what was seen of a TLS handshake: a plain value.
 *
 * Note:   octets of names come from the wire: escape and cap them before a log or a terminal.
 */
#ifndef POSTERN_SMTP_TLS_SEEN_H
#define POSTERN_SMTP_TLS_SEEN_H

#include "smtp/tls_certificate.h"

#define TLS_JA4_BYTES   37  /* with its NUL */
#define TLS_NAME_BYTES  255 /* of a server's name */
#define TLS_ALPNS_BYTES 255 /* of the list of protocols, each with its length before it, as on the wire */

enum tls_version {
    TLS_SSL_3 = 0x0300,
    TLS_1_0 = 0x0301,
    TLS_1_1 = 0x0302,
    TLS_1_2 = 0x0303,
    TLS_1_3 = 0x0304,
};

/* What a server may say of the handshake's end, and a client too (RFC 8446 6.2). */
struct tls_alert {
    uint8_t level; /* 1 a warning, 2 fatal; 0: there was none */
    uint8_t description;
    bool from_server;
};

struct tls_seen {
    bool client_hello, server_hello; /* it was read */
    bool has_name;                   /* the client named the server */
    bool retried;                    /* the server asked for another ClientHello (RFC 8446 4.1.4) */
    bool resumed;                    /* the server goes on with an older session */
    bool finished[2];       /* by side: up to TLS 1.2 it goes over to encryption, in TLS 1.3 it has gone on behind the
                             ServerHello */
    uint16_t version;       /* that the server chose; 0: none */
    uint16_t cipher;        /* likewise */
    uint16_t offered;       /* the highest version that the client offered; 0: none */
    struct tls_alert alert; /* the last one in clear */
    uint8_t name_len, client_alpns_len, server_alpns_len;
    uint8_t name[TLS_NAME_BYTES];          /* of the server, as the client wrote it */
    uint8_t client_alpns[TLS_ALPNS_BYTES]; /* protocols, each with its length before it */
    uint8_t server_alpns[TLS_ALPNS_BYTES];
    char ja4[TLS_JA4_BYTES];            /* "" where the hello is out of bounds */
    struct tls_certificate certificate; /* the server's own */
};

/* Whether one end gave up the handshake: a fatal alert in clear. Behind a hello of TLS 1.3 alerts are encrypted. */
bool tls_failed(const struct tls_seen *seen);

/* Names: those of the registries of IANA, a version's as Suricata writes it; "" where there is none. Static. */
const char *tls_version_name(uint16_t version);
const char *tls_cipher_name(uint16_t cipher);
const char *tls_alert_name(uint8_t description);

#endif
