#include "conf/names.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *names; /* of tsearch */

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

const char *names_keep(const char *name)
{
    pthread_mutex_lock(&lock);
    void *found = tfind(name, &names, compare);
    char *copy = found ? NULL : strdup(name);
    if (copy && !(found = tsearch(copy, &names, compare)))
        free(copy);
    pthread_mutex_unlock(&lock);
    return found ? *(const char **)found : NULL;
}
