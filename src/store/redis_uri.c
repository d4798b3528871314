#include "store/redis_uri.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/uri.h"

enum { PORT_SERVER = 6379, PORT_SENTINEL = 26379, PORT_MAX = 65535, DB_MAX = 1 << 20 };

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
static bool take_place(struct redis_place *place, struct span text, int port)
{
    bool bracket = text.len > 0 && text.ptr[0] == '[';
    size_t end = find_octet(text, bracket ? ']' : ':');
    struct span host = span_head(text, end), rest = span_tail(text, end);
    place->port = port;
    if (bracket) {
        host = span_tail(host, 1);
        if (rest.len == 0)
            return false;
        rest = span_tail(rest, 1);
    }
    if (host.len == 0 || !copy_word(host, place->host, sizeof place->host))
        return false;
    if (rest.len == 0)
        return true;
    return rest.ptr[0] == ':' && copy_number(span_tail(rest, 1), PORT_MAX, &place->port) && place->port > 0;
}

/* Places with commas between them. */
static bool take_places(struct redis_uri *uri, struct span text, int port)
{
    for (bool more = true; more; uri->place_count++) {
        size_t comma = find_octet(text, ',');
        more = comma < text.len;
        if (uri->place_count == REDIS_PLACES_MAX ||
            !take_place(&uri->places[uri->place_count], span_head(text, comma), port))
            return false;
        text = span_tail(text, comma + 1);
    }
    return true;
}

/* [USER]:PASSWORD@ where there is one; what follows stays in *text. A password may have an @; so may the path of a
   socket, which begins with a slash. */
static bool take_user(struct redis_uri *uri, bool is_path, struct span *text)
{
    size_t at = text->len;
    for (size_t i = 0; i < text->len && !(is_path && text->ptr[0] == '/'); i++)
        if (text->ptr[i] == '@' && (!is_path || (i + 1 < text->len && text->ptr[i + 1] == '/')))
            at = i;
    if (at == text->len)
        return true;
    struct span who = span_head(*text, at);
    size_t colon = find_octet(who, ':');
    *text = span_tail(*text, at + 1);
    return colon < who.len && copy_word(span_head(who, colon), uri->user, sizeof uri->user) &&
           copy_word(span_tail(who, colon + 1), uri->password, sizeof uri->password);
}

static bool take_db(struct redis_uri *uri, struct span db)
{
    return db.len == 0 || copy_number(db, DB_MAX, &uri->db);
}

static bool take_servers(struct redis_uri *uri, struct span text)
{
    size_t slash = find_octet(text, '/');
    return take_places(uri, span_head(text, slash), PORT_SERVER) && take_db(uri, span_tail(text, slash + 1));
}

static bool take_sentinels(struct redis_uri *uri, struct span text)
{
    size_t slash = find_octet(text, '/');
    struct span master = span_tail(text, slash + 1);
    size_t end = find_octet(master, '/');
    return take_places(uri, span_head(text, slash), PORT_SENTINEL) && end > 0 && master.len > 0 &&
           copy_word(span_head(master, end), uri->master, sizeof uri->master) &&
           take_db(uri, span_tail(master, end + 1));
}

static bool take_socket(struct redis_uri *uri, struct span text)
{
    static const char query[] = "?db=";
    size_t mark = find_octet(text, '?');
    struct span db = span_tail(text, mark);
    uri->place_count = 1;
    if (mark < 2 || text.ptr[0] != '/' ||
        !copy_word(span_head(text, mark), uri->places[0].host, sizeof uri->places[0].host))
        return false;
    return db.len == 0 || (span_equal(span_head(db, sizeof query - 1), span_of(query)) &&
                           copy_number(span_tail(db, sizeof query - 1), DB_MAX, &uri->db));
}

/* What is written behind "redis" and before the rest. */
static const struct way {
    const char *begin;
    bool tls, is_path;
    bool (*take)(struct redis_uri *uri, struct span text);
    const char *advice;
} ways[] = {
    {"://", false, false, take_servers, "redis://[:PASSWORD@]HOST[:PORT][/DB], with commas between several hosts"},
    {"s://", true, false, take_servers, "rediss://[:PASSWORD@]HOST[:PORT][/DB], with commas between several hosts"},
    {"+unix://", false, true, take_socket, "redis+unix://[:PASSWORD@]/PATH[?db=DB]"},
    {"+sentinel://", false, false, take_sentinels, "redis+sentinel://[:PASSWORD@]HOST[:PORT][,HOST...]/MASTER[/DB]"},
    {"s+sentinel://", true, false, take_sentinels, "rediss+sentinel://[:PASSWORD@]HOST[:PORT][,HOST...]/MASTER[/DB]"},
};

/* As in messages before there were several: hosts in brackets without them. */
static void make_name(struct redis_uri *uri, const struct way *way)
{
    size_t len = (size_t)snprintf(uri->name, sizeof uri->name, "redis%s", way->begin);
    if (way->is_path) {
        snprintf(uri->name + len, sizeof uri->name - len, "%.200s?db=%d", uri->places[0].host, uri->db);
        return;
    }
    for (unsigned i = 0; i < uri->place_count && len < 200; i++)
        len += (size_t)snprintf(uri->name + len, sizeof uri->name - len, "%s%.180s:%d", i ? "," : "",
                                uri->places[i].host, uri->places[i].port);
    if (len < sizeof uri->name)
        snprintf(uri->name + len, sizeof uri->name - len, "%s%.60s/%d", *uri->master ? "/" : "", uri->master, uri->db);
}

bool redis_uri_parse(struct redis_uri *uri, const char *rest, char *message, size_t size)
{
    const struct way *way = NULL;
    *uri = (struct redis_uri){0};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0] && !way; i++)
        if (strncmp(rest, ways[i].begin, strlen(ways[i].begin)) == 0)
            way = &ways[i];
    if (way) {
        struct span text = span_of(rest + strlen(way->begin));
        uri->tls = way->tls;
        if (take_user(uri, way->is_path, &text) && way->take(uri, text)) {
            make_name(uri, way);
            return true;
        }
    }
    char whole[512], shown[200];
    snprintf(whole, sizeof whole, "redis%s", rest);
    snprintf(message, size, "%s: not understood; write %s", uri_shown(whole, shown, sizeof shown),
             way ? way->advice : ways[0].advice);
    return false;
}
