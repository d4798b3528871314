/*
 * tests/lib/tls_octets - octets of TLS handshakes, put together by hand: each vector writes its length when it ends.
 *
 * In:     calls in the order in which the octets stand.
 * Owner:  struct tls_octets is the caller's.
 * Checks: TLS_OCTETS_ROOM is enough, by an assertion.
 */
#ifndef POSTERN_TESTS_TLS_OCTETS_H
#define POSTERN_TESTS_TLS_OCTETS_H

#include "base/span.h"

enum {
    TLS_OCTETS_ROOM = 65536,
    TLS_RECORD_ALERT = 21,
    TLS_RECORD_HANDSHAKE = 22,
    TLS_RECORD_DATA = 23,
    TLS_END = 0xffff
};

struct tls_octets {
    size_t len;
    uint8_t at[TLS_OCTETS_ROOM];
};

static inline void tls_put(struct tls_octets *to, struct span octets)
{
    assert(octets.len <= TLS_OCTETS_ROOM - to->len);
    if (octets.len)
        memcpy(to->at + to->len, octets.ptr, octets.len);
    to->len += octets.len;
}

static inline void tls_put_text(struct tls_octets *to, const char *text)
{
    tls_put(to, span_of(text));
}

/* A number of so many octets. */
static inline void tls_put_number(struct tls_octets *to, uint32_t number, size_t octets)
{
    for (; octets > 0; octets--) {
        uint8_t octet = (uint8_t)(number >> (octets - 1) * 8);
        tls_put(to, (struct span){&octet, 1});
    }
}

/* A vector begins whose length has so many octets; what tls_end is to be given. */
static inline size_t tls_open(struct tls_octets *to, size_t octets)
{
    tls_put_number(to, 0, octets);
    return to->len;
}

static inline void tls_end(struct tls_octets *to, size_t begun, size_t octets)
{
    size_t len = to->len - begun;
    for (size_t i = 0; i < octets; i++)
        to->at[begun - 1 - i] = (uint8_t)(len >> i * 8);
}

/* A text behind its length, which has so many octets. */
static inline void tls_put_vector(struct tls_octets *to, const char *text, size_t octets)
{
    size_t begun = tls_open(to, octets);
    tls_put_text(to, text);
    tls_end(to, begun, octets);
}

/* Two octets each, up to the first zero. */
static inline void tls_put_list(struct tls_octets *to, const uint16_t *values)
{
    for (size_t i = 0; values[i]; i++)
        tls_put_number(to, values[i], 2);
}

struct tls_client {
    uint16_t version;        /* the old field; 0: 0x0303 */
    uint16_t ciphers[260];   /* these lists end at the first zero */
    uint16_t extensions[32]; /* in order, up to TLS_END; those that are not filled from what follows have two octets */
    uint16_t versions[8];
    uint16_t signatures[16];
    const char *name;
    const char *protocols[4];
    size_t key_share_bytes; /* of extension 51 */
    const char *session;
};

static inline void tls_put_extension(struct tls_octets *to, const struct tls_client *client, uint16_t type)
{
    size_t list;
    tls_put_number(to, type, 2);
    size_t begun = tls_open(to, 2);
    switch (type) {
    case 0:
        list = tls_open(to, 2);
        tls_put_number(to, 0, 1);
        tls_put_vector(to, client->name ? client->name : "", 2);
        tls_end(to, list, 2);
        break;
    case 13:
        list = tls_open(to, 2);
        tls_put_list(to, client->signatures);
        tls_end(to, list, 2);
        break;
    case 16:
        list = tls_open(to, 2);
        for (size_t i = 0; i < 4 && client->protocols[i]; i++)
            tls_put_vector(to, client->protocols[i], 1);
        tls_end(to, list, 2);
        break;
    case 43:
        list = tls_open(to, 1);
        tls_put_list(to, client->versions);
        tls_end(to, list, 1);
        break;
    case 51:
        for (size_t i = 0; i < client->key_share_bytes; i++)
            tls_put_number(to, (uint32_t)i, 1);
        break;
    default:
        tls_put_number(to, 0, 2);
        break;
    }
    tls_end(to, begun, 2);
}

static inline size_t tls_begin_message(struct tls_octets *to, uint8_t type)
{
    tls_put_number(to, type, 1);
    return tls_open(to, 3);
}

static inline void tls_put_client_hello(struct tls_octets *to, const struct tls_client *client)
{
    size_t message = tls_begin_message(to, 1);
    tls_put_number(to, client->version ? client->version : 0x0303, 2);
    for (int i = 0; i < 8; i++)
        tls_put_text(to, "rand");
    size_t part = tls_open(to, 1);
    tls_put_text(to, client->session ? client->session : "");
    tls_end(to, part, 1);
    part = tls_open(to, 2);
    tls_put_list(to, client->ciphers);
    tls_end(to, part, 2);
    tls_put_number(to, 0x0100, 2);
    part = tls_open(to, 2);
    bool any = client->extensions[0] || client->extensions[1];
    for (size_t i = 0; any && client->extensions[i] != TLS_END; i++)
        tls_put_extension(to, client, client->extensions[i]);
    tls_end(to, part, 2);
    tls_end(to, message, 3);
}

struct tls_server {
    uint16_t version; /* of supported_versions where it is 0x0304 */
    uint16_t cipher;
    const char *protocol;
    const char *session;
    const char *random; /* NULL: any */
};

