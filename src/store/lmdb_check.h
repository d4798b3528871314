/*
 * store/lmdb_check - is a file of LMDB whole?
 *
 * LMDB trusts its file: pages have no check of their own, and one that is missing or not what its parent says ends the
 * process. A crash or a power cut leaves no such page behind, but a copy made while the file was written does, or a
 * disk that lies. So a file that was not closed properly is read once, page by page, before LMDB sees it.
 *
 * In:     a file of a stranger, by pread; nothing in it is believed.
 * Out:    whether every page that can be reached is where and what it should be, and every record passes its check.
 * Source: the layout of LMDB 0.9 (mdb.c: MDB_meta, MDB_page, MDB_node), on a machine of the same byte order.
 */
#ifndef POSTERN_STORE_LMDB_CHECK_H
#define POSTERN_STORE_LMDB_CHECK_H

#include "base/span.h"

enum lmdb_check {
    LMDB_CHECK_GOOD,
    LMDB_CHECK_EMPTY,   /* no octet in it: as good as none */
    LMDB_CHECK_EARLIER, /* the last transaction is damaged and was taken back; what was before it is whole */
    LMDB_CHECK_FOREIGN, /* not a file of LMDB, or of a version with another layout */
    LMDB_CHECK_DAMAGED,
    LMDB_CHECK_FAILED, /* could not be read, for want of memory too, or not be mended: errno */
};

/* Nobody else may have the file open. `why` says in a few words what is damaged or foreign. `records` names the
   database whose values are records. */
enum lmdb_check lmdb_check(const char *path, const char *records, char *why, size_t size);

#endif
