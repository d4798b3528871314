#include "engine/carrier.h"

#include "base/octets.h"
#include "engine/budget.h"

/* A packet on its way out. */
struct carrier {
    struct engine *engine;
    const struct flow *flow;
    struct cut cut;           /* how far it leaves */
    struct half *half;        /* of its sender */
    const struct half *other; /* the one its acknowledgment is about */
    struct packet packet;
    bool checksum_absent;
    bool edited;
    bool checksum_stale; /* more changed than was adjusted for */
};

static bool recorded(const struct carrier *carrier)
{
    return carrier->engine->settings.peers == ENGINE_PEERS_RECORDED;
}

/* Where octets of egress [from, to) come from, piece by piece, into `out`. `raw` holds the packet's own payload. */
static void compose(const struct carrier *carrier, uint32_t from, uint32_t to, struct span raw, uint8_t *out)
{
    const struct half *half = carrier->half;
    uint32_t anchor = half->log.anchor_egress;
    if (seq_before(from, anchor)) {
        /* Its receiver has these and will not look at them: not even live can they become other octets there. */
        uint32_t len = seq_before(to, anchor) ? to - from : anchor - from;
        if (recorded(carrier) && len <= raw.len)
            memcpy(out, raw.ptr, len);
        else
            memset(out, 0, len);
        out += len;
        from += len;
    }
    uint32_t retained_end = half_retained_end(half);
    if (seq_before(from, to) && seq_before(from, retained_end)) {
        uint32_t len = seq_min(to, retained_end) - from;
        retain_read(&half->retained, &carrier->engine->pieces, from - anchor, out, len);
        out += len;
        from += len;
    }
    if (seq_before(from, to)) {
        /* Behind what is retained everything leaves as it comes, at a constant distance. */
        uint32_t ingress = from - (half->log.end_egress - half->log.end);
        struct span own = span_tail(raw, ingress - carrier->packet.seq);
        assert(own.len >= to - from);
        memcpy(out, own.ptr, to - from);
    }
}

/* The packet leaves with `len` octets, written into engine->scratch behind its headers. */
static void take_scratch(struct carrier *carrier, uint32_t len)
{
    struct engine *engine = carrier->engine;
    struct packet *packet = &carrier->packet;
    memcpy(engine->scratch, packet->bytes, packet->payload_at);
    packet->bytes = engine->scratch;
    packet_set_payload_len(packet, len);
    carrier->edited = true;
    carrier->checksum_stale = true;
}

/*
 * One octet right before `egress`, which its receiver has, to be answered with an acknowledgment. Returns its position.
 */
static uint32_t make_probe(struct carrier *carrier, uint32_t egress)
{
    compose(carrier, egress - 1, egress, (struct span){0}, carrier->engine->scratch + carrier->packet.payload_at);
    return egress - 1;
}

/*
 * How long a payload may become that came with `came` octets: no longer than it was, than the receiver takes, or than
 * the path is known to carry (the least that every path does, RFC 9293 3.7.1, and the largest that its sender sent).
 */
static uint32_t longest_payload(const struct carrier *carrier, uint32_t came)
{
    uint32_t longest = carrier->half->largest > HALF_MSS_LEAST ? carrier->half->largest : HALF_MSS_LEAST;
    uint32_t mss = half_mss(carrier->other);
    longest = longest < mss ? longest : mss;
    return came > longest ? came : longest;
}

/*
 * The payload as it was decided. Returns its first egress position. Sets *gone where nothing of it is left and the
 * packet has no other use.
 */
