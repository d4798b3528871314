/* redis: shared by gateways; slow, gone, restarted, full, answering rubbish. */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/random.h"
#include "../lib/stores.h"

static struct redis_server server;
static char uri[64];
static struct store_settings settings;

static int start_server(void **state)
{
    (void)state;
    server = (struct redis_server){0};
    redis_server_start(&server);
    snprintf(uri, sizeof uri, "redis://127.0.0.1:%d", server.port);
    settings = store_settings_default();
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    if (server.process)
        redis_server_stop(&server, SIGKILL);
    return 0;
}

static void command(const char *words)
{
    char answer[256];
    redis_server_command(&server, words, answer, sizeof answer);
}

static void put_number(struct store_client *client, uint64_t number, uint32_t version)
{
    struct store_key key = key_of(number);
    struct store_record record = record_of(number, version, 28);
    put_now(client, &key, &record);
}

static enum store_status get_number(struct store_client *client, uint64_t number, uint32_t *version)
{
    struct store_key key = key_of(number);
    struct store_record record = {0};
    enum store_status status = look_up(client, &key, &record);
    memcpy(version, record.value, sizeof *version);
    return status;
}

/* Without the server: what waits to be written is known, but while the thread that writes has the lock. */
static bool is_known(struct store_client *client, uint64_t number)
{
    struct store_key key = key_of(number);
    return look_up_until(client, &key, STORE_GOOD, 2000);
}

static bool written_within(struct store *store, int wait_ms)
{
    struct store_counters counters;
    int64_t until_us = wall_us() + (int64_t)wait_ms * 1000;
    do {
        store_counters(store, &counters);
        if (counters.waiting == 0)
            return true;
        poll(NULL, 0, 5);
    } while (wall_us() < until_us);
    return false;
}

static bool fault_within(struct store *store, bool wanted, const char *words, int wait_ms)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    int64_t until_us = wall_us() + (int64_t)wait_ms * 1000;
    do {
        if (store_fault(store, message, sizeof message) == wanted && strstr(message, words))
            return !strchr(message, '\n');
        poll(NULL, 0, 5);
    } while (wall_us() < until_us);
    return false;
}

/* ---- two gateways ---- */

