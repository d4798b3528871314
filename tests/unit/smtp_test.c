/* smtp/command, reply, verb, line and ledger: rows of what is on the wire and how it is read. */
#include "smtp/command.h"
#include "smtp/ledger.h"
#include "smtp/line.h"
#include "smtp/path.h"
#include "smtp/proxy.h"
#include "smtp/refusal.h"
#include "smtp/reply.h"
#include "smtp/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/one.h"
#include "../lib/random.h"

#define TEXT(literal)                                                                                                  \
    {                                                                                                                  \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                                             \
    }

#define V2 "\r\n\r\n\0\r\nQUIT\n" /* with it a PROXY header of version 2 begins */

static bool equals(struct span s, const char *text)
{
    return span_equal(s, span_of(text));
}

static void test_cases_4_to_7_and_14_commands(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct span line;
        enum smtp_verb verb;
        const char *argument;
        bool separated;
    } rows[] = {
        {"plain", TEXT("MAIL FROM:<a@b>\r\n"), SMTP_VERB_MAIL, "FROM:<a@b>", true},
        {"case 14: any case", TEXT("staRttLs\r\n"), SMTP_VERB_STARTTLS, "", true},
        {"case 14: whole words", TEXT("DATAX\r\n"), SMTP_VERB_UNKNOWN, "", true},
        {"case 14: half a word", TEXT("DAT\r\n"), SMTP_VERB_UNKNOWN, "", true},
        {"case 7: leading blanks, TAB", TEXT(" \tRCPT\tTO:<a>  \r\n"), SMTP_VERB_RCPT, "TO:<a>", true},
        {"case 4: empty line", TEXT("\r\n"), SMTP_VERB_EMPTY, "", true},
        {"case 4: blanks alone", TEXT(" \t \r\n"), SMTP_VERB_EMPTY, "", true},
        {"case 2: bare LF", TEXT("QUIT\n"), SMTP_VERB_QUIT, "", true},
        {"case 3: CR CR LF", TEXT("QUIT\r\r\n"), SMTP_VERB_QUIT, "", true},
        {"case 3: CR inside", TEXT("NOOP a\rQUIT\r\n"), SMTP_VERB_NOOP, "a\rQUIT", true},
        {"case 6: 8-bit", TEXT("\xc4QUIT\r\n"), SMTP_VERB_UNKNOWN, "", true},
        {"case 7: a bare CR ends a verb", TEXT("XEXCH50\r1 2\r\n"), SMTP_VERB_XEXCH50, "1 2", true},
        {"case 7: so do VT and FF", TEXT("\v\fBDAT\f5\r\n"), SMTP_VERB_BDAT, "5", true},
        {"unfinished verb", TEXT("XEXCH50"), SMTP_VERB_XEXCH50, "", false},
        {"finished verb", TEXT("XEXCH50 1"), SMTP_VERB_XEXCH50, "1", true},
        {"nothing yet", TEXT(""), SMTP_VERB_UNKNOWN, "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        struct smtp_command command = smtp_command_parse(rows[i].line);
        if (command.verb != rows[i].verb || !equals(command.argument, rows[i].argument) ||
            command.separated != rows[i].separated)
            fail_msg("%s", rows[i].label);
    }
}

static void test_cases_46_47_50_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *argument;
        bool bdat, last, xexch50; /* whether it is good */
        uint64_t octets;
    } rows[] = {
        {"5", true, false, true, 5},
        {"0 LAST", true, true, true, 0},
        {"7  last", true, true, true, 7},
        {"1904 2", false, false, true, 1904},
        {"5 X", false, false, true, 5},
        {"5 LAST X", false, false, true, 5},
        {"-1", false, false, false, 0},
        {"+5", false, false, false, 0},
        {"", false, false, false, 0},
        {"0x10", false, false, false, 0},
        {"9223372036854775807", true, false, false, INT64_MAX},
        {"9223372036854775808", false, false, false, 0},
        {"18446744073709551621", false, false, false, 0},
        {"99999999999999999999999", false, false, false, 0},
        {"1073741824 2", false, false, true, 1u << 30},
        {"1073741825 2", false, false, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t octets = 0, size = 0;
        bool last = false;
        bool bdat = smtp_chunk_parse(span_of(rows[i].argument), &octets, &last) == SMTP_CHUNK_GOOD;
        bool xexch50 = smtp_xexch50_parse(span_of(rows[i].argument), &size) == SMTP_CHUNK_GOOD;
        if (bdat != rows[i].bdat || last != rows[i].last || xexch50 != rows[i].xexch50 ||
            (bdat && octets != rows[i].octets) || (xexch50 && size != rows[i].octets))
            fail_msg("'%s'", rows[i].argument);
    }
}

