/*
 * io/capture - packets from a capture file, and back into one. An adapter around libpcap.
 *
 * In:     pcap and pcapng files (libpcap reads both), as they are or compressed by gzip or zstd (io/unpack); link types
 *         Ethernet (with any number of VLAN tags), raw IP (DLT_RAW, IPV4, IPV6), Linux cooked v1 and v2, null and
 *         loopback.
 * Out:    IP packets as views into the frame, one at a time; frames written to an output of the same link type.
 * Owner:  the reader owns the frame until the next call; the caller may edit it in place.
 * Thread: one for each reader or writer; nothing is shared between two of them.
 * Limits: CAPTURE_FRAME_BYTES_MAX. A pcapng file whose interfaces differ in link type or snap length is read only up
 *         to the second of them (libpcap's limit).
 * Errors: an enum and a message of one line that names the file, what is wrong and what to do, cut to fit and ended
 *         by NUL; `message` is left alone where nothing is wrong. A truncated file gives all packets before the
 *         damage, then CAPTURE_DAMAGED.
 */
#ifndef POSTERN_IO_CAPTURE_H
#define POSTERN_IO_CAPTURE_H

#include "base/span.h"

#define CAPTURE_FRAME_BYTES_MAX 262144

struct capture_reader;
struct capture_writer;

enum capture_status {
    CAPTURE_OK,
    CAPTURE_END,       /* no more packets */
    CAPTURE_CANNOT,    /* cannot be opened, read, created or written (permission, no such file, disk full, memory) */
    CAPTURE_NOT_ONE,   /* not a capture file: empty, something else, or cut off within its own header */
    CAPTURE_LINK_TYPE, /* a link type that this program does not know */
    CAPTURE_DAMAGED,   /* truncated, corrupt or refused by libpcap from here on */
};

struct capture_packet {
    int64_t time_us;    /* since 1970, never negative; 0 where the record has no stamp, or a senseless one */
    uint8_t *frame;     /* the whole frame as recorded; writable, CAPTURE_FRAME_BYTES_MAX octets of room */
    uint32_t frame_len; /* octets of it, up to CAPTURE_FRAME_BYTES_MAX */
    uint32_t ip_at;     /* where the IP packet begins in it; frame_len where the frame carries none */
    uint32_t ip_len;    /* octets from ip_at to the end of the frame, padding included; 0 where it carries no IP */
    bool cut_short;     /* recorded with a snap length that lost octets */
};

/*
 * Open `path` ("-" is standard input). CAPTURE_OK, and *reader is the caller's to close; or CAPTURE_CANNOT,
 * CAPTURE_NOT_ONE or CAPTURE_LINK_TYPE: *reader is NULL and `message` (of `message_size` octets) says why.
 */
enum capture_status capture_open(const char *path, struct capture_reader **reader, char *message, size_t message_size);

/*
 * The next packet (CAPTURE_OK); CAPTURE_END or CAPTURE_DAMAGED (with `message`) at the end, and again in every later
 * call. Only CAPTURE_OK fills in *packet.
 */
enum capture_status capture_next(struct capture_reader *reader, struct capture_packet *packet, char *message,
                                 size_t message_size);

int capture_link_type(const struct capture_reader *reader); /* a DLT_ value */

void capture_close(struct capture_reader *reader); /* NULL is allowed */

/*
 * Create or truncate `path` ("-" is standard output) for frames of `link_type` (a DLT_ value), microsecond stamps.
 * CAPTURE_OK, and *writer is the caller's to finish; or CAPTURE_CANNOT or CAPTURE_LINK_TYPE: *writer is NULL.
 */
enum capture_status capture_create(const char *path, int link_type, struct capture_writer **writer, char *message,
                                   size_t message_size);

/*
 * Write one frame: `link_header` (octets before IP, may be empty) and then `ip`. Both are copied. A frame longer than
 * CAPTURE_FRAME_BYTES_MAX is recorded as cut short; a time outside 1970 to 2106 (the format's range) becomes the nearer
 * end. A failure shows in capture_finish.
 */
void capture_write(struct capture_writer *writer, int64_t time_us, struct span link_header, struct span ip);

/*
 * Flush, close and free. CAPTURE_OK, or CAPTURE_CANNOT with a message where anything could not be written; what was
 * written stays. Standard output is flushed and stays open. NULL is allowed.
 */
enum capture_status capture_finish(struct capture_writer *writer, char *message, size_t message_size);

#endif
