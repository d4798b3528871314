/*
 * Segments as a hostile or unlucky network brings them. tests/lib/drive checks the laws in each of these; a test says
 * besides what must have become of the packets. Case numbers are those of docs/cases.md.
 */
#include "../lib/drive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/octets.h"

#define GREETING "220 hi\r\n"
#define OFFER    "250-host\r\n250-XEXCH50\r\n250 OK\r\n"
#define OFFERED  "250-host\r\n250 OK\r\n"

enum { KEYWORD_AT = sizeof "250-host\r\n" - 1, KEYWORD_LEN = sizeof "250-XEXCH50\r\n" - 1 };

static struct drive *begin(const char *name, bool no_acknowledgments)
{
    struct drive_plan plan = {.name = name, .seed = 7, .no_acknowledgments = no_acknowledgments};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    return drive;
}

/* Up to where the server is about to answer EHLO; returns the position of its answer. */
static uint32_t until_offer(struct drive *drive)
{
    uint32_t at = sizeof GREETING - 1;
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO x\r\n");
    drive_acknowledge(drive, SMTP_SERVER);
    return at;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static void assert_read(const struct drive *drive, enum smtp_side side, const char *text)
{
    struct span read = drive_read(drive, side);
    assert_int_equal(read.len, strlen(text));
    assert_memory_equal(read.ptr, text, read.len);
}

static void assert_left(const struct drive *drive, uint64_t number, const char *text)
{
    const struct packet *left = drive_left(drive, number);
    assert_non_null(left);
    assert_int_equal(left->payload_len, strlen(text));
    if (left->payload_len)
        assert_memory_equal(packet_payload(left).ptr, text, left->payload_len);
}

static void assert_fate(const struct drive *drive, uint64_t number, enum drive_fate fate)
{
    assert_int_equal(drive_fate(drive, number), fate);
}

/* ---- one decision per octet (law 2, cases 57 and 58) --------------------------------------------- */

static void test_case_58_resend_with_other_octets_leaves_with_the_first(void **state)
{
    (void)state;
    struct drive *drive = begin("other octets", true);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO good\r\n");
    uint64_t again = drive_send_text(drive, SMTP_CLIENT, 0, "EHLO evil\r\n");
    assert_fate(drive, again, DRIVE_EDITED);
    assert_left(drive, again, "EHLO good\r\n");
    assert_read(drive, SMTP_SERVER, "EHLO good\r\n");
    end(drive);
}

static void test_case_58_resend_that_goes_further(void **state)
{
    (void)state;
    struct drive *drive = begin("further", true);
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP 1\r\n");
    uint64_t again = drive_send_text(drive, SMTP_CLIENT, 0, "QUIT 2\r\nRSET\r\n");
    assert_left(drive, again, "NOOP 1\r\nRSET\r\n");
    assert_read(drive, SMTP_SERVER, "NOOP 1\r\nRSET\r\n");
    end(drive);
}

static void test_case_57_58_every_overlap_of_two_segments(void **state)
{
    (void)state;
    static const char good[] = "MAIL FROM:<a@b>\r\n", evil[] = "mail from:<e@f>\r\n";
    enum { LEN = sizeof good - 1 };
    for (uint32_t from = 0; from < LEN; from++)
        for (uint32_t to = from + 1; to <= LEN; to++)
            for (uint32_t cut = 1; cut < LEN; cut += 4) {
                struct drive *drive = begin("overlap", true);
                struct segment s = drive_segment(drive, SMTP_CLIENT, 0, span_head(span_of(good), cut));
                drive_send(drive, SMTP_CLIENT, &s);
                s = drive_segment(drive, SMTP_CLIENT, from, span_tail(span_head(span_of(evil), to), from));
                drive_send(drive, SMTP_CLIENT, &s);
                s = drive_segment(drive, SMTP_CLIENT, cut, span_tail(span_of(good), cut));
                drive_send(drive, SMTP_CLIENT, &s);
                s = drive_segment(drive, SMTP_CLIENT, 0, span_of(good));
                drive_send(drive, SMTP_CLIENT, &s);
                assert_int_equal(drive_read(drive, SMTP_SERVER).len, LEN);
                end(drive);
            }
}

static void test_case_57_resend_across_an_edit_with_every_boundary(void **state)
{
    (void)state;
    enum { LEN = sizeof OFFER - 1 };
    for (uint32_t from = 0; from < LEN; from++)
        for (uint32_t to = from + 1; to <= LEN; to++) {
            struct drive *drive = begin("across an edit", true);
            uint32_t at = until_offer(drive);
            drive_send_text(drive, SMTP_SERVER, at, OFFER);
            struct segment s =
                drive_segment(drive, SMTP_SERVER, at + from, span_tail(span_head(span_of(OFFER), to), from));
            uint64_t again = drive_send(drive, SMTP_SERVER, &s);
            assert_non_null(drive_left(drive, again));
            assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
            end(drive);
        }
}

static void test_law_2_resend_across_an_edit_when_the_first_was_lost(void **state)
{
    (void)state;
    /* Nothing of the answer is acknowledged; pieces of every size must give the whole edited answer again. */
    for (uint32_t piece = 1; piece < sizeof OFFER; piece++) {
        struct drive *drive = begin("pieces", true);
        uint32_t at = until_offer(drive);
        drive_send_text(drive, SMTP_SERVER, at, OFFER);
        bool covered[64] = {false};
        uint32_t base = drive_isn(drive, SMTP_SERVER) + 1 + at;
        for (uint32_t from = 0; from < sizeof OFFER - 1; from += piece) {
            struct span part = span_head(span_tail(span_of(OFFER), from), piece);
            struct segment s = drive_segment(drive, SMTP_SERVER, at + from, part);
            const struct packet *left = drive_left(drive, drive_send(drive, SMTP_SERVER, &s));
            assert_non_null(left);
            for (uint32_t i = 0; i < left->payload_len; i++) {
                uint32_t place = left->seq + i - base;
                if (place < sizeof OFFERED - 1) {
                    covered[place] = true;
                    assert_int_equal(packet_payload(left).ptr[i], OFFERED[place]);
                }
            }
        }
        for (uint32_t i = 0; i < sizeof OFFERED - 1; i++)
            assert_true(covered[i]);
        end(drive);
    }
}

static void test_case_57_old_segment_that_was_acknowledged(void **state)
{
    (void)state;
    struct drive *drive = begin("old", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    uint64_t old = drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    assert_non_null(drive_left(drive, old)); /* its receiver answers it with an acknowledgment (RFC 9293 3.10.7.4) */
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_57_duplicates_of_everything(void **state)
{
    (void)state;
    struct drive *drive = begin("duplicates", false);
    static const char *const said[] = {GREETING,     "EHLO x\r\n", OFFER,        "XEXCH50 5 2\r\n",
                                       "250 OK\r\n", "QUIT\r\n",   "221 bye\r\n"};
    uint32_t at[2] = {0, 0};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        enum smtp_side side = i % 2 ? SMTP_CLIENT : SMTP_SERVER;
        for (int copy = 0; copy < 3; copy++)
            drive_send_text(drive, side, at[side], said[i]);
        at[side] += (uint32_t)strlen(said[i]);
    }
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED "504 Refused\r\n221 bye\r\n");
    assert_read(drive, SMTP_SERVER, "EHLO x\r\nNOOP       \r\nQUIT\r\n");
    end(drive);
}

/* ---- order (case 57) ----------------------------------------------------------------------------- */

static void test_case_57_out_of_order_waits_and_leaves_in_order(void **state)
{
    (void)state;
    struct drive *drive = begin("out of order", false);
    uint64_t second = drive_send_text(drive, SMTP_CLIENT, 8, "NOOP 2\r\n");
    assert_fate(drive, second, DRIVE_WAITS);
    uint64_t first = drive_send_text(drive, SMTP_CLIENT, 0, "NOOP 1\r\n");
    assert_left(drive, first, "NOOP 1\r\n");
    assert_left(drive, second, "NOOP 2\r\n");
    assert_read(drive, SMTP_SERVER, "NOOP 1\r\nNOOP 2\r\n");
    end(drive);
}

static void test_case_57_octets_in_reverse(void **state)
{
    (void)state;
    struct drive *drive = begin("reverse", false);
    uint32_t at = until_offer(drive);
    for (uint32_t i = sizeof OFFER - 1; i > 0; i--) {
        struct segment s =
            drive_segment(drive, SMTP_SERVER, at + i - 1, span_head(span_tail(span_of(OFFER), i - 1), 1));
        drive_send(drive, SMTP_SERVER, &s);
    }
    struct span read = drive_read(drive, SMTP_CLIENT);
    assert_null(memmem(read.ptr, read.len, "XEXCH50", 7));
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_57_each_order_of_four_segments(void **state)
{
    (void)state;
    static const char *const parts[4] = {"250-h\r\n250", "-XEX", "CH50\r\n25", "0 OK\r\n"};
    uint32_t starts[4], total = 0;
    for (int i = 0; i < 4; i++) {
        starts[i] = total;
        total += (uint32_t)strlen(parts[i]);
    }
    for (int order = 0; order < 256; order++) {
        int turn[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6 & 3};
        if ((1 << turn[0] | 1 << turn[1] | 1 << turn[2] | 1 << turn[3]) != 15)
            continue;
        struct drive *drive = begin("order", false);
        uint32_t at = until_offer(drive);
        for (int i = 0; i < 4; i++)
            drive_send_text(drive, SMTP_SERVER, at + starts[turn[i]], parts[turn[i]]);
        drive_wait(drive, 100000);
        assert_read(drive, SMTP_CLIENT, GREETING "250-h\r\n250 OK\r\n");
        assert_int_equal(drive_acknowledged(drive, SMTP_SERVER), at + total);
        end(drive);
    }
}

static void test_law_4_a_gap_that_never_fills_drops_what_waits(void **state)
{
    (void)state;
    struct drive *drive = begin("gap", false);
    uint64_t late = drive_send_text(drive, SMTP_CLIENT, 100, "NOOP\r\n");
    assert_fate(drive, late, DRIVE_WAITS);
    drive_wait(drive, 10000000);
    assert_fate(drive, late, DRIVE_DROPPED);
    assert_int_equal(drive_counters(drive)->stale, 1);
    end(drive);
}

/* A segment that tells its receiver of nothing but a gap: one octet that it has, or the place of the SYN. */
static void assert_probe(const struct drive *drive, enum smtp_side side, uint64_t number, uint32_t next)
{
    const struct packet *left = drive_left(drive, number);
    assert_non_null(left);
    assert_int_equal(left->payload_len, 1);
    assert_int_equal(left->seq, drive_isn(drive, side) + next);
    assert_false(left->flags & PACKET_FIN);
}

/* The receiver's answer to a probe as its sender sees it: the first SACK block, as positions of what it says. */
static void assert_told(struct drive *drive, enum smtp_side side, uint32_t next, uint32_t from, uint32_t to)
{
    uint32_t base = drive_isn(drive, side) + 1;
    struct segment s = drive_segment(drive, !side, (uint32_t)drive_said(drive, !side).len, (struct span){0});
    segment_add_sack(&s.options, base + next - 1, base + next);
    const struct packet *left = drive_left(drive, drive_send(drive, !side, &s));
    assert_non_null(left);
    assert_true(left->sack_at != 0);
    assert_int_equal(left->ack, base + next);
    assert_int_equal(load_be32(left->bytes + left->sack_at + 2), base + from);
    assert_int_equal(load_be32(left->bytes + left->sack_at + 6), base + to);
}

static void test_gap_resend_of_what_waits_is_a_probe(void **state)
{
    (void)state;
    struct drive *drive = begin("resend behind a gap", false);
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP 0\r\n");
    uint64_t waits = drive_send_text(drive, SMTP_CLIENT, 16, "NOOP 2\r\n");
    uint64_t again = drive_send_text(drive, SMTP_CLIENT, 18, "OP 2\r\n");
    assert_fate(drive, waits, DRIVE_WAITS);
    assert_probe(drive, SMTP_CLIENT, again, 8);
    assert_told(drive, SMTP_CLIENT, 8, 16, 24);
    drive_send_text(drive, SMTP_CLIENT, 8, "NOOP 1\r\n");
    assert_left(drive, waits, "NOOP 2\r\n");
    assert_read(drive, SMTP_SERVER, "NOOP 0\r\nNOOP 1\r\nNOOP 2\r\n");
    end(drive);
}

static void test_gap_resend_of_a_fin_is_a_probe(void **state)
{
    (void)state;
    struct drive *drive = begin("FIN behind a gap", false);
    struct segment fin = drive_segment(drive, SMTP_SERVER, sizeof GREETING - 1, (struct span){0});
    fin.flags |= PACKET_FIN;
    uint64_t waits = drive_send(drive, SMTP_SERVER, &fin);
    assert_fate(drive, waits, DRIVE_WAITS);
    assert_probe(drive, SMTP_SERVER, drive_send(drive, SMTP_SERVER, &fin), 0);
    assert_false(drive_read_fin(drive, SMTP_CLIENT));
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    assert_true(drive_read_fin(drive, SMTP_CLIENT));
    end(drive);
}

/* Of those that wait the lowest is given up; its sender hears of the others, whose stretch has no gap. */
static void test_gap_one_of_several_is_a_probe(void **state)
{
    (void)state;
    struct drive *drive = begin("probe", false);
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP 0\r\n");
    uint64_t waits[4];
    for (uint32_t i = 0; i < 4; i++)
        waits[i] = drive_send_text(drive, SMTP_CLIENT, 16 + i * 8, "NOOP 2\r\n");
    drive_wait(drive, 4000);
    assert_fate(drive, waits[0], DRIVE_WAITS);
    drive_wait(drive, 4000);
    assert_probe(drive, SMTP_CLIENT, waits[0], 8);
    for (uint32_t i = 1; i < 4; i++)
        assert_fate(drive, waits[i], DRIVE_WAITS);
    assert_told(drive, SMTP_CLIENT, 8, 24, 48);
    drive_send_text(drive, SMTP_CLIENT, 8, "NOOP 1\r\n");
    assert_fate(drive, waits[1], DRIVE_WAITS);
    drive_send_text(drive, SMTP_CLIENT, 16, "NOOP 2\r\n");
    assert_left(drive, waits[3], "NOOP 2\r\n");
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, 48);
    end(drive);
}

/* Probes cost resends: one that waits alone is none, and further ones need more than were told of. */
static void test_gap_probes_are_few(void **state)
{
    (void)state;
    struct drive *drive = begin("few probes", false);
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP 0\r\n");
    uint32_t probes = 0;
    for (uint32_t i = 1; i <= 32; i++) {
        uint64_t number = drive_send_text(drive, SMTP_CLIENT, 8 + i * 8, "NOOP 2\r\n");
        drive_wait(drive, 8000);
        assert_fate(drive, number, DRIVE_WAITS);
    }
    for (uint64_t number = 1; number <= drive_counters(drive)->packets; number++) {
        const struct packet *left = drive_left(drive, number);
        probes += left && left->payload_len == 1;
    }
    assert_int_equal(probes, 5);
    assert_int_equal(drive_counters(drive)->probes, 5);
    end(drive);
}

static void test_gap_an_aggregate_is_no_probe(void **state)
{
    (void)state;
    static const uint8_t line[4096] = "NOOP";
    struct drive *drive = begin("aggregates", false);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 8, (struct span){line, sizeof line});
    uint64_t first = drive_send(drive, SMTP_CLIENT, &s);
    s = drive_segment(drive, SMTP_CLIENT, 8 + sizeof line, (struct span){line, sizeof line});
    uint64_t second = drive_send(drive, SMTP_CLIENT, &s);
    drive_wait(drive, 8000);
    assert_fate(drive, first, DRIVE_WAITS);
    assert_fate(drive, second, DRIVE_WAITS);
    assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_DROPPED);
    end(drive);
}

