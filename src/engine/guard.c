#include "engine/guard.h"

#include "engine/room.h"
#include "engine/tell.h"
#include "smtp/path.h"

#define GUARD_TEXT_BYTES_MAX 256 /* RFC 5321 4.5.3.1.3: a path */

/* A MAIL or RCPT of a guarded connection, and what has come of it. */
struct guarded {
    uint32_t next; /* in its bucket, newest first */
    uint32_t flow;
    uint32_t exchange;
    bool recipient; /* RCPT */
    bool accepted;
    uint64_t size;
    uint16_t sender_len, recipient_len;
    uint8_t sender[GUARD_TEXT_BYTES_MAX];
    uint8_t recipient_text[GUARD_TEXT_BYTES_MAX];
};

enum { GUARDED_BUCKETS = 1024 };

size_t guard_bytes(const struct engine_settings *settings)
{
    return pool_bytes(sizeof(struct guarded), settings->guarded_max);
}

size_t guard_buckets_bytes(void)
{
    return GUARDED_BUCKETS * sizeof(uint32_t);
}

void guard_init(struct engine *engine, void *storage, void *buckets)
{
    pool_init(&engine->guarded, storage, sizeof(struct guarded), engine->settings.guarded_max);
    engine->guarded_buckets = buckets;
}

static struct guarded *guarded_at(const struct engine *engine, uint32_t id)
{
    return pool_at(&engine->guarded, id);
}

static uint32_t *bucket_of(const struct engine *engine, uint32_t flow)
{
    return &engine->guarded_buckets[flow % GUARDED_BUCKETS];
}

/* The newest MAIL of a connection; NULL where there was none. */
static const struct guarded *last_mail(const struct engine *engine, uint32_t flow)
{
    uint32_t id = *bucket_of(engine, flow);
    while (id != POOL_NONE && (guarded_at(engine, id)->flow != flow || guarded_at(engine, id)->recipient))
        id = guarded_at(engine, id)->next;
    return id == POOL_NONE ? NULL : guarded_at(engine, id);
}

static struct guarded *add(struct engine *engine, uint32_t flow, uint32_t exchange)
{
    bool bounded = !room_allows(engine, ROOM_ENVELOPES, 1);
    uint32_t id = bounded ? POOL_NONE : pool_borrow(&engine->guarded);
    if (id == POOL_NONE) {
        engine->counters.shares_used_up += bounded;
        engine->counters.guarded_unknown++;
        return NULL;
    }
    struct guarded *guarded = guarded_at(engine, id);
    guarded->next = *bucket_of(engine, flow);
    guarded->flow = flow;
    guarded->exchange = exchange;
    guarded->recipient = guarded->accepted = false;
    guarded->sender_len = guarded->recipient_len = 0;
    guarded->size = 0;
    *bucket_of(engine, flow) = id;
    return guarded;
}

/* Take what `place` points to out of its bucket. */
static void drop(struct engine *engine, uint32_t *place)
{
    uint32_t id = *place;
    *place = guarded_at(engine, id)->next;
    pool_return(&engine->guarded, id);
}

static void drop_before(struct engine *engine, uint32_t flow, uint32_t exchange)
{
    for (uint32_t *place = bucket_of(engine, flow); *place != POOL_NONE;) {
        const struct guarded *guarded = guarded_at(engine, *place);
        if (guarded->flow == flow && guarded->exchange < exchange)
            drop(engine, place);
        else
            place = &guarded_at(engine, *place)->next;
    }
}

void guard_forget(struct engine *engine, uint32_t index)
{
    if (engine->guarded.used > 0)
        drop_before(engine, index, UINT32_MAX);
}

/* ---- commands ---- */

static uint16_t keep(uint8_t *room, struct span text)
{
    text = span_head(text, GUARD_TEXT_BYTES_MAX);
    if (text.len)
        memcpy(room, text.ptr, text.len);
    return (uint16_t)text.len;
}

