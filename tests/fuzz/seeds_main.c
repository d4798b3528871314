/* Make seeds of a capture: seeds_main CAPTURE FOLDER writes FOLDER/engine/NAME and FOLDER/packet/NAME-1 and so on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/capture.h"
#include "tcp/packet.h"

static FILE *create(const char *folder, const char *target, const char *name, unsigned number)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%s-%u", folder, target, name, number);
    return fopen(path, "wb");
}

int main(int argc, char **argv)
{
    char message[256];
    struct capture_reader *reader;
    struct capture_packet frame;
    if (argc != 3)
        return 2;
    const char *slash = strrchr(argv[1], '/');
    const char *name = slash ? slash + 1 : argv[1];
    if (capture_open(argv[1], &reader, message, sizeof message) != CAPTURE_OK) {
        fprintf(stderr, "seeds: %s\n", message);
        return 1;
    }
    FILE *engine = create(argv[2], "engine", name, 0);
    if (!engine)
        return 1;
    fputc(0, engine); /* live peers, after a handshake */
    for (unsigned i = 0; capture_next(reader, &frame, message, sizeof message) == CAPTURE_OK; i++) {
        struct packet packet;
        if (packet_parse(&packet, frame.frame + frame.ip_at, frame.ip_len) != PACKET_TCP)
            continue;
        FILE *file = i < 8 ? create(argv[2], "packet", name, i) : NULL;
        if (file) {
            fwrite(packet.bytes, 1, packet.len, file);
            fclose(file);
        }
        if (packet.flags & PACKET_SYN || packet.payload_len == 0)
            continue;
        struct span payload = packet_payload(&packet);
        while (payload.len) {
            struct span part = span_head(payload, 255);
            uint8_t record[5] = {packet.source_port == 25, packet.flags & 0x3f, 0, 0, (uint8_t)part.len};
            fwrite(record, 1, sizeof record, engine);
            fwrite(part.ptr, 1, part.len, engine);
            payload = span_tail(payload, part.len);
        }
    }
    fclose(engine);
    capture_close(reader);
    return 0;
}
