#include "greylist/keep.h"

#include <arpa/inet.h>
#include <stdio.h>

static_assert(STORE_KEY_BYTES == GREYLIST_KEY_BYTES, "a store's keys are the greylist's");
static_assert(STORE_VALUE_BYTES == GREYLIST_VALUE_BYTES, "and so are its values");
static_assert(STORE_SECRET_BYTES == GREYLIST_SECRET_BYTES, "and its secret");

struct store_key keep_key(const struct keeper *keeper, enum greylist_kind kind, const struct greylist_attempt *attempt)
{
    struct greylist_key made = greylist_key(keeper->settings, keeper->secret, kind, attempt);
    struct store_key key;
    memcpy(key.octets, made.octets, sizeof key.octets);
    return key;
}

void keep_keys(const struct keeper *keeper, uint32_t kinds, const struct greylist_attempt *attempt,
               struct greylist_parts *parts, struct store_key keys[GREYLIST_KINDS])
{
    struct greylist_key made[GREYLIST_KINDS];
    greylist_keys(keeper->settings, keeper->secret, kinds, attempt, parts, made);
    for (uint32_t rest = kinds; rest; rest &= rest - 1) {
        uint32_t kind = (uint32_t)__builtin_ctz(rest);
        memcpy(keys[kind].octets, made[kind].octets, sizeof keys[kind].octets);
    }
}

/* 0 is no time, and none lies before 1970. */
static void shift(int64_t *time_ms, int64_t by_s)
{
    if (*time_ms)
        *time_ms = *time_ms + by_s * 1000 > 0 ? *time_ms + by_s * 1000 : 1;
}

static void shift_times(struct greylist_record *record, int64_t by_s)
{
    shift(&record->first_ms, by_s);
    shift(&record->last_ms, by_s);
    shift(&record->waited_until_ms, by_s);
}

struct store_record keep_record(const struct keeper *keeper, enum greylist_kind kind,
                                const struct greylist_record *record)
{
    struct greylist_record own = *record;
    struct store_record kept = {
        .kind = (uint8_t)kind,
        .len = GREYLIST_VALUE_BYTES,
        .expires_s = greylist_expires_s(keeper->settings, kind, record),
    };
    if (keeper->lag_s)
        shift_times(&own, -keeper->lag_s);
    greylist_encode(&own, kept.value);
    return kept;
}

bool keep_read_record(const struct keeper *keeper, const struct store_record *kept, struct greylist_record *record)
{
    if (kept->kind >= GREYLIST_KINDS || !greylist_decode((struct span){kept->value, kept->len}, record))
        return false;
    if (keeper->lag_s)
        shift_times(record, keeper->lag_s);
    return true;
}

void keep_put(const struct keeper *keeper, enum greylist_kind kind, const struct store_key *key,
              const struct greylist_attempt *attempt, const struct greylist_record *record)
{
    struct store_record kept = keep_record(keeper, kind, record);
    char text[STORE_TEXT_BYTES_MAX];
    if (keeper->clear_text || greylist_is_ruling(kind))
        store_put_text(keeper->client, key, &kept, keep_text(keeper->settings, kind, attempt, text));
    else
        store_put(keeper->client, key, &kept);
}

/* ---- networks ---- */

const char *keep_network(uint8_t ip_version, const uint8_t *client, uint8_t prefix, char text[KEEP_NETWORK_BYTES])
{
    char address[INET6_ADDRSTRLEN];
    struct network network = network_of(ip_version, client, prefix);
    inet_ntop(ip_version == 4 ? AF_INET : AF_INET6, network.address + 1, address, sizeof address);
    snprintf(text, KEEP_NETWORK_BYTES, "%s/%u", address, prefix);
    return text;
}

static bool read_bits(struct span text, unsigned most, uint8_t *bits)
{
    unsigned value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || value > most)
            return false;
        value = 10 * value + (text.ptr[i] - '0');
    }
    *bits = (uint8_t)value;
    return text.len > 0 && value <= most;
}

