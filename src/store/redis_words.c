#include "store/redis_words.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"

void redis_name_of(const struct store_key *key, char name[REDIS_NAME_BYTES])
{
    memcpy(name, REDIS_PREFIX, sizeof REDIS_PREFIX - 1);
    hex_write(key->octets, sizeof key->octets, name + sizeof REDIS_PREFIX - 1);
}

void redis_quote(const char *words, char out[REDIS_QUOTED_BYTES])
{
    size_t len = 0;
    for (; words && words[len] && len < REDIS_QUOTED_BYTES - 1; len++)
        out[len] = (char)(words[len] >= ' ' && words[len] <= '~' ? words[len] : '?');
    out[len] = '\0';
}

void redis_quote_without(const char *words, const char *secret, char out[REDIS_QUOTED_BYTES])
{
    enum { CUT = 4 }; /* a server may cut the secret short, or escape what is in it */
    char begin[CUT + 1];
    snprintf(begin, sizeof begin, "%s", secret);
    const char *at = words && *begin ? strstr(words, begin) : NULL;
    redis_quote(words, out);
    if (at && at - words < REDIS_QUOTED_BYTES)
        out[at - words] = '\0';
}

const char *redis_error_words(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR ? reply->str : "its answer is none that a redis server gives";
}
