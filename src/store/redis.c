/*
 * The store redis: records with a server that several gateways share, behind the table.
 *
 * One thread and one connection. Questions and puts are pipelined; what the server does not answer within REPLY_MS ends
 * the connection, which is then made anew. While there is none, questions fail at once and puts wait in the table.
 */
#include <errno.h>
#include <hiredis/async.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/hex.h"
#include "store/backend.h"
#include "store/record.h"
#include "store/redis_uri.h"
#include "store/redis_walk.h"
#include "store/redis_words.h"

#define FORMAT "1" /* docs/store.md */

enum {
    QUESTIONS_MAX = 1024, /* with the server at once */
    WRITES_MAX = 512,
    ANSWER_MAX = 1 << 20,
    REPLY_MS = 2000,
    OPEN_MS = 3000,
    PAUSE_LEAST_MS = 50, /* between attempts to connect; doubled each time */
    PAUSE_MOST_MS = 2000,
    REFUSED_MS = 500, /* puts wait so long after one that the server refused */
    TICK_MS = 50,     /* how long a put waits to be sent */
    OUTDATE_MS = 400, /* what was learnt counts for twice that at most: other gateways write too */
    LOOK_MS = 5000,   /* how often the server is asked what it keeps, and under which secret */
    WALK_FLUSH_MS = 5000,
};

#if HIREDIS_MAJOR >= 1
typedef size_t array_count;
#else
typedef int array_count;
#endif

enum phase {
    PHASE_APART,    /* no connection */
    PHASE_GREETING, /* connecting, or asking who is there */
    PHASE_UP,
};

struct redis;

struct redis_question {
    struct redis *redis;
    struct store_question asked;
    uint32_t generation;
    bool busy;
};

struct redis_write {
    struct redis *redis;
    struct table_write write;
    bool busy;
};

struct redis {
    struct store *store;
    struct redis_uri uri;
    pthread_t thread;
    bool running;
    _Atomic bool ending;
    _Atomic int phase;
    _Atomic bool been_up;
    _Atomic uint32_t attempts_failed;
    _Atomic uint64_t entries;

    /* The thread's own. */
    redisAsyncContext *connection;
    redisReplyObjectFunctions reading;
    bool want_read, want_write;
    bool refusing, other_secret;
    int64_t next_attempt_ms, pause_ms;
    int64_t waiting_since_ms; /* the last answer, or when the first command was sent behind none; 0 for nothing sent */
    int64_t writes_from_ms, outdate_ms, look_ms;
    uint32_t under_way; /* commands without an answer */
    uint32_t questions_busy, writes_busy;
    char last_words[STORE_MESSAGE_BYTES_MAX];
    char offer_refused[REDIS_QUOTED_BYTES]; /* why the server does not keep the format or the secret, if it does not */
    struct redis_question questions[QUESTIONS_MAX];
    struct redis_write writes[WRITES_MAX];
    struct table_write taken[WRITES_MAX];
};

/* ---- faults ---- */

static void tell(struct redis *redis, const char *what, const char *words)
{
    char quoted[REDIS_QUOTED_BYTES];
    redis_quote(words, quoted);
    snprintf(redis->last_words, sizeof redis->last_words, "%s: %s%s%s", redis->uri.name, what, *quoted ? ": " : "",
             quoted);
    store_set_fault(redis->store, redis->last_words);
}

/* Once nothing else is wrong. */
static void tell_what_remains(struct redis *redis)
{
    if (redis->other_secret)
        tell(redis, "another gateway began anew there; restart postern to share with it", NULL);
    else
        store_set_fault(redis->store, NULL);
}

static bool is_text(const redisReply *reply, const char *text)
{
    return reply && (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING) &&
           reply->len == strlen(text) && memcmp(reply->str, text, reply->len) == 0;
}

/* ---- sending ---- */

static void part(struct redis *redis, const char *what, const char *words)
{
    atomic_store(&redis->store->down, true);
    if (what)
        tell(redis, what, words);
    if (redis->connection)
        redisAsyncFree(redis->connection); /* all that is under way hears of it */
}

/* Every answer comes by here. One to no question would end the process in hiredis, so it must not get there. */
static void note_reply(struct redis *redis, const redisReply *reply)
{
    redis->under_way--;
    if (!reply)
        return;
    redis->waiting_since_ms = redis->under_way ? store_clock_ms() : 0;
    const redisReader *reader = redis->connection->c.reader;
    if (redis->under_way == 0 && reader->pos < reader->len)
        part(redis, "says more than it was asked", NULL);
}

