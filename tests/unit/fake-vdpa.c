/*
 * A fake guest and a fake device around a shadow ring
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * Guest memory is contiguous here and many maps to the device, so that buffers
 * straddle.  Driver and device are written after the specification and the
 * kernel's <linux/virtio_ring.h>, not after the code under test.  Both obey
 * notification suppression to the letter: they ask for a notification before
 * they rest, and the test that runs them lets them rest until one comes.  A
 * lost one is then a test that stands still.
 *
 * dirty() keeps a byte for each byte of guest memory; its log addresses are
 * guest addresses.
 *
 * Without ram(), guest memory is reached by calls only, and a hook before one
 * of them lets a test's guest act between two accesses of the code under test.
 *
 * Limits: little-endian hosts.
 */
#include "fake-vdpa.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Pages between two maps, at most. */
#define MAX_GAP 100

/* --- guest memory --------------------------------------------------------- */

static bool inside(const FakeVdpa *vdpa, uint64_t addr, uint64_t len)
{
    return !vdpa->gone && addr < vdpa->size && len <= vdpa->size - addr &&
           (addr >= vdpa->hole + vdpa->hole_size || addr + len <= vdpa->hole);
}

static void *op_ram(void *opaque, uint64_t addr, uint64_t len, bool write,
                    uint64_t *log)
{
    FakeVdpa *vdpa = opaque;

    *log = addr;
    return inside(vdpa, addr, len) && !vdpa->no_ram ? vdpa->ram + addr : NULL;
}

static int op_read(void *opaque, uint64_t addr, void *to, size_t len)
{
    FakeVdpa *vdpa = opaque;

    if (!inside(vdpa, addr, len)) {
        return -EFAULT;
    }
    vdpa->reads++;
    memcpy(to, vdpa->ram + addr, len);
    return 0;
}

static void op_dirty(void *opaque, uint64_t log, uint64_t len)
{
    FakeVdpa *vdpa = opaque;

    g_assert_true(inside(vdpa, log, len));
    if (!vdpa->quiet) {
        memset(vdpa->dirty + log, 1, len);
    }
}

static void call_hook(FakeVdpa *vdpa)
{
    void (*hook)(void *opaque) = vdpa->hook;

    vdpa->hook = NULL;
    hook(vdpa->hook_opaque);
}

static int op_write(void *opaque, uint64_t addr, const void *from, size_t len)
{
    FakeVdpa *vdpa = opaque;

    if (vdpa->hook && addr == vdpa->hook_at) {
        call_hook(vdpa);
    }
    if (!inside(vdpa, addr, len) || (vdpa->fail_at && addr == vdpa->fail_at)) {
        return -EFAULT;
    }
    memcpy(vdpa->ram + addr, from, len);
    op_dirty(opaque, addr, len);
    return 0;
}

static int op_translate(void *opaque, uint64_t addr, uint64_t len,
                        bool device_writes, VdpaRange *range)
{
    FakeVdpa *vdpa = opaque;
    uint64_t page = addr / FAKE_PAGE;
    VdpaIovaRange found;
    int ret;

    vdpa->translations++;
    if (page >= vdpa->size / FAKE_PAGE) {
        return -ENOENT;
    }
    ret = vdpa_iova_range(vdpa->maps, vdpa->iova_page[page] + addr % FAKE_PAGE,
                          len, device_writes ? VDPA_IOVA_WRITE : VDPA_IOVA_READ,
                          &found);
    if (!ret) {
        *range = (VdpaRange) { found.iova, addr, found.len };
    }
    return ret;
}

const VdpaShadowOps fake_vdpa_ops = {
    .guest = {
        .ram = op_ram,
        .read = op_read,
        .write = op_write,
        .dirty = op_dirty,
    },
    .translate = op_translate,
};

void *fake_pages(size_t size)
{
    void *pages = aligned_alloc(FAKE_PAGE, size);

    g_assert_nonnull(pages);
    return memset(pages, 0, size);
}

