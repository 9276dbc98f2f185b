/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What net.c and net_ctrl.c share; see drive.h for the rest.
 *
 * Limits: the control ring is the last one.
 */
#ifndef NET_H
#define NET_H

#include "drive.h"

#include <linux/virtio_net.h>
#include <sys/ioctl.h>

#define RING_SIZE 256
#define BUF_SIZE 2048
#define NET_BIT(name) (1ULL << VIRTIO_NET_F_##name)

static inline bool net_has(const struct drive *d, unsigned feature)
{
    return d->features >> feature & 1;
}

uint64_t net_wanted(void);
void net_begin(struct drive *d, const char *path, unsigned pairs);
void net_restart(struct drive *d, const uint16_t *base);
uint8_t net_command(struct drive *d, uint8_t class, uint8_t cmd, const void *data, size_t len);
void net_ctrl_cases(struct drive *d, const uint8_t *mac);

#endif
