#include "store/sqlite_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/backend.h"

#define APPLICATION "1886352244" /* "post" */
#define FORMAT      1

enum {
    BUSY_MS = 1000,
    DISK_LEFT_BYTES = 1 << 20,
};

static const char schema[] =
    "CREATE TABLE about (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE kinds (kind INTEGER PRIMARY KEY) STRICT;" /* of the records that there may be */
    "CREATE TABLE records (key BLOB PRIMARY KEY CHECK (length(key) = 16), kind INTEGER NOT NULL, expires INTEGER,"
    " value BLOB NOT NULL, text TEXT, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "PRAGMA application_id = " APPLICATION ";"
    "PRAGMA user_version = 1;";

/* ---- what goes wrong ---- */

bool sqlite_number(sqlite3 *db, const char *sql, int64_t *number)
{
    sqlite3_stmt *statement = NULL;
    bool good = sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    *number = good ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return good;
}

/* SQLite has one code for that, and for a file that has reached its size. */
static bool is_disk_full(const struct sqlite_file *file)
{
    struct statvfs about;
    return statvfs(file->path, &about) == 0 && about.f_bavail * about.f_frsize < DISK_LEFT_BYTES;
}

bool sqlite_explain(const struct sqlite_file *file, sqlite3 *db, const char *what, char *message, size_t size)
{
    int code = sqlite3_errcode(db), number = sqlite3_system_errno(db);
    if (code == SQLITE_FULL && !is_disk_full(file))
        snprintf(message, size, "%.300s: %s: it has reached the size that is allowed (%llu MiB)", file->path, what,
                 (unsigned long long)(file->bytes_max >> 20));
    else if (code == SQLITE_FULL || number == ENOSPC || number == EDQUOT || number == EFBIG || is_disk_full(file))
        snprintf(message, size, "%.300s: %s: %s; free some space, what waits is written then", file->path, what,
                 strerror(number == EFBIG || number == EDQUOT ? number : ENOSPC));
    else if (code == SQLITE_NOTADB)
        snprintf(message, size, "%.300s: not postern's (%s); name another folder, or move this file away", file->path,
                 sqlite3_errmsg(db));
    else if (code == SQLITE_CORRUPT)
        snprintf(message, size,
                 "%.300s: damaged (%s); move the folder away to begin anew, or put a backup in its place", file->path,
                 sqlite3_errmsg(db));
    else
        snprintf(message, size, "%.300s: %s: %s%s%s", file->path, what, sqlite3_errmsg(db), number ? ": " : "",
                 number ? strerror(number) : "");
    return false;
}

/* ---- connections ---- */

