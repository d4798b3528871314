/* What is written is what is read again; a disk that is full, a place that is none, and standard input and output. */
#include "io/capture.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <unistd.h>

#include "../lib/captures.h"

static struct captures_octets file;
static struct captures_octets frame;

/* ---- writing ----------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
    static const int64_t times[] = {0, 999999, 1700000000123456, INT64_C(4294967295) * 1000000 + 999999, -1, INT64_MAX};

    (void)state;
    for (size_t r = 0; r < CAPTURES_LINKS; r++) {
        const size_t header_len = captures_build_frame(&frame, &captures_links[r]);
        const struct span header = {frame.at, header_len};
        const struct span ip = {frame.at + header_len, frame.len - header_len};

        struct capture_writer *writer;
        assert_int_equal(capture_create(captures.path, captures_links[r].link_type, &writer, captures.message,
                                        sizeof captures.message),
                         CAPTURE_OK);
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
            capture_write(writer, times[i], header, span_head(ip, ip.len - i));
        assert_int_equal(capture_finish(writer, captures.message, sizeof captures.message), CAPTURE_OK);

        struct capture_reader *reader = captures_open_good();
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
            const struct capture_packet packet = captures_next_good(reader);
            assert_int_equal(packet.time_us, times[i] < 0 ? 0 : times[i] == INT64_MAX ? times[3] : times[i]);
            assert_int_equal(packet.frame_len, frame.len - i);
            assert_memory_equal(packet.frame, frame.at, frame.len - i);
            assert_false(packet.cut_short);
        }
        captures_assert_over(reader, CAPTURE_END);
        capture_close(reader);
    }
}

/* The reader's own frame, edited in place, straight into the writer. */
static void test_edit_in_place(void **state)
{
    (void)state;
    char copy[sizeof captures.path + 8];
    (void)snprintf(copy, sizeof copy, "%s.copy", captures.path);
    const size_t header_len = captures_build_frame(&frame, &captures_links[0]);
    captures_start_pcap(&file, false, CAPTURES_MAGIC_US, 65535, 1);
    captures_put_record(&file, 1, 2, 0, frame.at, frame.len);
    captures_save(file.at, file.len);

    struct capture_reader *reader = captures_open_good();
    struct capture_writer *writer;
    assert_int_equal(
        capture_create(copy, capture_link_type(reader), &writer, captures.message, sizeof captures.message),
        CAPTURE_OK);
    struct capture_packet packet = captures_next_good(reader);
    packet.frame[packet.ip_at + packet.ip_len] = 0xab; /* one octet longer than it came */
    packet.ip_len++;
    capture_write(writer, packet.time_us, (struct span){packet.frame, packet.ip_at},
                  (struct span){packet.frame + packet.ip_at, packet.ip_len});
    assert_int_equal(capture_finish(writer, captures.message, sizeof captures.message), CAPTURE_OK);
    capture_close(reader);

    assert_int_equal(rename(copy, captures.path), 0);
    reader = captures_open_good();
    packet = captures_next_good(reader);
    assert_int_equal(packet.ip_at, header_len);
    assert_int_equal(packet.ip_len, CAPTURES_IP_BYTES + 1);
    assert_int_equal(packet.frame[packet.frame_len - 1], 0xab);
    capture_close(reader);
}

static void test_write_too_long(void **state)
{
    (void)state;
    frame.len = 0;
    captures_put_fill(&frame, 0x45, CAPTURE_FRAME_BYTES_MAX);
    struct capture_writer *writer;
    assert_int_equal(capture_create(captures.path, DLT_RAW, &writer, captures.message, sizeof captures.message),
                     CAPTURE_OK);
    const struct span longest = {frame.at, frame.len};
    capture_write(writer, 1, span_head(longest, 14), longest);
    capture_write(writer, 2, longest, span_head(longest, 14));
    capture_write(writer, 3, longest, (struct span){0});
    assert_int_equal(capture_finish(writer, captures.message, sizeof captures.message), CAPTURE_OK);

    struct capture_reader *reader = captures_open_good();
    for (int i = 1; i <= 3; i++) {
        const struct capture_packet packet = captures_next_good(reader);
        assert_int_equal(packet.time_us, i);
        assert_int_equal(packet.frame_len, CAPTURE_FRAME_BYTES_MAX);
        assert_int_equal(packet.cut_short, i < 3);
    }
    captures_assert_over(reader, CAPTURE_END);
    capture_close(reader);
}

