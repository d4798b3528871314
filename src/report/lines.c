#include "report/lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { CHUNK_BYTES = 1 << 16 };

struct lines {
    gzFile gzip; /* reads what is not compressed as it is */
    FILE *file;  /* of zstd */
    ZSTD_DStream *zstd;
    ZSTD_inBuffer in;
    size_t wanted; /* what zstd expects yet: 0 at the end of a frame */
    uint8_t compressed[CHUNK_BYTES];
    char *text; /* what was read and is not given out yet */
    size_t begin, end, room;
    bool over, skips; /* the rest of a line that is too long */
    uint64_t left_out;
};

static bool is_zstd(const char *path)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd}; /* RFC 8878 3.1.1 */
    uint8_t octets[sizeof magic];
    FILE *file = fopen(path, "re");
    bool yes = file && fread(octets, sizeof octets, 1, file) == 1 && memcmp(octets, magic, sizeof magic) == 0;
    if (file)
        fclose(file);
    return yes;
}

struct lines *lines_open(const char *path, char *why, size_t size)
{
    struct lines *lines = calloc(1, sizeof *lines);
    errno = lines ? 0 : ENOMEM;
    if (lines && is_zstd(path)) {
        lines->file = fopen(path, "re");
        lines->zstd = ZSTD_createDStream();
    } else if (lines) {
        lines->gzip = gzopen(path, "re");
    }
    if (lines && (lines->gzip || (lines->file && lines->zstd)))
        return lines;
    snprintf(why, size, "%s", errno ? strerror(errno) : "no memory");
    lines_close(lines);
    return NULL;
}

void lines_close(struct lines *lines)
{
    if (!lines)
        return;
    if (lines->gzip)
        gzclose(lines->gzip);
    if (lines->file)
        fclose(lines->file);
    ZSTD_freeDStream(lines->zstd);
    free(lines->text);
    free(lines);
}

uint64_t lines_left_out(const struct lines *lines)
{
    return lines->left_out;
}

/* Octets read into `text` of `room`; 0 at the end, -1 with a reason. */
static long read_gzip(struct lines *lines, char *text, size_t room, char *why, size_t size)
{
    int code;
    int got = gzread(lines->gzip, text, (unsigned)room);
    const char *message = gzerror(lines->gzip, &code);
    if (got >= 0 && (code == Z_OK || code == Z_STREAM_END))
        return got;
    if (code == Z_BUF_ERROR)
        message = "it ends in the middle";
    snprintf(why, size, "%s", code == Z_ERRNO ? strerror(errno) : message);
    return -1;
}

static long read_zstd(struct lines *lines, char *text, size_t room, char *why, size_t size)
{
    ZSTD_outBuffer out = {text, room, 0};
    while (out.pos == 0) {
        if (lines->in.pos == lines->in.size) {
            lines->in = (ZSTD_inBuffer){lines->compressed, fread(lines->compressed, 1, CHUNK_BYTES, lines->file), 0};
            if (lines->in.size == 0 && lines->wanted == 0 && !ferror(lines->file))
                return 0;
            if (lines->in.size == 0) {
                snprintf(why, size, "%s", ferror(lines->file) ? strerror(errno) : "it ends in the middle");
                return -1;
            }
        }
        lines->wanted = ZSTD_decompressStream(lines->zstd, &out, &lines->in);
        if (ZSTD_isError(lines->wanted)) {
            snprintf(why, size, "%s", ZSTD_getErrorName(lines->wanted));
            return -1;
        }
    }
    return (long)out.pos;
}

/* Room for a chunk more behind what is not given out yet. */
static bool make_room(struct lines *lines)
{
    if (lines->begin > 0) {
        memmove(lines->text, lines->text + lines->begin, lines->end - lines->begin);
        lines->end -= lines->begin;
        lines->begin = 0;
    }
    if (lines->room - lines->end > CHUNK_BYTES)
        return true;
    size_t room = lines->end + 2 * (size_t)CHUNK_BYTES;
    char *text = realloc(lines->text, room + 1);
    if (!text)
        return false;
    lines->text = text;
    lines->room = room;
    return true;
}

static bool fill(struct lines *lines, char *why, size_t size)
{
    if (!make_room(lines)) {
        snprintf(why, size, "no memory");
        return false;
    }
    char *at = lines->text + lines->end;
    long got =
        lines->gzip ? read_gzip(lines, at, CHUNK_BYTES, why, size) : read_zstd(lines, at, CHUNK_BYTES, why, size);
    lines->end += got > 0 ? (size_t)got : 0;
    lines->over = got <= 0;
    return got > 0;
}

char *lines_next(struct lines *lines, size_t *len, char *why, size_t size)
{
    why[0] = '\0';
    for (;;) {
        size_t have = lines->end - lines->begin;
        char *line = have ? lines->text + lines->begin : NULL;
        char *newline = have ? memchr(line, '\n', have) : NULL;
        bool last = !newline && lines->over;
        if (last && (have == 0 || lines->skips))
            return NULL;
        if (newline || last) {
            bool skipped = lines->skips;
            *len = newline ? (size_t)(newline - line) : have;
            line[*len] = '\0';
            lines->begin += *len + (newline != NULL);
            lines->skips = false;
            if (!skipped)
                return line;
            continue;
        }
        if (have > LINES_BYTES_MAX || (lines->skips && have)) {
            lines->left_out += !lines->skips;
            lines->skips = true;
            lines->begin = lines->end;
        }
        if (!fill(lines, why, size) && why[0])
            return NULL;
    }
}
