/*
 * A kernel that offers dirty rings of few entries, or none, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library replaces the C library's ioctl()
 * and answers for KVM's two dirty ring capabilities: the bytes of $RING_MAX entries
 * or, where that is not set, 0, as a kernel before 5.11 does.  Every other ioctl goes
 * to the kernel.
 *
 * Limits: fake-ioctl.h's.  A process that does not ask can still enable the
 * capability, and larger rings.
 */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdint.h>
#include <stdlib.h>
#include "fake-ioctl.h"

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    uintptr_t capability = (uintptr_t)argument;
    const char *max = getenv("RING_MAX");

    if (request == KVM_CHECK_EXTENSION &&
        (capability == KVM_CAP_DIRTY_LOG_RING ||
         capability == KVM_CAP_DIRTY_LOG_RING_ACQ_REL)) {
        return max ? atoi(max) * sizeof(struct kvm_dirty_gfn) : 0;
    }
    return kernel_ioctl(fd, request, argument);
}
