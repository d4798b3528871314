#include "conf/source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "base/siphash.h"

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

/* libConfuse gives its callbacks, which read lists, no context. */
static _Thread_local uint8_t hash[SIPHASH_BYTES];

static _Thread_local const char *root;

void source_root(const char *folder)
{
    root = folder;
}

void source_hash_begin(void)
{
    memset(hash, 0, sizeof hash);
}

void source_hash(char text[SOURCE_HASH_BYTES])
{
    hex_write(hash, (SOURCE_HASH_BYTES - 1) / 2, text);
    text[SOURCE_HASH_BYTES - 1] = '\0';
}

static void add_to_hash(const char *text, size_t len)
{
    uint8_t key[SIPHASH_KEY_BYTES];
    memcpy(key, hash, sizeof key);
    siphash128(key, (struct span){(const uint8_t *)text, len}, hash);
}

char *source_file(const char *path, size_t most, size_t *len, char why[FILE_WHY_BYTES])
{
    struct stat about;
    int fd = file_open(path, O_RDONLY, FILE_REGULAR, why);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    char *text = NULL;
    if (fd < 0)
        return NULL;
    errno = 0;
    if (file && fstat(fd, &about) == 0 && (size_t)about.st_size > most)
        errno = EFBIG;
    else if (file && errno == 0 && (text = calloc(1, (size_t)about.st_size + 1)) != NULL)
        *len = fread(text, 1, (size_t)about.st_size, file);
    if (text)
        add_to_hash(text, *len);
    else
        snprintf(why, FILE_WHY_BYTES, "%s", strerror(errno));
    if (file)
        fclose(file);
    else
        close(fd);
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
    if (name[0] == '/' && root)
        return asprintf(&path, "%s%s", root, name) < 0 ? NULL : path;
    if (name[0] == '/' || !slash)
        return strdup(name);
    return asprintf(&path, "%.*s/%s", (int)(slash - file), file, name) < 0 ? NULL : path;
}

char *source_path(const struct source *source, int line, const char *name)
{
    return beside(source->files[source_place(source, line).file], name);
}

/* The text of line `line` (from 1) begins here, and ends before *end. */
static char *line_of(const struct source *source, int line, const char **end)
{
    char *begin = source->text + source->lines[line - 1].at;
    *end = begin + strcspn(begin, "\n");
    return begin;
}

static bool is_of_word(char octet)
{
    return octet && !strchr(" \t\r\n\"'{}=+(),", octet);
}

/* `word` as a word of its own in a line; NULL where it is not there. */
static char *find_word(char *line, const char *end, const char *word)
{
    size_t len = strlen(word);
    for (char *at = line; len <= (size_t)(end - at); at++)
        if (strncmp(at, word, len) == 0 && !is_of_word(at[len]) && (at == line || !is_of_word(at[-1])))
            return at;
    return NULL;
}

int source_section_line(const struct source *source, int line, const char *word, const char *title)
{
    const char *end;
    size_t len = title ? strlen(title) : 0;
    for (int at = line; at > 0 && (size_t)at <= source->line_count; at--) {
        char *begin = line_of(source, at, &end);
        const char *found = find_word(begin, end, word);
        const char *quote = found ? found + strlen(word) + strspn(found + strlen(word), " \t") : "";
        if (found && !title)
            return at;
        if (title && (*quote == '"' || *quote == '\'') && strncmp(quote + 1, title, len) == 0 &&
            quote[1 + len] == *quote)
            return at;
    }
    return line;
}

/* One character, or all of what is quoted or in braces, from `at` on: where it ends. */
static char *skip(char *at)
{
    int braces = 0;
    do {
        char octet = *at++;
        bool quoted = octet == '"' || octet == '\'';
        while (quoted && *at) {
            char next = *at++;
            quoted = next != octet;
            at += next == '\\' && *at;
        }
        braces += (octet == '{') - (octet == '}');
    } while (braces > 0 && *at);
    return at;
}

bool source_blank(struct source *source, int line, const char *key)
{
    const char *end;
    char *begin = line > 0 && (size_t)line <= source->line_count ? line_of(source, line, &end) : NULL;
    char *at = begin ? find_word(begin, end, key) : NULL;
    if (!at)
        return false;
    char *to = at + strlen(key);
    to += strspn(to, " \t\r\n+=");
    if (*to == '"' || *to == '\'') { /* a value, or a section's title */
        to = skip(to);
        char *open = to + strspn(to, " \t\r\n");
        to = *open == '{' ? skip(open) : to;
    } else if (*to == '{') {
        to = skip(to);
    } else {
        while (is_of_word(*to))
            to++;
    }
    for (; at < to; at++)
        if (*at != '\n')
            *at = ' ';
    return true;
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
    source->lines[source->line_count++] = (struct source_line){reader->file, reader->line, source->len};
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

static void rename_variant(char *line)
{
    static const char word[] = "greylist";
    static_assert(sizeof word == sizeof VARIANT_SECTION, "one takes the place of the other");
    char *at = line + strspn(line, " \t");
    if (strncmp(at, word, strlen(word)) != 0)
        return;
    const char *title = at + strlen(word) + strspn(at + strlen(word), " \t");
    if (*title == '"' || *title == '\'')
        memcpy(at, VARIANT_SECTION, strlen(word));
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
        if (outside)
            rename_variant(line);
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
    char why[FILE_WHY_BYTES];
    if (source->file_count == SOURCE_FILES_MAX) {
        snprintf(message, size, "%s: more than %d files are included", path, SOURCE_FILES_MAX);
        return false;
    }
    char *text = source_file(path, SOURCE_BYTES_MAX, &len, why);
    if (!text || !(source->files[source->file_count] = strdup(path))) {
        snprintf(message, size, "%s: cannot read the rules: %s", path, text ? "no memory" : why);
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
