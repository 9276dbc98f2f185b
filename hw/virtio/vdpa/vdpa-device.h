/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vDPA device that a virtio device of the guest uses: launch, switch, halt.
 *
 * Life cycle: new -> (launch -> switch* -> halt)* -> free
 *
 * Thread model: the BQL, for all functions and all callbacks.
 *
 * The theory of operation is at the top of vdpa-lifecycle.c.
 */
#ifndef HW_VIRTIO_VDPA_DEVICE_H
#define HW_VIRTIO_VDPA_DEVICE_H

#include "system/iothread.h"
#include "hw/virtio/virtio.h"
#include "hw/virtio/vdpa/core/vdpa-fd.h"
#include "vdpa-map.h"

typedef struct VdpaDevice VdpaDevice;
typedef struct VdpaQueue VdpaQueue;

/* What the device is told about a queue. */
typedef struct VdpaQueueSetup {
    unsigned num;                   /* descriptors */
    unsigned base;                  /* the next chain to take */
    uint64_t desc, avail, used;     /* IOVAs */
    int kick, call;                 /* eventfds, -1: none; not owned */
} VdpaQueueSetup;

/* How a queue is served. attach() sets the queue's priv, detach() frees it. */
typedef struct VdpaQueueKind {
    const char *name;
    /* Fill @setup, which holds what the guest's driver set up. 0 or -errno. */
    int (*attach)(VdpaQueue *q, VdpaQueueSetup *setup, Error **errp);
    /* The device runs: serve the queue. */
    void (*run)(VdpaQueue *q);
    /* The device is about to stop: stop serving. */
    void (*pause)(VdpaQueue *q);
    /*
     * The device has stopped at @base; negative: unknown. The base of a packed
     * ring has 32 bits. Returns the base at which the guest's ring continues,
     * or negative if that is unknown.
     */
    int64_t (*detach)(VdpaQueue *q, int64_t base);
    /*
     * The used index, in memory, of the split ring that the device serves;
     * negative if it cannot be read. NULL: detach() needs no base.
     */
    int64_t (*used)(const VdpaQueue *q);
    /*
     * Guest memory from @first to @last, inclusive, has changed while the queue
     * runs. The memory map is in the middle of that change. May be NULL.
     */
    void (*remap)(VdpaQueue *q, uint64_t first, uint64_t last);
    /* Serves the queue, without the device, while a launch waits. May be NULL. */
    const struct VdpaQueueKind *while_waiting;
    /* The device itself interrupts the guest. */
    bool interrupts;
} VdpaQueueKind;

struct VdpaQueue {
    VdpaDevice *device;
    unsigned index;
    VdpaQueueSetup guest;       /* set up by the guest's driver */
    bool ready;                 /* ... completely */
    const VdpaQueueKind *kind;  /* NULL: not attached */
    void *priv;                 /* of the kind */
    bool programmed;            /* the device has been told the whole setup */
    int64_t position;           /* the base, nothing in flight; < 0: unknown */
    int64_t stopped_at;         /* after halt: guest.base; < 0: unknown */
    struct VdpaRings *rings;    /* to shadow the queue with; may be NULL */
};

/* How the network device takes part in a launch. */
typedef struct VdpaFrontendOps {
    /*
     * The driver has accepted @features, and the device is about to be
     * launched. -errno with @errp: the launch fails. May be NULL.
     */
    int (*accepted)(void *opaque, uint64_t features, Error **errp);
    /*
     * The device reads the buffers of queue @index, and writes into none of
     * them. May be NULL: none is known to be such a queue.
     */
    bool (*only_read)(void *opaque, unsigned index);
    /* The virtio device has left the device. May be NULL. */
    void (*left)(void *opaque);
    /*
     * DRIVER_OK is set, only the control queue is enabled: restore the control
     * state. 0, or -errno with @errp.
     */
    int (*restore)(void *opaque, Error **errp);
    /*
     * The device failed, which was reported; make the guest see it. Called from
     * within launch() and others: do not stop or start the device from here.
     */
    void (*failed)(void *opaque);
    /* Adjust @size bytes of the device's configuration for the guest. */
    void (*config)(void *opaque, uint8_t *config, size_t size);
} VdpaFrontendOps;

typedef enum VdpaMode { VDPA_MODE_PASSTHROUGH, VDPA_MODE_SHADOW } VdpaMode;

/*
 * Open a device. @fd stays the caller's and must outlive the device; the device
 * can reach IOVAs from @first to @last, inclusive. NULL with @errp.
 */
VdpaDevice *vdpa_device_new(int fd, uint64_t first, uint64_t last,
                            Error **errp);
void vdpa_device_free(VdpaDevice *d);

/* --- set up, before the first launch ------------------------------------- */

void vdpa_device_set_frontend(VdpaDevice *d, const VdpaFrontendOps *ops,
                              void *opaque);

/* The name for queries: copied; NULL: none. */
void vdpa_device_set_path(VdpaDevice *d, const char *path);

/*
 * Serve shadow queues in @iothread, of which the device takes a reference, and not
 * in a thread of its own.
 */
void vdpa_device_set_iothread(VdpaDevice *d, IOThread *iothread);

