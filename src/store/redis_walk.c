#include "store/redis_walk.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <sys/time.h>

#include "base/hex.h"
#include "store/record.h"
#include "store/redis_connect.h"
#include "store/redis_words.h"

struct walk {
    const struct redis_uri *uri;
    redisContext *connection;
    store_visit *visit;
    void *context;
    bool more;
    uint64_t *unread;
    char *message;
    size_t size;
};

static bool complain(struct walk *walk, const char *words)
{
    char quoted[REDIS_QUOTED_BYTES];
    redis_quote_without(words, walk->uri->password, quoted);
    snprintf(walk->message, walk->size, "%s: cannot be read: %s", walk->uri->name, quoted);
    return false;
}

/* An answer of this type, or NULL with a message; to be freed. */
static redisReply *ask(struct walk *walk, int type, int count, const char **words)
{
    redisReply *reply = redisCommandArgv(walk->connection, count, words, NULL);
    if (reply && reply->type == type)
        return reply;
    complain(walk, reply ? redis_error_words(reply) : walk->connection->errstr);
    freeReplyObject(reply);
    return NULL;
}

static bool decode(const redisReply *name, const redisReply *value, struct store_key *key, struct store_record *record,
                   struct span *text)
{
    struct span digits = {(const uint8_t *)name->str + sizeof REDIS_PREFIX - 1, name->len - (sizeof REDIS_PREFIX - 1)};
    return value->type == REDIS_REPLY_STRING && hex_read(digits, key->octets, sizeof key->octets) &&
           record_decode(key, (struct span){(const uint8_t *)value->str, value->len}, record, text) == RECORD_GOOD;
}

/* What stands there may be anybody's, even a list; but a server that refuses to answer says nothing of the record. */
static bool visit_one(struct walk *walk, const redisReply *name, const redisReply *value)
{
    struct store_key key;
    struct store_record record;
    struct span text;
    if (value->type == REDIS_REPLY_NIL)
        return true; /* gone meanwhile */
    if (value->type == REDIS_REPLY_ERROR && strncmp(value->str, "WRONGTYPE", 9) != 0)
        return complain(walk, redis_error_words(value));
    if (decode(name, value, &key, &record, &text))
        walk->more = walk->visit(walk->context, &key, &record, text);
    else
        ++*walk->unread;
    return true;
}

static bool visit_names(struct walk *walk, const redisReply *names)
{
    for (size_t i = 0; i < names->elements && walk->more; i++) {
        const redisReply *name = names->element[i];
        if (name->type != REDIS_REPLY_STRING || name->len != REDIS_NAME_BYTES)
            continue;
        redisReply *value = redisCommand(walk->connection, "GET %b", name->str, name->len);
        bool good = value ? visit_one(walk, name, value) : complain(walk, walk->connection->errstr);
        freeReplyObject(value);
        if (!good)
            return false;
    }
    return true;
}

static bool walk_all(struct walk *walk)
{
    static const char pattern[] = REDIS_PREFIX "*";
    char cursor[24] = "0";
    do {
        const char *words[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"};
        redisReply *step = ask(walk, REDIS_REPLY_ARRAY, 6, words);
        if (!step)
            return false;
        bool good = step->elements == 2 && step->element[0]->type == REDIS_REPLY_STRING &&
                    step->element[0]->len < sizeof cursor && step->element[1]->type == REDIS_REPLY_ARRAY;
        if (good)
            snprintf(cursor, sizeof cursor, "%s", step->element[0]->str);
        else
            complain(walk, redis_error_words(step));
        good = good && visit_names(walk, step->element[1]);
        freeReplyObject(step);
        if (!good)
            return false;
    } while (walk->more && strcmp(cursor, "0") != 0);
    return true;
}

static bool greet(struct walk *walk)
{
    const struct redis_uri *uri = walk->uri;
    char db[16];
    redisReply *reply;
    snprintf(db, sizeof db, "%d", uri->db);
    if (*uri->user || *uri->password) {
        reply = *uri->user ? ask(walk, REDIS_REPLY_STATUS, 3, (const char *[]){"AUTH", uri->user, uri->password})
                           : ask(walk, REDIS_REPLY_STATUS, 2, (const char *[]){"AUTH", uri->password});
        if (!reply)
            return false;
        freeReplyObject(reply);
    }
    reply = ask(walk, REDIS_REPLY_STATUS, 2, (const char *[]){"SELECT", db});
    freeReplyObject(reply);
    return reply != NULL;
}

bool redis_walk(const struct redis_uri *uri, const struct redis_place *place, uint32_t wait_ms, store_visit *visit,
                void *context, uint64_t *unread, char *message, size_t size)
{
    struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
    char why[256] = "no memory";
    struct walk walk = {uri, redis_connect(uri, place, why, sizeof why), visit, context, true, unread, message, size};
    bool good = walk.connection && redisSetTimeout(walk.connection, wait) == REDIS_OK;
    if (!good)
        complain(&walk, why);
    good = good && greet(&walk) && walk_all(&walk);
    if (walk.connection)
        redisFree(walk.connection);
    return good;
}
