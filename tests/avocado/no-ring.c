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
 * Limits: x86-64, where ioctl() is one system call with three arguments.  It
 * does not keep anybody from enabling the capability regardless.
 */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...)
{
    unsigned long argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, unsigned long);
    va_end(ap);
    if (request == KVM_CHECK_EXTENSION &&
        (argument == KVM_CAP_DIRTY_LOG_RING ||
         argument == KVM_CAP_DIRTY_LOG_RING_ACQ_REL)) {
        return 0;
    }
    return syscall(SYS_ioctl, fd, request, argument);
}
