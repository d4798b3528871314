#include "cmd/queues.h"

#include <errno.h>
#include <stdlib.h>

bool queues_parse(const char *text, struct queues *queues)
{
    char *end;
    errno = 0;
    unsigned long first = strtoul(text, &end, 10);
    unsigned long last = first + 1;
    if (*text < '0' || *text > '9')
        return false;
    if (*end == ':') {
        const char *second = end + 1;
        last = strtoul(second, &end, 10);
        if (*second < '0' || *second > '9')
            return false;
    }
    if (*end || errno || last > 65535 || last <= first || (last - first) % 2 == 0 ||
        last - first >= 2ul * QUEUES_WORKERS_MAX)
        return false;
    *queues = (struct queues){(uint16_t)first, (unsigned)(last - first + 1) / 2};
    return true;
}
