#include "io/queue_rules_part.h"

#include <linux/netfilter/xt_NFQUEUE.h>
#include <string.h>

void queue_rules_note(struct queue_rules_found *found, enum queue_rules_family family, struct queue_rules_range range)
{
    for (uint32_t i = 0; i < found->count; i++)
        if (found->first + i >= range.first && found->first + i - range.first < range.total)
            found->named[family][i] = true;
}

struct queue_rules_range queue_rules_range_of(uint32_t revision, const void *info, size_t len)
{
    struct xt_NFQ_info_v1 queues = {.queues_total = 1};
    size_t need = revision == 0 ? sizeof(struct xt_NFQ_info) : sizeof queues;
    if (len < need)
        return (struct queue_rules_range){0, 0};
    memcpy(&queues, info, need);
    return (struct queue_rules_range){queues.queuenum, queues.queues_total};
}
