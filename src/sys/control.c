#include "sys/control.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/acceptor.h"
#include "sys/file.h"

enum { ANSWER_WAIT_S = 5, ANSWER_BYTES_MAX = 1 << 20, BACKLOG = 64 };

struct connection {
    int fd; /* -1: none */
    uint64_t since;
    size_t len;
    uint8_t octets[CONTROL_REQUEST_BYTES + 1]; /* with its LF */
    char *answer;                              /* NULL before there is one */
    size_t answer_len, sent;
};

struct control {
    int poll; /* epoll of all the others */
    struct acceptor acceptor;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    struct stat socket; /* the file that we made there */
    uint64_t accepted;
    struct connection connections[CONTROL_CONNECTIONS_MAX];
};

enum control_request_status control_request(struct span octets, char *request)
{
    const uint8_t *end = octets.len ? memchr(octets.ptr, '\n', octets.len) : NULL;
    size_t len = end ? (size_t)(end - octets.ptr) : octets.len;
    if (len >= CONTROL_REQUEST_BYTES)
        return CONTROL_REQUEST_BAD;
    for (size_t i = 0; i < len; i++) {
        if (octets.ptr[i] < ' ' || octets.ptr[i] > '~')
            return CONTROL_REQUEST_BAD;
        request[i] = (char)octets.ptr[i];
    }
    request[len] = '\0';
    return end ? CONTROL_REQUEST_GOOD : CONTROL_REQUEST_MORE;
}

/* ---- connections ---- */

static void end_connection(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    free(connection->answer);
    *connection = (struct connection){.fd = -1};
}

/* The oldest one; NULL: there is none. */
static struct connection *oldest_connection(struct control *control)
{
    struct connection *oldest = NULL;
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++) {
        struct connection *one = &control->connections[i];
        if (one->fd >= 0 && (!oldest || one->since < oldest->since))
            oldest = one;
    }
    return oldest;
}

static struct connection *free_connection(struct control *control)
{
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
        if (control->connections[i].fd < 0)
            return &control->connections[i];
    struct connection *oldest = oldest_connection(control);
    end_connection(oldest);
    return oldest;
}

/* Who keeps the last descriptor and asks nothing must not keep others out. */
static int take_next(struct control *control)
{
    int fd = acceptor_take(&control->acceptor);
    struct connection *oldest = fd < 0 && control->acceptor.paused ? oldest_connection(control) : NULL;
    if (!oldest)
        return fd;
    end_connection(oldest);
    return acceptor_take(&control->acceptor);
}

static void accept_connection(struct control *control)
{
    int fd = take_next(control);
    if (fd < 0)
        return;
    struct connection *connection = free_connection(control);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    connection->fd = fd;
    connection->since = ++control->accepted;
    if (epoll_ctl(control->poll, EPOLL_CTL_ADD, fd, &event) != 0)
        end_connection(connection);
}

static void send_answer(struct control *control, struct connection *connection)
{
    while (connection->sent < connection->answer_len) {
        ssize_t sent = send(connection->fd, connection->answer + connection->sent,
                            connection->answer_len - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            struct epoll_event event = {.events = EPOLLOUT, .data.ptr = connection};
            if (epoll_ctl(control->poll, EPOLL_CTL_MOD, connection->fd, &event) == 0)
                return;
        }
        if (sent < 0)
            break;
        connection->sent += (size_t)sent;
    }
    end_connection(connection);
}

static void take_request(struct control *control, struct connection *connection, control_answer *answer, void *context)
{
    char request[CONTROL_REQUEST_BYTES];
    ssize_t got = recv(connection->fd, connection->octets + connection->len,
                       sizeof connection->octets - connection->len, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            end_connection(connection);
        return;
    }
    connection->len += (size_t)got;
    switch (control_request((struct span){connection->octets, connection->len}, request)) {
    case CONTROL_REQUEST_MORE:
        return;
    case CONTROL_REQUEST_GOOD:
        connection->answer = answer(context, request);
        break;
    case CONTROL_REQUEST_BAD:
        connection->answer = strdup("{\"code\":2,\"message\":\"this is no request\"}");
        break;
    }
    connection->answer_len = connection->answer ? strlen(connection->answer) + 1 : 0;
    if (connection->answer_len)
        connection->answer[connection->answer_len - 1] = '\n';
    send_answer(control, connection);
}

int control_fd(const struct control *control)
{
    return control->poll;
}

int control_timeout_ms(const struct control *control)
{
    return acceptor_timeout_ms(&control->acceptor);
}

void control_serve(struct control *control, control_answer *answer, void *context)
{
    struct epoll_event events[CONTROL_CONNECTIONS_MAX + 1];
    acceptor_refresh(&control->acceptor);
    int count = epoll_wait(control->poll, events, CONTROL_CONNECTIONS_MAX + 1, 0);
    bool knocked = false;
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (!connection)
            knocked = true;
        else if (connection->answer)
            send_answer(control, connection);
        else
            take_request(control, connection, answer, context);
    }
    if (knocked) /* last, for it may end a connection that an event is about */
        accept_connection(control);
}

/* ---- beginning and end ---- */

static bool address_of(const char *path, struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return true;
}

