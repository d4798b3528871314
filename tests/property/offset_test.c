/*
 * An offset has a bound: beside a strict conntrack no connection stands still, whatever is taken out of the server's
 * replies, and however small the client's windows are.
 */
#include <stdio.h>

#include "../lib/by_hand.h"

enum { REPLY_ROOM = 64 * 1024, PART = 4 };

/* A server that keeps to the window that it is shown, and a client that shows what `window` says. */
struct world {
    struct drive *drive;
    uint16_t window, least;
    uint32_t said;         /* by the server */
    uint32_t acknowledged; /* of it, and what may be sent, as the server was told */
    uint32_t allowed;
    uint32_t asked; /* by the client */
};

static void client_acknowledges(struct world *world)
{
    struct segment ack = drive_segment(world->drive, SMTP_CLIENT, world->asked, (struct span){0});
    ack.window = world->window;
    world->least = world->window < world->least ? world->window : world->least;
    const struct packet *left = drive_left(world->drive, drive_send(world->drive, SMTP_CLIENT, &ack));
    assert_non_null(left);
    uint32_t first = drive_isn(world->drive, SMTP_SERVER) + 1;
    world->acknowledged = left->ack - first;
    world->allowed = left->ack + left->window - first;
}

static struct world begin_world(const char *name, uint16_t window, uint64_t seed)
{
    struct drive_plan plan = {.name = name, .seed = seed, .no_acknowledgments = true, .window = window, .strict = true};
    struct world world = {.drive = drive_new(&plan), .window = window, .least = window};
    drive_handshake(world.drive);
    client_acknowledges(&world);
    return world;
}

static void client_says(struct world *world, const char *text)
{
    world->asked += (uint32_t)strlen(text);
    drive_send_text(world->drive, SMTP_CLIENT, world->asked - (uint32_t)strlen(text), text);
    drive_acknowledge(world->drive, SMTP_SERVER);
}

static void server_says(struct world *world, struct span text)
{
    enum { MSS = 1460, PATIENCE = 6 };
    uint32_t end = world->said + (uint32_t)text.len;
    for (int stalled = 0; world->acknowledged < end;) {
        uint32_t last = world->allowed < end ? world->allowed : end;
        uint32_t len = world->said < last ? last - world->said : 0;
        len = len < MSS ? len : MSS;
        stalled = len ? 0 : stalled + 1;
        if (stalled > PATIENCE)
            fail_msg("stands still at %u of %u, the window ends at %u", world->acknowledged, end, world->allowed);
        if (len) {
            struct span part = span_head(span_tail(text, text.len - (end - world->said)), len);
            struct segment segment = drive_segment(world->drive, SMTP_SERVER, world->said, part);
            drive_send(world->drive, SMTP_SERVER, &segment);
            world->said += len;
        } else {
            drive_wait(world->drive, 40000); /* the beginning of a line goes on */
        }
        client_acknowledges(world);
    }
}

/* Octets taken out so far. */
static uint32_t taken_out(const struct world *world)
{
    return world->said - (uint32_t)drive_read(world->drive, SMTP_CLIENT).len;
}

static bool contains(struct span text, const char *word)
{
    struct span w = span_of(word);
    for (size_t at = 0; at + w.len <= text.len; at++)
        if (memcmp(text.ptr + at, w.ptr, w.len) == 0)
            return true;
    return false;
}

/* Replies in what was read: lines with a blank behind their code. */
static uint32_t replies_in(struct span text)
{
    uint32_t count = 0;
    while (text.len) {
        const uint8_t *end = memchr(text.ptr, '\n', text.len);
        assert_non_null(end);
        assert_true(text.len > 4 && (text.ptr[3] == ' ' || text.ptr[3] == '-'));
        count += text.ptr[3] == ' ';
        text = span_tail(text, (size_t)(end - text.ptr) + 1);
    }
    return count;
}

static void test_case_69_many_hellos(void **state)
{
    (void)state;
    enum { HELLOS = 300 };
    struct world world = begin_world("many EHLOs", 1024, 7);
    server_says(&world, span_of(GREETING));
    for (int i = 0; i < HELLOS; i++) {
        client_says(&world, "EHLO x\r\n");
        server_says(&world, span_of(OFFER));
        assert_in_range(taken_out(&world), 0, 1024 / PART);
    }
    assert_int_equal(replies_in(drive_read(world.drive, SMTP_CLIENT)), 1 + HELLOS);
    assert_false(contains(drive_read(world.drive, SMTP_CLIENT), "XEXCH50"));
    uint64_t bounded = drive_counters(world.drive)->offset_bounded;
    uint64_t stripped = drive_counters(world.drive)->keywords_stripped;
    assert_int_equal(stripped, HELLOS);
    assert_int_equal(bounded, HELLOS - 1024 / PART / KEYWORD_LEN);
    end(world.drive);
}