void guard_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange)
{
    uint8_t plain[SMTP_LINE_BYTES_MAX];
    enum smtp_verb verb = unit->command.verb;
    if (verb != SMTP_VERB_MAIL && verb != SMTP_VERB_RCPT)
        return;
    const struct guarded *mail = verb == SMTP_VERB_RCPT ? last_mail(engine, index) : NULL;
    struct guarded *guarded = add(engine, index, exchange);
    if (!guarded)
        return;
    struct span address = smtp_path_address(unit->command.argument, plain, sizeof plain);
    if (verb == SMTP_VERB_MAIL) {
        guarded->sender_len = keep(guarded->sender, address);
        guarded->size = smtp_announced_size(unit->command.argument);
        return;
    }
    guarded->recipient = true;
    guarded->recipient_len = keep(guarded->recipient_text, address);
    if (!mail)
        return;
    guarded->sender_len = keep(guarded->sender, (struct span){mail->sender, mail->sender_len});
    guarded->size = mail->size;
}

/* ---- replies ---- */

static void tell_guard(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                       const struct guard_reply *reply, const struct guarded *guarded, bool refused)
{
    struct flow *flow = flow_at(&engine->table, index);
    engine->counters.guarded += refused;
    struct event *event = tell(engine, EVENT_GUARD, flow);
    if (!event)
        return;
    event->from_server = true;
    event->action = refused ? "refused" : "taken";
    event->verb = unit->verb;
    event->exchange = reply->exchange;
    event->code = unit->reply.code;
    event->octets = guarded->size;
    event->delay_ms = reply->delay_ms;
    event->text = tell_keep(engine, unit->whole);
    event->sender = tell_keep(engine, (struct span){guarded->sender, guarded->sender_len});
    event->recipient = tell_keep(engine, (struct span){guarded->recipient_text, guarded->recipient_len});
}

/* What was said of MAIL or RCPT itself. */
static void note_envelope(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                          const struct guard_reply *reply)
{
    uint32_t *place = bucket_of(engine, index);
    while (*place != POOL_NONE &&
           (guarded_at(engine, *place)->flow != index || guarded_at(engine, *place)->exchange != reply->exchange))
        place = &guarded_at(engine, *place)->next;
    if (*place == POOL_NONE)
        return;
    struct guarded *guarded = guarded_at(engine, *place);
    if (reply->put_off)
        tell_guard(engine, index, unit, reply, guarded, true);
    guarded->accepted = unit->reply.code / 100 == 2;
    if (!guarded->accepted)
        drop(engine, place); /* of MAIL in a transaction: that one goes on */
    else if (!guarded->recipient)
        drop_before(engine, index, reply->exchange); /* another transaction */
}

/* What was said of the message holds for all who were to have it. */
static void note_message(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                         const struct guard_reply *reply)
{
    bool taken = unit->reply.code / 100 == 2;
    for (uint32_t *place = bucket_of(engine, index); *place != POOL_NONE;) {
        const struct guarded *guarded = guarded_at(engine, *place);
        if (guarded->flow != index || !guarded->accepted || !guarded->recipient ||
            guarded->exchange > reply->exchange) {
            place = &guarded_at(engine, *place)->next;
            continue;
        }
        if (reply->put_off || taken)
            tell_guard(engine, index, unit, reply, guarded, reply->put_off);
        drop(engine, place);
    }
}

void guard_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit,
                      const struct guard_reply *reply)
{
    switch (unit->verb) {
    case SMTP_VERB_MAIL:
    case SMTP_VERB_RCPT:
        note_envelope(engine, index, unit, reply);
        break;
    case SMTP_VERB_DATA:
    case SMTP_VERB_BDAT:
        if (unit->reply.code >= 400)
            note_message(engine, index, unit, reply);
        break;
    case SMTP_VERB_END_OF_DATA:
    case SMTP_VERB_BDAT_LAST:
        note_message(engine, index, unit, reply);
        break;
    default:
        break;
    }
}
