#include "stores.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "random.h"

struct store_key key_of(uint64_t number)
{
    struct random_source random = {number};
    struct store_key key;
    for (size_t i = 0; i < sizeof key.octets; i += 8) {
        uint64_t bits = random_next(&random);
        memcpy(key.octets + i, &bits, 8);
    }
    return key;
}

struct store_record record_of(uint64_t number, uint32_t version, uint8_t len)
{
    struct random_source random = {number << 32 | version};
    struct store_record record = {
        .kind = (uint8_t)(number % 7 * 40), .len = len, .expires_s = wall_us() / 1000000 + 3600 + version};
    memcpy(record.value, &version, len < sizeof version ? len : sizeof version);
    for (size_t i = sizeof version; i < len; i++)
        record.value[i] = number % 2 && random_below(&random, 2) ? 0 : (uint8_t)random_next(&random);
    return record;
}

bool records_equal(const struct store_record *a, const struct store_record *b)
{
    return a->kind == b->kind && a->len == b->len && a->expires_s == b->expires_s &&
           memcmp(a->value, b->value, a->len) == 0;
}

int64_t wall_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void put_now(struct store_client *client, const struct store_key *key, const struct store_record *record)
{
    if (record)
        store_put(client, key, record);
    else
        store_drop(client, key);
}

enum store_status look_up(struct store_client *client, const struct store_key *key, struct store_record *record)
{
    static uint64_t token;
    struct store_answer answer;
    enum store_status status = store_get(client, key, ++token, wall_us(), wall_us() + 5000000, record);
    if (status != STORE_LATER)
        return status;
    while (!store_next_answer(client, wall_us(), &answer)) {
        struct pollfd answered = {.fd = store_client_fd(client), .events = POLLIN};
        poll(&answered, 1, 10);
    }
    if (answer.token != token)
        abort();
    *record = answer.record;
    return answer.status;
}

bool look_up_until(struct store_client *client, const struct store_key *key, enum store_status wanted, int wait_ms)
{
    struct store_record record;
    int64_t until_us = wall_us() + (int64_t)wait_ms * 1000;
    do {
        if (look_up(client, key, &record) == wanted)
            return true;
        poll(NULL, 0, 5);
    } while (wall_us() < until_us);
    return false;
}

static char folder[64];
static pid_t folder_owner;

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *place)
{
    (void)about;
    (void)type;
    (void)place;
    return remove(path);
}

static void remove_folder(void)
{
    if (getpid() == folder_owner) /* children that were forked end, too */
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *temporary_folder(void)
{
    if (!folder[0]) {
        const char *under = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%.30s/postern-XXXXXX", under ? under : "/tmp");
        if (!mkdtemp(folder))
            abort();
        folder_owner = getpid();
        atexit(remove_folder);
    }
    return folder;
}

struct store *open_or_fail(const char *uri, const struct store_settings *settings)
{
    char message[STORE_MESSAGE_BYTES_MAX];
    struct store *store = store_open(uri, settings, wall_us() / 1000000, message, sizeof message);
    if (!store) {
        fprintf(stderr, "%s\n", message);
        abort();
    }
    return store;
}

/* ---- a redis server of one's own ---- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        abort();
    close(fd);
    return ntohs(address.sin_port);
}

/* It keeps in that file what it learns. */
static void become_sentinel(const struct redis_server *server)
{
    char path[256];
    snprintf(path, sizeof path, "%s/sentinel-%d.conf", temporary_folder(), server->port);
    FILE *file = fopen(path, "w");
    if (!file)
        _exit(1);
    fprintf(file, "port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor gate 127.0.0.1 %d 1\n", server->port,
            temporary_folder(), server->sentinel_of);
    fclose(file);
    unsetenv("LD_PRELOAD");
    execlp("redis-server", "redis-server", path, "--sentinel", NULL);
    _exit(1);
}

static void become_server(const struct redis_server *server)
{
    char port[8], dump[32]; /* a replica writes one, and whoever starts with it has what is in it */
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(dump, sizeof dump, "%d-%d.rdb", server->port, (int)getpid());
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int nowhere = open("/dev/null", O_RDWR);
    if (nowhere < 0 || dup2(nowhere, 0) < 0 || dup2(nowhere, 1) < 0 || dup2(nowhere, 2) < 0)
        _exit(1);
    if (server->sentinel_of)
        become_sentinel(server);
    unsetenv("LD_PRELOAD"); /* the date of a test is none of the server's: faketime has it hang */
    execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no",
           "--dir", temporary_folder(), "--dbfilename", dump, "--unixsocket", server->socket,
           *server->password ? "--requirepass" : NULL, server->password, NULL);
    _exit(1);
}

static redisContext *reach(const struct redis_server *server)
{
    redisContext *connection = redisConnect("127.0.0.1", server->port);
    if (!connection)
        abort();
    if (!connection->err && *server->password)
        freeReplyObject(redisCommand(connection, "AUTH %s", server->password));
    return connection;
}

void redis_server_start(struct redis_server *server)
{
    if (!server->port)
        server->port = free_port();
    temporary_folder();
    server->process = fork();
    if (server->process == 0)
        become_server(server);
    for (int i = 0; i < 500; i++) {
        redisContext *connection = reach(server);
        redisReply *reply = connection->err ? NULL : redisCommand(connection, "PING");
        bool good = reply && reply->type == REDIS_REPLY_STATUS;
        freeReplyObject(reply);
        redisFree(connection);
        if (good)
            return;
        poll(NULL, 0, 20);
    }
    fprintf(stderr, "redis-server does not start; is it installed (make deps)?\n");
    abort();
}

void redis_server_stop(struct redis_server *server, int signal_number)
{
    kill(server->process, signal_number);
    waitpid(server->process, NULL, 0);
    server->process = 0;
}

void redis_server_command(const struct redis_server *server, const char *command, char *answer, size_t size)
{
    redisContext *connection = reach(server);
    redisReply *reply = redisCommand(connection, command);
    if (!reply)
        abort();
    if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(answer, size, "%lld", reply->integer);
    else
        snprintf(answer, size, "%s", reply->str ? reply->str : "");
    freeReplyObject(reply);
    redisFree(connection);
}
