/*
 * smtp/proxy - the PROXY header with which a load balancer begins a connection: whose it is.
 *
 * In:     the first octets of a connection.
 * Out:    how many of them are the header, and the client that it tells.
 * Limits: SMTP_PROXY_LINE_BYTES_MAX of version 1, SMTP_PROXY_BYTES_MAX of version 2.
 * Source: HAProxy, "The PROXY protocol", versions 1 and 2 (doc/proxy-protocol.txt), sections 2.1 and 2.2.
 */
#ifndef POSTERN_SMTP_PROXY_H
#define POSTERN_SMTP_PROXY_H

#include "base/span.h"

#define SMTP_PROXY_LINE_BYTES_MAX 107
#define SMTP_PROXY_BYTES_MAX      2048 /* addresses, and what a balancer says of TLS and of itself */

enum smtp_proxy_status {
    SMTP_PROXY_NONE, /* this is no header */
    SMTP_PROXY_MORE, /* so far it may be one: `len` octets are wanted to know more */
    SMTP_PROXY_GOOD,
    SMTP_PROXY_BAD, /* it begins like one, and goes on otherwise */
};

struct smtp_proxy {
    size_t len;          /* octets of the header */
    uint8_t ip_version;  /* 4 or 6 of the client that it tells, 4 of ::ffff:192.0.2.1, too; 0: it tells none (UNKNOWN,
                            LOCAL, no TCP) */
    uint8_t address[16]; /* network byte order; of IPv4 the first four */
    uint16_t port;       /* host byte order */
};

enum smtp_proxy_status smtp_proxy_parse(struct span octets, struct smtp_proxy *proxy);

#endif
