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
 * Limits: x86-64, where ioctl() is one system call with three arguments.
 */
#define _GNU_SOURCE
#include <errno.h>
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
    if (request == KVM_RESET_DIRTY_RINGS) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_ioctl, fd, request, argument);
}
