/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In place of the base's shadow virtqueue, so that it is not built.
 *
 * Theory of operation: nothing. Shadow rings are vdpa-shadow-ring.c and
 * vdpa-queue-shadow.c; the base's list of files to build names this one.
 *
 * Limits: the base's header is still there. A file that includes it and calls
 * something does not link.
 */
#include "qemu/osdep.h"