static uint64_t iova_pages(uint64_t size)
{
    return size / FAKE_PAGE * (MAX_GAP + 1);
}

/* What the table under test is judged by. */
static void note_pages(FakeVdpa *vdpa, const VdpaIovaMap *map)
{
    uint64_t from = (map->iova - FAKE_IOVA) / FAKE_PAGE;

    for (uint64_t i = 0; i < map->size / FAKE_PAGE; i++) {
        vdpa->gpa_page[from + i] = 1 + map->gpa / FAKE_PAGE + i;
        vdpa->perm[map->gpa / FAKE_PAGE + i] = map->perm;
    }
}

void fake_vdpa_add(FakeVdpa *vdpa, const VdpaIovaMap *map)
{
    g_assert_cmpint(vdpa_iova_add(vdpa->maps, map), ==, 0);
    for (uint64_t i = 0; i < map->size / FAKE_PAGE; i++) {
        vdpa->iova_page[map->gpa / FAKE_PAGE + i] = map->iova + i * FAKE_PAGE;
    }
}

FakeVdpa *fake_vdpa_new(uint64_t size, uint64_t whole, GRand *rand)
{
    FakeVdpa *vdpa = g_new0(FakeVdpa, 1);
    uint64_t gpa = 0, iova = FAKE_IOVA, last = size - FAKE_PAGE, len;

    vdpa->size = size;
    vdpa->ram = fake_pages(size);
    vdpa->dirty = g_malloc0(size);
    vdpa->maps = vdpa_iova_new(0, UINT64_MAX, FAKE_PAGE);
    vdpa->gpa_page = g_new0(uint32_t, iova_pages(size));
    vdpa->iova_page = g_new0(uint64_t, size / FAKE_PAGE);
    vdpa->perm = g_new0(uint8_t, size / FAKE_PAGE);
    for (; gpa < size; gpa += len, iova += len) {
        VdpaIovaMap map;

        len = gpa < whole ? whole
                          : g_rand_int_range(rand, 1, 5) * FAKE_PAGE;
        len = MIN(len, gpa < last ? last - gpa : FAKE_PAGE);
        if (g_rand_int_range(rand, 0, 3)) {
            iova += FAKE_PAGE * g_rand_int_range(rand, 1, MAX_GAP);
        }
        map = (VdpaIovaMap) {
            .iova = iova,
            .size = len,
            .hva = (uintptr_t)(vdpa->ram + gpa),
            .gpa = gpa,
            .perm = gpa == last ? VDPA_IOVA_READ : VDPA_IOVA_RW,
        };
        fake_vdpa_add(vdpa, &map);
        note_pages(vdpa, &map);
    }
    return vdpa;
}

void fake_vdpa_free(FakeVdpa *vdpa)
{
    vdpa_iova_free(vdpa->maps);
    free(vdpa->ram);
    g_free(vdpa->gpa_page);
    g_free(vdpa->iova_page);
    g_free(vdpa->perm);
    g_free(vdpa->dirty);
    g_free(vdpa);
}

uint64_t fake_vdpa_gpa(FakeVdpa *vdpa, uint64_t iova, uint64_t len,
                       bool write)
{
    uint64_t first = (iova - FAKE_IOVA) / FAKE_PAGE;
    uint64_t last = (iova - FAKE_IOVA + len - 1) / FAKE_PAGE;

    if (iova < FAKE_IOVA || last >= iova_pages(vdpa->size) ||
        !vdpa->gpa_page[first]) {
        return UINT64_MAX;
    }
    for (uint64_t page = first; page <= last; page++) {
        uint32_t gpa_page = vdpa->gpa_page[first] + (page - first);

        if (vdpa->gpa_page[page] != gpa_page ||
            (write && !(vdpa->perm[gpa_page - 1] & VDPA_IOVA_WRITE))) {
            return UINT64_MAX;
        }
    }
    return (vdpa->gpa_page[first] - 1) * (uint64_t)FAKE_PAGE +
           iova % FAKE_PAGE;
}

