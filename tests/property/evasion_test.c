/*
 * Evasion: a hostile client tries to show the server another stream than the one that was inspected. One test for each
 * strategy that inspection is known to fall for (and some that this engine invites), in both IP families.
 *
 * The client has two versions of what it says, of the same length: a harmless one and one with XEXCH50 in it. Each
 * strategy is played with either version as the chaff, in pieces of several sizes, through a network behind the filter
 * that loses different packets, to victims that keep the first or the last copy of an octet, and that are strict or
 * lax about what RFC 9293, 5961, 7323 and 2385 have them drop.
 *
 * Property: what the victim reads is what the engine told in its events, and no line of it begins with XEXCH50.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "../lib/attack.h"
#include "../lib/one.h"
#include "base/octets.h"

static const char harmless[] = "EHLO client\r\nNOOP    13 2 \r\nRSET\r\n";
static const char harmful[] = "EHLO client\r\nXEXCH50 13 2 \r\nRSET\r\n";
static_assert(sizeof harmless == sizeof harmful, "each octet of one stands in place of one of the other");

enum { STREAM_LEN = sizeof harmless - 1, STRAY_SEQ = 123456789 };

/* ---- the strategies ---------------------------------------------------------------------------------------------- */

static void in_order(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece)
        attack_send_piece(attack, attack->real, at);
}

static void tiny(struct attack *attack)
{
    attack->piece = 1;
    in_order(attack);
}

static void tiny_and_slow(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        attack_send_piece(attack, attack->real, at);
        attack_wait_us(attack, 40000); /* longer than the beginning of a line is held */
    }
}

static void reverse(struct attack *attack)
{
    for (uint32_t at = STREAM_LEN; at-- > 0;)
        if (at % attack->piece == 0)
            attack_send_piece(attack, attack->real, at);
}

static void reverse_with_chaff(struct attack *attack)
{
    for (uint32_t at = STREAM_LEN; at-- > 0;)
        if (at % attack->piece == 0) {
            attack_send_piece(attack, attack->real, at);
            attack_send_piece(attack, attack->chaff, at);
        }
}

/* New octets in a segment that begins with old ones, which are others now. */
static void overlap_old(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        uint32_t back = at < attack->piece ? at : attack->piece;
        attack_send_piece(attack, attack->real, at);
        struct segment s = attack_piece(attack, attack->chaff, at - back, 2 * attack->piece + back);
        attack_send(attack, &s);
    }
}

/* Octets ahead of the gap first; then a segment that fills it and brings others for those ahead. */
static void overlap_new(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += 2 * attack->piece) {
        attack_send_piece(attack, attack->chaff, at + attack->piece < STREAM_LEN ? at + attack->piece : at);
        struct segment s = attack_piece(attack, attack->real, at, 2 * attack->piece);
        attack_send(attack, &s);
    }
}

static void duplicates(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece)
        for (int copy = 0; copy < 4; copy++)
            attack_send_piece(attack, copy % 2 ? attack->chaff : attack->real, at);
}

static void delayed(struct attack *attack)
{
    for (uint32_t at = attack->piece; at < STREAM_LEN; at += attack->piece)
        attack_send_piece(attack, attack->chaff, at);
    attack_wait_us(attack, 2900000); /* nearly as long as what is out of order is held */
    attack_send_piece(attack, attack->real, 0);
    attack_wait_us(attack, 2000000);
}

static void bad_checksum(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        s.bad_checksum = true;
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void flawed_chaff(struct attack *attack, struct attack_flaw flaw)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        attack_send_flawed(attack, &s, flaw);
        attack_send_piece(attack, attack->real, at);
    }
}

static void short_ttl(struct attack *attack)
{
    flawed_chaff(attack, (struct attack_flaw){.ttl = VICTIM_HOPS});
}

static void bad_header_length(struct attack *attack)
{
    static const uint8_t lengths[] = {1, 4, 15, 6};
    flawed_chaff(attack, (struct attack_flaw){.header_len = lengths[random_below(&attack->random, 4)]});
}

static void shortened_ip_length(struct attack *attack)
{
    flawed_chaff(attack, (struct attack_flaw){.ip_shorter = 1 + random_below(&attack->random, attack->piece)});
}

