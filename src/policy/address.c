#include "policy/address.h"

/* Letters that fold to ASCII's (Unicode's CaseFolding.txt, C and F). Nothing grows by being folded. */
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

/* Capital letters of two octets (CaseFolding.txt, C), Latin, Greek, Cyrillic and Armenian. */
static uint32_t small_letter(uint32_t letter)
{
    static const struct {
        uint16_t first, last;
        uint8_t step, distance;
    } ranges[] = {
        {0xc0, 0xd6, 1, 32},   {0xd8, 0xde, 1, 32},   {0x100, 0x12e, 2, 1},  {0x132, 0x136, 2, 1},
        {0x139, 0x147, 2, 1},  {0x14a, 0x176, 2, 1},  {0x179, 0x17d, 2, 1},  {0x386, 0x386, 1, 38},
        {0x388, 0x38a, 1, 37}, {0x38c, 0x38c, 1, 64}, {0x38e, 0x38f, 1, 63}, {0x391, 0x3a1, 1, 32},
        {0x3a3, 0x3ab, 1, 32}, {0x3c2, 0x3c2, 1, 1},  {0x400, 0x40f, 1, 80}, {0x410, 0x42f, 1, 32},
        {0x460, 0x480, 2, 1},  {0x48a, 0x4be, 2, 1},  {0x4c1, 0x4cd, 2, 1},  {0x4d0, 0x52e, 2, 1},
        {0x531, 0x556, 1, 48},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (letter >= ranges[i].first && letter <= ranges[i].last && (letter - ranges[i].first) % ranges[i].step == 0)
            return letter + ranges[i].distance;
    return letter == 0x178 ? 0xff : letter;
}

/* Fold what the text begins with, a letter beyond ASCII or an octet of one, to `out`; *len: octets of the text. */
static size_t fold_first(struct span text, uint8_t *out, size_t *len)
{
    for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
        struct span letter = span_of(folds[i].letter);
        if (!span_equal(span_head(text, letter.len), letter))
            continue;
        size_t folded_len = strlen(folds[i].folded);
        memcpy(out, folds[i].folded, folded_len);
        *len = letter.len;
        return folded_len;
    }
    *len = 1;
    uint8_t lead = text.ptr[0];
    if (lead < 0xc2 || lead > 0xdf || text.len < 2 || (text.ptr[1] & 0xc0) != 0x80) {
        out[0] = lead;
        return 1;
    }
    uint32_t letter = small_letter((lead & 0x1fu) << 6 | (text.ptr[1] & 0x3fu));
    *len = 2;
    out[0] = (uint8_t)(0xc0 | letter >> 6);
    out[1] = (uint8_t)(0x80 | (letter & 0x3f));
    return 2;
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
    for (size_t i = 0, taken = 1; i < text.len; i += taken, taken = 1) {
        if (i < end && text.ptr[i] >= 0x80)
            len += fold_first(span_head(span_tail(text, i), end - i), room + len, &taken);
        else
            room[len++] = text.ptr[i];
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
