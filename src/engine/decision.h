/*
 * engine/decision - what a rule decided, told and counted.
 *
 * In:     a decision of policy/policy, and what was looked at.
 * Out:    events, counters, the mark of the connection; the action that is left: none in a dry run.
 */
#ifndef POSTERN_ENGINE_DECISION_H
#define POSTERN_ENGINE_DECISION_H

#include "engine/state.h"

/* What was looked at. */
struct decision_subject {
    bool from_server;
    struct span text;
    bool unfinished; /* a line of which more will come */
    bool complete;   /* all of it, though no line end shows that */
};

/* What a decision is besides its action: told, marked; in a dry run nothing is left of the action. */
void decision_take(struct engine *engine, struct flow *flow, const struct decision_subject *subject,
                   struct policy_decision *decision);

/* In a dry run: a command would have left in its canonical form. */
void decision_tell_rewritten(struct engine *engine, struct flow *flow, const struct decision_subject *subject,
                             struct span form);

#endif