static void bad_acknowledgment(struct attack *attack)
{
    static const int32_t moves[] = {1000000, -1000000, 1, INT32_MAX};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        s.ack += (uint32_t)moves[random_below(&attack->random, 4)];
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void stale_timestamp(struct attack *attack)
{
    attack_wait_us(attack, 100000);
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        store_be32(s.options.octets + 2, 1);
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void signed_chaff(struct attack *attack)
{
    static const uint8_t digest[16] = {1, 2, 3};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        segment_add_option(&s.options, 19, digest, sizeof digest);
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void no_ack_flag(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        s.flags = at % 2 ? 0 : PACKET_PSH;
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void urgent(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->real, at, attack->piece);
        s.flags |= PACKET_URG;
        s.urgent = (uint16_t)(1 + random_below(&attack->random, attack->piece));
        attack_send(attack, &s);
    }
}

static void reset_with_octets(struct attack *attack)
{
    in_order(attack);
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        s.flags = PACKET_RST | PACKET_ACK;
        s.seq++; /* never exactly what the victim waits for: that would end the connection */
        s.seq += s.seq == attack->victim.irs + 1 + attack->victim.read;
        attack_send(attack, &s);
    }
}

static void reset_out_of_window(struct attack *attack)
{
    static const int32_t moves[] = {-1000, VICTIM_WINDOW + 5, 1000000, INT32_MIN};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_bare(attack, PACKET_RST, ATTACK_ISN + 1 + at, false);
        s.seq += (uint32_t)moves[random_below(&attack->random, 4)];
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void fin_out_of_window(struct attack *attack)
{
    static const int32_t moves[] = {-1000, VICTIM_WINDOW + 5, 1000000};
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        s.flags |= PACKET_FIN;
        s.seq += (uint32_t)moves[random_below(&attack->random, 3)];
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

static void syn_in_between(struct attack *attack)
{
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->chaff, at, attack->piece);
        s.flags = PACKET_SYN;
        s.ack = 0;
        s.seq -= random_below(&attack->random, 2);
        attack_send(attack, &s);
        attack_send_piece(attack, attack->real, at);
    }
}

/*
 * Where conntrack is at work the kernel has put fragments together, and dropped those that overlap, before they come to
 * the queue: they are segments like any other, which is "in order". This is what comes where it is not (case 79).
 */
static void fragments(struct attack *attack)
{
    struct segment s = attack_piece(attack, attack->chaff, 0, STREAM_LEN);
    attack_send_flawed(attack, &s, (struct attack_flaw){.fragments = true});
    s = attack_piece(attack, attack->real, 0, STREAM_LEN);
    attack_send_flawed(attack, &s, (struct attack_flaw){.fragments = true});
}

static void extension_headers(struct attack *attack, uint32_t count)
{
    static uint8_t headers[16 * 8];
    memset(headers, 0, sizeof headers);
    for (uint32_t i = 0; i < count; i++) {
        headers[i * 8] = i + 1 < count ? 60 : 6;
        headers[i * 8 + 2] = 1; /* PadN */
        headers[i * 8 + 3] = 4;
    }
    for (uint32_t at = 0; at < STREAM_LEN; at += attack->piece) {
        struct segment s = attack_piece(attack, attack->real, at, attack->piece);
        if (attack->ip_version == 6) {
            s.before_tcp = (struct span){headers, count * 8};
            s.first_extension = 60;
        }
        attack_send(attack, &s);
    }
}

static void extension_headers_few(struct attack *attack)
{
    extension_headers(attack, 3);
}

static void extension_headers_many(struct attack *attack)
{
    extension_headers(attack, 12);
}

/* A reset that the server does not believe (RFC 5961 3.2), or does not get; then a SYN; then the old connection. */
static void reset_then_syn(struct attack *attack, struct attack_flaw flaw, uint32_t beyond)
{
    struct segment s = attack_bare(attack, PACKET_RST, ATTACK_ISN + 1 + beyond, false);
    attack_send_flawed(attack, &s, flaw);
    s = attack_bare(attack, PACKET_SYN, STRAY_SEQ, false);
    attack_send_flawed(attack, &s, flaw);
    in_order(attack);
}

static void reset_challenged_then_syn(struct attack *attack)
{
    reset_then_syn(attack, (struct attack_flaw){0}, 5);
}

static void reset_lost_then_syn(struct attack *attack)
{
    reset_then_syn(attack, (struct attack_flaw){.ttl = VICTIM_HOPS}, 0);
}

/* So long that a connection which was reset is forgotten, and not so long that a server hangs up (RFC 5321 4.5.3.2.7).
 */
static void reset_lost_then_silence(struct attack *attack)
{
    struct segment s = attack_bare(attack, PACKET_RST, ATTACK_ISN + 1, false);
    attack_send_flawed(attack, &s, (struct attack_flaw){.ttl = VICTIM_HOPS});
    attack_wait_us(attack, INT64_C(240000000));
    in_order(attack);
}

static void syn_lost_then_old(struct attack *attack)
{
    struct segment s = attack_bare(attack, PACKET_SYN, STRAY_SEQ, false);
    attack_send_flawed(attack, &s, (struct attack_flaw){.ttl = VICTIM_HOPS});
    in_order(attack);
}

static void any(struct attack *attack);

/* ---- ways to open ------------------------------------------------------------------------------------------------ */

static void open_plainly(struct attack *attack)
{
    attack_send_syn(attack, ATTACK_ISN);
}

static void open_with_octets(struct attack *attack)
{
    struct segment s = attack_piece(attack, attack->chaff, 0, attack->piece);
    s.seq--;
    s.flags = PACKET_SYN;
    s.ack = 0;
    attack_send(attack, &s);
}

static void open_with_several_syns(struct attack *attack)
{
    /* The one that counts is the first for some victims and the last for others. */
    bool first = !attack->victim.last_wins;
    attack_send_syn(attack, first ? ATTACK_ISN : STRAY_SEQ);
    attack_send_syn(attack, first ? STRAY_SEQ : ATTACK_ISN);
}

static void open_after_lost_syn(struct attack *attack)
{
    struct segment s = attack_bare(attack, PACKET_SYN, STRAY_SEQ, false);
    attack_send_flawed(attack, &s, (struct attack_flaw){.ttl = VICTIM_HOPS});
    attack_send_syn(attack, ATTACK_ISN);
    s = attack_bare(attack, PACKET_SYN, STRAY_SEQ, false);
    attack_send_flawed(attack, &s, (struct attack_flaw){.ttl = VICTIM_HOPS});
}

static void open_after_a_stray_ack(struct attack *attack)
{
    struct segment s = attack_bare(attack, PACKET_ACK, STRAY_SEQ, false);
    attack_send(attack, &s);
    attack_send_syn(attack, ATTACK_ISN);
}

static void open_after_a_signed_syn(struct attack *attack)
{
    static const uint8_t digest[16] = {1, 2, 3};
    struct segment s = attack_bare(attack, PACKET_SYN, STRAY_SEQ, false);
    segment_add_option(&s.options, 19, digest, sizeof digest);
    attack_send_flawed(attack, &s, (struct attack_flaw){.ttl = VICTIM_HOPS});
    attack_send_syn(attack, ATTACK_ISN);
}

struct strategy {
    const char *name;
    void (*open)(struct attack *attack);
    void (*play)(struct attack *attack);
    bool timestamps;
    bool may_fail; /* the connection may come to nothing, or end */
};

static const struct strategy strategies[] = {
    {.name = "in order", .play = in_order},
    {.name = "tiny segments", .play = tiny},
    {.name = "tiny segments, slowly", .play = tiny_and_slow},
    {.name = "reverse order", .play = reverse},
    {.name = "reverse order with chaff", .play = reverse_with_chaff},
    {.name = "overlap old", .play = overlap_old},
    {.name = "overlap new", .play = overlap_new},
    {.name = "duplicates", .play = duplicates},
    {.name = "delayed", .play = delayed},
    {.name = "bad checksum", .play = bad_checksum},
    {.name = "short TTL", .play = short_ttl},
    {.name = "bad header length", .play = bad_header_length},
    {.name = "shortened IP length", .play = shortened_ip_length},
    {.name = "bad acknowledgment", .play = bad_acknowledgment},
    {.name = "stale timestamp", .play = stale_timestamp, .timestamps = true},
    {.name = "signature option", .play = signed_chaff},
    {.name = "no ACK flag", .play = no_ack_flag},
    {.name = "urgent", .play = urgent},
    {.name = "RST with octets", .play = reset_with_octets, .may_fail = true},
    {.name = "RST out of window", .play = reset_out_of_window},
    {.name = "FIN out of window", .play = fin_out_of_window},
    {.name = "SYN in between, with octets", .play = syn_in_between},
    {.name = "SYN with octets", .open = open_with_octets, .play = in_order},
    {.name = "several SYNs", .open = open_with_several_syns, .play = in_order, .may_fail = true},
    {.name = "SYNs that get lost", .open = open_after_lost_syn, .play = in_order, .may_fail = true},
    {.name = "case 79: fragments of 8 octets", .play = fragments},
    {.name = "extension headers", .play = extension_headers_few},
    {.name = "extension headers, too many", .play = extension_headers_many},
    {.name = "RST that is challenged, then SYN", .play = reset_challenged_then_syn, .may_fail = true},
    {.name = "RST that gets lost, then SYN", .play = reset_lost_then_syn, .may_fail = true},
    {.name = "RST that gets lost, then silence", .play = reset_lost_then_silence, .may_fail = true},
    {.name = "SYN that gets lost, then the old connection", .play = syn_lost_then_old, .may_fail = true},
    {.name = "ACK before the SYN", .open = open_after_a_stray_ack, .play = in_order, .may_fail = true},
    {.name = "signed SYN that gets lost", .open = open_after_a_signed_syn, .play = in_order, .may_fail = true},
    {.name = "any of these, one after the other", .play = any, .may_fail = true},
};

static void any(struct attack *attack)
{
    static void (*const plays[])(struct attack *) = {
        reverse_with_chaff,  overlap_old,        overlap_new,    duplicates,        bad_checksum,
        short_ttl,           bad_acknowledgment, signed_chaff,   no_ack_flag,       urgent,
        reset_out_of_window, fin_out_of_window,  syn_in_between, bad_header_length, shortened_ip_length};
    for (int i = 0; i < 4; i++)
        plays[random_below(&attack->random, sizeof plays / sizeof plays[0])](attack);
}

/* ---- the test ---------------------------------------------------------------------------------------------------- */

struct variant {
    uint8_t ip_version;
    bool chaff_harmful, last_wins, lax;
    unsigned losses;
    uint32_t piece;
};

static void check(const struct attack *attack, const struct strategy *strategy, const struct variant *variant)
{
    const struct victim *v = &attack->victim;
    const char *wrong = NULL;
    for (uint32_t at = 0; at + 7 < v->read; at++)
        if ((at == 0 || v->in[at - 1] == '\n') && memcmp(v->in + at, "XEXCH50", 7) == 0 && v->in[at + 7] <= ' ')
            wrong = "XEXCH50 reached the server";
    if (!wrong && attack->unedited)
        wrong = "the filter was switched off";
    if (!wrong && v->read > attack->told_len)
        wrong = "the server read octets that were not inspected";
    if (!wrong && memcmp(v->in, attack->told, v->read) != 0)
        wrong = "the server read other octets than those inspected";
    if (!wrong && !strategy->may_fail && v->read != STREAM_LEN)
        wrong = "the connection was stalled";
    if (wrong)
        fail_msg("%s: %s; IPv%d, pieces of %u, chaff %s, %s copy wins, %s, losses %02x, reason '%s'; read %u, told %u: "
                 "%.*s",
                 strategy->name, wrong, variant->ip_version, variant->piece,
                 variant->chaff_harmful ? "harmful" : "harmless", variant->last_wins ? "last" : "first",
                 variant->lax ? "lax" : "strict", variant->losses, attack->unedited ? attack->unedited : "", v->read,
                 attack->told_len, (int)v->read, (const char *)v->in);
}

static void run(const struct strategy *strategy, const struct variant *variant, uint64_t seed)
{
    struct attack *attack = attack_new(variant->ip_version, seed);
    attack->real = variant->chaff_harmful ? harmless : harmful;
    attack->chaff = variant->chaff_harmful ? harmful : harmless;
    attack->piece = variant->piece;
    attack->timestamps = strategy->timestamps;
    attack->victim.last_wins = variant->last_wins;
    attack->victim.lax = variant->lax;
    attack->victim.losses = variant->losses;

    (strategy->open ? strategy->open : open_plainly)(attack);
    attack_send_third_ack(attack);
    if (attack->victim.state == VICTIM_OPEN)
        attack_greet(attack);
    strategy->play(attack);

    /* At last the truth, again and again, until it has arrived. */
    attack->piece = variant->piece;
    for (int round = 0; round < 12 && attack->victim.read < STREAM_LEN; round++) {
        attack->victim.losses = round < 3 ? variant->losses : 0;
        in_order(attack);
        attack_wait_us(attack, 50000);
    }
    attack_wait_us(attack, 50000);
    attack_finish(attack);
    check(attack, strategy, variant);
    attack_free(attack);
}

static void test_strategy(const struct strategy *strategy, uint8_t ip_version)
{
    static const uint32_t pieces[] = {1, 3, 7, 13, STREAM_LEN};
    static const unsigned losses[] = {0x00, 0x01, 0x55, 0x6e};
    for (unsigned i = 0; i < 5 * 4 * 8; i++) {
        struct variant variant = {
            .ip_version = ip_version,
            .piece = pieces[i / 32],
            .losses = losses[i / 8 % 4],
            .chaff_harmful = i & 4,
            .last_wins = i & 2,
            .lax = i & 1,
        };
        run(strategy, &variant, i + 1);
    }
}

static void test_ipv4(void **state)
{
    test_strategy(*state, 4);
}

static void test_ipv6(void **state)
{
    test_strategy(*state, 6);
}

/* Case 50, MS03-046: what no count can be read from is covered like any other, whole or in pieces. */
static void test_case_50_xexch50_that_cannot_be_counted(void **state)
{
    (void)state;
    static char long_line[3000];
    memset(long_line, ' ', sizeof long_line - 1);
    memcpy(long_line, "XEXCH50 5 2", 11);
    memcpy(long_line + sizeof long_line - 3, "\r\n", 2);
    static const struct {
        const char *label, *line;
    } rows[] = {
        {"negative", "XEXCH50 -1 2\r\n"}, {"huge", "XEXCH50 99999999999999999999 2\r\n"}, {"no number", "XEXCH50\r\n"},
        {"a word", "XEXCH50 five 2\r\n"}, {"hexadecimal", "XEXCH50 0x5 2\r\n"},           {"very long", long_line},
    };
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i / 2].label))
            continue;
        struct attack *attack = attack_new(4, i + 1);
        open_plainly(attack);
        attack_send_third_ack(attack);
        attack->piece = i % 2 ? 700 : 1400;
        for (uint32_t at = 0; at < strlen(rows[i / 2].line); at += attack->piece)
            attack_send_piece(attack, rows[i / 2].line, at);
        attack_wait_us(attack, 100000);
        if (attack->victim.read >= 7 && memcmp(attack->victim.in, "XEXCH50", 7) == 0)
            fail_msg("%s: XEXCH50 reached the server", rows[i / 2].label);
        attack_finish(attack);
        attack_free(attack);
    }
}

int main(void)
{
    enum { COUNT = sizeof strategies / sizeof strategies[0] };
    static struct CMUnitTest tests[2 * COUNT + 1];
    static char names[2 * COUNT][80];
    for (size_t i = 0; i < 2 * COUNT; i++) {
        const struct strategy *strategy = &strategies[i / 2];
        snprintf(names[i], sizeof names[i], "%s, IPv%d", strategy->name, i % 2 ? 6 : 4);
        union {
            const struct strategy *in;
            void *out;
        } row = {.in = strategy}; /* cmocka's state is not const */
        tests[i] =
            (struct CMUnitTest){.name = names[i], .test_func = i % 2 ? test_ipv6 : test_ipv4, .initial_state = row.out};
    }
    tests[2 * COUNT] = (struct CMUnitTest)cmocka_unit_test(test_case_50_xexch50_that_cannot_be_counted);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("evasion", tests, NULL, NULL);
}