/* What is taken out of one reply counts before its end. */
static void test_case_69_one_large_reply(void **state)
{
    (void)state;
    enum { KEYWORDS = 3000 };
    static uint8_t reply[REPLY_ROOM];
    size_t len = 0;
    const char *lines[] = {"250-host\r\n", "250-XEXCH50\r\n", "250 OK\r\n"};
    for (int i = 0; i < KEYWORDS + 2; i++) {
        struct span line = span_of(lines[i == 0 ? 0 : i <= KEYWORDS ? 1 : 2]);
        memcpy(reply + len, line.ptr, line.len);
        len += line.len;
    }
    struct world world = begin_world("a reply of 39 kB", 29200, 7);
    server_says(&world, span_of(GREETING));
    client_says(&world, "EHLO x\r\n");
    server_says(&world, (struct span){reply, len});
    assert_in_range(taken_out(&world), 29200 / PART - KEYWORD_LEN, 29200 / PART);
    client_says(&world, "EHLO x\r\n");
    server_says(&world, span_of(OFFER));
    assert_int_equal(replies_in(drive_read(world.drive, SMTP_CLIENT)), 3);
    assert_false(contains(drive_read(world.drive, SMTP_CLIENT), "XEXCH50"));
    end(world.drive);
}

/* A reply in place of which the filter's own leaves: it goes on at the length of theirs where too much was taken out.
 */
static void test_case_69_replaced_reply(void **state)
{
    (void)state;
    struct world world = begin_world("a replaced reply", 400, 7);
    server_says(&world, span_of(GREETING));
    for (int i = 0; i < 20; i++) {
        client_says(&world, "XEXCH50 12 2\r\n"); /* refused: the server sees NOOP */
        server_says(&world, span_of("250-2.0.0 a first line of some length\r\n250-2.0.0 and a second one\r\n"
                                    "250 2.0.0 Ok, said at some length\r\n"));
        assert_in_range(taken_out(&world), 0, 400 / PART);
    }
    struct span read = drive_read(world.drive, SMTP_CLIENT);
    assert_int_equal(replies_in(read), 21);
    assert_false(contains(read, "250"));
    assert_true(contains(read, "504-"));
    assert_true(drive_counters(world.drive)->offset_bounded > 0);
    end(world.drive);
}

/* Offers and windows at random. */
static void play_at_random(uint64_t seed)
{
    static const char *const lines[] = {"PIPELINING", "SIZE 10240000", "XEXCH50", "X-LINK2STATE", "8BITMIME"};
    struct random_source random = {seed};
    uint32_t first = 300 + random_below(&random, 3000);
    struct world world = begin_world("at random", (uint16_t)first, seed);
    server_says(&world, span_of("220 mail.example.com Microsoft ESMTP MAIL Service, Version: 6.0.3790.4675 ready\r\n"));
    uint32_t hellos = 30 + random_below(&random, 100);
    for (uint32_t i = 0; i < hellos; i++) {
        char reply[1024] = "250-mail.example.com Hello\r\n";
        for (uint32_t left = 1 + random_below(&random, 12); left > 0; left--) {
            size_t len = strlen(reply);
            (void)snprintf(reply + len, sizeof reply - len, "250%c%s\r\n", left == 1 ? ' ' : '-',
                           lines[random_below(&random, 5)]);
        }
        client_says(&world, "EHLO x\r\n");
        client_acknowledges(&world);
        uint32_t before = taken_out(&world); /* perhaps more than may be taken out since the window is smaller */
        uint32_t most = world.least / PART;
        server_says(&world, span_of(reply));
        assert_in_range(taken_out(&world), 0, most > before ? most : before);
        if (random_below(&random, 10) == 0)
            world.window = (uint16_t)(first / 2 + random_below(&random, first));
    }
    assert_int_equal(replies_in(drive_read(world.drive, SMTP_CLIENT)), 1 + hellos);
    assert_false(contains(drive_read(world.drive, SMTP_CLIENT), "XEXCH50"));
    assert_false(contains(drive_read(world.drive, SMTP_CLIENT), "X-LINK2STATE"));
    end(world.drive);
}

static void test_case_69_at_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        play_at_random(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_69_many_hellos),
        cmocka_unit_test(test_case_69_one_large_reply),
        cmocka_unit_test(test_case_69_replaced_reply),
        cmocka_unit_test(test_case_69_at_random),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("offset", tests, NULL, NULL);
}
