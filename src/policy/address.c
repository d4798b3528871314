#include "policy/address.h"

/* With its domain, which begins at `at`, as it is compared. */
static struct span with_domain(address_to_ascii *to_ascii, struct span text, size_t at, uint8_t room[WORD_BYTES_MAX])
{
    bool ascii = true;
    if (at + 1 < text.len && text.ptr[text.len - 1] == '.')
        text.len--; /* the root's */
    for (size_t i = at; i < text.len; i++)
        ascii = ascii && text.ptr[i] < 0x80;
    if (ascii || !to_ascii || text.len > WORD_BYTES_MAX)
        return text;
    size_t len = to_ascii(span_tail(text, at), room + at, WORD_BYTES_MAX - at);
    memcpy(room, text.ptr, at);
    if (len > 1 && room[at + len - 1] == '.')
        len--; /* of a full stop that is not ASCII's */
    return len > 0 ? (struct span){room, at + len} : text;
}

/* Where the domain of an address begins; its end where it has none. */
static size_t domain_at(struct span address)
{
    const uint8_t *at = address.len ? memrchr(address.ptr, '@', address.len) : NULL;
    return at ? (size_t)(at - address.ptr) + 1 : address.len;
}

struct span address_compared(address_to_ascii *to_ascii, struct span address, uint8_t room[WORD_BYTES_MAX])
{
    return with_domain(to_ascii, address, domain_at(address), room);
}

struct span address_word(address_to_ascii *to_ascii, enum word_kind kind, struct span word,
                         uint8_t room[WORD_BYTES_MAX])
{
    switch (kind) {
    case WORD_EXACT:
        return address_compared(to_ascii, word, room);
    case WORD_DOMAIN:
    case WORD_DOMAINS:
    case WORD_BELOW:
        return with_domain(to_ascii, word, 0, room);
    case WORD_LOCAL:
        break;
    }
    return word;
}