static void test_bound_of_held_packets(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "held", .seed = 3, .flow_held_max = 4};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    for (uint32_t i = 1; i <= 10; i++) {
        uint64_t number = drive_send_text(drive, SMTP_CLIENT, i * 8, "NOOP 2\r\n");
        if (i <= 4)
            assert_fate(drive, number, DRIVE_WAITS);
        else
            assert_probe(drive, SMTP_CLIENT, number, 0);
    }
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP 1\r\n");
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, 5 * 8);
    end(drive);
}

/* What waits out of order is not decided: whichever copy was taken in is the one that leaves, everywhere. */
static void test_case_58_two_out_of_order_copies_that_differ(void **state)
{
    (void)state;
    for (int evil_first = 0; evil_first < 2; evil_first++) {
        struct drive *drive = begin("two copies", false);
        drive_send_text(drive, SMTP_CLIENT, 6, evil_first ? "XEXCH50 1 1\r\n" : "NOOP      2\r\n");
        drive_send_text(drive, SMTP_CLIENT, 6, evil_first ? "NOOP      2\r\n" : "XEXCH50 1 1\r\n");
        drive_send_text(drive, SMTP_CLIENT, 0, "NOOP\r\n");
        struct span read = drive_read(drive, SMTP_SERVER);
        assert_int_equal(read.len, 6 + 13);
        assert_null(memmem(read.ptr, read.len, "XEXCH50", 7));
        end(drive);
    }
}

