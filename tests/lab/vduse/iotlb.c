/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a VDUSE device may reach. Theory of operation and limits: iotlb.h.
 */
#include <linux/vduse.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iotlb.h"

static bool has(const struct iotlb_region *r, uint64_t iova)
{
    return r->start <= iova && iova <= r->last;
}

static struct iotlb_region *find(struct iotlb *t, uint64_t iova)
{
    if (t->recent < t->count && has(&t->region[t->recent], iova)) {
        return &t->region[t->recent];
    }
    for (unsigned i = 0; i < t->count; i++) {
        if (has(&t->region[i], iova)) {
            t->recent = i;
            return &t->region[i];
        }
    }
    return NULL;
}

static int protection(uint8_t perm)
{
    return (perm & VDUSE_ACCESS_RO ? PROT_READ : 0) | (perm & VDUSE_ACCESS_WO ? PROT_WRITE : 0);
}

/* Asks the kernel for the region that @iova is in. */
static struct iotlb_region *fetch(struct iotlb *t, uint64_t iova)
{
    struct vduse_iotlb_entry entry = { .start = iova, .last = iova };
    int fd = ioctl(t->fd, VDUSE_IOTLB_GET_FD, &entry);
    struct iotlb_region *r;
    void *at;

    if (fd < 0) {
        return NULL;
    }
    at = mmap(NULL, entry.last - entry.start + 1, protection(entry.perm), MAP_SHARED, fd,
              entry.offset);
    close(fd);
    if (at == MAP_FAILED) {
        return NULL;
    }
    if (t->count == IOTLB_REGIONS) {
        iotlb_forget(t, 0, UINT64_MAX);
    }
    t->recent = t->count++;
    r = &t->region[t->recent];
    *r = (struct iotlb_region) { entry.start, entry.last, entry.perm, at };
    return r;
}

void *iotlb_at(void *opaque, uint64_t iova, uint64_t *len, bool write)
{
    struct iotlb *t = opaque;
    struct iotlb_region *r = find(t, iova);
    uint64_t left;

    r = r ? r : fetch(t, iova);
    if (!r || !has(r, iova) || !(r->perm & (write ? VDUSE_ACCESS_WO : VDUSE_ACCESS_RO))) {
        return NULL;
    }
    left = r->last - iova + 1;
    *len = *len < left ? *len : left;
    return r->at + (iova - r->start);
}

void iotlb_forget(struct iotlb *t, uint64_t start, uint64_t last)
{
    for (unsigned i = t->count; i-- > 0;) {
        struct iotlb_region *r = &t->region[i];

        if (r->last >= start && r->start <= last) {
            munmap(r->at, r->last - r->start + 1);
            *r = t->region[--t->count];
        }
    }
    t->recent = 0;
}
