/*
 * conf/remarks - what was found in a rule file: mistakes, for which it is not taken, and warnings.
 *
 * Owner:  zeroed by the caller; remarks_free gives the texts back.
 * Limits: REMARKS_MAX are kept, all are counted.
 */
#ifndef POSTERN_CONF_REMARKS_H
#define POSTERN_CONF_REMARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REMARKS_MAX 100

struct remark {
    char *text; /* one line, printable: FILE:LINE: what is wrong and what to write instead */
    uint32_t file, line;
    bool warns; /* else it is a mistake */
};

struct remarks {
    struct remark list[REMARKS_MAX];
    unsigned kept;
    unsigned mistakes, warnings; /* that were found */
};

/* Keep one more; a copy of its text. What is known is not kept twice. */
void remarks_add(struct remarks *remarks, const struct remark *remark);

/* Of those kept only the first `kept` stay. */
void remarks_drop(struct remarks *remarks, unsigned kept);

/* Mistakes first, each kind by place. */
void remarks_sort(struct remarks *remarks);

void remarks_free(struct remarks *remarks);

#endif
