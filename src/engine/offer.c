#include "engine/offer.h"

#include "base/siphash.h"
#include "engine/client.h"

/* Who may talk to a server before its greeting. */
struct offer {
    uint64_t pair; /* a hash of both addresses */
    int64_t until_us;
};

enum { OFFERS_MAX = 16384, WAYS = 4 };

static const int64_t lifetime_us = INT64_C(7) * 24 * 3600 * 1000000; /* retry_data_expire, Exim's default */

size_t offer_bytes(void)
{
    return OFFERS_MAX * sizeof(struct offer);
}

static uint64_t pair_of(const struct engine *engine, const struct flow *flow)
{
    uint8_t key[SIPHASH_KEY_BYTES] = {0}, hash[SIPHASH_BYTES];
    uint8_t addresses[2 * sizeof flow->ends[SMTP_CLIENT].address]; /* zero behind an IPv4 address */
    uint64_t pair;
    memcpy(key, &engine->settings.seed, sizeof engine->settings.seed);
    struct event_client client = client_of(engine, flow);
    memcpy(addresses, client.end.address, sizeof client.end.address);
    memcpy(addresses + sizeof client.end.address, flow->ends[SMTP_SERVER].address,
           sizeof flow->ends[SMTP_SERVER].address);
    siphash128(key, (struct span){addresses, sizeof addresses}, hash);
    memcpy(&pair, hash, sizeof pair);
    return pair;
}

static struct offer *ways_of(const struct engine *engine, uint64_t pair)
{
    return &engine->offers[pair % (OFFERS_MAX / WAYS) * WAYS];
}

bool offer_stands(const struct engine *engine, const struct flow *flow)
{
    uint64_t pair = pair_of(engine, flow);
    const struct offer *ways = ways_of(engine, pair);
    for (int i = 0; i < WAYS; i++)
        if (ways[i].pair == pair && ways[i].until_us > engine->now_us)
            return true;
    return false;
}

/* By all names that Exim has had for it; two of them are no keywords by RFC 5321. */
static bool is_offer(struct span text)
{
    static const char *const names[] = {"PIPE_CONNECT", "X_PIPE_CONNECT", "PIPECONNECT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t len = strlen(names[i]);
        bool ends = text.len <= len || text.ptr[len] <= ' ';
        if (ends && span_equal_nocase(span_head(text, len), span_of(names[i])))
            return true;
    }
    return false;
}

void offer_note(struct engine *engine, const struct flow *flow, const struct smtp_unit *unit)
{
    if (!unit->keyword.len || !is_offer(unit->reply.text))
        return;
    uint64_t pair = pair_of(engine, flow);
    struct offer *ways = ways_of(engine, pair), *place = ways;
    for (int i = 0; i < WAYS; i++) {
        if (ways[i].pair == pair) {
            place = &ways[i];
            break;
        }
        place = ways[i].until_us < place->until_us ? &ways[i] : place;
    }
    *place = (struct offer){.pair = pair, .until_us = engine->now_us + lifetime_us};
}
