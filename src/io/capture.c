#include "io/capture.h"

#include "base/octets.h"
#include "io/unpack.h"

#include <byteswap.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <pcap/pcap.h>
#include <pcap/sll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define US_PER_SECOND         1000000
#define TIME_US_MAX           ((int64_t)UINT32_MAX * US_PER_SECOND + US_PER_SECOND - 1)
#define LOOPBACK_HEADER_BYTES 4 /* DLT_NULL, DLT_LOOP: an address family */

/* Where the IP packet begins in a frame; frame.len where it carries none. */
typedef uint32_t find_ip_fn(struct span frame);

struct capture_reader {
    FILE *stream;          /* ours until `pcap` is there, then its own */
    FILE *packed;          /* what it is unpacked from; NULL where the capture is not compressed */
    struct unpack *unpack; /* the same */
    char *buffer;          /* the stream's; NULL for its default one */
    pcap_t *pcap;
    find_ip_fn *find_ip;
    uint64_t packet_count;        /* packets given out so far */
    enum capture_status over;     /* CAPTURE_OK while packets come; then what every further call says */
    char fault[PCAP_ERRBUF_SIZE]; /* with CAPTURE_DAMAGED: what is wrong */
    uint8_t frame[CAPTURE_FRAME_BYTES_MAX];
    char name[]; /* for messages, ended by NUL */
};

struct capture_writer {
    pcap_dumper_t *dumper;
    int fault; /* errno of the first write that failed, or 0 */
    uint8_t frame[CAPTURE_FRAME_BYTES_MAX];
    char name[];
};

/* ---- messages ---------------------------------------------------------------------------------- */

/* A file's name may hold anything but NUL, so control characters are made harmless here: a message is one line. */
__attribute__((format(printf, 3, 4))) static void say(char *message, size_t message_size, const char *format, ...)
{
    if (message_size == 0)
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, message_size, format, arguments);
    va_end(arguments);
    for (char *c = message; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

static bool is_standard_stream(const char *path)
{
    return strcmp(path, "-") == 0;
}

/* ---- link headers ------------------------------------------------------------------------------ */

static bool is_tag(uint16_t ethertype)
{
    return ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD || ethertype == ETH_P_QINQ1;
}

/* `ethertype` says what begins at `at` (at most frame.len): IP, or a tag with two octets of its own before the next. */
static uint32_t find_ip_behind(struct span frame, uint16_t ethertype, uint32_t at)
{
    const uint32_t len = (uint32_t)frame.len;

    while (is_tag(ethertype)) {
        if (len - at < 4)
            return len;
        ethertype = load_be16(frame.ptr + at + 2);
        at += 4;
    }
    return ethertype == ETH_P_IP || ethertype == ETH_P_IPV6 ? at : len;
}

static uint32_t find_ip_ethernet(struct span frame)
{
    if (frame.len < ETH_HLEN)
        return (uint32_t)frame.len;
    return find_ip_behind(frame, load_be16(frame.ptr + ETH_HLEN - 2), ETH_HLEN);
}

/* The protocol stands last in a cooked header of version 1, and first in one of version 2. */
static uint32_t find_ip_sll(struct span frame)
{
    if (frame.len < SLL_HDR_LEN)
        return (uint32_t)frame.len;
    return find_ip_behind(frame, load_be16(frame.ptr + SLL_HDR_LEN - 2), SLL_HDR_LEN);
}

static uint32_t find_ip_sll2(struct span frame)
{
    if (frame.len < SLL2_HDR_LEN)
        return (uint32_t)frame.len;
    return find_ip_behind(frame, load_be16(frame.ptr), SLL2_HDR_LEN);
}

/* The recording system's own numbers: AF_INET is 2 everywhere, AF_INET6 is not. */
static bool is_ip_family(uint32_t family)
{
    enum { INET = 2, INET6_LINUX = 10, INET6_BSD = 24, INET6_FREEBSD = 28, INET6_DARWIN = 30 };

    return family == INET || family == INET6_LINUX || family == INET6_BSD || family == INET6_FREEBSD ||
           family == INET6_DARWIN;
}

/* DLT_LOOP: the family in network byte order. */
static uint32_t find_ip_loop(struct span frame)
{
    if (frame.len < LOOPBACK_HEADER_BYTES || !is_ip_family(load_be32(frame.ptr)))
        return (uint32_t)frame.len;
    return LOOPBACK_HEADER_BYTES;
}

/* DLT_NULL: in that of the recording machine, which the file does not tell. No family is one in both orders. */
static uint32_t find_ip_null(struct span frame)
{
    if (frame.len < LOOPBACK_HEADER_BYTES)
        return (uint32_t)frame.len;
    const uint32_t family = load_be32(frame.ptr);
    if (!is_ip_family(family) && !is_ip_family(bswap_32(family)))
        return (uint32_t)frame.len;
    return LOOPBACK_HEADER_BYTES;
}

static uint32_t find_ip_raw(struct span frame)
{
    (void)frame;
    return 0;
}

static const struct link {
    int type; /* DLT_ */
    find_ip_fn *find_ip;
} links[] = {
    {DLT_EN10MB, find_ip_ethernet}, /* 802.3, with or without tags */
    {DLT_RAW, find_ip_raw},         /* no header; the version field tells IPv4 from IPv6 */
    {DLT_IPV4, find_ip_raw},        /* no header */
    {DLT_IPV6, find_ip_raw},        /* no header */
    {DLT_LINUX_SLL, find_ip_sll},   /* tcpdump -i any */
    {DLT_LINUX_SLL2, find_ip_sll2}, /* the same, since libpcap 1.10 */
    {DLT_NULL, find_ip_null},       /* loopback of BSD, macOS, Windows */
    {DLT_LOOP, find_ip_loop},       /* loopback of OpenBSD */
};

enum {
    READ_BUFFER_BYTES = 256 * 1024,
    READ_BUFFER_ALIGNMENT = 4096, /* the kernel copies to the middle of a cache line at a quarter of the speed */
};

#define LINK_COUNT (sizeof links / sizeof links[0])

/* NULL where the type is none of ours. */
static const struct link *find_link(int type)
{
    for (size_t i = 0; i < LINK_COUNT; i++)
        if (links[i].type == type)
            return &links[i];
    return NULL;
}

static enum capture_status say_unknown_link(const char *name, int type, char *message, size_t message_size)
{
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < LINK_COUNT && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : ", ",
                                 pcap_datalink_val_to_name(links[i].type));

    const char *type_name = pcap_datalink_val_to_name(type);
    say(message, message_size, "%s: link type %d (%s) is not known; give a capture with one of %s", name, type,
        type_name != NULL ? type_name : "without a name", known);
    return CAPTURE_LINK_TYPE;
}

