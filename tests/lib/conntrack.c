#include "conntrack.h"

#include "base/octets.h"
#include "tcp/seq.h"

/* The acknowledgment with what SACK says beyond it. */
static uint32_t selective(const struct packet *packet, uint32_t ack)
{
    if (!packet->sack_at)
        return ack;
    const uint8_t *option = packet->bytes + packet->sack_at;
    for (int at = 2; at + 8 <= option[1]; at += 8)
        ack = seq_max(ack, load_be32(option + at + 4));
    return ack;
}

static void begin(struct conntrack *conntrack, enum smtp_side from, const struct packet *packet)
{
    struct conntrack_end *own = &conntrack->ends[from], *other = &conntrack->ends[!from];
    own->end = own->maxend = packet->seq + packet_seq_len(packet);
    own->maxwin = packet->window ? packet->window : 1;
    own->scales = packet->window_scaled;
    own->scale = packet->window_shift;
    if (packet->flags & PACKET_ACK && !(own->scales && other->scales))
        own->scale = other->scale = 0;
}

enum conntrack_finding conntrack_judge(struct conntrack *conntrack, enum smtp_side from, const struct packet *packet)
{
    enum { ACK_WINDOW_LEAST = 66000 };
    struct conntrack_end *own = &conntrack->ends[from], *other = &conntrack->ends[!from];
    bool syn = packet->flags & PACKET_SYN;
    if (syn && own->maxwin == 0)
        begin(conntrack, from, packet);
    uint32_t end = packet->seq + packet_seq_len(packet);
    uint32_t ack = packet->flags & PACKET_ACK ? packet->ack : other->end;
    uint32_t sack = packet->flags & PACKET_ACK ? selective(packet, ack) : ack;
    uint32_t window = (uint32_t)packet->window << (syn ? 0 : own->scale);
    uint32_t ack_window = own->maxwin > ACK_WINDOW_LEAST ? own->maxwin : ACK_WINDOW_LEAST;
    if (seq_after(packet->seq, own->maxend))
        return CONNTRACK_BEHIND_WINDOW;
    if (other->maxwin && seq_before(end, own->end - other->maxwin))
        return CONNTRACK_BEFORE_WINDOW;
    if (seq_after(sack, other->end))
        return CONNTRACK_ACK_UNSEEN;
    if (seq_before(sack, other->end - ack_window))
        return CONNTRACK_ACK_OLD;

    uint32_t shown = window + (sack - ack);
    own->maxwin = own->maxwin > shown ? own->maxwin : shown;
    own->end = seq_max(own->end, end);
    if (other->maxwin && seq_after(end, own->maxend)) {
        other->maxwin += end - own->maxend;
        own->maxend = end;
    }
    other->maxend = seq_max(other->maxend, sack + window + (window == 0));
    return CONNTRACK_TAKES;
}