static bool send_words(struct redis *redis, redisCallbackFn *answered, void *context, int count, const char **words,
                       const size_t *lens)
{
    if (!redis->connection || redisAsyncCommandArgv(redis->connection, answered, context, count, words, lens))
        return false;
    if (redis->under_way++ == 0)
        redis->waiting_since_ms = store_clock_ms();
    return true;
}

static bool send_text(struct redis *redis, redisCallbackFn *answered, int count, const char **words)
{
    size_t lens[8];
    assert(count <= 8);
    for (int i = 0; i < count; i++)
        lens[i] = strlen(words[i]);
    return send_words(redis, answered, redis, count, words, lens);
}

/* ---- questions ---- */

static void take_record(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    struct redis_question *question = context;
    struct redis *redis = question->redis;
    const redisReply *reply = answer;
    struct store_record record, known;
    struct span text;
    bool none = reply && reply->type == REDIS_REPLY_NIL;
    bool good = reply && reply->type == REDIS_REPLY_STRING &&
                record_decode(&question->asked.key, (struct span){(const uint8_t *)reply->str, reply->len}, &record,
                              &text) == RECORD_GOOD;
    note_reply(redis, reply);
    question->busy = false;
    redis->questions_busy--;
    if (!none && !good)
        store_answer(redis->store, &question->asked, STORE_FAILED, NULL);
    else if (table_learn(&redis->store->table, &question->asked.key, question->generation, store_now_s(redis->store),
                         good ? &record : NULL, &known) == TABLE_RECORD)
        store_answer(redis->store, &question->asked, STORE_GOOD, &known);
    else
        store_answer(redis->store, &question->asked, STORE_ABSENT, NULL);
}

static void send_question(struct redis *redis, const struct store_question *asked)
{
    char name[REDIS_NAME_BYTES];
    const char *words[] = {"GET", name};
    const size_t lens[] = {3, sizeof name};
    struct redis_question *question = redis->questions;
    while (question->busy)
        question++;
    *question = (struct redis_question){redis, *asked, table_generation(&redis->store->table), true};
    redis->questions_busy++;
    redis_name_of(&asked->key, name);
    if (!send_words(redis, take_record, question, 2, words, lens)) {
        question->busy = false;
        redis->questions_busy--;
        store_answer(redis->store, asked, STORE_FAILED, NULL);
    }
}

static void send_questions(struct redis *redis)
{
    struct store_question asked[64];
    size_t room = QUESTIONS_MAX - redis->questions_busy;
    for (size_t count = 1; room && count; room -= count) {
        count = store_questions(redis->store, asked, room < 64 ? room : 64);
        for (size_t i = 0; i < count; i++)
            if (redis->phase == PHASE_UP)
                send_question(redis, &asked[i]);
            else
                store_answer(redis->store, &asked[i], STORE_FAILED, NULL);
    }
}

/* ---- puts ---- */

static void settle(struct redis_write *write, bool written)
{
    table_settle(&write->redis->store->table, &write->write, 1, written);
    write->busy = false;
    write->redis->writes_busy--;
    if (written)
        atomic_fetch_add(&write->redis->store->written_count, 1);
}

static void take_written(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    struct redis_write *write = context;
    struct redis *redis = write->redis;
    const redisReply *reply = answer;
    bool written = reply && (reply->type == REDIS_REPLY_INTEGER || is_text(reply, "OK"));
    note_reply(redis, reply);
    settle(write, written);
    if (written && redis->refusing) {
        redis->refusing = false;
        tell_what_remains(redis);
    } else if (reply && !written) {
        redis->refusing = true;
        redis->writes_from_ms = store_clock_ms() + REFUSED_MS;
        tell(redis, "does not take what is to be kept", redis_error_words(reply));
    }
}

static void send_write(struct redis *redis, const struct table_write *put)
{
    char name[REDIS_NAME_BYTES], seconds[24];
    uint8_t stored[RECORD_BYTES_MAX];
    struct redis_write *write = redis->writes;
    while (write->busy)
        write++;
    *write = (struct redis_write){redis, *put, true};
    redis->writes_busy++;
    redis_name_of(&put->key, name);
    int64_t left_s = put->record.expires_s - store_now_s(redis->store);
    bool sent;
    if (put->absent || left_s <= 0) {
        sent = send_words(redis, take_written, write, 2, (const char *[]){"DEL", name}, (size_t[]){3, sizeof name});
    } else {
        size_t len = record_encode(stored, &put->key, &put->record, (struct span){put->text, put->text_len});
        int digits = snprintf(seconds, sizeof seconds, "%lld", (long long)(left_s < UINT32_MAX ? left_s : UINT32_MAX));
        const char *words[] = {"SET", name, (const char *)stored, "EX", seconds};
        sent = send_words(redis, take_written, write, 5, words, (size_t[]){3, sizeof name, len, 2, (size_t)digits});
    }
    if (!sent)
        settle(write, false);
}

