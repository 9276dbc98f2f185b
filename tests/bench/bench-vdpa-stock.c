/*
 * bench-vdpa's subject "stock": the base's IOVA tree and shadow virtqueue
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * The base's files are compiled as they are; what they call of the rest of
 * QEMU is here.  Of a guest's virtqueue that is the least that does the work:
 * an element is allocated at once and filled from the ring, as the base
 * does it, but addresses become pointers by one addition, where the base asks
 * its memory map, checks, and takes a reference; kicks and interrupts are
 * counted, where the base writes to a file descriptor for each.  So stock's
 * figures here are better than stock's.
 *
 * Its trees cannot be filled with 100,000 maps by their own allocation in
 * reasonable time (each walks all maps there are), so the lookups are measured
 * on the trees beneath, filled by their insert functions.
 *
 * Limits: no indirect tables.
 */
#include "qemu/osdep.h"

#include "hw/virtio/vhost-iova-tree.h"
#include "hw/virtio/vhost-shadow-virtqueue.h"
#include "qemu/iova-tree.h"

#include "fake-vdpa.h"

#include "bench-vdpa.h"

/* --- IOVA tree ------------------------------------------------------------ */

typedef struct StockTable {
    IOVATree *tree;
    VhostIOVATree *vhost;
} StockTable;

static void *stock_make(size_t n)
{
    StockTable *t = g_new0(StockTable, 1);

    t->tree = iova_tree_new();
    for (size_t i = 0; i < n; i++) {
        DMAMap map = {
            .iova = bench_iova(i), .translated_addr = bench_hva(i),
            .size = BENCH_PAGE - 1, .perm = IOMMU_RW,
        };

        g_assert_cmpint(iova_tree_insert(t->tree, &map), ==, IOVA_OK);
    }
    return t;
}

static uint64_t stock_look_up(void *table, uint64_t iova)
{
    StockTable *t = table;
    DMAMap needle = { .iova = iova };

    return iova_tree_find(t->tree, &needle)->translated_addr;
}

static void *stock_make_empty(void)
{
    StockTable *t = g_new0(StockTable, 1);

    t->vhost = vhost_iova_tree_new(0, UINT64_MAX);
    return t;
}

static bool stock_alloc(void *table, size_t i)
{
    DMAMap map = { .size = BENCH_PAGE - 1, .perm = IOMMU_RW };

    return vhost_iova_tree_map_alloc(((StockTable *)table)->vhost, &map,
                                     bench_hva(i)) == IOVA_OK;
}

static void stock_free(void *table)
{
    StockTable *t = table;

    if (t->vhost) {
        vhost_iova_tree_delete(t->vhost);
    } else {
        iova_tree_destroy(t->tree);
    }
    g_free(t);
}

const BenchTable table_stock = {
    stock_make, stock_look_up, stock_free, stock_make_empty, stock_alloc,
};

/* --- the guest's virtqueue ------------------------------------------------ */

struct VirtQueue {
    FakeVdpa *vdpa;
    const FakeDriver *driver;
    bool event_idx;
    uint16_t last_avail, used_idx, shown_used;
    bool notify;
    uint64_t calls;
};

int virtio_queue_get_num(VirtIODevice *vdev, int n)
{
    return RING_NUM;
}

int virtio_get_queue_index(VirtQueue *vq)
{
    return 0;
}

int virtio_queue_empty(VirtQueue *vq)
{
    return __atomic_load_n(&vq->driver->avail->idx, __ATOMIC_ACQUIRE) ==
           vq->last_avail;
}

void virtio_queue_set_notification(VirtQueue *vq, int enable)
{
    vq->notify = enable;
    if (!vq->event_idx) {
        vq->driver->used->flags = enable ? 0 : VRING_USED_F_NO_NOTIFY;
    } else if (enable) {
        *fake_avail_event(vq->driver->used, RING_NUM) = vq->last_avail;
    }
    smp_mb();
}

/* How many segments a chain has, of those that the device reads and writes. */
static void count_segments(const FakeDriver *driver, uint16_t head,
                         unsigned *nread, unsigned *nwrite)
{
    const struct vring_desc *desc = &driver->desc[head];

    *nread = *nwrite = 0;
    for (;; desc = &driver->desc[desc->next]) {
        *(desc->flags & VRING_DESC_F_WRITE ? nwrite : nread) += 1;
        if (!(desc->flags & VRING_DESC_F_NEXT)) {
            break;
        }
    }
}

static VirtQueueElement *make_element(size_t size, unsigned out, unsigned in)
{
    char *block = g_malloc(size + (out + in) * (sizeof(hwaddr) +
                                                sizeof(struct iovec)));
    VirtQueueElement *elem = (void *)block;

    elem->out_num = out;
    elem->in_num = in;
    elem->in_addr = (void *)(block + size);
    elem->out_addr = elem->in_addr + in;
    elem->in_sg = (void *)(elem->out_addr + out);
    elem->out_sg = elem->in_sg + in;
    return elem;
}

