/*
 * The store redis: records with a server that several gateways share, behind the table.
 *
 * Each thread has a connection of its own, on which it sends all of a batch and then reads all that is answered. What
 * the server does not answer within REPLY_MS ends the connection; the thread that writes makes it anew. While there is
 * none, questions fail at once and puts wait in the table.
 *
 * Where the URI leads to several places, the first of them that takes writes is used; where none does, the first that
 * can be read, and others are looked for again every LOOK_MS.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/hex.h"
#include "store/backend.h"
#include "store/record.h"
#include "store/redis_connect.h"
#include "store/redis_uri.h"
#include "store/redis_walk.h"
#include "store/redis_words.h"

#define FORMAT "1" /* docs/store.md */

enum {
    ANSWER_MAX = 1 << 20,
    REPLY_MS = 2000,     /* of all that was asked at once */
    LOOK_UP_MS = 50,     /* while it waits for an answer: whether the store ends */
    PAUSE_LEAST_MS = 50, /* between attempts to connect; doubled each time */
    PAUSE_MOST_MS = 2000,
    WHY_BYTES = 256,
    REFUSED_MS = 500, /* puts wait so long after one that the server refused */
    OUTDATE_MS = 400, /* what was learnt counts for twice that at most: other gateways write too */
    LOOK_MS = 5000,   /* how often the server is asked what it keeps, and under which secret */
};

#if HIREDIS_MAJOR >= 1
typedef size_t array_count;
#else
typedef int array_count;
#endif

struct link {
    redisContext *context; /* NULL: apart */
    redisReplyObjectFunctions reading;
    uint32_t welcomes;  /* answers to AUTH and SELECT that are to come first */
    uint32_t under_way; /* commands without an answer */
    int64_t until_ms;   /* for those */
    uint32_t place;     /* `place_number` when it was made */
};

struct redis {
    struct redis_uri uri;
    struct link reader, writer;
    pthread_mutex_t place_lock;
    struct redis_place place;      /* where the server is that is used */
    _Atomic uint32_t place_number; /* one more whenever that changes */
    bool been_up;
    bool takes_none;   /* what it was asked to keep it refused: perhaps another one is the master now */
    int64_t search_ms; /* from when another one may be looked for */
    int64_t next_attempt_ms, pause_ms;
    int64_t writes_from_ms, outdate_ms, look_ms;
};

/* ---- faults ---- */

/* Where the server is. */
static struct redis_place place_of(struct redis *redis)
{
    pthread_mutex_lock(&redis->place_lock);
    struct redis_place place = redis->place;
    pthread_mutex_unlock(&redis->place_lock);
    return place;
}

/* Whether its URI leaves open where the server is. */
static bool has_choice(const struct redis *redis)
{
    return redis->uri.place_count > 1 || *redis->uri.master;
}

static void tell(struct store *store, enum store_fault_of of, const char *what, const char *words)
{
    struct redis *redis = store->state;
    char quoted[REDIS_QUOTED_BYTES], fault[STORE_MESSAGE_BYTES_MAX], at[sizeof redis->place.host + 16] = "";
    redis_quote_without(words, redis->uri.password, quoted);
    struct redis_place place = place_of(redis);
    if (has_choice(redis))
        snprintf(at, sizeof at, "%s:%d: ", place.host, place.port);
    snprintf(fault, sizeof fault, "%s: %.100s%s%s%s", redis->uri.name, at, what, *quoted ? ": " : "", quoted);
    store_set_fault(store, of, fault);
}

static void part(struct link *link)
{
    if (link->context)
        redisFree(link->context);
    *link = (struct link){0};
}

/* The connection is over. Returns false. */
static bool give_up(struct store *store, struct link *link, const char *what, const char *words)
{
    atomic_store(&store->down, true);
    tell(store, FAULT_PLACE, what, words);
    part(link);
    return false;
}

static bool is_text(const redisReply *reply, const char *text)
{
    return (reply->type == REDIS_REPLY_STATUS || reply->type == REDIS_REPLY_STRING) && reply->len == strlen(text) &&
           memcmp(reply->str, text, reply->len) == 0;
}

/* ---- asking ---- */

