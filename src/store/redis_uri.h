/*
 * store/redis_uri - redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]
 *
 * A host with colons stands in brackets. Octets of user and password may be written as %XX (RFC 3986 2.1).
 */
#ifndef POSTERN_STORE_REDIS_URI_H
#define POSTERN_STORE_REDIS_URI_H

#include <stdbool.h>
#include <stddef.h>

struct redis_uri {
    char user[128], password[128]; /* empty where there is none */
    char host[256];
    int port, db;
    char name[300]; /* for messages: without user and password */
};

/* `rest` is what stands behind redis://. False with a message that does not show the password. */
bool redis_uri_parse(struct redis_uri *uri, const char *rest, char *message, size_t size);

#endif
