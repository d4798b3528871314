#include "cmd/mark.h"

#include <errno.h>
#include <stdlib.h>

bool mark_parse(const char *text, struct mark *mark)
{
    char *end;
    errno = 0;
    unsigned long mask = strtoul(text, &end, 0);
    if (*text < '0' || *text > '9' || *end || errno || mask > UINT32_MAX)
        return false;
    uint32_t lowest = (uint32_t)(mask & -mask);
    *mark = (struct mark){(uint32_t)mask, lowest, (uint32_t)mask & ~lowest};
    return mask == 0 || __builtin_popcountl(mask) == 2;
}