static bool ask(struct link *link, int count, const char **words, const size_t *lens)
{
    if (!link->context || redisAppendCommandArgv(link->context, count, words, lens) != REDIS_OK)
        return false;
    link->under_way++;
    return true;
}

/* All that was asked goes out. */
static bool send_all(struct store *store, struct link *link)
{
    int done = 0;
    link->until_ms = store_clock_ms() + REPLY_MS;
    while (link->context && !done)
        if (redisBufferWrite(link->context, &done) != REDIS_OK)
            return give_up(store, link, "the connection broke", link->context->errstr);
    return link->context != NULL;
}

/* Until there is something to read. False where it is late, or the store ends. */
static bool wait_for_octets(const struct store *store, const struct link *link)
{
    struct pollfd fd = {.fd = link->context->fd, .events = POLLIN};
    while (store_clock_ms() < link->until_ms && !atomic_load(&store->ending))
        if (poll(&fd, 1, LOOK_UP_MS) > 0)
            return true;
    return false;
}

/* The next answer, to be freed; NULL where the connection is over. */
static redisReply *next_reply(struct store *store, struct link *link)
{
    void *reply = NULL;
    while (link->context && redisGetReplyFromReader(link->context, &reply) == REDIS_OK && !reply) {
        if (link->context->reader->len > ANSWER_MAX)
            give_up(store, link, "its answer is too long", NULL);
        else if (!wait_for_octets(store, link))
            give_up(store, link, "gives no answer", NULL);
        else if (redisBufferRead(link->context) != REDIS_OK)
            give_up(store, link, "the connection broke", link->context->errstr);
    }
    if (link->context && !reply)
        give_up(store, link, "the connection broke", link->context->errstr);
    if (reply && --link->under_way == 0 && link->context->reader->pos < link->context->reader->len)
        give_up(store, link, "says more than it was asked", NULL);
    return reply;
}