/* ---- the beginning (cases 64 and 65) --------------------------------------------------------------- */

static struct segment syn(const struct drive *drive, enum smtp_side side, bool answers, const char *text)
{
    struct segment s = drive_segment(drive, side, 0, span_of(text));
    s.seq--;
    s.flags = answers ? PACKET_SYN | PACKET_ACK : PACKET_SYN;
    if (!answers)
        s.ack = 0;
    segment_add_mss(&s.options, 1460);
    return s;
}

static void test_case_64_octets_in_the_syn_come_again(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "data in SYN", .seed = 5};
    struct drive *drive = drive_new(&plan);
    struct segment s = syn(drive, SMTP_CLIENT, false, "EHLO x\r\n");
    uint64_t first = drive_send(drive, SMTP_CLIENT, &s);
    assert_left(drive, first, "");
    s = syn(drive, SMTP_SERVER, true, "");
    drive_send(drive, SMTP_SERVER, &s);
    uint64_t again = drive_send_text(drive, SMTP_CLIENT, 0, "EHLO x\r\n");
    assert_left(drive, again, "EHLO x\r\n");
    assert_read(drive, SMTP_SERVER, "EHLO x\r\n");
    end(drive);
}

static void test_case_64_octets_in_the_syn_ack_come_again(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "data in SYN-ACK", .seed = 5};
    struct drive *drive = drive_new(&plan);
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    drive_send(drive, SMTP_CLIENT, &s);
    s = syn(drive, SMTP_SERVER, true, GREETING);
    assert_left(drive, drive_send(drive, SMTP_SERVER, &s), "");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    assert_read(drive, SMTP_CLIENT, GREETING);
    end(drive);
}

