/*
 * engine/inquiry - what a connection asks before a line may leave, and what it has to tell (engine/question).
 *
 * A line about which something must be asked waits, and its side is paused. The answer, or the end of its time, lets it
 * go on: the side is noted in flow->resume.
 *
 * Limits: ENGINE_QUESTIONS_MAX lines that wait, and the share of a client network, whose further ones are told to come
 *         again.
 */
#ifndef POSTERN_ENGINE_INQUIRY_H
#define POSTERN_ENGINE_INQUIRY_H

#include "engine/question.h"
#include "engine/state.h"

#define QUESTION_TEXT_BYTES_MAX 256 /* RFC 5321 4.5.3.1.3: a path */
#define QUESTION_HELO_BYTES_MAX 128

/* All 0 where nothing is asked. */
size_t inquiry_bytes(const struct engine_settings *settings);
size_t inquiry_buckets_bytes(const struct engine_settings *settings);
size_t inquiry_questions_bytes(const struct engine_settings *settings);

/* The storages are zeroed. */
void inquiry_init(struct engine *engine, void *storage, void *buckets, void *questions);

/*
 * Asks what the action for this unit depends on. True: its side is paused until the answer. False: *action is what is
 * to be done without one. `release`: the unit leaves though its end has not come.
 */
bool inquiry_waits(struct engine *engine, uint32_t index, const struct smtp_unit *unit, bool release,
                   struct smtp_action *action);
/* In a dry run: the same is asked of a line that `rule`, its name in the policy, would have made wait. It does not, and
   its answer is told. */
void inquiry_observe(struct engine *engine, uint32_t index, const struct smtp_unit *unit, const char *rule);
/* Of a client whose name is being asked for (engine/names): whether the unit must wait for it. Then its side is
   paused. */
bool inquiry_waits_for_name(struct engine *engine, uint32_t index, const struct smtp_unit *unit);
/* The name is known, or that there is none: true where the connection may go on. */
bool inquiry_name_known(struct engine *engine, uint32_t index);
/* Whether a line of this side waits for an answer. */
bool inquiry_pends(const struct engine *engine, const struct flow *flow, enum smtp_side side);
/* The answer to question `id` has come. Returns the connection that may go on; POOL_NONE where none waits for it. */
uint32_t inquiry_answer(struct engine *engine, uint64_t id, const struct finding *finding);
/* There will be none: what waits is decided with the next octets that are fed. */
void inquiry_give_up(struct engine *engine, struct flow *flow);
/* The next question or lesson; false where there is none. */
bool inquiry_next(struct engine *engine, struct question *question);
/* Whether what was answered is the beginning of a line that must leave. */
bool inquiry_releases(const struct engine *engine, const struct flow *flow);
/*
 * Of a flow that asks (flow->inquiry): what the answer makes of the unit that waited for it, which is told. False where
 * the unit is another one. *refuses, where true: the rule that refuses it for what the same mail contained before (this
 * is not told yet), or NULL.
 */
bool inquiry_take(struct engine *engine, uint32_t index, const struct smtp_unit *unit, struct smtp_action *action,
                  const struct rule **refuses);
/* A connection is open. */
void inquiry_client(struct engine *engine, uint32_t index);
/* A command has its decision, and its exchange a number; `refused`: the server does not see it. */
void inquiry_note_command(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                          bool refused);
/* The message that goes on is cut for what it contains, by this rule. */
void inquiry_note_content(struct engine *engine, uint32_t index, const struct rule *rule);
/* The reply to an exchange is complete; `spoiled`: it is about another recipient than the client named. */
void inquiry_note_reply(struct engine *engine, uint32_t index, const struct smtp_unit *unit, uint32_t exchange,
                        bool spoiled);
/* The question that the refusal of this exchange goes back to; 0 where there is none. */
uint64_t inquiry_about(const struct engine *engine, const struct flow *flow, enum smtp_verb verb, uint32_t exchange);
/* How long its client has waited for the server's reply to STARTTLS, once that has come. */
uint32_t inquiry_encrypts_ms(const struct engine *engine, const struct flow *flow);
/* That refusal has left, or its client with it; `consents`: it was the server's consent. */
void inquiry_waited(struct engine *engine, uint32_t index, uint64_t about, uint32_t waited_ms, bool hung_up,
                    bool consents);
/* What must be known of a connection to ask about its next recipient, in a form that outlives the process. */
struct inquiry_saved {
    uint32_t transaction, size;
    uint16_t sender_code, sender_len;
    uint8_t sender_known, sender_unread, helo_len, zero;
    uint8_t helo[QUESTION_HELO_BYTES_MAX];
    uint8_t sender[QUESTION_TEXT_BYTES_MAX];
};
void inquiry_save(const struct engine *engine, const struct flow *flow, struct inquiry_saved *saved);
/* False where *saved could not have been saved. */
bool inquiry_restore(struct engine *engine, uint32_t index, const struct inquiry_saved *saved);
/* Nothing more can be read of a connection. */
void inquiry_end(struct engine *engine, uint32_t index);

#endif
