#include "policy/address.h"

/* Letters that fold to ASCII's (Unicode's CaseFolding.txt, C and F). No form is longer than what is folded to it. */
static const struct {
    const char *letter, *folded;
} folds[] = {
    {"\xc3\x9f", "ss"},      {"\xc5\xbf", "s"},      {"\xe1\xba\x9e", "ss"}, {"\xe2\x84\xaa", "k"},
    {"\xef\xac\x80", "ff"},  {"\xef\xac\x81", "fi"}, {"\xef\xac\x82", "fl"}, {"\xef\xac\x83", "ffi"},
    {"\xef\xac\x84", "ffl"}, {"\xef\xac\x85", "st"}, {"\xef\xac\x86", "st"},
};

static bool is_ascii(struct span text)
{
    uint8_t all = 0;
    for (size_t i = 0; i < text.len; i++)
        all |= text.ptr[i];
    return all < 0x80;
}

/* What the octets fold to that begin with one beyond ASCII, and how many they are. */
static struct span fold_of(struct span text, size_t *len)
{
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
        struct span letter = span_of(folds[i].letter);
        if (span_equal(span_head(text, letter.len), letter)) {
            *len = letter.len;
            return span_of(folds[i].folded);
        }
    }
    *len = 1;
    return span_head(text, 1);
}

/* Where the domain of an address begins; its end where it has none. */
static size_t domain_at(struct span address)
{
    const uint8_t *at = address.len ? memrchr(address.ptr, '@', address.len) : NULL;
    return at ? (size_t)(at - address.ptr) + 1 : address.len;
}

/* The text up to `end` folded. */
static struct span fold(struct span text, size_t end, uint8_t room[ADDRESS_BYTES_MAX])
{
    size_t len = 0;
    if (is_ascii(span_head(text, end)) || text.len > ADDRESS_BYTES_MAX)
        return text;
    for (size_t i = 0, taken; i < text.len; i += taken) {
        struct span folded = span_head(span_tail(text, i), 1);
        taken = 1;
        if (i < end && text.ptr[i] >= 0x80)
            folded = fold_of(span_head(span_tail(text, i), end - i), &taken);
        for (size_t j = 0; j < folded.len; j++)
            room[len++] = folded.ptr[j];
    }
    return (struct span){room, len};
}

struct span address_folded(struct span address, uint8_t room[ADDRESS_BYTES_MAX])
{
    return fold(address, address.len, room);
}

/* With its domain, which begins at `at`, as it is compared. */
static struct span with_domain(address_to_ascii *to_ascii, struct span text, size_t at, uint8_t room[ADDRESS_BYTES_MAX])
{
    if (at + 1 < text.len && text.ptr[text.len - 1] == '.')
        text.len--; /* the root's */
    if (is_ascii(span_tail(text, at)) || !to_ascii || text.len > ADDRESS_BYTES_MAX)
        return text;
    size_t len = to_ascii(span_tail(text, at), room + at, ADDRESS_BYTES_MAX - at);
    if (text.ptr != room)
        memcpy(room, text.ptr, at);
    if (len > 1 && room[at + len - 1] == '.')
        len--; /* of a full stop that is not ASCII's */
    return len > 0 ? (struct span){room, at + len} : text;
}

struct span address_compared(address_to_ascii *to_ascii, struct span address, uint8_t room[ADDRESS_BYTES_MAX])
{
    address = fold(address, domain_at(address), room);
    return with_domain(to_ascii, address, domain_at(address), room);
}

struct span address_word(address_to_ascii *to_ascii, enum word_kind kind, struct span word,
                         uint8_t room[ADDRESS_BYTES_MAX])
{
    switch (kind) {
    case WORD_EXACT:
        return address_compared(to_ascii, word, room);
    case WORD_DOMAIN:
    case WORD_DOMAINS:
    case WORD_BELOW:
        return with_domain(to_ascii, word, 0, room);
    case WORD_LOCAL:
        return address_folded(word, room);
    }
    return word;
}
