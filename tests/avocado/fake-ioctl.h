/*
 * An ioctl() that stands before the kernel's, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A fake kernel is a library of one file, preloaded into QEMU (LD_PRELOAD), so
 * that its ioctl() hides the C library's.  The file defines fake_ioctl(), which
 * answers, or asks the kernel with kernel_ioctl(): both return what ioctl()
 * does, and set errno with -1.  Any thread may call.
 *
 * Limits: x86-64, where ioctl() is one system call with three arguments.
 */
#ifndef FAKE_IOCTL_H
#define FAKE_IOCTL_H

#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fake_ioctl(int fd, unsigned long request, void *argument);

static int kernel_ioctl(int fd, unsigned long request, void *argument)
{
    return syscall(SYS_ioctl, fd, request, argument);
}

int ioctl(int fd, unsigned long request, ...)
{
    void *argument;
    va_list ap;

    va_start(ap, request);
    argument = va_arg(ap, void *);
    va_end(ap);
    return fake_ioctl(fd, request, argument);
}

#endif
