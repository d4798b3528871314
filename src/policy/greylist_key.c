/* What counts as the same sender, and the keys that are made of it. */
#include "base/octets.h"
#include "base/siphash.h"
#include "policy/greylist.h"

enum { HEX_TOKEN_MIN = 8 };

/* ---- characters ---- */

static uint8_t lower(uint8_t octet)
{
    return octet >= 'A' && octet <= 'Z' ? (uint8_t)(octet - 'A' + 'a') : octet;
}

/* Eight at once: octets are compared below their highest bit, which those of 'A' to 'Z' do not have. */
static uint64_t lower_word(uint64_t word)
{
    const uint64_t each = UINT64_C(0x0101010101010101), high = 0x80 * each;
    uint64_t low = word & ~high;
    uint64_t from_a = low + (0x80 - 'A') * each, behind_z = low + (0x80 - 'Z' - 1) * each;
    return word | (from_a & ~behind_z & ~word & high) >> 2;
}

static void put_lower(uint8_t *to, struct span text)
{
    uint64_t word;
    size_t i = 0;
    for (; text.len - i >= sizeof word; i += sizeof word) {
        memcpy(&word, text.ptr + i, sizeof word);
        word = lower_word(word);
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < text.len; i++)
        to[i] = lower(text.ptr[i]);
}

static bool is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

static bool is_hex(uint8_t octet)
{
    return is_digit(octet) || (octet >= 'a' && octet <= 'f');
}

static bool is_alnum(uint8_t octet)
{
    return is_digit(octet) || (octet >= 'a' && octet <= 'z');
}

static bool begins(struct span s, const char *prefix)
{
    size_t at = 0;
    while (prefix[at] && at < s.len && s.ptr[at] == (uint8_t)prefix[at])
        at++;
    return prefix[at] == '\0';
}

/* Where `text` is first found from `from` on; s.len where it is not. */
static size_t find(struct span s, size_t from, const char *text)
{
    size_t len = strlen(text);
    for (size_t at = from; at + len <= s.len; at++)
        if (memcmp(s.ptr + at, text, len) == 0)
            return at;
    return s.len;
}

static size_t find_octet(struct span s, size_t from, uint8_t octet)
{
    const uint8_t *at = from < s.len ? memchr(s.ptr + from, octet, s.len - from) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
}

static size_t find_last(struct span s, uint8_t octet)
{
    size_t at = s.len;
    while (at > 0 && s.ptr[at - 1] != octet)
        at--;
    return at ? at - 1 : s.len;
}

/* ---- local parts ---- */

/*
 * `name TAG mark rest` becomes `rest`: a tag of the day and a hash. BATV is draft-levine-smtp-batv-01 (prvs=); others
 * write it differently.
 */
static struct span without_batv(struct span local)
{
    static const struct {
        const char *name, *mark;
    } forms[] = {{"prvs=", "="}, {"msprvs1=", "="}, {"btv1==", "=="}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        size_t mark = begins(local, forms[i].name) ? find(local, strlen(forms[i].name), forms[i].mark) : local.len;
        size_t rest = mark + strlen(forms[i].mark);
        if (mark < local.len && rest < local.len)
            return span_tail(local, rest);
    }
    return local;
}

/*
 * The Sender Rewriting Scheme (Wong, Shevek): SRS0=HASH=TIME=domain=local, or SRS1=HASH=host==HASH=TIME=domain=local,
 * where the first `=` may be `-` or `+`. Hash and time change from day to day; what is left names whose mail it was.
 */
static struct span without_srs(struct span local)
{
    bool second = begins(local, "srs1");
    if (!second && !begins(local, "srs0"))
        return local;
    size_t at = 4;
    if (at >= local.len || (local.ptr[at] != '=' && local.ptr[at] != '-' && local.ptr[at] != '+'))
        return local;
    if (second) {
        at = find(local, at + 1, "==");
        at += at < local.len;
    }
    size_t hash = at < local.len ? find(local, at + 1, "=") : local.len;
    size_t time = hash < local.len ? find(local, hash + 1, "=") : local.len;
    return time + 1 < local.len ? span_tail(local, time + 1) : local;
}

/* Subaddresses (RFC 5233): `user+tag`. A part that begins with the mark has no user. */
static struct span without_tag(struct span local)
{
    size_t plus = find_octet(local, 1, '+');
    return local.len ? span_head(local, plus) : local;
}

/* Variable envelope return paths (Bernstein, 1997): `list-user=example.com` names the reader, who is known anyway. */
static struct span without_reader(struct span local)
{
    size_t equals = find_last(local, '=');
    if (equals == local.len || find_octet(local, equals, '.') == local.len)
        return local;
    size_t dash = find_last(span_head(local, equals), '-');
    return dash > 0 && dash < equals ? span_head(local, dash) : local;
}

struct token {
    bool all_digits, all_hex, has_digit;
    size_t len;
};

