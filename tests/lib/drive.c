#include "drive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/octets.h"
#include "conntrack.h"
#include "engines.h"
#include "tcp/seq.h"

enum {
    RESENDS_MAX = 12,
    RESEND_US = 200000,
    CLIENT_PORT = 40000,
    SERVER_PORT = 25,
    WINDOW = 60000,
    ANSWERS_MAX = 16,
    AGES_US = 6 * 24 * 3600, /* seconds; times 10^6 below */
};

/* One end of the connection: what it said, and what it read of the other. */
struct endpoint {
    uint32_t isn;
    uint8_t *said;
    uint32_t said_len, said_room;
    uint32_t acknowledged; /* octets of it that have arrived, as far as this end knows */
    bool fin_said, fin_acknowledged;

    uint8_t *first, *last; /* octets read: where two copies came, the first and the last of them */
    bool *have;
    uint32_t room;
    uint32_t next;     /* all before it is there */
    uint32_t answered; /* all before it was acknowledged, and the filter knows */
    uint32_t fin_at;
    bool fin_came, fin_read;
};

struct record {
    enum smtp_side side;
    enum drive_fate fate;
    enum engine_mark_class mark;
    uint8_t *came;
    uint32_t came_len;
    uint8_t *left;
    struct packet packet; /* of `left` */
};

enum { NAME_ID = 0 }; /* of the answer to a query for a name: no question has it */

struct drive {
    struct drive_plan plan;
    struct random_source random;
    struct policy policy;
    struct engine *engine;
    int64_t now_us;
    struct endpoint ends[2]; /* live: the endpoints; recorded: those of the record, where nothing is filtered */
    struct endpoint seen[2]; /* recorded: what a reader of the output sees */
    struct record *records;
    size_t record_count, record_room;
    size_t given; /* records that the engine got */
    bool giving;
    struct drive_event *events;
    size_t event_count, event_room;
    struct drive_question *questions;
    size_t question_count, question_room;
    struct {
        uint64_t id;
        enum answer answer;
        int64_t at_us;
    } answers[ANSWERS_MAX]; /* on their way */
    struct engine_name_query name_query;
    size_t answer_count;
    bool stopped;
    struct conntrack conntrack;
};

#define expect(drive, condition, ...)                                                                                  \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            refute(drive, #condition, __VA_ARGS__);                                                                    \
    } while (0)

static void refute(const struct drive *drive, const char *condition, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail_msg("%s, cut %d, peers %d, seed %llu: %s (%s)", drive->plan.name ? drive->plan.name : "drive",
             (int)drive->plan.cut, (int)drive->plan.peers, (unsigned long long)drive->plan.seed, text, condition);
}

static void *grow(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 64;
    array = realloc(array, *room * size);
    assert_non_null(array);
    return array;
}

static bool recorded(const struct drive *drive)
{
    return drive->plan.peers == ENGINE_PEERS_RECORDED;
}

/* Who reads what leaves the filter. */
static struct endpoint *reader_of(struct drive *drive, enum smtp_side side)
{
    return recorded(drive) ? &drive->seen[side] : &drive->ends[side];
}

struct drive *drive_new(const struct drive_plan *plan)
{
    struct drive *drive = calloc(1, sizeof *drive);
    assert_non_null(drive);
    drive->plan = *plan;
    drive->random.state = plan->seed;
    if (!drive->plan.step_us)
        drive->plan.step_us = 10;
    if (!drive->plan.window)
        drive->plan.window = WINDOW;
    if (!drive->plan.mss)
        drive->plan.mss = 1460;
    policy_init_default(&drive->policy);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        uint32_t isn = plan->isn[side];
        if (!plan->isn[SMTP_CLIENT] && !plan->isn[SMTP_SERVER]) {
            isn = (uint32_t)random_next(&drive->random);
            if (random_below(&drive->random, 2)) /* about to wrap, the other times */
                isn = UINT32_MAX - isn % 256;
        }
        drive->ends[side].isn = drive->seen[side].isn = isn;
    }
    struct engine_settings settings = engine_settings_default();
    settings.flows_max = 64;
    settings.blocks_max = 2048;
    settings.held_max = 2048;
    settings.peers = plan->peers;
    settings.events = plan->replies_untold ? ~(1u << EVENT_REPLY) : UINT32_MAX;
    settings.seed = plan->seed;
    settings.release = plan->release;
    settings.handshakes = !plan->no_handshakes;
    settings.questions = plan->questions;
    settings.network_percent = 100; /* there is one connection */
    if (plan->flow_held_max)
        settings.flow_held_max = plan->flow_held_max;
    if (plan->blocks_max)
        settings.blocks_max = plan->blocks_max;
    settings.pass_on_overload = plan->pass_on_overload;
    drive->engine = engines_new(&settings, plan->policy ? plan->policy : &drive->policy);
    drive->now_us = 1000000;
    return drive;
}

