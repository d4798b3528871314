/*
 * cmd/html - pages of one file: a style of their own, no script, nothing from elsewhere.
 *
 * Note:   what stands between is escaped by html_text; the page says itself that nothing may be loaded.
 */
#ifndef POSTERN_CMD_HTML_H
#define POSTERN_CMD_HTML_H

#include <stddef.h>
#include <stdio.h>

void html_begin(FILE *out, const char *title);
void html_end(FILE *out);

/* A text of at most so many octets, escaped. */
void html_text(FILE *out, const char *text, size_t most);

#endif
