#include "smtp/tls.h"

#include "base/octets.h"

enum record_type { RECORD_CHANGE_CIPHER = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

enum message_type { MESSAGE_CLIENT_HELLO = 1, MESSAGE_SERVER_HELLO = 2, MESSAGE_CERTIFICATE = 11 };

enum { RECORD_BYTES_MAX = 16384 + 2048, ALERT_WARNING = 1, ALERT_FATAL = 2 };

void tls_begin(struct tls *tls)
{
    memset(tls, 0, offsetof(struct tls, message));
}

/* TLS 1.3, or a draft of it: what follows the ServerHello is encrypted. */
static bool hides(const struct tls_seen *seen)
{
    return seen->version >= TLS_1_3;
}

bool tls_is_over(const struct tls *tls)
{
    const struct tls_side *client = &tls->sides[false], *server = &tls->sides[true];
    if (!server->over || client->over)
        return server->over;
    return !tls->seen.server_hello && tls->seen.client_hello; /* what the client goes on with says nothing more */
}

/* ---- handshake messages ---- */

static bool is_wanted(const struct tls *tls, bool from_server, uint8_t type)
{
    const struct tls_seen *seen = &tls->seen;
    if (!from_server)
        return type == MESSAGE_CLIENT_HELLO && !seen->client_hello;
    if (type == MESSAGE_SERVER_HELLO)
        return !seen->server_hello;
    return type == MESSAGE_CERTIFICATE && seen->server_hello && !hides(seen) && !seen->certificate.present;
}

/* The first certificate of the server's list (RFC 5246 7.4.2), where all of it was gathered. */
static void take_certificates(struct tls *tls)
{
    enum { HEAD = 6 }; /* lengths of the list, and of its first one */
    struct span list = {tls->message, tls->message_len};
    if (list.len < HEAD)
        return;
    size_t len = load_be32(list.ptr + 2) & 0xffffff;
    struct span first = span_tail(list, HEAD);
    if (len > 0 && len <= first.len)
        (void)tls_certificate_read(span_head(first, len), &tls->seen.certificate);
}

static void take_message(struct tls *tls, bool from_server, uint8_t type)
{
    struct tls_side *side = &tls->sides[from_server];
    struct span body = {tls->message, tls->message_len};
    if (type == MESSAGE_CERTIFICATE) {
        take_certificates(tls);
    } else if (!from_server) {
        side->over = !tls_hello_client(body, &tls->seen, &tls->session);
    } else {
        side->over =
            !tls_hello_server(body, &tls->seen, &tls->session) || (hides(&tls->seen) && tls->seen.server_hello);
        tls->seen.finished[true] = side->over && tls->seen.server_hello;
    }
}

/* A message begins: its type and length are known. */
static void begin_message(struct tls *tls, bool from_server)
{
    struct tls_side *side = &tls->sides[from_server];
    uint8_t type = side->message_head[0];
    side->message_left = load_be32(side->message_head) & 0xffffff;
    if (!is_wanted(tls, from_server, type))
        return;
    /* Whoever answers a hello has read it: one that still comes was not the one. */
    if (from_server && !tls->seen.client_hello)
        tls->sides[false].over = true;
    if (type != MESSAGE_CERTIFICATE && side->message_left > TLS_MESSAGE_BYTES)
        side->over = true;
    tls->message_len = 0;
}

/* Octets of records of the type handshake: messages may be cut into records, and several be in one (RFC 8446 5.1). */
static void take_handshake(struct tls *tls, bool from_server, struct span octets)
{
    struct tls_side *side = &tls->sides[from_server];
    while (octets.len && !side->over) {
        if (side->message_head_len < sizeof side->message_head) {
            side->message_head[side->message_head_len++] = octets.ptr[0];
            octets = span_tail(octets, 1);
            if (side->message_head_len < sizeof side->message_head)
                continue;
            begin_message(tls, from_server);
        }
        bool wanted = is_wanted(tls, from_server, side->message_head[0]);
        struct span part = span_head(octets, side->message_left);
        struct span kept = span_head(part, wanted ? (size_t)(TLS_MESSAGE_BYTES - tls->message_len) : 0);
        if (kept.len)
            memcpy(tls->message + tls->message_len, kept.ptr, kept.len);
        tls->message_len = (uint16_t)(tls->message_len + kept.len);
        side->message_left -= (uint32_t)part.len;
        octets = span_tail(octets, part.len);
        if (side->message_left > 0 || side->over)
            continue;
        side->message_head_len = 0;
        if (wanted)
            take_message(tls, from_server, side->message_head[0]);
    }
}

/* ---- records ---- */

static void take_alert(struct tls *tls, bool from_server, struct span octets)
{
    struct tls_side *side = &tls->sides[from_server];
    for (; octets.len && !side->over; octets = span_tail(octets, 1)) {
        side->alert[side->alert_len++] = octets.ptr[0];
        if (side->alert_len < sizeof side->alert)
            continue;
        side->alert_len = 0;
        bool known = side->alert[0] == ALERT_WARNING || side->alert[0] == ALERT_FATAL;
        if (known)
            tls->seen.alert = (struct tls_alert){side->alert[0], side->alert[1], from_server};
        side->over = !known;
        if (known && tls_failed(&tls->seen))
            tls->sides[false].over = tls->sides[true].over = true;
    }
}

/* A record begins. False where no more of this side is read. */
static bool begin_record(struct tls *tls, bool from_server)
{
    struct tls_side *side = &tls->sides[from_server];
    const struct tls_seen *seen = &tls->seen;
    side->record_type = side->head[0];
    side->record_left = load_be16(side->head + 3);
    if (side->head[1] != 3 || side->record_left > RECORD_BYTES_MAX)
        return false;
    switch (side->record_type) {
    case RECORD_HANDSHAKE:
    case RECORD_ALERT:
        return true;
    case RECORD_CHANGE_CIPHER:
        if (hides(seen) || (!from_server && !seen->server_hello)) {
            /* It has no meaning in TLS 1.3 (RFC 8446 D.4), but shows that the client goes on. */
            tls->seen.finished[from_server] = tls->seen.finished[from_server] || seen->server_hello;
            return from_server || !seen->server_hello;
        }
        tls->seen.finished[from_server] = seen->server_hello;
        return false;
    case RECORD_DATA:
        tls->seen.finished[from_server] = tls->seen.finished[from_server] || (hides(seen) && seen->server_hello);
        /* Before the ServerHello a client may send early data (RFC 8446 4.2.10). */
        return !from_server && seen->client_hello && !seen->server_hello;
    default:
        return false;
    }
}

static void take_content(struct tls *tls, bool from_server, struct span octets)
{
    uint8_t type = tls->sides[from_server].record_type;
    if (type == RECORD_HANDSHAKE)
        take_handshake(tls, from_server, octets);
    else if (type == RECORD_ALERT)
        take_alert(tls, from_server, octets);
}

static void take_octets(struct tls *tls, bool from_server, struct span octets)
{
    struct tls_side *side = &tls->sides[from_server];
    while (octets.len && !side->over) {
        struct span part = span_head(octets, side->record_left);
        if (side->record_left == 0) {
            side->head[side->head_len++] = octets.ptr[0];
            part.len = 1;
            if (side->head_len == sizeof side->head) {
                side->head_len = 0;
                side->over = !begin_record(tls, from_server);
            }
        } else {
            side->record_left = (uint16_t)(side->record_left - part.len);
            take_content(tls, from_server, part);
        }
        octets = span_tail(octets, part.len);
    }
}

void tls_take(struct tls *tls, bool from_server, struct span octets)
{
    struct tls_side *side = &tls->sides[from_server];
    struct span within = span_head(octets, TLS_OCTETS_MAX - side->octets);
    take_octets(tls, from_server, within);
    side->octets += (uint32_t)within.len;
    if (within.len < octets.len)
        tls->sides[false].over = tls->sides[true].over = true; /* nobody says so much before its end */
}
