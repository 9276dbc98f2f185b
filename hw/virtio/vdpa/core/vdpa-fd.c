/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-vdpa character device, one call per command. See vdpa-fd.h, also for
 * the limits.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <linux/qemu-live-uapi.h>
#include <linux/vhost.h>

#include "vdpa-fd.h"

#define NONE    0       /* needs no backend feature: bit 0 is none */

typedef struct Command {
    unsigned long request;
    unsigned feature;   /* VHOST_BACKEND_F_* it is part of */
    const char *name;
} Command;

static const Command commands[VDPA_COMMAND__MAX] = {
    [VDPA_SET_OWNER] = { VHOST_SET_OWNER, NONE, "take the device" },
    [VDPA_GET_FEATURES] = { VHOST_GET_FEATURES, NONE,
        "read the device's features" },
    [VDPA_SET_FEATURES] = { VHOST_SET_FEATURES, NONE,
        "set the driver's features" },
    [VDPA_GET_BACKEND_FEATURES] = { VHOST_GET_BACKEND_FEATURES, NONE,
        "read the kernel's features" },
    [VDPA_SET_BACKEND_FEATURES] = { VHOST_SET_BACKEND_FEATURES, NONE,
        "agree on the kernel's features" },
    [VDPA_GET_DEVICE_ID] = { VHOST_VDPA_GET_DEVICE_ID, NONE,
        "ask what the device is" },
    [VDPA_GET_STATUS] = { VHOST_VDPA_GET_STATUS, NONE,
        "read the device's status" },
    [VDPA_SET_STATUS] = { VHOST_VDPA_SET_STATUS, NONE,
        "set the device's status" },
    [VDPA_GET_CONFIG] = { VHOST_VDPA_GET_CONFIG, NONE,
        "read the device's configuration" },
    [VDPA_SET_CONFIG] = { VHOST_VDPA_SET_CONFIG, NONE,
        "write the device's configuration" },
    [VDPA_SET_CONFIG_CALL] = { VHOST_VDPA_SET_CONFIG_CALL, NONE,
        "set the configuration interrupt" },
    [VDPA_GET_IOVA_RANGE] = { VHOST_VDPA_GET_IOVA_RANGE, NONE,
        "ask for the range of addresses" },
    [VDPA_GET_AS_NUM] = { VHOST_VDPA_GET_AS_NUM, NONE,
        "count address spaces" },
    [VDPA_GET_QUEUE_GROUP] = { VHOST_VDPA_GET_VRING_GROUP,
        VHOST_BACKEND_F_IOTLB_ASID, "ask for a queue's group" },
    [VDPA_SET_GROUP_ASID] = { VHOST_VDPA_SET_GROUP_ASID,
        VHOST_BACKEND_F_IOTLB_ASID, "give a group its address space" },
    [VDPA_GET_QUEUE_MAX] = { VHOST_VDPA_GET_VRING_NUM, NONE,
        "ask how large queues may be" },
    [VDPA_SET_QUEUE_NUM] = { VHOST_SET_VRING_NUM, NONE,
        "set a queue's size" },
    [VDPA_SET_QUEUE_ADDR] = { VHOST_SET_VRING_ADDR, NONE,
        "set a queue's addresses" },
    [VDPA_SET_QUEUE_BASE] = { VHOST_SET_VRING_BASE, NONE,
        "set a queue's position" },
    [VDPA_GET_QUEUE_BASE] = { VHOST_GET_VRING_BASE, NONE,
        "read a queue's position" },
    [VDPA_SET_QUEUE_KICK] = { VHOST_SET_VRING_KICK, NONE,
        "set a queue's notification" },
    [VDPA_SET_QUEUE_CALL] = { VHOST_SET_VRING_CALL, NONE,
        "set a queue's interrupt" },
    [VDPA_SET_QUEUE_ENABLE] = { VHOST_VDPA_SET_VRING_ENABLE, NONE,
        "enable a queue" },
    [VDPA_SUSPEND] = { VHOST_VDPA_SUSPEND, VHOST_BACKEND_F_SUSPEND,
        "suspend the device" },
    [VDPA_RESUME] = { VHOST_VDPA_RESUME, VHOST_BACKEND_F_RESUME,
        "resume the device" },
};

