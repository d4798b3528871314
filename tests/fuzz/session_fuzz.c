/*
 * A session, both directions interleaved. Two octets choose bounds, peers and the seed of cuts and decisions; then
 * records of what one side says:
 *
 *     kind   bit 0 who says it, bit 1 nothing waits behind it
 *     len    octets
 *     octets
 *
 * Each input is played three times. As recorded, and cut at random: the same lines, payloads and losses of the pairing,
 * and the same leaves.
 * Then with decisions at random: whatever is decided, units are the stream without gaps, what leaves towards a live
 * server keeps its length, what leaves towards the client never gets ahead, and lines stay lines.
 */
#include "fuzz.h"

#include "../lib/random.h"
#include "policy/policy.h"

enum {
    RECORD = 2,
    STREAM_BYTES_MAX = 1 << 16,
    ENTRIES_MAX = 1 << 17,
    BLOCK_BYTES = 2048,
    BLOCKS = 5, /* a line of each side, the ledger; two are free whenever a unit is asked for */
};

/* One thing that came of a stream, to be compared between two ways to cut it. */
struct entry {
    char what; /* C command, R reply, P a payload begins, E it ends, O opaque from here on, F a line without end */
    uint8_t verb;
    uint8_t anomaly;
    size_t at; /* its first octet in the stream; of E the one behind it */
};

struct stream {
    uint8_t said[STREAM_BYTES_MAX];
    size_t said_len;
    size_t decided; /* octets that were given out as units */
    size_t left;    /* octets that left in their place */
    uint64_t
        left_hash;  /* of them, a CR taken for a blank: covered, it stays where a piece ends, as it may end the line */
    size_t line_at; /* where the line that is given out began */
    uint8_t out[16384]; /* what left of the line that leaves */
    size_t out_len;
    bool out_changed; /* not all of it as it came */
    bool out_lost;    /* more than there is room for */
    struct entry entries[ENTRIES_MAX];
    size_t entry_count;
};

struct play {
    struct pool blocks;
    uint8_t storage[BLOCKS * BLOCK_BYTES];
    struct smtp_context context;
    struct smtp_session session;
    struct smtp_change change;
    struct stream streams[2]; /* by enum smtp_side */
    struct random_source random;
    const struct policy *policy;
    bool cut;          /* records come in pieces */
    bool act;          /* decisions at random, and nothing waits now and then */
    bool recorded;     /* what the client says may change its length */
    bool fixed;        /* nothing may */
    uint32_t bound;    /* octets that the server's stream may become shorter by */
    bool reset;        /* the connection is over */
    bool incomparable; /* cuts may rightly matter */
    bool trimmed;      /* an EHLO reply lost lines: which one then is the last depends on what came with it */
};

static struct policy policy, observer;

/* ---- decisions: the only place that knows what there is to decide ---- */

static struct smtp_action decide(struct play *play, const struct smtp_unit *unit)
{
    static const struct policy_facts facts;
    struct policy_decision decision;
    policy_judge(play->policy, unit, &facts, play->session.recipients, unit->reply.code, &decision);
    struct smtp_action action = decision.action;
    bool line = unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY || unit->kind == SMTP_UNIT_FRAGMENT;
    if (!play->act || action.kind != SMTP_ACTION_PASS || !line || unit->judged)
        return action;
    uint32_t chance = random_below(&play->random, 32);
    action.refusal = (uint8_t)(1 + random_below(&play->random, play->policy->refusals.count - 1));
    if (unit->role == SMTP_SERVER)
        action.kind = unit->keyword.len && chance < 8 ? SMTP_ACTION_STRIP : SMTP_ACTION_PASS;
    else if (chance == 0)
        action = (struct smtp_action){.kind = SMTP_ACTION_CLOSE, .refusal = SMTP_REFUSAL_CLOSING};
    else if (chance < 8)
        action.kind = SMTP_ACTION_REFUSE;
    else if (chance < 14 && unit->command.verb == SMTP_VERB_RCPT)
        action.kind = SMTP_ACTION_VOID;
    else if (chance < 24 && smtp_verb_is(unit->command.verb, SMTP_TRAIT_ENCRYPTS))
        action.kind = chance < 20 ? SMTP_ACTION_WAIT : SMTP_ACTION_REFUSE_ALL;
    return action;
}

