/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a VDUSE device may reach, mapped into this process as it is asked for.
 *
 * Theory of operation: the kernel knows regions of I/O virtual memory, each a part of a file; a
 * region is mapped as a whole when something in it is first wanted, and kept until the kernel says
 * that the range has changed. Then pointers into it must not be used any more.
 *
 * Thread model: one thread.
 *
 * Limits: IOTLB_REGIONS at once; if there are more, all are forgotten and mapped anew.
 */
#ifndef TESTS_LAB_VDUSE_IOTLB_H
#define TESTS_LAB_VDUSE_IOTLB_H

#include <stdbool.h>
#include <stdint.h>

#define IOTLB_REGIONS 256

struct iotlb_region {
    uint64_t start, last;
    uint8_t perm;                   /* VDUSE_ACCESS_* */
    char *at;
};

struct iotlb {
    int fd;                         /* of the device */
    unsigned count, recent;
    struct iotlb_region region[IOTLB_REGIONS];
};

/* struct ring_memory's; @opaque is a struct iotlb. */
void *iotlb_at(void *opaque, uint64_t iova, uint64_t *len, bool write);

/* Forgets what overlaps [@start, @last]. */
void iotlb_forget(struct iotlb *t, uint64_t start, uint64_t last);

#endif
