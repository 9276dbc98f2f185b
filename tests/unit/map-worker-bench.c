/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A map worker and its kernel. See map-worker-bench.h, also for the limits.
 */
#include "map-worker-bench.h"

static long take(void *opaque, int fd, const void *bytes, size_t size)
{
    Kernel *k = opaque;
    const struct vhost_msg_v2 *msg = bytes;
    bool fails;

    qemu_mutex_lock(&k->lock);
    k->held = k->hold;
    k->arrived++;
    qemu_cond_broadcast(&k->moved);
    while (k->hold && !k->pass) {
        qemu_cond_wait(&k->moved, &k->lock);
    }
    k->pass -= k->hold;
    k->held = false;
    shim_pass(k->slow_us);
    g_assert_cmpuint(k->logged, <, MOST);
    k->log[k->logged++] = (Message) {
        msg->iotlb.type, msg->iotlb.iova, msg->iotlb.size, msg->iotlb.uaddr,
    };
    fails = k->error && msg->iotlb.type == VHOST_IOTLB_UPDATE &&
            msg->iotlb.iova == k->bad;
    errno = fails ? k->error
                  : msg->iotlb.type == VHOST_IOTLB_BATCH_END ? k->end_error : 0;
    fails = errno;
    qemu_mutex_unlock(&k->lock);
    return fails ? -1 : (long)size;
}

static void idle(void *opaque)
{
    Bench *b = opaque;

    b->idle++;
}

Bench *bench_new_for(bool pins)
{
    Bench *b = g_new0(Bench, 1);

    qemu_mutex_init(&b->kernel.lock);
    qemu_cond_init(&b->kernel.moved);
    vdpa_fd_init(&b->fd, 7);
    b->functions.message = take;
    b->fd.kernel = &b->functions;
    b->fd.opaque = &b->kernel;
    b->fd.backend = UINT64_C(1) << VHOST_BACKEND_F_IOTLB_BATCH;
    b->worker = vdpa_worker_new(&b->fd, pins, idle, b);
    return b;
}

Bench *bench_new(void)
{
    return bench_new_for(true);
}

void bench_free(Bench *b)
{
    vdpa_worker_free(b->worker);
    qemu_mutex_destroy(&b->kernel.lock);
    qemu_cond_destroy(&b->kernel.moved);
    g_free(b);
}

void hold(Bench *b, bool on)
{
    qemu_mutex_lock(&b->kernel.lock);
    b->kernel.hold = on;
    qemu_cond_broadcast(&b->kernel.moved);
    qemu_mutex_unlock(&b->kernel.lock);
}

void await_held(Bench *b)
{
    qemu_mutex_lock(&b->kernel.lock);
    while (!b->kernel.held) {
        qemu_cond_wait(&b->kernel.moved, &b->kernel.lock);
    }
    qemu_mutex_unlock(&b->kernel.lock);
}

void pass_one(void *opaque)
{
    Bench *b = opaque;
    Kernel *k = &b->kernel;
    unsigned arrived;

    qemu_mutex_lock(&k->lock);
    arrived = k->arrived;
    k->pass += k->held;
    qemu_cond_broadcast(&k->moved);
    qemu_mutex_unlock(&k->lock);
    while (vdpa_worker_busy(b->worker)) {
        qemu_mutex_lock(&k->lock);
        if (k->arrived > arrived) {
            arrived = 0;
        }
        qemu_mutex_unlock(&k->lock);
        if (!arrived) {
            return;
        }
        g_usleep(100);
    }
}

void limit_passes(Bench *b, void (*then)(void *opaque))
{
    shim_on_limit = then;
    shim_on_limit_opaque = b;
}

unsigned messages(Bench *b)
{
    unsigned n;

    qemu_mutex_lock(&b->kernel.lock);
    n = b->kernel.logged;
    qemu_mutex_unlock(&b->kernel.lock);
    return n;
}

void give_map(Bench *b, uint64_t iova, uint64_t size, MemoryRegion *mr)
{
    VdpaIovaMap map = { iova, size, iova + 0x7f0000000000, iova,
                        VDPA_IOVA_RW };

    vdpa_worker_map(b->worker, 0, &map, mr);
}

void check(const Bench *b, unsigned i, int type, uint64_t iova,
                  uint64_t size)
{
    const Message *m = &b->kernel.log[i];

    g_assert_cmpuint(i, <, b->kernel.logged);
    g_assert_cmpint(m->type, ==, type);
    if (type == VHOST_IOTLB_UPDATE || type == VHOST_IOTLB_INVALIDATE) {
        g_assert_cmphex(m->iova, ==, iova);
        g_assert_cmphex(m->size, ==, size);
    }
    if (type == VHOST_IOTLB_UPDATE) {
        g_assert_cmphex(m->uaddr, ==, iova + 0x7f0000000000);
    }
}
