#include "engine/handshake.h"

#include "engine/room.h"
#include "engine/tell.h"
#include "smtp/tls.h"
#include "tcp/seq.h"

enum {
    HANDSHAKES_MAX = 1024,
    FLOWS_A_HANDSHAKE = 16, /* a handshake takes less than a second, its connection some */
    HANDSHAKES_LEAST = 16,
    HANDSHAKE_S = 30,
    AHEAD_BYTES = 4096, /* a flight of which a segment was lost */
    AHEAD_MAX = 4,
};

/* Octets that came before those in front of them. */
struct ahead {
    uint32_t seq;
    uint16_t at, len; /* in `ahead_octets`; 0 octets: none */
    uint8_t side, zero[3];
};

struct handshake {
    struct tls tls;
    uint32_t next[2]; /* by enum smtp_side: the number of the next octet in order */
    int64_t due_us;
    uint32_t ahead_bytes; /* used of `ahead_octets` */
    struct ahead ahead[AHEAD_MAX];
    uint8_t ahead_octets[AHEAD_BYTES];
};

static_assert(SMTP_CLIENT == false && SMTP_SERVER == true, "smtp/tls asks whether it is the server's");

/* Objects of the pool are of a multiple of 8 octets. */
static uint32_t object_bytes(void)
{
    return (uint32_t)((sizeof(struct handshake) + 7) / 8 * 8);
}

static uint32_t handshakes_count(const struct engine_settings *settings)
{
    uint32_t count = settings->flows_max / FLOWS_A_HANDSHAKE + HANDSHAKES_LEAST;
    return !settings->handshakes ? 0 : count < HANDSHAKES_MAX ? count : HANDSHAKES_MAX;
}

size_t handshake_bytes(const struct engine_settings *settings)
{
    return pool_bytes(object_bytes(), handshakes_count(settings));
}

void handshake_init(struct engine *engine, void *storage)
{
    pool_init(&engine->handshakes, storage, object_bytes(), handshakes_count(&engine->settings));
}

static struct handshake *handshake_of(const struct engine *engine, const struct flow *flow)
{
    return pool_at(&engine->handshakes, flow->handshake);
}

int64_t handshake_over_us(const struct engine *engine, const struct flow *flow)
{
    return handshake_of(engine, flow)->due_us;
}

void handshake_begin(struct engine *engine, uint32_t index)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (!engine->settings.handshakes || flow->handshake != POOL_NONE)
        return;
    static_assert(HANDSHAKES_MAX <= UINT16_MAX, "a flow has so much room for the index");
    uint32_t borrowed = room_allows(engine, ROOM_HANDSHAKES, 1) ? pool_borrow(&engine->handshakes) : POOL_NONE;
    flow->handshake = (uint16_t)borrowed;
    if (flow->handshake == POOL_NONE) {
        engine->counters.handshakes_unseen++;
        return;
    }
    struct handshake *handshake = handshake_of(engine, flow);
    tls_begin(&handshake->tls);
    handshake->next[SMTP_CLIENT] = flow->halves[SMTP_CLIENT].next; /* what waits was sent before the reply */
    handshake->next[SMTP_SERVER] = flow->halves[SMTP_SERVER].log.end;
    handshake->due_us = engine->now_us + INT64_C(1000000) * HANDSHAKE_S;
    handshake->ahead_bytes = 0;
    memset(handshake->ahead, 0, sizeof handshake->ahead);
    flow->changed = true;
}

/* ---- order ---- */

/* Keep octets that came too early. Where there is no room for them their side is not read on. */
static void keep_ahead(struct handshake *handshake, enum smtp_side side, uint32_t seq, struct span octets)
{
    struct ahead *free = NULL;
    for (int i = 0; i < AHEAD_MAX; i++)
        free = handshake->ahead[i].len == 0 ? &handshake->ahead[i] : free;
    if (!free || octets.len > AHEAD_BYTES - handshake->ahead_bytes) {
        handshake->tls.sides[side].over = true;
        return;
    }
    *free = (struct ahead){.seq = seq, .at = (uint16_t)handshake->ahead_bytes, .len = (uint16_t)octets.len};
    free->side = (uint8_t)side;
    memcpy(handshake->ahead_octets + handshake->ahead_bytes, octets.ptr, octets.len);
    handshake->ahead_bytes += (uint32_t)octets.len;
}

/* Octets of which the first is not behind the next one in order; or of a side that is over. */
static void take_next(struct handshake *handshake, enum smtp_side side, uint32_t seq, struct span octets)
{
    struct span fresh = seq_after(seq, handshake->next[side]) ? octets : span_tail(octets, handshake->next[side] - seq);
    tls_take(&handshake->tls, side == SMTP_SERVER, fresh);
    handshake->next[side] += (uint32_t)fresh.len;
}

/* One of those kept whose turn has come; NULL where there is none. */
static struct ahead *next_ahead(struct handshake *handshake, enum smtp_side side)
{
    for (int i = 0; i < AHEAD_MAX; i++) {
        struct ahead *ahead = &handshake->ahead[i];
        if (ahead->len && ahead->side == side && !seq_after(ahead->seq, handshake->next[side]))
            return ahead;
    }
    return NULL;
}

static void take_ahead(struct handshake *handshake, enum smtp_side side)
{
    for (struct ahead *ahead; (ahead = next_ahead(handshake, side)) != NULL;) {
        take_next(handshake, side, ahead->seq, (struct span){handshake->ahead_octets + ahead->at, ahead->len});
        ahead->len = 0;
    }
    uint32_t left = 0;
    for (int i = 0; i < AHEAD_MAX; i++)
        left += handshake->ahead[i].len;
    handshake->ahead_bytes = left ? handshake->ahead_bytes : 0;
}

void handshake_take(struct engine *engine, uint32_t index, enum smtp_side side, uint32_t seq, struct span octets)
{
    struct flow *flow = flow_at(&engine->table, index);
    if (flow->handshake == POOL_NONE || octets.len == 0)
        return;
    struct handshake *handshake = handshake_of(engine, flow);
    if (!seq_after(seq + (uint32_t)octets.len, handshake->next[side]))
        return;
    bool over = handshake->tls.sides[side].over; /* octets are counted, in any order */
    if (seq_after(seq, handshake->next[side]) && !over) {
        keep_ahead(handshake, side, seq, octets);
    } else {
        take_next(handshake, side, seq, octets);
        take_ahead(handshake, side);
    }
    if (tls_is_over(&handshake->tls))
        handshake_end(engine, flow);
}

/* ---- what is told ---- */

static enum engine_tls version_of(const struct tls_seen *seen)
{
    switch (seen->version) {
    case TLS_SSL_3:
    case TLS_1_0:
    case TLS_1_1:
        return ENGINE_TLS_OLDER;
    case TLS_1_2:
        return ENGINE_TLS_1_2;
    case TLS_1_3:
        return ENGINE_TLS_1_3;
    default:
        return ENGINE_TLS_UNKNOWN;
    }
}

void handshake_end(struct engine *engine, struct flow *flow)
{
    if (flow->handshake == POOL_NONE)
        return;
    const struct tls_seen *seen = &handshake_of(engine, flow)->tls.seen;
    engine->sessions.handshakes[version_of(seen)]++;
    engine->counters.handshakes_failed += tls_failed(seen);
    struct event *event = seen->client_hello || seen->server_hello ? tell(engine, EVENT_TLS, flow) : NULL;
    if (event)
        event->tls = tell_keep_tls(engine, seen);
    pool_return(&engine->handshakes, flow->handshake);
    flow->handshake = POOL_NONE;
    flow->changed = true;
}
