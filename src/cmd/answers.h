/*
 * cmd/answers - an engine's questions, carried to the greylist and back.
 *
 * In:     the questions and lessons that an engine has; what the store answers.
 * Out:    answers for the engine, one at a time.
 * Owner:  answers own their store client and service; the store and the configuration, whose lists say who is never
 *         greylisted, outlive them.
 * Thread: the engine's.
 */
#ifndef POSTERN_CMD_ANSWERS_H
#define POSTERN_CMD_ANSWERS_H

#include "conf/conf.h"
#include "engine/engine.h"
#include "greylist/service.h"

struct answers;

/* Whether rules ask anything, so that a store is of use. */
bool answers_wanted(const struct policy *policy);

/* What an engine is to ask: for struct engine_settings. */
uint32_t answers_questions(void);

/* NULL where there is no memory, or the store has as many clients as it was opened for. */
struct answers *answers_new(const struct conf *conf, struct store *store);
void answers_free(struct answers *answers); /* NULL is allowed */

/*
 * The next answer for the engine, whose verdicts must have been fetched: give it by engine_answer, and fetch what comes
 * of it, before the next call. False where there is none now.
 */
bool answers_next(struct answers *answers, struct engine *engine, int64_t now_us, uint64_t *id,
                  struct finding *finding);

/* Becomes readable when the store has answered; -1 where it always answers at once. */
int answers_fd(const struct answers *answers);

/* When answers_next is to be called at the latest; INT64_MAX where nothing is under way. */
int64_t answers_due_us(const struct answers *answers);

/* Before the first question, in place of `before`, which is to be freed: see greylist_service_go_on. */
void answers_go_on(struct answers *answers, struct answers *before);

/* What the service counted, and those that it goes on from. */
void answers_counters(const struct answers *answers, struct greylist_counters *counters);

#endif