/* ---- what must hold of every unit ---- */

static bool is_line(const struct smtp_unit *unit)
{
    return unit->kind == SMTP_UNIT_COMMAND || unit->kind == SMTP_UNIT_REPLY || unit->kind == SMTP_UNIT_FRAGMENT;
}

/* A load balancer's PROXY header, or its beginning. */
static bool is_header(const struct smtp_unit *unit)
{
    return unit->role == SMTP_CLIENT && unit->verb == SMTP_VERB_PROXY_HEADER && unit->kind != SMTP_UNIT_COMMAND;
}

static void check_unit(const struct play *play, const struct smtp_unit *unit)
{
    const struct stream *stream = &play->streams[unit->side];
    struct span said = {stream->said, stream->said_len};
    MUST(unit->octets.len > 0);
    MUST(span_equal(unit->octets, span_head(span_tail(said, stream->decided), unit->octets.len)));
    if (play->session.opaque)
        MUST(unit->kind == SMTP_UNIT_OPAQUE);
    if (is_header(unit)) /* it may have line ends */
        MUST(span_equal(unit->whole, span_head(span_tail(said, stream->line_at), unit->whole.len)));
    if (!is_line(unit) || is_header(unit))
        return;
    MUST(span_equal(unit->whole, span_head(span_tail(said, stream->line_at), unit->whole.len)));
    MUST(inside(unit->whole, unit->command.word) && inside(unit->whole, unit->command.argument));
    MUST(inside(unit->whole, unit->reply.text) && inside(unit->whole, unit->keyword));
    const uint8_t *end = memchr(unit->octets.ptr, '\n', unit->octets.len);
    MUST(end == (unit->kind == SMTP_UNIT_FRAGMENT ? NULL : unit->octets.ptr + unit->octets.len - 1));
}

static bool ends_with_crlf(struct span line)
{
    return line.len >= 2 && memcmp(line.ptr + line.len - 2, "\r\n", 2) == 0;
}

/* A line has come to its end: what of it left is a line too, or nothing, or the beginning of our own reply. */
static void check_line_out(const struct play *play, const struct smtp_unit *unit)
{
    const struct stream *stream = &play->streams[unit->side];
    struct span out = {stream->out, stream->out_len};
    struct span said = {stream->said, stream->decided + unit->octets.len};
    if (!stream->out_changed || stream->out_lost || out.len == 0)
        return;
    const uint8_t *end = memchr(out.ptr, '\n', out.len);
    if (unit->role == SMTP_SERVER && !unit->reply.last && !end) {
        MUST(play->session.reply_sent > 0);
        return;
    }
    MUST(end == out.ptr + out.len - 1);
    struct smtp_reply reply;
    if (unit->role == SMTP_SERVER)
        MUST(!unit->has_reply || smtp_reply_parse(out, &reply));
    else
        MUST(ends_with_crlf(out) == ends_with_crlf(said));
}

static void note_out(struct play *play, const struct smtp_unit *unit, struct span leaves)
{
    struct stream *stream = &play->streams[unit->side];
    if (is_line(unit) && leaves.len <= sizeof stream->out - stream->out_len) {
        if (leaves.len)
            memcpy(stream->out + stream->out_len, leaves.ptr, leaves.len);
        stream->out_len += leaves.len;
    } else {
        stream->out_lost = true;
    }
    stream->out_changed = stream->out_changed || play->change.changed;
    if (unit->kind == SMTP_UNIT_FRAGMENT)
        return;
    if (is_line(unit) && !play->session.opaque)
        check_line_out(play, unit);
    if (!is_line(unit) || stream->out_lost || stream->out_len == 0 || stream->out[stream->out_len - 1] == '\n') {
        stream->out_len = 0;
        stream->out_changed = stream->out_lost = false;
    }
}

/* ---- what came of it ---- */

static void add_entry(struct stream *stream, struct entry entry)
{
    MUST(stream->entry_count < ENTRIES_MAX);
    stream->entries[stream->entry_count++] = entry;
}

