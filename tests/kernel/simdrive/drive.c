// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See drive.h.
 *
 * Limits: a kick is always sent; the device's wish not to be kicked is only read by ring_kick().
 */
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MUST(what) ((what) < 0 ? fail("%s: %s", #what, strerror(errno)) : (void)0)

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("FAIL ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    exit(1);
}

double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

void drive_open(struct drive *d, const char *path, size_t arena_size)
{
    memset(d, 0, sizeof(*d));
    d->fd = open(path, O_RDWR | O_CLOEXEC);
    if (d->fd < 0)
        fail("%s: %s", path, strerror(errno));
    d->arena_size = arena_size;
    d->arena = mmap(NULL, arena_size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (d->arena == MAP_FAILED)
        fail("mmap: %s", strerror(errno));
    MUST(ioctl(d->fd, VHOST_SET_OWNER));
}

static void add_status(struct drive *d, uint8_t bit)
{
    uint8_t status = drive_status(d) | bit;

    MUST(ioctl(d->fd, VHOST_VDPA_SET_STATUS, &status));
}

uint8_t drive_status(struct drive *d)
{
    uint8_t status;

    MUST(ioctl(d->fd, VHOST_VDPA_GET_STATUS, &status));
    return status;
}

/* Up to FEATURES_OK; WANTED may name more than is offered. */
void drive_negotiate(struct drive *d, uint64_t wanted)
{
    uint64_t offered;

    MUST(ioctl(d->fd, VHOST_GET_BACKEND_FEATURES, &d->backend));
    MUST(ioctl(d->fd, VHOST_SET_BACKEND_FEATURES, &d->backend));
    add_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    add_status(d, VIRTIO_CONFIG_S_DRIVER);
    MUST(ioctl(d->fd, VHOST_GET_FEATURES, &offered));
    d->features = offered & (wanted | 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_F_ACCESS_PLATFORM);
    MUST(ioctl(d->fd, VHOST_SET_FEATURES, &d->features));
    add_status(d, VIRTIO_CONFIG_S_FEATURES_OK);
    if (!(drive_status(d) & VIRTIO_CONFIG_S_FEATURES_OK))
        fail("the device did not take the features %llx", (unsigned long long)d->features);
}

static void send(struct drive *d, struct vhost_msg_v2 *msg)
{
    msg->type = VHOST_IOTLB_MSG_V2;
    if (write(d->fd, msg, sizeof(*msg)) != sizeof(*msg))
        fail("IOTLB message %u: %s", msg->iotlb.type, strerror(errno));
}

void drive_map(struct drive *d, unsigned asid)
{
    struct vhost_msg_v2 begin = { .asid = asid, .iotlb.type = VHOST_IOTLB_BATCH_BEGIN };
    struct vhost_msg_v2 end = { .asid = asid, .iotlb.type = VHOST_IOTLB_BATCH_END };
    struct vhost_msg_v2 map = {
        .asid = asid,
        .iotlb = {
            .iova = ARENA_IOVA,
            .size = d->arena_size,
            .uaddr = (uintptr_t)d->arena,
            .perm = VHOST_ACCESS_RW,
            .type = VHOST_IOTLB_UPDATE,
        },
    };
    bool batch = d->backend >> VHOST_BACKEND_F_IOTLB_BATCH & 1;

    if (batch)
        send(d, &begin);
    send(d, &map);
    if (batch)
        send(d, &end);
}

void *drive_alloc(struct drive *d, size_t size, size_t align)
{
    size_t start = (d->arena_used + align - 1) / align * align;

    if (start + size > d->arena_size)
        fail("the arena of %zu bytes is too small", d->arena_size);
    d->arena_used = start + size;
    return d->arena + start;
}

uint64_t drive_iova(const struct drive *d, const void *memory)
{
    return ARENA_IOVA + ((const uint8_t *)memory - d->arena);
}

void drive_start(struct drive *d)
{
    add_status(d, VIRTIO_CONFIG_S_DRIVER_OK);
}

int drive_suspend(struct drive *d)
{
    return ioctl(d->fd, VHOST_VDPA_SUSPEND) ? -errno : 0;
}

int drive_resume(struct drive *d)
{
    return ioctl(d->fd, VHOST_VDPA_RESUME) ? -errno : 0;
}

void drive_reset(struct drive *d)
{
    uint8_t status = 0;

    MUST(ioctl(d->fd, VHOST_VDPA_SET_STATUS, &status));
}

void drive_config(struct drive *d, void *buf, size_t len)
{
    struct vhost_vdpa_config *config = malloc(sizeof(*config) + len);

    config->off = 0;
    config->len = len;
    MUST(ioctl(d->fd, VHOST_VDPA_GET_CONFIG, config));
    memcpy(buf, config->buf, len);
    free(config);
}

/* Tell the device all about a ring, which begins at BASE. */
void ring_again(struct ring *r, uint16_t base)
{
    struct drive *d = r->drive;
    struct vhost_vring_state num = { .index = r->idx, .num = r->num };
    struct vhost_vring_state state = { .index = r->idx, .num = base };
    struct vhost_vring_file kick = { .index = r->idx, .fd = r->kick };
    struct vhost_vring_file call = { .index = r->idx, .fd = r->call };
    struct vhost_vring_addr addr = {
        .index = r->idx,
        .desc_user_addr = drive_iova(d, r->desc),
        .avail_user_addr = drive_iova(d, r->avail),
        .used_user_addr = drive_iova(d, r->used),
    };

    MUST(ioctl(d->fd, VHOST_SET_VRING_NUM, &num));
    MUST(ioctl(d->fd, VHOST_SET_VRING_BASE, &state));
    MUST(ioctl(d->fd, VHOST_SET_VRING_ADDR, &addr));
    MUST(ioctl(d->fd, VHOST_SET_VRING_KICK, &kick));
    MUST(ioctl(d->fd, VHOST_SET_VRING_CALL, &call));
    if (!d->late)
        ring_enable(r);
}

void ring_enable(struct ring *r)
{
    struct vhost_vring_state enable = { .index = r->idx, .num = 1 };

    MUST(ioctl(r->drive->fd, VHOST_VDPA_SET_VRING_ENABLE, &enable));
}

void ring_set_up(struct drive *d, unsigned idx, uint16_t num)
{
    struct ring *r = &d->rings[idx];

    r->drive = d;
    r->idx = idx;
    r->num = num;
    r->desc = drive_alloc(d, num * sizeof(*r->desc), 4096);
    r->avail = drive_alloc(d, sizeof(*r->avail) + num * 2 + 2, 4096);
    r->used = drive_alloc(d, sizeof(*r->used) + num * sizeof(*r->used->ring) + 2, 4096);
    r->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (idx >= d->nrings)
        d->nrings = idx + 1;
    ring_again(r, 0);
}

uint16_t ring_base(struct ring *r)
{
    struct vhost_vring_state state = { .index = r->idx };

    MUST(ioctl(r->drive->fd, VHOST_GET_VRING_BASE, &state));
    return state.num;
}

/* A request of COUNT descriptors from HEAD on; the next free descriptor. */
uint16_t ring_post(struct ring *r, uint16_t head, const struct segment *segments, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        struct vring_desc *desc = &r->desc[(head + i) % r->num];

        desc->addr = drive_iova(r->drive, segments[i].memory);
        desc->len = segments[i].len;
        desc->next = (head + i + 1) % r->num;
        desc->flags = (segments[i].device_writes ? VRING_DESC_F_WRITE : 0) |
                      (i + 1 < count ? VRING_DESC_F_NEXT : 0);
    }
    r->avail->ring[r->next_avail++ % r->num] = head % r->num;
    return (head + count) % r->num;
}

void ring_kick(struct ring *r)
{
    uint64_t one = 1;

    /* Descriptors before the index; the index before the look at the flags. */
    __atomic_store_n(&r->avail->idx, r->next_avail, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&r->used->flags, __ATOMIC_RELAXED) & VRING_USED_F_NO_NOTIFY))
        MUST(write(r->kick, &one, sizeof(one)));
}

uint16_t ring_pending(const struct ring *r)
{
    /* Pairs with the device's release of its index: what it wrote is there. */
    return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) - r->next_used;
}

bool ring_reap(struct ring *r, uint16_t *head, uint32_t *len)
{
    struct vring_used_elem *elem = &r->used->ring[r->next_used % r->num];

    if (!ring_pending(r))
        return false;
    if (ring_pending(r) > r->num)
        fail("ring %u: the used index went astray", r->idx);
    *head = elem->id;
    *len = elem->len;
    if (*head >= r->num)
        fail("ring %u: used descriptor %u", r->idx, *head);
    r->next_used++;
    return true;
}

/* The same, sleeping until the device's interrupt. */
bool ring_wait(struct ring *r, uint16_t *head, uint32_t *len, double limit)
{
    double end = seconds() + limit;

    while (!ring_reap(r, head, len)) {
        struct pollfd wait = { .fd = r->call, .events = POLLIN };
        uint64_t count;

        if (seconds() > end)
            return false;
        if (poll(&wait, 1, 20) > 0 && read(r->call, &count, sizeof(count)) < 0 && errno != EAGAIN)
            fail("call: %s", strerror(errno));
    }
    return true;
}
