/*
 * What the base's IOVA tree and shadow virtqueue need of QEMU to be compiled
 * by themselves
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation: included before each of the base's files (-include);
 * the headers that they ask for are empty files that tests/bench/vdpa.py
 * makes, or the base's own where these need nothing else.  Functions are
 * declared as the base declares them and implemented, with as little work as
 * their purpose allows, in bench-vdpa-stock.c.
 *
 * Limits: enough for vdpa.py.
 */
#ifndef TESTS_BENCH_VDPA_STOCK_SHIM_H
#define TESTS_BENCH_VDPA_STOCK_SHIM_H

#include <assert.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define QEMU_PACKED __attribute__((packed))
#define unlikely(x) __builtin_expect(!!(x), 0)
#define likely(x) __builtin_expect(!!(x), 1)
#define container_of(ptr, type, member) \
    ((type *)((char *)(ptr) - offsetof(type, member)))
#define ROUND_UP(n, d) (((n) + (d) - 1) / (d) * (d))
#define BIT_ULL(n) (1ull << (n))
#define smp_mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define smp_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define cpu_to_le16(v) GUINT16_TO_LE(v)
#define cpu_to_le32(v) GUINT32_TO_LE(v)
#define cpu_to_le64(v) GUINT64_TO_LE(v)
#define le16_to_cpu(v) GUINT16_FROM_LE(v)
#define le32_to_cpu(v) GUINT32_FROM_LE(v)
#define qemu_log_mask(mask, ...) g_error(__VA_ARGS__)
#define error_setg(errp, ...) ((void)(errp))
#define HWADDR_PRIx PRIx64
#define VHOST_FILE_UNBIND -1

#define HWADDR_MAX UINT64_MAX

typedef uint64_t hwaddr;
typedef struct Error Error;
typedef __uint128_t Int128;

static inline Int128 int128_make64(uint64_t v)
{
    return v;
}

#define int128_makes64(v) ((Int128)(__int128_t)(int64_t)(v))
#define int128_add(a, b) ((Int128)((a) + (b)))
#define int128_gt(a, b) ((__int128_t)(a) > (__int128_t)(b))

typedef enum { IOMMU_NONE, IOMMU_RO, IOMMU_WO, IOMMU_RW } IOMMUAccessFlags;

static inline uintptr_t qemu_real_host_page_size(void)
{
    return 4096;
}

/* Events: counted, not signalled. */
typedef struct EventNotifier {
    int fd;
    uint64_t count;
} EventNotifier;

typedef void EventNotifierHandler(EventNotifier *e);

int event_notifier_set(EventNotifier *e);
int event_notifier_test_and_clear(EventNotifier *e);
int event_notifier_get_fd(const EventNotifier *e);
void event_notifier_init_fd(EventNotifier *e, int fd);
void event_notifier_set_handler(EventNotifier *e,
                                EventNotifierHandler *handler);

/* A virtqueue's device side. */
typedef struct vring_desc vring_desc_t;
typedef struct vring_avail vring_avail_t;
typedef struct vring_used vring_used_t;
typedef struct vring_used_elem vring_used_elem_t;

typedef struct VirtIODevice {
    const char *name;
    uint64_t features;
} VirtIODevice;

typedef struct VirtQueue VirtQueue;

/* Without what a shadow virtqueue does not look at. */
typedef struct VirtQueueElement {
    unsigned index, ndescs, out_num, in_num;
    hwaddr *out_addr, *in_addr;
    struct iovec *out_sg, *in_sg;
} VirtQueueElement;

static inline bool virtio_vdev_has_feature(VirtIODevice *vdev,
                                           unsigned int bit)
{
    return vdev->features & BIT_ULL(bit);
}

void *virtqueue_pop(VirtQueue *vq, size_t size);
void virtqueue_unpop(VirtQueue *vq, const VirtQueueElement *elem,
                     unsigned int len);
void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem,
                    unsigned int len);
void virtqueue_fill(VirtQueue *vq, const VirtQueueElement *elem,
                    unsigned int len, unsigned int idx);
void virtqueue_flush(VirtQueue *vq, unsigned int count);
void virtio_queue_set_notification(VirtQueue *vq, int enable);
int virtio_queue_empty(VirtQueue *vq);
int virtio_queue_get_num(VirtIODevice *vdev, int n);
int virtio_get_queue_index(VirtQueue *vq);

#endif