/* Before the unit is committed and counted. */
static void note_unit(struct play *play, const struct smtp_unit *unit)
{
    struct stream *stream = &play->streams[unit->side];
    char last = stream->entry_count ? stream->entries[stream->entry_count - 1].what : 'E';
    switch (unit->kind) {
    case SMTP_UNIT_FRAGMENT:
        break;
    case SMTP_UNIT_COMMAND:
        add_entry(stream, (struct entry){'C', (uint8_t)unit->command.verb, (uint8_t)unit->anomaly, stream->line_at});
        break;
    case SMTP_UNIT_REPLY:
        add_entry(stream, (struct entry){'R', (uint8_t)unit->verb, (uint8_t)unit->anomaly, stream->line_at});
        break;
    case SMTP_UNIT_PAYLOAD:
        if (is_header(unit)) {
            add_entry(stream, (struct entry){'H', 0, 0, stream->line_at});
            break;
        }
        if (last != 'P')
            add_entry(stream, (struct entry){'P', 0, 0, stream->decided});
        if (unit->ends_payload)
            add_entry(stream, (struct entry){'E', 0, 0, stream->decided + unit->octets.len});
        break;
    case SMTP_UNIT_OPAQUE:
        if (last != 'O')
            add_entry(stream, (struct entry){'O', 0, 0, stream->line_at});
        break;
    }
    /* A verdict on STARTTLS falls earlier where what follows it came with it. */
    play->incomparable = play->incomparable || unit->anomaly == SMTP_ANOMALY_OCTETS_BEFORE_TLS;
}

static void check_same(const struct play *a, const struct play *b)
{
    if (a->incomparable || b->incomparable)
        return;
    MUST(a->reset == b->reset);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        const struct stream *x = &a->streams[side], *y = &b->streams[side];
        /* Of a payload that ends with a reset it is a matter of cuts how much was seen. */
        if (!a->reset)
            MUST(x->entry_count == y->entry_count && x->decided == y->decided);
        if (!a->reset && (side == SMTP_CLIENT || !a->trimmed))
            MUST(x->left == y->left && x->left_hash == y->left_hash);
        for (size_t i = 0; i < x->entry_count && i < y->entry_count; i++) {
            const struct entry *p = &x->entries[i], *q = &y->entries[i];
            MUST(p->what == q->what && p->verb == q->verb && p->anomaly == q->anomaly && p->at == q->at);
        }
    }
}

/* ---- one play ---- */

static void take_unit(struct play *play, const struct smtp_unit *unit)
{
    struct stream *stream = &play->streams[unit->side];
    const struct smtp_change *change = &play->change;
    uint32_t saved = (uint32_t)(stream->decided - stream->left);
    struct smtp_room room = {
        .saved = saved,
        .spare = play->bound > saved ? play->bound - saved : 0,
        .resize = !play->fixed && (unit->side == SMTP_SERVER || play->recorded),
    };
    check_unit(play, unit);
    note_unit(play, unit);
    struct smtp_action action = decide(play, unit);
    smtp_session_commit(&play->session, &play->context, unit, action, room, &play->change);
    struct span leaves = change->changed ? (struct span){change->octets, change->len} : unit->octets;
    MUST(leaves.len == unit->octets.len || room.resize);
    MUST(leaves.len <= unit->octets.len + room.saved);
    /* A few octets need not be spared: of a refused record's chunk, and of a line that has no hyphen or blank yet. */
    bool spares = !play->recorded && unit->role == SMTP_SERVER && unit->whole.len > SMTP_REFUSAL_CODE_LEN;
    MUST(!spares || unit->octets.len <= leaves.len + room.spare);
    if (unit->kind == SMTP_UNIT_OPAQUE || unit->kind == SMTP_UNIT_PAYLOAD)
        MUST(!change->changed || change->len == 0);
    if (unit->kind == SMTP_UNIT_OPAQUE)
        MUST(!change->changed);
    MUST(!change->reset || play->session.opaque);
    MUST(play->session.ledger.count <= SMTP_LEDGER_SLOTS_MAX && play->blocks.used <= BLOCKS - 2);
    play->reset = play->reset || change->reset;
    play->trimmed = play->trimmed || action.kind == SMTP_ACTION_STRIP || action.kind == SMTP_ACTION_MAKE_LAST;
    note_out(play, unit, leaves);
    for (size_t i = 0; i < leaves.len; i++)
        stream->left_hash = /* FNV-1a */
            (stream->left_hash ^ (leaves.ptr[i] == '\r' ? ' ' : leaves.ptr[i])) * UINT64_C(0x100000001b3);
    stream->decided += unit->octets.len;
    stream->left += leaves.len;
    if (unit->kind != SMTP_UNIT_FRAGMENT)
        stream->line_at = stream->decided;
}