/* ---- readers ---- */

static void make_room(struct endpoint *end, uint32_t len)
{
    if (len <= end->room)
        return;
    uint32_t room = end->room ? end->room : 4096;
    while (room < len)
        room *= 2;
    end->first = realloc(end->first, room);
    end->last = realloc(end->last, room);
    end->have = realloc(end->have, room * sizeof *end->have);
    assert_true(end->first && end->last && end->have);
    memset(end->have + end->room, 0, (room - end->room) * sizeof *end->have);
    end->room = room;
}

/* Take a segment in: octets [at, at + len) of what the other end says. */
static void read_octets(struct drive *drive, struct endpoint *end, int64_t at, struct span octets, bool fin)
{
    const struct endpoint *sender = end == &drive->ends[SMTP_CLIENT] || end == &drive->seen[SMTP_CLIENT]
                                        ? &drive->ends[SMTP_SERVER]
                                        : &drive->ends[SMTP_CLIENT];
    int64_t stop = at + (int64_t)octets.len;
    expect(drive, stop <= (int64_t)sender->said_len + (octets.len ? 0 : sender->fin_said),
           "shown octets up to %lld of %u", (long long)stop, sender->said_len);
    make_room(end, stop > 0 ? (uint32_t)stop : 0);
    for (size_t i = 0; i < octets.len; i++) {
        int64_t place = at + (int64_t)i;
        if (place < (int64_t)end->answered || place < 0)
            continue; /* acknowledged: no receiver looks at it */
        if (!end->have[place])
            end->first[place] = octets.ptr[i];
        end->last[place] = octets.ptr[i];
        expect(drive, end->first[place] == end->last[place], "octet %lld was %d and is %d", (long long)place,
               end->first[place], octets.ptr[i]);
        end->have[place] = true;
    }
    while (end->next < end->room && end->have[end->next])
        end->next++;
    if (fin) {
        expect(drive, !end->fin_came || end->fin_at == stop, "FIN at %u and at %lld", end->fin_at, (long long)stop);
        expect(drive, sender->fin_said, "FIN of a side that sent none");
        end->fin_came = true;
        end->fin_at = (uint32_t)stop;
    }
    end->fin_read = end->fin_came && end->next == end->fin_at;
}

/* An acknowledgment reaches the end that is acknowledged. */
static void read_acknowledgment(struct drive *drive, struct endpoint *end, uint32_t ack)
{
    int32_t position = seq_diff(ack, end->isn + 1);
    expect(drive, position <= (int32_t)(end->said_len + end->fin_said), "acknowledged %d of %u", position,
           end->said_len);
    if (position > (int32_t)end->said_len) {
        end->fin_acknowledged = true;
        position = (int32_t)end->said_len;
    }
    if (position > (int32_t)end->acknowledged)
        end->acknowledged = (uint32_t)position;
}

static void queue_packet(struct drive *drive, enum smtp_side side, uint8_t *bytes, uint32_t len)
{
    drive->records = grow(drive->records, drive->record_count, &drive->record_room, sizeof *drive->records);
    drive->records[drive->record_count++] = (struct record){.side = side, .came = bytes, .came_len = len};
}

static uint32_t own_ack(const struct drive *drive, enum smtp_side side)
{
    const struct endpoint *end = &drive->ends[side];
    return drive->ends[!side].isn + 1 + end->next + end->fin_read;
}

