/*
 * Replies that leave later: what leaves of them before, when the rest does, and what ends it. Packet by packet; that no
 * server gives up, and how exact the end is, is shown by tests/sim/tarpit_main and tests/live/tarpit_test.
 *
 * Case numbers are those of smtp-cases.md.
 */
#include "../lib/dialogue.h"
#include "../lib/rules.h"

enum { DELAY_MS = 10000, RTO_US = 200000, MS = 1000 };

#define MAIL     "MAIL FROM:<a@b>\r\n"
#define RCPT     "RCPT TO:<c@d>\r\n"
#define LATE     "RCPT TO:<late@d>\r\n"
#define OK       "250 2.1.5 Everything is very well\r\n"
#define GREYLIST "450 4.2.0 Greylisted\r\n"

static const uint32_t greeting_len = sizeof "220 hi\r\n" - 1;

static struct policy policy;

/* LATE is deferred and that is said later; a 451 and a 354 leave later. */
static void fill_policy(void)
{
    policy_init_default(&policy);
    rules_add(&policy, "late", RULE_ON_RECIPIENT, "late@*", SMTP_ACTION_VOID, "450 4.2.0 Greylisted");
    policy.refusals.texts[policy.rules[0].action.refusal].delay_ms = DELAY_MS;
    policy.rules[0].action.ask = true;
    static const uint16_t codes[] = {451, 354};
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        struct rule rule = rule_of("slow", RULE_ON_REPLY);
        rule.codes.count = 1;
        rule.codes.ranges[0].first = rule.codes.ranges[0].last = codes[i];
        rule.action.delay_ms = codes[i] == 354 ? 200 * 1000 : DELAY_MS;
        assert_true(policy_add_rule(&policy, &rule));
    }
}

static enum answer answer(const struct question *question, int64_t *later_us)
{
    (void)question;
    *later_us = 0;
    return ANSWER_DEFER;
}

/* The client has said `command`, and the server may answer. */
static struct drive *begin(const char *name, const char *command)
{
    struct drive_plan plan = {.name = name,
                              .policy = &policy,
                              .seed = 7,
                              .no_acknowledgments = true,
                              .questions = (1u << QUESTION_KINDS) - 1,
                              .answer = answer};
    struct drive *drive = drive_new(&plan);
    drive_handshake(drive);
    drive_send_text(drive, SMTP_SERVER, 0, "220 hi\r\n");
    drive_acknowledge(drive, SMTP_CLIENT);
    drive_send_text(drive, SMTP_CLIENT, 0, command);
    drive_acknowledge(drive, SMTP_SERVER);
    return drive;
}

static void end(struct drive *drive)
{
    drive_finish(drive);
    drive_free(drive);
}

static uint32_t read_len(const struct drive *drive)
{
    return (uint32_t)drive_read(drive, SMTP_CLIENT).len - greeting_len;
}

static void assert_read(const struct drive *drive, const char *text)
{
    struct span read = span_tail(drive_read(drive, SMTP_CLIENT), greeting_len);
    assert_true(span_equal(read, span_of(text)));
}

/* The server sends what the client has not acknowledged, again and again. */
static uint64_t resend(struct drive *drive, const char *reply, int64_t after_us)
{
    drive_wait(drive, after_us);
    uint32_t done = drive_acknowledged(drive, SMTP_SERVER) - greeting_len;
    uint64_t number = drive_send_text(drive, SMTP_SERVER, greeting_len + done, reply + done);
    drive_acknowledge(drive, SMTP_CLIENT);
    return number;
}

