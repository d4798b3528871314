/*
 * smtp/tls_hello - what stands in a ClientHello and in a ServerHello; for smtp/tls.
 *
 * In:     the body of the message, whole.
 * Errors: false where its lengths contradict one another: nothing of it was taken.
 */
#ifndef POSTERN_SMTP_TLS_HELLO_H
#define POSTERN_SMTP_TLS_HELLO_H

#include "smtp/tls_seen.h"

#define TLS_SESSION_BYTES 32

/* The session that a client offers to go on with. */
struct tls_session {
    uint8_t len;
    uint8_t id[TLS_SESSION_BYTES];
};

bool tls_hello_client(struct span body, struct tls_seen *seen, struct tls_session *session);

/* `offered` is what the client's hello said. */
bool tls_hello_server(struct span body, struct tls_seen *seen, const struct tls_session *offered);

#endif