struct segment drive_segment(const struct drive *drive, enum smtp_side side, uint32_t at, struct span octets)
{
    return (struct segment){
        .ip_version = drive->plan.ip_version ? drive->plan.ip_version : 4,
        .source = side == SMTP_CLIENT ? 1 : 2,
        .destination = side == SMTP_CLIENT ? 2 : 1,
        .source_port = side == SMTP_CLIENT ? CLIENT_PORT : SERVER_PORT,
        .destination_port = side == SMTP_CLIENT ? SERVER_PORT : CLIENT_PORT,
        .seq = drive->ends[side].isn + 1 + at,
        .ack = own_ack(drive, side),
        .flags = PACKET_ACK,
        .window = drive->plan.window,
        .payload = octets,
    };
}

static void answer(struct drive *drive, enum smtp_side side)
{
    const struct endpoint *end = &drive->ends[side];
    struct segment segment = drive_segment(drive, side, end->said_len + end->fin_said, (struct span){0});
    uint32_t len;
    uint8_t *bytes = segment_build(&segment, &len);
    queue_packet(drive, side, bytes, len);
}

/* A packet reaches an end (or, of recorded peers, the reader of the output). */
static void deliver(struct drive *drive, enum smtp_side from, const struct packet *packet, struct endpoint *to,
                    bool answers)
{
    if (packet->flags & PACKET_RST)
        return;
    uint32_t seq = packet->seq + !!(packet->flags & PACKET_SYN);
    int64_t at = seq_diff(seq, drive->ends[from].isn + 1);
    read_octets(drive, to, at, packet_payload(packet), packet->flags & PACKET_FIN);
    if (packet->flags & PACKET_ACK)
        read_acknowledgment(drive, &drive->ends[!from], packet->ack);
    if (answers && packet->flags & PACKET_ACK && packet_seq_len(packet) > 0 && !(packet->flags & PACKET_SYN))
        answer(drive, (enum smtp_side) !from);
}

/* ---- verdicts ---- */

/* One octet that `to` has, or the SYN's place: it draws an answer and tells nothing. */
static bool is_probe(const struct drive *drive, enum smtp_side to, const struct packet *packet)
{
    const struct endpoint *end = &drive->ends[to];
    int64_t at = seq_diff(packet->seq, drive->ends[!to].isn + 1);
    return packet->payload_len == 1 && (at < 0 || (at < end->room && end->have[at]));
}

static void check_left(struct drive *drive, const struct record *record)
{
    struct packet came;
    const struct packet *left = &record->packet;
    expect(drive, segment_checksums_good(left->bytes, left->len), "a wrong checksum leaves");
    expect(drive, packet_parse(&came, record->came, record->came_len) == PACKET_TCP, "came malformed");
    expect(drive,
           left->ip_version == came.ip_version && span_equal(packet_source(left), packet_source(&came)) &&
               span_equal(packet_destination(left), packet_destination(&came)) &&
               left->source_port == came.source_port && left->destination_port == came.destination_port,
           "another address or port");
    uint8_t added = (uint8_t)(left->flags & ~came.flags);
    bool reset = added == PACKET_RST && left->payload_len == 0; /* law 1 allows that */
    expect(drive, added == 0 || reset, "flags %02x were added", added);
    uint32_t most = came.payload_len > drive->plan.mss ? came.payload_len : drive->plan.mss;
    expect(drive, left->payload_len <= most, "%u octets of payload, came %u", left->payload_len, came.payload_len);
    expect(drive, !(left->flags & PACKET_URG), "urgent data leaves");
    if (record->side == SMTP_CLIENT && !recorded(drive) && came.payload_len && left->payload_len == came.payload_len)
        expect(drive, left->seq == came.seq || is_probe(drive, SMTP_SERVER, left),
               "towards a live server octets keep their place");
}

static void take_verdict(struct drive *drive, const struct engine_verdict *verdict)
{
    expect(drive, verdict->token >= 1 && verdict->token <= drive->record_count, "unknown token");
    struct record *record = &drive->records[verdict->token - 1];
    expect(drive, record->fate == DRIVE_WAITS && verdict->token <= drive->given, "a second verdict");
    if (verdict->action == ENGINE_DROP) {
        record->fate = DRIVE_DROPPED;
        return;
    }
    record->mark = verdict->mark_class;
    record->fate = verdict->edited ? DRIVE_EDITED : DRIVE_PASSED;
    struct span octets = verdict->edited ? verdict->packet : (struct span){record->came, record->came_len};
    record->left = malloc(octets.len);
    assert_non_null(record->left);
    memcpy(record->left, octets.ptr, octets.len);
    enum packet_status status = packet_parse(&record->packet, record->left, (uint32_t)octets.len);
    expect(drive, status == PACKET_TCP && record->packet.len == octets.len, "what leaves is malformed");
    check_left(drive, record);
}

