#include "smtp/path.h"

static struct span skip_blanks(struct span s)
{
    while (s.len && ascii_is_blank(s.ptr[0]))
        s = span_tail(s, 1);
    return s;
}

/*
 * Octets before the first `stop` that is not quoted (RFC 5321 4.1.2: quoted-string); s.len where there is none, and
 * where a quoted string does not end. A `stop` of ' ' stands for a TAB, too.
 */
static size_t before(struct span s, uint8_t stop)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t octet = s.ptr[i];
        if (quoted && octet == '\\')
            i++;
        else if (octet == '"')
            quoted = !quoted;
        else if (!quoted && (octet == stop || (stop == ' ' && octet == '\t')))
            return i;
    }
    return s.len;
}

static size_t last_at(struct span s)
{
    size_t found = s.len;
    for (size_t from = 0; from < s.len;) {
        size_t at = from + before(span_tail(s, from), '@');
        if (at == s.len)
            break;
        found = at;
        from = at + 1;
    }
    return found;
}

/* Controls, brackets and comments outside a quoted string: servers differ about what is the address then. */
static bool is_plain(struct span s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t octet = s.ptr[i];
        if (octet < ' ' || octet == 0x7f)
            return false;
        if (quoted && octet == '\\') {
            i++;
        } else if (octet == '"') {
            quoted = !quoted;
        } else if (!quoted && (octet == '<' || octet == '>' || octet == '(' || octet == ')' || octet == ' ')) {
            return false;
        }
    }
    return !quoted;
}

/*
 * RFC 5321 4.1.2: esmtp-keyword ["=" esmtp-value]. What has another form may be an address to a server: of
 * `postmaster <victim@example.net>` some take the one, some the other.
 */
static bool are_parameters(struct span s)
{
    while (s.len) {
        struct span word = span_head(s, before(s, ' '));
        size_t name = 0;
        while (name < word.len && (ascii_is_alnum(word.ptr[name]) || word.ptr[name] == '-'))
            name++;
        if (name == 0 || (name < word.len && word.ptr[name] != '='))
            return false;
        s = skip_blanks(span_tail(s, word.len));
    }
    return true;
}

struct smtp_path smtp_path_parse(struct span argument)
{
    struct smtp_path path = {0};
    size_t colon = before(argument, ':');
    if (colon == argument.len)
        return path;
    struct span rest = skip_blanks(span_tail(argument, colon + 1));
    bool bracketed = rest.len && rest.ptr[0] == '<';
    if (bracketed)
        rest = span_tail(rest, 1);
    size_t len = before(rest, bracketed ? '>' : ' ');
    struct span inside = span_head(rest, len);
    if ((bracketed ? len == rest.len : len == 0) || !is_plain(inside))
        return path;
    rest = span_tail(rest, len + bracketed);
    if ((rest.len && !ascii_is_blank(rest.ptr[0])) || !are_parameters(skip_blanks(rest)))
        return path;

    path.good = true;
    path.inside = inside;
    path.parameters = skip_blanks(rest);
    path.mailbox = inside;
    if (inside.len && inside.ptr[0] == '@') {
        size_t route = before(inside, ':');
        path.mailbox = route < inside.len ? span_tail(inside, route + 1) : inside;
    }
    size_t at = last_at(path.mailbox);
    path.local = span_head(path.mailbox, at);
    path.domain = span_tail(path.mailbox, at < path.mailbox.len ? at + 1 : at);
    return path;
}

struct span smtp_path_plain(const struct smtp_path *path, uint8_t *out, size_t room)
{
    struct span local = path->local, whole = path->mailbox;
    if (whole.len > room || local.len < 2 || local.ptr[0] != '"')
        return whole;
    size_t len = 0;
    for (size_t i = 0; i < local.len; i++) {
        if (local.ptr[i] == '"')
            continue;
        if (local.ptr[i] == '\\' && i + 1 < local.len)
            i++;
        out[len++] = local.ptr[i];
    }
    struct span rest = span_tail(whole, local.len);
    if (rest.len)
        memcpy(out + len, rest.ptr, rest.len);
    return (struct span){out, len + rest.len};
}

struct span smtp_path_address(struct span argument, uint8_t *plain, size_t room)
{
    struct smtp_path path = smtp_path_parse(argument);
    return path.good ? smtp_path_plain(&path, plain, room) : argument;
}
