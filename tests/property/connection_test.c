/*
 * A connection's beginning and end, acknowledgments, and what else a segment may carry, as a hostile or unlucky network
 * brings them. tests/lib/drive checks the laws in each of these; a test says besides what must have become of the
 * packets. Case numbers are those of docs/cases.md.
 */
#include "../lib/by_hand.h"
#include "base/octets.h"

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

static uint64_t send_syn(struct drive *drive, enum smtp_side side, bool answers, const char *text)
{
    struct segment s = syn(drive, side, answers, text);
    return drive_send(drive, side, &s);
}

/* Without a handshake. */
static struct drive *not_begun(const char *name, uint64_t seed)
{
    struct drive_plan plan = {.name = name, .seed = seed};
    return drive_new(&plan);
}

static void test_case_64_octets_in_the_syn_come_again(void **state)
{
    (void)state;
    struct drive *drive = not_begun("data in SYN", 5);
    assert_left(drive, send_syn(drive, SMTP_CLIENT, false, "EHLO x\r\n"), "");
    send_syn(drive, SMTP_SERVER, true, "");
    uint64_t again = drive_send_text(drive, SMTP_CLIENT, 0, "EHLO x\r\n");
    assert_left(drive, again, "EHLO x\r\n");
    assert_read(drive, SMTP_SERVER, "EHLO x\r\n");
    end(drive);
}

static void test_case_64_octets_in_the_syn_ack_come_again(void **state)
{
    (void)state;
    struct drive *drive = not_begun("data in SYN-ACK", 5);
    send_syn(drive, SMTP_CLIENT, false, "");
    assert_left(drive, send_syn(drive, SMTP_SERVER, true, GREETING), "");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    assert_read(drive, SMTP_CLIENT, GREETING);
    end(drive);
}

static void test_case_64_octets_in_the_third_ack(void **state)
{
    (void)state;
    struct drive *drive = not_begun("data in ACK", 5);
    send_syn(drive, SMTP_CLIENT, false, "");
    send_syn(drive, SMTP_SERVER, true, "");
    drive_send_text(drive, SMTP_CLIENT, 0, "EHLO early\r\n");
    assert_read(drive, SMTP_SERVER, "EHLO early\r\n");
    end(drive);
}