static void test_a_reply_leaves_later(void **state)
{
    (void)state;
    static const char reply[] = "451 4.7.1 Try again later, please\r\n";
    struct drive *drive = begin("later", RCPT);
    uint64_t first = drive_send_text(drive, SMTP_SERVER, greeting_len, reply);
    assert_int_equal(drive_fate(drive, first), DRIVE_WAITS);
    /* Before the fourth resend nothing leaves, with it the code at least, and then what the time that has passed has
       earned: the newer copy waits, the older has left, cut. */
    uint64_t before = first;
    for (int i = 1; i < DELAY_MS * MS / RTO_US; i++) {
        uint64_t again = resend(drive, reply, RTO_US);
        assert_int_equal(drive_fate(drive, again), DRIVE_WAITS);
        assert_true(drive_fate(drive, before) == DRIVE_EDITED || drive_fate(drive, before) == DRIVE_DROPPED);
        uint32_t earned = (uint32_t)((sizeof reply - 3) * (size_t)i * RTO_US / (DELAY_MS * MS));
        assert_int_equal(read_len(drive), i < 4 ? 0 : earned < 4 ? 4 : earned);
        before = again;
    }
    drive_wait(drive, RTO_US - 2 * MS);
    assert_int_equal(drive_fate(drive, before), DRIVE_WAITS);
    drive_wait(drive, 3 * MS);
    assert_int_not_equal(drive_fate(drive, before), DRIVE_WAITS);
    assert_read(drive, reply);
    assert_int_equal(drive_counters(drive)->tarpits, 1);
    assert_in_range(drive_counters(drive)->tarpit_ms, DELAY_MS, DELAY_MS + 2);
    assert_int_equal(drive_counters(drive)->tarpits_shortened, 0);
    end(drive);
}

/*
 * A server that will send it again behind the deadline is shown nothing before: who takes the first segment for the
 * reply has all of it. A probe for a lost tail, which comes before the first timeout, is no sign of its patience.
 */
static void test_whole_while_the_server_is_patient(void **state)
{
    (void)state;
    static const char reply[] = "451 4.7.1 Try again later, please\r\n";
    static const struct {
        int64_t rto_us;
        bool probes;
        int lost;     /* the resend that is lost before the gateway; 0: none */
        int whole_to; /* resends to which nothing leaves */
    } rows[] = {{330 * MS, false, 0, 9}, {330 * MS, true, 0, 9}, {330 * MS, false, 2, 9},
                {310 * MS, false, 0, 3}, {310 * MS, true, 0, 3}, {310 * MS, false, 2, 3}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drive *drive = begin("patient", RCPT);
        drive_send_text(drive, SMTP_SERVER, greeting_len, reply);
        int64_t next_us = rows[i].rto_us, came_us = 0, at_us = 0;
        bool probes = rows[i].probes;
        for (int resends = 1; at_us + next_us < DELAY_MS * MS - MS; resends++) {
            at_us += next_us;
            next_us = probes ? next_us : 2 * next_us;
            probes = false;
            if (resends == rows[i].lost)
                continue;
            resend(drive, reply, at_us - came_us);
            came_us = at_us;
            assert_int_equal(read_len(drive) > 0, resends > rows[i].whole_to);
            assert_true(read_len(drive) == 0 || read_len(drive) >= 4);
            if (read_len(drive) > 0)
                break;
        }
        assert_int_equal(read_len(drive) > 0, rows[i].whole_to < 9);
        drive_wait(drive, DELAY_MS * MS - came_us + MS);
        assert_read(drive, reply);
        assert_int_equal(drive_counters(drive)->tarpits_shortened, 0);
        end(drive);
    }
}

/* The other replies of a group: what stands before does not wait, what follows does. */
static void test_the_group_around_it(void **state)
{
    (void)state;
    static const char replies[] = "250 ok\r\n451 4.7.1 Later\r\n250 ok\r\n";
    struct drive *drive = begin("group", MAIL RCPT RCPT);
    drive_send_text(drive, SMTP_SERVER, greeting_len, replies);
    drive_acknowledge(drive, SMTP_CLIENT);
    assert_read(drive, "250 ok\r\n");
    for (int i = 1; i < DELAY_MS * MS / RTO_US; i++)
        resend(drive, replies, RTO_US);
    assert_in_range(read_len(drive), 8 + 1, 8 + 16);
    resend(drive, replies, RTO_US);
    resend(drive, replies, RTO_US);
    assert_read(drive, replies);
    end(drive);
}

