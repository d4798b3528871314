/*
 * Hard cases that show in packets rather than in streams, or in what is reported of a transaction; each under its
 * number in docs/cases.md.
 */
#include "../lib/dialogue.h"
#include "../lib/one.h"

#include <stdio.h>
#include <stdlib.h>

#include "report/session.h"

#define GREETING "220 hi\r\n"
#define EHLO     "EHLO x\r\n"
#define OFFER    "250-host\r\n250-XEXCH50\r\n250 CHUNKING\r\n"
#define OFFERED  "250-host\r\n250 CHUNKING\r\n"

static struct drive *begin(const char *name, bool no_acknowledgments)
{
    struct drive_plan plan = {.name = name, .seed = 11, .no_acknowledgments = no_acknowledgments};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    return drive;
}

static struct drive *begin_greeted(const char *name)
{
    struct drive *drive = begin(name, false);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, EHLO);
    drive_say_text(drive, SMTP_SERVER, OFFER);
    return drive;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static uint32_t said_len(const struct drive *drive, enum smtp_side side)
{
    return (uint32_t)drive_said(drive, side).len;
}

/* ---- one packet in, one packet out (cases 31 and 34, law 1) ---- */

static void test_case_31(void **state)
{
    (void)state;
    static const struct {
        const char *offer, *leaves;
    } rows[] = {
        {"250-host\r\n250-SIZE\r\n250 OK\r\n", "250-host\r\n250-SIZE\r\n250 OK\r\n"},
        {OFFER, OFFERED},
        {"250-host\r\n250-SIZE\r\n250 XEXCH50\r\n", "250-host\r\n250 SIZE\r\n"},
        {"250-X-LINK2STATE\r\n250-XEXCH50\r\n250-SIZE\r\n250 X-LINK2STATE\r\n", "250-X-LINK2STATE\r\n250 SIZE\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drive *drive = begin("case 31", false);
        drive_say_text(drive, SMTP_SERVER, GREETING);
        drive_say_text(drive, SMTP_CLIENT, EHLO);
        uint64_t number = drive_send_text(drive, SMTP_SERVER, said_len(drive, SMTP_SERVER), rows[i].offer);
        const struct packet *left = drive_left(drive, number);
        assert_non_null(left);
        assert_int_equal(left->payload_len, strlen(rows[i].leaves));
        assert_memory_equal(packet_payload(left).ptr, rows[i].leaves, left->payload_len);
        end(drive);
    }
}

/* Cut into three parts, which the filter may hold, cover and let go, but neither join nor divide. */
static void check_three_parts(struct span text, uint32_t first, uint32_t second)
{
    struct drive *drive = begin_greeted("case 34");
    uint32_t at = said_len(drive, SMTP_CLIENT);
    const uint32_t cuts[] = {0, first, second, (uint32_t)text.len};
    uint64_t numbers[3];
    for (int i = 0; i < 3; i++) {
        struct span part = span_tail(span_head(text, cuts[i + 1]), cuts[i]);
        struct segment segment = drive_segment(drive, SMTP_CLIENT, at + cuts[i], part);
        numbers[i] = drive_send(drive, SMTP_CLIENT, &segment);
    }
    drive_wait(drive, 1000000);
    for (int i = 0; i < 3; i++) {
        const struct packet *left = drive_left(drive, numbers[i]);
        assert_non_null(left);
        assert_int_equal(left->payload_len, cuts[i + 1] - cuts[i]);
        assert_int_equal(left->seq, drive_isn(drive, SMTP_CLIENT) + 1 + at + cuts[i]);
    }
    struct span read = drive_read(drive, SMTP_SERVER);
    for (size_t i = 0; i < text.len; i++) /* no line end comes or goes */
        assert_int_equal(read.ptr[at + i] == '\n', text.ptr[i] == '\n');
    end(drive);
}

static void test_case_34(void **state)
{
    (void)state;
    static const char text[] = "MAIL FROM:<>\r\nXEXCH50 1 2\r\nRSET\r\n";
    for (uint32_t first = 1; first + 2 < sizeof text; first++)
        for (uint32_t second = first + 1; second + 1 < sizeof text; second++)
            check_three_parts(span_of(text), first, second);
}

/* ---- the end of the ledger (case 42) ---- */

static char *repeat(const char *text, size_t count)
{
    size_t len = strlen(text);
    char *all = malloc(count * len + 1);
    assert_non_null(all);
    for (size_t i = 0; i < count; i++)
        memcpy(all + i * len, text, len + 1);
    return all;
}

/* More commands than the ledger holds, as fast as the client can say them: those beyond wait for the replies. */
static void check_unanswered(size_t commands)
{
    enum { NOOP_LEN = 6, A_PACKET = 200, LEAST = SMTP_LEDGER_SLOTS_MAX - 1 };
    struct drive_plan plan = {.name = "case 42", .seed = commands};
    struct drive *drive = drive_new(&plan);
    char *noops = repeat("NOOP\r\n", commands), *replies = repeat("250 2.0.0 OK\r\n", commands);
    drive_handshake(drive);
    drive_say_text(drive, SMTP_SERVER, GREETING);
    drive_say_text(drive, SMTP_CLIENT, EHLO);
    drive_say_text(drive, SMTP_SERVER, OFFER); /* shorter from here on: an offset */
    size_t at = said_len(drive, SMTP_CLIENT), len = commands * NOOP_LEN;
    for (size_t answered = 0; answered < commands;) {
        size_t read = answered * NOOP_LEN;
        for (size_t sent = read; sent < len; sent += A_PACKET * NOOP_LEN) {
            struct span part = span_head(span_tail(span_of(noops), sent), A_PACKET * NOOP_LEN);
            struct segment segment = drive_segment(drive, SMTP_CLIENT, (uint32_t)(at + sent), part);
            drive_send(drive, SMTP_CLIENT, &segment);
        }
        size_t crossed = (drive_read(drive, SMTP_SERVER).len - at) / NOOP_LEN - answered;
        assert_int_equal(crossed, commands - answered < LEAST ? commands - answered : LEAST);
        for (size_t i = 0; i < crossed; i++)
            drive_send_text(drive, SMTP_SERVER, said_len(drive, SMTP_SERVER), "250 2.0.0 OK\r\n");
        answered += crossed;
    }
    assert_int_equal(drive_read(drive, SMTP_SERVER).len, at + len);
    drive_say_text(drive, SMTP_CLIENT, EHLO);
    drive_say_text(drive, SMTP_SERVER, OFFER);
    drive_close(drive, SMTP_SERVER);

    char *told = dialogue_told(drive, SMTP_CLIENT);
    assert_null(strchr(told, '#'));
    struct span all = drive_read(drive, SMTP_CLIENT);
    size_t before = strlen(GREETING OFFERED), between = strlen(replies);
    assert_int_equal(all.len, before + between + strlen(OFFERED));
    assert_memory_equal(all.ptr, GREETING OFFERED, before);
    assert_memory_equal(all.ptr + before, replies, between);
    assert_memory_equal(all.ptr + before + between, OFFERED, strlen(OFFERED));
    free(told);
    free(noops);
    free(replies);
    end(drive);
}

static void test_case_42(void **state)
{
    (void)state;
    for (size_t commands = SMTP_LEDGER_SLOTS_MAX - 3; commands <= SMTP_LEDGER_SLOTS_MAX + 2; commands++)
        check_unanswered(commands);
    check_unanswered(3 * SMTP_LEDGER_SLOTS_MAX);
}

/* ---- a gap is never skipped (case 49) ---- */

/* The piece [from, to) comes when the session is over its end by all that stands behind it, or never. */
static void check_gap(bool in_message, struct span text, uint32_t from, uint32_t to, bool fills)
{
    struct drive *drive = begin_greeted("case 49");
    if (in_message) {
        drive_say_text(drive, SMTP_CLIENT, "DATA\r\n");
        drive_say_text(drive, SMTP_SERVER, "354 go\r\n");
    }
    uint32_t at = said_len(drive, SMTP_CLIENT);
    struct segment segment = drive_segment(drive, SMTP_CLIENT, at, span_head(text, from));
    drive_send(drive, SMTP_CLIENT, &segment);
    segment = drive_segment(drive, SMTP_CLIENT, at + to, span_tail(text, to));
    uint64_t behind = drive_send(drive, SMTP_CLIENT, &segment);
    assert_int_equal(drive_fate(drive, behind), DRIVE_WAITS);
    if (fills) {
        segment = drive_segment(drive, SMTP_CLIENT, at + from, span_tail(span_head(text, to), from));
        drive_send(drive, SMTP_CLIENT, &segment);
    }
    drive_wait(drive, 10000000);
    struct span read = drive_read(drive, SMTP_SERVER);
    if (fills) {
        assert_int_equal(read.len, at + text.len);
        assert_int_equal(memcmp(read.ptr + read.len - 13, "NOOP       \r\n", 13), 0);
    } else {
        assert_int_equal(drive_fate(drive, behind), DRIVE_DROPPED);
        assert_true(read.len <= at + from);
    }
    end(drive);
}

static void test_case_49(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "BDAT 25 LAST\r\nXEXCH50 1 2\r\nin the chunkXEXCH50 1 2\r\n",
        "RCPT TO:<x>\r\n.\r\nXEXCH50 1 2\r\n", /* behind DATA */
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct span text = span_of(texts[i]);
        for (uint32_t from = 1; from < text.len - 1; from++)
            for (uint32_t to = from + 1; to < text.len; to += from % 3 + 1)
                for (int fills = 0; fills < 2; fills++)
                    check_gap(i == 1, text, from, to, fills);
    }
}

