/*
 * cmd/rules - the rules in use, and those that connections still need from before a reload.
 *
 * In:     a rule file, read again when asked.
 * Out:    the same rules for all workers, the whole file or nothing of it. Connections that have begun keep theirs.
 * Owner:  rules own every configuration; one that no worker needs any more is given back at the next reload.
 * Thread: the main one; what a worker must do runs in its own thread, between two packets.
 */
#ifndef POSTERN_CMD_RULES_H
#define POSTERN_CMD_RULES_H

#include "cmd/worker.h"
#include "conf/conf.h"

#define RULES_KEPT_MAX (2 * ENGINE_POLICIES_MAX)

struct rules {
    const char *path; /* NULL: there is no file */
    struct conf *now;
    struct conf *before[RULES_KEPT_MAX]; /* NULL: none */
    struct watch *watch;                 /* the caller's */
    struct store *store;                 /* the caller's; NULL: nobody is asked */
    struct worker *const *workers;
    unsigned worker_count;
};

/* What there is to say of the rules in use. */
struct rules_about {
    char hash[CONF_HASH_BYTES]; /* of the file with all that it reads; empty: there is none */
    bool dry_run;
};

struct rules_about rules_about(const struct rules *rules);

/* What holds without a file. False where there is no memory. */
bool rules_init(struct rules *rules);

/* All workers answer by the greylist of these rules. False where there is no memory; nothing has changed then. */
bool rules_answer(const struct rules *rules, const struct conf *conf);

/* No worker may use them any more. */
void rules_fini(struct rules *rules);

/* Read the file again. Returns an exit code, with a message in any case; 1: nothing has changed. */
int rules_reload(struct rules *rules, char *message, size_t message_size);

#endif
