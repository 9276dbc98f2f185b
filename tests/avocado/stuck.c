/*
 * A kernel that does not reset dirty rings, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library replaces the C library's ioctl()
 * and does not execute KVM_RESET_DIRTY_RINGS: it fails with the errno that
 * $STUCK_ERRNO names or, if that is 0, returns 0 as if no entry had to be reset.
 * So KVM never write-protects the pages again and does not log later writes, and a
 * full ring stays full.  Every other ioctl goes to the kernel.
 *
 * Limits: fake-ioctl.h's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include "fake-ioctl.h"

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    const char *number = getenv("STUCK_ERRNO");

    if (request == KVM_RESET_DIRTY_RINGS) {
        errno = number ? atoi(number) : EIO;
        return errno ? -1 : 0;
    }
    return kernel_ioctl(fd, request, argument);
}
