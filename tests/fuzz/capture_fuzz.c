/* Any octets as a capture file: read to its end, or to where it is damaged, with a message. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/capture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64], message[256] = "";
    struct capture_reader *reader;
    struct capture_packet packet;
    int fd = memfd_create("capture", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        close(fd);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (capture_open(path, &reader, message, sizeof message) == CAPTURE_OK) {
        enum capture_status status;
        while ((status = capture_next(reader, &packet, message, sizeof message)) == CAPTURE_OK) {
            MUST(packet.ip_at <= packet.frame_len && packet.frame_len <= CAPTURE_FRAME_BYTES_MAX);
            MUST(packet.ip_len <= packet.frame_len - packet.ip_at && packet.time_us >= 0);
            look_at(packet.frame, packet.frame_len);
        }
        MUST(status == CAPTURE_END || (status == CAPTURE_DAMAGED && message[0]));
        capture_close(reader);
    } else {
        MUST(message[0] && !strchr(message, '\n'));
    }
    close(fd);
    return 0;
}