/* ---- windows (case 61) ---- */

static struct segment syn_with_scale(const struct drive *drive, enum smtp_side side, uint8_t shift)
{
    struct segment syn = drive_segment(drive, side, 0, (struct span){0});
    syn.seq--;
    syn.flags = side == SMTP_CLIENT ? PACKET_SYN : PACKET_SYN | PACKET_ACK;
    if (side == SMTP_CLIENT)
        syn.ack = 0;
    segment_add_mss(&syn.options, 1460);
    segment_add_window_scale(&syn.options, shift);
    return syn;
}

/* RFC 7323 2.3: a shift over 14 counts as 14, here as at the receiver. */
static void test_case_61_scale(void **state)
{
    (void)state;
    uint16_t windows[2];
    for (uint8_t i = 0; i < 2; i++) {
        struct drive_plan plan = {.name = "case 61", .seed = 3};
        struct drive *drive = drive_new(&plan);
        for (int side = SMTP_CLIENT; side <= SMTP_SERVER; side++) {
            struct segment syn = syn_with_scale(drive, (enum smtp_side)side, i ? 15 : 14);
            drive_send(drive, (enum smtp_side)side, &syn);
        }
        struct segment ack = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
        ack.window = UINT16_MAX;
        windows[i] = drive_left(drive, drive_send(drive, SMTP_CLIENT, &ack))->window;
        end(drive);
    }
    assert_in_range(windows[0], 1, UINT16_MAX - 1); /* what may be kept is less than 2^30 octets */
    assert_int_equal(windows[1], windows[0]);
}

