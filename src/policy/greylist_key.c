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

static uint64_t load_octets(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* The last eight once more where they are no whole word of their own. `to` is not `text`. */
static void put_lower(uint8_t *to, struct span text)
{
    uint64_t word;
    size_t at = 0;
    if (text.len < sizeof word) {
        for (; at < text.len; at++)
            to[at] = lower(text.ptr[at]);
        return;
    }
    for (; text.len - at > sizeof word; at += sizeof word) {
        word = lower_word(load_octets(text.ptr + at));
        memcpy(to + at, &word, sizeof word);
    }
    word = lower_word(load_octets(text.ptr + text.len - sizeof word));
    memcpy(to + text.len - sizeof word, &word, sizeof word);
}

/* What an octet of lower case may be part of. */
enum { CLASS_ALNUM = 1, CLASS_HEX = 2, CLASS_DIGIT = 4 };

static const uint8_t classes[256] = {
    ['0' ... '9'] = CLASS_ALNUM | CLASS_HEX | CLASS_DIGIT,
    ['a' ... 'f'] = CLASS_ALNUM | CLASS_HEX,
    ['g' ... 'z'] = CLASS_ALNUM,
};

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
    const uint8_t *at = s.len ? memrchr(s.ptr, octet, s.len) : NULL;
    return at ? (size_t)(at - s.ptr) : s.len;
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
        size_t mark = span_begins(local, forms[i].name) ? find(local, strlen(forms[i].name), forms[i].mark) : local.len;
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
    bool second = span_begins(local, "srs1");
    if (!second && !span_begins(local, "srs0"))
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

/* Letters and digits from a place on. */
struct token {
    size_t len;
    uint8_t all, any; /* classes of each octet, and of at least one */
};

static struct token token_at(struct span s, size_t at)
{
    struct token token = {.all = UINT8_MAX};
    for (; at + token.len < s.len && classes[s.ptr[at + token.len]]; token.len++) {
        token.all &= classes[s.ptr[at + token.len]];
        token.any |= classes[s.ptr[at + token.len]];
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
        bool hex = token.all & CLASS_HEX;
        in_identifier = hex && (in_identifier || (token.any & CLASS_DIGIT && token.len >= HEX_TOKEN_MIN));
        if (token.all & CLASS_DIGIT || in_identifier) {
            room[used++] = '#';
        } else {
            memcpy(room + used, local.ptr + at, token.len);
            used += token.len;
        }
        at += token.len;
    }
    return used;
}

/* A sender in lower case. Returns how much of `room` it takes: at most as much as the sender. */
static size_t fold(struct span sender, uint8_t *room)
{
    size_t at = find_last(sender, '@');
    struct span written = without_batv(span_head(sender, at));
    struct span local = without_srs(written);
    if (span_equal(local, written))
        local = without_reader(without_tag(local));
    struct span domain = span_tail(sender, at);
    size_t used = put_without_numbers(local, room);
    if (domain.len)
        memcpy(room + used, domain.ptr, domain.len);
    return used + domain.len;
}

struct span greylist_fold(struct span sender, uint8_t room[GREYLIST_ADDRESS_BYTES_MAX])
{
    uint8_t plain[GREYLIST_ADDRESS_BYTES_MAX];
    if (sender.len > sizeof plain || sender.len == 0)
        return sender;
    put_lower(plain, sender);
    return (struct span){room, fold((struct span){plain, sender.len}, room)};
}

/* ---- EHLO names ---- */

struct span greylist_helo_domain(struct span helo)
{
    enum { SHORT_LABEL = 3 };
    if (helo.len && helo.ptr[helo.len - 1] == '.')
        helo.len--;
    if (helo.len == 0 || helo.ptr[0] == '[' || classes[helo.ptr[helo.len - 1]] & CLASS_DIGIT)
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

/* What a key may be made of, in this order; each part behind the one that it is made from. */
enum part {
    PART_HELO_DOMAIN,
    PART_SENDER, /* of no key */
    PART_SENDER_DOMAIN,
    PART_FOLDED_SENDER,
    PART_RECIPIENT,
    PART_RECIPIENT_DOMAIN,
    PART_FOLDED_RECIPIENT, /* as the sender of an answer would be */
    PARTS
};
static_assert(PARTS == GREYLIST_PARTS, "there is room for each");

enum {
    NETWORK = 1u << PARTS, /* before all of them */
    TEXTS = NETWORK - 1,
    NETWORK_BYTES = NETWORK_ADDRESS_BYTES + 1,
    INPUT_BYTES_MAX = 1 + NETWORK_BYTES + 3 * GREYLIST_PART_BYTES_MAX,
};

static const uint8_t made_of[GREYLIST_KINDS] = {
    [GREYLIST_TRIPLET] = NETWORK | 1u << PART_FOLDED_SENDER | 1u << PART_RECIPIENT,
    [GREYLIST_POOL] = 1u << PART_HELO_DOMAIN | 1u << PART_FOLDED_SENDER | 1u << PART_RECIPIENT,
    [GREYLIST_TLS] = NETWORK | 1u << PART_HELO_DOMAIN,
    [GREYLIST_CLIENT] = NETWORK,
    [GREYLIST_ANSWER_ADDRESS] = 1u << PART_FOLDED_SENDER | 1u << PART_FOLDED_RECIPIENT,
    [GREYLIST_ANSWER_NETWORK] = NETWORK | 1u << PART_FOLDED_RECIPIENT,
    [GREYLIST_RULED_HOST] = NETWORK,
    [GREYLIST_RULED_NETWORK] = NETWORK,
    [GREYLIST_RULED_SITE] = NETWORK,
    [GREYLIST_RULED_BLOCK] = NETWORK,
    [GREYLIST_RULED_SENDER] = 1u << PART_FOLDED_SENDER,
    [GREYLIST_RULED_SENDER_DOMAIN] = 1u << PART_SENDER_DOMAIN,
    [GREYLIST_RULED_RECIPIENT] = 1u << PART_RECIPIENT,
    [GREYLIST_RULED_RECIPIENT_DOMAIN] = 1u << PART_RECIPIENT_DOMAIN,
    [GREYLIST_RULED_MAIL] = 1u << PART_FOLDED_SENDER | 1u << PART_RECIPIENT,
};

static const uint8_t made_from[PARTS] = {
    [PART_SENDER_DOMAIN] = 1u << PART_SENDER,
    [PART_FOLDED_SENDER] = 1u << PART_SENDER,
    [PART_FOLDED_RECIPIENT] = 1u << PART_RECIPIENT,
    [PART_RECIPIENT_DOMAIN] = 1u << PART_RECIPIENT,
};

static struct span domain_of(struct span address)
{
    size_t at = find_last(address, '@');
    return at == address.len ? address : span_tail(address, at + 1);
}

/* The text of a part. */
static struct span text_of(const struct greylist_part *part)
{
    return (struct span){part->octets + 2, part->len - 2u};
}

/* `len` octets of text are in their place: their number before them, so that no two texts run together into others. */
static void set_len(struct greylist_part *part, size_t len)
{
    store_be16(part->octets, (uint16_t)len);
    part->len = (uint16_t)(2 + len);
}

static void set_lower(struct greylist_part *part, struct span text)
{
    text = span_head(text, GREYLIST_ADDRESS_BYTES_MAX);
    put_lower(part->octets + 2, text);
    set_len(part, text.len);
}

static void set_domain(struct greylist_part *part, struct span address)
{
    struct span domain = domain_of(address);
    if (domain.len)
        memcpy(part->octets + 2, domain.ptr, domain.len);
    set_len(part, domain.len);
}

static void set_folded(struct greylist_part *part, struct span address)
{
    set_len(part, fold(address, part->octets + 2));
}

static void make_part(struct greylist_part parts[PARTS], enum part part, const struct greylist_attempt *attempt)
{
    switch (part) {
    case PART_HELO_DOMAIN:
        set_lower(&parts[part], greylist_helo_domain(attempt->helo));
        break;
    case PART_SENDER:
        set_lower(&parts[part], attempt->sender);
        break;
    case PART_SENDER_DOMAIN:
        set_domain(&parts[part], text_of(&parts[PART_SENDER]));
        break;
    case PART_FOLDED_SENDER:
        set_folded(&parts[part], text_of(&parts[PART_SENDER]));
        break;
    case PART_RECIPIENT:
        set_lower(&parts[part], attempt->recipient);
        break;
    case PART_RECIPIENT_DOMAIN:
        set_domain(&parts[part], text_of(&parts[PART_RECIPIENT]));
        break;
    case PART_FOLDED_RECIPIENT:
        set_folded(&parts[part], text_of(&parts[PART_RECIPIENT]));
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
                                const struct greylist_part *parts)
{
    size_t len = 0;
    input[len++] = (uint8_t)kind;
    if (made_of[kind] & NETWORK) {
        memcpy(input + len, network->address, sizeof network->address);
        len += sizeof network->address;
        input[len++] = network->prefix;
    }
    for (uint32_t rest = made_of[kind] & TEXTS; rest; rest &= rest - 1) {
        const struct greylist_part *part = &parts[__builtin_ctz(rest)];
        memcpy(input + len, part->octets, part->len);
        len += part->len;
    }
    return (struct span){input, len};
}

/* Those that are missing. */
static void make_parts(const struct greylist_settings *settings, struct greylist_parts *parts, uint32_t kinds,
                       const struct greylist_attempt *attempt)
{
    uint32_t needed = 0;
    for (uint32_t rest = kinds; rest; rest &= rest - 1)
        needed |= made_of[__builtin_ctz(rest)];
    for (uint32_t rest = needed & TEXTS; rest; rest &= rest - 1)
        needed |= made_from[__builtin_ctz(rest)];
    needed &= ~parts->made;
    parts->made |= needed;
    for (uint32_t rest = needed & TEXTS; rest; rest &= rest - 1)
        make_part(parts->parts, (enum part)__builtin_ctz(rest), attempt);
    if (needed & NETWORK)
        parts->network = network_of(attempt->ip_version, attempt->client, usual_prefix(settings, attempt->ip_version));
}

/* All is put together before any of it is hashed: a processor waits where it reads in words what it has just written
   otherwise. */
void greylist_keys(const struct greylist_settings *settings, const uint8_t secret[GREYLIST_SECRET_BYTES],
                   uint32_t kinds, const struct greylist_attempt *attempt, struct greylist_parts *parts,
                   struct greylist_key keys[GREYLIST_KINDS])
{
    uint8_t room[GREYLIST_KINDS * INPUT_BYTES_MAX], *hashes[GREYLIST_KINDS];
    struct span inputs[GREYLIST_KINDS];
    struct network ruled;
    size_t used = 0;
    uint32_t count = 0, made = 0;
    make_parts(settings, parts, kinds, attempt);
    for (uint32_t rest = kinds; rest; rest &= rest - 1, count++) {
        enum greylist_kind kind = (enum greylist_kind)__builtin_ctz(rest);
        uint8_t width = greylist_ruled_prefix(kind, attempt->ip_version);
        if (width)
            ruled = network_of(attempt->ip_version, attempt->client, width);
        inputs[count] = put_together(room + used, kind, width ? &ruled : &parts->network, parts->parts);
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
    struct greylist_parts parts = {0};
    greylist_keys(settings, secret, 1u << kind, attempt, &parts, keys);
    return keys[kind];
}
