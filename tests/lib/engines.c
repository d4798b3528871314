#include "engines.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096, LINE_BYTES = 64 };

/* In the line before an engine. */
struct place {
    void *pages;
    size_t bytes;
};

static_assert(sizeof(struct place) <= LINE_BYTES, "an engine begins where a line begins");

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

struct engine *engines_new(const struct engine_settings *settings, const struct policy *policy)
{
    size_t engine_len = round_up(engine_bytes(settings), LINE_BYTES);
    size_t used = round_up(LINE_BYTES + engine_len, PAGE_BYTES);
    struct place place = {.bytes = used + PAGE_BYTES};
    place.pages = mmap(NULL, place.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place.pages == MAP_FAILED || mprotect((uint8_t *)place.pages + used, PAGE_BYTES, PROT_NONE) != 0)
        abort();
    uint8_t *engine = (uint8_t *)place.pages + used - engine_len;
    memcpy(engine - LINE_BYTES, &place, sizeof place);
    return engine_init(engine, settings, policy);
}

void engines_free(struct engine *engine)
{
    struct place place;
    if (!engine)
        return;
    memcpy(&place, (uint8_t *)engine - LINE_BYTES, sizeof place);
    (void)munmap(place.pages, place.bytes);
}