static void test_case_64_octets_in_the_third_ack(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "data in ACK", .seed = 5};
    struct drive *drive = drive_new(&plan);
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    drive_send(drive, SMTP_CLIENT, &s);
    s = syn(drive, SMTP_SERVER, true, "");
    drive_send(drive, SMTP_SERVER, &s);
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO early\r\n");
    assert_read(drive, SMTP_SERVER, "EHLO early\r\n");
    end(drive);
}

static void test_case_64_an_ack_before_the_syn_ack_breaks_nothing(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "early ACK", .seed = 5};
    struct drive *drive = drive_new(&plan);
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    drive_send(drive, SMTP_CLIENT, &s);
    drive_acknowledge(drive, SMTP_CLIENT);
    s = syn(drive, SMTP_SERVER, true, "");
    drive_send(drive, SMTP_SERVER, &s);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_65_simultaneous_open(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "simultaneous open", .seed = 9};
    struct drive *drive = drive_new(&plan);
    for (int answers = 0; answers < 2; answers++)
        for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
            struct segment s = syn(drive, (enum smtp_side)side, answers, "");
            assert_non_null(drive_left(drive, drive_send(drive, (enum smtp_side)side, &s)));
        }
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_acknowledge(drive, SMTP_SERVER);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_65_syn_sent_again(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "SYN again", .seed = 9};
    struct drive *drive = drive_new(&plan);
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    drive_send(drive, SMTP_CLIENT, &s);
    drive_send(drive, SMTP_CLIENT, &s);
    struct segment answer = syn(drive, SMTP_SERVER, true, "");
    drive_send(drive, SMTP_SERVER, &answer);
    drive_send(drive, SMTP_SERVER, &answer);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_send(drive, SMTP_CLIENT, &s);
    drive_say_text(drive, SMTP_SERVER, OFFER);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

/* A SYN-ACK that acknowledges something else belongs to no connection (RFC 9293 3.10.7.3). */
static void test_case_65_syn_ack_of_another_syn_is_dropped(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "stray SYN-ACK", .seed = 9};
    struct drive *drive = drive_new(&plan);
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    drive_send(drive, SMTP_CLIENT, &s);
    struct segment answer = syn(drive, SMTP_SERVER, true, "");
    answer.ack += 1000;
    assert_fate(drive, drive_send(drive, SMTP_SERVER, &answer), DRIVE_DROPPED);
    assert_int_equal(drive_counters(drive)->bad_syn, 1);
    end(drive);
}

