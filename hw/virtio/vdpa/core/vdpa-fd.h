/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-vdpa character device, one call per command.
 *
 * Theory of operation
 * -------------------
 * Every request to the kernel goes through vdpa_fd_command() or
 * vdpa_fd_message(). The first is driven by a table: a command's request
 * number, its name for humans, and the backend feature without which it is not
 * even tried. The second writes one IOTLB message. Both count, both return 0
 * or a negative errno, and both reach the kernel through two function pointers,
 * so that a test can be the kernel.
 *
 * A device that was unplugged answers ENODEV to everything; that is kept as
 * @gone, so that stopping the device does not ask it in vain.
 *
 * Thread model: any thread. The kernel serialises commands and messages of one
 * device by a mutex, and holds it as long as a message takes to pin memory;
 * @busy counts the threads that wait with a command; a caller that sends many
 * messages looks at it between two of them (vdpa_fd_wanted()).
 *
 * Limits: no 32-bit userspace on a 64-bit kernel.
 */
#ifndef HW_VIRTIO_VDPA_FD_H
#define HW_VIRTIO_VDPA_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum VdpaCommand {
    VDPA_SET_OWNER,
    VDPA_GET_FEATURES,
    VDPA_SET_FEATURES,
    VDPA_GET_BACKEND_FEATURES,
    VDPA_SET_BACKEND_FEATURES,
    VDPA_GET_DEVICE_ID,
    VDPA_GET_STATUS,
    VDPA_SET_STATUS,
    VDPA_GET_CONFIG,
    VDPA_SET_CONFIG,
    VDPA_SET_CONFIG_CALL,
    VDPA_GET_IOVA_RANGE,
    VDPA_GET_AS_NUM,
    VDPA_GET_QUEUE_GROUP,
    VDPA_SET_GROUP_ASID,
    VDPA_GET_QUEUE_MAX,
    VDPA_SET_QUEUE_NUM,
    VDPA_SET_QUEUE_ADDR,
    VDPA_SET_QUEUE_BASE,
    VDPA_GET_QUEUE_BASE,
    VDPA_SET_QUEUE_KICK,
    VDPA_SET_QUEUE_CALL,
    VDPA_SET_QUEUE_ENABLE,
    VDPA_SUSPEND,
    VDPA_RESUME,
    VDPA_COMMAND__MAX,
} VdpaCommand;

/* The kernel, or who stands in for it. Both return -1 and set errno. */
typedef struct VdpaKernel {
    int (*command)(void *opaque, int fd, unsigned long request, void *arg);
    long (*message)(void *opaque, int fd, const void *msg, size_t bytes);
} VdpaKernel;

extern const VdpaKernel vdpa_kernel;

typedef struct VdpaFd {
    int fd;
    const VdpaKernel *kernel;
    void *opaque;               /* of @kernel's functions */
    uint64_t backend;           /* VHOST_BACKEND_F_*, as agreed */
    unsigned busy;              /* atomic: commands under way */
    bool gone;                  /* atomic: the device was unplugged */
    uint64_t commands[VDPA_COMMAND__MAX];   /* atomic: how often */
} VdpaFd;

void vdpa_fd_init(VdpaFd *d, int fd);

/* Whether backend feature @bit was agreed on. */
bool vdpa_fd_has(const VdpaFd *d, unsigned bit);

/*
 * Asks the kernel. @arg is what the command's request wants, and may be NULL
 * for one without. 0 or a negative errno; -ENOTSUP for a command that this
 * kernel or this device does not know.
 */
int vdpa_fd_command(VdpaFd *d, VdpaCommand command, void *arg);

/* One IOTLB message of the second version. 0 or a negative errno. */
struct vhost_msg_v2;
int vdpa_fd_message(VdpaFd *d, const struct vhost_msg_v2 *msg);

/* Commands with a ring's index and a number. */
int vdpa_fd_queue(VdpaFd *d, VdpaCommand command, unsigned index,
                  unsigned num);
int vdpa_fd_queue_get(VdpaFd *d, VdpaCommand command, unsigned index,
                      unsigned *num);
int vdpa_fd_queue_fd(VdpaFd *d, VdpaCommand command, unsigned index, int fd);

/*
 * Whether the device behind @fd is a process of this machine (vduse). The
 * kernel lets it see only memory that is shared (mapped MAP_SHARED), and says
 * nothing about what it leaves out. @sysfs: where that is mounted; a device
 * that is not found there is taken for one that is none.
 */
bool vdpa_fd_is_process(int fd, const char *sysfs);

/* Does a thread wait with a command? */
bool vdpa_fd_wanted(const VdpaFd *d);

/* The command in words, such as "read the device's features". */
const char *vdpa_fd_name(VdpaCommand command);

/*
 * Agrees on the backend features that both sides know: those of @wanted that
 * the kernel has, minus those whose prerequisites it lacks.
 */
int vdpa_fd_agree(VdpaFd *d, uint64_t wanted);

#endif
