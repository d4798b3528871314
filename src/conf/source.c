#include "conf/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Where the reader is in a file. */
struct reader {
    struct source *source;
    uint32_t file;
    uint32_t line;
    uint32_t depth;                    /* of includes */
    int braces;                        /* open ones */
    uint32_t brace_line, comment_line; /* where the outermost of them, and a comment, open */
    enum { CODE, QUOTED, TO_LINE_END, TO_CLOSE } state;
    char quote;
    char *message;
    size_t size;
};

char *source_file(const char *path, size_t most, size_t *len)
{
    struct stat about;
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = NULL;
    errno = 0;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode))
        errno = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
    else if ((size_t)about.st_size > most)
        errno = EFBIG;
    else if ((text = calloc(1, (size_t)about.st_size + 1)) != NULL)
        *len = fread(text, 1, (size_t)about.st_size, file);
    int fault = errno;
    fclose(file);
    errno = fault;
    return text;
}

void source_free(struct source *source)
{
    for (uint32_t i = 0; i < source->file_count; i++)
        free(source->files[i]);
    free(source->text);
    free(source->lines);
    *source = (struct source){0};
}

struct source_line source_place(const struct source *source, int line)
{
    if (source->line_count == 0)
        return (struct source_line){0};
    size_t at = line > 0 ? (size_t)line - 1 : 0;
    return source->lines[at < source->line_count ? at : source->line_count - 1];
}

static char *beside(const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    char *path = NULL;
    if (name[0] == '/' || !slash)
        return strdup(name);
    return asprintf(&path, "%.*s/%s", (int)(slash - file), file, name) < 0 ? NULL : path;
}

char *source_path(const struct source *source, int line, const char *name)
{
    return beside(source->files[source_place(source, line).file], name);
}

static bool wrong(struct reader *reader, const char *text)
{
    snprintf(reader->message, reader->size, "%s:%u: %s", reader->source->files[reader->file], reader->line, text);
    return false;
}

/* Twice the room, where `need` more do not fit. */
static bool grow(void **array, size_t *room, size_t used, size_t need, size_t each)
{
    if (need <= *room - used)
        return true;
    size_t larger = *room ? *room * 2 : 4096;
    while (larger - used < need)
        larger *= 2;
    void *moved = realloc(*array, larger * each);
    if (!moved)
        return false;
    *array = moved;
    *room = larger;
    return true;
}

static bool append_line(struct reader *reader, const char *text, size_t len)
{
    struct source *source = reader->source;
    if (len + 2 > SOURCE_BYTES_MAX - source->len)
        return wrong(reader, "the rules and what they include are more than 4 MiB");
    if (!grow((void **)&source->text, &source->room, source->len, len + 2, 1) ||
        !grow((void **)&source->lines, &source->line_room, source->line_count, 1, sizeof *source->lines))
        return wrong(reader, "no memory to read it");
    source->lines[source->line_count++] = (struct source_line){reader->file, reader->line};
    memcpy(source->text + source->len, text, len);
    source->len += len;
    source->text[source->len++] = '\n';
    source->text[source->len] = '\0';
    return true;
}

/* libConfuse would print what it does not know of, and go on without it. */
static bool is_plain(char octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') || (octet >= 'a' && octet <= 'z') ||
           (octet && strchr(" \t\r_-./:@={}(),+<>%", octet));
}

/* Blanks in place of comments, and a look at what is neither comment nor quoted. */
static bool clean(struct reader *reader, char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char octet = text[i], next = text[i + 1]; /* NUL at the end */
        switch (reader->state) {
        case CODE:
            if (octet == '"' || octet == '\'') {
                reader->state = QUOTED;
                reader->quote = octet;
            } else if (octet == '#' || (octet == '/' && next == '/')) {
                reader->state = TO_LINE_END;
                text[i] = ' ';
            } else if (octet == '/' && next == '*') {
                reader->state = TO_CLOSE;
                reader->comment_line = reader->line;
                text[i] = text[i + 1] = ' ';
                i++;
            } else if (!is_plain(octet)) {
                return wrong(reader, "a character that must stand in quotes, as in match = {\"*@example.net\"}");
            }
            if (octet == '{' && reader->braces == 0)
                reader->brace_line = reader->line;
            reader->braces += reader->state == CODE ? (octet == '{') - (octet == '}') : 0;
            break;
        case QUOTED:
            if (octet == '\\')
                i++;
            else if (octet == reader->quote)
                reader->state = CODE;
            break;
        case TO_LINE_END:
            text[i] = ' ';
            break;
        case TO_CLOSE:
            text[i] = ' ';
            if (octet == '*' && next == '/') {
                text[++i] = ' ';
                reader->state = CODE;
            }
            break;
        }
    }
    if (reader->state == TO_LINE_END)
        reader->state = CODE;
    return true;
}