/* Nobody has asked it anything: what it says now is an end, or not for us. */
static bool is_there(struct store *store, struct link *link)
{
    char octet;
    if (!link->context)
        return false;
    ssize_t got = recv(link->context->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    return give_up(store, link, got > 0 ? "says more than it was asked" : "the connection broke", NULL);
}

/* ---- who is there ---- */

/* No command of ours is answered by a list, and a stranger's may be of any length. */
static void *refuse_array(const redisReadTask *task, array_count count)
{
    (void)task;
    (void)count;
    return NULL;
}

static bool ask_text(struct link *link, int count, const char **words)
{
    return ask(link, count, words, NULL);
}

static bool connect_to(struct store *store, struct link *link)
{
    struct redis *redis = store->state;
    const struct redis_uri *uri = &redis->uri;
    char db[16], why[WHY_BYTES];
    part(link);
    link->place = atomic_load(&redis->place_number);
    struct redis_place place = place_of(redis);
    link->context = redis_connect(uri, &place, why, sizeof why);
    if (!link->context)
        return give_up(store, link, "cannot be reached", why);
    link->reading = *link->context->reader->fn;
    link->reading.createArray = refuse_array;
    link->context->reader->fn = &link->reading;
    snprintf(db, sizeof db, "%d", uri->db);
    if (*uri->user)
        ask_text(link, 3, (const char *[]){"AUTH", uri->user, uri->password});
    else if (*uri->password)
        ask_text(link, 2, (const char *[]){"AUTH", uri->password});
    ask_text(link, 2, (const char *[]){"SELECT", db});
    link->welcomes = link->under_way;
    return true;
}

/* Whether it has let us in, on a connection that is new. */
static bool take_welcomes(struct store *store, struct link *link)
{
    bool good = true;
    while (good && link->welcomes) {
        redisReply *welcome = next_reply(store, link);
        good =
            welcome && (welcome->type != REDIS_REPLY_ERROR || give_up(store, link, "does not let us in", welcome->str));
        freeReplyObject(welcome);
        link->welcomes -= good;
    }
    return good;
}

/* The answer to GET, behind the one to SET NX: what is there already holds, and a server that takes nothing (full, a
   replica) may still be read. */
static redisReply *agreed(struct store *store, struct link *link, char refused[REDIS_QUOTED_BYTES])
{
    redisReply *offered = next_reply(store, link);
    redis_quote(offered && offered->type == REDIS_REPLY_ERROR ? offered->str : NULL, refused);
    freeReplyObject(offered);
    return next_reply(store, link);
}

static bool refuse(struct store *store, struct link *link, const redisReply *reply, const char *refused)
{
    return give_up(store, link, "cannot be used",
                   reply->type == REDIS_REPLY_NIL && *refused ? refused : redis_error_words(reply));
}

static bool take_format(struct store *store, struct link *link, const redisReply *reply, const char *refused)
{
    if (!reply || is_text(reply, FORMAT))
        return reply != NULL;
    if (reply->type != REDIS_REPLY_STRING)
        return refuse(store, link, reply, refused);
    return give_up(store, link,
                   "another version of postern keeps its records there (this one knows format " FORMAT
                   "); name another database, format there",
                   reply->str);
}

/* The first gateway made it. A server that lost all gets it back from whoever comes first. */
static bool take_secret(struct store *store, struct link *link, const redisReply *reply, const char *refused)
{
    struct redis *redis = store->state;
    uint8_t secret[STORE_SECRET_BYTES];
    if (!reply)
        return false;
    if (reply->type != REDIS_REPLY_STRING ||
        !hex_read((struct span){(const uint8_t *)reply->str, reply->len}, secret, sizeof secret))
        return refuse(store, link, reply, refused);
    if (!redis->been_up)
        memcpy(store->secret, secret, sizeof secret);
    if (memcmp(secret, store->secret, sizeof secret) != 0)
        tell(store, FAULT_RECORDS, "another gateway began anew there; restart postern to share with it", NULL);
    else
        store_set_fault(store, FAULT_RECORDS, NULL);
    return true;
}

/* Which format and secret records there have; ours where it has none. */
static bool greet(struct store *store)
{
    struct redis *redis = store->state;
    struct link *link = &redis->writer;
    char secret[2 * STORE_SECRET_BYTES + 1] = "", refused[REDIS_QUOTED_BYTES];
    hex_write(store->secret, STORE_SECRET_BYTES, secret);
    ask_text(link, 4, (const char *[]){"SET", "postern:format", FORMAT, "NX"});
    ask_text(link, 2, (const char *[]){"GET", "postern:format"});
    ask_text(link, 4, (const char *[]){"SET", "postern:secret", secret, "NX"});
    ask_text(link, 2, (const char *[]){"GET", "postern:secret"});
    if (!send_all(store, link) || !take_welcomes(store, link))
        return false;
    redisReply *reply = agreed(store, link, refused);
    redis->takes_none = *refused != '\0';
    bool good = take_format(store, link, reply, refused);
    freeReplyObject(reply);
    reply = good ? agreed(store, link, refused) : NULL;
    good = good && take_secret(store, link, reply, refused);
    freeReplyObject(reply);
    return good && link->context;
}

/* How many records it has, about. */
static void count_records(struct store *store)
{
    struct link *link = &((struct redis *)store->state)->writer;
    ask_text(link, 1, (const char *[]){"DBSIZE"});
    redisReply *reply = send_all(store, link) ? next_reply(store, link) : NULL;
    if (reply && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0)
        atomic_store(&store->records, (uint64_t)reply->integer);
    freeReplyObject(reply);
}

static void go_up(struct store *store)
{
    struct redis *redis = store->state;
    atomic_fetch_add(&store->reconnects, redis->been_up);
    redis->been_up = true;
    redis->pause_ms = PAUSE_LEAST_MS;
    redis->writes_from_ms = 0;
    table_outdate(&store->table);
    store_set_fault(store, FAULT_WRITING, NULL);
    store_set_fault(store, FAULT_PLACE, NULL);
    atomic_store(&store->down, false);
}

static void use_place(struct redis *redis, const struct redis_place *place)
{
    bool same = redis->place.port == place->port && strcmp(redis->place.host, place->host) == 0;
    if (same)
        return;
    pthread_mutex_lock(&redis->place_lock);
    redis->place = *place;
    pthread_mutex_unlock(&redis->place_lock);
    atomic_fetch_add(&redis->place_number, 1);
}

/* Whether the server that the place of this number leads to can be used. */
static bool try_place(struct store *store, unsigned number)
{
    struct redis *redis = store->state;
    struct redis_place place;
    char why[WHY_BYTES];
    bool found = redis_find_place(&redis->uri, number, &place, why, sizeof why);
    use_place(redis, found ? &place : &redis->uri.places[number]);
    if (!found)
        return give_up(store, &redis->writer, "cannot be reached", why);
    return connect_to(store, &redis->writer) && greet(store);
}

/* The first that takes writes, else the first that can be read. */
static bool find_server(struct store *store)
{
    struct redis *redis = store->state;
    unsigned count = redis->uri.place_count, readable = count;
    for (unsigned i = 0; i < count && !atomic_load(&store->ending); i++) {
        if (!try_place(store, i))
            continue;
        if (!redis->takes_none || count == 1)
            return true;
        readable = readable < count ? readable : i;
    }
    return readable < count && try_place(store, readable);
}

/* Where the thread that reads has lost its connection, too. */
static bool reach(struct store *store)
{
    struct redis *redis = store->state;
    redis->search_ms = store_clock_ms() + LOOK_MS;
    if ((redis->writer.context && greet(store)) || find_server(store)) {
        go_up(store);
        return true;
    }
    redis->next_attempt_ms = store_clock_ms() + redis->pause_ms;
    redis->pause_ms = redis->pause_ms * 2 < PAUSE_MOST_MS ? redis->pause_ms * 2 : PAUSE_MOST_MS;
    return false;
}

static void redis_tend(struct store *store)
{
    struct redis *redis = store->state;
    int64_t now_ms = store_clock_ms();
    if (!is_there(store, &redis->writer) || atomic_load(&store->down)) {
        if (now_ms >= redis->next_attempt_ms)
            reach(store);
        return;
    }
    if (redis->takes_none && has_choice(redis) && now_ms >= redis->search_ms) {
        part(&redis->writer);
        reach(store);
        return;
    }
    if (now_ms >= redis->outdate_ms) {
        table_outdate(&store->table);
        redis->outdate_ms = now_ms + OUTDATE_MS;
    }
    if (now_ms >= redis->look_ms) {
        redis->look_ms = now_ms + LOOK_MS;
        if (greet(store)) /* somebody may have emptied it */
            count_records(store);
    }
}

/* ---- records ---- */

static struct store_reply reply_of(const struct store_key *key, const redisReply *reply)
{
    struct store_reply made = {.status = reply->type == REDIS_REPLY_NIL ? STORE_ABSENT : STORE_FAILED};
    struct span text;
    if (reply->type == REDIS_REPLY_STRING &&
        record_decode(key, (struct span){(const uint8_t *)reply->str, reply->len}, &made.record, &text) == RECORD_GOOD)
        made.status = STORE_GOOD;
    return made;
}

static void redis_get(struct store *store, const struct store_key *keys, struct store_reply *replies, size_t count)
{
    struct redis *redis = store->state;
    struct link *link = &redis->reader;
    if (link->place != atomic_load(&redis->place_number))
        part(link);
    if (atomic_load(&store->down) || (!is_there(store, link) && !connect_to(store, link)))
        return;
    for (size_t i = 0; i < count; i++) {
        char name[REDIS_NAME_BYTES];
        redis_name_of(&keys[i], name);
        ask(link, 2, (const char *[]){"GET", name}, (size_t[]){3, sizeof name});
    }
    bool good = send_all(store, link) && take_welcomes(store, link);
    for (size_t i = 0; i < count && good; i++) {
        redisReply *reply = next_reply(store, link);
        if (reply)
            replies[i] = reply_of(&keys[i], reply);
        freeReplyObject(reply);
        good = link->context != NULL;
    }
}

static void ask_to_write(const struct store *store, struct link *link, const struct table_write *put)
{
    char name[REDIS_NAME_BYTES], seconds[24];
    uint8_t stored[RECORD_BYTES_MAX];
    int64_t now_s = store_now_s(store), expires_s = put->record.expires_s;
    redis_name_of(&put->key, name);
    if (put->absent || store_is_expired(&put->record, now_s)) {
        ask(link, 2, (const char *[]){"DEL", name}, (size_t[]){3, sizeof name});
        return;
    }
    size_t len = record_encode(stored, &put->key, &put->record, (struct span){put->text, put->text_len});
    int64_t left_s = expires_s < STORE_FOR_EVER ? expires_s - now_s : STORE_FOR_EVER;
    int digits = snprintf(seconds, sizeof seconds, "%lld", (long long)left_s);
    ask(link, 5, (const char *[]){"SET", name, (const char *)stored, "EX", seconds},
        (size_t[]){3, sizeof name, len, 2, (size_t)digits});
}

static bool redis_put(struct store *store, struct table_write *writes, size_t count)
{
    struct redis *redis = store->state;
    struct link *link = &redis->writer;
    char refused[REDIS_QUOTED_BYTES] = "";
    if (atomic_load(&store->down) || store_clock_ms() < redis->writes_from_ms || !is_there(store, link))
        return false;
    for (size_t i = 0; i < count; i++)
        ask_to_write(store, link, &writes[i]);
    bool good = send_all(store, link);
    for (size_t i = 0; i < count && good; i++) {
        redisReply *reply = next_reply(store, link);
        if (reply && reply->type != REDIS_REPLY_INTEGER && !is_text(reply, "OK"))
            redis_quote(redis_error_words(reply), refused);
        good = reply && (link->context || i + 1 == count);
        freeReplyObject(reply);
    }
    if (*refused) {
        redis->writes_from_ms = store_clock_ms() + REFUSED_MS;
        tell(store, FAULT_WRITING, "does not take what is to be kept", refused);
        if (strncmp(refused, "READONLY", 8) == 0 && !redis->takes_none) {
            redis->takes_none = true; /* it was the master until now */
            redis->search_ms = 0;
        }
    } else if (good) {
        store_set_fault(store, FAULT_WRITING, NULL);
    }
    return good && !*refused;
}

/* ---- opening ---- */

static bool redis_understands(const char *rest, char *message, size_t size)
{
    struct redis_uri uri;
    char why[STORE_MESSAGE_BYTES_MAX];
    if (!redis_uri_parse(&uri, rest, message, size))
        return false;
    if (!uri.tls || redis_has_tls(why, sizeof why))
        return true;
    snprintf(message, size, "%.200s: %s", uri.name, why);
    return false;
}

static bool open_redis(struct store *store, const char *rest, char *message, size_t size)
{
    struct redis *redis = calloc(1, sizeof *redis);
    store->state = redis;
    if (!redis) {
        snprintf(message, size, "redis: no memory for it");
        return false;
    }
    redis->pause_ms = PAUSE_LEAST_MS;
    pthread_mutex_init(&redis->place_lock, NULL);
    store_note_kinds(store, UINT32_MAX); /* what other gateways put there is nowhere summed up */
    if (!redis_understands(rest, message, size) || !redis_uri_parse(&redis->uri, rest, message, size))
        return false;
    if (!store_random(store->secret, sizeof store->secret))
        snprintf(message, size, "%s: the kernel gives no random octets", redis->uri.name);
    else if (!reach(store))
        store_fault(store, message, size);
    return message[0] == '\0';
}

static void close_redis(struct store *store)
{
    struct redis *redis = store->state;
    part(&redis->reader);
    part(&redis->writer);
    pthread_mutex_destroy(&redis->place_lock);
    free(redis);
}

static bool walk_redis(struct store *store, store_visit *visit, void *context, uint64_t *unread, char *message,
                       size_t size)
{
    struct redis *redis = store->state;
    struct redis_place place = place_of(redis);
    return redis_walk(&redis->uri, &place, REPLY_MS, visit, context, unread, message, size);
}

const struct store_backend store_redis = {
    .scheme = "redis",
    .is_shared = true,
    .understands = redis_understands,
    .tick_ms = 50, /* other gateways wait for it */
    .open = open_redis,
    .close = close_redis,
    .get_batch = redis_get,
    .put_batch = redis_put,
    .tend = redis_tend,
    .walk = walk_redis,
};
