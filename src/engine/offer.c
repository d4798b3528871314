#include "base/siphash.h"
#include "engine/state.h"

/*
 * Exim remembers the EHLO reply of a server that offers PIPECONNECT, and sends its next EHLO and more to it before the
 * greeting (case 29). It remembers a reply of one server to one of its own addresses, so that is the key here.
 */

enum { WAYS = 4 };

static const int64_t lifetime_us = INT64_C(7) * 24 * 3600 * 1000000; /* retry_data_expire, Exim's default */

static uint64_t pair_of(const struct engine *engine, const struct flow *flow)
{
    uint8_t key[SIPHASH_KEY_BYTES] = {0}, hash[SIPHASH_BYTES];
    uint8_t addresses[2 * sizeof flow->ends[SMTP_CLIENT].address]; /* zero behind an IPv4 address */
    uint64_t pair;
    memcpy(key, &engine->settings.seed, sizeof engine->settings.seed);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        memcpy(addresses + (size_t)side * sizeof flow->ends[side].address, flow->ends[side].address,
               sizeof flow->ends[side].address);
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

void offer_note(struct engine *engine, const struct flow *flow, const struct smtp_unit *unit)
{
    if (!span_equal_nocase(unit->keyword, span_of("PIPECONNECT")) &&
        !span_equal_nocase(unit->keyword, span_of("X_PIPE_CONNECT"))) /* before Exim 4.94 */
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