static void test_case_64_an_ack_before_the_syn_ack_breaks_nothing(void **state)
{
    (void)state;
    struct drive *drive = not_begun("early ACK", 5);
    send_syn(drive, SMTP_CLIENT, false, "");
    drive_acknowledge(drive, SMTP_CLIENT);
    send_syn(drive, SMTP_SERVER, true, "");
    drive_acknowledge(drive, SMTP_CLIENT);
    greet_and_offer(drive);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_65_simultaneous_open(void **state)
{
    (void)state;
    struct drive *drive = not_begun("simultaneous open", 9);
    for (int answers = 0; answers < 2; answers++)
        for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++)
            assert_non_null(drive_left(drive, send_syn(drive, (enum smtp_side)side, answers, "")));
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_acknowledge(drive, SMTP_SERVER);
    greet_and_offer(drive);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

static void test_case_65_syn_sent_again(void **state)
{
    (void)state;
    struct drive *drive = not_begun("SYN again", 9);
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
    struct drive *drive = not_begun("stray SYN-ACK", 9);
    send_syn(drive, SMTP_CLIENT, false, "");
    struct segment answer = syn(drive, SMTP_SERVER, true, "");
    answer.ack += 1000;
    assert_fate(drive, drive_send(drive, SMTP_SERVER, &answer), DRIVE_DROPPED);
    assert_int_equal(drive_counters(drive)->bad_syn, 1);
    end(drive);
}

/* The same ports again, after both FINs: a connection of its own. */
static void test_case_65_port_reuse_after_a_close(void **state)
{
    (void)state;
    struct drive *drive = begin("port reuse", false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_close(drive, SMTP_CLIENT);
    struct segment s = syn(drive, SMTP_CLIENT, false, "");
    s.seq += 1000000;
    assert_non_null(drive_left(drive, drive_send(drive, SMTP_CLIENT, &s)));
    assert_int_equal(drive_counters(drive)->flows_ended, 1);
    end(drive);
}

/* Nobody listens: what never began has no end, neither told nor counted. */
static void test_case_65_a_refused_connection_is_not_told(void **state)
{
    (void)state;
    struct drive *drive = not_begun("refused", 3);
    send_syn(drive, SMTP_CLIENT, false, "");
    struct segment s = drive_segment(drive, SMTP_SERVER, 0, (struct span){0});
    s.flags = PACKET_RST | PACKET_ACK;
    s.seq = 0;
    s.ack = drive_isn(drive, SMTP_CLIENT) + 1;
    assert_fate(drive, drive_send(drive, SMTP_SERVER, &s), DRIVE_PASSED);
    assert_int_equal(drive_event_count(drive), 0);
    assert_int_equal(drive_counters(drive)->flows_created, 0);
    assert_int_equal(drive_counters(drive)->flows_ended, 0);
    end(drive);
}

/* A segment of the server's that answers something else than the client's SYN. */
static uint64_t send_stray_reset(struct drive *drive, uint32_t seq, uint8_t flags, uint32_t ack)
{
    struct segment s = drive_segment(drive, SMTP_SERVER, 0, (struct span){0});
    s.flags = flags;
    s.seq = seq;
    s.ack = ack;
    return drive_send(drive, SMTP_SERVER, &s);
}

/*
 * Case 92: an acknowledgment of nothing, then a SYN of the same ports. The server resets the former, before or behind
 * its SYN-ACK, and a client that waits for that does not look (RFC 9293 3.10.7.3).
 */
static void test_case_92_a_reset_of_what_came_before_the_syn(void **state)
{
    (void)state;
    for (int order = 0; order < 4; order++) {
        struct drive *drive = not_begun("ACK, then SYN", 21);
        struct segment stray = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
        stray.seq -= 123456789;
        stray.ack -= 987654321;
        drive_send(drive, SMTP_CLIENT, &stray);
        if (order == 0)
            send_stray_reset(drive, stray.ack, PACKET_RST, 0);
        send_syn(drive, SMTP_CLIENT, false, "");
        if (order == 1)
            send_stray_reset(drive, stray.ack, PACKET_RST, 0);
        if (order == 2)
            send_stray_reset(drive, stray.ack, PACKET_RST | PACKET_ACK, stray.seq);
        send_syn(drive, SMTP_SERVER, true, "");
        if (order == 3)
            assert_fate(drive, send_stray_reset(drive, stray.ack, PACKET_RST, 0), DRIVE_DROPPED);
        drive_acknowledge(drive, SMTP_CLIENT);
        greet_and_offer(drive);
        assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
        assert_int_equal(drive_counters(drive)->flows_created, 1);
        end(drive);
    }
}

/* Nor does one that the client would believe hide what comes behind it: the next SYN-ACK opens the connection. */
static void test_case_92_a_refusal_and_then_an_answer(void **state)
{
    (void)state;
    struct drive *drive = not_begun("RST, then SYN-ACK", 22);
    for (int attempt = 0; attempt < 2; attempt++) {
        send_syn(drive, SMTP_CLIENT, false, "");
        send_stray_reset(drive, 0, PACKET_RST | PACKET_ACK, drive_isn(drive, SMTP_CLIENT) + 1);
    }
    send_syn(drive, SMTP_SERVER, true, "");
    drive_acknowledge(drive, SMTP_CLIENT);
    greet_and_offer(drive);
    assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
    end(drive);
}

/* A SYN that came before the filter, or was forgotten: the SYN-ACK says what it was. */
static void test_case_92_a_syn_ack_alone_opens(void **state)
{
    (void)state;
    for (int scaled = 0; scaled < 2; scaled++) {
        struct drive *drive = not_begun("SYN-ACK alone", 23);
        struct segment s = syn(drive, SMTP_SERVER, true, "");
        if (scaled)
            segment_add_window_scale(&s.options, 7);
        assert_fate(drive, drive_send(drive, SMTP_SERVER, &s), DRIVE_PASSED);
        drive_acknowledge(drive, SMTP_CLIENT);
        greet_and_offer(drive);
        assert_read(drive, SMTP_CLIENT, GREETING OFFERED);
        assert_int_equal(drive_counters(drive)->flows_created, 1);
        assert_int_equal(drive_counters(drive)->flows_midstream, 0);
        end(drive);
    }
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
    greet_and_offer(drive);
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
    ask_and_offer(drive);
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
    ask_and_offer(drive);
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
    greet_and_offer(drive);
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
    struct drive *drive = not_begun("midstream", 2);
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
        struct drive *drive = not_begun("protected", 2);
        struct segment s = syn(drive, SMTP_CLIENT, false, "");
        static const uint8_t value[16] = {1};
        segment_add_option(&s.options, kinds[i], value, sizeof value);
        assert_fate(drive, drive_send(drive, SMTP_CLIENT, &s), DRIVE_PASSED);
        s = syn(drive, SMTP_SERVER, true, "");
        segment_add_option(&s.options, kinds[i], value, sizeof value); /* MPTCP needs both (RFC 8684 3.1) */
        drive_send(drive, SMTP_SERVER, &s);
        greet_and_offer(drive);
        assert_read(drive, SMTP_CLIENT, GREETING OFFER);
        assert_int_equal(drive_counters(drive)->edited, 0);
        end(drive);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_64_octets_in_the_syn_come_again),
        cmocka_unit_test(test_case_64_octets_in_the_syn_ack_come_again),
        cmocka_unit_test(test_case_64_octets_in_the_third_ack),
        cmocka_unit_test(test_case_64_an_ack_before_the_syn_ack_breaks_nothing),
        cmocka_unit_test(test_case_65_simultaneous_open),
        cmocka_unit_test(test_case_65_syn_sent_again),
        cmocka_unit_test(test_case_65_syn_ack_of_another_syn_is_dropped),
        cmocka_unit_test(test_case_65_port_reuse_after_a_close),
        cmocka_unit_test(test_case_65_a_refused_connection_is_not_told),
        cmocka_unit_test(test_case_92_a_reset_of_what_came_before_the_syn),
        cmocka_unit_test(test_case_92_a_refusal_and_then_an_answer),
        cmocka_unit_test(test_case_92_a_syn_ack_alone_opens),
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
        cmocka_unit_test(test_case_60_octets_behind_the_fin_do_not_leave),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