static struct token token_at(struct span s, size_t at)
{
    struct token token = {.all_digits = true, .all_hex = true};
    for (; at < s.len && is_alnum(s.ptr[at]); at++, token.len++) {
        token.all_digits = token.all_digits && is_digit(s.ptr[at]);
        token.all_hex = token.all_hex && is_hex(s.ptr[at]);
        token.has_digit = token.has_digit || is_digit(s.ptr[at]);
    }
    return token;
}

/* Numbers of messages, and identifiers in hexadecimal with what of them follows, become `#`. */
static size_t put_without_numbers(struct span local, uint8_t *room)
{
    size_t used = 0;
    bool in_identifier = false;
    for (size_t at = 0; at < local.len;) {
        struct token token = token_at(local, at);
        if (token.len == 0) {
            room[used++] = local.ptr[at++];
            continue;
        }
        bool identifier = token.all_hex && token.has_digit && token.len >= HEX_TOKEN_MIN;
        in_identifier = in_identifier ? token.all_hex : identifier;
        if (token.all_digits || in_identifier) {
            room[used++] = '#';
        } else {
            memcpy(room + used, local.ptr + at, token.len);
            used += token.len;
        }
        at += token.len;
    }
    return used;
}

struct span greylist_fold(struct span sender, uint8_t room[GREYLIST_ADDRESS_BYTES_MAX])
{
    uint8_t plain[GREYLIST_ADDRESS_BYTES_MAX];
    if (sender.len > sizeof plain || sender.len == 0)
        return sender;
    put_lower(plain, sender);
    struct span whole = {plain, sender.len};
    size_t at = find_last(whole, '@');
    struct span written = without_batv(span_head(whole, at));
    struct span local = without_srs(written);
    if (span_equal(local, written))
        local = without_reader(without_tag(local));
    struct span domain = span_tail(whole, at);
    size_t used = put_without_numbers(local, room);
    if (domain.len)
        memcpy(room + used, domain.ptr, domain.len);
    return (struct span){room, used + domain.len};
}

/* ---- EHLO names ---- */

struct span greylist_helo_domain(struct span helo)
{
    enum { SHORT_LABEL = 3 };
    if (helo.len && helo.ptr[helo.len - 1] == '.')
        helo.len--;
    if (helo.len == 0 || helo.ptr[0] == '[' || is_digit(helo.ptr[helo.len - 1]))
        return helo;
    size_t last = find_last(helo, '.');
    if (last == helo.len)
        return helo;
    size_t second = find_last(span_head(helo, last), '.');
    if (second == last)
        return helo;
    if (last - second - 1 > SHORT_LABEL)
        return span_tail(helo, second + 1);
    size_t third = find_last(span_head(helo, second), '.');
    return third == second ? helo : span_tail(helo, third + 1);
}

/* ---- keys ---- */

/* What a key may be made of, in this order. */
enum part {
    PART_HELO_DOMAIN,
    PART_SENDER_DOMAIN,
    PART_SENDER,           /* folded */
    PART_FOLDED_RECIPIENT, /* as the sender of an answer would be */
    PART_RECIPIENT,
    PART_RECIPIENT_DOMAIN,
    PARTS
};

enum {
    NETWORK = 1u << PARTS, /* before all of them */
    NETWORK_BYTES = NETWORK_ADDRESS_BYTES + 1,
    TEXT_BYTES_MAX = 1024,
    PART_BYTES_MAX = 2 + TEXT_BYTES_MAX,
    INPUT_BYTES_MAX = 1 + NETWORK_BYTES + 3 * PART_BYTES_MAX,
};

static const uint8_t made_of[GREYLIST_KINDS] = {
    [GREYLIST_TRIPLET] = NETWORK | 1u << PART_SENDER | 1u << PART_RECIPIENT,
    [GREYLIST_POOL] = 1u << PART_HELO_DOMAIN | 1u << PART_SENDER | 1u << PART_RECIPIENT,
    [GREYLIST_TLS] = NETWORK | 1u << PART_HELO_DOMAIN,
    [GREYLIST_CLIENT] = NETWORK,
    [GREYLIST_ANSWER_DOMAIN] = 1u << PART_SENDER_DOMAIN | 1u << PART_FOLDED_RECIPIENT,
    [GREYLIST_ANSWER_NETWORK] = NETWORK | 1u << PART_FOLDED_RECIPIENT,
    [GREYLIST_RULED_HOST] = NETWORK,
    [GREYLIST_RULED_NETWORK] = NETWORK,
    [GREYLIST_RULED_SITE] = NETWORK,
    [GREYLIST_RULED_BLOCK] = NETWORK,
    [GREYLIST_RULED_SENDER] = 1u << PART_SENDER,
    [GREYLIST_RULED_SENDER_DOMAIN] = 1u << PART_SENDER_DOMAIN,
    [GREYLIST_RULED_RECIPIENT] = 1u << PART_RECIPIENT,
    [GREYLIST_RULED_RECIPIENT_DOMAIN] = 1u << PART_RECIPIENT_DOMAIN,
};

