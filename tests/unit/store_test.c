/* One suite for every kind of store: what store.h promises of all of them. */
#include "store/store.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "../lib/stores.h"

struct kind {
    const char *name;
    bool lasts;     /* beyond the process */
    bool is_shared; /* with other gateways */
    char uri[128];
};

static struct kind kinds[] = {
    {.name = "memory", .uri = "memory:"},
    {.name = "sqlite", .lasts = true},
    {.name = "redis", .lasts = true, .is_shared = true},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static struct store_settings small_settings(void)
{
    struct store_settings settings = store_settings_default();
    settings.clients_max = 8;
    settings.sync_ms = 100;
    settings.file_bytes_max = 64 << 20;
    return settings;
}

/* The same place for all tests of a kind: each uses keys of its own. */
static struct store_key fresh_key(void)
{
    static uint64_t made = UINT64_C(1) << 32;
    return key_of(++made);
}

static void test_a_put_is_seen_by_all_clients_at_once(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *one = store_client_new(store), *other = store_client_new(store);
    for (uint64_t i = 0; i < 100; i++) {
        struct store_key key = fresh_key();
        struct store_record put = record_of(i, 1, STORE_VALUE_BYTES), got;
        assert_int_equal(look_up(one, &key, &got), STORE_ABSENT);
        put_now(one, &key, &put);
        assert_int_equal(look_up(other, &key, &got), STORE_GOOD);
        assert_true(records_equal(&put, &got));
        put = record_of(i, 2, 7);
        put_now(other, &key, &put);
        assert_int_equal(look_up(one, &key, &got), STORE_GOOD);
        assert_true(records_equal(&put, &got));
        put_now(one, &key, NULL);
        assert_int_equal(look_up(other, &key, &got), STORE_ABSENT);
    }
    store_client_free(one);
    store_client_free(other);
    store_close(store, 1000);
}

static void test_expired_records_count_as_absent(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_key key = fresh_key();
    struct store_record put = record_of(1, 1, 20), got;
    put_now(client, &key, &put);
    assert_int_equal(store_get(client, &key, 0, put.expires_s * 1000000 - 1, 0, &got), STORE_GOOD);
    assert_int_equal(store_get(client, &key, 0, put.expires_s * 1000000, 0, &got), STORE_ABSENT);
    /* Put again, it is there again. */
    put.expires_s += 10;
    put_now(client, &key, &put);
    assert_int_equal(store_get(client, &key, 0, put.expires_s * 1000000 - 1, 0, &got), STORE_GOOD);
    store_client_free(client);
    store_close(store, 1000);
}

struct walked {
    uint64_t from, count; /* keys that belong to the test */
    unsigned seen[300], texts, others;
    unsigned most;
};

static bool visit(void *context, const struct store_key *key, const struct store_record *record, struct span text)
{
    struct walked *walked = context;
    for (uint64_t i = 0; i < walked->count; i++) {
        struct store_key of = key_of(walked->from + i);
        if (memcmp(&of, key, sizeof of) != 0)
            continue;
        char wanted[32];
        snprintf(wanted, sizeof wanted, "<a%u@example.com>", (unsigned)i);
        walked->seen[i]++;
        assert_int_equal(record->len, i % (STORE_VALUE_BYTES + 1));
        if (i % 2) {
            assert_true(span_equal(text, span_of(wanted)));
            walked->texts++;
        } else {
            assert_int_equal(text.len, 0);
        }
        return --walked->most > 0;
    }
    walked->others++;
    return true;
}

static void test_a_walk_visits_each_record_with_its_text(void **state)
{
    uint64_t unread;
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *client = store_client_new(store);
    char message[STORE_MESSAGE_BYTES_MAX];
    static struct walked walked;
    walked = (struct walked){.from = UINT64_C(2) << 32, .count = 300, .most = UINT32_MAX};
    for (uint64_t i = 0; i < walked.count; i++) {
        char text[32];
        struct store_key key = key_of(walked.from + i);
        struct store_record record = record_of(i, 1, (uint8_t)(i % (STORE_VALUE_BYTES + 1)));
        snprintf(text, sizeof text, "<a%u@example.com>", (unsigned)i);
        if (i % 2)
            store_put_text(client, &key, &record, span_of(text));
        else
            put_now(client, &key, &record);
    }
    assert_true(store_walk(store, visit, &walked, &unread, message, sizeof message));
    assert_int_equal(unread, 0);
    for (uint64_t i = 0; i < walked.count; i++)
        assert_int_equal(walked.seen[i], 1);
    assert_int_equal(walked.texts, 150);
    walked.most = 5;
    walked.texts = 0;
    memset(walked.seen, 0, sizeof walked.seen);
    assert_true(store_walk(store, visit, &walked, &unread, message, sizeof message));
    assert_int_equal(unread, 0);
    unsigned seen = 0;
    for (uint64_t i = 0; i < walked.count; i++) {
        struct store_key key = key_of(walked.from + i);
        seen += walked.seen[i];
        put_now(client, &key, NULL);
    }
    assert_int_equal(seen, 5);
    walked.most = UINT32_MAX;
    memset(walked.seen, 0, sizeof walked.seen);
    assert_true(store_walk(store, visit, &walked, &unread, message, sizeof message));
    assert_int_equal(unread, 0);
    for (uint64_t i = 0; i < walked.count; i++)
        assert_int_equal(walked.seen[i], 0);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_kinds_that_there_may_be(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    char uri[160];
    snprintf(uri, sizeof uri, "%s%s", kind->uri, kind->lasts && !kind->is_shared ? "-kinds" : "");
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_key keys[] = {fresh_key(), fresh_key()};
    struct store_record record = record_of(1, 1, 7);
    assert_int_equal(store_kinds(store), kind->is_shared ? UINT32_MAX : 0);
    record.kind = 3;
    put_now(client, &keys[0], &record);
    assert_int_equal(store_kinds(store), kind->is_shared ? UINT32_MAX : 1u << 3);
    record.kind = 200;
    put_now(client, &keys[1], &record);
    put_now(client, &keys[0], NULL);
    assert_int_equal(store_kinds(store), kind->is_shared ? UINT32_MAX : 1u << 3 | 1u << 31);
    store_client_free(client);
    store_close(store, 5000);
    if (!kind->lasts)
        return;
    store = open_or_fail(uri, &settings);
    uint32_t dropped = 1u << 3; /* perhaps before it was written */
    assert_int_equal(store_kinds(store) | dropped, kind->is_shared ? UINT32_MAX : 1u << 3 | 1u << 31);
    store_close(store, 5000);
}

static void test_a_text_that_is_too_long_is_cut(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *client = store_client_new(store);
    static uint8_t text[STORE_TEXT_BYTES_MAX + 500];
    struct store_key key = fresh_key();
    struct store_record put = record_of(1, 1, STORE_VALUE_BYTES), got;
    store_put_text(client, &key, &put, (struct span){text, sizeof text});
    assert_int_equal(look_up(client, &key, &got), STORE_GOOD);
    assert_true(records_equal(&put, &got));
    put_now(client, &key, NULL);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_what_was_put_is_there_after_a_restart(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    struct store_key key = fresh_key(), dropped = fresh_key();
    struct store_record put = record_of(1, 1, STORE_VALUE_BYTES), got;
    uint8_t secret[STORE_SECRET_BYTES];
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *client = store_client_new(store);
    memcpy(secret, store_secret(store), sizeof secret);
    put_now(client, &key, &put);
    put_now(client, &dropped, &put);
    put_now(client, &dropped, NULL);
    store_client_free(client);
    store_close(store, 5000);

    store = open_or_fail(kind->uri, &settings);
    client = store_client_new(store);
    assert_int_equal(look_up(client, &key, &got), kind->lasts ? STORE_GOOD : STORE_ABSENT);
    assert_true(!kind->lasts || records_equal(&put, &got));
    assert_int_equal(look_up(client, &dropped, &got), STORE_ABSENT);
    assert_int_equal(memcmp(secret, store_secret(store), sizeof secret) == 0, kind->lasts);
    store_client_free(client);
    store_close(store, 1000);
}

/* Put by a process whose time is `now_s`, found by it and by the next one. */
static void check_that_it_stays(const struct kind *kind, int64_t now_s)
{
    struct store_settings settings = small_settings();
    struct store_key key = fresh_key();
    struct store_record put = record_of(1, 1, STORE_VALUE_BYTES), got;
    char message[STORE_MESSAGE_BYTES_MAX];
    put.expires_s = now_s + 3600;
    for (int opened = 0; opened < 2; opened++) {
        struct store *store = store_open(kind->uri, &settings, now_s, message, sizeof message);
        struct store_client *client = store_client_new(store);
        assert_non_null(client);
        if (opened == 0 || !kind->lasts)
            put_now(client, &key, &put);
        poll(NULL, 0,
             1500); /* what was learnt counts for nothing any more, and all was looked at for what has expired */
        enum store_status status = store_get(client, &key, 1, now_s * 1000000, now_s * 1000000 + 5000000, &got);
        struct store_answer answer = {.status = status, .record = got};
        for (int i = 0; i < 500 && answer.status == STORE_LATER; i++)
            if (!store_next_answer(client, now_s * 1000000, &answer))
                poll(NULL, 0, 10);
        assert_int_equal(answer.status, STORE_GOOD);
        put.expires_s = put.expires_s < STORE_FOR_EVER ? put.expires_s : STORE_FOR_EVER;
        assert_true(records_equal(&put, &answer.record));
        store_client_free(client);
        store_close(store, 5000);
    }
}

/* Who asks has started before somebody set the system's clock: what has expired is decided by one time. */
static void test_what_has_not_expired_for_who_asks_stays(void **state)
{
    check_that_it_stays(*state, 1000000000);
}

/* What is stored of an expiry has 32 bits. */
static void test_what_expires_after_2106_stays(void **state)
{
    check_that_it_stays(*state, STORE_FOR_EVER - INT64_C(1800));
    check_that_it_stays(*state, STORE_FOR_EVER + INT64_C(1000));
}

/* ---- at random, beside a plain list ---- */

enum { MODEL_KEYS = 500, MODEL_STEPS = 6000 };

struct model {
    uint64_t first;
    uint32_t version[MODEL_KEYS]; /* 0: absent */
    uint8_t len[MODEL_KEYS];
    int64_t expires_s[MODEL_KEYS];
};

static void check_one(struct model *model, struct store_client *client, uint32_t i)
{
    struct store_key key = key_of(model->first + i);
    struct store_record got;
    enum store_status status = look_up(client, &key, &got);
    assert_int_equal(status, model->version[i] ? STORE_GOOD : STORE_ABSENT);
    if (status != STORE_GOOD)
        return;
    struct store_record put = record_of(model->first + i, model->version[i], model->len[i]);
    put.expires_s = model->expires_s[i];
    assert_true(records_equal(&put, &got));
}

static void change_one(struct model *model, struct random_source *random, struct store_client *client, uint32_t i)
{
    struct store_key key = key_of(model->first + i);
    if (random_below(random, 4) == 0) {
        put_now(client, &key, NULL);
        model->version[i] = 0;
        return;
    }
    model->version[i] = 1 + random_below(random, 1000000);
    model->len[i] = (uint8_t)random_below(random, STORE_VALUE_BYTES + 1);
    struct store_record put = record_of(model->first + i, model->version[i], model->len[i]);
    model->expires_s[i] = put.expires_s;
    put_now(client, &key, &put);
}

static void test_at_random_as_a_plain_list_would(void **state)
{
    struct kind *kind = *state;
    struct store_settings settings = small_settings();
    static struct model model;
    struct random_source random = {1};
    if (kind->lasts)
        settings.cache_max = 50; /* so that most must be looked up behind it */
    model = (struct model){.first = UINT64_C(3) << 32};
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *clients[2] = {store_client_new(store), store_client_new(store)};
    for (int step = 0; step < MODEL_STEPS; step++) {
        struct store_client *client = clients[random_below(&random, 2)];
        uint32_t i = random_below(&random, MODEL_KEYS);
        if (random_below(&random, 2))
            change_one(&model, &random, client, i);
        else
            check_one(&model, client, i);
        if (random_below(&random, 500) == 0)
            poll(NULL, 0, 60); /* let some be written */
        if (kind->lasts && random_below(&random, 1500) == 0) {
            store_client_free(clients[0]);
            store_client_free(clients[1]);
            store_close(store, 5000);
            store = open_or_fail(kind->uri, &settings);
            clients[0] = store_client_new(store);
            clients[1] = store_client_new(store);
        }
    }
    for (uint32_t i = 0; i < MODEL_KEYS; i++) {
        check_one(&model, clients[0], i);
        struct store_key key = key_of(model.first + i);
        put_now(clients[0], &key, NULL);
    }
    store_client_free(clients[0]);
    store_client_free(clients[1]);
    store_close(store, 5000);
}

/* ---- several threads ---- */

enum { THREADS = 4, SHARED_KEYS = 200, THREAD_STEPS = 20000 };

struct hammer {
    struct store *store;
    uint64_t seed;
    unsigned wrong;
};

/* Whoever put a key, what is found is one of the puts of that key, whole. */
static void *hammer(void *context)
{
    struct hammer *work = context;
    struct random_source random = {work->seed};
    struct store_client *client = store_client_new(work->store);
    if (!client) {
        work->wrong++;
        return NULL;
    }
    for (int i = 0; i < THREAD_STEPS; i++) {
        uint64_t number = (UINT64_C(4) << 32) + random_below(&random, SHARED_KEYS);
        struct store_key key = key_of(number);
        struct store_record got, put = record_of(number, 1 + random_below(&random, 3), 30);
        struct store_answer answer;
        enum store_status status = store_get(client, &key, number, wall_us(), wall_us() + 5000000, &got);
        if (status == STORE_GOOD && (got.len != 30 || got.kind != put.kind))
            work->wrong++;
        while (store_next_answer(client, wall_us(), &answer))
            work->wrong += answer.status == STORE_FAILED;
        store_put(client, &key, &put);
    }
    store_client_free(client);
    return NULL;
}

static void test_threads_share_a_store(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_counters counters;
    pthread_t threads[THREADS];
    struct hammer work[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        work[i] = (struct hammer){store, i + 1, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &work[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(work[i].wrong, 0);
    }
    store_counters(store, &counters);
    assert_int_equal(counters.gets, THREADS * THREAD_STEPS);
    assert_int_equal(counters.puts, THREADS * THREAD_STEPS);
    assert_int_equal(counters.failed, 0);
    assert_int_equal(counters.lost, 0);
    assert_true(counters.records <= SHARED_KEYS || kind->lasts);
    store_close(store, 5000);
}

static void test_clients_are_bounded(void **state)
{
    const struct kind *kind = *state;
    struct store_settings settings = small_settings();
    settings.clients_max = 2;
    struct store *store = open_or_fail(kind->uri, &settings);
    struct store_client *one = store_client_new(store), *two = store_client_new(store);
    assert_non_null(one);
    assert_non_null(two);
    assert_null(store_client_new(store));
    store_client_free(one);
    one = store_client_new(store);
    assert_non_null(one);
    store_client_free(one);
    store_client_free(two);
    store_close(store, 1000);
}

/* ---- of one kind ---- */

static void test_memory_is_bounded_and_the_oldest_makes_room(void **state)
{
    (void)state;
    struct store_settings settings = small_settings();
    settings.records_max = 100;
    struct store *store = open_or_fail("memory:", &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    struct store_record got;
    for (uint64_t i = 0; i < 150; i++) {
        struct store_key key = key_of(i), first = key_of(0);
        struct store_record put = record_of(i, 1, 10);
        put_now(client, &key, &put);
        /* One that is used stays. */
        assert_int_equal(look_up(client, &first, &got), STORE_GOOD);
    }
    for (uint64_t i = 1; i < 150; i++) {
        struct store_key key = key_of(i);
        assert_int_equal(look_up(client, &key, &got), i <= 50 ? STORE_ABSENT : STORE_GOOD);
    }
    store_counters(store, &counters);
    assert_int_equal(counters.records, 100);
    assert_int_equal(counters.waiting, 0);
    assert_int_equal(counters.answered_at_once, counters.gets);
    assert_int_equal(store_client_fd(client), -1);
    assert_true(store_next_due(client) == INT64_MAX);
    store_client_free(client);
    store_close(store, 0);
}

static void test_bad_uris_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *words;
    } rows[] = {
        {"", "no store begins like this; write memory:"},
        {"memory", "no store begins like this; write memory:"},
        {"sqlite:", "names no folder; write sqlite:FOLDER"},
        {"sqlite:/proc/none", "/proc/none: cannot make this folder: No such file or directory; make it"},
        {"sqlite:/dev/null", "/dev/null: not a folder"},
        {"redis://", "redis://: not understood; write redis://[:PASSWORD@]HOST[:PORT][/DB]"},
        {"redis://:hidden@", "redis://...@: not understood"},
        {"redis://host:70000", "redis://host:70000: not understood"},
        {"redis://host/x", "not understood"},
        {"redis://[::1", "not understood"},
        {"redis://a%zz@host", "not understood"},
        {"redis://a,,b", "not understood"},
        {"redis://a:1,b:hidden,c", "redis://...: not understood"},
        {"redis://a,b,c,d,e,f,g,h,i", "not understood"},
        {"redis://127.0.0.1:1,[::1]:1/2", "redis://127.0.0.1:1,::1:1/2: ::1:1: cannot be reached: "},
        {"redishost", "redishost: not understood"},
        {"redis+unix://run/redis.sock", "not understood; write redis+unix://[:PASSWORD@]/PATH[?db=DB]"},
        {"redis+unix:///", "not understood"},
        {"redis+unix:///x?db=y", "not understood"},
        {"redis+unix://:hidden@/none/x", "redis+unix:///none/x?db=0: cannot be reached: No such file or directory"},
        {"redis+sentinel://127.0.0.1", "not understood; write redis+sentinel://"},
        {"redis+sentinel://127.0.0.1:1/gate", "redis+sentinel://127.0.0.1:1/gate/0: 127.0.0.1:1: cannot be reached: "},
#ifdef POSTERN_HIREDIS_SSL
        {"rediss://:hidden@127.0.0.1:1", "rediss://127.0.0.1:1/0: cannot be reached: Connection refused"},
#else
        {"rediss://:hidden@127.0.0.1:1", "rediss://127.0.0.1:1/0: this postern was built without TLS for redis: build"},
#endif
        {"redis://127.0.0.1:1", "redis://127.0.0.1:1/0: cannot be reached: Connection refused"},
        {"redis://:hidden@[::1]:1/2", "redis://::1:1/2: cannot be reached: "},
        {"memory:x", "nothing may stand behind memory:"},
        {"lmdb:/var/lib/postern", "no store begins like this; write memory:, sqlite:FOLDER or redis://HOST"},
        {"mysql://localhost", "mysql://localhost: no store begins like this"},
    };
    struct store_settings settings = small_settings();
    char message[STORE_MESSAGE_BYTES_MAX];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_null(store_open(rows[i].uri, &settings, 0, message, sizeof message));
        assert_non_null(strstr(message, rows[i].words));
        assert_null(strchr(message, '\n'));
        assert_null(strstr(message, "hidden"));
    }
    settings.sync_ms = 0;
    assert_null(store_open("memory:", &settings, 0, message, sizeof message));
    assert_non_null(strstr(message, "must not be 0"));
}

static const struct CMUnitTest of_each[] = {
    {"a put is seen by all clients at once", test_a_put_is_seen_by_all_clients_at_once, NULL, NULL, NULL},
    {"expired records count as absent", test_expired_records_count_as_absent, NULL, NULL, NULL},
    {"a walk visits each record with its text", test_a_walk_visits_each_record_with_its_text, NULL, NULL, NULL},
    {"kinds that there may be", test_kinds_that_there_may_be, NULL, NULL, NULL},
    {"a text that is too long is cut", test_a_text_that_is_too_long_is_cut, NULL, NULL, NULL},
    {"what was put is there after a restart", test_what_was_put_is_there_after_a_restart, NULL, NULL, NULL},
    {"what has not expired for who asks stays", test_what_has_not_expired_for_who_asks_stays, NULL, NULL, NULL},
    {"what expires after 2106 stays", test_what_expires_after_2106_stays, NULL, NULL, NULL},
    {"at random as a plain list would", test_at_random_as_a_plain_list_would, NULL, NULL, NULL},
    {"threads share a store", test_threads_share_a_store, NULL, NULL, NULL},
    {"clients are bounded", test_clients_are_bounded, NULL, NULL, NULL},
};

enum { OF_EACH = sizeof of_each / sizeof of_each[0] };

static struct CMUnitTest tests[KINDS * OF_EACH + 2] = {
    {"memory is bounded, and the oldest makes room", test_memory_is_bounded_and_the_oldest_makes_room, NULL, NULL,
     NULL},
    {"bad URIs are told", test_bad_uris_are_told, NULL, NULL, NULL},
};

int main(void)
{
    snprintf(kinds[1].uri, sizeof kinds[1].uri, "sqlite:%s/suite", temporary_folder());
    struct redis_server server = {.password = "s@cret"};
    redis_server_start(&server);
    snprintf(kinds[2].uri, sizeof kinds[2].uri, "redis://:s@cret@127.0.0.1:%d/3", server.port);
    static char names[KINDS * OF_EACH][80];
    for (size_t i = 0; i < KINDS * OF_EACH; i++) {
        tests[i + 2] = of_each[i % OF_EACH];
        tests[i + 2].initial_state = &kinds[i / OF_EACH];
        snprintf(names[i], sizeof names[i], "%s: %s", kinds[i / OF_EACH].name, of_each[i % OF_EACH].name);
        tests[i + 2].name = names[i];
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = cmocka_run_group_tests_name("store", tests, NULL, NULL);
    redis_server_stop(&server, SIGTERM);
    return failed;
}
