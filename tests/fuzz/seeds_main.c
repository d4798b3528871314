/*
 * Make seeds of a capture: seeds_main CAPTURE FOLDER writes FOLDER/TARGET/NAME-0, and of packets NAME-1 and so on.
 * Beside them handshakes of TLS that no capture has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../lib/tls_octets.h"
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
    FILE *engine, *session, *line, *reply, *tls;
    bool tls_begun;
};

static bool open_seeds(struct seeds *seeds, const char *folder, const char *name)
{
    seeds->engine = create(folder, "engine", name, 0);
    seeds->session = create(folder, "session", name, 0);
    seeds->line = create(folder, "line", name, 0);
    seeds->reply = create(folder, "reply", name, 0);
    seeds->tls = create(folder, "tls", name, 0);
    if (!seeds->engine || !seeds->session || !seeds->line || !seeds->reply || !seeds->tls)
        return false;
    fputc(0, seeds->engine); /* live peers, after a handshake */
    fwrite("\0\1", 1, 2, seeds->session);
    fputc(0, seeds->line);
    fputc(0, seeds->tls);
    return true;
}

static void close_seeds(struct seeds *seeds)
{
    fclose(seeds->engine);
    fclose(seeds->session);
    fclose(seeds->line);
    fclose(seeds->reply);
    fclose(seeds->tls);
}

/* As tls_fuzz takes it. */
static void write_turns(FILE *file, bool from_server, struct span octets)
{
    enum { FROM_SERVER = 0x80, LENGTH_MAX = 0x7f };
    for (struct span part; octets.len; octets = span_tail(octets, part.len)) {
        part = span_head(octets, LENGTH_MAX);
        fputc((int)part.len | (from_server ? FROM_SERVER : 0), file);
        fwrite(part.ptr, 1, part.len, file);
    }
}

/* TLS 1.2 with a certificate, which stands alone, too. */
static bool write_made(const char *folder)
{
    static const struct der_certificate certificate = {.name = "mail.example.com",
                                                       .from = "260101120000Z",
                                                       .to = "20521231235959Z",
                                                       .names = {"a.example", "*.b.example"}};
    static const struct tls_client client = {.ciphers = {0xc030, 0x2f, 0x1a1a},
                                             .extensions = {0, 16, 13, 43, 0x2a2a, TLS_END},
                                             .versions = {0x0304, 0x0303},
                                             .signatures = {0x0403, 0x0804},
                                             .name = "mail.example.com",
                                             .protocols = {"smtp", "h2"},
                                             .session = "a session"};
    static struct tls_octets message, octets;
    FILE *file = create(folder, "tls", "made", 0), *alone = create(folder, "tls", "certificate", 0);
    if (!file || !alone)
        return false;
    fputc(0, file);
    tls_put_client_hello(&message, &client);
    tls_put_records(&octets, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, 100);
    write_turns(file, false, (struct span){octets.at, octets.len});
    message.len = octets.len = 0;
    tls_put_server_hello(&message, &(struct tls_server){.version = 0x0303, .cipher = 0xc030, .protocol = "smtp"});
    tls_put_certificate(&message, &certificate, 10);
    tls_put_records(&octets, TLS_RECORD_HANDSHAKE, (struct span){message.at, message.len}, 16384);
    tls_put_alert(&octets, 1, 112);
    tls_put_change_cipher(&octets);
    write_turns(file, true, (struct span){octets.at, octets.len});
    octets.len = 0;
    tls_put_alert(&octets, 2, 48);
    write_turns(file, false, (struct span){octets.at, octets.len});
    message.len = 0;
    der_put_certificate(&message, &certificate);
    fwrite(message.at, 1, message.len, alone);
    fclose(file);
    fclose(alone);
    return true;
}

static void write_payload(struct seeds *seeds, const struct packet *packet)
{
    struct span payload = packet_payload(packet);
    bool from_server = packet->source_port == 25;
    fwrite(payload.ptr, 1, payload.len, from_server ? seeds->reply : seeds->line);
    seeds->tls_begun =
        seeds->tls_begun || (payload.len > 2 && payload.ptr[0] == TLS_RECORD_HANDSHAKE && payload.ptr[1] == 3);
    if (seeds->tls_begun)
        write_turns(seeds->tls, from_server, payload);
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
    struct seeds seeds = {.tls_begun = false};
    if (!open_seeds(&seeds, argv[2], name) || !write_made(argv[2]))
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
