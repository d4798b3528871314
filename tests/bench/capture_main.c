/*
 * Make a large capture for `make bench`: SMTP sessions as a gateway sees them, some at a time, acknowledged as Linux
 * does (every second full segment, and each command).
 *
 *   capture_main OUT.pcap SESSIONS OCTETS [AT_ONCE [OF-AN-ADDRESS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/octets.h"
#include "io/capture.h"
#include "script.h"
#include "tcp/packet.h"

enum { MSS = 1448, HEADERS = 20 + 32, AT_ONCE_MAX = 1000 };

struct session {
    uint32_t number;
    int step; /* place in the script */
    uint32_t body_left;
    uint32_t next[2];
    bool open;
};

static struct capture_writer *writer;
static int64_t now_us = INT64_C(1208729510000000);
static uint8_t body[1 << 20];
static uint32_t body_len;
static uint32_t of_an_address = 16; /* sessions */

static void send_segment(struct session *s, enum smtp_side from, uint8_t flags, struct span payload)
{
    static const uint8_t link[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
    uint8_t bytes[HEADERS + MSS] = {0x45};
    uint8_t *tcp = bytes + 20;
    uint32_t host = s->number / of_an_address;
    uint8_t client[4] = {198, (uint8_t)(18 + (host >> 16)), (uint8_t)(host >> 8), (uint8_t)host};
    static const uint8_t server[4] = {192, 0, 2, 25};
    uint16_t client_port = (uint16_t)(20000 + s->number % 40000);
    store_be16(bytes + 2, (uint16_t)(HEADERS + payload.len));
    bytes[8] = 64;
    bytes[9] = 6;
    memcpy(bytes + 12, from == SMTP_CLIENT ? client : server, 4);
    memcpy(bytes + 16, from == SMTP_CLIENT ? server : client, 4);
    store_be16(tcp, from == SMTP_CLIENT ? client_port : 25);
    store_be16(tcp + 2, from == SMTP_CLIENT ? 25 : client_port);
    store_be32(tcp + 4, s->next[from]);
    store_be32(tcp + 8, flags & PACKET_ACK ? s->next[!from] : 0);
    tcp[12] = 32 / 4 << 4;
    tcp[13] = flags;
    store_be16(tcp + 14, 502);
    store_be32(tcp + 20, 0x0101080a);
    store_be32(tcp + 24, (uint32_t)(now_us / 1000));
    store_be32(tcp + 28, (uint32_t)(now_us / 1000));
    memcpy(tcp + 32, payload.ptr, payload.len);
    struct packet packet;
    if (packet_parse(&packet, bytes, (uint32_t)(HEADERS + payload.len)) != PACKET_TCP)
        abort();
    packet_checksum_fill(&packet);
    capture_write(writer, now_us, (struct span){link, sizeof link}, (struct span){bytes, packet.len});
    s->next[from] += packet_seq_len(&packet);
    now_us += 3;
}

static void say(struct session *s, enum smtp_side from, const char *text)
{
    send_segment(s, from, PACKET_ACK | PACKET_PSH, span_of(text));
}

static void begin(struct session *s, uint32_t number)
{
    *s = (struct session){
        .number = number, .body_left = body_len, .next = {number * 7919u, number * 104729u}, .open = true};
    send_segment(s, SMTP_CLIENT, PACKET_SYN, (struct span){0});
    send_segment(s, SMTP_SERVER, PACKET_SYN | PACKET_ACK, (struct span){0});
    send_segment(s, SMTP_CLIENT, PACKET_ACK, (struct span){0});
}

/* Two full segments of the message and the server's acknowledgment. */
static bool send_body(struct session *s)
{
    for (int i = 0; i < 2 && s->body_left; i++) {
        struct span part = {body + (body_len - s->body_left), s->body_left < MSS ? s->body_left : MSS};
        send_segment(s, SMTP_CLIENT, PACKET_ACK, part);
        s->body_left -= (uint32_t)part.len;
    }
    send_segment(s, SMTP_SERVER, PACKET_ACK, (struct span){0});
    return s->body_left == 0;
}

static void go_on(struct session *s)
{
    if (s->step == SCRIPT_ROWS) {
        send_segment(s, SMTP_SERVER, PACKET_FIN | PACKET_ACK, (struct span){0});
        send_segment(s, SMTP_CLIENT, PACKET_FIN | PACKET_ACK, (struct span){0});
        send_segment(s, SMTP_SERVER, PACKET_ACK, (struct span){0});
        s->open = false;
    } else if (script[s->step].text) {
        say(s, script[s->step].from, script[s->step].text);
        s->step++;
    } else if (send_body(s)) {
        s->step++;
    }
}

static void fill_body(uint32_t len)
{
    static const char line[] = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\r\n";
    body_len = len;
    for (uint32_t i = 0; i < len; i++)
        body[i] = (uint8_t)line[i % (sizeof line - 1)];
    memcpy(body + len - 5, "\r\n.\r\n", 5);
}

int main(int argc, char **argv)
{
    static struct session sessions[AT_ONCE_MAX];
    char message[512];
    uint32_t count = argc > 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    uint32_t octets = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    uint32_t at_once = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 20;
    if (argc > 5)
        of_an_address = (uint32_t)strtoul(argv[5], NULL, 10);
    if (of_an_address == 0 || count == 0 || octets < 16 || octets > sizeof body || at_once == 0 ||
        at_once > AT_ONCE_MAX) {
        fprintf(stderr, "usage: capture_main OUT.pcap SESSIONS OCTETS [AT_ONCE [OF-AN-ADDRESS]]\n");
        return 2;
    }
    if (capture_create(argv[1], 1, &writer, message, sizeof message) != CAPTURE_OK) {
        fprintf(stderr, "capture_main: %s\n", message);
        return 1;
    }
    fill_body(octets);
    uint32_t started = 0, open = 0;
    do {
        open = 0;
        for (uint32_t i = 0; i < at_once; i++) {
            if (!sessions[i].open && started < count)
                begin(&sessions[i], started++);
            else if (sessions[i].open)
                go_on(&sessions[i]);
            open += sessions[i].open;
        }
    } while (open || started < count);
    if (capture_finish(writer, message, sizeof message) != CAPTURE_OK) {
        fprintf(stderr, "capture_main: %s\n", message);
        return 1;
    }
    return 0;
}