/* ---- reading ----------------------------------------------------------------------------------- */

/* A compressed capture: from here on `stream` is what it holds. */
static enum capture_status start_unpacking(struct capture_reader *reader, int first, char *message, size_t message_size)
{
    FILE *plain;
    reader->unpack = unpack_new(reader->stream, first, &plain);
    if (reader->unpack == NULL) {
        say(message, message_size, "%s: no memory to unpack it; free some", reader->name);
        return CAPTURE_CANNOT;
    }
    reader->packed = reader->stream;
    reader->stream = plain;
    return CAPTURE_OK;
}

/* Hand the stream to libpcap. What it says is no capture is told from what cannot be read by the stream's state. */
static enum capture_status start_pcap(struct capture_reader *reader, char *message, size_t message_size)
{
    int first = getc(reader->stream);
    if (unpack_is_packed(first)) {
        (void)ungetc(first, reader->stream);
        if (start_unpacking(reader, first, message, message_size) != CAPTURE_OK)
            return CAPTURE_CANNOT;
        first = getc(reader->stream);
    }
    if (first == EOF && unpack_fault(reader->unpack) != NULL) {
        say(message, message_size, "%s: is not a capture file (%s); give a pcap or pcapng file", reader->name,
            unpack_fault(reader->unpack));
        return CAPTURE_NOT_ONE;
    }
    if (first == EOF && ferror(reader->stream)) {
        say(message, message_size, "%s: cannot be read (%s); give a readable capture file", reader->name,
            strerror(errno));
        return CAPTURE_CANNOT;
    }
    if (first == EOF) {
        say(message, message_size, "%s: is empty; give a pcap or pcapng file", reader->name);
        return CAPTURE_NOT_ONE;
    }
    (void)ungetc(first, reader->stream);

    char fault[PCAP_ERRBUF_SIZE] = "";
    reader->pcap = pcap_fopen_offline_with_tstamp_precision(reader->stream, PCAP_TSTAMP_PRECISION_MICRO, fault);
    if (reader->pcap != NULL)
        return CAPTURE_OK;
    if (ferror(reader->stream) && reader->unpack == NULL) {
        say(message, message_size, "%s: cannot be read (%s); give a readable capture file", reader->name, fault);
        return CAPTURE_CANNOT;
    }
    say(message, message_size, "%s: is not a capture file (%s); give a pcap or pcapng file", reader->name,
        unpack_fault(reader->unpack) != NULL ? unpack_fault(reader->unpack) : fault);
    return CAPTURE_NOT_ONE;
}