/* The same ports again, after both FINs: a connection of its own, edited like the first. */
static void test_case_65_port_reuse_after_a_close(void **state)
{
    (void)state;
    struct drive *drive = begin("port reuse", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_close(drive, SMTP_CLIENT);
    struct drive_plan plan = {.name = "second", .isn = {1000, 2000}};
    (void)plan;
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    s.seq += 1000000;
    assert_non_null(drive_left(drive, drive_send(drive, SMTP_CLIENT, &s)));
    assert_int_equal(drive_counters(drive)->flows_ended, 1);
    end(drive);
}

/* ---- the end (case 60) ----------------------------------------------------------------------------- */

static uint64_t send_reset(struct drive *drive, enum smtp_side side, uint32_t at)
{
    struct segment s = drive_segment(drive, side, at, (struct span){0});
    s.flags = PACKET_RST;
    s.ack = 0;
    return drive_send(drive, side, &s);
}

static void test_case_60_reset_in_window_passes(void **state)
{
    (void)state;
    struct drive *drive = begin("RST", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    assert_non_null(drive_left(drive, send_reset(drive, SMTP_SERVER, sizeof GREETING - 1)));
    end(drive);
}

static void test_case_60_reset_number_is_translated(void **state)
{
    (void)state;
    struct drive *drive = begin("RST behind an edit", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    uint32_t at = (uint32_t)strlen(GREETING OFFER);
    const struct packet *left = drive_left(drive, send_reset(drive, SMTP_SERVER, at));
    assert_non_null(left);
    assert_int_equal(left->seq, drive_isn(drive, SMTP_SERVER) + 1 + at - KEYWORD_LEN);
    end(drive);
}

static void test_case_60_reset_out_of_window_changes_nothing(void **state)
{
    (void)state;
    struct drive *drive = begin("RST out of window", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    static const int32_t places[] = {-1000, 1000000, -1000000};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
            assert_fate(drive, send_reset(drive, (enum smtp_side)side, (uint32_t)places[i]), DRIVE_DROPPED);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_60_reset_with_a_bad_checksum_changes_nothing(void **state)
{
    (void)state;
    struct drive *drive = begin("RST, bad checksum", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    struct segment s = drive_segment(drive, SMTP_SERVER, sizeof GREETING - 1, (struct span){0});
    s.flags = PACKET_RST;
    s.bad_checksum = true;
    assert_fate(drive, drive_send(drive, SMTP_SERVER, &s), DRIVE_DROPPED);
    assert_int_equal(drive_counters(drive)->bad_checksum, 1);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_60_reset_loses_its_octets(void **state)
{
    (void)state;
    struct drive *drive = begin("RST with data", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 0, span_of("XEXCH50 1 2\r\n"));
    s.flags = PACKET_RST | PACKET_ACK;
    assert_left(drive, drive_send(drive, SMTP_CLIENT, &s), "");
    end(drive);
}

static void test_case_56_fin_with_octets(void **state)
{
    (void)state;
    struct drive *drive = begin("FIN with data", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 0, span_of("QUIT\r\n"));
    s.flags |= PACKET_FIN;
    drive_send(drive, SMTP_CLIENT, &s);
    assert_true(drive_read_fin(drive, SMTP_SERVER));
    assert_read(drive, SMTP_SERVER, "QUIT\r\n");
    drive_say_text(drive, SMTP_SERVER, "221 bye\r\n"); /* half-closed: the other direction goes on */
    drive_close(drive, SMTP_SERVER);
    end(drive);
}

static void test_case_56_fin_behind_the_beginning_of_a_line(void **state)
{
    (void)state;
    struct drive *drive = begin("FIN behind a part", false);
    uint32_t at = until_offer(drive);
    static const char part[] = "250-host\r\n250-XEX";
    struct segment s = drive_segment(drive, SMTP_SERVER, at, span_of(part));
    s.flags |= PACKET_FIN;
    drive_send(drive, SMTP_SERVER, &s);
    drive_wait(drive, 1000000);
    assert_true(drive_read_fin(drive, SMTP_CLIENT));
    end(drive);
}

static void test_case_60_fin_that_comes_too_early_waits(void **state)
{
    (void)state;
    struct drive *drive = begin("early FIN", false);
    struct segment fin = drive_segment(drive, SMTP_SERVER, sizeof GREETING - 1, (struct span){0});
    fin.flags |= PACKET_FIN;
    uint64_t number = drive_send(drive, SMTP_SERVER, &fin);
    assert_fate(drive, number, DRIVE_WAITS);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    assert_non_null(drive_left(drive, number));
    assert_true(drive_read_fin(drive, SMTP_CLIENT));
    assert_read(drive, SMTP_CLIENT, GREETING);
    end(drive);
}

static void test_case_60_fin_number_is_translated_and_sent_again(void **state)
{
    (void)state;
    struct drive *drive = begin("FIN behind an edit", true);
    uint32_t at = until_offer(drive);
    drive_send_text(drive, SMTP_SERVER, at, OFFER);
    uint32_t end_at = at + sizeof OFFER - 1;
    for (int copy = 0; copy < 3; copy++) {
        struct segment fin = drive_segment(drive, SMTP_SERVER, end_at, (struct span){0});
        fin.flags |= PACKET_FIN;
        const struct packet *left = drive_left(drive, drive_send(drive, SMTP_SERVER, &fin));
        assert_non_null(left);
        assert_int_equal(left->seq, drive_isn(drive, SMTP_SERVER) + 1 + end_at - KEYWORD_LEN);
    }
    struct segment all = drive_segment(drive, SMTP_SERVER, at, span_of(OFFER));
    all.flags |= PACKET_FIN;
    assert_left(drive, drive_send(drive, SMTP_SERVER, &all), OFFERED);
    drive_acknowledge(drive, SMTP_CLIENT);
    assert_int_equal(drive_acknowledged(drive, SMTP_SERVER), end_at);
    end(drive);
}

/* Octets behind a FIN are none (RFC 9293 3.10.4): the stream ended. */
static void test_case_60_octets_behind_the_fin_do_not_leave(void **state)
{
    (void)state;
    alarm(20); /* this once went on for ever, so it also stands last */
    struct drive *drive = begin("behind FIN", true);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    struct segment fin = drive_segment(drive, SMTP_CLIENT, 0, span_of("QUIT\r\n"));
    fin.flags |= PACKET_FIN;
    drive_send(drive, SMTP_CLIENT, &fin);
    drive_send_text(drive, SMTP_CLIENT, 6, "XEXCH50 1 2\r\n");
    struct span read = drive_read(drive, SMTP_SERVER);
    assert_null(memmem(read.ptr, read.len, "XEXCH50", 7));
    end(drive);
}

/* ---- acknowledgments (cases 59, 62) ------------------------------------------------------------------ */

static void test_case_59_acknowledgment_beyond_what_was_sent_is_dropped(void **state)
{
    (void)state;
    struct drive *drive = begin("ACK beyond", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
    s.ack += 1;
    assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_DROPPED);
    s.ack += 1000000;
    s.payload = span_of("XEXCH50 1 2\r\n");
    assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_DROPPED);
    end(drive);
}

static void test_case_59_acknowledgment_at_each_octet_of_an_edited_reply(void **state)
{
    (void)state;
    for (uint32_t taken = 0; taken <= sizeof OFFERED - 1; taken++) {
        struct drive *drive = begin("ACK inside", true);
        uint32_t at = until_offer(drive);
        drive_send_text(drive, SMTP_SERVER, at, OFFER);
        struct segment s = drive_segment(drive, SMTP_CLIENT, 8, (struct span){0});
        s.ack = drive_isn(drive, SMTP_SERVER) + 1 + at + taken;
        const struct packet *left = drive_left(drive, drive_send(drive, SMTP_CLIENT, &s));
        assert_non_null(left);
        uint32_t expected = taken < KEYWORD_AT ? taken : taken + KEYWORD_LEN;
        assert_int_equal(left->ack, drive_isn(drive, SMTP_SERVER) + 1 + at + expected);
        end(drive);
    }
}

static void test_case_59_sack_blocks_are_translated(void **state)
{
    (void)state;
    struct drive *drive = begin("SACK", true);
    uint32_t at = until_offer(drive);
    drive_send_text(drive, SMTP_SERVER, at, OFFER);
    drive_send_text(drive, SMTP_SERVER, at + sizeof OFFER - 1, "250 more\r\n");
    uint32_t base = drive_isn(drive, SMTP_SERVER) + 1 + at;
    struct segment s = drive_segment(drive, SMTP_CLIENT, 8, (struct span){0});
    s.ack = base;
    segment_add_sack(&s.options, base + KEYWORD_AT, base + sizeof OFFERED - 1);
    segment_add_sack(&s.options, base + 2, base + 4);
    const struct packet *left = drive_left(drive, drive_send(drive, SMTP_CLIENT, &s));
    assert_non_null(left);
    assert_true(left->sack_at != 0);
    const uint8_t *option = left->bytes + left->sack_at;
    assert_int_equal(option[1], 18);
    /* The first block says nothing of the keyword's octets: that they were taken out is not known to have arrived. */
    uint32_t from = load_be32(option + 2) - base;
    assert_true(from >= KEYWORD_AT && from <= KEYWORD_AT + KEYWORD_LEN);
    assert_int_equal(load_be32(option + 6), base + sizeof OFFER - 1);
    assert_int_equal(load_be32(option + 10), base + 2);
    assert_int_equal(load_be32(option + 14), base + 4);
    end(drive);
}

static void test_case_62_keep_alive(void **state)
{
    (void)state;
    struct drive *drive = begin("keep-alive", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
    drive_say_text(drive, SMTP_SERVER, OFFER);
    uint32_t at = (uint32_t)strlen(GREETING OFFER);
    for (int octets = 0; octets < 2; octets++) {
        struct segment s = drive_segment(drive, SMTP_SERVER, at - 1, span_head(span_of("\n"), (size_t)octets));
        const struct packet *left = drive_left(drive, drive_send(drive, SMTP_SERVER, &s));
        assert_non_null(left);
        assert_int_equal(left->payload_len, octets);
        assert_int_equal(left->seq, drive_isn(drive, SMTP_SERVER) + at - KEYWORD_LEN);
    }
    end(drive);
}

/* ---- what else a segment may carry (case 63) ------------------------------------------------------------ */

static void test_case_63_urgent_data_becomes_ordinary(void **state)
{
    (void)state;
    struct drive *drive = begin("urgent", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 0, span_of("XEXCH!50 1 2\r\n"));
    s.flags |= PACKET_URG;
    s.urgent = 6;
    const struct packet *left = drive_left(drive, drive_send(drive, SMTP_CLIENT, &s));
    assert_non_null(left);
    assert_int_equal(left->flags & PACKET_URG, 0);
    assert_int_equal(load_be16(left->bytes + left->tcp_at + 18), 0);
    assert_read(drive, SMTP_SERVER, "XEXCH!50 1 2\r\n");
    end(drive);
}

static void test_case_68_bad_checksum_is_dropped(void **state)
{
    (void)state;
    struct drive *drive = begin("chaff", false);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 0, span_of("XEXCH50 1 2\r\n"));
    s.bad_checksum = true;
    assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_DROPPED);
    drive_send_text(drive, SMTP_CLIENT, 0, "NOOP     3\r\n\r\n");
    assert_read(drive, SMTP_SERVER, "NOOP     3\r\n\r\n");
    end(drive);
}

static void test_segment_without_ack_is_dropped(void **state)
{
    (void)state;
    struct drive *drive = begin("no ACK", false);
    struct segment s = drive_segment(drive, SMTP_CLIENT, 0, span_of("NOOP\r\n"));
    s.flags = 0;
    assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_DROPPED);
    end(drive);
}

/* ---- older than the filter, and protected (cases 66 and 67) ------------------------------------------------ */

static void test_case_66_midstream_passes_and_is_reported_once(void **state)
{
    (void)state;
    struct drive_plan plan = {.name = "midstream", .seed = 2};
    struct drive *drive = drive_new(&plan);
    for (uint32_t i = 0; i < 5; i++)
        drive_send_text(drive, SMTP_CLIENT, i * 13, "XEXCH50 1 2\r\n");
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, 5 * 13);
    assert_int_equal(drive_counters(drive)->flows_midstream, 1);
    assert_int_equal(drive_event_count(drive), 1);
    assert_string_equal(drive_event(drive, 0)->event.reason, "midstream");
    end(drive);
}

static void test_case_67_protected_flows_are_not_edited(void **state)
{
    (void)state;
    static const uint8_t kinds[] = {19, 29, 30}; /* TCP-MD5, TCP-AO, MPTCP */
    for (size_t i = 0; i < sizeof kinds; i++) {
        struct drive_plan plan = {.name = "protected", .seed = 2};
        struct drive *drive = drive_new(&plan);
        struct segment s = syn(drive, SMTP_CLIENT, false, "");
        static const uint8_t value[16] = {1};
        segment_add_option(&s.options, kinds[i], value, sizeof value);
        assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_PASSED);
        s = syn(drive, SMTP_SERVER, true, "");
        segment_add_option(&s.options, kinds[i], value, sizeof value); /* MPTCP needs both (RFC 8684 3.1) */
        drive_send(drive, SMTP_SERVER, &s);
        drive_say_text(drive, SMTP_SERVER, GREETING);
        drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
        drive_say_text(drive, SMTP_SERVER, OFFER);
        assert_read(drive, SMTP_CLIENT, GREETING OFFER);
        assert_int_equal(drive_counters(drive)->edited, 0);
        end(drive);
    }
}

/* ---- numbers that wrap ---------------------------------------------------------------------------------------- */

static void test_numbers_that_wrap_at_each_octet_of_an_edit(void **state)
{
    (void)state;
    for (uint32_t before = 0; before < 60; before++) {
        struct drive_plan plan = {.name = "wrap", .seed = before, .isn = {UINT32_MAX - before, UINT32_MAX - before}};
        struct drive *drive = drive_new(&plan);
        drive_handshake(drive);
        drive_say_text(drive, SMTP_SERVER, GREETING);
        drive_say_text(drive, SMTP_CLIENT, "EHLO x\r\n");
        drive_say_text(drive, SMTP_SERVER, OFFER);
        drive_say_text(drive, SMTP_CLIENT, "XEXCH50 1 2\r\n");
        drive_say_text(drive, SMTP_SERVER, "250 OK\r\n");
        drive_close(drive, SMTP_CLIENT);
        assert_read(drive, SMTP_CLIENT, GREETING OFFERED "504 Refused\r\n");
        assert_read(drive, SMTP_SERVER, "EHLO x\r\nNOOP       \r\n");
        end(drive);
    }
}

/* ---- time (law 4) ---------------------------------------------------------------------------------------------- */

/* `line_hold_ms` is how long the beginning of a line waits: of each line anew, while others go by. */
static void test_law_4_each_line_waits_as_long(void **state)
{
    (void)state;
    struct drive *drive = begin("hold", false);
    uint32_t at = until_offer(drive);
    /* Each segment ends a line and begins the next, 8 ms apart; no line takes longer than that. */
    static const char *const parts[] = {"250-h\r\n250-X", "-1\r\n250-X", "-2\r\n250-X", "-3\r\n250-XEX",
                                        "CH50\r\n250 OK\r\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        drive_send_text(drive, SMTP_SERVER, at, parts[i]);
        at += (uint32_t)strlen(parts[i]);
        drive_wait(drive, 8000);
    }
    assert_read(drive, SMTP_CLIENT, GREETING "250-h\r\n250-X-1\r\n250-X-2\r\n250-X-3\r\n250 OK\r\n");
    end(drive);
}

static void test_law_4_the_beginning_of_a_line_leaves_in_time(void **state)
{
    (void)state;
    struct drive *drive = begin("bounded", false);
    uint32_t at = until_offer(drive);
    uint64_t number = drive_send_text(drive, SMTP_SERVER, at, "250-host\r\n250-XEX");
    assert_fate(drive, number, DRIVE_WAITS);
    drive_wait(drive, 20000);
    assert_fate(drive, number, DRIVE_WAITS);
    drive_wait(drive, 20000);
    assert_non_null(drive_left(drive, number));
    end(drive);
}

/* A random storm of segments of one dialogue, against every law that tests/lib/drive knows. */
static void test_storm_of_segments_with_true_octets(void **state)
{
    (void)state;
    static const char server[] = GREETING OFFER "250 OK\r\n250 ok\r\n354 go\r\n250 queued\r\n221 bye\r\n";
    static const char client[] = "EHLO x\r\nXEXCH50 5 2\r\nMAIL FROM:<a@b>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n";
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct drive_plan plan = {.name = "storm", .seed = seed, .step_us = seed % 3 ? 100 : 5000};
        struct drive *drive = drive_new(&plan);
        struct random_source random = {seed * 977};
        drive_handshake(drive);
        for (int i = 0; i < 60; i++) {
            enum smtp_side side = (enum smtp_side)random_below(&random, 2);
            struct span all = span_of(side == SMTP_CLIENT ? client : server);
            uint32_t from = drive_acknowledged(drive, side);
            uint32_t back = random_below(&random, 12);
            from = random_below(&random, 3) ? from : back < from ? from - back : 0;
            from += random_below(&random, 4) ? 0 : random_below(&random, 10);
            struct segment s =
                drive_segment(drive, side, from, span_head(span_tail(all, from), 1 + random_below(&random, 30)));
            if (from < all.len)
                drive_send(drive, side, &s);
            if (random_below(&random, 6) == 0)
                drive_wait(drive, random_below(&random, 100000));
        }
        drive_finish(drive);
        drive_free(drive);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_58_resend_with_other_octets_leaves_with_the_first),
        cmocka_unit_test(test_case_58_resend_that_goes_further),
        cmocka_unit_test(test_case_57_58_every_overlap_of_two_segments),
        cmocka_unit_test(test_case_57_resend_across_an_edit_with_every_boundary),
        cmocka_unit_test(test_law_2_resend_across_an_edit_when_the_first_was_lost),
        cmocka_unit_test(test_case_57_old_segment_that_was_acknowledged),
        cmocka_unit_test(test_case_57_duplicates_of_everything),
        cmocka_unit_test(test_case_57_out_of_order_waits_and_leaves_in_order),
        cmocka_unit_test(test_case_57_octets_in_reverse),
        cmocka_unit_test(test_case_57_each_order_of_four_segments),
        cmocka_unit_test(test_law_4_a_gap_that_never_fills_drops_what_waits),
        cmocka_unit_test(test_gap_resend_of_what_waits_is_a_probe),
        cmocka_unit_test(test_gap_resend_of_a_fin_is_a_probe),
        cmocka_unit_test(test_gap_one_of_several_is_a_probe),
        cmocka_unit_test(test_gap_probes_are_few),
        cmocka_unit_test(test_gap_an_aggregate_is_no_probe),
        cmocka_unit_test(test_bound_of_held_packets),
        cmocka_unit_test(test_case_58_two_out_of_order_copies_that_differ),
        cmocka_unit_test(test_case_64_octets_in_the_syn_come_again),
        cmocka_unit_test(test_case_64_octets_in_the_syn_ack_come_again),
        cmocka_unit_test(test_case_64_octets_in_the_third_ack),
        cmocka_unit_test(test_case_64_an_ack_before_the_syn_ack_breaks_nothing),
        cmocka_unit_test(test_case_65_simultaneous_open),
        cmocka_unit_test(test_case_65_syn_sent_again),
        cmocka_unit_test(test_case_65_syn_ack_of_another_syn_is_dropped),
        cmocka_unit_test(test_case_65_port_reuse_after_a_close),
        cmocka_unit_test(test_case_60_reset_in_window_passes),
        cmocka_unit_test(test_case_60_reset_number_is_translated),
        cmocka_unit_test(test_case_60_reset_out_of_window_changes_nothing),
        cmocka_unit_test(test_case_60_reset_with_a_bad_checksum_changes_nothing),
        cmocka_unit_test(test_case_60_reset_loses_its_octets),
        cmocka_unit_test(test_case_56_fin_with_octets),
        cmocka_unit_test(test_case_56_fin_behind_the_beginning_of_a_line),
        cmocka_unit_test(test_case_60_fin_that_comes_too_early_waits),
        cmocka_unit_test(test_case_60_fin_number_is_translated_and_sent_again),
        cmocka_unit_test(test_case_59_acknowledgment_beyond_what_was_sent_is_dropped),
        cmocka_unit_test(test_case_59_acknowledgment_at_each_octet_of_an_edited_reply),
        cmocka_unit_test(test_case_59_sack_blocks_are_translated),
        cmocka_unit_test(test_case_62_keep_alive),
        cmocka_unit_test(test_case_63_urgent_data_becomes_ordinary),
        cmocka_unit_test(test_case_68_bad_checksum_is_dropped),
        cmocka_unit_test(test_segment_without_ack_is_dropped),
        cmocka_unit_test(test_case_66_midstream_passes_and_is_reported_once),
        cmocka_unit_test(test_case_67_protected_flows_are_not_edited),
        cmocka_unit_test(test_numbers_that_wrap_at_each_octet_of_an_edit),
        cmocka_unit_test(test_law_4_each_line_waits_as_long),
        cmocka_unit_test(test_law_4_the_beginning_of_a_line_leaves_in_time),
        cmocka_unit_test(test_storm_of_segments_with_true_octets),
        cmocka_unit_test(test_case_60_octets_behind_the_fin_do_not_leave),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("resend", tests, NULL, NULL);
}
