/*
 * report/types - which types of lines are written: those of events, and the records that are put together from them.
 *
 * Out:    a set of types, bits: 1u << enum event_kind, and TYPES_RECORD_ bits.
 */
#ifndef POSTERN_REPORT_TYPES_H
#define POSTERN_REPORT_TYPES_H

#include "engine/event.h"

#define TYPES_RECORD_SMTP         (1u << EVENT_KINDS)       /* event type `smtp` */
#define TYPES_RECORD_SMTP_SESSION (1u << (EVENT_KINDS + 1)) /* event type `smtp-session` */
#define TYPES_ALL                 ((1u << (EVENT_KINDS + 2)) - 1)
#define TYPES_WORDS_MAX           (EVENT_KINDS + 4)

/* All but the lines of sessions: types that tell what the filter did, and the records. */
#define TYPES_DEFAULT                                                                                                  \
    (TYPES_ALL & ~(1u << EVENT_FLOW_START | 1u << EVENT_FLOW_END | 1u << EVENT_COMMAND | 1u << EVENT_REPLY |           \
                   1u << EVENT_PAYLOAD | 1u << EVENT_TLS))

/* Add what a word of a rule file means: an event type; `dialogue`, the lines of sessions; `all`. False where it means
   nothing. */
bool types_add(const char *word, uint32_t *types);

/* The words, into `words` of TYPES_WORDS_MAX; returns how many. */
size_t types_words(const char *words[TYPES_WORDS_MAX]);

/* The kinds of events that must be told for these lines to be written, and to be without secrets: bits
   1u << enum event_kind. */
uint32_t types_told(uint32_t types);

/* Of those, the kinds that the log itself needs: the others only take part in keeping secrets. */
uint32_t types_logged(uint32_t types);

static inline bool types_have_records(uint32_t types)
{
    return types & (TYPES_RECORD_SMTP | TYPES_RECORD_SMTP_SESSION);
}

#endif