static void send_writes(struct redis *redis, int64_t now_ms)
{
    struct table *table = &redis->store->table;
    for (uint32_t shard = 0; shard < table->shards_count; shard++) {
        if (redis->phase != PHASE_UP || now_ms < redis->writes_from_ms)
            return;
        size_t count = table_take_writes(table, shard, redis->taken, WRITES_MAX - redis->writes_busy);
        for (size_t i = 0; i < count; i++)
            send_write(redis, &redis->taken[i]);
    }
}

/* ---- who is there ---- */

static void go_up(struct redis *redis)
{
    if (redis->been_up)
        atomic_fetch_add(&redis->store->reconnects, 1);
    redis->been_up = true;
    redis->pause_ms = PAUSE_LEAST_MS;
    redis->refusing = false;
    table_outdate(&redis->store->table);
    table_outdate(&redis->store->table);
    tell_what_remains(redis);
    atomic_store(&redis->store->down, false);
    atomic_store(&redis->phase, PHASE_UP);
}

static void take_welcome(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    note_reply(context, answer);
    if (answer && ((redisReply *)answer)->type == REDIS_REPLY_ERROR)
        part(context, "does not let us in", ((redisReply *)answer)->str);
}

/* What is there already holds: a server that takes nothing (full, a replica) may still be read. */
static void take_offer(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    struct redis *redis = context;
    const redisReply *reply = answer;
    note_reply(redis, reply);
    if (reply && reply->type == REDIS_REPLY_ERROR)
        redis_quote(reply->str, redis->offer_refused);
}

static const char *words_without(const struct redis *redis, const redisReply *reply)
{
    bool refused = reply->type == REDIS_REPLY_NIL && redis->offer_refused[0];
    return refused ? redis->offer_refused : redis_error_words(reply);
}

static void take_format(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    struct redis *redis = context;
    const redisReply *reply = answer;
    note_reply(redis, reply);
    if (!reply || is_text(reply, FORMAT))
        return;
    if (reply->type == REDIS_REPLY_STRING)
        part(redis,
             "another version of postern keeps its records there (this one knows format " FORMAT
             "); name another database, format there",
             reply->str);
    else
        part(redis, "cannot be used", words_without(redis, reply));
}

/* The first gateway made it. A server that lost all gets it back from whoever comes first. */
static void take_secret(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    struct redis *redis = context;
    const redisReply *reply = answer;
    uint8_t secret[STORE_SECRET_BYTES];
    note_reply(redis, reply);
    if (!reply)
        return;
    if (reply->type != REDIS_REPLY_STRING ||
        !hex_read((struct span){(const uint8_t *)reply->str, reply->len}, secret, sizeof secret)) {
        part(redis, "cannot be used", words_without(redis, reply));
        return;
    }
    if (!redis->been_up)
        memcpy(redis->store->secret, secret, sizeof secret);
    bool other = memcmp(secret, redis->store->secret, sizeof secret) != 0, changed = other != redis->other_secret;
    redis->other_secret = other;
    if (redis->phase != PHASE_UP)
        go_up(redis);
    else if (changed && !redis->refusing)
        tell_what_remains(redis);
}

/* Which format and secret records there have; ours where it has none. */
static bool send_offers(struct redis *redis)
{
    char secret[2 * STORE_SECRET_BYTES + 1] = "";
    hex_write(redis->store->secret, STORE_SECRET_BYTES, secret);
    redis->offer_refused[0] = '\0';
    return send_text(redis, take_offer, 4, (const char *[]){"SET", "postern:format", FORMAT, "NX"}) &&
           send_text(redis, take_format, 2, (const char *[]){"GET", "postern:format"}) &&
           send_text(redis, take_offer, 4, (const char *[]){"SET", "postern:secret", secret, "NX"}) &&
           send_text(redis, take_secret, 2, (const char *[]){"GET", "postern:secret"});
}