/* Who listens and does not accept is waited for as long as for an answer. */
static int connect_to(const struct sockaddr_un *address)
{
    struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Make the place free: a socket that nobody listens at any more is removed. What else is there stays. */
static bool remove_stale(const struct sockaddr_un *address, char *message, size_t message_size)
{
    const char *path = address->sun_path;
    struct stat about;
    if (lstat(path, &about) != 0)
        return true;
    if (!S_ISSOCK(about.st_mode)) {
        snprintf(message, message_size, "%s: it is %s; name a path with --control where nothing else is", path,
                 file_kind_name(about.st_mode));
        return false;
    }
    int fd = connect_to(address);
    if (fd < 0 && errno == ECONNREFUSED && unlink(path) == 0)
        return true;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 || errno != ECONNREFUSED)
        snprintf(message, message_size, "%s: another process listens there", path);
    else
        snprintf(message, message_size, "%s: cannot be removed: %m", path);
    return false;
}

/* For nobody first, then for those who may. */
static bool permit(const char *path, const char *group)
{
    if (group) {
        const struct group *entry = getgrnam(group);
        if (!entry) {
            errno = ENOENT;
            return false;
        }
        if (chown(path, (uid_t)-1, entry->gr_gid) != 0)
            return false;
    }
    return chmod(path, group ? 0660 : 0600) == 0;
}

static bool bind_at(struct control *control, const struct sockaddr_un *address, const char *group)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || !acceptor_open(&control->acceptor, control->poll, listener))
        return false;
    mode_t mask = umask(0777);
    bool bound = bind(listener, (const struct sockaddr *)address, sizeof *address) == 0;
    umask(mask);
    if (!bound || lstat(address->sun_path, &control->socket) != 0)
        return false;
    memcpy(control->path, address->sun_path, sizeof control->path);
    return permit(control->path, group) && listen(listener, BACKLOG) == 0;
}

static bool listen_at(struct control *control, const struct sockaddr_un *address, const char *group, char *message,
                      size_t message_size)
{
    if (!remove_stale(address, message, message_size))
        return false;
    if (bind_at(control, address, group))
        return true;
    if (group && errno == ENOENT)
        snprintf(message, message_size, "%s: cannot be made: no such folder, or no group '%s'", address->sun_path,
                 group);
    else
        snprintf(message, message_size, "%s: cannot be made: %m", address->sun_path);
    return false;
}

struct control *control_open(const char *path, const char *group, char *message, size_t message_size)
{
    struct sockaddr_un address;
    if (!address_of(path, &address)) {
        snprintf(message, message_size, "%s: %m", path);
        return NULL;
    }
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        snprintf(message, message_size, "no memory");
        return NULL;
    }
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
        control->connections[i].fd = -1;
    control->poll = epoll_create1(EPOLL_CLOEXEC);
    control->acceptor = ACCEPTOR_NONE;
    if (control->poll < 0)
        snprintf(message, message_size, "%s: cannot be made: %m", path);
    else if (listen_at(control, &address, group, message, message_size))
        return control;
    control_close(control);
    return NULL;
}

/* Ours, not what somebody has put in its place since. */
static void remove_socket(const struct control *control)
{
    struct stat about;
    if (control->path[0] && lstat(control->path, &about) == 0 && about.st_dev == control->socket.st_dev &&
        about.st_ino == control->socket.st_ino)
        unlink(control->path);
}

void control_close(struct control *control)
{
    if (!control)
        return;
    for (int i = 0; i < CONTROL_CONNECTIONS_MAX; i++)
        end_connection(&control->connections[i]);
    remove_socket(control);
    acceptor_close(&control->acceptor);
    if (control->poll >= 0)
        close(control->poll);
    free(control);
}

/* ---- the other side ---- */

static char *read_answer(int fd)
{
    char *answer = malloc(ANSWER_BYTES_MAX);
    size_t len = 0;
    ssize_t got = 1;
    while (answer && len < ANSWER_BYTES_MAX - 1 && (got = recv(fd, answer + len, ANSWER_BYTES_MAX - 1 - len, 0)) > 0)
        len += (size_t)got;
    if (!answer || got != 0 || len == 0 || answer[len - 1] != '\n') {
        free(answer);
        return NULL;
    }
    answer[len - 1] = '\0';
    return answer;
}

char *control_ask(const char *path, const char *request, char *message, size_t message_size)
{
    struct sockaddr_un address;
    struct timeval wait = {.tv_sec = ANSWER_WAIT_S};
    char line[CONTROL_REQUEST_BYTES + 1];
    int fd = address_of(path, &address) ? connect_to(&address) : -1;
    if (fd < 0) {
        const char *advice = errno == EACCES ? "ask as root, or as a member of the socket's group"
                                             : "does postern run, and with this --control?";
        snprintf(message, message_size, "%s: nobody to ask: %s; %s", path, strerror(errno), advice);
        return NULL;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    int len = snprintf(line, sizeof line, "%s\n", request);
    char *answer = send(fd, line, (size_t)len, MSG_NOSIGNAL) == len ? read_answer(fd) : NULL;
    if (!answer)
        snprintf(message, message_size, "%s: no answer", path);
    close(fd);
    return answer;
}