static void test_case_61_zero(void **state)
{
    (void)state;
    struct drive *drive = begin("case 61", true);
    drive_send_text(drive, SMTP_SERVER, 0, GREETING);
    struct segment ack = drive_segment(drive, SMTP_CLIENT, 0, (struct span){0});
    ack.window = 0;
    assert_int_equal(drive_left(drive, drive_send(drive, SMTP_CLIENT, &ack))->window, 0);
    /* A probe of one octet, and another one: each leaves, for the answer to say how wide the window is now. */
    uint32_t at = sizeof GREETING - 1;
    for (int i = 0; i < 2; i++)
        assert_int_equal(drive_left(drive, drive_send_text(drive, SMTP_SERVER, at, "2"))->payload_len, 1);
    end(drive);
}

/*
 * The client takes no more than its window, which is smaller than the refusal that stands for the server's reply: it
 * acknowledges a part of that, and reads the rest from the resends of a server whose reply is shorter.
 */
static void test_case_61_small(void **state)
{
    (void)state;
    static const char said[] = "250 ok\r\n", reads[] = "504 Refused\r\n";
    for (uint32_t window = 1; window < sizeof reads - 1; window++) {
        struct drive *drive = begin("case 61", true);
        drive_send_text(drive, SMTP_SERVER, 0, GREETING);
        drive_send_text(drive, SMTP_CLIENT, 0, EHLO);
        drive_send_text(drive, SMTP_SERVER, sizeof GREETING - 1, OFFER);
        drive_send_text(drive, SMTP_CLIENT, sizeof EHLO - 1, "XEXCH50 1 2\r\n");
        uint32_t at = sizeof GREETING OFFER - 1;
        uint32_t from = drive_isn(drive, SMTP_SERVER) + 1 + sizeof GREETING OFFERED - 1;
        uint32_t taken = 0;
        for (int resend = 0; taken < sizeof reads - 1; resend++) {
            assert_in_range(resend, 0, sizeof reads);
            const struct packet *left = drive_left(drive, drive_send_text(drive, SMTP_SERVER, at, said));
            assert_non_null(left);
            struct span payload = packet_payload(left);
            assert_true(left->seq - from <= taken && left->seq - from + payload.len > taken);
            for (size_t i = 0; i < payload.len; i++)
                assert_int_equal(payload.ptr[i], reads[left->seq - from + i]);
            uint32_t most = left->seq - from + (uint32_t)payload.len;
            taken = most < taken + window ? most : taken + window;
            struct segment ack =
                drive_segment(drive, SMTP_CLIENT, (uint32_t)drive_said(drive, SMTP_CLIENT).len, (struct span){0});
            ack.ack = from + taken;
            ack.window = (uint16_t)window;
            drive_send(drive, SMTP_CLIENT, &ack);
        }
        end(drive);
    }
}