/* RFC 4291 2.5.5.2: on a wire it is an IPv4 address; mail servers that listen on IPv6 write it so into their logs. */
static bool unmap(uint8_t *ip_version, uint8_t client[16], uint8_t *prefix)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (*ip_version == 4 || memcmp(client, mapped, sizeof mapped) != 0)
        return true;
    if (*prefix < 96)
        return false;
    *ip_version = 4;
    *prefix -= 96;
    memmove(client, client + 12, 4);
    memset(client + 4, 0, 12);
    return true;
}

bool keep_read_network(struct span text, uint8_t *ip_version, uint8_t client[16], uint8_t *prefix)
{
    char address[INET6_ADDRSTRLEN];
    const uint8_t *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
    struct span head = slash ? span_head(text, (size_t)(slash - text.ptr)) : text;
    if (head.len == 0 || head.len >= sizeof address || memchr(head.ptr, '\0', head.len))
        return false;
    memcpy(address, head.ptr, head.len);
    address[head.len] = '\0';
    memset(client, 0, 16);
    *ip_version = memchr(head.ptr, ':', head.len) ? 6 : 4;
    if (inet_pton(*ip_version == 4 ? AF_INET : AF_INET6, address, client) != 1)
        return false;
    unsigned most = *ip_version == 4 ? 32 : 128;
    *prefix = (uint8_t)most;
    return (!slash || read_bits(span_tail(text, head.len + 1), most, prefix)) && unmap(ip_version, client, prefix);
}

/* ---- texts ---- */

enum part { PART_NETWORK, PART_HELO, PART_SENDER, PART_RECIPIENT, PARTS };

/* Which parts a kind is about: bits 1u << enum part. */
static unsigned parts_of(enum greylist_kind kind)
{
    static const uint8_t parts[GREYLIST_KINDS] = {
        [GREYLIST_TRIPLET] = 1u << PART_NETWORK | 1u << PART_SENDER | 1u << PART_RECIPIENT,
        [GREYLIST_POOL] = 1u << PART_HELO | 1u << PART_SENDER | 1u << PART_RECIPIENT,
        [GREYLIST_TLS] = 1u << PART_NETWORK | 1u << PART_HELO,
        [GREYLIST_CLIENT] = 1u << PART_NETWORK,
        [GREYLIST_ANSWER_ADDRESS] = 1u << PART_SENDER | 1u << PART_RECIPIENT,
        [GREYLIST_ANSWER_NETWORK] = 1u << PART_NETWORK | 1u << PART_RECIPIENT,
        [GREYLIST_RULED_HOST] = 1u << PART_NETWORK,
        [GREYLIST_RULED_NETWORK] = 1u << PART_NETWORK,
        [GREYLIST_RULED_SITE] = 1u << PART_NETWORK,
        [GREYLIST_RULED_BLOCK] = 1u << PART_NETWORK,
        [GREYLIST_RULED_SENDER] = 1u << PART_SENDER,
        [GREYLIST_RULED_SENDER_DOMAIN] = 1u << PART_SENDER,
        [GREYLIST_RULED_RECIPIENT] = 1u << PART_RECIPIENT,
        [GREYLIST_RULED_RECIPIENT_DOMAIN] = 1u << PART_RECIPIENT,
        [GREYLIST_RULED_MAIL] = 1u << PART_SENDER | 1u << PART_RECIPIENT,
    };
    return parts[kind];
}

static size_t add_part(char text[STORE_TEXT_BYTES_MAX], size_t used, struct span part)
{
    part = span_head(part, STORE_TEXT_BYTES_MAX - used);
    if (part.len)
        memcpy(text + used, part.ptr, part.len);
    return used + part.len;
}

