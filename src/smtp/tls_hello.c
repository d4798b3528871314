#include "smtp/tls_hello.h"

#include "base/octets.h"
#include "smtp/tls_ja4.h"

enum { RANDOM_BYTES = 32 };

/* Extensions of which more is read than that they are there. */
enum extension {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SIGNATURES = 13,
    EXTENSION_ALPN = 16,
    EXTENSION_PRE_SHARED_KEY = 41,
    EXTENSION_VERSIONS = 43,
};

/* A cursor whose first error sticks; behind it all is empty, or zero. */
struct reader {
    struct span left;
    bool failed;
};

static struct span take(struct reader *reader, size_t len)
{
    reader->failed = reader->failed || len > reader->left.len;
    if (reader->failed)
        return (struct span){0};
    struct span octets = span_head(reader->left, len);
    reader->left = span_tail(reader->left, len);
    return octets;
}

/* A number of so many octets, four at most. */
static uint32_t take_number(struct reader *reader, size_t len)
{
    uint32_t number = 0;
    struct span octets = take(reader, len);
    for (size_t i = 0; i < octets.len; i++)
        number = number << 8 | octets.ptr[i];
    return number;
}

/* Octets behind their number, which has so many octets itself (RFC 8446 3.4). */
static struct span take_vector(struct reader *reader, size_t len)
{
    return take(reader, take_number(reader, len));
}

/* What of `octets` fits; how many these are. */
static uint8_t keep(struct span octets, uint8_t *room, uint8_t room_bytes)
{
    octets = span_head(octets, room_bytes);
    if (octets.len)
        memcpy(room, octets.ptr, octets.len);
    return (uint8_t)octets.len;
}

/* ---- the client's ---- */

/* The first name of a host (RFC 6066 3). */
static struct span host_name(struct span extension)
{
    enum { HOST_NAME = 0 };
    struct reader reader = {.left = extension};
    reader.left = take_vector(&reader, 2);
    while (reader.left.len && !reader.failed) {
        uint32_t type = take_number(&reader, 1);
        struct span name = take_vector(&reader, 2);
        if (type == HOST_NAME && !reader.failed)
            return name;
    }
    return (struct span){0};
}

/* The list of protocols (RFC 7301 3.1), as far as it is whole and fits. */
static struct span protocols(struct span extension)
{
    struct reader reader = {.left = extension};
    struct span list = take_vector(&reader, 2);
    reader.left = span_head(list, TLS_ALPNS_BYTES);
    size_t whole = 0, all = reader.left.len;
    while (reader.left.len) {
        (void)take_vector(&reader, 1);
        if (reader.failed)
            break;
        whole = all - reader.left.len;
    }
    return span_head(list, whole);
}

static uint16_t highest_version(struct span extension)
{
    struct reader reader = {.left = extension};
    uint16_t highest = 0;
    for (struct span list = take_vector(&reader, 1); list.len >= 2; list = span_tail(list, 2)) {
        uint16_t version = load_be16(list.ptr);
        if (!tls_is_grease(version) && version > highest)
            highest = version;
    }
    return highest;
}

/* Whether the extensions, each with its type and its length, are whole. */
static bool are_whole(struct span extensions)
{
    struct reader reader = {.left = extensions};
    while (reader.left.len && !reader.failed) {
        (void)take_number(&reader, 2);
        (void)take_vector(&reader, 2);
    }
    return !reader.failed;
}

static void take_client_extension(struct tls_seen *seen, struct tls_ja4 *ja4, uint16_t type, struct span extension)
{
    struct reader reader = {.left = extension};
    uint16_t version;
    switch (type) {
    case EXTENSION_SERVER_NAME:
        seen->has_name = ja4->has_name = true;
        seen->name_len = keep(host_name(extension), seen->name, TLS_NAME_BYTES);
        break;
    case EXTENSION_SIGNATURES:
        ja4->signatures = take_vector(&reader, 2);
        break;
    case EXTENSION_ALPN:
        seen->client_alpns_len = keep(protocols(extension), seen->client_alpns, TLS_ALPNS_BYTES);
        if (seen->client_alpns_len)
            ja4->alpn = (struct span){seen->client_alpns + 1, seen->client_alpns[0]};
        break;
    case EXTENSION_VERSIONS:
        version = highest_version(extension);
        seen->offered = version ? version : seen->offered;
        break;
    default:
        break;
    }
}

bool tls_hello_client(struct span body, struct tls_seen *seen, struct tls_session *offered)
{
    struct reader reader = {.left = body};
    struct tls_ja4 ja4 = {.version = 0};
    uint16_t version = (uint16_t)take_number(&reader, 2);
    (void)take(&reader, RANDOM_BYTES);
    struct span session = take_vector(&reader, 1);
    ja4.ciphers = take_vector(&reader, 2);
    (void)take_vector(&reader, 1); /* ways of compression */
    struct span extensions = reader.left.len ? take_vector(&reader, 2) : (struct span){0};
    if (reader.failed || !are_whole(extensions))
        return false;
    seen->offered = version;
    offered->len = keep(session, offered->id, TLS_SESSION_BYTES);
    reader.left = extensions;
    while (reader.left.len) {
        uint16_t type = (uint16_t)take_number(&reader, 2);
        struct span extension = take_vector(&reader, 2);
        if (ja4.extension_count < JA4_LIST_MAX)
            ja4.extensions[ja4.extension_count] = type;
        ja4.extension_count++;
        take_client_extension(seen, &ja4, type, extension);
    }
    ja4.version = seen->offered;
    tls_ja4_make(&ja4, seen->ja4);
    seen->client_hello = true;
    return true;
}

/* ---- the server's ---- */

/* What makes a ServerHello ask for another ClientHello (RFC 8446 4.1.3). */
static const char retry_random[] = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91"
                                   "\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";

bool tls_hello_server(struct span body, struct tls_seen *seen, const struct tls_session *offered)
{
    struct reader reader = {.left = body};
    uint16_t version = (uint16_t)take_number(&reader, 2);
    struct span random = take(&reader, RANDOM_BYTES);
    struct span session = take_vector(&reader, 1);
    uint16_t cipher = (uint16_t)take_number(&reader, 2);
    (void)take_number(&reader, 1); /* compression */
    struct span extensions = reader.left.len ? take_vector(&reader, 2) : (struct span){0};
    if (reader.failed || !are_whole(extensions))
        return false;
    bool retry = span_equal(random, span_of(retry_random)), key_shared = false;
    reader.left = extensions;
    while (reader.left.len) {
        uint32_t type = take_number(&reader, 2);
        struct span extension = take_vector(&reader, 2);
        if (type == EXTENSION_VERSIONS && extension.len == 2)
            version = load_be16(extension.ptr);
        else if (type == EXTENSION_ALPN)
            seen->server_alpns_len = keep(protocols(extension), seen->server_alpns, TLS_ALPNS_BYTES);
        else if (type == EXTENSION_PRE_SHARED_KEY)
            key_shared = true;
    }
    bool goes_on = session.len && span_equal(session, (struct span){offered->id, offered->len});
    seen->version = version;
    seen->cipher = cipher;
    seen->retried = seen->retried || retry;
    seen->resumed = version >= TLS_1_3 ? key_shared : goes_on;
    seen->server_hello = !retry;
    return true;
}
