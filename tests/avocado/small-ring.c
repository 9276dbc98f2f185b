/*
 * A kernel that offers dirty rings of 3,000 entries, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library replaces the C library's ioctl()
 * and answers for KVM's two dirty ring capabilities.  3,000 is no power of two, so
 * QEMU can use 2,048 of them.  Every other ioctl goes to the kernel.
 *
 * Limits: fake-ioctl.h's.  The kernel itself permits more.
 */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdint.h>
#include "fake-ioctl.h"

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    uintptr_t capability = (uintptr_t)argument;

    if (request == KVM_CHECK_EXTENSION &&
        (capability == KVM_CAP_DIRTY_LOG_RING ||
         capability == KVM_CAP_DIRTY_LOG_RING_ACQ_REL)) {
        return 3000 * sizeof(struct kvm_dirty_gfn);
    }
    return kernel_ioctl(fd, request, argument);
}
