/*
 * engine/message - messages as the policy sees them: their lines, attachments, ends.
 *
 * Limits: a block for each message that rules look into; where there is none its inside is not looked at.
 */
#ifndef POSTERN_ENGINE_MESSAGE_H
#define POSTERN_ENGINE_MESSAGE_H

#include "engine/state.h"

/* What rules say of the octets of a message: *action becomes a reset where one wants that, or refuses the message. */
void message_judge(struct engine *engine, struct flow *flow, const struct smtp_unit *unit, struct smtp_action *action);
/* It came to nothing, or to its end. */
void message_forget(struct engine *engine, struct flow *flow);

#endif
