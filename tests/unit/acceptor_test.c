/* sys/acceptor and sys/control where file descriptors are out: who knocks is let in while any can be had, and nobody
 * spins. */
#include "sys/acceptor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/control.h"
#include "sys/descriptors.h"

enum { VISITORS = 4 };

static char folder[64];
static struct rlimit usual;

static struct sockaddr_un address_of(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", folder, name);
    return address;
}

static int knock(const char *name)
{
    struct sockaddr_un address = address_of(name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* From here on nothing can be opened but what was closed before. */
static void let_none_be_left(void)
{
    int lowest = dup(STDIN_FILENO);
    struct rlimit limit = {.rlim_cur = (rlim_t)lowest, .rlim_max = usual.rlim_max};
    close(lowest);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_false(descriptors_left());
}

static void let_some_be_left(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

static bool readable(int poll)
{
    struct epoll_event event;
    return epoll_wait(poll, &event, 1, 0) == 1;
}

static void test_a_listener(void **state)
{
    (void)state;
    struct sockaddr_un address = address_of("listener");
    struct acceptor acceptor;
    int visitors[VISITORS], poll = epoll_create1(0), listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, VISITORS), 0);
    assert_true(acceptor_open(&acceptor, poll, listener));
    assert_int_equal(acceptor_take(&acceptor), -1);
    assert_int_equal(acceptor_timeout_ms(&acceptor), -1);
    for (int i = 0; i < VISITORS; i++)
        visitors[i] = knock("listener");
    let_none_be_left();
    uint64_t before = descriptors_out_count();

    int first = acceptor_take(&acceptor);
    assert_true(first >= 0);
    assert_int_equal(descriptors_out_count(), before + 1);
    assert_int_equal(acceptor_timeout_ms(&acceptor), -1);
    for (int turn = 0; turn < 3; turn++) {
        acceptor_refresh(&acceptor);
        assert_true(readable(poll));
        assert_int_equal(acceptor_take(&acceptor), -1);
        assert_int_equal(acceptor_timeout_ms(&acceptor), ACCEPTOR_PAUSE_MS);
        assert_false(readable(poll));
    }
    assert_int_equal(descriptors_out_count(), before + 4);

    /* One is free again: it becomes the reserve, and the reserve the next visitor's. */
    close(first);
    acceptor_refresh(&acceptor);
    assert_false(descriptors_left());
    int second = acceptor_take(&acceptor);
    assert_true(second >= 0);
    let_some_be_left();
    acceptor_refresh(&acceptor);
    int third = acceptor_take(&acceptor);
    assert_true(third >= 0);
    assert_int_equal(acceptor_timeout_ms(&acceptor), -1);
    close(second);
    close(third);
    for (int i = 0; i < VISITORS; i++)
        close(visitors[i]);
    acceptor_close(&acceptor);
    close(poll);
}

static char *answer(void *context, const char *request)
{
    (void)context;
    return strdup(request);
}

/* Whether the service says something to it within a few turns. */
static bool is_answered(struct control *control, int visitor)
{
    char text[16];
    for (int turn = 0; turn < 4; turn++)
        control_serve(control, answer, NULL);
    return recv(visitor, text, sizeof text, MSG_DONTWAIT) == 5 && memcmp(text, "what\n", 5) == 0;
}

static void test_a_service(void **state)
{
    (void)state;
    char message[256];
    struct sockaddr_un address = address_of("service");
    struct control *control = control_open(address.sun_path, NULL, message, sizeof message);
    assert_non_null(control);
    int idle = knock("service"), asks = knock("service");
    assert_int_equal(send(asks, "what\n", 5, 0), 5);
    let_none_be_left();
    assert_true(is_answered(control, asks));
    assert_int_equal(recv(idle, message, 1, MSG_DONTWAIT), 0); /* it had the last descriptor, and asked nothing */
    let_some_be_left();
    close(idle);
    close(asks);
    control_close(control);
}

static void test_which_errors_count(void **state)
{
    (void)state;
    uint64_t before = descriptors_out_count();
    assert_true(descriptors_out(EMFILE));
    assert_true(descriptors_out(ENFILE));
    assert_false(descriptors_out(ENOMEM));
    assert_true(descriptors_left());
    assert_int_equal(descriptors_out_count(), before + 2);
}

static int set_up(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/postern-acceptor-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder) && getrlimit(RLIMIT_NOFILE, &usual) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(address_of("listener").sun_path);
    return rmdir(folder);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_listener),
        cmocka_unit_test(test_a_service),
        cmocka_unit_test(test_which_errors_count),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("acceptor", tests, set_up, tear_down);
}