/* ---- the path (case 70) ---- */

/*
 * A segment as large as the path carries, in which a reply is replaced by a longer one: tests/lib/drive sees that no
 * packet becomes larger, and the server's own resend carries the rest.
 */
static void test_case_70(void **state)
{
    (void)state;
    enum { MSS = 1000 };
    for (int shorter = 0; shorter < 16; shorter++) {
        struct drive_plan plan = {.name = "case 70", .seed = 5, .mss = MSS};
        struct drive *drive = drive_new(&plan);
        char help[MSS + 1], expected[MSS + 100];
        drive_handshake(drive);
        drive_say_text(drive, SMTP_SERVER, GREETING);
        drive_say_text(drive, SMTP_CLIENT, EHLO);
        drive_say_text(drive, SMTP_SERVER, OFFER);
        drive_say_text(drive, SMTP_CLIENT, "HELP\r\nXEXCH50 1 2\r\n");
        int len = snprintf(help, sizeof help, "214 %*s\r\n250 ok\r\n", MSS - shorter - 14, "help");
        assert_int_equal(len, MSS - shorter);
        drive_say_text(drive, SMTP_SERVER, help);
        len = snprintf(expected, sizeof expected, "%s%.*s504 Refused\r\n", GREETING OFFERED, len - 8, help);
        struct span read = drive_read(drive, SMTP_CLIENT);
        assert_int_equal(read.len, len);
        assert_memory_equal(read.ptr, expected, read.len);
        end(drive);
    }
}

/* ---- where a transaction ends (case 41), and whom it names (cases 8 and 9) ---- */

/* What is reported of the transactions of a dialogue; the caller frees it. */
static char *transactions_of(const char *label, const struct dialogue_turn *turns)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct sessions *sessions = sessions_new(SESSIONS_BYTES_DEFAULT);
    struct drive_plan plan = {.seed = 1};
    struct drive *drive = dialogue_play(label, turns, DIALOGUE_TURNS_MAX, &plan);
    assert_true(out && sessions);
    for (size_t i = 0; i < drive_event_count(drive); i++)
        assert_true(sessions_take(sessions, &drive_event(drive, i)->event, out));
    assert_int_equal(fclose(out), 0);
    sessions_free(sessions);
    drive_free(drive);
    return text;
}

/* The values of `key` in lines of JSON, with a blank before each. */
static void collect(const char *json, const char *key, char *out, size_t room)
{
    size_t len = 0;
    size_t key_len = strlen(key);
    *out = '\0';
    while ((json = strstr(json, key)) != NULL) {
        json += key_len;
        len += (size_t)snprintf(out + len, room - len, " %.*s", (int)strcspn(json, "\"]}"), json);
        assert_true(len < room);
    }
}

#define BEGUN   GREETED, C("MAIL FROM:<a@b>\r\n"), S("250 ok\r\n"), C("RCPT TO:<c@d>\r\n"), S("250 ok\r\n")
#define GREETED S(GREETING), C(EHLO), S(OFFER)
#define AGAIN   C("MAIL FROM:<e@f>\r\n")