/* --- the guest's driver --------------------------------------------------- */

static uint16_t *used_event(struct vring_avail *avail, uint16_t num)
{
    return &avail->ring[num];
}

uint16_t *fake_avail_event(struct vring_used *used, uint16_t num)
{
    return (uint16_t *)&used->ring[num];
}

#define LOAD(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)

void fake_driver_init(FakeDriver *driver, FakeVdpa *vdpa,
                      const VdpaGuestLayout *layout, uint16_t index)
{
    uint16_t num = layout->num;

    *driver = (FakeDriver) {
        .vdpa = vdpa,
        .layout = *layout,
        .desc = (void *)(vdpa->ram + layout->desc),
        .avail = (void *)(vdpa->ram + layout->avail),
        .used = (void *)(vdpa->ram + layout->used),
        .avail_idx = index,
        .shown_avail = index,
        .last_used = index,
        .nfree = num,
        .next = g_new0(uint16_t, num),
        .count = g_new0(uint16_t, num),
    };
    memset(driver->desc, 0, num * sizeof(struct vring_desc));
    memset(driver->avail, 0, 6 + 2 * num);
    memset(driver->used, 0, 6 + 8 * num);
    driver->avail->idx = driver->used->idx = index;
    *used_event(driver->avail, num) = index;
    *fake_avail_event(driver->used, num) = index;
    for (unsigned i = 0; i < num; i++) {
        driver->next[i] = i + 1;
    }
}

void fake_driver_destroy(FakeDriver *driver)
{
    g_free(driver->next);
    g_free(driver->count);
}

int fake_driver_next_head(const FakeDriver *driver, unsigned n)
{
    return n > driver->nfree ? -1 : driver->free_head;
}

static struct vring_desc describe(const VdpaGuestSegment *seg, bool more,
                                  uint16_t next)
{
    return (struct vring_desc) {
        .addr = seg->addr,
        .len = seg->len,
        .flags = (more ? VRING_DESC_F_NEXT : 0) |
                 (seg->device_writes ? VRING_DESC_F_WRITE : 0),
        .next = more ? next : 0,
    };
}

static void offer_indirect(FakeDriver *driver, const VdpaGuestSegment *segments,
                           unsigned n, uint64_t table)
{
    struct vring_desc *to = (void *)(driver->vdpa->ram + table);

    for (unsigned i = 0; i < n; i++) {
        to[i] = describe(&segments[i], i + 1 < n, i + 1);
    }
    driver->desc[driver->free_head] = (struct vring_desc) {
        .addr = table,
        .len = n * sizeof(*to),
        .flags = VRING_DESC_F_INDIRECT,
    };
}

int fake_driver_offer(FakeDriver *driver, const VdpaGuestSegment *segments,
                      unsigned n, uint64_t table)
{
    unsigned count = table ? 1 : n;
    int head = fake_driver_next_head(driver, count);
    uint16_t index = head;

    if (head < 0) {
        return -1;
    }
    if (table) {
        offer_indirect(driver, segments, n, table);
        index = driver->next[index];
    }
    for (unsigned i = 0; !table && i < n; i++) {
        driver->desc[index] = describe(&segments[i], i + 1 < n,
                                       driver->next[index]);
        index = driver->next[index];
    }
    driver->free_head = index;
    driver->nfree -= count;
    driver->count[head] = count;
    driver->avail->ring[driver->avail_idx++ % driver->layout.num] = head;
    return head;
}

bool fake_driver_publish(FakeDriver *driver)
{
    uint16_t old = driver->shown_avail, num = driver->layout.num;

    STORE(&driver->avail->idx, driver->avail_idx);
    driver->shown_avail = driver->avail_idx;
    if (driver->layout.event_idx) {
        return vring_need_event(LOAD(fake_avail_event(driver->used, num)),
                                driver->avail_idx, old);
    }
    return !(LOAD(&driver->used->flags) & VRING_USED_F_NO_NOTIFY);
}

