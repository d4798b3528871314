#include "stores.h"

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
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
        .kind = (uint8_t)(number % 7), .len = len, .expires_s = wall_us() / 1000000 + 3600 + version};
    memcpy(record.value, &version, len < sizeof version ? len : sizeof version);
    for (size_t i = sizeof version; i < len; i++)
        record.value[i] = (uint8_t)random_next(&random);
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
