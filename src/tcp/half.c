#include "tcp/half.h"

void half_start(struct half *half, struct half_syn syn)
{
    uint32_t first = syn.isn + 1;
    edit_init(&half->log, first);
    half->isn = syn.isn;
    half->next = half->changed_from = half->changed_to = first;
    half->sent_egress = first;
    half->window_end_egress = first;
    half->window_least = UINT32_MAX;
    half->mss = syn.mss;
    half->window_shift = syn.window_shift & 15u;
    half->window_scaled = syn.window_scaled;
    half->synchronized = true;
}

void half_acknowledge(struct half *half, struct pool *entries, struct pool *blocks, uint32_t ack_egress)
{
    uint32_t before = half->log.anchor_egress;
    edit_acknowledge(&half->log, entries, ack_egress);
    if (seq_before(half->changed_to, half->log.anchor))
        half->changed_to = half->log.anchor; /* so that it stays comparable */
    if (half->retained.len)
        retain_release(&half->retained, blocks, half->log.anchor_egress - before);
    half->changed = half->changed && seq_before(half->log.anchor, half->changed_to);
}

void half_note_change(struct half *half, uint32_t from)
{
    if (!seq_after(half->changed_to, half->log.anchor))
        half->changed_from = from;
    half->changed_to = half->log.end;
    half->changed = true;
}

/* Of octets [from, to), which all left as they came and are retained where they are looked at. */
static uint32_t differs_between(const struct half *half, const struct pool *entries, const struct pool *blocks,
                                uint32_t from, uint32_t to, uint32_t seq, struct span octets)
{
    if (!seq_before(from, to))
        return 0;
    uint32_t egress = edit_forward(&half->log, entries, from);
    to = seq_min(to, from + (half_retained_end(half) - egress));
    if (seq_before(egress, half->log.anchor_egress) || !seq_before(from, to))
        return 0;
    struct span again = span_head(span_tail(octets, from - seq), to - from);
    return retain_equal(&half->retained, blocks, egress - half->log.anchor_egress, again) ? 0 : to - from;
}

uint32_t half_differs(const struct half *half, const struct pool *entries, const struct pool *blocks, uint32_t seq,
                      struct span octets)
{
    uint32_t from = seq_max(seq, half->log.anchor);
    uint32_t to = seq_min(seq + (uint32_t)octets.len, half->log.end);
    if (!seq_after(half->changed_to, half->log.anchor))
        return differs_between(half, entries, blocks, from, to, seq, octets);
    return differs_between(half, entries, blocks, from, seq_min(to, half->changed_from), seq, octets) +
           differs_between(half, entries, blocks, seq_max(from, half->changed_to), to, seq, octets);
}

void half_clear(struct half *half, struct pool *entries, struct pool *blocks)
{
    edit_clear(&half->log, entries);
    retain_release(&half->retained, blocks, half->retained.len);
}
