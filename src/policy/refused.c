#include "policy/refused.h"

#include "base/octets.h"
#include "base/siphash.h"

enum {
    VERSION = 1,
    TIME_AT = 1,
    RULE_AT = TIME_AT + 8,
    SIZE_AT = RULE_AT + 4,
    NETWORK_AT = SIZE_AT + 4,
    PREFIX_AT = NETWORK_AT + NETWORK_ADDRESS_BYTES,
    VALUE_BYTES = PREFIX_AT + 1,
};
_Static_assert(VALUE_BYTES <= GREYLIST_VALUE_BYTES, "a record is a store's value");

struct refused refused_of(uint8_t ip_version, const uint8_t *client, uint8_t prefix, uint32_t size)
{
    struct refused refused = {.size = size};
    if (size == 0)
        refused.network = network_of(ip_version, client, prefix);
    return refused;
}

/* One part behind the others, in upper case, with its length before it. */
static size_t add_address(uint8_t *text, size_t used, struct span address)
{
    address = span_head(address, GREYLIST_ADDRESS_BYTES_MAX);
    store_be16(text + used, (uint16_t)address.len);
    used += 2;
    for (size_t i = 0; i < address.len; i++)
        text[used++] = ascii_upper(address.ptr[i]);
    return used;
}

void refused_key(const uint8_t secret[GREYLIST_SECRET_BYTES], const struct refused *refused, struct span sender,
                 struct span recipient, uint8_t key[GREYLIST_KEY_BYTES])
{
    /* Keys of the greylist begin with another kind. */
    uint8_t text[1 + 4 + NETWORK_ADDRESS_BYTES + 1 + 2 * (2 + GREYLIST_ADDRESS_BYTES_MAX)] = {REFUSED_KIND};
    uint8_t folded[GREYLIST_ADDRESS_BYTES_MAX];
    size_t used = 1;
    store_be32(text + used, refused->size);
    used += 4;
    memcpy(text + used, refused->network.address, NETWORK_ADDRESS_BYTES);
    used += NETWORK_ADDRESS_BYTES;
    text[used++] = refused->network.prefix;
    used = add_address(text, used, greylist_fold(sender, folded));
    used = add_address(text, used, recipient);
    siphash128(secret, (struct span){text, used}, key);
}

void refused_encode(const struct refused *refused, uint8_t value[GREYLIST_VALUE_BYTES])
{
    memset(value, 0, GREYLIST_VALUE_BYTES);
    value[0] = VERSION;
    store_be64(value + TIME_AT, (uint64_t)refused->at_ms);
    store_be32(value + RULE_AT, refused->rule);
    store_be32(value + SIZE_AT, refused->size);
    memcpy(value + NETWORK_AT, refused->network.address, NETWORK_ADDRESS_BYTES);
    value[PREFIX_AT] = refused->network.prefix;
}

bool refused_decode(struct span value, struct refused *refused)
{
    if (value.len != GREYLIST_VALUE_BYTES || value.ptr[0] != VERSION)
        return false;
    for (size_t i = VALUE_BYTES; i < value.len; i++)
        if (value.ptr[i] != 0)
            return false;
    *refused = (struct refused){
        .at_ms = (int64_t)load_be64(value.ptr + TIME_AT),
        .rule = load_be32(value.ptr + RULE_AT),
        .size = load_be32(value.ptr + SIZE_AT),
        .network.prefix = value.ptr[PREFIX_AT],
    };
    memcpy(refused->network.address, value.ptr + NETWORK_AT, NETWORK_ADDRESS_BYTES);
    uint8_t family = refused->network.address[0];
    bool named = family == 4 || family == 6;
    return refused->at_ms >= 0 && refused->at_ms <= GREYLIST_TIME_MS_MAX && (refused->size ? family == 0 : named);
}