/* The path of a line `include "PATH"` or `include("PATH")`, cut out of it; NULL where it is another line. */
static char *included(char *line)
{
    char *at = line + strspn(line, " \t");
    if (strncmp(at, "include", 7) != 0)
        return NULL;
    at += 7;
    at += strspn(at, " \t(");
    char quote = *at;
    if (quote != '"' && quote != '\'')
        return NULL;
    char *end = strchr(at + 1, quote);
    if (!end || end[1 + strspn(end + 1, " \t)\r")] != '\0')
        return NULL;
    *end = '\0';
    return at + 1;
}

static bool read_one(struct source *source, const char *path, uint32_t depth, char *message, size_t size);

static bool include(struct reader *reader, const char *name)
{
    if (reader->depth + 1 == SOURCE_DEPTH_MAX)
        return wrong(reader, "too many files include one another; is it a circle?");
    char *path = beside(reader->source->files[reader->file], name);
    if (!path)
        return wrong(reader, "no memory to read it");
    char cause[512];
    bool good = read_one(reader->source, path, reader->depth + 1, cause, sizeof cause);
    free(path);
    if (!good)
        snprintf(reader->message, reader->size, "%s (included by %s:%u)", cause, reader->source->files[reader->file],
                 reader->line);
    return good;
}

static bool take_lines(struct reader *reader, char *text)
{
    for (char *line = text; line;) {
        char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        reader->line++;
        bool outside = reader->state == CODE && reader->braces == 0;
        line[len] = '\0';
        if (!clean(reader, line, len))
            return false;
        if (reader->state == QUOTED)
            return wrong(reader, "a quote is not closed");
        char *name = outside ? included(line) : NULL;
        if (name ? !include(reader, name) : !append_line(reader, line, len))
            return false;
        line = end ? end + 1 : NULL;
    }
    return true;
}

/* What opens closes in the same file: libConfuse takes the end of the text for the end of a section. */
static bool all_closed(struct reader *reader)
{
    if (reader->state == TO_CLOSE) {
        reader->line = reader->comment_line;
        return wrong(reader, "a comment is not closed");
    }
    if (reader->braces > 0) {
        reader->line = reader->brace_line;
        return wrong(reader, "a brace is not closed; write } where its section or list ends");
    }
    return true;
}

static bool read_one(struct source *source, const char *path, uint32_t depth, char *message, size_t size)
{
    size_t len = 0;
    if (source->file_count == SOURCE_FILES_MAX) {
        snprintf(message, size, "%s: more than %d files are included", path, SOURCE_FILES_MAX);
        return false;
    }
    char *text = source_file(path, SOURCE_BYTES_MAX, &len);
    if (!text && errno == EINVAL) {
        snprintf(message, size, "%s: cannot read the rules: it is no regular file", path);
        return false;
    }
    if (!text || !(source->files[source->file_count] = strdup(path))) {
        snprintf(message, size, "%s: cannot read the rules: %s", path, strerror(errno));
        free(text);
        return false;
    }
    struct reader reader = {.source = source, .depth = depth, .message = message, .size = size};
    reader.file = source->file_count++;
    bool good = strlen(text) == len;
    if (!good)
        snprintf(message, size, "%s: this is no text: a NUL at octet %zu", path, strlen(text) + 1);
    good = good && take_lines(&reader, text) && all_closed(&reader);
    free(text);
    return good;
}

bool source_read(struct source *source, const char *path, char *message, size_t size)
{
    return read_one(source, path, 0, message, size);
}