static struct span keep(struct span octets)
{
    if (octets.len == 0)
        return (struct span){0};
    uint8_t *copy = malloc(octets.len);
    assert_non_null(copy);
    memcpy(copy, octets.ptr, octets.len);
    return (struct span){copy, octets.len};
}

static void take_events(struct drive *drive)
{
    struct event event;
    while (engine_next_event(drive->engine, &event)) {
        event.text = keep(event.text);
        event.shown = keep(event.shown);
        event.sender = keep(event.sender);
        event.recipient = keep(event.recipient);
        if (event.tls)
            event.tls = (const void *)keep((struct span){(const uint8_t *)event.tls, sizeof *event.tls}).ptr;
        drive->events = grow(drive->events, drive->event_count, &drive->event_room, sizeof *drive->events);
        drive->events[drive->event_count++] = (struct drive_event){event};
    }
}

/* What its sender acknowledged with it, in the numbers that this end itself has: a receiver looks at that no more. */
static void note_answer(struct drive *drive, const struct record *record)
{
    struct packet came;
    (void)packet_parse(&came, record->came, record->came_len);
    const struct packet *packet = recorded(drive) ? &record->packet : &came;
    if (!(packet->flags & PACKET_ACK) || packet->flags & PACKET_RST)
        return;
    struct endpoint *end = reader_of(drive, record->side);
    int32_t position = seq_diff(packet->ack, drive->ends[!record->side].isn + 1);
    if (recorded(drive))
        expect(drive, position <= (int32_t)(end->next + end->fin_read), "acknowledges %d of %u that left", position,
               end->next);
    if (position > (int32_t)end->answered)
        end->answered = (uint32_t)position;
}

static void take_verdicts(struct drive *drive);

static void give_answer(struct drive *drive, uint64_t id, enum answer answer)
{
    bool defers = answer == ANSWER_DEFER;
    struct finding finding = {
        .answer = answer,
        .reason = answer == ANSWER_FAILED ? NULL
                  : defers                ? "first"
                                          : "known",
        .passes_from_us = defers ? drive->now_us + 1 : 0,
    };
    for (size_t i = 0; i < drive->question_count; i++) {
        const struct question *question = &drive->questions[i].question;
        if (question->id != id || question->kind > QUESTION_TLS)
            continue;
        finding.line = question->line;
        finding.helo = question->helo;
        finding.sender = question->sender;
        finding.recipient = question->recipient;
        finding.refused = drive->plan.refused && drive->plan.refused(question, &finding.refused_by);
    }
    engine_answer(drive->engine, id, finding, drive->now_us);
    take_verdicts(drive);
}

static void take_questions(struct drive *drive)
{
    struct question question;
    while (engine_next_question(drive->engine, &question)) {
        question.helo = keep(question.helo);
        question.sender = keep(question.sender);
        question.recipient = keep(question.recipient);
        drive->questions =
            grow(drive->questions, drive->question_count, &drive->question_room, sizeof *drive->questions);
        drive->questions[drive->question_count++] = (struct drive_question){question};
        if (question.kind > QUESTION_CLIENT || !drive->plan.answer)
            continue;
        int64_t later_us = 0;
        enum answer answer = drive->plan.answer(&question, &later_us);
        if (later_us == 0 && !drive->stopped) {
            give_answer(drive, question.id, answer);
        } else if (later_us > 0) {
            expect(drive, drive->answer_count < ANSWERS_MAX, "too many answers on their way");
            drive->answers[drive->answer_count].id = question.id;
            drive->answers[drive->answer_count].answer = answer;
            drive->answers[drive->answer_count++].at_us = drive->now_us + later_us;
        }
    }
}

static void take_name_queries(struct drive *drive)
{
    struct engine_name_query query;
    while (engine_next_name_query(drive->engine, &query)) {
        drive->name_query = query;
        if (!drive->plan.client_name)
            continue;
        expect(drive, drive->answer_count < ANSWERS_MAX, "too many answers on their way");
        drive->answers[drive->answer_count].id = NAME_ID;
        drive->answers[drive->answer_count++].at_us = drive->now_us + drive->plan.client_name_us;
    }
}