static enum capture_status open_into(struct capture_reader *reader, const char *path, char *message,
                                     size_t message_size)
{
    reader->stream = is_standard_stream(path) ? stdin : fopen(path, "rb");
    if (reader->stream == NULL) {
        say(message, message_size, "%s: cannot be opened (%s); give a readable capture file", reader->name,
            strerror(errno));
        return CAPTURE_CANNOT;
    }
    /* A file of gigabytes in reads of 4 KiB costs as much in system calls as in everything else. */
    if (reader->stream != stdin)
        reader->buffer = aligned_alloc(READ_BUFFER_ALIGNMENT, READ_BUFFER_BYTES);
    if (reader->buffer != NULL)
        (void)setvbuf(reader->stream, reader->buffer, _IOFBF, READ_BUFFER_BYTES);
    const enum capture_status status = start_pcap(reader, message, message_size);
    if (status != CAPTURE_OK)
        return status;

    const struct link *link = find_link(pcap_datalink(reader->pcap));
    if (link == NULL)
        return say_unknown_link(reader->name, pcap_datalink(reader->pcap), message, message_size);
    reader->find_ip = link->find_ip;
    return CAPTURE_OK;
}

enum capture_status capture_open(const char *path, struct capture_reader **reader, char *message, size_t message_size)
{
    const char *name = is_standard_stream(path) ? "standard input" : path;
    *reader = NULL;

    struct capture_reader *opened = calloc(1, sizeof *opened + strlen(name) + 1);
    if (opened == NULL) {
        say(message, message_size, "%s: no memory to read it; free some", name);
        return CAPTURE_CANNOT;
    }
    memcpy(opened->name, name, strlen(name) + 1);
    opened->over = CAPTURE_OK;

    const enum capture_status status = open_into(opened, path, message, message_size);
    if (status == CAPTURE_OK)
        *reader = opened;
    else
        capture_close(opened);
    return status;
}

/*
 * Both formats let a record hold any number. The seconds of a pcap record are unsigned 32 bits, which libpcap gives out
 * as signed; those of pcapng have 64 bits, and their product with a million need not fit.
 */
static int64_t stamp_us(const struct timeval *stamp)
{
    int64_t seconds = stamp->tv_sec;
    if (seconds < 0 && seconds >= INT32_MIN)
        seconds += (int64_t)UINT32_MAX + 1;
    if (seconds < 0 || seconds > UINT32_MAX || stamp->tv_usec < 0 || stamp->tv_usec >= US_PER_SECOND)
        return 0;
    return seconds * US_PER_SECOND + stamp->tv_usec;
}

static enum capture_status fetch(struct capture_reader *reader, struct capture_packet *packet)
{
    struct pcap_pkthdr *header;
    const u_char *octets;

    const int got = pcap_next_ex(reader->pcap, &header, &octets);
    if (got == PCAP_ERROR_BREAK)
        return CAPTURE_END;
    if (got != 1) {
        const char *fault = unpack_fault(reader->unpack);
        (void)snprintf(reader->fault, sizeof reader->fault, "%s", fault != NULL ? fault : pcap_geterr(reader->pcap));
        return CAPTURE_DAMAGED;
    }
    /* libpcap checks this for pcap files only; in pcapng the file itself sets the limit. */
    if (header->caplen > CAPTURE_FRAME_BYTES_MAX) {
        (void)snprintf(reader->fault, sizeof reader->fault, "a frame of %u octets, more than %d",
                       (unsigned)header->caplen, CAPTURE_FRAME_BYTES_MAX);
        return CAPTURE_DAMAGED;
    }

    memcpy(reader->frame, octets, header->caplen);
    const uint32_t ip_at = reader->find_ip((struct span){reader->frame, header->caplen});
    *packet = (struct capture_packet){
        .time_us = stamp_us(&header->ts),
        .frame = reader->frame,
        .frame_len = header->caplen,
        .ip_at = ip_at,
        .ip_len = header->caplen - ip_at,
        .cut_short = header->caplen < header->len,
    };
    reader->packet_count++;
    return CAPTURE_OK;
}

