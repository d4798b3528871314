/*
 * base/hex - octets as two hexadecimal digits each, the high one first, in lower case.
 */
#ifndef POSTERN_BASE_HEX_H
#define POSTERN_BASE_HEX_H

#include "base/span.h"

/* 2 * `len` digits into `text`, without an end. */
static inline void hex_write(const uint8_t *octets, size_t len, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[octets[i] >> 4];
        text[2 * i + 1] = digits[octets[i] & 15];
    }
}

/* The value of a digit in lower case; -1 of anything else. */
static inline int hex_digit(uint8_t octet)
{
    if (octet >= '0' && octet <= '9')
        return octet - '0';
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

/* The value of a digit in either case. */
static inline int hex_digit_any(uint8_t octet)
{
    return hex_digit(octet >= 'A' && octet <= 'F' ? (uint8_t)(octet - 'A' + 'a') : octet);
}

/* Back; false where the text is something else than `len` octets in lower case. */
static inline bool hex_read(struct span text, uint8_t *octets, size_t len)
{
    if (text.len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text.ptr[2 * i]), low = hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        octets[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

#endif
