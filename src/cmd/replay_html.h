/*
 * cmd/replay_html - sessions as a page of one file: what both ends said, when, what left in its place, and why.
 *
 * In:     events of connections, which may alternate; each becomes a section of its own.
 * Owner:  what was said is kept until the page is written.
 */
#ifndef POSTERN_CMD_REPLAY_HTML_H
#define POSTERN_CMD_REPLAY_HTML_H

#include <stdio.h>

#include "engine/event.h"

struct replay_page;

/* NULL where there is no memory. */
struct replay_page *replay_page_new(void);
void replay_page_free(struct replay_page *page); /* NULL is allowed */

/* False where there is no memory. */
bool replay_page_take(struct replay_page *page, const struct event *event);

/* Another capture begins, whose connections are numbered anew. */
void replay_page_next_capture(struct replay_page *page);

/* False where it cannot be written. */
bool replay_page_write(struct replay_page *page, FILE *out);

#endif
