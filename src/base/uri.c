#include "base/uri.h"

/* Behind the colon, and the slashes that follow it; 0 where there is none. */
static size_t scheme_end(struct span uri)
{
    const uint8_t *colon = uri.len ? memchr(uri.ptr, ':', uri.len) : NULL;
    size_t at = colon ? (size_t)(colon - uri.ptr) + 1 : 0;
    while (colon && at < uri.len && uri.ptr[at] == '/')
        at++;
    return at;
}

/* Where the octet stands for the last time; uri.len where it does not. */
static size_t find_last(struct span uri, char octet)
{
    const uint8_t *last = uri.len ? memrchr(uri.ptr, octet, uri.len) : NULL;
    return last ? (size_t)(last - uri.ptr) : uri.len;
}

/* HOST or HOST:PORT, with what may stand behind it; HOST is not empty. */
static bool is_one_place(struct span rest)
{
    size_t at = find_last(rest, ':') + 1;
    if (at > rest.len)
        return true;
    while (at < rest.len && rest.ptr[at] >= '0' && rest.ptr[at] <= '9')
        at++;
    return rest.ptr[0] != ':' && (at == rest.len || rest.ptr[at] == '/');
}

/* Of several, with commas between them, each. */
static bool is_place(struct span rest)
{
    for (;;) {
        const uint8_t *comma = rest.len ? memchr(rest.ptr, ',', rest.len) : NULL;
        size_t len = comma ? (size_t)(comma - rest.ptr) : rest.len;
        if (!is_one_place(span_head(rest, len)))
            return false;
        if (!comma)
            return true;
        rest = span_tail(rest, len + 1);
    }
}

static size_t put(char *out, size_t size, size_t len, struct span octets)
{
    octets = span_head(octets, size - 1 - len);
    if (octets.len)
        memcpy(out + len, octets.ptr, octets.len);
    return len + octets.len;
}

const char *uri_shown(const char *text, char *out, size_t size)
{
    struct span uri = span_of(text);
    size_t scheme = scheme_end(uri), at = find_last(uri, '@');
    struct span rest = span_tail(uri, scheme);
    bool hides = at < uri.len || !is_place(rest);
    if (at < scheme)
        scheme = 0; /* the colon is behind the password */
    size_t len = put(out, size, 0, span_head(uri, scheme));
    len = put(out, size, len, span_of(hides ? "..." : ""));
    len = put(out, size, len, hides ? span_tail(uri, at) : rest);
    out[len] = '\0';
    return out;
}
