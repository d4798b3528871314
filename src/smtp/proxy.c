#include "smtp/proxy.h"

static const uint8_t line_begins[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t signature[] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* Whether the octets are like `form` as far as they go. */
static bool is_like(struct span octets, const uint8_t *form, size_t form_len)
{
    size_t len = octets.len < form_len ? octets.len : form_len;
    return octets.len == 0 || memcmp(octets.ptr, form, len) == 0;
}

/* ---- version 1 ---- */

/* The next word, which ends at a blank or at the end. */
static struct span take_word(struct span *text)
{
    const uint8_t *blank = text->len ? memchr(text->ptr, ' ', text->len) : NULL;
    struct span word = span_head(*text, blank ? (size_t)(blank - text->ptr) : text->len);
    *text = span_tail(*text, word.len + (blank != NULL));
    return word;
}

/* A decimal number up to `most`, without zeros before it. */
static bool read_number(struct span word, unsigned most, unsigned *number)
{
    *number = 0;
    for (size_t i = 0; i < word.len && *number <= most; i++) {
        if (!ascii_is_digit(word.ptr[i]))
            return false;
        *number = *number * 10 + word.ptr[i] - '0';
    }
    return word.len > 0 && *number <= most && (word.len == 1 || word.ptr[0] != '0');
}

static bool read_ipv4(struct span word, uint8_t address[4])
{
    for (int i = 0; i < 4; i++) {
        const uint8_t *dot = word.len ? memchr(word.ptr, '.', word.len) : NULL;
        struct span part = span_head(word, dot ? (size_t)(dot - word.ptr) : word.len);
        unsigned number;
        if ((dot != NULL) != (i < 3) || !read_number(part, 255, &number))
            return false;
        address[i] = (uint8_t)number;
        word = span_tail(word, part.len + (dot != NULL));
    }
    return true;
}

static int hex_of(uint8_t octet)
{
    if (ascii_is_digit(octet))
        return octet - '0';
    uint8_t upper = ascii_upper(octet);
    return upper >= 'A' && upper <= 'F' ? upper - 'A' + 10 : -1;
}

/* RFC 4291 2.2: groups of up to four hexadecimal digits, `::` once, and an IPv4 address at the end. */
static bool read_ipv6(struct span word, uint8_t address[16])
{
    uint8_t groups[16] = {0};
    size_t count = 0, gap = SIZE_MAX;
    if (word.len >= 2 && word.ptr[0] == ':' && word.ptr[1] == ':') {
        gap = 0;
        word = span_tail(word, 2);
    }
    while (word.len) {
        const uint8_t *colon = memchr(word.ptr, ':', word.len);
        struct span part = span_head(word, colon ? (size_t)(colon - word.ptr) : word.len);
        if (!colon && memchr(part.ptr, '.', part.len) && count <= 12) {
            if (!read_ipv4(part, groups + count))
                return false;
            count += 4;
            break;
        }
        unsigned value = 0;
        for (size_t i = 0; i < part.len; i++) {
            int digit = hex_of(part.ptr[i]);
            if (digit < 0 || i == 4)
                return false;
            value = value << 4 | (unsigned)digit;
        }
        if (part.len == 0 || count > 14)
            return false;
        groups[count++] = (uint8_t)(value >> 8);
        groups[count++] = (uint8_t)value;
        word = span_tail(word, part.len + (colon != NULL));
        if (colon && word.len == 0)
            return false;
        if (word.len && word.ptr[0] == ':') {
            if (gap != SIZE_MAX)
                return false;
            gap = count;
            word = span_tail(word, 1);
        }
    }
    if (gap == SIZE_MAX ? count != sizeof groups : count > 14)
        return false;
    memset(address, 0, 16);
    size_t before = gap == SIZE_MAX ? count : gap;
    memcpy(address, groups, before);
    memcpy(address + 16 - (count - before), groups + before, count - before);
    return true;
}

/* Of the line without its end, behind the first word. */
static bool read_line(struct span text, struct smtp_proxy *proxy)
{
    struct span family = take_word(&text);
    bool ipv6 = span_equal(family, span_of("TCP6"));
    unsigned port, server_port;
    uint8_t server[16];
    if (span_equal(family, span_of("UNKNOWN")))
        return true; /* whatever follows */
    if (!ipv6 && !span_equal(family, span_of("TCP4")))
        return false;
    bool (*read_address)(struct span, uint8_t *) = ipv6 ? read_ipv6 : read_ipv4;
    bool good = read_address(take_word(&text), proxy->address) && read_address(take_word(&text), server) &&
                read_number(take_word(&text), UINT16_MAX, &port) &&
                read_number(take_word(&text), UINT16_MAX, &server_port) && text.len == 0;
    proxy->ip_version = !good ? 0 : ipv6 ? 6 : 4;
    proxy->port = good ? (uint16_t)port : 0;
    return good;
}

static enum smtp_proxy_status parse_line(struct span octets, struct smtp_proxy *proxy)
{
    struct span line = span_head(octets, SMTP_PROXY_LINE_BYTES_MAX);
    const uint8_t *end = memchr(line.ptr, '\n', line.len);
    if (!end) {
        proxy->len = octets.len + 1;
        return octets.len < SMTP_PROXY_LINE_BYTES_MAX ? SMTP_PROXY_MORE : SMTP_PROXY_BAD;
    }
    proxy->len = (size_t)(end - line.ptr) + 1;
    if (end == line.ptr || end[-1] != '\r')
        return SMTP_PROXY_BAD;
    struct span text = span_tail(span_head(line, proxy->len - 2), sizeof line_begins);
    return read_line(text, proxy) ? SMTP_PROXY_GOOD : SMTP_PROXY_BAD;
}

/* ---- version 2 ---- */

/* Behind the signature: version and command, family and protocol, two octets of length, addresses, and more. */
static enum smtp_proxy_status parse_binary(struct span octets, struct smtp_proxy *proxy)
{
    enum { HEAD = 16, LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21, TCP4_BYTES = 12, TCP6_BYTES = 36 };
    proxy->len = HEAD;
    if (octets.len < HEAD)
        return SMTP_PROXY_MORE;
    uint8_t command = octets.ptr[12], family = octets.ptr[13];
    size_t rest = (size_t)(octets.ptr[14] << 8 | octets.ptr[15]);
    proxy->len = HEAD + rest;
    bool ipv4 = family == TCP4 && rest >= TCP4_BYTES, ipv6 = family == TCP6 && rest >= TCP6_BYTES;
    bool told = command == PROXY && (ipv4 || ipv6);
    bool cut = command == PROXY && (family == TCP4 || family == TCP6) && !told;
    if (proxy->len > SMTP_PROXY_BYTES_MAX || (command != LOCAL && command != PROXY) || cut)
        return SMTP_PROXY_BAD;
    if (octets.len < proxy->len)
        return SMTP_PROXY_MORE;
    if (!told)
        return SMTP_PROXY_GOOD;
    size_t bytes = ipv6 ? 16 : 4;
    const uint8_t *at = octets.ptr + HEAD, *port = at + 2 * bytes;
    memcpy(proxy->address, at, bytes);
    proxy->ip_version = ipv6 ? 6 : 4;
    proxy->port = (uint16_t)(port[0] << 8 | port[1]);
    return SMTP_PROXY_GOOD;
}

/* An IPv4 address in IPv6's form (RFC 4291 2.5.5.2): so a balancer tells it whose socket is for both. */
static void unmap(struct smtp_proxy *proxy)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (proxy->ip_version != 6 || memcmp(proxy->address, mapped, sizeof mapped) != 0)
        return;
    proxy->ip_version = 4;
    memcpy(proxy->address, proxy->address + sizeof mapped, 4);
    memset(proxy->address + 4, 0, sizeof proxy->address - 4);
}

static enum smtp_proxy_status parse(struct span octets, struct smtp_proxy *proxy)
{
    *proxy = (struct smtp_proxy){.len = octets.len + 1};
    if (octets.len == 0)
        return SMTP_PROXY_MORE;
    if (is_like(octets, line_begins, sizeof line_begins))
        return octets.len < sizeof line_begins ? SMTP_PROXY_MORE : parse_line(octets, proxy);
    if (!is_like(octets, signature, sizeof signature))
        return octets.ptr[0] == signature[0] ? SMTP_PROXY_BAD : SMTP_PROXY_NONE;
    return parse_binary(octets, proxy);
}

enum smtp_proxy_status smtp_proxy_parse(struct span octets, struct smtp_proxy *proxy)
{
    enum smtp_proxy_status status = parse(octets, proxy);
    unmap(proxy);
    return status;
}
