/*
 * base/span - a view of octets that somebody else owns.
 *
 * Owner:  never the span. Each function that returns one says how long it lives.
 * Limits: ptr may be NULL only where len is 0. Not ended by NUL.
 */
#ifndef POSTERN_BASE_SPAN_H
#define POSTERN_BASE_SPAN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *ptr;
    size_t len; /* octets */
};

/* The first `count` octets, or all where there are fewer. */
static inline struct span span_head(struct span s, size_t count)
{
    return (struct span){s.ptr, count < s.len ? count : s.len};
}

/* What is left behind the first `count` octets; empty where there are fewer. */
static inline struct span span_tail(struct span s, size_t count)
{
    if (count > s.len)
        count = s.len;
    return (struct span){s.len ? s.ptr + count : s.ptr, s.len - count};
}

/* A view of a C string, without its NUL; lives as long as the string. */
static inline struct span span_of(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII only and without locale (RFC 5321 2.4: verbs and keywords are not case sensitive). */
static inline uint8_t ascii_upper(uint8_t octet)
{
    return octet >= 'a' && octet <= 'z' ? (uint8_t)(octet - 'a' + 'A') : octet;
}

static inline bool ascii_is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

static inline bool ascii_is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

/* A letter or a digit. */
static inline bool ascii_is_alnum(uint8_t octet)
{
    static const uint32_t bits[256 / 32] = {0, 0x03ff0000, 0x07fffffe, 0x07fffffe};
    return bits[octet / 32] >> octet % 32 & 1;
}

static inline bool span_begins(struct span s, const char *prefix)
{
    return span_equal(span_head(s, strlen(prefix)), span_of(prefix));
}

/* Equal but for the case of ASCII letters. */
static inline bool span_equal_nocase(struct span a, struct span b)
{
    if (a.len != b.len)
        return false;
    if (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0)
        return true; /* as most are written */
    for (size_t i = 0; i < a.len; i++)
        if (ascii_upper(a.ptr[i]) != ascii_upper(b.ptr[i]))
            return false;
    return true;
}

#endif