/* When the next answer arrives; INT64_MAX: none is on its way. */
static int64_t next_answer_us(const struct drive *drive)
{
    int64_t at = INT64_MAX;
    for (size_t i = 0; i < drive->answer_count; i++)
        at = drive->answers[i].at_us < at ? drive->answers[i].at_us : at;
    return at;
}

static void give_due_answers(struct drive *drive)
{
    for (size_t i = 0; i < drive->answer_count;) {
        if (drive->answers[i].at_us > drive->now_us) {
            i++;
            continue;
        }
        uint64_t id = drive->answers[i].id;
        enum answer answer = drive->answers[i].answer;
        drive->answers[i] = drive->answers[--drive->answer_count];
        if (id == NAME_ID) {
            engine_name(drive->engine, &drive->name_query, span_of(drive->plan.client_name), drive->now_us);
            take_verdicts(drive);
        } else {
            give_answer(drive, id, answer);
        }
        i = 0;
    }
}

static void take_verdicts(struct drive *drive)
{
    struct engine_verdict verdict;
    while (engine_next_verdict(drive->engine, &verdict)) {
        take_verdict(drive, &verdict);
        const struct record *record = &drive->records[verdict.token - 1];
        if (!record->left)
            continue;
        /* Copied: a delivery may queue an answer, and the records move. */
        struct packet packet = record->packet;
        enum smtp_side from = record->side;
        note_answer(drive, record);
        bool quiet = drive->plan.no_acknowledgments || recorded(drive) || drive->stopped;
        deliver(drive, from, &packet, reader_of(drive, (enum smtp_side) !from), !quiet);
    }
    take_events(drive);
    take_questions(drive);
    take_name_queries(drive);
}

/* What conntrack says of a packet before the queue. */
static void check_conntrack(struct drive *drive, const struct record *record)
{
    struct packet packet;
    if (!drive->plan.strict || packet_parse(&packet, record->came, record->came_len) != PACKET_TCP)
        return;
    enum conntrack_finding finding = conntrack_judge(&drive->conntrack, record->side, &packet);
    expect(drive, finding == CONNTRACK_TAKES, "conntrack holds %d against a packet of side %d", (int)finding,
           (int)record->side);
}

/* Give the engine what is queued, which may queue more. */
static void run(struct drive *drive)
{
    if (drive->giving)
        return;
    drive->giving = true;
    while (drive->given < drive->record_count) {
        size_t number = drive->given++;
        const struct record *record = &drive->records[number];
        check_conntrack(drive, record);
        uint8_t *bytes = malloc(record->came_len);
        assert_non_null(bytes);
        memcpy(bytes, record->came, record->came_len);
        struct engine_packet packet = {.bytes = bytes,
                                       .len = record->came_len,
                                       .room = record->came_len,
                                       .token = number + 1,
                                       .checksum = ENGINE_CHECKSUM_UNSEEN};
        drive->now_us += drive->plan.step_us;
        /* As a service would: what fell due comes first. */
        if (engine_next_due(drive->engine) <= drive->now_us) {
            engine_tick(drive->engine, drive->now_us);
            take_verdicts(drive);
        }
        give_due_answers(drive);
        struct record before = drive->records[number];
        engine_packet(drive->engine, &packet, drive->now_us);
        take_verdicts(drive);
        free(bytes);
        if (recorded(drive)) {
            struct packet came;
            if (packet_parse(&came, before.came, before.came_len) == PACKET_TCP)
                deliver(drive, before.side, &came, &drive->ends[!before.side], !drive->plan.no_acknowledgments);
        }
    }
    drive->giving = false;
}

