/*
 * greylist/import_part - what the readers of dumps share.
 */
#ifndef POSTERN_GREYLIST_IMPORT_PART_H
#define POSTERN_GREYLIST_IMPORT_PART_H

#include "greylist/import.h"

enum import_status import_postgrey_line(struct importer *importer, struct span line, struct import_entry *entry,
                                        const char **wrong);
enum import_status import_spamd_line(struct importer *importer, struct span line, struct import_entry *entry,
                                     const char **wrong);
enum import_status import_postern_line(struct importer *importer, struct span line, struct import_entry *entry,
                                       const char **wrong);

/* Returns IMPORT_WRONG, with these words. */
enum import_status import_wrong(const char **wrong, const char *words);

/* Digits only, below 2^48. */
bool import_number(struct span text, int64_t *number);

/* Seconds since 1970, not later than a day from now; as milliseconds, and not later than now. */
bool import_time(const struct importer *importer, struct span text, int64_t *time_ms);

/* Where an octet is first found; text.len where it is not. */
size_t import_find(struct span text, uint8_t octet);

/* An address that a record may be about: not longer than SMTP has them, and no control characters. */
bool import_is_address(struct span text);

#endif
