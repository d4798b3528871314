/*
 * sys/control - a socket on which this machine's administrator asks the service: one line in, one line of JSON out.
 *
 * In:     requests of CONTROL_REQUEST_BYTES at most, printable ASCII, ended by LF.
 * Out:    what the caller's function answers, and an LF; then the connection ends.
 * Owner:  the control owns its socket file and its connections.
 * Thread: the one that opened it.
 * Limits: CONTROL_CONNECTIONS_MAX; one more, and the oldest ends, as where file descriptors are out (sys/acceptor).
 *         Nothing ever waits for a peer.
 * Errors: control_open and control_ask say in one line what is wrong. What is no request is told so.
 */
#ifndef POSTERN_SYS_CONTROL_H
#define POSTERN_SYS_CONTROL_H

#include "base/span.h"

#define CONTROL_REQUEST_BYTES   128
#define CONTROL_CONNECTIONS_MAX 8

struct control;

/* The answer to a request (ended by NUL, without line end): one line of text from malloc, or NULL for none. */
typedef char *control_answer(void *context, const char *request);

/*
 * Listen at `path`, for root and, where `group` is not NULL, that group. A socket left by a process that is no more is
 * replaced; anything else that is there stays, and is a failure. NULL on failure, with a message.
 */
struct control *control_open(const char *path, const char *group, char *message, size_t message_size);

/* To be polled for reading, for as long as control_timeout_ms says (-1: any time); then control_serve does all that can
   be done without waiting. */
int control_fd(const struct control *control);
int control_timeout_ms(const struct control *control);
void control_serve(struct control *control, control_answer *answer, void *context);

/* Removes the socket file, unless another one has taken its path. NULL is allowed. */
void control_close(struct control *control);

enum control_request_status {
    CONTROL_REQUEST_MORE, /* it may become one */
    CONTROL_REQUEST_GOOD,
    CONTROL_REQUEST_BAD,
};

/* A request, as far as it came, into `request` of CONTROL_REQUEST_BYTES. What stands behind its line is ignored. */
enum control_request_status control_request(struct span octets, char *request);

/* Ask the service that listens at `path`, and wait a few seconds. The answer is the caller's to free; NULL on failure,
   with a message. */
char *control_ask(const char *path, const char *request, char *message, size_t message_size);

#endif