static void feed(struct play *play, enum smtp_side side, struct span octets, bool release)
{
    struct stream *stream = &play->streams[side];
    struct smtp_unit unit;
    uint8_t *copy = exact_copy(octets);
    struct span bytes = {copy, octets.len};
    memcpy(stream->said + stream->said_len, copy, octets.len);
    stream->said_len += octets.len;
    while (!play->reset && smtp_session_next(&play->session, &play->context, side, &bytes, release, &unit))
        take_unit(play, &unit);
    uint32_t waiting = smtp_session_waiting(&play->session, side);
    if (!play->reset)
        MUST(stream->decided + waiting == stream->said_len && (waiting == 0 || !release));
    free(copy);
}

static void play_record(struct play *play, const uint8_t *record, struct span octets)
{
    enum smtp_side side = record[0] & 1 ? SMTP_SERVER : SMTP_CLIENT;
    if (play->streams[side].said_len + octets.len > STREAM_BYTES_MAX)
        return;
    while (octets.len) {
        uint32_t longest = play->cut ? 1 + random_below(&play->random, 2) * 30 : (uint32_t)octets.len;
        struct span part = play->cut ? span_head(octets, 1 + random_below(&play->random, longest)) : octets;
        feed(play, side, part, play->act && random_below(&play->random, 8) == 0);
        octets = span_tail(octets, part.len);
    }
    if (record[0] & 2)
        feed(play, side, octets, true);
}

static void play_all(struct play *play, const uint8_t *data, size_t size)
{
    play->random.state = data[1];
    play->recorded = data[0] & 1;
    play->fixed = data[0] & 2;
    play->bound = data[0] & 16 ? data[1] : UINT32_MAX;
    play->policy = data[0] & 4 ? &observer : &policy;
    pool_init(&play->blocks, play->storage, BLOCK_BYTES, BLOCKS);
    play->context = (struct smtp_context){
        .blocks = &play->blocks,
        .keywords = &play->policy->strip,
        .refusals = &play->policy->refusals,
        .verbs = play->policy->watched | (data[0] & 8 ? UINT64_MAX : 0),
        .strict = play->policy != &observer,
    };
    smtp_session_init(&play->session);
    play->session.proxied = data[0] & 32;
    for (struct span rest = {data + 2, size - 2}; rest.len >= RECORD && !play->reset;) {
        const uint8_t *record = rest.ptr;
        struct span octets = span_head(span_tail(rest, RECORD), record[1]);
        rest = span_tail(rest, RECORD + octets.len);
        play_record(play, record, octets);
    }
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        struct stream *stream = &play->streams[side];
        feed(play, (enum smtp_side)side, (struct span){data, 0}, true);
        if (!play->reset && !play->session.opaque && stream->line_at < stream->decided)
            add_entry(stream, (struct entry){'F', 0, 0, stream->line_at});
    }
    smtp_session_fini(&play->session, &play->blocks);
    MUST(play->blocks.used == 0);
}

/* As new, but for octets that nobody looks at before they are written. */
static void renew(struct play *play)
{
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        struct stream *stream = &play->streams[side];
        stream->said_len = stream->decided = stream->left = stream->line_at = stream->out_len = 0;
        stream->left_hash = stream->entry_count = 0;
        stream->out_changed = stream->out_lost = false;
    }
    play->reset = play->incomparable = play->trimmed = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct play plays[3];
    if (size < 2)
        return 0;
    if (observer.refusals.count == 0) {
        policy_init_default(&policy);
        policy_init_observer(&observer);
        MUST(smtp_refusal_add(&policy.refusals, span_of("450 4.2.0 Greylisted, please try again"), "fuzz"));
        MUST(smtp_refusal_add(&observer.refusals, span_of("550 5.7.1 Not from there"), "fuzz"));
    }
    for (int i = 0; i < 3; i++) {
        renew(&plays[i]);
        plays[i].cut = i > 0;
        plays[i].act = i == 2;
        play_all(&plays[i], data, size);
    }
    check_same(&plays[0], &plays[1]);
    return 0;
}
