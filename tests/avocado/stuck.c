/*
 * A kernel that does not reset dirty rings, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), it stands before the C library's ioctl()
 * and refuses KVM_RESET_DIRTY_RINGS.  Pages that the guest wrote are then never
 * protected again, so what it writes later goes unseen: QEMU has to notice,
 * and to keep the guest running.  Every other ioctl goes to the kernel.
 *
 * Limits: fake-ioctl.h's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/kvm.h>
#include "fake-ioctl.h"

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    if (request == KVM_RESET_DIRTY_RINGS) {
        errno = EIO;
        return -1;
    }
    return kernel_ioctl(fd, request, argument);
}
