#include "engines.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096, LINE_BYTES = 64, SPARE_BYTES_MAX = 16 << 20 };

/* In the line before an engine. */
struct place {
    void *pages;
    size_t bytes;
};

static_assert(sizeof(struct place) <= LINE_BYTES, "an engine begins where a line begins");

/* Thousands of engines of one size are made one after the other; to map each anew takes longer than most dialogues. */
static struct place spares[8];

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

/* Clear what was written to: few of an engine's pages are, and the others have no memory yet. */
static void clear(const struct place *place)
{
    static unsigned char resident[SPARE_BYTES_MAX / PAGE_BYTES];
    size_t pages = place->bytes / PAGE_BYTES - 1;
    if (mincore(place->pages, pages * PAGE_BYTES, resident) != 0)
        abort();
    for (size_t i = 0; i < pages; i++)
        if (resident[i] & 1)
            memset((uint8_t *)place->pages + i * PAGE_BYTES, 0, PAGE_BYTES);
}

static struct place place_of(size_t used)
{
    struct place place = {.bytes = used + PAGE_BYTES};
    for (size_t i = 0; i < sizeof spares / sizeof spares[0]; i++)
        if (spares[i].bytes == place.bytes) {
            place = spares[i];
            spares[i].bytes = 0;
            clear(&place);
            return place;
        }
    place.pages = mmap(NULL, place.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place.pages == MAP_FAILED || mprotect((uint8_t *)place.pages + used, PAGE_BYTES, PROT_NONE) != 0)
        abort();
    return place;
}

struct engine *engines_new(const struct engine_settings *settings, const struct policy *policy)
{
    size_t engine_len = round_up(engine_bytes(settings), LINE_BYTES);
    size_t used = round_up(LINE_BYTES + engine_len, PAGE_BYTES);
    struct place place = place_of(used);
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
    for (size_t i = 0; place.bytes <= SPARE_BYTES_MAX && i < sizeof spares / sizeof spares[0]; i++)
        if (spares[i].bytes == 0) {
            spares[i] = place;
            return;
        }
    (void)munmap(place.pages, place.bytes);
}