static inline void tls_put_server_hello(struct tls_octets *to, const struct tls_server *server)
{
    size_t message = tls_begin_message(to, 2);
    tls_put_number(to, server->version > 0x0303 ? 0x0303 : server->version, 2);
    if (server->random)
        tls_put(to, (struct span){(const uint8_t *)server->random, 32});
    for (int i = 0; i < 8 && !server->random; i++)
        tls_put_text(to, "RAND");
    size_t part = tls_open(to, 1);
    tls_put_text(to, server->session ? server->session : "");
    tls_end(to, part, 1);
    tls_put_number(to, server->cipher, 2);
    tls_put_number(to, 0, 1);
    part = tls_open(to, 2);
    if (server->version > 0x0303) {
        tls_put_number(to, 43, 2);
        tls_put_number(to, 2, 2);
        tls_put_number(to, server->version, 2);
    }
    if (server->protocol) {
        tls_put_number(to, 16, 2);
        size_t extension = tls_open(to, 2), list = tls_open(to, 2), name = tls_open(to, 1);
        tls_put_text(to, server->protocol);
        tls_end(to, name, 1);
        tls_end(to, list, 2);
        tls_end(to, extension, 2);
    }
    tls_end(to, part, 2);
    tls_end(to, message, 3);
}

/* `octets` as records of this type, of `each` octets at most. */
static inline void tls_put_records(struct tls_octets *to, uint8_t type, struct span octets, size_t each)
{
    while (octets.len) {
        struct span part = span_head(octets, each);
        tls_put_number(to, type, 1);
        tls_put_number(to, 0x0301, 2);
        tls_put_number(to, (uint32_t)part.len, 2);
        tls_put(to, part);
        octets = span_tail(octets, part.len);
    }
}

static inline void tls_put_alert(struct tls_octets *to, uint8_t level, uint8_t description)
{
    const uint8_t alert[2] = {level, description};
    tls_put_records(to, TLS_RECORD_ALERT, (struct span){alert, sizeof alert}, sizeof alert);
}

static inline void tls_put_change_cipher(struct tls_octets *to)
{
    tls_put_records(to, 20, span_of("\x01"), 1);
}

/* ---- certificates ---- */

/* An element of DER begins, with a length of three octets; see der_end. */
static inline size_t der_open(struct tls_octets *to, uint8_t tag)
{
    tls_put_number(to, tag, 1);
    tls_put_number(to, 0x82, 1);
    return tls_open(to, 2);
}

static inline void der_end(struct tls_octets *to, size_t begun)
{
    tls_end(to, begun, 2);
}

static inline void der_put(struct tls_octets *to, uint8_t tag, const char *text)
{
    size_t begun = der_open(to, tag);
    tls_put_text(to, text);
    der_end(to, begun);
}

/* A name with an organization and a common name. */
static inline void der_put_name(struct tls_octets *to, const char *organization, const char *name)
{
    const char *const values[] = {organization, name}, *const oids[] = {"\x55\x04\x0a", "\x55\x04\x03"};
    size_t sequence = der_open(to, 0x30);
    for (int i = 0; i < 2; i++) {
        size_t set = der_open(to, 0x31), attribute = der_open(to, 0x30);
        der_put(to, 6, oids[i]);
        der_put(to, 12, values[i]);
        der_end(to, attribute);
        der_end(to, set);
    }
    der_end(to, sequence);
}

struct der_certificate {
    const char *name, *from, *to; /* of times; 13 characters are a UTCTime, 15 a GeneralizedTime */
    const char *names[4];         /* in the DNS */
};

static inline void der_put_time(struct tls_octets *to, const char *text)
{
    der_put(to, strlen(text) == 13 ? 0x17 : 0x18, text);
}

static inline void der_put_certificate(struct tls_octets *to, const struct der_certificate *of)
{
    size_t certificate = der_open(to, 0x30), body = der_open(to, 0x30);
    size_t version = der_open(to, 0xa0);
    der_put(to, 2, "\x02");
    der_end(to, version);
    der_put(to, 2, "\x01\x02\xab");
    size_t algorithm = der_open(to, 0x30);
    der_put(to, 6, "\x2a");
    der_end(to, algorithm);
    der_put_name(to, "Issuer Ltd", "A root");
    size_t validity = der_open(to, 0x30);
    der_put_time(to, of->from);
    der_put_time(to, of->to);
    der_end(to, validity);
    der_put_name(to, "Example", of->name);
    der_put(to, 0x30, "");
    size_t explicit = der_open(to, 0xa3), extensions = der_open(to, 0x30);
    size_t other = der_open(to, 0x30);
    der_put(to, 6, "\x55\x1d\x13");
    der_put(to, 1, "\xff");
    der_put(to, 4, "0");
    der_end(to, other);
    size_t extension = der_open(to, 0x30);
    der_put(to, 6, "\x55\x1d\x11");
    size_t value = der_open(to, 4), list = der_open(to, 0x30);
    der_put(to, 0x81, "postmaster@example.com");
    for (int i = 0; i < 4 && of->names[i]; i++)
        der_put(to, 0x82, of->names[i]);
    der_end(to, list);
    der_end(to, value);
    der_end(to, extension);
    der_end(to, extensions);
    der_end(to, explicit);
    der_end(to, body);
    der_end(to, certificate);
}

/* The handshake message with this certificate, and `more` octets of another one behind it. */
static inline void tls_put_certificate(struct tls_octets *to, const struct der_certificate *of, size_t more)
{
    size_t message = tls_begin_message(to, 11), list = tls_open(to, 3), one = tls_open(to, 3);
    der_put_certificate(to, of);
    tls_end(to, one, 3);
    one = tls_open(to, 3);
    for (size_t i = 0; i < more; i++)
        tls_put_number(to, 0x30, 1);
    tls_end(to, one, 3);
    tls_end(to, list, 3);
    tls_end(to, message, 3);
}

#endif