/* RFC 1870 3. */
static void test_announced_size(void **state)
{
    (void)state;
    static const struct {
        const char *argument;
        uint64_t size;
    } rows[] = {
        {"FROM:<a@b> SIZE=1904", 1904},
        {"FROM:<a@b> body=7bit size=12 RET=HDRS", 12},
        {"FROM:<a@b>", 0},
        {"FROM:<a@b> SIZE=", 0},
        {"FROM:<a@b> SIZE=1k", 0},
        {"FROM:<a@b> XSIZE=1", 0},
        {"FROM:<\"a SIZE=1\"@b>", 0},
        {"FROM:<a@b> SIZE=9223372036854775808", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(smtp_announced_size(span_of(rows[i].argument)), rows[i].size);
}

static void test_cases_15_to_18_replies(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint16_t code; /* 0: no reply line */
        bool last;
        const char *text, *keyword;
    } rows[] = {
        {"250-SIZE 1000\r\n", 250, false, "SIZE 1000", "SIZE"},
        {"250 AUTH=LOGIN\r\n", 250, true, "AUTH=LOGIN", "AUTH"},
        {"250-XEXCH50\t2\r\n", 250, false, "XEXCH50\t2", "XEXCH50"},
        {"250- XEXCH50 2\r\n", 250, false, " XEXCH50 2", "XEXCH50"},
        {"250-\t-XEXCH50;2\r\n", 250, false, "\t-XEXCH50;2", "XEXCH50"},
        {"550-X-EXPS\v2\r\n", 550, false, "X-EXPS\v2", "X-EXPS"},
        {"250-X_PIPE_CONNECT\r\n", 250, false, "X_PIPE_CONNECT", "X"},
        {"250\r\n", 250, true, "", ""},
        {"250\n", 250, true, "", ""},
        {"250 \r\n", 250, true, "", ""},
        {"521-no\r\n", 521, false, "no", "no"},
        {"472 strange\r\n", 472, true, "strange", "strange"},
        {"150 x\r\n", 0, false, NULL, NULL},
        {"650 x\r\n", 0, false, NULL, NULL},
        {"25\r\n", 0, false, NULL, NULL},
        {"2500 x\r\n", 0, false, NULL, NULL},
        {"4.7.0 [IPTS04]\r\n", 0, false, NULL, NULL},
        {"\r\n", 0, false, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct smtp_reply reply;
        bool good = smtp_reply_parse(span_of(rows[i].line), &reply);
        if (good != (rows[i].code != 0))
            fail_msg("%s", rows[i].line);
        if (good && (reply.code != rows[i].code || reply.last != rows[i].last || !equals(reply.text, rows[i].text) ||
                     !equals(smtp_reply_keyword(reply.text), rows[i].keyword)))
            fail_msg("%s", rows[i].line);
    }
}

/* In each form of each refusal, whatever the room, an enhanced code is of the class of the code (RFC 2034 4). */
static void test_case_22_enhanced_codes_agree(void **state)
{
    (void)state;
    static struct smtp_refusals refusals;
    static const char *const added[] = {"450 4.2.0 Greylisted", "550 5.7.123 x", "450", "550 5.7 no", "450 4.2.0",
                                        "451 4..1 x",           "550 5.1.1x"};
    smtp_refusals_init(&refusals);
    for (size_t i = 0; i < sizeof added / sizeof added[0]; i++)
        assert_int_equal(smtp_refusal_add(&refusals, span_of(added[i]), "rule"), SMTP_REFUSALS_OWN + i);
    for (uint8_t refusal = SMTP_REFUSAL_NONE + 1; refusal < refusals.count; refusal++)
        for (size_t room = 0; room <= SMTP_REFUSAL_BYTES_MAX; room++) {
            struct span form = smtp_refusal_form(&refusals, refusal, room);
            assert_true(form.len <= room || form.len == SMTP_REFUSAL_CODE_LEN);
            struct smtp_reply reply;
            assert_true(smtp_reply_parse(form, &reply) && reply.last && reply.code >= 400);
            bool enhanced = reply.text.len > 1 && reply.text.ptr[1] == '.';
            assert_true(!enhanced || reply.text.ptr[0] == form.ptr[0]);
        }
    assert_true(equals(smtp_refusal_form(&refusals, SMTP_REFUSALS_OWN + 1, 12), "550 5.7.123"));
    static const char *const wrong[] = {"250 ok", "45", "4500 x", "450-x", "450 \n", "450 \x80", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(smtp_refusal_add(&refusals, span_of(wrong[i]), "rule"), SMTP_REFUSAL_NONE);
}

static void test_case_27_a_keyword_may_come_at_each_cut(void **state)
{
    (void)state;
    struct smtp_keyword_set set = {0};
    assert_true(smtp_keyword_add(&set, span_of("XEXCH50")));
    static const char line[] = "250-xExCh50 2\r\n";
    for (size_t cut = 0; cut < sizeof line; cut++)
        assert_true(smtp_keyword_may_come(&set, span_head(span_of(line), cut)));
    assert_false(smtp_keyword_may_come(&set, span_of("250-XEXCH50X")));
    assert_false(smtp_keyword_may_come(&set, span_of("250-Y")));
    assert_true(smtp_keyword_may_come(&set, span_of("550-XEX")));
    assert_true(smtp_keyword_may_come(&set, span_of("250- \tXEX")));
    assert_true(smtp_keyword_may_come(&set, span_of("250-XEXCH50;")));
    assert_false(smtp_keyword_may_come(&set, span_of("250-XEXCH5;")));
    assert_false(smtp_keyword_may_come(&set, span_of("X50-XEX")));
    assert_false(smtp_keyword_in(&set, span_of("XEXCH5")));
}

/* Any verb's every beginning may become it; its whole name is found, in any case. */
static void test_case_14_every_verb(void **state)
{
    (void)state;
    for (int verb = SMTP_VERB_UNKNOWN + 1; verb < SMTP_VERB_NAMED; verb++) {
        struct span name = span_of(smtp_verb_name((enum smtp_verb)verb));
        assert_int_equal(smtp_verb_find(name), verb);
        for (size_t len = 0; len <= name.len; len++)
            assert_true(smtp_verb_may_begin(UINT64_C(1) << verb, span_head(name, len)));
        assert_false(smtp_verb_may_begin(UINT64_C(1) << verb, span_of("Zebra")));
        if (name.len > 4)
            assert_int_equal(smtp_verb_find(span_head(name, name.len - 1)), SMTP_VERB_UNKNOWN);
    }
}

enum { BLOCKS = 4 };
static uint8_t storage[BLOCKS * SMTP_LINE_BYTES_MAX] __attribute__((aligned(8)));

static void test_case_1_lines_cut_anywhere(void **state)
{
    (void)state;
    static const char text[] = "EHLO x\r\n\r\nNOOP a\rb\nQUIT\r\r\n";
    static const char *const lines[] = {"EHLO x\r\n", "\r\n", "NOOP a\rb\n", "QUIT\r\r\n"};
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct random_source random = {seed};
        struct pool blocks;
        struct smtp_line line = {0};
        pool_init(&blocks, storage, SMTP_LINE_BYTES_MAX, BLOCKS);
        size_t count = 0;
        for (struct span left = span_of(text); left.len;) {
            struct span part = span_head(left, seed ? 1 + random_below(&random, 12) : left.len), whole;
            left = span_tail(left, part.len);
            while (smtp_line_feed(&line, &blocks, &part, &whole) == SMTP_LINE_WHOLE) {
                assert_true(equals(whole, lines[count++]));
                smtp_line_done(&line, &blocks);
            }
            assert_int_equal(part.len, 0);
        }
        assert_int_equal(count, 4);
        assert_int_equal(blocks.used, 0);
    }
}

static void test_case_10_line_of_each_length_near_the_limit(void **state)
{
    (void)state;
    static uint8_t text[SMTP_LINE_BYTES_MAX + 4];
    for (size_t len = SMTP_LINE_BYTES_MAX - 3; len <= SMTP_LINE_BYTES_MAX + 3; len++)
        for (size_t cut = 0; cut < len; cut += cut < 3 || cut >= len - 6 ? 1 : len - 6 - cut) {
            struct pool blocks;
            struct smtp_line line = {0};
            struct span whole = {0};
            pool_init(&blocks, storage, SMTP_LINE_BYTES_MAX, BLOCKS);
            memset(text, 'x', sizeof text);
            text[len - 1] = '\n';
            struct span first = {text, cut}, rest = {text + cut, len - cut};
            enum smtp_line_status status = smtp_line_feed(&line, &blocks, &first, &whole);
            /* It is too long as soon as no line end can come within bounds: something of it is left to be told of. */
            assert_int_equal(status, cut < SMTP_LINE_BYTES_MAX ? SMTP_LINE_PARTIAL : SMTP_LINE_LONG);
            if (status == SMTP_LINE_PARTIAL) {
                status = smtp_line_feed(&line, &blocks, &rest, &whole);
                assert_int_equal(status, len <= SMTP_LINE_BYTES_MAX ? SMTP_LINE_WHOLE : SMTP_LINE_LONG);
                first = rest;
            }
            if (status == SMTP_LINE_LONG) {
                assert_true(smtp_line_so_far(&line, &blocks).len < SMTP_LINE_BYTES_MAX);
                smtp_line_gather(&line, &blocks, &first);
                assert_int_equal(smtp_line_so_far(&line, &blocks).len, SMTP_LINE_BYTES_MAX);
            }
            smtp_line_done(&line, &blocks);
            assert_int_equal(blocks.used, 0);
        }
}

static void test_case_42_ledger_against_a_plain_queue(void **state)
{
    (void)state;
    struct pool blocks;
    struct smtp_ledger ledger = {0};
    struct random_source random = {42};
    uint32_t first = 0, next = 0;
    pool_init(&blocks, storage, SMTP_LINE_BYTES_MAX, 1);
    for (int i = 0; i < 60000; i++) {
        bool grows = i / 3000 % 2 == 0;
        if (random_below(&random, 4) < (grows ? 3u : 1u)) {
            struct smtp_slot slot =
                smtp_slot_of((enum smtp_verb)(next % SMTP_VERBS), (enum smtp_fate)(next % 5), (uint8_t)(next % 251));
            bool kept = smtp_ledger_push(&ledger, &blocks, slot);
            assert_int_equal(kept, next - first < SMTP_LEDGER_SLOTS_MAX);
            next += kept;
        } else if (first != next) {
            const struct smtp_slot *oldest = smtp_ledger_oldest(&ledger, &blocks);
            assert_non_null(oldest);
            assert_int_equal(smtp_slot_verb(*oldest), first % SMTP_VERBS);
            assert_int_equal(smtp_slot_fate(*oldest), first % 5);
            assert_int_equal(oldest->refusal, first % 251);
            smtp_ledger_pop(&ledger, &blocks);
            first++;
        }
        assert_int_equal(ledger.count, next - first);
        if (first == next) {
            assert_null(smtp_ledger_oldest(&ledger, &blocks));
            assert_int_equal(blocks.used, 0);
        }
    }
    smtp_ledger_clear(&ledger, &blocks);
    assert_int_equal(blocks.used, 0);
}

static void test_case_8_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *argument, *inside, *plain, *parameters; /* inside NULL: it cannot be read in one way */
    } rows[] = {
        {"TO:<a@b>", "a@b", "a@b", ""},
        {"to: <a@b> SIZE=1 \tBODY=7BIT", "a@b", "a@b", "SIZE=1 \tBODY=7BIT"},
        {"FROM:<>", "", "", ""},
        {"TO:a@b NOTIFY=NEVER", "a@b", "a@b", "NOTIFY=NEVER"},
        {"TO:<Postmaster>", "Postmaster", "Postmaster", ""},
        {"TO:<@x,@y:a@b>", "@x,@y:a@b", "a@b", ""},
        {"TO:<\"a > b\\\"@c\"@d>", "\"a > b\\\"@c\"@d", "a > b\"@c@d", ""},
        {"TO:<a@[IPv6:::1]>", "a@[IPv6:::1]", "a@[IPv6:::1]", ""},
        {"TO:<\xc3\xa4@b>", "\xc3\xa4@b", "\xc3\xa4@b", ""},
        {"TO:<a@b", NULL, "", ""},
        {"TO:<<a@b>>", NULL, "", ""},
        {"TO:<a@b>x", NULL, "", ""},
        {"FROM:<a@b> AUTH=<> X-1 SIZE=", "a@b", "a@b", "AUTH=<> X-1 SIZE="},
        {"TO:postmaster <c@d>", NULL, "", ""},
        {"TO:postmaster c@d", NULL, "", ""},
        {"TO:<postmaster> <c@d>", NULL, "", ""},
        {"TO:<postmaster> NOTIFY=NEVER <c@d>", NULL, "", ""},
        {"TO:<postmaster> \"c\"@d", NULL, "", ""},
        {"TO:<a (c)@b>", NULL, "", ""},
        {"TO:<\"a@b>", NULL, "", ""},
        {"TO <a@b>", NULL, "", ""},
        {"TO:", NULL, "", ""},
        {"", NULL, "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[64];
        struct smtp_path path = smtp_path_parse(span_of(rows[i].argument));
        if (path.good != (rows[i].inside != NULL))
            fail_msg("%s", rows[i].argument);
        if (path.good && !(equals(path.inside, rows[i].inside) && equals(path.parameters, rows[i].parameters) &&
                           equals(smtp_path_plain(&path, out, sizeof out), rows[i].plain)))
            fail_msg("%s", rows[i].argument);
    }
}

/* One unit of a side, decided; what leaves is in *change. */
static void commit(struct smtp_session *session, const struct smtp_context *context, enum smtp_side side,
                   const char *octets, enum smtp_action_kind kind, struct smtp_room room, struct smtp_change *change)
{
    struct span bytes = span_of(octets);
    struct smtp_unit unit;
    assert_true(smtp_session_next(session, context, side, &bytes, true, &unit));
    smtp_session_commit(session, context, &unit,
                        (struct smtp_action){.kind = kind, .refusal = SMTP_REFUSAL_UNRECOGNIZED}, room, change);
}

/* The beginning of a code that was kept back cannot be given back where lengths must stay. */
static void test_case_20_no_room_for_what_was_kept_back(void **state)
{
    (void)state;
    for (int room = 0; room < 2; room++) {
        static struct smtp_refusals refusals;
        static const struct smtp_keyword_set keywords;
        static struct smtp_change change;
        struct pool blocks;
        struct smtp_session session;
        struct smtp_context context = {.blocks = &blocks, .keywords = &keywords, .refusals = &refusals};
        const struct smtp_room any = {.saved = 2, .resize = true}, same = {.saved = 2, .resize = room > 0};
        pool_init(&blocks, storage, SMTP_LINE_BYTES_MAX, BLOCKS);
        smtp_refusals_init(&refusals);
        smtp_session_init(&session);
        commit(&session, &context, SMTP_SERVER, "220 hi\r\n", SMTP_ACTION_PASS, any, &change);
        commit(&session, &context, SMTP_CLIENT, "VRFY x\r\n", SMTP_ACTION_REFUSE, any, &change);
        commit(&session, &context, SMTP_SERVER, "42", SMTP_ACTION_PASS, any, &change);
        assert_true(change.changed && change.len == 0);
        commit(&session, &context, SMTP_SERVER, "1 bye\r\n", SMTP_ACTION_PASS, same, &change);
        assert_int_equal(change.reset, room == 0);
        if (room)
            assert_true(span_equal((struct span){change.octets, change.len}, span_of("421 bye\r\n")));
        smtp_session_fini(&session, &blocks);
        assert_int_equal(blocks.used, 0);
    }
}

static void test_case_13_proxy_headers(void **state)
{
    (void)state;
    static const struct {
        const char *label;
        struct span octets;
        enum smtp_proxy_status status;
        size_t len;
        uint8_t ip_version;
        const char *address; /* in hexadecimal digits */
        uint16_t port;
    } rows[] = {
        {"v1", TEXT("PROXY TCP4 192.0.2.1 10.0.0.1 56324 25\r\nEHLO"), SMTP_PROXY_GOOD, 40, 4, "c0000201", 56324},
        {"v1, IPv6", TEXT("PROXY TCP6 2001:db8::1 ::1 1 25\r\n"), SMTP_PROXY_GOOD, 33, 6,
         "20010db8000000000000000000000001", 1},
        {"v1, all zeros", TEXT("PROXY TCP6 :: ::1 1 25\r\n"), SMTP_PROXY_GOOD, 24, 6,
         "00000000000000000000000000000000", 1},
        {"v1, a gap at the end", TEXT("PROXY TCP6 fe80:: ::1 1 25\r\n"), SMTP_PROXY_GOOD, 28, 6,
         "fe800000000000000000000000000000", 1},
        {"v1, whole", TEXT("PROXY TCP6 1:2:3:4:5:6:7:AbC 1:2:3:4:5:6:192.0.2.9 1 25\r\n"), SMTP_PROXY_GOOD, 57, 6,
         "00010002000300040005000600070abc", 1},
        {"v1, IPv4 inside", TEXT("PROXY TCP6 64:ff9b::192.0.2.9 ::1 1 25\r\n"), SMTP_PROXY_GOOD, 40, 6,
         "0064ff9b0000000000000000c0000209", 1},
        {"v1, IPv4 in the form of IPv6", TEXT("PROXY TCP6 ::ffff:192.0.2.9 ::1 1 25\r\n"), SMTP_PROXY_GOOD, 38, 4,
         "c0000209", 1},
        {"v1, unknown", TEXT("PROXY UNKNOWN\r\n"), SMTP_PROXY_GOOD, 15, 0, "", 0},
        {"v1, unknown with more", TEXT("PROXY UNKNOWN a b 1 2\r\n"), SMTP_PROXY_GOOD, 23, 0, "", 0},
        {"v1, a number too large", TEXT("PROXY TCP4 192.0.2.256 10.0.0.1 1 25\r\n"), SMTP_PROXY_BAD, 38, 0, "", 0},
        {"v1, a zero before", TEXT("PROXY TCP4 192.0.02.1 10.0.0.1 1 25\r\n"), SMTP_PROXY_BAD, 37, 0, "", 0},
        {"v1, three numbers", TEXT("PROXY TCP4 192.0.2 10.0.0.1 1 25\r\n"), SMTP_PROXY_BAD, 34, 0, "", 0},
        {"v1, five", TEXT("PROXY TCP4 1.2.3.4.5 10.0.0.1 1 25\r\n"), SMTP_PROXY_BAD, 36, 0, "", 0},
        {"v1, two gaps", TEXT("PROXY TCP6 1::2::3 ::1 1 25\r\n"), SMTP_PROXY_BAD, 29, 0, "", 0},
        {"v1, three colons", TEXT("PROXY TCP6 1:::2 ::1 1 25\r\n"), SMTP_PROXY_BAD, 27, 0, "", 0},
        {"v1, nine groups", TEXT("PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 25\r\n"), SMTP_PROXY_BAD, 39, 0, "", 0},
        {"v1, seven groups", TEXT("PROXY TCP6 1:2:3:4:5:6:7 ::1 1 25\r\n"), SMTP_PROXY_BAD, 35, 0, "", 0},
        {"v1, a colon at the end", TEXT("PROXY TCP6 1:2:3:4:5:6:7: ::1 1 25\r\n"), SMTP_PROXY_BAD, 36, 0, "", 0},
        {"v1, five digits", TEXT("PROXY TCP6 12345:: ::1 1 25\r\n"), SMTP_PROXY_BAD, 29, 0, "", 0},
        {"v1, a port too large", TEXT("PROXY TCP4 192.0.2.1 10.0.0.1 65536 25\r\n"), SMTP_PROXY_BAD, 40, 0, "", 0},
        {"v1, no port", TEXT("PROXY TCP4 192.0.2.1 10.0.0.1\r\n"), SMTP_PROXY_BAD, 31, 0, "", 0},
        {"v1, one word more", TEXT("PROXY TCP4 192.0.2.1 10.0.0.1 1 25 x\r\n"), SMTP_PROXY_BAD, 38, 0, "", 0},
        {"v1, no CR", TEXT("PROXY UNKNOWN\n"), SMTP_PROXY_BAD, 14, 0, "", 0},
        {"v1, no word", TEXT("PROXY \r\n"), SMTP_PROXY_BAD, 8, 0, "", 0},
        {"v1, its beginning", TEXT("PROX"), SMTP_PROXY_MORE, 5, 0, "", 0},
        {"v1, all but LF", TEXT("PROXY UNKNOWN\r"), SMTP_PROXY_MORE, 15, 0, "", 0},
        {"no blank", TEXT("PROXYX\r\n"), SMTP_PROXY_NONE, 0, 0, "", 0},
        {"a command", TEXT("EHLO x\r\n"), SMTP_PROXY_NONE, 0, 0, "", 0},
        {"nothing", TEXT(""), SMTP_PROXY_MORE, 1, 0, "", 0},
        {"v2",
         TEXT(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\0\x19"
                 "EHLO"),
         SMTP_PROXY_GOOD, 28, 4, "c0000201", 56324},
        {"v2, one octet short", TEXT(V2 "\x21\x11\0\x0c\xc0\0\x02\x01\x0a\0\0\x01\xdc\x04\0"), SMTP_PROXY_MORE, 28, 0,
         "", 0},
        {"v2, its beginning", TEXT("\r\n\r"), SMTP_PROXY_MORE, 16, 0, "", 0},
        {"v2, not its beginning", TEXT("\r\nx"), SMTP_PROXY_BAD, 4, 0, "", 0},
        {"v2, local", TEXT(V2 "\x20\0\0\0"), SMTP_PROXY_GOOD, 16, 0, "", 0},
        {"v2, no TCP", TEXT(V2 "\x21\x31\0\x01x"), SMTP_PROXY_GOOD, 17, 0, "", 0},
        {"v2, too short for its addresses", TEXT(V2 "\x21\x21\0\x0c............"), SMTP_PROXY_BAD, 28, 0, "", 0},
        {"v2, another version", TEXT(V2 "\x31\x11\0\x0c............"), SMTP_PROXY_BAD, 28, 0, "", 0},
        {"v2, longer than any", TEXT(V2 "\x21\x11\x08\0"), SMTP_PROXY_BAD, 2064, 0, "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct smtp_proxy proxy;
        char address[33] = "";
        if (!one_row(rows[i].label))
            continue;
        enum smtp_proxy_status status = smtp_proxy_parse(rows[i].octets, &proxy);
        for (int at = 0; at < (proxy.ip_version == 6 ? 16 : proxy.ip_version == 4 ? 4 : 0); at++)
            (void)snprintf(address + 2 * at, 3, "%02x", proxy.address[at]);
        if (status != rows[i].status || (status != SMTP_PROXY_NONE && proxy.len != rows[i].len) ||
            proxy.ip_version != rows[i].ip_version || strcmp(address, rows[i].address) != 0 ||
            proxy.port != rows[i].port)
            fail_msg("%s: status %d, %zu octets, IPv%d %s, port %d", rows[i].label, (int)status, proxy.len,
                     proxy.ip_version, address, proxy.port);
        /* Cut anywhere a good one is the beginning of one, and wants no more than there is. */
        for (size_t len = 0; status == SMTP_PROXY_GOOD && len < proxy.len; len++) {
            struct smtp_proxy part;
            assert_int_equal(smtp_proxy_parse(span_head(rows[i].octets, len), &part), SMTP_PROXY_MORE);
            assert_in_range(part.len, len + 1, proxy.len);
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_announced_size),
        cmocka_unit_test(test_cases_4_to_7_and_14_commands),
        cmocka_unit_test(test_cases_46_47_50_sizes),
        cmocka_unit_test(test_cases_15_to_18_replies),
        cmocka_unit_test(test_case_8_addresses),
        cmocka_unit_test(test_case_13_proxy_headers),
        cmocka_unit_test(test_case_22_enhanced_codes_agree),
        cmocka_unit_test(test_case_27_a_keyword_may_come_at_each_cut),
        cmocka_unit_test(test_case_14_every_verb),
        cmocka_unit_test(test_case_1_lines_cut_anywhere),
        cmocka_unit_test(test_case_10_line_of_each_length_near_the_limit),
        cmocka_unit_test(test_case_42_ledger_against_a_plain_queue),
        cmocka_unit_test(test_case_20_no_room_for_what_was_kept_back),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("smtp", tests, NULL, NULL);
}