static uint32_t carry_payload(struct carrier *carrier, bool plain, bool *gone)
{
    struct engine *engine = carrier->engine;
    struct packet *packet = &carrier->packet;
    const struct half *half = carrier->half;
    uint32_t came = packet->payload_len;
    uint32_t from = edit_forward(&half->log, &engine->entries, packet->seq);
    if (came == 0)
        return from;
    if (packet->flags & PACKET_RST) {
        /* RFC 9293 3.10.7.4 has no use for octets in a reset, so nothing reads them and they stay here. */
        packet_set_payload_len(packet, 0);
        carrier->edited = true;
        carrier->checksum_stale = true;
        return from;
    }
    uint32_t to = edit_forward(&half->log, &engine->entries, packet->seq + came);
    bool cut = carrier->cut.cut && seq_after(to, carrier->cut.limit);
    if (cut)
        to = seq_max(from, carrier->cut.limit);
    uint32_t len = to - from;
    if (plain && len == came)
        return from;

    /* The sender's own resend carries the rest. */
    uint32_t limit = longest_payload(carrier, came);
    bool fin = packet->flags & PACKET_FIN;
    if (len > limit || (cut && fin)) {
        len = len < limit ? len : limit;
        if (fin)
            packet_set_flags(packet, (uint8_t)(packet->flags & ~PACKET_FIN), true);
        fin = false;
    }
    if (len > 0) {
        uint8_t *leaves = engine->scratch + packet->payload_at;
        compose(carrier, from, from + len, packet_payload(packet), leaves);
        if (len == came && memcmp(leaves, packet->bytes + packet->payload_at, len) == 0)
            return from;
    } else if (!fin) {
        *gone = recorded(carrier);
        from = make_probe(carrier, from);
        len = 1;
    }
    engine->counters.rewritten++;
    take_scratch(carrier, len);
    return from;
}

/* A segment behind a gap whose octets stay here: what it becomes tells of nothing but the gap. */
static uint32_t carry_probe(struct carrier *carrier)
{
    const struct half *half = carrier->half;
    uint32_t seq = make_probe(carrier, seq_min(half->sent_egress, half_retained_end(half)));
    carrier->engine->counters.probes++;
    take_scratch(carrier, 1);
    packet_set_flags(&carrier->packet, (uint8_t)(carrier->packet.flags & ~PACKET_FIN), true);
    return seq;
}

/*
 * The answer to a probe: its first block says that the octet came twice (D-SACK, RFC 2883 4), which it did not for its
 * sender. In its place stands what waits here behind the gap. True where it does.
 */
static bool tell_stretch(struct carrier *carrier, uint8_t *option)
{
    const struct half *other = carrier->other;
    uint32_t left, right;
    if (recorded(carrier) || carrier->flow->smtp.opaque || option[1] < 10 ||
        seq_after(load_be32(option + 6), carrier->half->ack_came) ||
        !held_tell_stretch(carrier->engine, other, &left, &right))
        return false;
    store_be32(option + 2, left);
    store_be32(option + 6, right);
    return true;
}

/* SACK blocks into the numbers of the one who reads them; one that shrinks to nothing is left out (RFC 2018 4). */
static void carry_sack(struct carrier *carrier)
{
    struct packet *packet = &carrier->packet;
    const struct edit_log *log = &carrier->other->log;
    const struct pool *entries = &carrier->engine->entries;
    if (!packet->sack_at)
        return;
    uint8_t *option = packet->bytes + packet->sack_at;
    bool told = tell_stretch(carrier, option);
    if (!told && log->anchor == log->anchor_egress && edit_offset(log) == 0 && log->head == POOL_NONE)
        return;
    uint8_t len = option[1];
    uint8_t kept = told ? 10 : 2;
    for (uint8_t at = kept; at + 8 <= len; at = (uint8_t)(at + 8)) {
        uint32_t left = load_be32(option + at);
        uint32_t right = load_be32(option + at + 4);
        if (recorded(carrier)) {
            left = edit_forward(log, entries, left);
            right = edit_forward(log, entries, right);
            if (!seq_before(left, right))
                continue;
        } else if (!edit_backward_block(log, entries, &left, &right)) {
            continue;
        }
        store_be32(option + kept, left);
        store_be32(option + kept + 4, right);
        kept = (uint8_t)(kept + 8);
    }
    if (kept == 2)
        kept = 0;
    memset(option + kept, 1, (size_t)(len - kept)); /* no-operation */
    if (kept)
        option[1] = kept;
    carrier->edited = true;
    carrier->checksum_stale = true;
}

