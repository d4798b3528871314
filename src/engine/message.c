#include "engine/message.h"

#include "engine/decision.h"
#include "engine/inquiry.h"
#include "smtp/content.h"

_Static_assert(sizeof(struct content) <= ENGINE_BLOCK_BYTES, "what is kept of a message lies in a block");

/* The rules about the inside of messages. */
static bool looks_inside(const struct policy *policy)
{
    return policy_looks_at(policy, RULE_ON_LINE) || policy_looks_at(policy, RULE_ON_FILE_NAME);
}

static bool is_message(const struct smtp_unit *unit)
{
    return unit->kind == SMTP_UNIT_PAYLOAD && (unit->verb == SMTP_VERB_DATA || unit->verb == SMTP_VERB_BDAT);
}

void message_forget(struct engine *engine, struct flow *flow)
{
    if (flow->content != POOL_NONE)
        pool_return(&engine->blocks, flow->content);
    flow->content = POOL_NONE;
    flow->message_octets = 0;
    flow->last_chunk = false;
}

/* What is kept of the message that goes on; NULL where there is no block for it. */
static struct content *content_of(struct engine *engine, struct flow *flow)
{
    enum { BLOCKS_LEFT = 8 };
    if (flow->content == POOL_NONE) {
        if (pool_free_count(&engine->blocks) < BLOCKS_LEFT)
            return NULL;
        flow->content = pool_borrow(&engine->blocks);
        content_begin(pool_at(&engine->blocks, flow->content));
    }
    return pool_at(&engine->blocks, flow->content);
}

/* True where a rule wants the connection to be reset. */
static bool judge_case(struct engine *engine, struct flow *flow, const struct rule_case *what,
                       struct smtp_action *action)
{
    struct policy_decision decision;
    policy_judge_case(policy_of(engine, flow), what, &flow->facts, &decision);
    struct decision_subject subject = {.text = what->text, .complete = what->length == what->text.len};
    decision_take(engine, flow, &subject, &decision);
    if (decision.action.kind == SMTP_ACTION_REFUSE) {
        /* The server has taken the recipients, and no reply of ours to the message may differ from its own. */
        inquiry_note_content(engine, flow_index(&engine->table, flow), decision.rule);
        engine->counters.messages_cut++;
        decision.action.kind = SMTP_ACTION_RESET;
    }
    if (decision.action.kind == SMTP_ACTION_RESET)
        *action = decision.action;
    return decision.action.kind == SMTP_ACTION_RESET;
}

static struct rule_case case_of(const struct content_item *item)
{
    struct rule_case what = {.event = RULE_ON_LINE, .text = item->text, .length = item->length};
    what.part = item->kind == CONTENT_HEADER_LINE ? RULE_PART_HEADER : RULE_PART_BODY;
    if (item->kind == CONTENT_FILE_NAME)
        what.event = RULE_ON_FILE_NAME;
    return what;
}

static void look_inside(struct engine *engine, struct flow *flow, struct span octets, struct smtp_action *action)
{
    struct content_item item;
    struct content *content = content_of(engine, flow);
    while (content && content_next(content, &octets, &item)) {
        struct rule_case what = case_of(&item);
        if (policy_looks_at(policy_of(engine, flow), what.event) && judge_case(engine, flow, &what, action))
            return;
    }
}

static void message_ends(struct engine *engine, struct flow *flow, struct smtp_action *action)
{
    struct rule_case what = {.event = RULE_ON_MESSAGE, .verb = SMTP_VERB_END_OF_DATA, .size = flow->message_octets};
    if (policy_looks_at(policy_of(engine, flow), RULE_ON_MESSAGE))
        judge_case(engine, flow, &what, action);
    message_forget(engine, flow);
}

void message_judge(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, struct smtp_action *action)
{
    uint64_t octets;
    bool empty = false, last = false;
    if (unit->kind == SMTP_UNIT_COMMAND && unit->role == SMTP_CLIENT) {
        if (unit->command.verb == SMTP_VERB_BDAT &&
            smtp_chunk_parse(unit->command.argument, &octets, &last) == SMTP_CHUNK_GOOD) {
            flow->last_chunk = last;
            empty = octets == 0 && last;
        } else {
            message_forget(engine, flow);
        }
        if (empty)
            message_ends(engine, flow, action);
        return;
    }
    if (!is_message(unit))
        return;
    octets = flow->message_octets + unit->octets.len;
    flow->message_octets = octets < UINT32_MAX ? (uint32_t)octets : UINT32_MAX;
    if (looks_inside(policy_of(engine, flow)))
        look_inside(engine, flow, unit->octets, action);
    if (unit->ends_payload && (unit->verb == SMTP_VERB_DATA || flow->last_chunk))
        message_ends(engine, flow, action);
}
