/*
 * engine/engine - the filter itself: packets and the time in, verdicts and events out.
 *
 * In:     every packet of the selected ports that crosses the gateway, in the order of arrival, each with a token
 *         that names it to the caller; and the time, from any clock that does not run backwards.
 * Out:    exactly one verdict for each packet, at once or later (law 5: `(packet, now) -> verdict` and
 *         `(now) -> verdicts due`); events, for those who want to know.
 * Owner:  the caller owns the memory given to engine_init and each packet's octets; both must stay in place until
 *         the verdicts of that call have been fetched.
 * Thread: one worker owns one engine; nothing is shared, nothing global.
 * Limits: struct engine_settings. All memory is laid out by engine_init; nothing is allocated afterwards.
 * Errors: a packet cannot fail. What is malformed, out of bounds or not understood has a verdict and a counter.
 *
 * The order of calls:
 *
 *     engine_packet(e, &packet, now)   or   engine_tick(e, now)
 *     while (engine_next_verdict(e, &verdict)) ...    carry them out in this order
 *     while (engine_next_event(e, &event)) ...        optional; events not fetched are overwritten and counted
 *     while (engine_next_question(e, &question)) ...  where settings.questions wants any; engine_answer, now or later,
 *                                                     is a call like engine_packet
 */
#ifndef POSTERN_ENGINE_ENGINE_H
#define POSTERN_ENGINE_ENGINE_H

#include "engine/event.h"
#include "engine/handover.h"
#include "engine/memory.h"
#include "engine/policies.h"
#include "engine/question.h"
#include "engine/values.h"

/* One packet, at time `now_us` (microseconds). Fetch the verdicts afterwards; there may be none, one or many. */
void engine_packet(struct engine *engine, const struct engine_packet *packet, int64_t now_us);

/*
 * The time has come to `now_us`: whatever fell due gets its verdict, for ENGINE_TICK_FLOWS_MAX connections at most, so
 * that packets need not wait for it long; call again while engine_next_due says now.
 */
void engine_tick(struct engine *engine, int64_t now_us);

/* When engine_tick is needed next, in microseconds; INT64_MAX where nothing waits. May be early, never late. */
int64_t engine_next_due(const struct engine *engine);

/*
 * The filter ends: every held packet gets a verdict now, in order. What was understood goes on, what was not is
 * dropped for the sender to send again, or, of recorded peers, goes on as it came.
 */
void engine_stop(struct engine *engine, int64_t now_us);

/* Take over connections that an older engine kept records of in `memory`, of any length. Before the first packet. */
struct handover_result engine_take_over(struct engine *engine, const void *memory, size_t len, int64_t now_us);

/* The next verdict to carry out; false where there is none. */
bool engine_next_verdict(struct engine *engine, struct engine_verdict *verdict);

/* The next question or lesson; false where there is none. See engine/question.h. */
bool engine_next_question(struct engine *engine, struct question *question);

/*
 * The answer to question `id`; of one that is unknown, answered or too old it changes nothing. All verdicts must have
 * been fetched before; fetch verdicts, events and questions afterwards, as of engine_packet.
 */
void engine_answer(struct engine *engine, uint64_t id, struct finding finding, int64_t now_us);

/* The next client whose name is wanted; false where there is none. */
bool engine_next_name_query(struct engine *engine, struct engine_name_query *query);

/*
 * Its name, which was verified; empty: it has none. Of a connection that is over it changes nothing. A call like
 * engine_answer.
 */
void engine_name(struct engine *engine, const struct engine_name_query *query, struct span name, int64_t now_us);

/* The next event; false where there is none. Its spans live until the next engine_packet, engine_tick or engine_stop.
 */
bool engine_next_event(struct engine *engine, struct event *event);

const struct engine_counters *engine_counters(const struct engine *engine);

/* Of those that flows_ended counts. */
const struct engine_sessions *engine_sessions(const struct engine *engine);

#endif
