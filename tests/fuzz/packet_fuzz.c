/* Any octets as a packet: nothing is read behind them, and the setters keep the checksum in step. */
#include "fuzz.h"

#include <stdlib.h>

#include "tcp/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65535)
        return 0;
    uint8_t *bytes = malloc(size ? size : 1); /* of exactly this length */
    memcpy(bytes, data, size);
    struct packet packet;
    if (packet_parse(&packet, bytes, (uint32_t)size) == PACKET_TCP) {
        MUST(packet.len <= size && packet.payload_at + packet.payload_len == packet.len);
        MUST(packet_source(&packet).len == (packet.ip_version == 4 ? 4u : 16u));
        packet_checksum_fill(&packet);
        MUST(packet_checksum_good(&packet));
        packet_set_seq(&packet, packet.seq + 0x10305, false);
        packet_set_ack(&packet, packet.ack - 77, false);
        packet_set_window(&packet, (uint16_t)(packet.window + 3), false);
        if (packet.timestamp_at)
            packet_set_be32(&packet, packet.timestamp_at + 2u, 0x12345678, false);
        packet_set_flags(&packet, (uint8_t)(packet.flags ^ PACKET_PSH), false);
        MUST(packet_checksum_good(&packet));
        if (packet.mptcp_at)
            packet_blank_option(&packet, packet.mptcp_at);
        packet_set_payload_len(&packet, packet.payload_len / 2);
        packet_checksum_fill(&packet);
        struct packet again;
        MUST(packet_parse(&again, bytes, packet.len) == PACKET_TCP);
        MUST(again.payload_len == packet.payload_len && again.seq == packet.seq && packet_checksum_good(&again));
    }
    free(bytes);
    return 0;
}
