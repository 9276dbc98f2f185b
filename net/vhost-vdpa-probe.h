/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a file that is said to be a vhost-vdpa network device is.
 *
 * Theory of operation: asks the kernel what has to be known before a network
 * client is made of it, in an order in which each answer is worth something
 * only after those before it; the first bad one ends it, with a text that says
 * what to do.
 *
 * Thread model: any one thread. Changes nothing in the device.
 *
 * Limits: none.
 */
#ifndef NET_VHOST_VDPA_PROBE_H
#define NET_VHOST_VDPA_PROBE_H

#include "hw/virtio/vdpa/core/vdpa-fd.h"

typedef struct VdpaProbe {
    uint64_t features;
    uint64_t first, last;       /* addresses it can use */
    unsigned queue_pairs;       /* at most */
    bool control;               /* it has a control queue */
} VdpaProbe;

/* NULL, or why it cannot be used; to be freed with g_free(). */
char *vdpa_probe(VdpaFd *fd, VdpaProbe *found);

/*
 * Whether the options name one device: NULL, or what is wrong with them (a
 * static string).
 */
const char *vdpa_options_fault(const char *vhostdev, const char *vhostfd);

/* What to do about an open() of @path that failed; NULL if that is unknown. */
const char *vdpa_open_advice(const char *path, int error);

#endif
