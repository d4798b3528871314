/*
 * Octets of both sides of a TLS handshake, in turns: an octet that says whose and how many, then so many. The first
 * octet of the input is for nobody: behind it a certificate is read, too.
 *
 * The same is seen when each octet comes alone. What is seen lies in its bounds, and names are text.
 */
#include "fuzz.h"

#include "smtp/tls.h"

enum { FROM_SERVER = 0x80, LENGTH = 0x7f };

static void look_at_list(const uint8_t *list, size_t len)
{
    while (len) {
        MUST(list[0] < len);
        look_at(list, list[0] + 1u);
        len -= list[0] + 1u;
        list += list[0] + 1u;
    }
}

static void look_at_seen(const struct tls_seen *seen)
{
    look_at(seen->name, seen->name_len);
    look_at_list(seen->client_alpns, seen->client_alpns_len);
    look_at_list(seen->server_alpns, seen->server_alpns_len);
    MUST(strlen(seen->ja4) == 0 || strlen(seen->ja4) == TLS_JA4_BYTES - 1);
    for (const char *at = seen->ja4; *at; at++)
        MUST(ascii_is_alnum((uint8_t)*at) || *at == '_');
    MUST(seen->certificate.serial_len <= TLS_SERIAL_BYTES && seen->certificate.names_len <= TLS_CERT_NAME_BYTES);
    look_at_list(seen->certificate.names, seen->certificate.names_len);
    (void)tls_failed(seen);
}

static void take(struct tls *tls, bool from_server, struct span octets, bool singly)
{
    size_t each = singly ? 1 : octets.len;
    while (octets.len) {
        uint8_t *copy = exact_copy(span_head(octets, each));
        tls_take(tls, from_server, (struct span){copy, each});
        free(copy);
        octets = span_tail(octets, each);
    }
}

static void feed(struct tls *tls, struct span input, bool singly)
{
    tls_begin(tls);
    while (input.len) {
        bool from_server = input.ptr[0] & FROM_SERVER;
        struct span part = span_head(span_tail(input, 1), input.ptr[0] & LENGTH);
        take(tls, from_server, part, singly);
        input = span_tail(input, 1 + part.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tls whole, parts;
    struct tls_certificate certificate;
    struct span input = {data, size};
    feed(&whole, span_tail(input, 1), false);
    feed(&parts, span_tail(input, 1), true);
    MUST(memcmp(&whole.seen, &parts.seen, sizeof whole.seen) == 0);
    MUST(tls_is_over(&whole) == tls_is_over(&parts));
    look_at_seen(&whole.seen);
    uint8_t *copy = exact_copy(input);
    (void)tls_certificate_read((struct span){copy, input.len}, &certificate);
    free(copy);
    look_at_list(certificate.names, certificate.names_len);
    return 0;
}