uint64_t drive_send(struct drive *drive, enum smtp_side side, const struct segment *segment)
{
    struct endpoint *end = &drive->ends[side];
    uint32_t len;
    uint8_t *bytes = segment_build(segment, &len);
    int64_t at = seq_diff(segment->seq + !!(segment->flags & PACKET_SYN), end->isn + 1);
    int64_t stop = at + (int64_t)segment->payload.len;
    if (!(segment->flags & PACKET_RST) && at >= 0 && stop > (int64_t)end->said_len && !segment->bad_checksum) {
        if (stop > (int64_t)end->said_room) {
            end->said_room = (uint32_t)stop * 2;
            end->said = realloc(end->said, end->said_room);
            assert_non_null(end->said);
        }
        memset(end->said + end->said_len, 0, (size_t)(stop - end->said_len));
        end->said_len = (uint32_t)stop;
    }
    if (!(segment->flags & PACKET_RST) && at >= 0 && segment->payload.len && !segment->bad_checksum)
        memcpy(end->said + at, segment->payload.ptr, segment->payload.len);
    if (segment->flags & PACKET_FIN && !(segment->flags & PACKET_RST))
        end->fin_said = true;
    queue_packet(drive, side, bytes, len);
    uint64_t number = drive->record_count;
    run(drive);
    return number;
}

uint64_t drive_send_text(struct drive *drive, enum smtp_side side, uint32_t at, const char *text)
{
    struct segment segment = drive_segment(drive, side, at, span_of(text));
    return drive_send(drive, side, &segment);
}

void drive_send_octets(struct drive *drive, enum smtp_side side, struct span octets)
{
    enum { PACKET_BYTES = 1400 };
    while (octets.len) {
        uint32_t at = (uint32_t)drive_said(drive, side).len;
        struct segment segment = drive_segment(drive, side, at, span_head(octets, PACKET_BYTES));
        drive_send(drive, side, &segment);
        octets = span_tail(octets, PACKET_BYTES);
    }
}

uint64_t drive_acknowledge(struct drive *drive, enum smtp_side side)
{
    answer(drive, side);
    uint64_t number = drive->record_count;
    run(drive);
    return number;
}

void drive_wait(struct drive *drive, int64_t us)
{
    int64_t until = drive->now_us + us;
    for (;;) {
        int64_t answer_us = next_answer_us(drive);
        int64_t due = engine_next_due(drive->engine) < answer_us ? engine_next_due(drive->engine) : answer_us;
        if (due > until)
            break;
        if (due > drive->now_us)
            drive->now_us = due;
        give_due_answers(drive);
        engine_tick(drive->engine, drive->now_us);
        take_verdicts(drive);
        run(drive);
    }
    if (until > drive->now_us)
        drive->now_us = until;
}

void drive_handshake(struct drive *drive)
{
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        struct segment syn = drive_segment(drive, (enum smtp_side)side, 0, (struct span){0});
        syn.seq--;
        syn.flags = side == SMTP_CLIENT ? PACKET_SYN : PACKET_SYN | PACKET_ACK;
        if (side == SMTP_CLIENT)
            syn.ack = 0;
        segment_add_mss(&syn.options, drive->plan.mss);
        drive_send(drive, (enum smtp_side)side, &syn);
    }
    drive_acknowledge(drive, SMTP_CLIENT);
}

/* ---- saying ---- */

static uint32_t next_cut(struct drive *drive, uint32_t done, struct span left)
{
    uint32_t most = left.len < drive->plan.mss ? (uint32_t)left.len : drive->plan.mss;
    const uint8_t *end;
    switch (drive->plan.cut) {
    case DRIVE_WHOLE:
        return most;
    case DRIVE_OCTETS:
        return 1;
    case DRIVE_LINES:
        end = memchr(left.ptr, '\n', most);
        return end ? (uint32_t)(end - left.ptr) + 1 : most;
    case DRIVE_TWO:
        return done < drive->plan.cut_at && drive->plan.cut_at - done < most ? drive->plan.cut_at - done : most;
    case DRIVE_RANDOM: {
        uint32_t bound = random_below(&drive->random, 4) ? 24 : 300;
        uint32_t len = 1 + random_below(&drive->random, bound);
        return len < most ? len : most;
    }
    }
    return most;
}

/* The last line of what an end has said that stands whole before `to`. */
static struct span last_line(const struct endpoint *end, uint32_t to)
{
    if (to == 0 || end->said[to - 1] != '\n')
        return (struct span){0};
    uint32_t from = to - 1;
    while (from > 0 && end->said[from - 1] != '\n')
        from--;
    return (struct span){end->said + from, to - from};
}