int fake_driver_reap(FakeDriver *driver, uint32_t *len)
{
    const struct vring_used_elem *elem;
    uint16_t tail;
    uint32_t id;

    if (LOAD(&driver->used->idx) == driver->last_used) {
        return -1;
    }
    elem = &driver->used->ring[driver->last_used++ % driver->layout.num];
    id = elem->id;
    *len = elem->len;
    g_assert_cmpuint(id, <, driver->layout.num);
    g_assert_cmpuint(driver->count[id], >, 0);
    tail = id;
    for (unsigned i = 1; i < driver->count[id]; i++) {
        tail = driver->next[tail];
    }
    driver->next[tail] = driver->free_head;
    driver->free_head = id;
    driver->nfree += driver->count[id];
    driver->count[id] = 0;
    return id;
}

bool fake_driver_enable(FakeDriver *driver)
{
    if (driver->layout.event_idx) {
        STORE(used_event(driver->avail, driver->layout.num),
              driver->last_used);
    } else {
        STORE(&driver->avail->flags, 0);
    }
    return LOAD(&driver->used->idx) != driver->last_used;
}

/* --- the device ----------------------------------------------------------- */

void fake_device_on_shadow(FakeDevice *device, const VdpaRingMemory *memory,
                           uint16_t num, bool event_idx)
{
    *device = (FakeDevice) {
        .desc = memory->driver,
        .avail = (void *)((uint8_t *)memory->driver +
                          vdpa_ring_avail_offset(num)),
        .used = memory->device,
        .num = num,
        .event_idx = event_idx,
    };
}

void fake_device_on_guest(FakeDevice *device, const FakeDriver *driver,
                          uint16_t base)
{
    *device = (FakeDevice) {
        .desc = driver->desc,
        .avail = driver->avail,
        .used = driver->used,
        .num = driver->layout.num,
        .event_idx = driver->layout.event_idx,
        .next_avail = base,
        .used_idx = base,
        .guest = driver->vdpa,
    };
}

int fake_device_take(FakeDevice *device, FakeSegment *segs, unsigned *n)
{
    const struct vring_desc *table = device->desc;
    uint16_t head, index;
    bool more = true;

    if (LOAD(&device->avail->idx) == device->next_avail) {
        return -1;
    }
    head = device->avail->ring[device->next_avail++ % device->num];
    index = head;
    for (*n = 0; more;) {
        struct vring_desc desc = table[index];

        if (desc.flags & VRING_DESC_F_INDIRECT) {
            g_assert_nonnull(device->guest);
            table = (const void *)(device->guest->ram + desc.addr);
            index = 0;
            continue;
        }
        g_assert_cmpuint(*n, <, FAKE_SEGMENTS_MAX);
        segs[(*n)++] = (FakeSegment) { desc.addr, desc.len,
                                       desc.flags & VRING_DESC_F_WRITE };
        more = desc.flags & VRING_DESC_F_NEXT;
        index = desc.next;
    }
    return head;
}

bool fake_device_return(FakeDevice *device, uint16_t head, uint32_t len)
{
    uint16_t old = device->used_idx;

    device->used->ring[old % device->num] =
        (struct vring_used_elem) { head, len };
    STORE(&device->used->idx, ++device->used_idx);
    if (device->event_idx) {
        return vring_need_event(LOAD(used_event(device->avail, device->num)),
                                device->used_idx, old);
    }
    return !(LOAD(&device->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool fake_device_enable(FakeDevice *device)
{
    if (device->event_idx) {
        STORE(fake_avail_event(device->used, device->num), device->next_avail);
    } else {
        STORE(&device->used->flags, 0);
    }
    return LOAD(&device->avail->idx) != device->next_avail;
}