static void carry_acknowledgment(struct carrier *carrier, bool *gone)
{
    struct packet *packet = &carrier->packet;
    const struct half *other = carrier->other;
    const struct pool *entries = &carrier->engine->entries;
    if (!(packet->flags & PACKET_ACK) || !other->synchronized)
        return;
    uint32_t came = packet->ack;
    uint32_t ack;
    if (recorded(carrier)) {
        ack = edit_forward(&other->log, entries, came);
        if (!(packet->flags & PACKET_RST)) /* of which nobody reads it */
            ack = seq_min(ack, other->sent_egress);
        /* It acknowledged what was taken out, or what has not left yet, and says nothing now. */
        bool empty = packet_seq_len(packet) == 0 && !(packet->flags & PACKET_RST);
        if (empty && came != carrier->half->ack_came && ack == carrier->half->ack_left && ack != came)
            *gone = true;
    } else {
        ack = edit_backward(&other->log, entries, came);
    }
    carrier->half->ack_came = came;
    carrier->half->ack_left = ack;
    if (ack != came) {
        packet_set_ack(packet, ack, carrier->checksum_absent || carrier->checksum_stale);
        carrier->edited = true;
    }
    carry_sack(carrier);
}

/*
 * The window as its reader may use it. Its right edge keeps its number though the acknowledgment goes up by the octets
 * that were taken out: conntrack, which sees one end's numbers and the other's window, takes nothing behind that
 * number. And no wider than what may be retained of the other direction (law 2 needs every octet that is not
 * acknowledged).
 */
static void carry_window(struct carrier *carrier)
{
    struct packet *packet = &carrier->packet;
    uint32_t shift = carrier->half->window_shift;
    if (recorded(carrier) || !(packet->flags & PACKET_ACK))
        return;
    uint32_t came = (uint32_t)packet->window << shift;
    int32_t taken_out = seq_diff(carrier->half->ack_left, carrier->half->ack_came);
    uint32_t window = taken_out <= 0 ? came : came > (uint32_t)taken_out ? came - (uint32_t)taken_out : 0;
    uint32_t bound = budget_window_max(carrier->engine);
    /* One step at least: a window of nothing would leave the sender to its persist timer (RFC 9293 3.8.6.1). */
    if (!carrier->flow->smtp.opaque && window > bound)
        window = bound >> shift ? bound : 1u << shift;
    if (window >> shift == packet->window)
        return;
    packet_set_window(packet, (uint16_t)(window >> shift), carrier->checksum_absent || carrier->checksum_stale);
    carrier->edited = true;
}

/*
 * A packet that waited must not look older than one that left meanwhile, or its receiver drops it (PAWS, RFC 7323 5).
 */
static void carry_timestamp(struct carrier *carrier, bool waited)
{
    struct packet *packet = &carrier->packet;
    struct half *half = carrier->half;
    if (!packet->timestamp_at)
        return;
    uint32_t at = packet->timestamp_at + 2u;
    uint32_t value = load_be32(packet->bytes + at);
    if (!half->timestamped || !seq_before(value, half->timestamp)) {
        half->timestamp = value;
        half->timestamped = true;
    } else if (waited && !recorded(carrier)) {
        packet_set_be32(packet, at, half->timestamp, carrier->checksum_absent || carrier->checksum_stale);
        carrier->edited = true;
    }
}

/* The octet that the urgent pointer names would leave the stream at the receiver: make it ordinary (case 63). */
static void carry_urgent(struct carrier *carrier)
{
    struct packet *packet = &carrier->packet;
    if (!(packet->flags & PACKET_URG))
        return;
    packet_set_flags(packet, (uint8_t)(packet->flags & ~PACKET_URG), true);
    store_be16(packet->bytes + packet->tcp_at + 18, 0);
    carrier->edited = true;
    carrier->checksum_stale = true;
}

/* How a packet is carried. */
enum manner {
    CARRY_REBUILT, /* with the octets as they were decided */
    CARRY_PLAIN,   /* all its octets are new, and leave as they came */
    CARRY_WAITED,  /* rebuilt, after it was held */
    CARRY_PROBE,   /* its octets stay here */
};

