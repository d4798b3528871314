/*
 * store/redis_connect - a connection to a redis server: TCP, UNIX socket, TLS; and what Sentinels know of it.
 *
 * In:     a URI, and which of its places.
 * Out:    a connection on which nothing was said yet; or why there is none.
 * Thread: any; waits for the server, a second for each step at most.
 * Source: https://redis.io/docs/reference/sentinel-clients/
 */
#ifndef POSTERN_STORE_REDIS_CONNECT_H
#define POSTERN_STORE_REDIS_CONNECT_H

#include <hiredis/hiredis.h>

#include "store/redis_uri.h"

/* Whether rediss:// can be used; what to do where it cannot is in the message. */
bool redis_has_tls(char *message, size_t size);

/* Where the server is that the place of this number leads to. False with what is wrong, in the server's own words. */
bool redis_find_place(const struct redis_uri *uri, unsigned number, struct redis_place *place, char *why, size_t size);

/* NULL with what is wrong. */
redisContext *redis_connect(const struct redis_uri *uri, const struct redis_place *place, char *why, size_t size);

#endif
