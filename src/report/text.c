#include "report/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

#include "smtp/command.h"

/* Length of the UTF-8 sequence at the front (RFC 3629), 0 where there is none; control characters do not count. */
static size_t utf8_len(struct span s)
{
    uint8_t first = s.ptr[0];
    size_t len = first < 0x80                    ? 1
                 : first >= 0xc2 && first < 0xe0 ? 2
                 : first >= 0xe0 && first < 0xf0 ? 3
                 : first >= 0xf0 && first < 0xf5 ? 4
                                                 : 0;
    if (len == 0 || len > s.len)
        return 0;
    if (len == 1)
        return first >= 0x20 && first < 0x7f;
    for (size_t i = 1; i < len; i++)
        if ((s.ptr[i] & 0xc0) != 0x80)
            return 0;
    uint8_t second = s.ptr[1];
    bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
    bool surrogate = first == 0xed && second >= 0xa0;
    bool beyond = first == 0xf4 && second >= 0x90;
    bool control = first == 0xc2 && second < 0xa0;
    return overlong || surrogate || beyond || control ? 0 : len;
}

const char *text_escape(struct span octets, char *buffer, size_t size)
{
    struct span rest = smtp_line_text(octets);
    size_t at = 0;
    while (rest.len && size - at > 4) {
        size_t len = utf8_len(rest);
        if (len > 0) {
            memcpy(buffer + at, rest.ptr, len);
            at += len;
            rest = span_tail(rest, len);
        } else {
            at += (size_t)snprintf(buffer + at, size - at, "\\x%02x", rest.ptr[0]);
            rest = span_tail(rest, 1);
        }
    }
    buffer[at] = '\0';
    return buffer;
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
