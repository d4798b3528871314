#include "smtp/tls_ja4.h"

#include "base/octets.h"
#include "base/sha256.h"

enum { HASH_DIGITS = 12, SERVER_NAME = 0, ALPN = 16 };

static const char digits[] = "0123456789abcdef";

/* Entries of a hash's text: four digits each, a comma between them. */
struct joined {
    struct sha256 hash;
    bool any;
};

static void join(struct joined *joined, uint16_t value)
{
    const uint8_t text[5] = {',', (uint8_t)digits[value >> 12], (uint8_t)digits[value >> 8 & 15],
                             (uint8_t)digits[value >> 4 & 15], (uint8_t)digits[value & 15]};
    sha256_add(&joined->hash, (struct span){text + !joined->any, sizeof text - !joined->any});
    joined->any = true;
}

/* The first digits of the hash; zeros where nothing was hashed. */
static char *end_joined(struct joined *joined, bool none, char *at)
{
    uint8_t value[SHA256_BYTES];
    sha256_end(&joined->hash, value);
    for (int i = 0; i < HASH_DIGITS; i++)
        *at++ = digits[none ? 0 : value[i / 2] >> (i % 2 ? 0 : 4) & 15];
    return at;
}

static void sort(uint16_t *values, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        uint16_t value = values[i];
        uint32_t at = i;
        for (; at > 0 && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

static const char *version_digits(uint16_t version)
{
    switch (version) {
    case 0x0304:
        return "13";
    case 0x0303:
        return "12";
    case 0x0302:
        return "11";
    case 0x0301:
        return "10";
    case 0x0300:
        return "s3";
    case 0x0002:
        return "s2";
    default:
        return "00";
    }
}

static char *put_count(uint32_t count, char *at)
{
    count = count > 99 ? 99 : count;
    *at++ = (char)('0' + count / 10);
    *at++ = (char)('0' + count % 10);
    return at;
}

/* First and last character of the protocol; where one is no letter or digit, those of its hexadecimal form. */
static char *put_protocol(struct span alpn, char *at)
{
    if (alpn.len == 0) {
        *at++ = '0';
        *at++ = '0';
        return at;
    }
    uint8_t first = alpn.ptr[0], last = alpn.ptr[alpn.len - 1];
    bool plain = ascii_is_alnum(first) && ascii_is_alnum(last);
    *at++ = (char)(plain ? first : (uint8_t)digits[first >> 4]);
    *at++ = (char)(plain ? last : (uint8_t)digits[last & 15]);
    return at;
}

/* The values of a list as on the wire that are none of GREASE. */
static uint32_t load_list(struct span list, uint16_t *values)
{
    uint32_t count = 0;
    for (; list.len >= 2; list = span_tail(list, 2))
        if (!tls_is_grease(load_be16(list.ptr)))
            values[count++] = load_be16(list.ptr);
    return count;
}

static char *put_ciphers(const uint16_t *ciphers, uint32_t count, char *at)
{
    struct joined joined = {.any = false};
    sha256_begin(&joined.hash);
    for (uint32_t i = 0; i < count; i++)
        join(&joined, ciphers[i]);
    return end_joined(&joined, count == 0, at);
}

/* Extensions in order of their numbers, then signature algorithms in the client's. */
static char *put_extensions(const struct tls_ja4 *of, uint32_t count, char *at)
{
    struct joined joined = {.any = false};
    bool none = true;
    sha256_begin(&joined.hash);
    for (uint32_t i = 0; i < count; i++)
        if (of->extensions[i] != SERVER_NAME && of->extensions[i] != ALPN) {
            join(&joined, of->extensions[i]);
            none = false;
        }
    if (of->signatures.len) {
        sha256_add(&joined.hash, span_of("_"));
        joined.any = false;
        for (struct span left = of->signatures; left.len >= 2; left = span_tail(left, 2))
            if (!tls_is_grease(load_be16(left.ptr)))
                join(&joined, load_be16(left.ptr));
    }
    return end_joined(&joined, none, at);
}

void tls_ja4_make(struct tls_ja4 *of, char *out)
{
    uint16_t ciphers[JA4_LIST_MAX];
    out[0] = '\0';
    if (of->ciphers.len > 2 * JA4_LIST_MAX || of->extension_count > JA4_LIST_MAX)
        return;
    uint32_t cipher_count = load_list(of->ciphers, ciphers), extension_count = 0;
    for (uint32_t i = 0; i < of->extension_count; i++)
        if (!tls_is_grease(of->extensions[i]))
            of->extensions[extension_count++] = of->extensions[i];
    sort(ciphers, cipher_count);
    sort(of->extensions, extension_count);
    char *at = out;
    *at++ = 't'; /* over TCP */
    memcpy(at, version_digits(of->version), 2);
    at += 2;
    *at++ = of->has_name ? 'd' : 'i';
    at = put_count(cipher_count, at);
    at = put_count(extension_count, at);
    at = put_protocol(of->alpn, at);
    *at++ = '_';
    at = put_ciphers(ciphers, cipher_count, at);
    *at++ = '_';
    at = put_extensions(of, extension_count, at);
    *at = '\0';
}