/* RFC 5321 4.5.3.2.4 leaves a client two minutes for the reply to DATA, and KB 912341 wants it whole. */
static void test_354_stays_whole(void **state)
{
    (void)state;
    static const char reply[] = "354 Start mail input; end with <CRLF>.<CRLF>\r\n";
    struct drive *drive = begin("354", "DATA\r\n");
    uint64_t number = drive_send_text(drive, SMTP_SERVER, greeting_len, reply);
    drive_wait(drive, 100 * 1000 * MS - MS);
    assert_int_equal(drive_fate(drive, number), DRIVE_WAITS);
    drive_wait(drive, 2 * MS);
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    end(drive);

    /* A server that would give up is not let wait so long. */
    drive = begin("354, resent", "DATA\r\n");
    drive_send_text(drive, SMTP_SERVER, greeting_len, reply);
    for (int i = 0; i < 3; i++) {
        resend(drive, reply, RTO_US << i);
        assert_int_equal(read_len(drive), 0);
    }
    resend(drive, reply, RTO_US << 3);
    assert_read(drive, reply);
    assert_int_equal(drive_counters(drive)->tarpits_shortened, 1);
    end(drive);
}

/* A reply in several lines is not cut in the code of a line that follows. */
static void test_lines_are_cut_behind_their_codes(void **state)
{
    (void)state;
    static const char reply[] = "451-a\r\n451-b\r\n451-c\r\n451-d\r\n451 e\r\n";
    struct drive *drive = begin("lines", RCPT);
    drive_send_text(drive, SMTP_SERVER, greeting_len, "451-a\r\n");
    drive_send_text(drive, SMTP_SERVER, greeting_len + 7, reply + 7);
    uint32_t pieces = 0, before = 0;
    for (int i = 1; i < DELAY_MS * MS / RTO_US; i++) {
        resend(drive, reply, RTO_US);
        uint32_t at = read_len(drive);
        assert_true(at % 7 == 0 || at % 7 >= 4);
        pieces += at != before;
        before = at;
    }
    assert_true(pieces > 10);
    resend(drive, reply, RTO_US);
    assert_read(drive, reply);
    end(drive);
}

static const struct question *last_lesson(const struct drive *drive, enum question_kind kind)
{
    for (size_t i = drive_question_count(drive); i > 0; i--)
        if (drive_question(drive, i - 1)->kind == kind)
            return drive_question(drive, i - 1);
    return NULL;
}

/* Who waits for a refusal to its end shows patience, and who hangs up does not. */
static void test_patience_is_told(void **state)
{
    (void)state;
    for (int hangs_up = 0; hangs_up < 2; hangs_up++) {
        struct drive *drive = begin(hangs_up ? "hangs up" : "waits", MAIL LATE);
        const struct question *asked = last_lesson(drive, QUESTION_RECIPIENT);
        drive_send_text(drive, SMTP_SERVER, greeting_len, "250 ok\r\n");
        drive_acknowledge(drive, SMTP_CLIENT);
        uint64_t number = drive_send_text(drive, SMTP_SERVER, greeting_len + 8, OK);
        assert_int_equal(drive_fate(drive, number), DRIVE_WAITS);
        drive_wait(drive, 4000 * MS);
        assert_null(last_lesson(drive, LESSON_WAITED));
        if (hangs_up) {
            struct segment fin = drive_segment(drive, SMTP_CLIENT, sizeof MAIL LATE - 1, (struct span){0});
            fin.flags |= PACKET_FIN;
            drive_send(drive, SMTP_CLIENT, &fin);
            assert_int_equal(drive_counters(drive)->tarpit_hangups, 1);
        }
        drive_wait(drive, 6001 * MS);
        assert_int_equal(drive_fate(drive, number), DRIVE_EDITED);
        assert_read(drive, "250 ok\r\n" GREYLIST);
        drive_acknowledge(drive, SMTP_CLIENT);
        const struct question *lesson = last_lesson(drive, LESSON_WAITED);
        assert_non_null(lesson);
        assert_true(lesson->about == asked->id);
        assert_int_equal(lesson->hung_up, hangs_up);
        assert_in_range(lesson->waited_ms, hangs_up ? 4000 : DELAY_MS, (hangs_up ? 4000 : DELAY_MS) + 2);
        end(drive);
    }
}