static void greet(struct redis *redis)
{
    const struct redis_uri *uri = &redis->uri;
    char db[16];
    snprintf(db, sizeof db, "%d", uri->db);
    bool sent = true;
    if (*uri->user)
        sent = send_text(redis, take_welcome, 3, (const char *[]){"AUTH", uri->user, uri->password});
    else if (*uri->password)
        sent = send_text(redis, take_welcome, 2, (const char *[]){"AUTH", uri->password});
    if (!sent || !send_text(redis, take_welcome, 2, (const char *[]){"SELECT", db}) || !send_offers(redis))
        part(redis, "no memory for a connection", NULL);
}

/* ---- the connection ---- */

static void add_read(void *context)
{
    ((struct redis *)context)->want_read = true;
}

static void stop_read(void *context)
{
    ((struct redis *)context)->want_read = false;
}

static void add_write(void *context)
{
    ((struct redis *)context)->want_write = true;
}

static void stop_write(void *context)
{
    ((struct redis *)context)->want_write = false;
}

/* The connection is over, whoever ended it; hiredis frees it. */
static void forget_connection(void *context)
{
    struct redis *redis = context;
    redis->connection = NULL;
    redis->want_read = redis->want_write = false;
    redis->under_way = 0;
    redis->waiting_since_ms = 0;
    if (!redis->last_words[0] || atomic_load(&redis->phase) == PHASE_UP)
        tell(redis, "the connection broke", NULL);
    atomic_store(&redis->store->down, true);
    atomic_store(&redis->phase, PHASE_APART);
    atomic_fetch_add(&redis->attempts_failed, 1);
    redis->next_attempt_ms = store_clock_ms() + redis->pause_ms;
    redis->pause_ms = redis->pause_ms * 2 < PAUSE_MOST_MS ? redis->pause_ms * 2 : PAUSE_MOST_MS;
}

static void take_end(const redisAsyncContext *connection, int status)
{
    struct redis *redis = connection->data;
    atomic_store(&redis->store->down, true);
    if (status != REDIS_OK)
        tell(redis, "the connection broke", connection->errstr);
}

static void take_connected(const redisAsyncContext *connection, int status)
{
    struct redis *redis = connection->data;
    if (status != REDIS_OK)
        tell(redis, "cannot be reached", connection->errstr);
}

/* No command of the thread is answered by a list, and a stranger's may be of any length. */
static void *refuse_array(const redisReadTask *task, array_count count)
{
    (void)task;
    (void)count;
    return NULL;
}

static void connect_to(struct redis *redis)
{
    redis->last_words[0] = '\0';
    redisAsyncContext *connection = redisAsyncConnect(redis->uri.host, redis->uri.port);
    if (!connection || connection->err) {
        tell(redis, "cannot be reached", connection ? connection->errstr : "no memory");
        if (connection)
            redisAsyncFree(connection);
        forget_connection(redis);
        return;
    }
    redis->connection = connection;
    redis->reading = *connection->c.reader->fn;
    redis->reading.createArray = refuse_array;
    connection->c.reader->fn = &redis->reading;
    connection->data = redis;
    connection->ev.data = redis;
    connection->ev.addRead = add_read;
    connection->ev.delRead = stop_read;
    connection->ev.addWrite = add_write;
    connection->ev.delWrite = stop_write;
    connection->ev.cleanup = forget_connection;
    atomic_store(&redis->phase, PHASE_GREETING);
    redisAsyncSetDisconnectCallback(connection, take_end);
    redisAsyncSetConnectCallback(connection, take_connected);
    greet(redis);
}

/* ---- the thread ---- */

static void take_count(redisAsyncContext *connection, void *answer, void *context)
{
    (void)connection;
    struct redis *redis = context;
    const redisReply *reply = answer;
    note_reply(redis, reply);
    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0)
        atomic_store(&redis->entries, (uint64_t)reply->integer);
}

static void keep_time(struct redis *redis, int64_t now_ms)
{
    if (!redis->connection && now_ms >= redis->next_attempt_ms)
        connect_to(redis);
    if (redis->waiting_since_ms && now_ms - redis->waiting_since_ms > REPLY_MS)
        part(redis, "gives no answer", NULL);
    if (redis->phase != PHASE_UP)
        return;
    if (now_ms >= redis->outdate_ms) {
        table_outdate(&redis->store->table);
        redis->outdate_ms = now_ms + OUTDATE_MS;
    }
    if (now_ms >= redis->look_ms) {
        send_text(redis, take_count, 1, (const char *[]){"DBSIZE"});
        send_offers(redis); /* somebody may have emptied it */
        redis->look_ms = now_ms + LOOK_MS;
    }
}

