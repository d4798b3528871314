#include "store/redis_connect.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#ifdef POSTERN_HIREDIS_SSL
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

enum { CONNECT_MS = 1000 };

/* ---- TLS ---- */

#ifdef POSTERN_HIREDIS_SSL

static SSL_CTX *tls;

static void make_tls(void)
{
    tls = SSL_CTX_new(TLS_client_method());
    if (!tls)
        return;
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_default_verify_paths(tls); /* the system's; SSL_CERT_FILE names others */
}

bool redis_has_tls(char *message, size_t size)
{
    (void)message, (void)size;
    return true;
}

/* The certificate must be for this host, by name or by address. */
static bool name_host(SSL *ssl, const char *host)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static bool begin_tls(redisContext *context, const struct redis_place *place, char *why, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_tls);
    SSL *ssl = tls ? SSL_new(tls) : NULL;
    if (!ssl || !name_host(ssl, place->host)) {
        SSL_free(ssl);
        snprintf(why, size, "no memory for TLS");
        return false;
    }
    if (redisInitiateSSL(context, ssl) == REDIS_OK) /* which owns it, whatever comes of it */
        return true;
    snprintf(why, size, "TLS: %s", context->errstr);
    return false;
}

#else

bool redis_has_tls(char *message, size_t size)
{
    snprintf(
        message, size,
        "this postern was built without TLS for redis: build it where pkg-config finds hiredis_ssl (hiredis 1.0 or "
        "later, and OpenSSL), or let stunnel listen on this machine and write redis://127.0.0.1");
    return false;
}

static bool begin_tls(redisContext *context, const struct redis_place *place, char *why, size_t size)
{
    (void)context, (void)place;
    return redis_has_tls(why, size);
}

#endif

/* ---- connections ---- */

redisContext *redis_connect(const struct redis_uri *uri, const struct redis_place *place, char *why, size_t size)
{
    const struct timeval wait = {.tv_sec = CONNECT_MS / 1000};
    redisContext *context = place->port ? redisConnectWithTimeout(place->host, place->port, wait)
                                        : redisConnectUnixWithTimeout(place->host, wait);
    bool good = context && !context->err && redisSetTimeout(context, wait) == REDIS_OK;
    if (!good)
        snprintf(why, size, "%s", context ? context->errstr : "no memory");
    if (good && (!uri->tls || begin_tls(context, place, why, size)))
        return context;
    if (context)
        redisFree(context);
    return NULL;
}

/* ---- Sentinels ---- */

static redisReply *ask_sentinel(redisContext *context, const struct redis_uri *uri)
{
    return redisCommand(context, "SENTINEL get-master-addr-by-name %s", uri->master);
}

/* Those that want one are told the password of the server; others need not know it. */
static redisReply *ask_as_user(redisContext *context, const struct redis_uri *uri, redisReply *refusal)
{
    freeReplyObject(refusal);
    refusal = *uri->user ? redisCommand(context, "AUTH %s %s", uri->user, uri->password)
                         : redisCommand(context, "AUTH %s", uri->password);
    if (!refusal || refusal->type == REDIS_REPLY_ERROR)
        return refusal;
    freeReplyObject(refusal);
    return ask_sentinel(context, uri);
}

static bool take_address(const redisReply *reply, struct redis_place *place)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_STRING || reply->element[0]->len >= sizeof place->host)
        return false;
    snprintf(place->host, sizeof place->host, "%s", reply->element[0]->str);
    place->port = atoi(reply->element[1]->str);
    return place->port > 0 && place->port <= 65535;
}

bool redis_find_place(const struct redis_uri *uri, unsigned number, struct redis_place *place, char *why, size_t size)
{
    *place = uri->places[number];
    if (!*uri->master)
        return true;
    redisContext *context = redis_connect(uri, place, why, size);
    if (!context)
        return false;
    redisReply *reply = ask_sentinel(context, uri);
    if (reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOAUTH", 6) == 0 && *uri->password)
        reply = ask_as_user(context, uri, reply);
    bool good = reply && take_address(reply, place);
    if (!reply)
        snprintf(why, size, "%s", context->errstr);
    else if (!good && reply->type == REDIS_REPLY_NIL)
        snprintf(why, size, "this Sentinel knows no %.60s", uri->master);
    else if (!good)
        snprintf(why, size, "%s", reply->type == REDIS_REPLY_ERROR ? reply->str : "its answer is none of a Sentinel");
    freeReplyObject(reply);
    redisFree(context);
    return good;
}