bool sqlite_execute(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

bool sqlite_connect(const struct sqlite_file *file, sqlite3 **db, char *message, size_t size)
{
    char bound[96];
    int64_t page_bytes;
    if (sqlite3_open_v2(file->path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return sqlite_explain(file, *db, "cannot be opened", message, size);
    sqlite3_extended_result_codes(*db, 0);
    sqlite3_busy_timeout(*db, BUSY_MS);
    bool good = sqlite_execute(*db, "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
                                    "PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 16777216;"
                                    "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
    good = good && sqlite_number(*db, "PRAGMA page_size", &page_bytes);
    if (good)
        snprintf(bound, sizeof bound, "PRAGMA max_page_count = %llu",
                 (unsigned long long)(file->bytes_max / (uint64_t)page_bytes));
    return (good && sqlite_execute(*db, bound)) || sqlite_explain(file, *db, "cannot be opened", message, size);
}

/* ---- opening ---- */

static bool make_folder(struct sqlite_file *file, const char *folder, char *message, size_t size)
{
    struct stat about;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        snprintf(message, size, "%.300s: cannot make this folder: %s; make it, for the user that postern runs as",
                 folder, strerror(errno));
    else if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode))
        snprintf(message, size, "%.300s: not a folder; a store is a folder with files of its own", folder);
    else if (snprintf(file->path, sizeof file->path, "%s/postern.db", folder) >= (int)sizeof file->path)
        snprintf(message, size, "%.300s...: this name is too long", folder);
    return message[0] == '\0';
}

/* SQLite would make it readable for all, and say less of what it lacks. */
static bool make_file(const struct sqlite_file *file, const char *folder, char *message, size_t size)
{
    int fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    if ((fd < 0 && errno != EEXIST) || faccessat(AT_FDCWD, file->path, R_OK | W_OK, AT_EACCESS) != 0 ||
        faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0)
        snprintf(message, size,
                 "%.300s: cannot be written: %s; the user that postern runs as must own it and its folder", file->path,
                 strerror(errno));
    return message[0] == '\0';
}

static bool make_tables(struct sqlite_file *file, sqlite3 *db, char *message, size_t size)
{
    sqlite3_stmt *secret = NULL;
    int64_t tables;
    if (!store_random(file->secret, sizeof file->secret)) {
        snprintf(message, size, "%.300s: the kernel gives no random octets", file->path);
        return false;
    }
    bool good = sqlite_execute(db, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE") &&
                sqlite_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (good && tables == 0) /* another process may have been first */
        good = sqlite_execute(db, schema) &&
               sqlite3_prepare_v2(db, "INSERT INTO about VALUES ('secret', ?1)", -1, &secret, NULL) == SQLITE_OK &&
               sqlite3_bind_blob(secret, 1, file->secret, sizeof file->secret, SQLITE_STATIC) == SQLITE_OK &&
               sqlite3_step(secret) == SQLITE_DONE;
    sqlite3_finalize(secret);
    return (good && sqlite_execute(db, "COMMIT")) || sqlite_explain(file, db, "cannot be made", message, size);
}

/* Whose file it is, and of which format. */
static bool check_format(const struct sqlite_file *file, sqlite3 *db, char *message, size_t size)
{
    int64_t application = 0, format = 0;
    if (!sqlite_number(db, "PRAGMA application_id", &application) || !sqlite_number(db, "PRAGMA user_version", &format))
        return sqlite_explain(file, db, "cannot be read", message, size);
    if (application != strtoll(APPLICATION, NULL, 10))
        snprintf(message, size, "%.300s: not postern's; name another folder, or move this file away", file->path);
    else if (format != FORMAT)
        snprintf(message, size,
                 "%.300s: another version of postern wrote it (format %lld, this one knows %d); install that version, "
                 "or move the folder away to begin anew",
                 file->path, (long long)format, FORMAT);
    return message[0] == '\0';
}

static bool read_secret(struct sqlite_file *file, sqlite3 *db, char *message, size_t size)
{
    sqlite3_stmt *secret = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT value FROM about WHERE name = 'secret'", -1, &secret, NULL);
    code = code == SQLITE_OK ? sqlite3_step(secret) : code;
    bool good = code == SQLITE_ROW && sqlite3_column_bytes(secret, 0) == STORE_SECRET_BYTES;
    if (good)
        memcpy(file->secret, sqlite3_column_blob(secret, 0), STORE_SECRET_BYTES);
    else if (code == SQLITE_ROW || code == SQLITE_DONE)
        snprintf(message, size, "%.300s: damaged (no secret in it); move the folder away to begin anew", file->path);
    else
        sqlite_explain(file, db, "cannot be read", message, size);
    sqlite3_finalize(secret);
    return good;
}

/* What the check could not read, for want of memory or by a fault of the disk: nothing is wrong with the file then. */
static int unread_code(const char *words)
{
    const char *code = strstr(words, "error code=");
    int number = code ? atoi(code + strlen("error code=")) & 0xff : SQLITE_OK;
    return number == SQLITE_CORRUPT ? SQLITE_OK : number;
}

/* quick_check would miss a page in the place of another. */
static bool check(const struct sqlite_file *file, sqlite3 *db, char *message, size_t size)
{
    sqlite3_stmt *check = NULL;
    sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &check, NULL);
    const char *words = sqlite3_step(check) == SQLITE_ROW ? (const char *)sqlite3_column_text(check, 0) : NULL;
    bool good = words && strcmp(words, "ok") == 0;
    if (!words)
        sqlite_explain(file, db, "cannot be read", message, size);
    else if (unread_code(words))
        snprintf(message, size, "%.300s: cannot be read: %s", file->path, sqlite3_errstr(unread_code(words)));
    else if (!good)
        snprintf(message, size,
                 "%.300s: damaged (%.100s); move the folder away to begin anew, or put a backup in its place",
                 file->path, words);
    for (char *at = message; *at; at++)
        *at = *at == '\n' ? ' ' : *at;
    sqlite3_finalize(check);
    return good;
}

bool sqlite_file_open(struct sqlite_file *file, const char *folder, bool checked, sqlite3 **db, char *message,
                      size_t size)
{
    int64_t tables;
    if (!make_folder(file, folder, message, size) || !make_file(file, folder, message, size) ||
        !sqlite_connect(file, db, message, size))
        return false;
    if (!sqlite_number(*db, "SELECT count(*) FROM sqlite_schema", &tables))
        return sqlite_explain(file, *db, "cannot be read", message, size);
    return (tables > 0 || make_tables(file, *db, message, size)) && check_format(file, *db, message, size) &&
           read_secret(file, *db, message, size) && (!checked || check(file, *db, message, size));
}