/* Shadow the data queues at all times, because of @reason, a static string. */
void vdpa_device_set_always_shadow(VdpaDevice *d, const char *reason);

/* Serve the control queue as @kind, with its memory in address space @asid. */
void vdpa_device_set_control_kind(VdpaDevice *d, const VdpaQueueKind *kind,
                                  unsigned asid);

/*
 * With @features, is queue @control in a group without queues 0 to @control - 1,
 * and does the device have a second address space for it? Resets the device.
 */
bool vdpa_device_control_isolated(VdpaDevice *d, uint64_t features,
                                  unsigned control);

/* --- set up, before each launch ------------------------------------------- */

/* The driver accepted @features. No queue is ready. Ignored while launched. */
void vdpa_device_set_features(VdpaDevice *d, uint64_t features);

/* The index of the control queue; -1: there is none. */
void vdpa_device_set_control_queue(VdpaDevice *d, int index);

/* The interrupt of the configuration, an eventfd; -1: none. 0 or -errno. */
int vdpa_device_set_config_call(VdpaDevice *d, int fd);

/* The interrupt of a queue, an eventfd; -1: none. 0 or -errno. */
int vdpa_device_call(VdpaDevice *d, unsigned index, int fd);

/* Queue @index, which is below VIRTIO_QUEUE_MAX; never NULL. */
VdpaQueue *vdpa_device_queue(VdpaDevice *d, unsigned index);

/* --- what it is ------------------------------------------------------------ */

VdpaFd *vdpa_device_fd(VdpaDevice *d);
VdpaMap *vdpa_device_map(VdpaDevice *d);

/* The virtio device that uses it: from launch to leave, otherwise NULL. */
VirtIODevice *vdpa_device_vdev(const VdpaDevice *d);

/* The features that the driver accepted. */
uint64_t vdpa_device_features(const VdpaDevice *d);

/* Has it been launched, and not halted since? Also while the launch waits. */
bool vdpa_device_launched(const VdpaDevice *d);

/* The control queue; NULL if the device has none or it is not known yet. */
VdpaQueue *vdpa_device_control_queue(VdpaDevice *d);

/* The kind that serves the control queue; NULL: it is passed through. */
const VdpaQueueKind *vdpa_device_control(const VdpaDevice *d);

/* The address space for the control queue's memory, as of this launch. */
unsigned vdpa_device_control_asid(const VdpaDevice *d);

/*
 * The features that the driver accepted and a shadow queue does not support;
 * 0: the data queues can be shadowed.
 */
uint64_t vdpa_device_unshadowable(const VdpaDevice *d);

/* Does a device use file descriptor @fd? */
bool vdpa_device_uses_fd(int fd);

/* Adjust the device's configuration for the guest, through the frontend. */
void vdpa_device_adjust_config(VdpaDevice *d, uint8_t *config, size_t size);

/* --- launch, switch, halt -------------------------------------------------- */

/*
 * Start the device for @vdev. 0, also if the launch waits for memory; -errno
 * with @errp.
 */
int vdpa_device_launch(VdpaDevice *d, VirtIODevice *vdev, Error **errp);

/*
 * While postcopy discards guest memory and brings it page by page, none of it
 * may be pinned: the device would keep pages that the guest no longer has, and
 * pinning a missing page fails. Hold a device before it is launched.
 */
void vdpa_device_hold(VdpaDevice *d, bool hold);

/* Stop the device. Sets stopped_at of every queue. */
void vdpa_device_halt(VdpaDevice *d);

/* Reset the device: status 0. */
void vdpa_device_reset(VdpaDevice *d);

/*
 * The virtio device leaves; nothing of it is used any more. Memory is kept
 * mapped only if it is the machine's, not the virtio device's view of it.
 */
void vdpa_device_leave(VdpaDevice *d);

/* A migration has ended: reset a device that was left suspended for it. */
void vdpa_device_settle(VdpaDevice *d);

/*
 * Change the mode, at once if launched. @reason: a static string. If that fails
 * the device continues in the old mode, launched again if necessary. 0, or
 * -errno with @errp.
 */
int vdpa_device_switch(VdpaDevice *d, VdpaMode mode, const char *reason,
                       Error **errp);

/* --- failures -------------------------------------------------------------- */

/*
 * The guest's driver broke the rules: report one line, keep it for queries, and
 * set DEVICE_NEEDS_RESET. Any function may be on the stack: nothing is stopped
 * or freed before the main loop runs.
 */
void vdpa_device_fault(VdpaDevice *d, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/*
 * Report a failure, keep it for queries, and show it to the guest: through the
 * frontend, or, if there is none, as DEVICE_NEEDS_RESET. Frees @err.
 */
void vdpa_device_report(VdpaDevice *d, VirtIODevice *vdev, Error *err);

/*
 * vhost_dev_start() returned @error, a negative errno: report it the same way,
 * unless the launch has reported it.
 */
void vdpa_device_start_failed(VdpaDevice *d, VirtIODevice *vdev, int error);

/* A device that runs has failed: stop it and report @err. Frees @err. */
void vdpa_device_fail(VdpaDevice *d, Error *err);

#endif