/* In lower case; its length before it, so that no two texts run together into others. */
struct part_text {
    uint8_t octets[PART_BYTES_MAX];
    size_t len;
};

static void set_text(struct part_text *to, struct span text)
{
    text = span_head(text, TEXT_BYTES_MAX);
    store_be16(to->octets, (uint16_t)text.len);
    put_lower(to->octets + 2, text);
    to->len = 2 + text.len;
}

static struct span domain_of(struct span address)
{
    size_t at = find_last(address, '@');
    return at == address.len ? address : span_tail(address, at + 1);
}

static void make_part(struct part_text *to, enum part part, const struct greylist_attempt *attempt)
{
    uint8_t room[GREYLIST_ADDRESS_BYTES_MAX];
    switch (part) {
    case PART_HELO_DOMAIN:
        set_text(to, greylist_helo_domain(attempt->helo));
        break;
    case PART_SENDER_DOMAIN:
        set_text(to, domain_of(attempt->sender));
        break;
    case PART_SENDER:
        set_text(to, greylist_fold(attempt->sender, room));
        break;
    case PART_FOLDED_RECIPIENT:
        set_text(to, greylist_fold(attempt->recipient, room));
        break;
    case PART_RECIPIENT:
        set_text(to, attempt->recipient);
        break;
    case PART_RECIPIENT_DOMAIN:
        set_text(to, domain_of(attempt->recipient));
        break;
    case PARTS:
        break;
    }
}

static uint8_t usual_prefix(const struct greylist_settings *settings, uint8_t ip_version)
{
    return ip_version == 4 ? settings->prefix_v4 : settings->prefix_v6;
}

uint8_t greylist_prefix(const struct greylist_settings *settings, enum greylist_kind kind, uint8_t ip_version)
{
    uint8_t ruled = greylist_ruled_prefix(kind, ip_version);
    return ruled ? ruled : usual_prefix(settings, ip_version);
}

static struct span put_together(uint8_t *input, enum greylist_kind kind, const struct network *network,
                                const struct part_text *parts)
{
    size_t len = 0;
    input[len++] = (uint8_t)kind;
    if (made_of[kind] & NETWORK) {
        memcpy(input + len, network->address, sizeof network->address);
        len += sizeof network->address;
        input[len++] = network->prefix;
    }
    for (uint32_t part = 0; part < PARTS; part++)
        if (made_of[kind] >> part & 1) {
            memcpy(input + len, parts[part].octets, parts[part].len);
            len += parts[part].len;
        }
    return (struct span){input, len};
}

static void make_parts(struct part_text parts[PARTS], uint32_t kinds, const struct greylist_attempt *attempt)
{
    uint32_t needed = 0;
    for (uint32_t rest = kinds; rest; rest &= rest - 1)
        needed |= made_of[__builtin_ctz(rest)];
    for (uint32_t part = 0; part < PARTS; part++)
        if (needed >> part & 1)
            make_part(&parts[part], (enum part)part, attempt);
}

/* All is put together before any of it is hashed: a processor waits where it reads in words what it has just written
   otherwise. */
void greylist_keys(const struct greylist_settings *settings, const uint8_t secret[GREYLIST_SECRET_BYTES],
                   uint32_t kinds, const struct greylist_attempt *attempt, struct greylist_key keys[GREYLIST_KINDS])
{
    struct part_text parts[PARTS];
    uint8_t room[GREYLIST_KINDS * INPUT_BYTES_MAX], *hashes[GREYLIST_KINDS];
    struct span inputs[GREYLIST_KINDS];
    struct network ruled,
        usual = network_of(attempt->ip_version, attempt->client, usual_prefix(settings, attempt->ip_version));
    size_t used = 0;
    uint32_t count = 0, made = 0;
    make_parts(parts, kinds, attempt);
    for (uint32_t rest = kinds; rest; rest &= rest - 1, count++) {
        enum greylist_kind kind = (enum greylist_kind)__builtin_ctz(rest);
        uint8_t width = greylist_ruled_prefix(kind, attempt->ip_version);
        if (width)
            ruled = network_of(attempt->ip_version, attempt->client, width);
        inputs[count] = put_together(room + used, kind, width ? &ruled : &usual, parts);
        hashes[count] = keys[kind].octets;
        used += inputs[count].len;
    }
    for (; made + 1 < count; made += 2)
        siphash128_pair(secret, &inputs[made], &hashes[made]);
    if (made < count)
        siphash128(secret, inputs[made], hashes[made]);
}

struct greylist_key greylist_key(const struct greylist_settings *settings, const uint8_t secret[GREYLIST_SECRET_BYTES],
                                 enum greylist_kind kind, const struct greylist_attempt *attempt)
{
    struct greylist_key keys[GREYLIST_KINDS];
    greylist_keys(settings, secret, 1u << kind, attempt, keys);
    return keys[kind];
}
