/*
 * A log of the accesses that a thread makes to some pages of memory, in their order
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Life cycle: access_log_map() -> access_log_start() -> what is observed, on the same
 * thread -> access_log_stop() -> access_log, access_log_n -> access_log_unmap().
 * The theory of operation is at the top of access-log.c.
 */
#ifndef TESTS_UNIT_ACCESS_LOG_H
#define TESTS_UNIT_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>

#define ACCESS_LOG_ROOM 8192

typedef struct Access {
    size_t at;              /* offset in the memory that is observed */
    bool writes;
} Access;

extern Access access_log[ACCESS_LOG_ROOM];
extern volatile unsigned access_log_n;

/* Returns @size bytes of zeroes, whole pages, which access_log_unmap() frees. */
void *access_log_map(size_t size);
void access_log_unmap(void);

void access_log_start(void);
void access_log_stop(void);

#endif
