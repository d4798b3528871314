/* The index of a table against a list of what is in it: full lines, entries that come and go, hashes that are alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "store/index.h"

enum { ENTRIES = 200 };

struct fixture {
    struct index index;
    struct random_source source;
    uint64_t hashes[ENTRIES + 1]; /* of entries that are there; 0: it is not */
    uint64_t bits;                /* of a hash that differ */
};

static void set_up(struct fixture *fixture, uint64_t bits)
{
    uint32_t lines = index_lines(ENTRIES);
    *fixture = (struct fixture){
        .index = {aligned_alloc(64, lines * sizeof(struct index_line)), lines}, .source = {bits}, .bits = bits};
    assert_non_null(fixture->index.lines);
    memset(fixture->index.lines, 0, lines * sizeof(struct index_line));
}

static uint64_t any_hash(struct fixture *fixture)
{
    return (random_next(&fixture->source) & fixture->bits) | 1;
}

/* How often an entry is found under a hash. */
static int found(const struct fixture *fixture, uint64_t hash, uint32_t entry)
{
    struct index_search search = index_search(&fixture->index, hash);
    int times = 0;
    for (uint32_t next; (next = index_next(&fixture->index, &search)) != 0;) {
        assert_in_range(next, 1, ENTRIES);
        assert_true(fixture->hashes[next] != 0);
        times += next == entry;
    }
    return times;
}

static void come_or_go(struct fixture *fixture, uint32_t entry)
{
    uint64_t *hash = &fixture->hashes[entry];
    if (*hash) {
        index_remove(&fixture->index, *hash, entry);
        assert_int_equal(found(fixture, *hash, entry), 0);
        *hash = 0;
    } else {
        *hash = any_hash(fixture);
        index_add(&fixture->index, *hash, entry);
        assert_int_equal(found(fixture, *hash, entry), 1);
    }
}

static void check_all(const struct fixture *fixture)
{
    for (uint32_t entry = 1; entry <= ENTRIES; entry++)
        if (fixture->hashes[entry])
            assert_int_equal(found(fixture, fixture->hashes[entry], entry), 1);
}

static void run(uint64_t bits)
{
    struct fixture fixture;
    set_up(&fixture, bits);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < ENTRIES; i++)
            come_or_go(&fixture, 1 + random_below(&fixture.source, ENTRIES));
        check_all(&fixture);
        for (uint32_t entry = 1; round % 10 == 9 && entry <= ENTRIES; entry++)
            if (fixture.hashes[entry] == 0)
                come_or_go(&fixture, entry); /* as full as it may be */
        check_all(&fixture);
    }
    for (uint32_t entry = 1; entry <= ENTRIES; entry++)
        if (fixture.hashes[entry])
            come_or_go(&fixture, entry);
    static const struct index_line empty;
    for (uint32_t line = 0; line < fixture.index.count; line++)
        assert_memory_equal(&fixture.index.lines[line], &empty, sizeof empty);
    free(fixture.index.lines);
}

static void test_any_hashes(void **state)
{
    (void)state;
    run(UINT64_MAX);
}

static void test_one_line(void **state)
{
    (void)state;
    run(0xff000000); /* every hash belongs to the first line */
}

static void test_one_hash(void **state)
{
    (void)state;
    run(0);
}

/* As full as it may be, each entry replaced some times: how many lines are read for what is not there. */
static void test_full(void **state)
{
    (void)state;
    enum { MANY = 20000, TURNS = 20 };
    static uint64_t hashes[MANY + 1];
    uint64_t read = 0;
    struct random_source source = {5};
    struct index index = {.count = index_lines(MANY)};
    index.lines = aligned_alloc(64, index.count * sizeof(struct index_line));
    assert_non_null(index.lines);
    memset(index.lines, 0, index.count * sizeof(struct index_line));
    for (uint32_t turn = 0; turn < TURNS; turn++)
        for (uint32_t entry = 1; entry <= MANY; entry++) {
            if (turn)
                index_remove(&index, hashes[entry], entry);
            hashes[entry] = random_next(&source);
            index_add(&index, hashes[entry], entry);
        }
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t line = index_line_of(&index, random_next(&source)), lines = 1;
        for (; index.lines[line].passed && lines < index.count; line = index_behind(&index, line))
            lines++;
        read += lines;
    }
    print_message("# %.2f lines are read for what is not there\n", (double)read / MANY);
    assert_true(read < 2 * MANY);
    free(index.lines);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        {"entries that come and go are found, and leave nothing behind", test_any_hashes, NULL, NULL, NULL},
        {"the same where all belong to one line", test_one_line, NULL, NULL, NULL},
        {"and where all hashes are alike", test_one_hash, NULL, NULL, NULL},
        {"a full one is searched fast", test_full, NULL, NULL, NULL},
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
