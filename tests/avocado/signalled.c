/*
 * A KVM that logs whether signals are blocked at a reset of dirty rings, for one process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Linux 6.17 and newer forget pages when a signal is pending during
 * KVM_RESET_DIRTY_RINGS.  Preloaded into QEMU (LD_PRELOAD), this library checks
 * at each such ioctl whether the calling thread blocks the signals that QEMU sends
 * to its own threads, and writes a letter into the file that $SIGNALLED_FILE
 * names: `b` if they are all blocked, else `u`.
 *
 * Limits: fake-ioctl.h's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include "fake-ioctl.h"

static void log_letter(char letter)
{
    int fd = open(getenv("SIGNALLED_FILE"), O_WRONLY | O_CREAT | O_APPEND, 0600);

    if (fd < 0 || write(fd, &letter, 1) != 1) {
        abort();
    }
    close(fd);
}

static int fake_ioctl(int fd, unsigned long request, void *argument)
{
    static const int sent[] = { SIGUSR1, SIGALRM, SIGBUS, SIGCHLD, SIGTERM };
    sigset_t blocked;
    char letter = 'b';

    if (request == KVM_RESET_DIRTY_RINGS) {
        pthread_sigmask(SIG_BLOCK, NULL, &blocked);
        for (unsigned i = 0; i < sizeof(sent) / sizeof(*sent); i++) {
            if (!sigismember(&blocked, sent[i])) {
                letter = 'u';
            }
        }
        log_letter(letter);
    }
    return kernel_ioctl(fd, request, argument);
}
