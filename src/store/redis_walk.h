/*
 * store/redis_walk - every record that a redis server keeps, over a connection of its own.
 *
 * In:     where the server is, of those places that the URI leads to.
 * Out:    its records, in no order, some perhaps twice; one that is put or dropped meanwhile may come or not.
 * Thread: any; waits for the server.
 */
#ifndef POSTERN_STORE_REDIS_WALK_H
#define POSTERN_STORE_REDIS_WALK_H

#include "store/redis_uri.h"
#include "store/store.h"

/* `wait_ms` for each answer. False from `visit` ends the walk; false with a message where the records cannot be read.
 */
bool redis_walk(const struct redis_uri *uri, const struct redis_place *place, uint32_t wait_ms, store_visit *visit,
                void *context, uint64_t *unread, char *message, size_t size);

#endif
