#include "tcp/half.h"

void half_start(struct half *half, struct half_syn syn)
{
    uint32_t first = syn.isn + 1;
    edit_init(&half->log, first);
    half->isn = syn.isn;
    half->next = first;
    half->sent_egress = first;
    half->window_end_egress = first;
    half->mss = syn.mss;
    half->window_shift = syn.window_shift;
    half->window_scaled = syn.window_scaled;
    half->synchronized = true;
}

void half_acknowledge(struct half *half, struct pool *entries, struct pool *blocks, uint32_t ack_egress)
{
    uint32_t before = half->log.anchor_egress;
    edit_acknowledge(&half->log, entries, ack_egress);
    if (half->retained.len)
        retain_release(&half->retained, blocks, half->log.anchor_egress - before);
}

void half_clear(struct half *half, struct pool *entries, struct pool *blocks)
{
    edit_clear(&half->log, entries);
    retain_release(&half->retained, blocks, half->retained.len);
}