void *virtqueue_pop(VirtQueue *vq, size_t size)
{
    const FakeDriver *driver = vq->driver;
    unsigned out, in, i = 0, k = 0;
    const struct vring_desc *desc;
    VirtQueueElement *elem;
    uint16_t head;

    if (virtio_queue_empty(vq)) {
        return NULL;
    }
    head = driver->avail->ring[vq->last_avail++ % RING_NUM];
    count_segments(driver, head, &out, &in);
    elem = make_element(size, out, in);
    elem->index = head;
    elem->ndescs = 1;
    desc = &driver->desc[head];
    for (unsigned n = out + in; n; n--, desc = &driver->desc[desc->next]) {
        bool write = desc->flags & VRING_DESC_F_WRITE;
        unsigned at = write ? k++ : i++;

        (write ? elem->in_addr : elem->out_addr)[at] = desc->addr;
        (write ? elem->in_sg : elem->out_sg)[at] = (struct iovec) {
            vq->vdpa->ram + desc->addr, desc->len };
    }
    return elem;
}

void virtqueue_unpop(VirtQueue *vq, const VirtQueueElement *elem,
                     unsigned int len)
{
    g_assert_not_reached();
}

void virtqueue_fill(VirtQueue *vq, const VirtQueueElement *elem,
                    unsigned int len, unsigned int idx)
{
    unsigned left = len;

    for (unsigned i = 0; i < elem->in_num && left; i++) {
        unsigned part = MIN(left, elem->in_sg[i].iov_len);

        fake_vdpa_ops.guest.dirty(vq->vdpa, elem->in_addr[i], part);
        left -= part;
    }
    vq->driver->used->ring[(uint16_t)(vq->used_idx + idx) % RING_NUM] =
        (struct vring_used_elem) { elem->index, len };
}

void virtqueue_flush(VirtQueue *vq, unsigned int count)
{
    vq->used_idx += count;
    __atomic_store_n(&vq->driver->used->idx, vq->used_idx, __ATOMIC_RELEASE);
}

void virtqueue_push(VirtQueue *vq, const VirtQueueElement *elem,
                    unsigned int len)
{
    virtqueue_fill(vq, elem, len, 0);
    virtqueue_flush(vq, 1);
}

/* --- events --------------------------------------------------------------- */

static EventNotifierHandler *on_call, *on_kick;

int event_notifier_set(EventNotifier *e)
{
    e->count++;
    return 0;
}

int event_notifier_test_and_clear(EventNotifier *e)
{
    return 1;
}

int event_notifier_get_fd(const EventNotifier *e)
{
    return e->fd;
}

void event_notifier_init_fd(EventNotifier *e, int fd)
{
    e->fd = fd;
}

/* The two that a shadow virtqueue sets are told apart by their order. */
void event_notifier_set_handler(EventNotifier *e,
                                EventNotifierHandler *handler)
{
    *(on_call ? &on_kick : &on_call) = handler;
}

/* --- shadow virtqueue ----------------------------------------------------- */

typedef struct StockRing {
    VhostShadowVirtqueue *svq;
    VirtIODevice vdev;
    VirtQueue vq;
} StockRing;

/* The maps of the fake guest, at IOVAs of the tree's choice. */
static VhostIOVATree *stock_maps(FakeVdpa *vdpa)
{
    VhostIOVATree *tree = vhost_iova_tree_new(0, UINT64_MAX);

    for (const VdpaIovaMap *map = vdpa_iova_at_or_above(vdpa->maps, 0); map;
         map = vdpa_iova_next(vdpa->maps, map)) {
        DMAMap stock = { .size = map->size - 1, .perm = IOMMU_RW };

        g_assert_cmpint(vhost_iova_tree_map_alloc_gpa(tree, &stock, map->gpa),
                        ==, IOVA_OK);
    }
    return tree;
}

static void *stock_ring_make(FakeVdpa *vdpa, FakeDriver *driver,
                             FakeDevice *device, bool event_idx)
{
    StockRing *r = g_new0(StockRing, 1);
    VdpaRingMemory memory;

    r->vdev.features = (uint64_t)event_idx << VIRTIO_RING_F_EVENT_IDX;
    r->vq = (VirtQueue) { .vdpa = vdpa, .driver = driver,
                          .event_idx = event_idx };
    r->svq = vhost_svq_new(NULL, NULL);
    vhost_svq_start(r->svq, &r->vdev, &r->vq, stock_maps(vdpa));
    vhost_svq_set_svq_kick_fd(r->svq, 0);
    memory.driver = r->svq->vring.desc;
    memory.device = r->svq->vring.used;
    fake_device_on_shadow(device, &memory, RING_NUM, event_idx);
    return r;
}

static void stock_forward(void *ring)
{
    on_kick(&((StockRing *)ring)->svq->svq_kick);
}

static void stock_complete(void *ring)
{
    on_call(&((StockRing *)ring)->svq->hdev_call);
}

static uint64_t stock_kicks(void *ring)
{
    const VhostShadowVirtqueue *svq = ((StockRing *)ring)->svq;

    return svq->hdev_kick.count + svq->svq_call.count;
}

const BenchRing ring_stock = {
    stock_ring_make, stock_forward, stock_complete, stock_kicks,
};
