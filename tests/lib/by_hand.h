/*
 * tests/lib/by_hand - a connection whose segments a test sends one by one: up to an offer that is edited, and what must
 * have become of each packet.
 *
 * Checks: by failing the running cmocka test.
 */
#ifndef POSTERN_TESTS_BY_HAND_H
#define POSTERN_TESTS_BY_HAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "drive.h"

#define GREETING "220 hi\r\n"
#define OFFER    "250-host\r\n250-XEXCH50\r\n250 OK\r\n"
#define OFFERED  "250-host\r\n250 OK\r\n"

enum { KEYWORD_AT = sizeof "250-host\r\n" - 1, KEYWORD_LEN = sizeof "250-XEXCH50\r\n" - 1 };

static inline struct drive *begin(const char *name, bool no_acknowledgments)
{
    struct drive_plan plan = {.name = name, .seed = 7, .no_acknowledgments = no_acknowledgments};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    return drive;
}

/* Up to where the server is about to answer EHLO; returns the position of its answer. */
static inline uint32_t until_offer(struct drive *drive)
{
    uint32_t at = sizeof GREETING - 1;
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO x\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    return at;
}

/* The client asks, and the whole offer is made. */
static inline void ask_and_offer(struct drive *drive)
{
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
}

static inline void greet_and_offer(struct drive *drive)
{
    drive_say_text(drive, SMTP_SERVER, GREETING);
    ask_and_offer(drive);
}

static inline void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static inline void assert_read(const struct drive *drive, enum smtp_side side, const char *text)
{
    struct span read = drive_read(drive, side);
    assert_int_equal(read.len, strlen(text));
    assert_memory_equal(read.ptr, text, read.len);
}

static inline void assert_left(const struct drive *drive, uint64_t number, const char *text)
{
    const struct packet *left = drive_left(drive, number);
    assert_non_null(left);
    assert_int_equal(left->payload_len, strlen(text));
    if (left->payload_len)
        assert_memory_equal(packet_payload(left).ptr, text, left->payload_len);
}

static inline void assert_fate(const struct drive *drive, uint64_t number, enum drive_fate fate)
{
    assert_int_equal(drive_fate(drive, number), fate);
}

#endif
