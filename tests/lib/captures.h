/*
 * tests/lib/captures - capture files built octet by octet, a folder for them, and readers that must or must not go on.
 *
 * In:     a link header and what the file's format says of each packet; nothing here uses what writes captures.
 * Out:    a file at captures.path, and what capture_next reads of it.
 * Owner:  octets are the caller's, readers too (capture_close). `captures` is the running test's, made ready by
 *         CAPTURES_TEST; the folder is the group's.
 * Limits: two of the longest frames in one file.
 * Errors: fails the running cmocka test; so does CAPTURES_TEST where one leaves a file open.
 * Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng
 */
#ifndef POSTERN_TESTS_CAPTURES_H
#define POSTERN_TESTS_CAPTURES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io/capture.h"

#define CAPTURES_MAGIC_US UINT32_C(0xa1b2c3d4)
#define CAPTURES_MAGIC_NS UINT32_C(0xa1b23c4d)

enum {
    CAPTURES_IP_BYTES = 28, /* of the packet that most frames carry */
    CAPTURES_LINKS = 33,
};

struct captures {
    char folder[512];
    char path[1024];    /* a file in the folder; a test may name another */
    char message[2048]; /* what was said last */
};
extern struct captures captures;

int captures_make_folder(void **state);
int captures_remove_folder(void **state);
int captures_begin(void **state);
int captures_end(void **state);

#define CAPTURES_TEST(name) cmocka_unit_test_setup_teardown(name, captures_begin, captures_end)

/* ---- octets ---- */

struct captures_octets {
    uint8_t at[2 * CAPTURE_FRAME_BYTES_MAX];
    size_t len;
    bool swapped; /* numbers of the file format are big-endian */
};

void captures_put32(struct captures_octets *o, uint32_t value);
void captures_put_be16(struct captures_octets *o, unsigned value);
void captures_put_fill(struct captures_octets *o, uint8_t value, size_t count);
void captures_put_bytes(struct captures_octets *o, const uint8_t *bytes, size_t len);

/* CAPTURES_IP_BYTES that begin as IPv4 does. */
void captures_put_ip(struct captures_octets *o);

/* ---- frames ---- */

/* A link header: `lead` octets, then numbers of 16 bits, then `trail` octets. */
struct captures_link {
    const char *label;
    int link_type; /* DLT_ */
    size_t lead;
    uint16_t words[9];
    size_t word_count;
    size_t trail;
    bool ip; /* IP is what follows */
};

/* The first one is Ethernet and IPv4. */
extern const struct captures_link captures_links[CAPTURES_LINKS];

/* The header and an IP packet. Returns the length of the header. */
size_t captures_build_frame(struct captures_octets *frame, const struct captures_link *link);

/* ---- files ---- */

/* A pcap file; link types are those of files. */
void captures_start_pcap(struct captures_octets *file, bool swapped, uint32_t magic, uint32_t snap_len,
                         uint32_t link_type);

/* `lost`: octets of the packet that are not in the file. */
void captures_put_record(struct captures_octets *file, uint32_t seconds, uint32_t fraction, uint32_t lost,
                         const uint8_t *bytes, size_t len);

/* A pcapng file. `ticks`: stamps are in units of 10^-ticks seconds (if_tsresol). */
void captures_start_pcapng(struct captures_octets *file, bool swapped);
void captures_put_interface(struct captures_octets *file, unsigned link_type, uint32_t snap_len, uint8_t ticks);
void captures_put_packet(struct captures_octets *file, uint32_t interface, uint64_t stamp, const uint8_t *bytes,
                         size_t len);

/* To captures.path. */
void captures_save(const uint8_t *bytes, size_t len);

/* ---- what is expected ---- */

/* captures.message is one line: the file, what is wrong with `word` in it, what to do. */
void captures_assert_message(const char *name, const char *word);

struct capture_reader *captures_open_good(void);
struct capture_packet captures_next_good(struct capture_reader *reader);

/* The end is the end, however often one asks. */
void captures_assert_over(struct capture_reader *reader, enum capture_status expected);

#endif
