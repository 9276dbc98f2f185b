/*
 * A kernel without dirty rings, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), it stands before the C library's ioctl()
 * and answers "no" when KVM is asked for either of its dirty ring
 * capabilities, as a kernel before 5.11 does.  Every other ioctl goes to the
 * kernel as it is.
 *
 * Limits: fake-ioctl.h's.  It does not keep anybody from enabling the
 * capability regardless.
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
        return 0;
    }
    return kernel_ioctl(fd, request, argument);
}
