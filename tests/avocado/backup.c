/*
 * A KVM with a backup bitmap beside its rings, as arm64's, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * On arm64, KVM logs pages that it writes outside of any vCPU in a bitmap per
 * slot (KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP), and QEMU has to read that bitmap
 * whenever it needs the pages while the VM does not run.  x86 has no such
 * bitmap.  Preloaded into QEMU (LD_PRELOAD), this library reports that there is one,
 * writes a letter for each KVM_GET_DIRTY_LOG into the file that $BACKUP_FILE names,
 * and does not change the bitmap that the ioctl should fill.  It passes every other
 * ioctl to the kernel.
 *
 * Limits: fake-ioctl.h's; no page is ever dirty in that bitmap.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include "../../linux-headers/linux/qemu-live-uapi.h"
#include "fake-ioctl.h"

static void log_letter(char letter)
{
    int fd = open(getenv("BACKUP_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (fd < 0 || write(fd, &letter, 1) != 1) {
        abort();
    }
    close(fd);
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    const struct kvm_enable_cap *enable = argument;

    switch (request) {
    case KVM_CHECK_EXTENSION:
        if ((unsigned long)argument == KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) {
            return 1;
        }
        break;
    case KVM_ENABLE_CAP:
        if (enable->cap == KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) {
            return 0;
        }
        break;
    case KVM_GET_DIRTY_LOG:
        log_letter('g');
        return 0;
    }
    return kernel_ioctl(fd, request, argument);
}