/* Ends of the connection while a reply waits. */
static void test_what_ends_it(void **state)
{
    (void)state;
    static const char reply[] = "451 4.7.1 Later\r\n";
    struct drive *drive = begin("RST", RCPT);
    uint64_t number = drive_send_text(drive, SMTP_SERVER, greeting_len, reply);
    struct segment reset = drive_segment(drive, SMTP_CLIENT, sizeof RCPT - 1, (struct span){0});
    reset.flags = PACKET_RST;
    drive_send(drive, SMTP_CLIENT, &reset);
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    assert_int_equal(drive_counters(drive)->tarpit_hangups, 1);
    end(drive);

    /* The server's FIN waits behind its reply. */
    drive = begin("FIN", RCPT);
    struct segment last = drive_segment(drive, SMTP_SERVER, greeting_len, span_of(reply));
    last.flags |= PACKET_FIN;
    drive_send(drive, SMTP_SERVER, &last);
    for (int i = 0; i < 4; i++) {
        drive_wait(drive, 1250 * MS);
        drive_send(drive, SMTP_SERVER, &last);
    }
    drive_acknowledge(drive, SMTP_CLIENT);
    assert_in_range(read_len(drive), 5, 12);
    assert_false(drive_read_fin(drive, SMTP_CLIENT));
    drive_wait(drive, DELAY_MS * MS);
    assert_read(drive, reply);
    assert_true(drive_read_fin(drive, SMTP_CLIENT));
    end(drive);

    drive = begin("stop", RCPT);
    number = drive_send_text(drive, SMTP_SERVER, greeting_len, reply);
    drive_finish(drive);
    assert_int_equal(drive_fate(drive, number), DRIVE_PASSED);
    drive_free(drive);
}

/* A lost piece comes again with the server's next resend. */
static void test_a_lost_piece(void **state)
{
    (void)state;
    static const char reply[] = "451 4.7.1 Try again later, please\r\n";
    struct drive *drive = begin("a lost piece", RCPT);
    uint64_t numbers[7];
    for (int i = 0; i < 7; i++) {
        numbers[i] = drive_send_text(drive, SMTP_SERVER, greeting_len, reply); /* as if no acknowledgment came */
        drive_wait(drive, 1000 * MS);
    }
    for (int i = 0; i < 6; i++) {
        assert_int_equal(drive_fate(drive, numbers[i]), i < 3 ? DRIVE_DROPPED : DRIVE_EDITED);
        if (i < 3)
            continue;
        const struct packet *left = drive_left(drive, numbers[i]);
        assert_int_equal(left->seq, drive_isn(drive, SMTP_SERVER) + 1 + greeting_len);
        assert_in_range(left->payload_len, 3 * (i + 1), 4 * (i + 1));
    }
    assert_int_equal(drive_fate(drive, numbers[6]), DRIVE_WAITS);
    end(drive);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reply_leaves_later), cmocka_unit_test(test_the_group_around_it),
        cmocka_unit_test(test_354_stays_whole),      cmocka_unit_test(test_lines_are_cut_behind_their_codes),
        cmocka_unit_test(test_patience_is_told),     cmocka_unit_test(test_what_ends_it),
        cmocka_unit_test(test_a_lost_piece),         cmocka_unit_test(test_whole_while_the_server_is_patient),
    };
    fill_policy();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("tarpit", tests, NULL, NULL);
}
