/* Memory made ready ahead of its use: what comes next is there in time, what comes later is not there yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/ahead.h"

enum { CHUNKS = 6, WAIT_MS = 5000 };

static uint8_t *mapped, *memory;
static struct ahead ahead;

static int map(void **state)
{
    (void)state;
    size_t bytes = (CHUNKS + 1) * (size_t)AHEAD_CHUNK_BYTES;
    mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory = mapped + -(uintptr_t)mapped % AHEAD_CHUNK_BYTES;
    return mapped == MAP_FAILED ? -1 : 0;
}

static int unmap(void **state)
{
    (void)state;
    return munmap(mapped, (CHUNKS + 1) * (size_t)AHEAD_CHUNK_BYTES);
}

static void skip_on_old_kernels(void)
{
    if (madvise(mapped, 0, MADV_POPULATE_WRITE)) {
        print_message("# the kernel is older than 5.14\n");
        skip();
    }
}

static uint8_t *chunk(size_t number)
{
    return memory + number * AHEAD_CHUNK_BYTES;
}

/* Pages of a chunk that are there. */
static size_t pages_of(size_t number)
{
    static unsigned char there[AHEAD_CHUNK_BYTES / 1024];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
    assert_int_equal(mincore(chunk(number), AHEAD_CHUNK_BYTES, there), 0);
    for (size_t i = 0; i < AHEAD_CHUNK_BYTES / page; i++)
        count += there[i] & 1;
    return count;
}

static bool is_ready(size_t number)
{
    return pages_of(number) == AHEAD_CHUNK_BYTES / (size_t)sysconf(_SC_PAGESIZE);
}

static void wait_ready(size_t number)
{
    for (int ms = 0; ms < WAIT_MS && !is_ready(number); ms++)
        poll(NULL, 0, 1);
    assert_true(is_ready(number));
}

static void test_in_time(void **state)
{
    (void)state;
    skip_on_old_kernels();
    ahead_start(&ahead, memory, CHUNKS * (size_t)AHEAD_CHUNK_BYTES);
    poll(NULL, 0, 20);
    for (size_t i = 0; i < CHUNKS; i++)
        assert_int_equal(pages_of(i), 0);
    ahead_used(&ahead, memory - 1);
    wait_ready(0);
    for (size_t i = 0; i < CHUNKS; i++) {
        ahead_used(&ahead, chunk(i));
        ahead_used(&ahead, chunk(i) + AHEAD_CHUNK_BYTES - 1);
        if (i + 1 < CHUNKS)
            wait_ready(i + 1);
        for (size_t later = i + 3; later < CHUNKS; later++)
            assert_int_equal(pages_of(later), 0);
    }
    ahead_used(&ahead, chunk(CHUNKS) - 1);
    ahead_stop(&ahead);
}

static void test_contents(void **state)
{
    (void)state;
    skip_on_old_kernels();
    for (size_t at = 0; at < CHUNKS * (size_t)AHEAD_CHUNK_BYTES; at += 10007)
        memory[at] = (uint8_t)(at % 251 + 1);
    ahead_start(&ahead, memory, CHUNKS * (size_t)AHEAD_CHUNK_BYTES);
    for (size_t i = 0; i < CHUNKS; i++) {
        ahead_used(&ahead, i ? chunk(i - 1) : memory);
        wait_ready(i);
    }
    for (size_t at = 0; at < CHUNKS * (size_t)AHEAD_CHUNK_BYTES; at++)
        assert_int_equal(memory[at], at % 10007 ? 0 : at % 251 + 1);
    ahead_stop(&ahead);
}

static void test_stop(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        size_t bytes = (size_t)(i % 5) * (AHEAD_CHUNK_BYTES / 2);
        ahead_start(&ahead, memory, bytes);
        for (int used = 0; used < i % 4; used++)
            ahead_used(&ahead, memory + (size_t)used * AHEAD_CHUNK_BYTES);
        ahead_stop(&ahead);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"what comes next is ready before its turn, what comes later is not", test_in_time, map, unmap, NULL},
        {"what was written before its turn is kept", test_contents, map, unmap, NULL},
        {"it stops at any time, and where there is no whole chunk", test_stop, map, unmap, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("ahead", tests, NULL, NULL);
}
