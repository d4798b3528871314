#include "store/redis_uri.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/uri.h"

enum { PORT_DEFAULT = 6379, PORT_MAX = 65535, DB_MAX = 1 << 20 };

/* With %XX decoded; an octet of 0 ends no text here. */
static bool copy_word(struct span word, char *out, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < word.len; i++) {
        uint8_t octet = word.ptr[i];
        if (octet == '%') {
            int high = word.len - i > 2 ? hex_digit_any(word.ptr[i + 1]) : -1;
            int low = word.len - i > 2 ? hex_digit_any(word.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            octet = (uint8_t)(high << 4 | low);
            i += 2;
        }
        if (octet == 0 || len + 1 >= size)
            return false;
        out[len++] = (char)octet;
    }
    out[len] = '\0';
    return true;
}

static bool copy_number(struct span digits, int most, int *number)
{
    *number = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        *number = *number * 10 + digits.ptr[i] - '0';
        if (*number > most)
            return false;
    }
    return digits.len > 0;
}

static size_t find_octet(struct span text, char octet)
{
    const uint8_t *at = text.len ? memchr(text.ptr, octet, text.len) : NULL;
    return at ? (size_t)(at - text.ptr) : text.len;
}

/* HOST[:PORT] or [HOST][:PORT] */
static bool take_place(struct redis_uri *uri, struct span place)
{
    bool bracket = place.len > 0 && place.ptr[0] == '[';
    size_t end = find_octet(place, bracket ? ']' : ':');
    struct span host = span_head(place, end), rest = span_tail(place, end);
    if (bracket) {
        host = span_tail(host, 1);
        if (rest.len == 0)
            return false;
        rest = span_tail(rest, 1);
    }
    if (host.len == 0 || !copy_word(host, uri->host, sizeof uri->host))
        return false;
    if (rest.len == 0)
        return true;
    return rest.ptr[0] == ':' && copy_number(span_tail(rest, 1), PORT_MAX, &uri->port) && uri->port > 0;
}

bool redis_uri_parse(struct redis_uri *uri, const char *rest, char *message, size_t size)
{
    struct span text = span_of(rest);
    *uri = (struct redis_uri){.port = PORT_DEFAULT};
    size_t at = text.len; /* of the last @: a password may have others */
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] == '@')
            at = i;
    bool good = true;
    if (at < text.len) {
        struct span who = span_head(text, at);
        size_t colon = find_octet(who, ':');
        good = colon < who.len && copy_word(span_head(who, colon), uri->user, sizeof uri->user) &&
               copy_word(span_tail(who, colon + 1), uri->password, sizeof uri->password);
        text = span_tail(text, at + 1);
    }
    size_t slash = find_octet(text, '/');
    struct span db = span_tail(text, slash + 1);
    good = good && take_place(uri, span_head(text, slash)) && (db.len == 0 || copy_number(db, DB_MAX, &uri->db));
    if (!good) {
        char whole[512], shown[200];
        snprintf(whole, sizeof whole, "redis://%s", rest);
        snprintf(message, size, "%s: not understood; write redis://[:PASSWORD@]HOST[:PORT][/DB]",
                 uri_shown(whole, shown, sizeof shown));
        return false;
    }
    snprintf(uri->name, sizeof uri->name, "redis://%.200s:%d/%d", uri->host, uri->port, uri->db);
    return true;
}
