#include "report/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

#include "smtp/command.h"

/* The code point of a well-formed UTF-8 sequence of `len` octets. */
static uint32_t code_point(const uint8_t *octets, size_t len)
{
    uint32_t point = len == 1 ? octets[0] : octets[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        point = point << 6 | (octets[i] & 0x3fu);
    return point;
}

/* Control characters, what ends a line or turns the direction of writing (UAX 9), and the escape itself. */
static bool acts(uint32_t point)
{
    bool control = point < 0x20 || (point >= 0x7f && point < 0xa0);
    bool line_end = point == 0x2028 || point == 0x2029;
    bool direction = point == 0x61c || point == 0x200e || point == 0x200f || (point >= 0x202a && point <= 0x202e) ||
                     (point >= 0x2066 && point <= 0x2069);
    return control || line_end || direction || point == '\\' || point == 0xfeff;
}

/* Length of the UTF-8 sequence at the front (RFC 3629) that may be shown as it is; 0 where there is none. */
static size_t shown_len(struct span s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* shorter sequences hold what is below */
    uint8_t first = s.ptr[0];
    size_t len = first < 0x80 ? 1 : first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    if (len == 0 || len > s.len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s.ptr[i] & 0xc0) != 0x80)
            return 0;
    uint32_t point = code_point(s.ptr, len);
    bool surrogate = point >= 0xd800 && point < 0xe000;
    return point < least[len] || point > 0x10ffff || surrogate || acts(point) ? 0 : len;
}

/* `more`: what is given is not all. */
static const char *escape(struct span rest, bool more, char *buffer, size_t size)
{
    static const char mark[] = "\\...";
    size_t at = 0;
    while (rest.len && size - at >= 4 + sizeof mark) {
        size_t len = shown_len(rest);
        if (len > 0)
            memcpy(buffer + at, rest.ptr, len);
        else
            (void)snprintf(buffer + at, size - at, "\\x%02x", rest.ptr[0]);
        at += len ? len : 4;
        rest = span_tail(rest, len ? len : 1);
    }
    (void)snprintf(buffer + at, size - at, "%s", rest.len || more ? mark : "");
    return buffer;
}

const char *text_escape(struct span octets, char *buffer, size_t size)
{
    return escape(smtp_line_text(octets), false, buffer, size);
}

const char *text_escape_line(struct span line, char *buffer, size_t size)
{
    bool whole = line.len && line.ptr[line.len - 1] == '\n';
    return escape(smtp_line_text(line), !whole, buffer, size);
}

const char *text_address(const struct event_endpoint *end, uint8_t ip_version, char *buffer)
{
    if (!inet_ntop(ip_version == 4 ? AF_INET : AF_INET6, end->address, buffer, TEXT_ADDRESS_BYTES))
        buffer[0] = '\0';
    return buffer;
}

const char *text_time(int64_t time_us, char *buffer)
{
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm parts;
    size_t len = gmtime_r(&seconds, &parts) ? strftime(buffer, TEXT_TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &parts) : 0;
    snprintf(buffer + len, TEXT_TIME_BYTES - len, ".%06d+0000", (int)(time_us % 1000000));
    return buffer;
}
