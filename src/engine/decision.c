#include "engine/decision.h"

#include "engine/tell.h"

static const char *action_name(const struct smtp_action *action, bool logs)
{
    static const char *const names[] = {
        [SMTP_ACTION_PASS] = "pass",         [SMTP_ACTION_STRIP] = "strip", [SMTP_ACTION_MAKE_LAST] = "strip",
        [SMTP_ACTION_REFUSE] = "refuse",     [SMTP_ACTION_VOID] = "refuse", [SMTP_ACTION_VOID_LATE] = "refuse",
        [SMTP_ACTION_CLOSE] = "close",       [SMTP_ACTION_RESET] = "reset", [SMTP_ACTION_WAIT] = "wait",
        [SMTP_ACTION_REFUSE_ALL] = "refuse",
    };
    if (action->ask)
        return "greylist";
    if (logs && action->kind == SMTP_ACTION_PASS && action->delay_ms == 0)
        return "log";
    return action->kind == SMTP_ACTION_PASS && action->delay_ms ? "tarpit" : names[action->kind];
}

/* Tell of a rule, and of what it looked at. */
static void tell_rule(struct engine *engine, struct flow *flow, const struct decision_subject *subject,
                      const struct smtp_action *action, const char *name, bool dry_run)
{
    struct event *event = tell(engine, EVENT_RULE, flow);
    if (!event)
        return;
    event->from_server = subject->from_server;
    event->reason = name;
    event->action = action_name(action, !dry_run);
    event->dry_run = dry_run;
    event->text = tell_keep(engine, subject->text);
    event->complete = subject->complete && event->text.len == subject->text.len;
}

/* Let go of the action, and tell of it. */
static void only_tell(struct engine *engine, struct flow *flow, const struct decision_subject *subject, bool tells,
                      struct smtp_action *action)
{
    bool changes = action->kind != SMTP_ACTION_PASS || action->delay_ms;
    if (tells && changes && action->kind != SMTP_ACTION_MAKE_LAST)
        tell_rule(engine, flow, subject, action, action->reason ? action->reason : "", true);
    *action = (struct smtp_action){.kind = SMTP_ACTION_PASS};
}

/* A rule held: it is counted, and told of where it says so. */
static void take_rule(struct engine *engine, struct flow *flow, const struct decision_subject *subject,
                      const struct rule *rule)
{
    const struct policy *policy = policy_of(engine, flow);
    if (policy == engine->policies[engine->policy])
        engine->rule_hits[rule - policy->rules]++;
    if (rule->logs)
        tell_rule(engine, flow, subject, &rule->action, rule->name, false);
}

void decision_take(struct engine *engine, struct flow *flow, const struct decision_subject *subject,
                   struct policy_decision *decision)
{
    bool dry_run = policy_of(engine, flow)->dry_run;
    /* A line that passes in pieces is judged again when it is whole. */
    bool tells = !subject->unfinished || (decision->action.kind != SMTP_ACTION_PASS && !dry_run);
    if (tells && decision->undecided) {
        engine->counters.expression_limits++;
        tell_anomaly(engine, flow, subject->from_server, "expression-limit", subject->text, subject->complete);
    }
    for (uint32_t i = 0; tells && i < decision->taken_count; i++)
        take_rule(engine, flow, subject, decision->taken[i]);
    if (dry_run)
        only_tell(engine, flow, subject, tells, &decision->action);
    else if (decision->marks)
        flow->mark = decision->mark;
}

void decision_tell_rewritten(struct engine *engine, struct flow *flow, const struct decision_subject *subject,
                             struct span form)
{
    struct event *event = tell(engine, EVENT_RULE, flow);
    if (!event)
        return;
    event->from_server = subject->from_server;
    event->reason = "canonical";
    event->action = "rewrite";
    event->dry_run = true;
    event->text = tell_keep(engine, subject->text);
    event->shown = tell_keep(engine, form);
}
