/*
 * A KVM that logs removals of slots with dirty logging while a vCPU runs, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * With page modification logging, a vCPU in the guest holds addresses of dirty
 * pages that KVM has not yet put into the vCPU's ring, and KVM drops those of a
 * slot that has gone.  So QEMU has to get all vCPUs out of KVM_RUN before it
 * removes a slot with dirty logging.  Preloaded into QEMU (LD_PRELOAD), this
 * library counts the vCPUs inside KVM_RUN and writes a letter for each removal of
 * such a slot into the file that $REMOVAL_FILE names: `q` if no vCPU was inside
 * KVM_RUN, else `r`.  Every ioctl goes to the kernel.
 *
 * Limits: fake-ioctl.h's; slots up to SLOTS of two address spaces.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include "fake-ioctl.h"

enum { SLOTS = 4096 };

static atomic_int running;
static atomic_bool logs[2 * SLOTS];

static void log_letter(char letter)
{
    int fd = open(getenv("REMOVAL_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (fd < 0 || write(fd, &letter, 1) != 1) {
        abort();
    }
    close(fd);
}

/* Both forms of the ioctl begin with this structure. */
static void slot_changes(const struct kvm_userspace_memory_region *slot)
{
    unsigned index = (slot->slot >> 16 & 1) * SLOTS + slot->slot % SLOTS;
    bool now = slot->memory_size && slot->flags & KVM_MEM_LOG_DIRTY_PAGES;

    if (!slot->memory_size && logs[index]) {
        log_letter(running ? 'r' : 'q');
    }
    logs[index] = now;
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    int ret;

    switch (request) {
    case KVM_RUN:
        running++;
        ret = kernel_ioctl(fd, request, argument);
        running--;
        return ret;
    case KVM_SET_USER_MEMORY_REGION:
#ifdef KVM_SET_USER_MEMORY_REGION2
    case KVM_SET_USER_MEMORY_REGION2:
#endif
        slot_changes(argument);
        break;
    }
    return kernel_ioctl(fd, request, argument);
}
