#include "report/reasons.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

struct reason {
    struct reason *next;
    char text[];
};

struct reasons {
    struct reason *buckets[BUCKETS];
};

struct reasons *reasons_new(void)
{
    return calloc(1, sizeof(struct reasons));
}

void reasons_free(struct reasons *reasons)
{
    for (int i = 0; reasons && i < BUCKETS; i++)
        for (struct reason *one = reasons->buckets[i], *next; one; one = next) {
            next = one->next;
            free(one);
        }
    free(reasons);
}

/* FNV-1a; the names are the administrator's own. */
static uint32_t bucket_of(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash % BUCKETS;
}

const char *reasons_keep(struct reasons *reasons, const char *name)
{
    struct reason **bucket = &reasons->buckets[bucket_of(name)];
    for (const struct reason *one = *bucket; one; one = one->next)
        if (strcmp(one->text, name) == 0)
            return one->text;
    size_t len = strlen(name) + 1;
    struct reason *added = malloc(sizeof *added + len);
    if (!added)
        return "";
    memcpy(added->text, name, len);
    added->next = *bucket;
    *bucket = added;
    return added->text;
}