/*
 * Whether what an end says now may wait until the other has replied: it is BDAT, or it has said before, as its last
 * line that has arrived, a command whose reply says what follows, or a response to a 334; or its name, and rules ask
 * for that.
 */
static bool may_wait(const struct drive *drive, enum smtp_side side)
{
    static const char *const verbs[] = {"DATA", "AUTH", "X-EXPS", "XEXCH50", "TURN", "ATRN"};
    const struct endpoint *end = &drive->ends[side], *other = &drive->ends[!side];
    struct span line = last_line(end, end->acknowledged);
    bool waits = line.len && span_equal(span_head(last_line(other, other->said_len), 3), span_of("334"));
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        waits = waits || span_equal_nocase(span_head(line, strlen(verbs[i])), span_of(verbs[i]));
    if (drive->plan.policy && drive->plan.policy->helo_count)
        waits = waits || smtp_verb_is(smtp_command_parse(line).verb, SMTP_TRAIT_HELLO);
    uint32_t from = end->acknowledged; /* the line that goes on there */
    while (from > 0 && end->said[from - 1] != '\n')
        from--;
    struct span next = span_tail((struct span){end->said, end->said_len}, from);
    waits = waits || span_equal_nocase(span_head(next, 4), span_of("BDAT"));
    return waits && !recorded(drive);
}

/* What an end has said is sent again until all of it has arrived. */
static void resend(struct drive *drive, enum smtp_side side)
{
    const struct endpoint *end = &drive->ends[side];
    for (int resend = 0; end->acknowledged < end->said_len; resend++) {
        if (resend == RESENDS_MAX && may_wait(drive, side))
            return;
        expect(drive, resend < RESENDS_MAX, "octets %u to %u of side %d do not arrive", end->acknowledged,
               end->said_len, (int)side);
        drive_wait(drive, RESEND_US);
        if (end->acknowledged >= end->said_len)
            break;
        struct span again = {end->said + end->acknowledged, end->said_len - end->acknowledged};
        struct segment segment = drive_segment(drive, side, end->acknowledged, span_head(again, drive->plan.mss));
        drive_send(drive, side, &segment);
    }
}

void drive_say(struct drive *drive, enum smtp_side side, struct span octets)
{
    uint32_t to = drive->ends[side].said_len + (uint32_t)octets.len;
    for (struct span left = octets; left.len;) {
        struct span part = span_head(left, next_cut(drive, (uint32_t)(octets.len - left.len), left));
        struct segment segment = drive_segment(drive, side, to - (uint32_t)left.len, part);
        drive_send(drive, side, &segment);
        left = span_tail(left, part.len);
    }
    resend(drive, side);
    resend(drive, (enum smtp_side) !side); /* what has waited for it */
}

void drive_say_text(struct drive *drive, enum smtp_side side, const char *text)
{
    drive_say(drive, side, span_of(text));
}

void drive_close(struct drive *drive, enum smtp_side first)
{
    for (int i = 0; i < 2; i++) {
        enum smtp_side side = i ? (enum smtp_side) !first : first;
        for (int resend = 0; !drive->ends[side].fin_acknowledged; resend++) {
            expect(drive, resend < RESENDS_MAX, "the FIN of side %d does not arrive", (int)side);
            struct segment fin = drive_segment(drive, side, drive->ends[side].said_len, (struct span){0});
            fin.flags |= PACKET_FIN;
            drive_send(drive, side, &fin);
            if (!drive->ends[side].fin_acknowledged)
                drive_wait(drive, RESEND_US);
        }
    }
}

/* ---- what happened ---- */

enum drive_fate drive_fate(const struct drive *drive, uint64_t number)
{
    assert_true(number >= 1 && number <= drive->record_count);
    return drive->records[number - 1].fate;
}

enum engine_mark_class drive_mark(const struct drive *drive, uint64_t number)
{
    assert_true(number >= 1 && number <= drive->record_count);
    return drive->records[number - 1].mark;
}

const struct packet *drive_left(const struct drive *drive, uint64_t number)
{
    assert_true(number >= 1 && number <= drive->record_count);
    const struct record *record = &drive->records[number - 1];
    return record->left ? &record->packet : NULL;
}

struct span drive_read(const struct drive *drive, enum smtp_side side)
{
    const struct endpoint *end = recorded(drive) ? &drive->seen[side] : &drive->ends[side];
    return (struct span){end->first, end->next};
}

