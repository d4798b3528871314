/*
 * smtp/tls_certificate - what a certificate says of itself: a DER reader that is as large as that.
 *
 * In:     a certificate, whole.
 * Out:    subject, issuer, serial number, names, and the time for which it says to be good. Nothing is verified.
 * Limits: those of the arrays; what does not fit is left out, and `cut` says so.
 * Errors: false where it cannot be read; what was read before that holds.
 * Source: RFC 5280 4.1, 4.2.1.6; X.690 8.1 (lengths of up to 3 octets).
 */
#ifndef POSTERN_SMTP_TLS_CERTIFICATE_H
#define POSTERN_SMTP_TLS_CERTIFICATE_H

#include "base/span.h"

#define TLS_DN_BYTES        255
#define TLS_CERT_NAME_BYTES 512
#define TLS_SERIAL_BYTES    20 /* RFC 5280 4.1.2.2 */

struct tls_certificate {
    bool present;
    bool cut; /* something did not fit */
    uint8_t subject_len, issuer_len, serial_len;
    uint8_t subject[TLS_DN_BYTES]; /* "C=AT, CN=mail.example.com", values as they came */
    uint8_t issuer[TLS_DN_BYTES];
    uint8_t serial[TLS_SERIAL_BYTES];
    uint16_t names_len;
    uint8_t names[TLS_CERT_NAME_BYTES]; /* names in the DNS of its subjectAltName, each with its length before it */
    int64_t not_before_s, not_after_s;  /* seconds since 1970, UTC; INT64_MIN: cannot be read */
};

/* Read the certificate into *out, which is overwritten. */
bool tls_certificate_read(struct span der, struct tls_certificate *out);

#endif
