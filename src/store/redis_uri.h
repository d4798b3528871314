/*
 * store/redis_uri - where a redis server is, or several of which one is used, and who we are there.
 *
 *     redis://[[USER]:PASSWORD@]HOST[:PORT][,HOST[:PORT]...][/DB]
 *     rediss://...                                                           the same over TLS
 *     redis+unix://[[USER]:PASSWORD@]/PATH[?db=DB]                           a UNIX socket
 *     redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT][,...]/MASTER[/DB]       Sentinels know where the server is
 *     rediss+sentinel://...
 *
 * A host with colons stands in brackets. Octets of user and password may be written as %XX (RFC 3986 2.1).
 */
#ifndef POSTERN_STORE_REDIS_URI_H
#define POSTERN_STORE_REDIS_URI_H

#include <stdbool.h>
#include <stddef.h>

#define REDIS_PLACES_MAX 8

struct redis_place {
    char host[256]; /* or the path of a UNIX socket */
    int port;       /* 0: it is one */
};

struct redis_uri {
    char user[128], password[128]; /* empty where there is none */
    struct redis_place places[REDIS_PLACES_MAX];
    unsigned place_count;
    char master[128]; /* whom the Sentinels at these places are asked for; empty: the servers are there */
    bool tls;
    int db;
    char name[300]; /* for messages: without user and password */
};

/* `rest` is what stands behind "redis". False with a message that does not show the password. */
bool redis_uri_parse(struct redis_uri *uri, const char *rest, char *message, size_t size);

#endif