struct span keep_text(const struct greylist_settings *settings, enum greylist_kind kind,
                      const struct greylist_attempt *attempt, char text[STORE_TEXT_BYTES_MAX])
{
    char network[KEEP_NETWORK_BYTES] = "";
    unsigned parts = parts_of(kind);
    if (parts & 1u << PART_NETWORK)
        keep_network(attempt->ip_version, attempt->client, greylist_prefix(settings, kind, attempt->ip_version),
                     network);
    const struct span all[PARTS] = {span_of(network), attempt->helo, attempt->sender, attempt->recipient};
    size_t used = 0;
    for (unsigned i = 0; i < PARTS; i++) {
        if (!(parts >> i & 1) || all[i].len == 0)
            continue;
        if (used)
            used = add_part(text, used, span_of("\t"));
        used = add_part(text, used, all[i]);
    }
    if (greylist_is_ruling(kind) && attempt->comment.len) {
        used = add_part(text, used, span_of(KEEP_COMMENT));
        used = add_part(text, used, attempt->comment);
    }
    return (struct span){(const uint8_t *)text, used};
}

/* Up to the first TAB, and what is behind it. */
static struct span take_first(struct span *rest)
{
    const uint8_t *tab = rest->len ? memchr(rest->ptr, '\t', rest->len) : NULL;
    struct span part = tab ? span_head(*rest, (size_t)(tab - rest->ptr)) : *rest;
    *rest = span_tail(*rest, part.len + 1);
    return part;
}

/* Behind the last TAB, and what is before it: a sender may have a TAB in it. */
static struct span take_last(struct span *rest)
{
    size_t at = rest->len;
    while (at > 0 && rest->ptr[at - 1] != '\t')
        at--;
    struct span part = span_tail(*rest, at);
    *rest = span_head(*rest, at ? at - 1 : 0);
    return part;
}

/* What is said of a ruling, and the text without it: no address that is ruled about has a TAB. */
static struct span take_comment(struct span *text)
{
    const size_t mark = sizeof KEEP_COMMENT - 1;
    const uint8_t *at = text->len ? memmem(text->ptr, text->len, KEEP_COMMENT, mark) : NULL;
    if (!at)
        return (struct span){0};
    struct span comment = span_tail(*text, (size_t)(at - text->ptr) + mark);
    *text = span_head(*text, (size_t)(at - text->ptr));
    return comment;
}

struct keep_about keep_read_text(enum greylist_kind kind, struct span text)
{
    struct keep_about about = {0};
    unsigned parts = kind < GREYLIST_KINDS ? parts_of(kind) : 0;
    if (kind < GREYLIST_KINDS && greylist_is_ruling(kind))
        about.comment = take_comment(&text);
    if (parts & 1u << PART_NETWORK)
        about.network = take_first(&text);
    if (parts & 1u << PART_HELO)
        about.helo = take_first(&text);
    if (parts & 1u << PART_RECIPIENT)
        about.recipient = take_last(&text);
    if (parts & 1u << PART_SENDER)
        about.sender = text;
    return about;
}

bool keep_read_attempt(const struct greylist_settings *settings, enum greylist_kind kind,
                       const struct keep_about *about, struct greylist_attempt *attempt)
{
    uint8_t prefix;
    unsigned parts = parts_of(kind);
    *attempt = (struct greylist_attempt){
        .ip_version = 4,
        .helo = about->helo,
        .sender = about->sender,
        .recipient = about->recipient,
        .comment = span_head(about->comment, KEEP_COMMENT_BYTES_MAX),
        .tls = kind == GREYLIST_TLS,
    };
    if (parts & 1u << PART_NETWORK &&
        (!keep_read_network(about->network, &attempt->ip_version, attempt->client, &prefix) ||
         prefix != greylist_prefix(settings, kind, attempt->ip_version)))
        return false;
    bool null_sender = kind == GREYLIST_TRIPLET || kind == GREYLIST_POOL || kind == GREYLIST_RULED_MAIL;
    return (!(parts & 1u << PART_SENDER) || about->sender.len || null_sender) &&
           (!(parts & 1u << PART_RECIPIENT) || about->recipient.len) && (kind != GREYLIST_POOL || about->helo.len) &&
           about->helo.len <= GREYLIST_ADDRESS_BYTES_MAX && about->sender.len <= GREYLIST_ADDRESS_BYTES_MAX &&
           about->recipient.len <= GREYLIST_ADDRESS_BYTES_MAX;
}
