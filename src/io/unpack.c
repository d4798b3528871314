#include "io/unpack.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <zlib.h>
#include <zstd.h>

enum {
    CHUNK_BYTES = 1 << 16,
    GZIP_FIRST = 0x1f, /* RFC 1952 2.3.1 */
    ZSTD_FIRST = 0x28, /* RFC 8878 3.1.1 */
    GZIP_ONLY = 16,    /* what zlib wants added to its window bits */
};

struct unpack {
    FILE *packed;
    ZSTD_DStream *zstd; /* NULL: gzip */
    z_stream gzip;
    bool unfinished; /* of a member or frame a part has been read */
    const char *fault;
    size_t begin, end; /* of `chunk`: what is not used yet */
    uint8_t chunk[CHUNK_BYTES];
};

bool unpack_is_packed(int first)
{
    return first == GZIP_FIRST || first == ZSTD_FIRST;
}

/* The chunk is used up to `begin`. What a decoder says that was given nothing, and had nothing, is not about an end. */
static void note(struct unpack *unpack, size_t begin, size_t made, bool unfinished)
{
    if (begin != unpack->begin || made > 0)
        unpack->unfinished = unfinished;
    unpack->begin = begin;
}

/* Octets made of what is in the chunk, at most `room`; 0 where it takes more of them. */
static size_t inflate_chunk(struct unpack *unpack, char *out, size_t room)
{
    z_stream *gzip = &unpack->gzip;
    gzip->next_in = unpack->chunk + unpack->begin;
    gzip->avail_in = (uInt)(unpack->end - unpack->begin);
    gzip->next_out = (Bytef *)out;
    gzip->avail_out = (uInt)(room < CHUNK_BYTES ? room : CHUNK_BYTES);
    const size_t offered = gzip->avail_out;
    const int status = inflate(gzip, Z_NO_FLUSH);
    const size_t made = offered - gzip->avail_out;
    note(unpack, unpack->end - gzip->avail_in, made, status != Z_STREAM_END);
    if (status == Z_STREAM_END)
        (void)inflateReset(gzip); /* another member may follow */
    else if (status != Z_OK && status != Z_BUF_ERROR)
        unpack->fault = gzip->msg != NULL ? gzip->msg : "it is damaged";
    return made;
}

static size_t decompress_chunk(struct unpack *unpack, char *out, size_t room)
{
    ZSTD_inBuffer in = {unpack->chunk, unpack->end, unpack->begin};
    ZSTD_outBuffer made = {out, room, 0};
    const size_t wanted = ZSTD_decompressStream(unpack->zstd, &made, &in);
    note(unpack, in.pos, made.pos, wanted != 0);
    if (ZSTD_isError(wanted))
        unpack->fault = ZSTD_getErrorName(wanted);
    return made.pos;
}

/* More of the packed stream. False at its end, or where it cannot be read. */
static bool fill(struct unpack *unpack)
{
    if (unpack->begin < unpack->end)
        return true;
    unpack->begin = 0;
    unpack->end = fread(unpack->chunk, 1, CHUNK_BYTES, unpack->packed);
    if (unpack->end > 0)
        return true;
    if (ferror(unpack->packed))
        unpack->fault = strerror(errno);
    else if (unpack->unfinished)
        unpack->fault = "it ends in the middle";
    return false;
}

static ssize_t read_plain(void *cookie, char *out, size_t room)
{
    struct unpack *unpack = cookie;
    size_t made = 0;
    while (made == 0 && unpack->fault == NULL) {
        /* What was made and had no room then needs no more of the packed stream. */
        made = unpack->zstd != NULL ? decompress_chunk(unpack, out, room) : inflate_chunk(unpack, out, room);
        if (made == 0 && unpack->fault == NULL && !fill(unpack))
            break;
    }
    if (made > 0)
        return (ssize_t)made;
    if (unpack->fault == NULL)
        return 0;
    errno = EBADMSG;
    return -1;
}

struct unpack *unpack_new(FILE *packed, int first, FILE **plain)
{
    struct unpack *unpack = calloc(1, sizeof *unpack);
    if (unpack == NULL)
        return NULL;
    unpack->packed = packed;
    unpack->unfinished = true;
    const bool is_ready = first == ZSTD_FIRST ? (unpack->zstd = ZSTD_createDStream()) != NULL
                                              : inflateInit2(&unpack->gzip, MAX_WBITS + GZIP_ONLY) == Z_OK;
    *plain = is_ready ? fopencookie(unpack, "r", (cookie_io_functions_t){.read = read_plain}) : NULL;
    if (*plain != NULL)
        return unpack;
    unpack_free(unpack);
    return NULL;
}

const char *unpack_fault(const struct unpack *unpack)
{
    return unpack != NULL ? unpack->fault : NULL;
}

void unpack_free(struct unpack *unpack)
{
    if (unpack == NULL)
        return;
    if (unpack->zstd != NULL)
        ZSTD_freeDStream(unpack->zstd);
    else
        (void)inflateEnd(&unpack->gzip);
    free(unpack);
}