static void test_case_41(void **state)
{
    (void)state;
    static const struct {
        const char *label, *outcomes;
        struct dialogue_turn turns[DIALOGUE_TURNS_MAX];
    } rows[] = {
        {"RSET", " reset unfinished", {BEGUN, C("RSET\r\n"), S("250 ok\r\n"), AGAIN, S("250 ok\r\n")}},
        {"EHLO", " reset unfinished", {BEGUN, C(EHLO), S(OFFER), AGAIN, S("250 ok\r\n")}},
        {"HELO", " reset", {BEGUN, C("HELO x\r\n"), S("250 host\r\n"), AGAIN, S("503 no\r\n")}},
        {"EHLO refused", " unfinished", {BEGUN, C(EHLO), S("502 no\r\n"), AGAIN, S("503 nested\r\n")}},
        {"STARTTLS", " not-followed", {BEGUN, C("STARTTLS\r\n"), S("220 go\r\n")}},
        {"STARTTLS refused", " unfinished", {BEGUN, C("STARTTLS\r\n"), S("454 no\r\n"), AGAIN, S("503 nested\r\n")}},
        {"the dot, accepted",
         " accepted unfinished",
         {BEGUN, C("DATA\r\n"), S("354 go\r\n"), C(".\r\n"), S("250 ok\r\n"), AGAIN, S("250 ok\r\n")}},
        {"the dot, refused",
         " refused unfinished",
         {BEGUN, C("DATA\r\n"), S("354 go\r\n"), C(".\r\n"), S("550 no\r\n"), AGAIN, S("250 ok\r\n")}},
        {"DATA refused", " unfinished", {BEGUN, C("DATA\r\n"), S("451 no\r\n"), AGAIN, S("503 nested\r\n")}},
        {"BDAT, not the last", " unfinished", {BEGUN, C("BDAT 1\r\nx"), S("250 ok\r\n"), AGAIN, S("503 nested\r\n")}},
        {"BDAT LAST",
         " accepted unfinished",
         {BEGUN, C("BDAT 1\r\nxBDAT 0 LAST\r\n"), S("250 ok\r\n250 ok\r\n"), AGAIN, S("250 ok\r\n")}},
        {"two in flight",
         " accepted reset unfinished",
         {BEGUN, C("DATA\r\n"), S("354 go\r\n"), C(".\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<e@f>\r\n"),
          S("250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n")}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!one_row(rows[i].label))
            continue;
        char outcomes[200];
        char *json = transactions_of(rows[i].label, rows[i].turns);
        collect(json, "\"outcome\":\"", outcomes, sizeof outcomes);
        if (strcmp(outcomes, rows[i].outcomes) != 0)
            fail_msg("%s:%s instead of%s", rows[i].label, outcomes, rows[i].outcomes);
        free(json);
    }
}

static void test_cases_8_9_paths(void **state)
{
    (void)state;
    static const struct dialogue_turn turns[DIALOGUE_TURNS_MAX] = {
        GREETED,
        C("MAIL FROM:<> SIZE=100 BODY=8BITMIME AUTH=<a@b> SMTPUTF8\r\n"),
        S("250 ok\r\n"),
        C("RCPT TO: <c@d> NOTIFY=NEVER ORCPT=rfc822;<x@y>\r\nRCPT TO:<\"a>b@c\"@d.example>\r\n"
          "RCPT\tto:<@a.example,@b.example:c@d.example>\r\nRCPT TO:bare@d.example\r\n"),
        S("250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n"),
    };
    char *json = transactions_of("paths", turns);
    if (!strstr(json, "\"mail_from\":\"<>\",\"rcpt_to\":[\"<c@d>\",\"<\\\"a>b@c\\\"@d.example>\","
                      "\"<@a.example,@b.example:c@d.example>\",\"bare@d.example\"]"))
        fail_msg("%s", json);
    free(json);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"case 31: an EHLO reply that came in one packet leaves in one", test_case_31, NULL, NULL, NULL},
        {"case 34, 78: packets are neither joined nor divided, nor lines", test_case_34, NULL, NULL, NULL},
        {"case 41: a transaction ends by what the server replies", test_case_41, NULL, NULL, NULL},
        {"case 42: beyond the ledger's end commands wait, and the session is read on", test_case_42, NULL, NULL, NULL},
        {"case 49: a gap in a chunk or message is never skipped", test_case_49, NULL, NULL, NULL},
        {"case 61: a window scale over 14 counts as 14", test_case_61_scale, NULL, NULL, NULL},
        {"case 61: a window of zero stays, probes pass", test_case_61_zero, NULL, NULL, NULL},
        {"case 61: a window smaller than what replaces a reply", test_case_61_small, NULL, NULL, NULL},
        {"case 70: no packet grows beyond what the path carries", test_case_70, NULL, NULL, NULL},
        {"case 8, 9: a transaction names paths without their parameters", test_cases_8_9_paths, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("cases, packets", tests, NULL, NULL);
}
