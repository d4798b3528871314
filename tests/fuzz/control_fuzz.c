/* Any octets as a request on the control socket, whole and as they come: the same request, or none. */
#include "fuzz.h"

#include "sys/control.h"

static bool plain(const char *request)
{
    for (; *request; request++)
        if (*request < ' ' || *request > '~')
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char request[CONTROL_REQUEST_BYTES], part[CONTROL_REQUEST_BYTES];
    uint8_t *octets = exact_copy((struct span){data, size});
    enum control_request_status status = control_request((struct span){octets, size}, request);
    if (status == CONTROL_REQUEST_GOOD)
        MUST(plain(request) && strlen(request) < size && octets[strlen(request)] == '\n');
    for (size_t len = 0; len <= size; len++) {
        enum control_request_status so_far = control_request((struct span){octets, len}, part);
        if (so_far == CONTROL_REQUEST_MORE) {
            MUST(len < CONTROL_REQUEST_BYTES && !memchr(octets, '\n', len));
            continue;
        }
        MUST(so_far == status && (status != CONTROL_REQUEST_GOOD || strcmp(part, request) == 0));
        break;
    }
    free(octets);
    return 0;
}
