/*
 * Octets that come again, in another order or with others in their place, as a hostile or unlucky network brings them.
 * tests/lib/drive checks the laws in each of these; a test says besides what must have become of the packets. Case
 * numbers are those of docs/cases.md.
 */
#include "../lib/by_hand.h"
#include "base/octets.h"

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

/* How often a side was said to have sent other octets again, and how many. */
static uint32_t differing(const struct drive *drive, uint64_t *octets)
{
    uint32_t count = 0;
    for (size_t i = 0; i < drive_event_count(drive); i++) {
        const struct event *event = &drive_event(drive, i)->event;
        count += event->kind == EVENT_RESEND_DIFFERS;
        *octets += event->kind == EVENT_RESEND_DIFFERS ? event->octets : 0;
    }
    return count;
}

/* Other octets are told, once of each side, and counted each time: decided ones, and those that wait for their line. */
static void test_case_58_a_resend_with_other_octets_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *label, *first, *again;
        uint32_t at, differ;
    } rows[] = {
        {"the same", "EHLO good\r\n", "EHLO good\r\n", 0, 0},
        {"all", "EHLO good\r\n", "EHLO evil\r\n", 0, 11},
        {"its end", "EHLO good\r\n", "d\r\nNOOP\r\n", 8, 0},
        {"another end", "EHLO good\r\n", "t\r\nNOOP\r\n", 8, 3},
        {"what waits", "XEXCH5", "XEXCHA", 0, 6},
        {"behind what is decided, what waits", "NOOP\r\nXEXCH5", "NOOP\r\nxex", 0, 3},
        {"only what is new", "EHLO go", "good\r\n", 5, 0},
        {"in what is decided at once", "NOOP\r\nEHLO go\r\n", "NOOP\r\nehlo", 0, 10},
        {"covered, and sent again as it came", "XEXCH50 1 2\r\n", "XEXCH50 1 2\r\n", 0, 0},
        {"as it left, which nobody can tell from an attack", "XEXCH50 1 2\r\n", "NOOP       \r\n", 0, 0},
        {"around what was covered", "NOOP\r\nXEXCH50 1 2\r\nRSET\r\n", "noop\r\nXEXCH50 1 2\r\nRSET\r\n", 0, 6},
        {"behind it", "NOOP\r\nXEXCH50 1 2\r\nRSET\r\n", "NOOP\r\nXEXCH50 1 2\r\nrset\r\n", 0, 6},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drive *drive = begin(rows[i].label, true);
        uint64_t octets = 0;
        drive_send_text(drive, SMTP_SERVER, 0, GREETING);
        drive_acknowledge(drive, SMTP_CLIENT);
        drive_send_text(drive, SMTP_CLIENT, 0, rows[i].first);
        for (int copy = 0; copy < 2; copy++)
            drive_send_text(drive, SMTP_CLIENT, rows[i].at, rows[i].again);
        if (differing(drive, &octets) != (rows[i].differ > 0) || octets != rows[i].differ ||
            (drive_counters(drive)->resend_differs > 0) != (rows[i].differ > 0))
            fail_msg("%s: %u octets", rows[i].label, (unsigned)octets);
        end(drive);
    }
}

/* Behind an edit that changed the length, and once both are acknowledged. */
static void test_case_58_a_reply_sent_again_with_other_octets_is_told(void **state)
{
    (void)state;
    struct drive *drive = begin("reply again", true);
    uint64_t octets = 0;
    uint32_t at = until_offer(drive);
    drive_send_text(drive, SMTP_SERVER, at, OFFER);
    static const char other[] = "250-host\r\n250-XEXCH50\r\n250 KO\r\n";
    drive_send_text(drive, SMTP_SERVER, at, OFFER);
    assert_int_equal(drive_counters(drive)->resend_differs, 0);
    drive_send_text(drive, SMTP_SERVER, at, other);
    drive_send_text(drive, SMTP_SERVER, at, other);
    assert_int_equal(drive_counters(drive)->resend_differs, 2);
    assert_int_equal(differing(drive, &octets), 1);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_SERVER, at, other); /* nobody looks at them */
    assert_int_equal(drive_counters(drive)->resend_differs, 2);
    end(drive);
}

/* What a dry run does with them: the same, for what was judged is what arrives. */
static void test_case_58_a_dry_run_keeps_the_first_octets(void **state)
{
    (void)state;
    static struct policy policy;
    policy_init_default(&policy);
    policy.dry_run = true;
    struct drive_plan plan = {.name = "dry run", .seed = 7, .no_acknowledgments = true, .policy = &policy};
    struct drive *drive = drive_new(&plan);
    uint64_t octets = 0;
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, "XEXCH50 1 2\r\n");
    assert_left(drive, drive_send_text(drive, SMTP_CLIENT, 0, "XEXCH50 1 2\r\n"), "XEXCH50 1 2\r\n");
    assert_left(drive, drive_send_text(drive, SMTP_CLIENT, 0, "XEXCH50 3 4\r\n"), "XEXCH50 1 2\r\n");
    assert_int_equal(differing(drive, &octets), 1);
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
    greet_and_offer(drive);
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

/* ---- numbers that wrap ---------------------------------------------------------------------------------------- */

static void test_numbers_that_wrap_at_each_octet_of_an_edit(void **state)
{
    (void)state;
    for (uint32_t before = 0; before < 60; before++) {
        struct drive_plan plan = {.name = "wrap", .seed = before, .isn = {UINT32_MAX - before, UINT32_MAX - before}};
        struct drive *drive = drive_new(&plan);
        drive_handshake(drive);
        greet_and_offer(drive);
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
        cmocka_unit_test(test_case_58_a_resend_with_other_octets_is_told),
        cmocka_unit_test(test_case_58_a_reply_sent_again_with_other_octets_is_told),
        cmocka_unit_test(test_case_58_a_dry_run_keeps_the_first_octets),
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
        cmocka_unit_test(test_numbers_that_wrap_at_each_octet_of_an_edit),
        cmocka_unit_test(test_law_4_each_line_waits_as_long),
        cmocka_unit_test(test_law_4_the_beginning_of_a_line_leaves_in_time),
        cmocka_unit_test(test_storm_of_segments_with_true_octets),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("resend", tests, NULL, NULL);
}
