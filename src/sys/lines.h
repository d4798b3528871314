/*
 * sys/lines - the lines of a text that another program printed.
 *
 * Owner:  a line is a part of the text.
 */
#ifndef POSTERN_SYS_LINES_H
#define POSTERN_SYS_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct line {
    const char *at;
    size_t len; /* without its LF */
};

/* The line at the beginning of *text, which moves behind it; false at the text's end. */
static inline bool line_next(const char **text, struct line *line)
{
    if (!**text)
        return false;
    line->at = *text;
    line->len = strcspn(*text, "\n");
    *text += line->len + ((*text)[line->len] == '\n');
    return true;
}

static inline bool line_begins(struct line line, const char *with)
{
    return line.len >= strlen(with) && memcmp(line.at, with, strlen(with)) == 0;
}

/* Whether a line of the text is the same as this one, by what `same` takes for that. */
static inline bool line_is_in(const char *text, struct line line, bool (*same)(struct line line, struct line other))
{
    for (struct line other; line_next(&text, &other);)
        if (same(line, other))
            return true;
    return false;
}

#endif