static void read_answers(struct redis *redis)
{
    char octet;
    if (redis->under_way == 0) {
        bool ended = recv(redis->connection->c.fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
        part(redis, ended ? "the connection broke" : "says more than it was asked", NULL);
        return;
    }
    redisAsyncHandleRead(redis->connection);
    if (redis->connection && redis->connection->c.reader->len > ANSWER_MAX)
        part(redis, "its answer is too long", NULL);
}

static void wait_for_something(struct redis *redis)
{
    struct store *store = redis->store;
    struct pollfd fds[3] = {{.fd = store->asked.fd, .events = POLLIN}, {.fd = store->written.fd, .events = POLLIN}};
    nfds_t count = 2;
    if (redis->connection)
        fds[count++] =
            (struct pollfd){.fd = redis->connection->c.fd,
                            .events = (short)((redis->want_read ? POLLIN : 0) | (redis->want_write ? POLLOUT : 0))};
    waker_about_to_sleep(&store->asked);
    waker_about_to_sleep(&store->written);
    bool can_ask = redis->questions_busy < QUESTIONS_MAX && store_has_questions(store);
    poll(fds, count, can_ask ? 0 : TICK_MS);
    waker_awake(&store->asked);
    waker_awake(&store->written);
    if (count == 3 && fds[2].revents & (POLLIN | POLLERR | POLLHUP) && redis->connection)
        read_answers(redis);
    if (count == 3 && fds[2].revents & POLLOUT && redis->connection)
        redisAsyncHandleWrite(redis->connection);
}

static void *redis_thread(void *context)
{
    struct redis *redis = context;
    while (!atomic_load(&redis->ending)) {
        int64_t now_ms = store_clock_ms();
        keep_time(redis, now_ms);
        send_questions(redis);
        send_writes(redis, now_ms);
        wait_for_something(redis);
    }
    part(redis, NULL, NULL);
    return NULL;
}

static bool open_redis(struct store *store, const char *rest, char *message, size_t size)
{
    struct redis *redis = calloc(1, sizeof *redis);
    store->state = redis;
    if (!redis) {
        snprintf(message, size, "redis: no memory for it");
        return false;
    }
    redis->store = store;
    redis->pause_ms = PAUSE_LEAST_MS;
    atomic_store(&store->down, true);
    store_note_kinds(store, UINT32_MAX); /* what other gateways put there is nowhere summed up */
    if (!redis_uri_parse(&redis->uri, rest, message, size))
        return false;
    redis->running =
        store_random(store->secret, sizeof store->secret) && store_start(&redis->thread, redis_thread, redis);
    if (!redis->running) {
        snprintf(message, size, "%s: cannot start its thread", redis->uri.name);
        return false;
    }
    int64_t until_ms = store_clock_ms() + OPEN_MS;
    while (!atomic_load(&redis->been_up) && !atomic_load(&redis->attempts_failed) && store_clock_ms() < until_ms)
        poll(NULL, 0, 2);
    if (atomic_load(&redis->been_up))
        return true;
    if (!store_fault(store, message, size))
        snprintf(message, size, "%s: gives no answer", redis->uri.name);
    return false;
}

static bool close_redis(struct store *store, uint32_t wait_ms)
{
    struct redis *redis = store->state;
    if (!redis)
        return true;
    if (redis->running) {
        store_flush(store, wait_ms);
        atomic_store(&redis->ending, true);
        waker_wake(&store->asked);
        if (!store_join(redis->thread))
            return false;
    }
    free(redis);
    return true;
}

static uint64_t redis_records(struct store *store)
{
    struct redis *redis = store->state;
    return atomic_load(&redis->entries);
}

static bool walk_redis(struct store *store,
                       bool (*visit)(void *context, const struct store_key *key, const struct store_record *record,
                                     struct span text),
                       void *context, char *message, size_t size)
{
    const struct redis *redis = store->state;
    store_flush(store, WALK_FLUSH_MS);
    return redis_walk(&redis->uri, REPLY_MS, visit, context, message, size);
}

const struct store_backend store_redis = {
    .scheme = "redis://",
    .has_table = true,
    .open = open_redis,
    .close = close_redis,
    .records = redis_records,
    .walk = walk_redis,
};
