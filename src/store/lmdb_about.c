#include "store/lmdb_about.h"

#include <errno.h>
#include <stdio.h>

#include "base/octets.h"
#include "store/backend.h"
#include "store/record.h"

enum { FORMAT = 2, FORMAT_WITHOUT_KINDS = 1, NUMBER_BYTES = 4 };

const char lmdb_records_name[] = "records";

static MDB_val text_value(const char *text)
{
    union {
        const void *in;
        void *out;
    } pointer = {text}; /* LMDB does not change what it is given */
    return (MDB_val){strlen(text), pointer.out};
}

static int put_number(const struct lmdb_about *about, MDB_txn *transaction, const char *name, uint32_t number)
{
    uint8_t octets[NUMBER_BYTES];
    MDB_val key = text_value(name), value = {sizeof octets, octets};
    store_be32(octets, number);
    return mdb_put(transaction, about->about, &key, &value, 0);
}

static bool get_number(const struct lmdb_about *about, MDB_txn *transaction, const char *name, uint32_t *number)
{
    MDB_val key = text_value(name), value;
    if (mdb_get(transaction, about->about, &key, &value) || value.mv_size != NUMBER_BYTES)
        return false;
    *number = load_be32(value.mv_data);
    return true;
}

int about_make(struct lmdb_about *about, MDB_txn *transaction)
{
    MDB_val key = text_value("secret"), secret = {sizeof about->secret, about->secret};
    if (!store_random(about->secret, sizeof about->secret))
        return EIO;
    about->format = FORMAT;
    int error = mdb_dbi_open(transaction, "about", MDB_CREATE, &about->about);
    if (!error)
        error = mdb_dbi_open(transaction, lmdb_records_name, MDB_CREATE, &about->records);
    if (!error)
        error = put_number(about, transaction, "format", FORMAT);
    if (!error)
        error = put_number(about, transaction, "kinds", 0);
    return error ? error : mdb_put(transaction, about->about, &key, &secret, 0);
}

int about_open(struct lmdb_about *about, MDB_txn *transaction)
{
    return mdb_dbi_open(transaction, "about", 0, &about->about);
}

bool about_read(struct lmdb_about *about, MDB_txn *transaction, const char *data, char *message, size_t size)
{
    MDB_val key = text_value("secret"), secret;
    if (!get_number(about, transaction, "format", &about->format)) {
        snprintf(message, size, "%.300s: not postern's; name another folder, or move this file away", data);
        return false;
    }
    if (about->format < FORMAT_WITHOUT_KINDS || about->format > FORMAT) {
        snprintf(message, size,
                 "%.300s: a %s version of postern wrote it (format %u, this one knows %d); install that version, or "
                 "move the file away to begin anew",
                 data, about->format > FORMAT ? "newer" : "much older", about->format, FORMAT);
        return false;
    }
    int error = mdb_get(transaction, about->about, &key, &secret);
    if (!error && secret.mv_size != STORE_SECRET_BYTES)
        error = MDB_NOTFOUND;
    if (!error)
        error = mdb_dbi_open(transaction, lmdb_records_name, 0, &about->records);
    if (error == MDB_NOTFOUND)
        snprintf(message, size, "%.300s: damaged (no secret or no records in it); move it away to begin anew", data);
    else if (error)
        snprintf(message, size, "%.300s: cannot be read: %s", data, mdb_strerror(error));
    if (error)
        return false;
    memcpy(about->secret, secret.mv_data, STORE_SECRET_BYTES);
    return true;
}

/* ---- kinds ---- */

uint32_t about_kinds(const struct lmdb_about *about, MDB_txn *transaction)
{
    uint32_t kinds;
    return get_number(about, transaction, "kinds", &kinds) ? kinds : UINT32_MAX;
}

int about_add_kinds(const struct lmdb_about *about, MDB_txn *transaction, uint32_t kinds)
{
    uint32_t before = about_kinds(about, transaction);
    return (before | kinds) == before ? 0 : put_number(about, transaction, "kinds", before | kinds);
}

static int kinds_of_records(const struct lmdb_about *about, MDB_txn *transaction, uint32_t *kinds)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    struct store_record record;
    struct span text;
    *kinds = 0;
    int error = mdb_cursor_open(transaction, about->records, &cursor);
    if (error)
        return error;
    while ((error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct store_key of;
        if (key.mv_size != sizeof of)
            break;
        memcpy(&of, key.mv_data, sizeof of);
        if (record_decode(&of, (struct span){value.mv_data, value.mv_size}, &record, &text) != RECORD_GOOD)
            break;
        *kinds |= store_kind_bit(record.kind);
    }
    mdb_cursor_close(cursor);
    return error == MDB_NOTFOUND ? 0 : MDB_CORRUPTED;
}

bool about_is_current(const struct lmdb_about *about)
{
    return about->format == FORMAT;
}

int about_upgrade(struct lmdb_about *about, MDB_txn *transaction)
{
    uint32_t kinds;
    int error = kinds_of_records(about, transaction, &kinds);
    if (!error)
        error = put_number(about, transaction, "kinds", kinds);
    return error ? error : put_number(about, transaction, "format", FORMAT);
}