static void test_what_one_gateway_puts_another_finds(void **state)
{
    (void)state;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    uint32_t version;
    assert_int_equal(get_number(client, 1, &version), STORE_ABSENT); /* and remembers it for a moment */
    pid_t other = fork();
    if (other == 0) {
        struct store *theirs = open_or_fail(uri, &settings);
        struct store_client *their_client = store_client_new(theirs);
        put_number(their_client, 1, 7);
        bool same = memcmp(store_secret(theirs), store_secret(store), STORE_SECRET_BYTES) == 0;
        store_close(theirs, 5000);
        _exit(!same);
    }
    int status;
    waitpid(other, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    int64_t put_us = wall_us();
    while (get_number(client, 1, &version) != STORE_GOOD)
        poll(NULL, 0, 5);
    assert_int_equal(version, 7);
    assert_true(wall_us() - put_us < 1000000);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_records_leave_the_server_when_they_expire(void **state)
{
    (void)state;
    char answer[64];
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_key key = key_of(1);
    struct store_record record = record_of(1, 1, 28);
    record.expires_s = wall_us() / 1000000 + 2;
    store_put(client, &key, &record);
    assert_true(written_within(store, 2000));
    redis_server_command(&server, "DBSIZE", answer, sizeof answer);
    assert_string_equal(answer, "3"); /* with the format and the secret */
    for (int i = 0; i < 400 && strcmp(answer, "2") != 0; i++) {
        poll(NULL, 0, 10);
        redis_server_command(&server, "DBSIZE", answer, sizeof answer);
    }
    assert_string_equal(answer, "2");
    store_client_free(client);
    store_close(store, 1000);
}

/* ---- several servers, Sentinels, sockets ---- */

static void command_of(const struct redis_server *of, const char *format, int port)
{
    char words[128], answer[256];
    snprintf(words, sizeof words, format, port);
    redis_server_command(of, words, answer, sizeof answer);
}

/* Records that a server has, besides format and secret. */
static int records_of(const struct redis_server *of)
{
    char answer[64];
    redis_server_command(of, "DBSIZE", answer, sizeof answer);
    return atoi(answer) - 2;
}

static bool replicates(const struct redis_server *of)
{
    char answer[256];
    for (int i = 0; i < 1000; i++) {
        redis_server_command(of, "GET postern:format", answer, sizeof answer);
        if (strcmp(answer, "1") == 0)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

static void test_of_several_servers_the_first_that_takes_writes_is_used(void **state)
{
    (void)state;
    char several[160];
    struct redis_server replica = {0};
    uint32_t version;
    store_close(open_or_fail(uri, &settings), 1000); /* which makes format and secret */
    redis_server_start(&replica);
    command_of(&replica, "REPLICAOF 127.0.0.1 %d", server.port);
    assert_true(replicates(&replica));
    snprintf(several, sizeof several, "redis://127.0.0.1:1,127.0.0.1:%d,127.0.0.1:%d/0", replica.port, server.port);
    struct store *store = open_or_fail(several, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 1);
    assert_true(written_within(store, 2000));
    assert_int_equal(records_of(&server), 1);
    /* The master goes, and the replica takes over. */
    redis_server_stop(&server, SIGKILL);
    command_of(&replica, "REPLICAOF NO ONE", 0);
    put_number(client, 2, 2);
    assert_true(written_within(store, 10000));
    assert_true(fault_within(store, false, "", 2000));
    assert_true(records_of(&replica) >= 1);
    int64_t until_us = wall_us() + 3000000;
    while (get_number(client, 2, &version) != STORE_GOOD && wall_us() < until_us)
        poll(NULL, 0, 5);
    assert_int_equal(version, 2);
    store_client_free(client);
    store_close(store, 1000);
    redis_server_stop(&replica, SIGKILL);
}

/* It is demoted while we write to it, without a connection that breaks. */
static void test_a_master_that_became_a_replica_is_left_for_the_new_one(void **state)
{
    (void)state;
    char several[160];
    struct redis_server other = {0};
    redis_server_start(&other);
    snprintf(several, sizeof several, "redis://127.0.0.1:%d,127.0.0.1:%d", server.port, other.port);
    struct store *store = open_or_fail(several, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 1);
    assert_true(written_within(store, 2000));
    command_of(&other, "REPLICAOF 127.0.0.1 %d", server.port);
    assert_true(replicates(&other));
    command_of(&other, "REPLICAOF NO ONE", 0);
    command_of(&server, "REPLICAOF 127.0.0.1 %d", other.port);
    put_number(client, 2, 2);
    assert_true(written_within(store, 10000));
    assert_int_equal(records_of(&other), 2);
    store_client_free(client);
    store_close(store, 1000);
    redis_server_stop(&other, SIGKILL);
}

static void test_sentinels_say_where_the_server_is(void **state)
{
    (void)state;
    char where[160], message[STORE_MESSAGE_BYTES_MAX];
    struct redis_server other = {0}, sentinel = {.sentinel_of = server.port};
    redis_server_start(&other);
    redis_server_start(&sentinel);
    snprintf(where, sizeof where, "redis+sentinel://127.0.0.1:%d/nobody", sentinel.port);
    assert_null(store_open(where, &settings, 0, message, sizeof message));
    assert_non_null(strstr(message, "this Sentinel knows no nobody"));
    snprintf(where, sizeof where, "redis+sentinel://127.0.0.1:1,127.0.0.1:%d/gate", sentinel.port);
    struct store *store = open_or_fail(where, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 1);
    assert_true(written_within(store, 2000));
    assert_int_equal(records_of(&server), 1);
    command_of(&sentinel, "SENTINEL REMOVE gate", 0);
    command_of(&sentinel, "SENTINEL MONITOR gate 127.0.0.1 %d 1", other.port);
    redis_server_stop(&server, SIGKILL);
    put_number(client, 2, 2);
    assert_true(written_within(store, 10000));
    assert_int_equal(records_of(&other), 1);
    store_client_free(client);
    store_close(store, 1000);
    redis_server_stop(&sentinel, SIGKILL);
    redis_server_stop(&other, SIGKILL);
}

static bool count_record(void *context, const struct store_key *key, const struct store_record *record,
                         struct span text)
{
    (void)key;
    (void)record;
    (void)text;
    ++*(unsigned *)context;
    return true;
}

static void test_a_user_at_a_socket(void **state)
{
    (void)state;
    char where[256], message[STORE_MESSAGE_BYTES_MAX];
    struct redis_server local = {0};
    unsigned count = 0;
    uint64_t unread;
    snprintf(local.socket, sizeof local.socket, "%s/redis.sock", temporary_folder());
    redis_server_start(&local);
    command_of(&local, "ACL SETUSER gate on >sesame@x ~postern:* +get +set +del +dbsize +select +scan", 0);
    snprintf(where, sizeof where, "redis+unix://gate:sesame%%40x@%s?db=2", local.socket);
    struct store *store = open_or_fail(where, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 1);
    assert_true(written_within(store, 2000));
    assert_int_equal(records_of(&local), -2); /* of database 0 */
    assert_true(store_walk(store, count_record, &count, &unread, message, sizeof message));
    assert_int_equal(count, 1);
    store_client_free(client);
    store_close(store, 1000);
    snprintf(where, sizeof where, "redis+unix://gate:sesame@%s", local.socket);
    assert_null(store_open(where, &settings, 0, message, sizeof message));
    assert_non_null(strstr(message, "redis.sock?db=0: does not let us in: WRONGPASS"));
    redis_server_stop(&local, SIGKILL);
}

/* ---- passwords, formats, records of others ---- */

static void expect_refused(const char *where, const char *words)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    assert_null(store_open(where, &settings, 0, message, sizeof message));
    if (!strstr(message, words) || strchr(message, '\n') || strstr(message, "sesame"))
        fail_msg("'%s' does not say '%s'", message, words);
}

static void test_the_password_is_given_and_never_shown(void **state)
{
    (void)state;
    struct redis_server locked = {.password = "open/sesame"};
    char where[128];
    uint32_t version;
    redis_server_start(&locked);
    snprintf(where, sizeof where, "redis://127.0.0.1:%d", locked.port);
    expect_refused(where, "does not let us in: NOAUTH");
    snprintf(where, sizeof where, "redis://:sesame@127.0.0.1:%d", locked.port);
    expect_refused(where, "does not let us in: ");
    snprintf(where, sizeof where, "redis://:open%%2Fsesame@127.0.0.1:%d", locked.port);
    struct store *store = open_or_fail(where, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 1);
    assert_true(written_within(store, 2000));
    assert_int_equal(get_number(client, 1, &version), STORE_GOOD);
    store_client_free(client);
    store_close(store, 1000);
    snprintf(where, sizeof where, "redis://default:open%%2fsesame@127.0.0.1:%d", locked.port);
    store = open_or_fail(where, &settings);
    store_close(store, 1000);
    redis_server_stop(&locked, SIGKILL);
}

/* Who may not list is the user without a name. */
static void test_a_user_without_a_password_lists_too(void **state)
{
    uint64_t unread;
    (void)state;
    char where[128], message[STORE_MESSAGE_BYTES_MAX];
    unsigned visited = 0;
    command("ACL SETUSER gateway on nopass ~postern:* +@all");
    command("ACL SETUSER default -scan");
    snprintf(where, sizeof where, "redis://gateway:@127.0.0.1:%d", server.port);
    struct store *store = open_or_fail(where, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 1);
    assert_true(written_within(store, 2000));
    if (!store_walk(store, count_record, &visited, &unread, message, sizeof message) || unread)
        fail_msg("%s", message);
    assert_int_equal(visited, 1);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_a_newer_format_is_refused(void **state)
{
    (void)state;
    command("SET postern:format 2");
    expect_refused(uri, "another version of postern keeps its records there (this one knows format 1)");
    command("DEL postern:format");
    command("LPUSH postern:format x");
    expect_refused(uri, "cannot be used: WRONGTYPE");
    command("DEL postern:format");
    command("SET postern:secret short");
    expect_refused(uri, "cannot be used");
}

static void test_records_that_are_damaged_are_never_believed(void **state)
{
    (void)state;
    static const char *const values[] = {"x", "A0123456789", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    uint32_t version;
    for (uint64_t i = 0; i < 3; i++) {
        char words[256], name[40];
        struct store_key key = key_of(i);
        for (size_t at = 0; at < sizeof key.octets; at++)
            snprintf(name + 2 * at, 3, "%02x", key.octets[at]);
        snprintf(words, sizeof words, "SET postern:r:%s %s", name, values[i]);
        command(words);
        assert_int_equal(get_number(client, i, &version), STORE_FAILED);
        /* A put heals it. */
        put_number(client, i, 5);
        assert_true(written_within(store, 2000));
        poll(NULL, 0, 900);
        assert_int_equal(get_number(client, i, &version), STORE_GOOD);
        assert_int_equal(version, 5);
    }
    store_client_free(client);
    store_close(store, 1000);
}

static void test_a_walk_leaves_out_what_is_damaged_and_nothing_else(void **state)
{
    (void)state;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    char message[STORE_MESSAGE_BYTES_MAX];
    unsigned visited = 0;
    uint64_t unread;
    for (uint64_t i = 0; i < 20; i++)
        put_number(client, i, 1);
    assert_true(written_within(store, 2000));
    command("SET postern:r:00000000000000000000000000000000 rubbish");
    command("LPUSH postern:r:00000000000000000000000000000001 rubbish");
    command("SET postern:r:0000000000000000000000000000000x rubbish");
    if (!store_walk(store, count_record, &visited, &unread, message, sizeof message))
        fail_msg("%s", message);
    assert_int_equal(visited, 20);
    assert_int_equal(unread, 3);
    store_client_free(client);
    store_close(store, 1000);
}

/* ---- slow, gone, restarted, full ---- */

static void test_a_server_that_stands_still_delays_no_decision_beyond_its_deadline(void **state)
{
    (void)state;
    enum { WAIT_US = 300000 };
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_answer answer;
    struct store_record record;
    struct store_counters counters;
    uint32_t version;
    kill(server.process, SIGSTOP);
    int64_t asked_us = wall_us();
    for (uint64_t i = 0; i < STORE_PENDING_MAX; i++) {
        struct store_key key = key_of(i);
        assert_int_equal(store_get(client, &key, i, asked_us, asked_us + WAIT_US, &record), STORE_LATER);
    }
    struct store_key beyond = key_of(STORE_PENDING_MAX);
    assert_int_equal(store_get(client, &beyond, 0, asked_us, asked_us + WAIT_US, &record), STORE_FAILED);
    assert_true(store_next_due(client) == asked_us + WAIT_US);
    assert_false(store_next_answer(client, asked_us + WAIT_US - 1, &answer));
    for (uint64_t i = 0; i < STORE_PENDING_MAX; i++) {
        assert_true(store_next_answer(client, asked_us + WAIT_US, &answer));
        assert_int_equal(answer.status, STORE_FAILED);
        assert_true(answer.token == i);
    }
    assert_false(store_next_answer(client, asked_us + WAIT_US, &answer));
    /* What is put meanwhile is known, and is written when the server goes on. */
    for (uint64_t i = 0; i < 500; i++)
        put_number(client, i, 2);
    assert_int_equal(get_number(client, 1, &version), STORE_GOOD);
    assert_true(fault_within(store, true, "gives no answer", 5000));
    assert_int_equal(store_get(client, &beyond, 0, wall_us(), wall_us() + WAIT_US, &record), STORE_FAILED);
    kill(server.process, SIGCONT);
    assert_true(written_within(store, 6000));
    assert_true(fault_within(store, false, "", 5000));
    assert_true(look_up_until(client, &beyond, STORE_ABSENT, 5000));
    store_counters(store, &counters);
    assert_true(counters.failed >= STORE_PENDING_MAX + 2);
    assert_int_equal(counters.lost, 0);
    assert_true(counters.reconnects >= 1);
    store_client_free(client);
    store_close(store, 1000);
}

static double processor_s(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* More questions than are with a server at once. */
static void test_a_server_that_stands_still_is_waited_for_asleep(void **state)
{
    (void)state;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_record record;
    kill(server.process, SIGSTOP);
    for (uint64_t i = 0; i < 4000; i++) {
        struct store_key key = key_of(i);
        assert_int_equal(store_get(client, &key, i, wall_us(), wall_us() + 5000000, &record), STORE_LATER);
    }
    poll(NULL, 0, 100);
    double before_s = processor_s();
    poll(NULL, 0, 1000);
    double used_s = processor_s() - before_s;
    print_message("# %.3f s of the processor in a second\n", used_s);
    assert_true(used_s < 0.2);
    kill(server.process, SIGCONT);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_a_server_that_was_killed_gets_all_that_waited(void **state)
{
    (void)state;
    uint8_t secret[STORE_SECRET_BYTES];
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    uint32_t version;
    memcpy(secret, store_secret(store), sizeof secret);
    for (uint64_t i = 0; i < 200; i++)
        put_number(client, i, 1);
    assert_true(written_within(store, 2000));
    redis_server_stop(&server, SIGKILL);
    for (uint64_t i = 100; i < 1000; i++)
        put_number(client, i, 2);
    assert_true(fault_within(store, true, "", 2000));
    assert_int_equal(get_number(client, 5000, &version), STORE_FAILED);
    assert_true(is_known(client, 500));
    store_counters(store, &counters);
    assert_int_equal(counters.waiting, 900);
    redis_server_start(&server); /* and it has forgotten everything */
    assert_true(written_within(store, 6000));
    assert_true(fault_within(store, false, "", 2000));
    store_counters(store, &counters);
    assert_int_equal(counters.reconnects, 1);
    assert_int_equal(counters.lost, 0);
    struct store *other = open_or_fail(uri, &settings);
    assert_memory_equal(store_secret(other), secret, sizeof secret);
    struct store_client *others_client = store_client_new(other);
    for (uint64_t i = 100; i < 1000; i++) {
        assert_int_equal(get_number(others_client, i, &version), STORE_GOOD);
        assert_int_equal(version, 2);
    }
    store_client_free(others_client);
    store_client_free(client);
    store_close(other, 1000);
    store_close(store, 1000);
}

static void test_a_server_that_forgot_and_has_another_secret_is_told(void **state)
{
    (void)state;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    uint32_t version;
    redis_server_stop(&server, SIGKILL);
    assert_true(fault_within(store, true, "", 2000));
    redis_server_start(&server);
    command("FLUSHALL");
    command("SET postern:secret 000102030405060708090a0b0c0d0e0f");
    /* The store may have come before the other gateway did. */
    command("CLIENT KILL TYPE normal SKIPME yes");
    assert_true(fault_within(store, true, "another gateway began anew there; restart postern", 6000));
    put_number(client, 1, 3);
    assert_true(written_within(store, 2000));
    assert_int_equal(get_number(client, 1, &version), STORE_GOOD);
    assert_true(fault_within(store, true, "another gateway", 0));
    store_client_free(client);
    store_close(store, 1000);
}

/* Without a restart nobody connects anew. */
static void test_a_server_that_was_emptied_gets_the_secret_back(void **state)
{
    (void)state;
    char there[64] = "";
    struct store *store = open_or_fail(uri, &settings);
    command("FLUSHALL");
    for (int i = 0; i < 1000 && strcmp(there, "2") != 0; i++) {
        poll(NULL, 0, 10);
        redis_server_command(&server, "EXISTS postern:secret postern:format", there, sizeof there);
    }
    assert_string_equal(there, "2");
    struct store *other = open_or_fail(uri, &settings);
    assert_memory_equal(store_secret(other), store_secret(store), STORE_SECRET_BYTES);
    store_close(other, 1000);
    store_close(store, 1000);
}

static void test_a_server_that_others_began_anew_on_is_told_without_a_restart(void **state)
{
    (void)state;
    uint32_t version;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    command("SET postern:secret 000102030405060708090a0b0c0d0e0f");
    assert_true(fault_within(store, true, "another gateway began anew there; restart postern", 10000));
    /* What is wrong besides is told, and that this still is when it is over. */
    command("CONFIG SET maxmemory 1");
    put_number(client, 1, 1);
    assert_true(fault_within(store, true, "does not take what is to be kept: OOM", 2000));
    command("CONFIG SET maxmemory 0");
    assert_true(written_within(store, 3000));
    assert_true(fault_within(store, true, "another gateway began anew", 1000));
    assert_int_equal(get_number(client, 1, &version), STORE_GOOD);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_what_waits_is_bounded(void **state)
{
    (void)state;
    settings.backlog_max = 100;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    struct store_counters counters;
    uint32_t version;
    redis_server_stop(&server, SIGKILL);
    assert_true(fault_within(store, true, "", 2000));
    for (uint64_t i = 0; i < 250; i++)
        put_number(client, i, 1);
    store_counters(store, &counters);
    assert_int_equal(counters.waiting, 100);
    assert_int_equal(counters.lost, 150);
    assert_int_equal(get_number(client, 149, &version), STORE_FAILED);
    assert_true(is_known(client, 150));
    redis_server_start(&server);
    assert_true(written_within(store, 6000));
    store_counters(store, &counters);
    assert_int_equal(counters.written, 100);
    store_client_free(client);
    store_close(store, 1000);
}

static void test_a_server_that_is_full_is_told(void **state)
{
    (void)state;
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    uint32_t version;
    command("CONFIG SET maxmemory 1");
    put_number(client, 1, 1);
    assert_true(fault_within(store, true, "does not take what is to be kept: OOM", 2000));
    assert_int_equal(get_number(client, 1, &version), STORE_GOOD);
    assert_int_equal(get_number(client, 2, &version), STORE_ABSENT);
    command("CONFIG SET maxmemory 0");
    assert_true(written_within(store, 3000));
    assert_true(fault_within(store, false, "", 1000));
    store_client_free(client);
    store_close(store, 1000);
}

/* When a gateway starts, or comes back. */
static void test_a_server_that_is_full_is_read_all_the_same(void **state)
{
    (void)state;
    uint32_t version;
    command("CONFIG SET maxmemory 1");
    expect_refused(uri, "OOM command not allowed");
    command("CONFIG SET maxmemory 0");
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    put_number(client, 1, 7);
    assert_true(written_within(store, 2000));
    store_client_free(client);
    store_close(store, 1000);
    command("CONFIG SET maxmemory 1");
    store = open_or_fail(uri, &settings);
    client = store_client_new(store);
    assert_int_equal(get_number(client, 1, &version), STORE_GOOD);
    assert_int_equal(version, 7);
    put_number(client, 2, 1);
    assert_true(fault_within(store, true, "does not take what is to be kept: OOM", 2000));
    command("CONFIG SET maxmemory 0");
    assert_true(written_within(store, 3000));
    store_client_free(client);
    store_close(store, 1000);
}

/* ---- rubbish ---- */

enum rubbish { AT_RANDOM, WRONG_TYPES, NOTHING, CLOSED, ENDLESS, RUBBISH_KINDS };

static void say(int fd, const char *words, size_t len)
{
    if (send(fd, words, len, MSG_NOSIGNAL) != (ssize_t)len)
        close(fd);
}

static void say_rubbish(int fd, enum rubbish kind, struct random_source *random)
{
    static const char wrong[] = ":12\r\n*2\r\n$1\r\na\r\n*-1\r\n+QUEUED\r\n-\x1b[31mRED\r\n$-1\r\n";
    char octets[512];
    switch (kind) {
    case AT_RANDOM:
        for (size_t i = 0; i < sizeof octets; i++)
            octets[i] =
                random_below(random, 4) ? "$*:+-\r\n0123456789"[random_below(random, 17)] : (char)random_next(random);
        say(fd, octets, 1 + random_below(random, sizeof octets - 1));
        break;
    case WRONG_TYPES:
        say(fd, wrong, sizeof wrong - 1);
        break;
    case ENDLESS:
        say(fd, "$500000000\r\nxxxx", 16);
        break;
    case NOTHING:
        break;
    case CLOSED:
    case RUBBISH_KINDS:
        shutdown(fd, SHUT_RDWR);
        break;
    }
}

/* A server that greets as it should for `good` connections, and answers all else with rubbish. */
static void be_rubbish(int listener, enum rubbish kind, int good)
{
    static const char greeting[] = "+OK\r\n+OK\r\n$1\r\n1\r\n+OK\r\n$32\r\n000102030405060708090a0b0c0d0e0f\r\n";
    struct random_source random = {kind};
    char heard[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
        bool greeted = good-- <= 0;
        while (recv(fd, heard, sizeof heard, 0) > 0) {
            if (greeted)
                say_rubbish(fd, kind, &random);
            else
                say(fd, greeting, sizeof greeting - 1);
            greeted = true;
        }
    }
    _exit(0);
}

static pid_t start_rubbish(enum rubbish kind, int good, char where[64])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    snprintf(where, 64, "redis://127.0.0.1:%d", ntohs(address.sin_port));
    pid_t process = fork();
    if (process == 0)
        be_rubbish(listener, kind, good);
    close(listener);
    return process;
}

static void test_rubbish_from_the_start_is_refused(void **state)
{
    (void)state;
    char where[64], message[STORE_MESSAGE_BYTES_MAX];
    for (enum rubbish kind = 0; kind < RUBBISH_KINDS; kind++) {
        pid_t process = start_rubbish(kind, 0, where);
        assert_null(store_open(where, &settings, 0, message, sizeof message));
        assert_true(strlen(message) > strlen(where) + 5);
        for (const char *c = message; *c; c++)
            assert_in_range(*c, ' ', '~');
        kill(process, SIGKILL);
        waitpid(process, NULL, 0);
    }
}

static void test_rubbish_later_is_counted_and_decisions_go_on(void **state)
{
    (void)state;
    char where[64];
    for (enum rubbish kind = 0; kind < RUBBISH_KINDS; kind++) {
        pid_t process = start_rubbish(kind, 2, where);
        struct store *store = open_or_fail(where, &settings);
        struct store_client *client = store_client_new(store);
        struct store_counters counters;
        struct store_answer answer;
        struct store_record record;
        unsigned late = 0, answers = 0, failed = 0;
        for (uint64_t i = 0; i < 200; i++) {
            struct store_key key = key_of(i);
            switch (store_get(client, &key, i, wall_us(), wall_us() + 100000, &record)) {
            case STORE_LATER:
                late++;
                break;
            case STORE_FAILED:
                failed++;
                break;
            case STORE_GOOD:
            case STORE_ABSENT:
                break;
            }
            put_number(client, i, 1);
            assert_int_equal(look_up(client, &key, &record), STORE_GOOD);
            poll(NULL, 0, 1);
        }
        poll(NULL, 0, 110);
        while (store_next_answer(client, wall_us(), &answer)) {
            answers++;
            failed += answer.status == STORE_FAILED;
        }
        assert_int_equal(answers, late);
        store_counters(store, &counters);
        assert_int_equal(counters.failed, failed);
        assert_true(failed > 0);
        assert_int_equal(counters.waiting + counters.written, 200);
        store_client_free(client);
        store_close(store, 100);
        kill(process, SIGKILL);
        waitpid(process, NULL, 0);
    }
}

#define WITH_SERVER(name, function)                                                                                    \
    {                                                                                                                  \
        name, function, start_server, stop_server, NULL                                                                \
    }

int main(void)
{
    static const struct CMUnitTest tests[] = {
        WITH_SERVER("what one gateway puts, another finds", test_what_one_gateway_puts_another_finds),
        WITH_SERVER("records leave the server when they expire", test_records_leave_the_server_when_they_expire),
        WITH_SERVER("of several servers the first that takes writes is used",
                    test_of_several_servers_the_first_that_takes_writes_is_used),
        WITH_SERVER("a master that became a replica is left for the new one",
                    test_a_master_that_became_a_replica_is_left_for_the_new_one),
        WITH_SERVER("Sentinels say where the server is", test_sentinels_say_where_the_server_is),
        WITH_SERVER("a user at a socket", test_a_user_at_a_socket),
        WITH_SERVER("the password is given, and never shown", test_the_password_is_given_and_never_shown),
        WITH_SERVER("a user without a password lists too", test_a_user_without_a_password_lists_too),
        WITH_SERVER("a newer format is refused", test_a_newer_format_is_refused),
        WITH_SERVER("records that are damaged are never believed", test_records_that_are_damaged_are_never_believed),
        WITH_SERVER("a walk leaves out what is damaged and nothing else",
                    test_a_walk_leaves_out_what_is_damaged_and_nothing_else),
        WITH_SERVER("a server that stands still delays no decision beyond its deadline",
                    test_a_server_that_stands_still_delays_no_decision_beyond_its_deadline),
        WITH_SERVER("a server that stands still is waited for asleep",
                    test_a_server_that_stands_still_is_waited_for_asleep),
        WITH_SERVER("a server that was killed gets all that waited",
                    test_a_server_that_was_killed_gets_all_that_waited),
        WITH_SERVER("a server that forgot and has another secret is told",
                    test_a_server_that_forgot_and_has_another_secret_is_told),
        WITH_SERVER("a server that was emptied gets the secret back",
                    test_a_server_that_was_emptied_gets_the_secret_back),
        WITH_SERVER("a server that others began anew on is told without a restart",
                    test_a_server_that_others_began_anew_on_is_told_without_a_restart),
        WITH_SERVER("what waits is bounded", test_what_waits_is_bounded),
        WITH_SERVER("a server that is full is told", test_a_server_that_is_full_is_told),
        WITH_SERVER("a server that is full is read all the same", test_a_server_that_is_full_is_read_all_the_same),
        WITH_SERVER("rubbish from the start is refused", test_rubbish_from_the_start_is_refused),
        WITH_SERVER("rubbish later is counted, and decisions go on", test_rubbish_later_is_counted_and_decisions_go_on),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("store redis", tests, NULL, NULL);
}
