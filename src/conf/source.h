/*
 * conf/source - the text of a rule file with everything it includes, and which line came from where.
 *
 * In:     a path. A line `include "other.conf"`, outside of sections, stands for that file; a relative path is taken
 *         from the directory of the file that it stands in.
 * Out:    one text for libConfuse. Comments are blanked: libConfuse 3.3 counts their lines wrongly.
 * Owner:  source_free gives everything back, also after a failure.
 * Limits: SOURCE_BYTES_MAX in all, SOURCE_FILES_MAX files, SOURCE_DEPTH_MAX of them inside one another.
 * Errors: a message with file and line.
 */
#ifndef POSTERN_CONF_SOURCE_H
#define POSTERN_CONF_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/file.h"

/* What stands in the text for the word greylist where a name follows it: libConfuse cannot tell sections with a title
   from those without by one word. */
#define VARIANT_SECTION "graylist"

#define SOURCE_BYTES_MAX (4u << 20)
#define SOURCE_FILES_MAX 64
#define SOURCE_DEPTH_MAX 8

struct source_line {
    uint32_t file; /* index */
    uint32_t line; /* from 1 */
    size_t at;     /* where it begins in the text */
};

struct source {
    char *text; /* ended by NUL */
    size_t len, room;
    struct source_line *lines; /* of each line of `text` */
    size_t line_count, line_room;
    char *files[SOURCE_FILES_MAX];
    uint32_t file_count;
};

/* Read `path`; *source is zeroed. False, with a message of at most `size` octets, where that cannot be. */
bool source_read(struct source *source, const char *path, char *message, size_t size);

void source_free(struct source *source);

/* Where line `line` (from 1) of the text came from; the last one where there are fewer. */
struct source_line source_place(const struct source *source, int line);

/* `name` as seen from the directory of the file that line `line` came from; to be freed, NULL where there is no memory.
 */
char *source_path(const struct source *source, int line, const char *name);

/*
 * The line on which the section `word "title"` begins that ends on line `line`, without a title where that is NULL;
 * `line` itself where it is not found, as of a title with a quote in it.
 */
int source_section_line(const struct source *source, int line, const char *word, const char *title);

/*
 * Blank what begins with the key `key` on line `line`: it with its value, or its section. False where it is not there.
 */
bool source_blank(struct source *source, int line, const char *key);

/* Absolute paths inside of rule files are below `folder`, in this thread, from here on; NULL: as they are. */
void source_root(const char *folder);

#define SOURCE_HASH_BYTES 17 /* digits, and a NUL */

/* What all files that were read in this thread since then have in them, as a few digits: others where it is other. */
void source_hash_begin(void);
void source_hash(char text[SOURCE_HASH_BYTES]);

/* The whole of a regular file of at most `most` octets, ended by NUL, to be freed; NULL with a reason. Waits for no
 * FIFO. */
char *source_file(const char *path, size_t most, size_t *len, char why[FILE_WHY_BYTES]);

#endif
