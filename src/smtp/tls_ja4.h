/*
 * smtp/tls_ja4 - the JA4 fingerprint of a ClientHello: who has the same has the same TLS library, set up alike.
 *
 * In:     lists of the hello as they are on the wire, two octets an entry.
 * Out:    36 characters and a NUL; "" where a list is longer than JA4_LIST_MAX.
 * Note:   JA4, of TLS clients, is published by FoxIO under the 3-clause BSD licence, without patent claims. JA4S and
 *         the others of JA4+ are under the FoxIO License 1.1, with patents pending; it forbids to sell, which the GNU
 *         GPL 2 of this project must allow. So they are not computed here.
 * Source: github.com/FoxIO-LLC/ja4, technical_details/JA4.md; RFC 8701 (GREASE).
 */
#ifndef POSTERN_SMTP_TLS_JA4_H
#define POSTERN_SMTP_TLS_JA4_H

#include "base/span.h"

#define JA4_LIST_MAX 256 /* entries */

struct tls_ja4 {
    uint16_t version; /* the highest one offered */
    bool has_name;    /* there is a server_name extension */
    struct span ciphers;
    struct span signatures; /* of signature_algorithms */
    struct span alpn;       /* the first protocol; empty: none */
    uint16_t extensions[JA4_LIST_MAX];
    uint32_t extension_count; /* that there are; more than JA4_LIST_MAX are not kept */
};

/* `out` has room for TLS_JA4_BYTES. */
void tls_ja4_make(struct tls_ja4 *of, char *out);

/* RFC 8701: a value that means nothing, to be ignored. */
static inline bool tls_is_grease(uint16_t value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

#endif
