/*
 * cmd/figures - the name and the meaning of each number that a worker, or the log, has to tell.
 *
 * One table for `postern status`, for metrics and for the manual. A counter's name is its field's name (of a queue with
 * `queue_` before it), a gauge's ends in `_now`. Beside the tables, one counter for each reason of the greylist's
 * answers, one for each rule, and one for each kind of session that ended.
 */
#ifndef POSTERN_CMD_FIGURES_H
#define POSTERN_CMD_FIGURES_H

#include "cmd/watch.h"
#include "cmd/worker.h"
#include "report/log.h"

/* What there is once, however many workers there are. */
struct common_status {
    struct log_counters log;
    struct store_counters store;
    struct watch_counters watch;
    uint64_t descriptors_out;
    uint64_t offsets_unkept;
    uint32_t queue_rules_missing; /* families whose packets no rule sends to the queues */
};

struct figure {
    const char *name;
    size_t offset;    /* of its field in the structure that the table is about */
    size_t bytes;     /* of that field: 4 or 8 */
    const char *help; /* a few words that begin with what is counted, and need no others; without a full stop */
    bool gauge;       /* what there is now; else what has been since the start */
};

extern const struct figure worker_figures[]; /* of struct worker_status */
extern const size_t worker_figure_count;
extern const struct figure common_figures[]; /* of struct common_status */
extern const size_t common_figure_count;

/* `greylist.reasons` of struct worker_status, by the reasons' own names. */
#define FIGURES_REASONS      "greylist_answers"
#define FIGURES_REASONS_HELP "answers of the greylist that let pass or put off, by reason"

/* `rule_hits` of struct worker_status, by the rules' names and actions. */
#define FIGURES_RULES      "rule_hits"
#define FIGURES_RULES_HELP "times that a rule held, since the rules in use were read"

/* `sessions` of struct worker_status, by direction, outcome, and whether they were encrypted. */
#define FIGURES_SESSIONS      "sessions"
#define FIGURES_SESSIONS_HELP "connections that ended, by direction, outcome, and whether they were encrypted"

/* The same by the version of TLS that their servers chose. */
#define FIGURES_TLS "tls_handshakes"
#define FIGURES_TLS_HELP                                                                                               \
    "handshakes, of TLS, that were read, by the version that the server chose; none: it did not answer"

/* Words for these. */
const char *figures_direction(enum policy_direction direction);
const char *figures_outcome(enum engine_outcome outcome);
const char *figures_tls(enum engine_tls version);

/* The figure in that structure. */
uint64_t figure_value(const struct figure *figure, const void *structure);

/* Add a worker's figures, its answers by reason, its hits by rule and its sessions to `sum`. */
void figures_add(struct worker_status *sum, const struct worker_status *one);

#endif
