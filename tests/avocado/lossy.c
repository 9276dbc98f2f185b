/*
 * A kernel that loses dirty pages, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library replaces the C library's ioctl().
 * It clears the first page of every 64 in each dirty bitmap that KVM returns, so
 * these pages are never sent again.  The oracle must fail a migration that runs
 * on this.  The bitmaps' sizes are those of the memory slots, which the library
 * records as QEMU sets them.
 *
 * Limits: fake-ioctl.h's.  The bitmap only, not the rings, which are shared memory
 * (build/qemu-fault loses their entries).  Slots below NR_SLOTS, one VM; QEMU sets
 * and reads slots under one lock, so none is needed here.
 */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdint.h>
#include "fake-ioctl.h"

#define NR_SLOTS 1024
#define PAGES_PER_WORD 64
#define PAGE_BYTES 4096

/* From linux/kvm.h of 6.8; its struct begins like the older one. */
#define SET_USER_MEMORY_REGION2 0x40a0ae49

static uint64_t slot_bytes[NR_SLOTS];

static void note_slot(const struct kvm_userspace_memory_region *region)
{
    uint32_t slot = region->slot & 0xffff;

    /* Only those of the first address space: the guest is never in SMM. */
    if (slot < NR_SLOTS && !(region->slot >> 16)) {
        slot_bytes[slot] = region->memory_size;
    }
}

static void lose_pages(const struct kvm_dirty_log *log)
{
    uint64_t *words = log->dirty_bitmap;
    uint64_t n = 0;

    if (log->slot < NR_SLOTS) {
        n = slot_bytes[log->slot] / PAGE_BYTES / PAGES_PER_WORD;
    }
    for (uint64_t i = 0; i < n; i++) {
        words[i] &= ~1ull;
    }
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    int ret;

    if (request == KVM_SET_USER_MEMORY_REGION ||
        request == SET_USER_MEMORY_REGION2) {
        note_slot(argument);
    }
    ret = kernel_ioctl(fd, request, argument);
    if (!ret && request == KVM_GET_DIRTY_LOG) {
        lose_pages(argument);
    }
    return ret;
}