static void carry(struct carrier *carrier, enum manner manner, struct engine_verdict *verdict)
{
    struct packet *packet = &carrier->packet;
    struct half *half = carrier->half;
    bool gone = false;
    uint32_t came = packet->seq;
    uint32_t seq = manner == CARRY_PROBE ? carry_probe(carrier) : carry_payload(carrier, manner == CARRY_PLAIN, &gone);
    carry_acknowledgment(carrier, &gone);
    if (gone) {
        verdict->action = ENGINE_DROP;
        return;
    }
    if (seq != came) {
        packet_set_seq(packet, seq, carrier->checksum_absent || carrier->checksum_stale);
        carrier->edited = true;
    }
    carry_window(carrier);
    carry_urgent(carrier);
    carry_timestamp(carrier, manner == CARRY_WAITED || manner == CARRY_PROBE);
    if (packet_seq_len(packet) > 0) { /* an empty segment overtakes octets that wait */
        uint32_t end = seq_min(seq + packet_seq_len(packet), half->log.end_egress);
        half->sent_egress = seq_max(half->sent_egress, end);
    }

    verdict->action = ENGINE_ACCEPT;
    if (!carrier->edited)
        return;
    if (carrier->checksum_absent || carrier->checksum_stale)
        packet_checksum_fill(packet);
    verdict->edited = true;
    verdict->packet = (struct span){packet->bytes, packet->len};
}

/* The header alone, with other flags: RST, or an acknowledgment that its receiver may answer. */
static void carry_header(struct carrier *carrier, uint8_t flags, struct engine_verdict *verdict)
{
    struct packet *packet = &carrier->packet;
    const struct half *half = carrier->half;
    /* A reset must stand at the very octet that its receiver waits for (RFC 5961 3.2): behind all that has left, or,
       where the first one did not do, behind all that was acknowledged since. */
    bool again = flags & PACKET_RST && carrier->flow->resets_sent > 1;
    packet_set_payload_len(packet, 0);
    packet_set_flags(packet, flags, true);
    packet_set_seq(packet, again ? half->log.anchor_egress : half->sent_egress, true);
    carrier->checksum_stale = true;
    carrier->edited = true;
    bool gone = false;
    carry_acknowledgment(carrier, &gone);
    carry_timestamp(carrier, false);
    packet_checksum_fill(packet);
    verdict->edited = true;
    verdict->packet = (struct span){packet->bytes, packet->len};
}

void carrier_load_current(struct engine *engine, struct cut cut, struct engine_verdict *verdict)
{
    struct current *current = &engine->current;
    *verdict = (struct engine_verdict){.token = current->token, .action = ENGINE_ACCEPT};
    switch (current->fate) {
    case FATE_NONE:
        assert(false);
    case FATE_DROP:
        verdict->action = ENGINE_DROP;
        return;
    case FATE_PASS:
        return;
    case FATE_EDITED:
        packet_checksum_fill(&current->packet);
        verdict->edited = true;
        verdict->packet = (struct span){current->packet.bytes, current->packet.len};
        return;
    case FATE_CARRY:
    case FATE_PROBE:
    case FATE_RESET:
    case FATE_BARE: {
        struct flow *flow = flow_at(&engine->table, current->flow);
        struct carrier carrier = {
            .engine = engine,
            .flow = flow,
            .half = &flow->halves[current->side],
            .other = &flow->halves[!current->side],
            .cut = cut,
            .packet = current->packet,
            .checksum_absent = current->checksum_absent,
        };
        enum manner manner = current->plain ? CARRY_PLAIN : CARRY_REBUILT;
        if (current->fate == FATE_CARRY || current->fate == FATE_PROBE)
            carry(&carrier, current->fate == FATE_PROBE ? CARRY_PROBE : manner, verdict);
        else
            carry_header(&carrier, current->fate == FATE_RESET ? PACKET_RST | PACKET_ACK : PACKET_ACK, verdict);
        return;
    }
    }
}

void carrier_load_held(struct engine *engine, const struct held *held, struct engine_verdict *verdict)
{
    *verdict = (struct engine_verdict){.token = held->token, .action = ENGINE_DROP};
    if (held->drop)
        return;
    struct flow *flow = flow_at(&engine->table, held->flow);
    struct carrier carrier = {
        .engine = engine,
        .flow = flow,
        .cut = held->cut,
        .half = &flow->halves[held->side],
        .other = &flow->halves[!held->side],
        .checksum_absent = held->checksum == ENGINE_CHECKSUM_ABSENT,
    };
    memcpy(engine->original, held->octets, held->header_len);
    held_read(engine, held, engine->original + held->header_len);
    enum packet_status status = packet_parse(&carrier.packet, engine->original, held->header_len + held->payload_len);
    assert(status == PACKET_TCP);
    (void)status;
    carry(&carrier, held->probe ? CARRY_PROBE : CARRY_WAITED, verdict);
}