enum capture_status capture_next(struct capture_reader *reader, struct capture_packet *packet, char *message,
                                 size_t message_size)
{
    /* Behind the damage libpcap would read on, from the middle of something: ask it no more. */
    if (reader->over == CAPTURE_OK)
        reader->over = fetch(reader, packet);

    if (reader->over == CAPTURE_DAMAGED) {
        /* Interfaces of different types are no damage, but libpcap tells them apart only in words. */
        const bool is_mixed = strstr(reader->fault, "an interface has a ") != NULL;
        say(message, message_size, "%s: unreadable after packet %" PRIu64 " (%s); %s", reader->name,
            reader->packet_count, reader->fault,
            is_mixed ? "record each interface into a file of its own" : "copy or record it again");
    }
    return reader->over;
}

int capture_link_type(const struct capture_reader *reader)
{
    return pcap_datalink(reader->pcap);
}

void capture_close(struct capture_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->pcap != NULL)
        pcap_close(reader->pcap); /* and with it the stream, unless that is stdin */
    else if (reader->stream != NULL && reader->stream != stdin)
        (void)fclose(reader->stream);
    unpack_free(reader->unpack);
    if (reader->packed != NULL && reader->packed != stdin)
        (void)fclose(reader->packed);
    free(reader->buffer);
    free(reader);
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* NULL on failure, and errno says why. */
static pcap_dumper_t *create_dumper(const char *path, int link_type)
{
    pcap_t *shape = pcap_open_dead(link_type, CAPTURE_FRAME_BYTES_MAX);
    if (shape == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    pcap_dumper_t *dumper = pcap_dump_open(shape, path); /* knows "-" too; takes nothing of `shape` along */
    const int fault = errno;
    pcap_close(shape);
    errno = fault;
    return dumper;
}

enum capture_status capture_create(const char *path, int link_type, struct capture_writer **writer, char *message,
                                   size_t message_size)
{
    const char *name = is_standard_stream(path) ? "standard output" : path;
    *writer = NULL;

    if (find_link(link_type) == NULL)
        return say_unknown_link(name, link_type, message, message_size);

    struct capture_writer *created = calloc(1, sizeof *created + strlen(name) + 1);
    if (created == NULL) {
        say(message, message_size, "%s: no memory to write it; free some", name);
        return CAPTURE_CANNOT;
    }
    memcpy(created->name, name, strlen(name) + 1);

    created->dumper = create_dumper(path, link_type);
    if (created->dumper == NULL) {
        say(message, message_size, "%s: cannot be created (%s); give a path that can be written", name,
            strerror(errno));
        free(created);
        return CAPTURE_CANNOT;
    }
    *writer = created;
    return CAPTURE_OK;
}

/* As much of `octets` as still fits behind the first `used` of the frame; the new number used. */
static size_t append(uint8_t frame[CAPTURE_FRAME_BYTES_MAX], size_t used, struct span octets)
{
    octets = span_head(octets, CAPTURE_FRAME_BYTES_MAX - used);
    if (octets.len != 0)
        memcpy(frame + used, octets.ptr, octets.len);
    return used + octets.len;
}

void capture_write(struct capture_writer *writer, int64_t time_us, struct span link_header, struct span ip)
{
    if (writer->fault != 0)
        return;
    if (time_us < 0)
        time_us = 0;
    if (time_us > TIME_US_MAX)
        time_us = TIME_US_MAX;

    const size_t kept = append(writer->frame, append(writer->frame, 0, link_header), ip);
    const struct pcap_pkthdr header = {
        .ts = {.tv_sec = (time_t)(time_us / US_PER_SECOND), .tv_usec = (suseconds_t)(time_us % US_PER_SECOND)},
        .caplen = (bpf_u_int32)kept,
        .len = (bpf_u_int32)(link_header.len + ip.len),
    };

    errno = 0;
    pcap_dump((u_char *)writer->dumper, &header, writer->frame);
    if (ferror(pcap_dump_file(writer->dumper)))
        writer->fault = errno != 0 ? errno : EIO;
}

enum capture_status capture_finish(struct capture_writer *writer, char *message, size_t message_size)
{
    if (writer == NULL)
        return CAPTURE_OK;
    errno = 0;
    if (pcap_dump_flush(writer->dumper) != 0 && writer->fault == 0)
        writer->fault = errno != 0 ? errno : EIO;
    if (pcap_dump_file(writer->dumper) != stdout)
        pcap_dump_close(writer->dumper);

    enum capture_status status = CAPTURE_OK;
    if (writer->fault != 0) {
        say(message, message_size, "%s: cannot be written (%s); make room or give another path", writer->name,
            strerror(writer->fault));
        status = CAPTURE_CANNOT;
    }
    free(writer);
    return status;
}