struct span drive_said(const struct drive *drive, enum smtp_side side)
{
    return (struct span){drive->ends[side].said, drive->ends[side].said_len};
}

uint32_t drive_acknowledged(const struct drive *drive, enum smtp_side side)
{
    return drive->ends[side].acknowledged;
}

bool drive_read_fin(const struct drive *drive, enum smtp_side side)
{
    return recorded(drive) ? drive->seen[side].fin_read : drive->ends[side].fin_read;
}

uint32_t drive_isn(const struct drive *drive, enum smtp_side side)
{
    return drive->ends[side].isn;
}

size_t drive_event_count(const struct drive *drive)
{
    return drive->event_count;
}

const struct drive_event *drive_event(const struct drive *drive, size_t index)
{
    assert_true(index < drive->event_count);
    return &drive->events[index];
}

size_t drive_question_count(const struct drive *drive)
{
    return drive->question_count;
}

const struct question *drive_question(const struct drive *drive, size_t index)
{
    assert_true(index < drive->question_count);
    return &drive->questions[index].question;
}

const struct engine_counters *drive_counters(const struct drive *drive)
{
    return engine_counters(drive->engine);
}

const struct engine_sessions *drive_sessions(const struct drive *drive)
{
    return engine_sessions(drive->engine);
}

/* Of every kind. */
static uint64_t sessions_ended(const struct drive *drive)
{
    uint64_t sum = 0;
    const uint64_t *kinds = &drive_sessions(drive)->ended[0][0][0];
    for (size_t i = 0; i < sizeof drive_sessions(drive)->ended / sizeof *kinds; i++)
        sum += kinds[i];
    return sum;
}

void drive_finish(struct drive *drive)
{
    drive->stopped = true;
    engine_stop(drive->engine, drive->now_us);
    take_verdicts(drive);
    for (size_t i = 0; i < drive->record_count; i++)
        expect(drive, drive->records[i].fate != DRIVE_WAITS, "packet %zu has no verdict", i + 1);
    const struct engine_counters *counters = engine_counters(drive->engine);
    expect(drive, counters->accepted + counters->dropped == counters->packets, "verdicts and packets differ");
    expect(drive, counters->events_lost == 0 && counters->questions_lost == 0, "events lost");
    for (int round = 0; round < 4; round++) {
        drive->now_us += (int64_t)AGES_US * 1000000;
        engine_tick(drive->engine, drive->now_us);
        take_verdicts(drive);
    }
    struct engine_gauges gauges = engine_gauges(drive->engine);
    expect(drive, gauges.flows == 0 && gauges.held == 0 && gauges.blocks == 0,
           "%u flows, %u held packets and %u blocks are left over", gauges.flows, gauges.held, gauges.blocks);
    expect(drive, sessions_ended(drive) == counters->flows_ended, "not each session that ended is of one kind");
}

void drive_free(struct drive *drive)
{
    for (size_t i = 0; i < drive->record_count; i++) {
        free(drive->records[i].came);
        free(drive->records[i].left);
    }
    for (size_t i = 0; i < drive->event_count; i++) {
        free((void *)(uintptr_t)drive->events[i].event.text.ptr);
        free((void *)(uintptr_t)drive->events[i].event.shown.ptr);
        free((void *)(uintptr_t)drive->events[i].event.sender.ptr);
        free((void *)(uintptr_t)drive->events[i].event.recipient.ptr);
        free((void *)(uintptr_t)drive->events[i].event.tls);
    }
    for (size_t i = 0; i < drive->question_count; i++) {
        free((void *)(uintptr_t)drive->questions[i].question.helo.ptr);
        free((void *)(uintptr_t)drive->questions[i].question.sender.ptr);
        free((void *)(uintptr_t)drive->questions[i].question.recipient.ptr);
    }
    free(drive->questions);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
        struct endpoint *ends[2] = {&drive->ends[side], &drive->seen[side]};
        for (int i = 0; i < 2; i++) {
            free(ends[i]->said);
            free(ends[i]->first);
            free(ends[i]->last);
            free(ends[i]->have);
        }
    }
    engines_free(drive->engine);
    free(drive->events);
    free(drive->records);
    free(drive);
}
