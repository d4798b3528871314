/*
 * report/reasons - names of rules, kept for whoever tells of them later than the rules live.
 *
 * Owner:  the table owns its copies; they live as long as it does.
 * Limits: as many as there are different names: rules are few, also those of many reloads.
 */
#ifndef POSTERN_REPORT_REASONS_H
#define POSTERN_REPORT_REASONS_H

struct reasons;

struct reasons *reasons_new(void);          /* NULL where there is no memory */
void reasons_free(struct reasons *reasons); /* NULL is allowed */

/* The table's own copy of a name, the same one each time; "" where there is no memory for it. */
const char *reasons_keep(struct reasons *reasons, const char *name);

#endif
