#include "smtp/saved.h"

/* Whether nothing has left of the line that goes on: all of it will come again. */
static bool is_between_lines(const struct smtp_session *session, enum smtp_side side)
{
    if (session->lines[side].over)
        return true;
    return session->lines[side].left == 0 && !session->lines[side].is_long;
}

bool smtp_session_save(const struct smtp_session *session, const struct pool *blocks, struct smtp_saved *saved)
{
    if (session->opaque || session->ledger.count > SMTP_SAVED_SLOTS_MAX || session->fragment_judged ||
        session->reply_fragment_judged || session->reply_sent > 0 || !is_between_lines(session, SMTP_CLIENT) ||
        !is_between_lines(session, SMTP_SERVER))
        return false;
    saved->session = *session;
    saved->slot_count = session->ledger.count;
    for (uint32_t i = 0; i < saved->slot_count; i++)
        saved->slots[i] = smtp_ledger_at(&session->ledger, blocks, i);
    saved->session.ledger = (struct smtp_ledger){0};
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        saved->session.lines[side] = (struct smtp_line){0};
    saved->session.put_back = false;
    saved->session.greeting_waits = false;
    return true;
}

/* A refusal by its number, as the rules of now have it. */
static bool translate(uint8_t *refusal, const struct smtp_refusals *refusals, bool same_refusals)
{
    if (!same_refusals && *refusal >= SMTP_REFUSALS_OWN)
        *refusal = SMTP_REFUSAL_TRY_AGAIN;
    return *refusal < refusals->count;
}

static bool is_sound(const struct smtp_session *session)
{
    return session->phase <= SMTP_PHASE_RESPONSE && session->body <= SMTP_BODY_END &&
           session->chunk_verb < SMTP_VERBS && !session->opaque && !session->fragment_judged &&
           !session->reply_fragment_judged && session->reply_sent == 0;
}

bool smtp_session_restore(struct smtp_session *session, struct pool *blocks, const struct smtp_saved *saved,
                          const struct smtp_refusals *refusals, bool same_refusals)
{
    struct smtp_session restored = saved->session;
    bool good = is_sound(&restored) && translate(&restored.void_refusal, refusals, same_refusals);
    for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
        restored.lines[side] = (struct smtp_line){0};
    restored.ledger = (struct smtp_ledger){0};
    for (uint32_t i = 0; good && i < saved->slot_count; i++) {
        struct smtp_slot slot = saved->slots[i];
        good = smtp_slot_verb(slot) < SMTP_VERBS && smtp_slot_fate(slot) < SMTP_FATES &&
               translate(&slot.refusal, refusals, same_refusals) && smtp_ledger_push(&restored.ledger, blocks, slot);
    }
    if (good) {
        *session = restored;
        return true;
    }
    smtp_ledger_clear(&restored.ledger, blocks);
    smtp_session_init(session);
    return false;
}