static void assert_create_fails(int link_type, enum capture_status expected, const char *word)
{
    struct capture_writer *writer = (struct capture_writer *)captures.path;
    assert_int_equal(capture_create(captures.path, link_type, &writer, captures.message, sizeof captures.message),
                     expected);
    assert_null(writer);
    captures_assert_message(captures.path, word);
}

static void test_cannot_create(void **state)
{
    (void)state;
    assert_create_fails(DLT_IEEE802_11, CAPTURE_LINK_TYPE, "IEEE802_11");
    assert_int_equal(access(captures.path, F_OK), -1);
    (void)snprintf(captures.path, sizeof captures.path, "%s/none/x.pcap", captures.folder);
    assert_create_fails(DLT_EN10MB, CAPTURE_CANNOT, strerror(ENOENT));
    (void)snprintf(captures.path, sizeof captures.path, "%s", captures.folder);
    assert_create_fails(DLT_EN10MB, CAPTURE_CANNOT, strerror(EISDIR));
}

/* A full disk is found at once or only by the flush, and both end in capture_finish. */
static void test_disk_full(void **state)
{
    (void)state;
    (void)snprintf(captures.path, sizeof captures.path, "/dev/full");
    if (access(captures.path, W_OK) != 0)
        skip();
    frame.len = 0;
    captures_put_ip(&frame);
    for (int count = 0; count <= 1000; count = count * 10 + 1) {
        struct capture_writer *writer;
        assert_int_equal(capture_create(captures.path, DLT_RAW, &writer, captures.message, sizeof captures.message),
                         CAPTURE_OK);
        for (int i = 0; i < count; i++)
            capture_write(writer, i, (struct span){0}, (struct span){frame.at, frame.len});
        assert_int_equal(capture_finish(writer, captures.message, sizeof captures.message), CAPTURE_CANNOT);
        captures_assert_message(captures.path, strerror(ENOSPC));
    }
}

/* ---- standard input and output ----------------------------------------------------------------- */

/* Let `fd` be another file for a while; the old one is returned. */
static int borrow_descriptor(int fd, int flags)
{
    const int old = dup(fd);
    const int new = open(captures.path, flags, 0600);
    assert_true(old >= 0 && new >= 0);
    assert_int_equal(dup2(new, fd), fd);
    close(new);
    return old;
}

static void return_descriptor(int fd, int old)
{
    assert_int_equal(dup2(old, fd), fd);
    close(old);
}

static void test_standard_streams(void **state)
{
    (void)state;
    frame.len = 0;
    captures_put_ip(&frame);

    /* Nothing is asserted while the test's own output goes into the file. */
    (void)fflush(stdout);
    int old = borrow_descriptor(STDOUT_FILENO, O_WRONLY | O_CREAT | O_TRUNC);
    struct capture_writer *writer;
    const enum capture_status created =
        capture_create("-", DLT_RAW, &writer, captures.message, sizeof captures.message);
    if (created == CAPTURE_OK)
        capture_write(writer, 42, (struct span){0}, (struct span){frame.at, frame.len});
    const enum capture_status finished =
        created == CAPTURE_OK ? capture_finish(writer, captures.message, sizeof captures.message) : created;
    return_descriptor(STDOUT_FILENO, old);
    assert_int_equal(finished, CAPTURE_OK);

    for (int round = 0; round < 2; round++) {
        old = borrow_descriptor(STDIN_FILENO, O_RDONLY);
        struct capture_reader *reader;
        const enum capture_status opened = capture_open("-", &reader, captures.message, sizeof captures.message);
        if (round == 0) {
            assert_int_equal(opened, CAPTURE_OK);
            assert_int_equal(captures_next_good(reader).time_us, 42);
            captures_assert_over(reader, CAPTURE_END);
            capture_close(reader);
            captures_save(frame.at, 0);
        } else {
            assert_int_equal(opened, CAPTURE_NOT_ONE);
            captures_assert_message("standard input", "is empty");
        }
        clearerr(stdin);
        return_descriptor(STDIN_FILENO, old);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAPTURES_TEST(test_round_trip),    CAPTURES_TEST(test_edit_in_place), CAPTURES_TEST(test_write_too_long),
        CAPTURES_TEST(test_cannot_create), CAPTURES_TEST(test_disk_full),     CAPTURES_TEST(test_standard_streams),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, captures_make_folder, captures_remove_folder);
}
