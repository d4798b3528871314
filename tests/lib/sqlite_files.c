#include "sqlite_files.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "random.h"

pid_t fork_child(void)
{
    pid_t child = fork();
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

struct store_settings sqlite_settings(void)
{
    struct store_settings settings = store_settings_default();
    settings.sync_ms = 100;
    settings.file_bytes_max = 256 << 20;
    return settings;
}

const char *sqlite_fresh_uri(char uri[128])
{
    static unsigned made;
    snprintf(uri, 128, "sqlite:%s/%u", temporary_folder(), ++made);
    return uri;
}

void sqlite_path(const char *uri, const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", uri + strlen("sqlite:"), name);
}

void wait_written(struct store *store)
{
    struct store_counters counters;
    for (int i = 0; i < 1000; i++) {
        store_counters(store, &counters);
        if (counters.waiting == 0)
            return;
        poll(NULL, 0, 10);
    }
    fail_msg("nothing was written for 10 s");
}

bool is_whole(const struct store_record *record)
{
    uint32_t number, version;
    if (record->len != 28)
        return false;
    memcpy(&version, record->value, 4);
    memcpy(&number, record->value + 4, 4);
    struct random_source random = {(uint64_t)number << 32 | version};
    for (size_t i = 8; i < 28; i++)
        if (record->value[i] != (uint8_t)random_next(&random))
            return false;
    return true;
}

struct store_record whole_record(uint32_t number, uint32_t version)
{
    struct store_record record = {.kind = 1, .len = 28, .expires_s = UINT32_MAX};
    struct random_source random = {(uint64_t)number << 32 | version};
    memcpy(record.value, &version, 4);
    memcpy(record.value + 4, &number, 4);
    for (size_t i = 8; i < 28; i++)
        record.value[i] = (uint8_t)random_next(&random);
    return record;
}

uint32_t version_of(const struct store_record *record)
{
    uint32_t version;
    memcpy(&version, record->value, sizeof version);
    return version;
}

void put_whole(struct store_client *client, uint32_t number, uint32_t version)
{
    struct store_key key = key_of(number);
    struct store_record record = whole_record(number, version);
    put_now(client, &key, &record);
}

static bool visit_whole(void *context, const struct store_key *key, const struct store_record *record, struct span text)
{
    unsigned *count = context;
    uint32_t number;
    memcpy(&number, record->value + 4, 4);
    struct store_key of = key_of(number);
    if (!is_whole(record) || memcmp(&of, key, sizeof of) != 0 || text.len)
        _exit(3);
    ++*count;
    return true;
}

enum sqlite_outcome sqlite_try(const char *uri)
{
    uint64_t unread;
    pid_t child = fork_child();
    if (child == 0) {
        char message[STORE_MESSAGE_BYTES_MAX];
        struct store_settings settings = sqlite_settings();
        unsigned count = 0;
        struct store *store = store_open(uri, &settings, wall_us() / 1000000, message, sizeof message);
        if (!store)
            _exit(strlen(message) > 20 && !strchr(message, '\n') ? 10 + SQLITE_REFUSED : 2);
        if (!store_walk(store, visit_whole, &count, &unread, message, sizeof message))
            _exit(4);
        struct store_client *client = store_client_new(store);
        for (uint32_t i = 0; i < 2000; i++)
            put_whole(client, i * 7, 5);
        wait_written(store);
        unsigned again = 0;
        if (!store_walk(store, visit_whole, &again, &unread, message, sizeof message) || again < count)
            _exit(5);
        store_close(store, 5000);
        _exit(10 + SQLITE_OPENED);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_in_range(WEXITSTATUS(status), 10, 10 + SQLITE_OUTCOMES - 1);
    return (enum sqlite_outcome)(WEXITSTATUS(status) - 10);
}

void sqlite_fill(const char *uri, uint32_t records)
{
    struct store_settings settings = sqlite_settings();
    struct store *store = open_or_fail(uri, &settings);
    struct store_client *client = store_client_new(store);
    for (uint32_t version = 1; version <= 3; version++) {
        for (uint32_t number = 0; number < records; number++)
            put_whole(client, number * version, version);
        wait_written(store);
    }
    store_client_free(client);
    store_close(store, 5000);
}

void sqlite_make_folder(const char *uri)
{
    assert_int_equal(mkdir(uri + strlen("sqlite:"), 0700), 0);
}