static int real_command(void *opaque, int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

static long real_message(void *opaque, int fd, const void *msg, size_t bytes)
{
    return write(fd, msg, bytes);
}

const VdpaKernel vdpa_kernel = {
    .command = real_command,
    .message = real_message,
};

void vdpa_fd_init(VdpaFd *d, int fd)
{
    memset(d, 0, sizeof(*d));
    d->fd = fd;
    d->kernel = &vdpa_kernel;
}

bool vdpa_fd_has(const VdpaFd *d, unsigned bit)
{
    return bit == NONE || (d->backend >> bit & 1);
}

const char *vdpa_fd_name(VdpaCommand command)
{
    return commands[command].name;
}

/* The device's parent is the vDPA device, and that one's what made it. */
bool vdpa_fd_is_process(int fd, const char *sysfs)
{
    char path[PATH_MAX], subsystem[PATH_MAX];
    struct stat st;
    const char *name;
    ssize_t n;

    if (fstat(fd, &st) || !S_ISCHR(st.st_mode)) {
        return false;
    }
    snprintf(path, sizeof(path), "%s/dev/char/%u:%u/../../subsystem", sysfs,
             major(st.st_rdev), minor(st.st_rdev));
    n = readlink(path, subsystem, sizeof(subsystem) - 1);
    if (n < 0) {
        return false;
    }
    subsystem[n] = 0;
    name = strrchr(subsystem, '/');
    return !strcmp(name ? name + 1 : subsystem, "vduse");
}

bool vdpa_fd_wanted(const VdpaFd *d)
{
    return __atomic_load_n(&d->busy, __ATOMIC_RELAXED) > 0;
}

static int outcome(VdpaFd *d, long done, int error)
{
    if (done >= 0) {
        return 0;
    }
    if (error == ENODEV || error == ENXIO) {
        __atomic_store_n(&d->gone, true, __ATOMIC_RELAXED);
        return -ENODEV;
    }
    return error == ENOTTY || error == EOPNOTSUPP ? -ENOTSUP : -error;
}

int vdpa_fd_command(VdpaFd *d, VdpaCommand command, void *arg)
{
    const Command *k = &commands[command];
    int done;

    if (!vdpa_fd_has(d, k->feature)) {
        return -ENOTSUP;
    }
    __atomic_fetch_add(&d->commands[command], 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&d->busy, 1, __ATOMIC_RELAXED);
    do {
        done = d->kernel->command(d->opaque, d->fd, k->request, arg);
    } while (done < 0 && errno == EINTR);
    __atomic_fetch_sub(&d->busy, 1, __ATOMIC_RELAXED);
    return outcome(d, done, errno);
}

int vdpa_fd_message(VdpaFd *d, const struct vhost_msg_v2 *msg)
{
    long done;

    do {
        done = d->kernel->message(d->opaque, d->fd, msg, sizeof(*msg));
    } while (done < 0 && errno == EINTR);
    if (done >= 0 && done != sizeof(*msg)) {
        return -EIO;
    }
    return outcome(d, done, errno);
}

int vdpa_fd_queue(VdpaFd *d, VdpaCommand command, unsigned index, unsigned num)
{
    struct vhost_vring_state state = { .index = index, .num = num };

    return vdpa_fd_command(d, command, &state);
}

int vdpa_fd_queue_get(VdpaFd *d, VdpaCommand command, unsigned index,
                      unsigned *num)
{
    struct vhost_vring_state state = { .index = index };
    int err = vdpa_fd_command(d, command, &state);

    *num = err ? 0 : state.num;
    return err;
}

int vdpa_fd_queue_fd(VdpaFd *d, VdpaCommand command, unsigned index, int fd)
{
    struct vhost_vring_file file = { .index = index, .fd = fd };

    return vdpa_fd_command(d, command, &file);
}

/* What a backend feature is worth nothing without. */
static const struct {
    unsigned feature, needs;
} prerequisite[] = {
    { VHOST_BACKEND_F_IOTLB_ASID, VHOST_BACKEND_F_IOTLB_MSG_V2 },
    { VHOST_BACKEND_F_RESUME, VHOST_BACKEND_F_SUSPEND },
    { VHOST_BACKEND_F_DESC_ASID, VHOST_BACKEND_F_IOTLB_ASID },
};

int vdpa_fd_agree(VdpaFd *d, uint64_t wanted)
{
    uint64_t offered = 0;
    int err = vdpa_fd_command(d, VDPA_GET_BACKEND_FEATURES, &offered);
    size_t n = sizeof(prerequisite) / sizeof(prerequisite[0]);

    if (err) {
        return err;
    }
    offered &= wanted;
    for (size_t i = 0; i < n; i++) {
        if (!(offered >> prerequisite[i].needs & 1)) {
            offered &= ~(1ull << prerequisite[i].feature);
        }
    }
    err = vdpa_fd_command(d, VDPA_SET_BACKEND_FEATURES, &offered);
    d->backend = err ? 0 : offered;
    return err;
}
