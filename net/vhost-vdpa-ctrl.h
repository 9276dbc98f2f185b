/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a guest's driver told its network device through the control queue.
 *
 * Theory of operation
 * -------------------
 * It is state of the device that no queue position and no configuration space
 * has: MAC address and filters, receive modes, VLANs, queue pairs, offloads,
 * RSS. QEMU sees each command, and its model of virtio-net keeps what they
 * come to (and migrates it, in fields of its own). A VdpaCtrlState is a
 * snapshot of that. vdpa_ctrl_replay() turns it into the commands that bring a
 * device that was just reset there; what a reset leaves as it should be gets
 * none.
 *
 * A filter table that overflowed lets all addresses of its kind in. A device that
 * was told so by its receive modes is told by vdpa_ctrl_filter() from then on
 * what is in force, whatever the guest asks for, until nothing overflows.
 *
 * Thread model: any; no state of its own.
 *
 * Limits: commands of features that are not named here are not kept.
 */
#ifndef NET_VHOST_VDPA_CTRL_H
#define NET_VHOST_VDPA_CTRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VDPA_CTRL_MAC           6
#define VDPA_CTRL_VLANS         4096
#define VDPA_CTRL_RSS_KEY       40
#define VDPA_CTRL_RSS_TABLE     128
#define VDPA_CTRL_MACS          64
/* Any command that a replay makes. */
#define VDPA_CTRL_COMMAND_MAX   1024

typedef struct VdpaCtrlState {
    uint64_t features;                  /* what the driver accepted */
    uint8_t mac[VDPA_CTRL_MAC];

    /* The filter table. A part that overflowed is not applied. */
    const uint8_t *macs;                /* unicast, then multicast */
    unsigned unicast, multicast;        /* how many of each */
    bool unicast_overflow, multicast_overflow;

    /* Receive modes. */
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast;

    const uint32_t *vlans;              /* VDPA_CTRL_VLANS bits */
    uint16_t queue_pairs;
    uint64_t offloads;                  /* 1 << VIRTIO_NET_F_GUEST_* */
    uint64_t offloads_default;          /* ... as negotiated */

    bool rss;                           /* hash_types and what follows */
    uint32_t hash_types;
    uint16_t table_length;              /* a power of two */
    const uint16_t *table;
    uint16_t default_queue;
    const uint8_t *key;                 /* VDPA_CTRL_RSS_KEY bytes */
} VdpaCtrlState;

/* Takes one command; returns 0 to go on, or -errno to stop. */
typedef int (*VdpaCtrlEmit)(void *opaque, const uint8_t *command,
                            size_t bytes);

/*
 * Makes the commands, in an order a device can take them in. 0, what @emit
 * returned, or -EINVAL for a state that cannot be.
 */
int vdpa_ctrl_replay(const VdpaCtrlState *state, VdpaCtrlEmit emit,
                     void *opaque);

/*
 * The filter table, also if it is empty, and the two receive modes that stand
 * in for a part of it that overflowed, on or off: for a device that runs. 0, or
 * as vdpa_ctrl_replay(); nothing without VIRTIO_NET_F_CTRL_RX.
 */
int vdpa_ctrl_filter(const VdpaCtrlState *state, VdpaCtrlEmit emit,
                     void *opaque);

/* Whether a command changes what vdpa_ctrl_filter() tells. */
bool vdpa_ctrl_is_filter(const uint8_t *command, size_t bytes);

/* Whether a command is QEMU's own business, and none of the device's. */
bool vdpa_ctrl_is_local(const uint8_t *command, size_t bytes);

/* Names for logs: class and command. */
const char *vdpa_ctrl_name(const uint8_t *command, size_t bytes);

#endif
