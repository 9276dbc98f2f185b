/*
 * A kernel that takes long to reset dirty rings, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Preloaded into QEMU (LD_PRELOAD), this library replaces the C library's ioctl()
 * and sleeps $SLOW_MS milliseconds before each KVM_RESET_DIRTY_RINGS, as a kernel
 * does that has many large rings to reset.
 *
 * Limits: fake-ioctl.h's.
 */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdlib.h>
#include <time.h>
#include "fake-ioctl.h"

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    const char *ms = getenv("SLOW_MS");
    long sleep_ms = ms ? atol(ms) : 0;
    struct timespec time = { sleep_ms / 1000, sleep_ms % 1000 * 1000000 };

    if (request == KVM_RESET_DIRTY_RINGS) {
        nanosleep(&time, NULL);
    }
    return kernel_ioctl(fd, request, argument);
}
