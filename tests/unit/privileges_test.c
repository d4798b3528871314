/* sys/privileges: a confined thread carries packets, and anything else kills the process. */
#include "sys/privileges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];

/* ---- what a worker does ---- */

static void carry(void)
{
    struct pollfd waiting = {.fd = ends[0], .events = POLLIN};
    char octets[16];
    void *memory = malloc(1 << 20);
    if (!memory || send(ends[1], "x", 1, 0) != 1 || poll(&waiting, 1, 1000) != 1 ||
        recv(ends[0], octets, sizeof octets, MSG_DONTWAIT) != 1)
        exit(1);
    free(memory);
}

/* ---- what it does not ---- */

static void open_file(void)
{
    open("/etc/hostname", O_RDONLY);
}

static void run_program(void)
{
    execl("/bin/true", "true", NULL);
}

static void open_socket(void)
{
    socket(AF_INET, SOCK_STREAM, 0);
}

static void map_code(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_process(void)
{
    if (fork() == 0)
        _exit(0);
}

/* ---- */

static void *confined(void *argument)
{
    void (*act)(void);
    *(void **)&act = argument;
    if (!privileges_confine_worker())
        _exit(2);
    act();
    return NULL;
}

/* How a process ends one of whose threads is confined and then acts. */
static int status_after(void (*act)(void))
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        prctl(PR_SET_DUMPABLE, 0);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0 ||
            pthread_create(&thread, NULL, confined, *(void **)&act) != 0 || pthread_join(thread, NULL) != 0)
            _exit(3);
        /* Another thread is as free as before. */
        _exit(open("/dev/null", O_RDONLY) >= 0 ? 0 : 4);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

static void test_a_worker_may_carry_packets(void **state)
{
    (void)state;
    assert_int_equal(status_after(carry), 0);
}

static void test_nothing_else(void **state)
{
    (void)state;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    void (*const acts[])(void) = {open_file, run_program, open_socket, map_code, make_process};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        int status = status_after(acts[i]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("act %zu: status %d", i, status);
    }
#else
    (void)open_file, (void)run_program, (void)open_socket, (void)map_code, (void)make_process;
    skip(); /* not confined under sanitizers */
#endif
}

static void test_a_user_that_is_not_there(void **state)
{
    (void)state;
    char message[512] = "";
    if (geteuid() != 0)
        skip();
    assert_false(privileges_drop("no-such-user", message, sizeof message));
    assert_non_null(strstr(message, "there is no user 'no-such-user'"));
    assert_non_null(strstr(message, "--stay-root"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_may_carry_packets),
        cmocka_unit_test(test_nothing_else),
        cmocka_unit_test(test_a_user_that_is_not_there),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("privileges", tests, NULL, NULL);
}
