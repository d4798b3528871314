/*
 * Make seeds of a capture: seeds_main CAPTURE FOLDER writes FOLDER/TARGET/NAME-0, and of packets NAME-1 and so on.
 */
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

/* What one side says in one packet, as the targets take it. */
struct seeds {
    FILE *engine, *session, *line, *reply;
};

static bool open_seeds(struct seeds *seeds, const char *folder, const char *name)
{
    seeds->engine = create(folder, "engine", name, 0);
    seeds->session = create(folder, "session", name, 0);
    seeds->line = create(folder, "line", name, 0);
    seeds->reply = create(folder, "reply", name, 0);
    if (!seeds->engine || !seeds->session || !seeds->line || !seeds->reply)
        return false;
    fputc(0, seeds->engine); /* live peers, after a handshake */
    fwrite("\0\1", 1, 2, seeds->session);
    fputc(0, seeds->line);
    return true;
}

static void close_seeds(struct seeds *seeds)
{
    fclose(seeds->engine);
    fclose(seeds->session);
    fclose(seeds->line);
    fclose(seeds->reply);
}

static void write_payload(struct seeds *seeds, const struct packet *packet)
{
    struct span payload = packet_payload(packet);
    bool from_server = packet->source_port == 25;
    fwrite(payload.ptr, 1, payload.len, from_server ? seeds->reply : seeds->line);
    while (payload.len) {
        struct span part = span_head(payload, 255);
        uint8_t of_engine[5] = {from_server, packet->flags & 0x3f, 0, 0, (uint8_t)part.len};
        uint8_t of_session[2] = {from_server, (uint8_t)part.len};
        fwrite(of_engine, 1, sizeof of_engine, seeds->engine);
        fwrite(part.ptr, 1, part.len, seeds->engine);
        fwrite(of_session, 1, sizeof of_session, seeds->session);
        fwrite(part.ptr, 1, part.len, seeds->session);
        payload = span_tail(payload, part.len);
    }
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
    struct seeds seeds;
    if (!open_seeds(&seeds, argv[2], name))
        return 1;
    for (unsigned i = 0; capture_next(reader, &frame, message, sizeof message) == CAPTURE_OK; i++) {
        struct packet packet;
        if (packet_parse(&packet, frame.frame + frame.ip_at, frame.ip_len) != PACKET_TCP)
            continue;
        FILE *file = i < 8 ? create(argv[2], "packet", name, i) : NULL;
        if (file) {
            fwrite(packet.bytes, 1, packet.len, file);
            fclose(file);
        }
        if (!(packet.flags & PACKET_SYN) && packet.payload_len > 0)
            write_payload(&seeds, &packet);
    }
    close_seeds(&seeds);
    capture_close(reader);
    return 0;
}
