/*
 * A PCI function that looks like an Intel IFC VF, to test its driver with
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 *     -device x-ifcvf-test-net,netdev=ID[,model=n3000|c5000x][,fault=NAME]
 *     -device x-ifcvf-test-blk,drive=ID[,fault=NAME]
 *
 * An IFC VF is a virtio-pci function in modern mode plus one BAR.  So is this:
 * virtio-pci does the common, notify, ISR and device areas over QEMU's own
 * virtio-net or virtio-blk, and what makes it an IFC VF is here:
 *
 *     BAR 0 (64 bit)  virtio's areas, a page of notifications for each queue
 *     BAR 2           MSI-X
 *     BAR 4           live-migration area: for queue q, at
 *                     0x20 + (q / 2) * 0x40 + (q % 2) * 4, the 16-bit index
 *                     of the next available entry to look at
 *
 * and its vendor, device and subsystem IDs.  The index can be read at any time.
 * Written before the queue runs, that is, before it is enabled or before
 * DRIVER_OK, whichever is later, it is where the queue starts.  It is kept until
 * the queue is enabled, because virtio-pci hands the ring's addresses over only
 * then, and the used index, which belongs to it, is in that ring.  For that
 * moment the back ends are subclasses of virtio's that see it.
 *
 * The property "gone", which can be set while the machine runs, makes the
 * function what a driver sees of one that was pulled out: all reads are ones,
 * writes go nowhere, queues have stopped.
 *
 * Limits: no SR-IOV, it is no virtual function of anything; no migration; the
 * upper half of a live-migration register is storage and nothing more; the
 * index cannot be written in a running queue.  For tests only: nothing creates
 * it unless it is asked for by name.
 */
#include "qemu/osdep.h"

#include "hw/pci/pci.h"
#include "hw/qdev-properties.h"
#include "ifcvf-test-pci.h"
#include "hw/virtio/virtio-blk.h"
#include "hw/virtio/virtio-net.h"
#include "migration/vmstate.h"
#include "qapi/error.h"
#include "qemu/module.h"

#define TYPE_IFCVF_TEST_NET "x-ifcvf-test-net"
#define TYPE_IFCVF_TEST_BLK "x-ifcvf-test-blk"
#define TYPE_IFCVF_TEST_NET_BACKEND "x-ifcvf-test-net-backend"
#define TYPE_IFCVF_TEST_BLK_BACKEND "x-ifcvf-test-blk-backend"

OBJECT_DECLARE_SIMPLE_TYPE(IfcvfTestNet, IFCVF_TEST_NET)
OBJECT_DECLARE_SIMPLE_TYPE(IfcvfTestBlk, IFCVF_TEST_BLK)

struct IfcvfTestNet {
    IfcvfTest parent_obj;
    VirtIONet vdev;
};

struct IfcvfTestBlk {
    IfcvfTest parent_obj;
    VirtIOBlock vdev;
};

enum {
    BAR_VIRTIO = 0,
    BAR_MSIX = 2,
    BAR_LM = 4,
};

enum {
    LM_FIRST = 0x20,
    LM_PAIR = 0x40,
    LM_REGISTER = 4,
};

typedef struct IfcvfModel {
    const char *name;
    uint16_t virtio_id;
    uint16_t device;
    uint16_t subsystem;
} IfcvfModel;

/* Vendor 1af4 and subsystem vendor 8086 are common to all. */
static const IfcvfModel models[] = {
    { "n3000", VIRTIO_ID_NET, 0x1041, 0x001a },
    { "c5000x", VIRTIO_ID_NET, 0x1000, 0x0001 },
    { "c5000x", VIRTIO_ID_BLOCK, 0x1001, 0x0002 },
};

static VirtIODevice *backend_of(IfcvfTest *vf)
{
    return IFCVF_TEST_GET_CLASS(vf)->backend(vf);
}

/* The live-migration area */

/* The queue whose register @addr is in, or -1. */
static int lm_queue(hwaddr addr)
{
    hwaddr in_pair;
    unsigned queue;

    if (addr < LM_FIRST) {
        return -1;
    }
    in_pair = (addr - LM_FIRST) % LM_PAIR;
    queue = (addr - LM_FIRST) / LM_PAIR * 2 + in_pair / LM_REGISTER;
    return in_pair < 2 * LM_REGISTER && queue < IFCVF_TEST_LM_QUEUES ?
        (int)queue : -1;
}

static bool lm_queue_runs(IfcvfTest *vf, unsigned queue)
{
    VirtIODevice *vdev = backend_of(vf);

    return queue < (unsigned)virtio_get_num_queues(vdev) &&
        virtio_queue_enabled(vdev, queue) &&
        vdev->status & VIRTIO_CONFIG_S_DRIVER_OK;
}

static uint32_t lm_value(IfcvfTest *vf, unsigned queue)
{
    VirtIODevice *vdev = backend_of(vf);

    if (vf->restore_set >> queue & 1 ||
        queue >= (unsigned)virtio_get_num_queues(vdev)) {
        return vf->restore[queue];
    }
    return deposit32(vf->restore[queue], 0, 16,
                     virtio_queue_get_last_avail_idx(vdev, queue));
}

static uint64_t lm_read(void *opaque, hwaddr addr, unsigned size)
{
    IfcvfTest *vf = opaque;
    int queue = lm_queue(addr);

    if (vf->gone) {
        return MAKE_64BIT_MASK(0, size * 8);
    }
    return queue < 0 ? 0 : lm_value(vf, queue) >> (addr % LM_REGISTER * 8);
}

static void lm_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    IfcvfTest *vf = opaque;
    int queue = lm_queue(addr);

    if (vf->gone || queue < 0) {
        return;
    }
    vf->restore[queue] = deposit32(lm_value(vf, queue),
                                   addr % LM_REGISTER * 8, size * 8, value);
    if (!lm_queue_runs(vf, queue)) {
        vf->restore_set |= 1ull << queue;
    }
}

static const MemoryRegionOps lm_ops = {
    .read = lm_read,
    .write = lm_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 4 },
    .impl = { .min_access_size = 1, .max_access_size = 4 },
};

/* A queue that is enabled starts where the live-migration area says. */
static void lm_restore(IfcvfTest *vf, VirtIODevice *vdev, unsigned queue)
{
    if (queue >= IFCVF_TEST_LM_QUEUES || !(vf->restore_set >> queue & 1)) {
        return;
    }
    virtio_queue_set_last_avail_idx(vdev, queue, vf->restore[queue] & 0xffff);
    virtio_queue_update_used_idx(vdev, queue);
    vf->restore_set &= ~(1ull << queue);
}

/* Back ends: virtio's, with an eye on queues and status */

static VirtioDeviceClass *backend_super(VirtIODevice *vdev)
{
    return VIRTIO_DEVICE_CLASS(
        object_class_get_parent(object_get_class(OBJECT(vdev))));
}

static IfcvfTest *function_of(VirtIODevice *vdev)
{
    return IFCVF_TEST(qdev_get_parent_bus(DEVICE(vdev))->parent);
}

static void backend_queue_enable(VirtIODevice *vdev, uint32_t queue)
{
    VirtioDeviceClass *super = backend_super(vdev);

    lm_restore(function_of(vdev), vdev, queue);
    if (super->queue_enable) {
        super->queue_enable(vdev, queue);
    }
}

static void backend_set_status(VirtIODevice *vdev, uint8_t status)
{
    IfcvfTest *vf = function_of(vdev);

    if (!status) {
        vf->restore_set = 0;
    } else if (status & VIRTIO_CONFIG_S_DRIVER_OK) {
        for (int queue = 0; queue < virtio_get_num_queues(vdev); queue++) {
            if (virtio_queue_enabled(vdev, queue)) {
                lm_restore(vf, vdev, queue);
            }
        }
    }
    backend_super(vdev)->set_status(vdev, status);
}

static void backend_class_init(ObjectClass *klass, void *data)
{
    VIRTIO_DEVICE_CLASS(klass)->queue_enable = backend_queue_enable;
    VIRTIO_DEVICE_CLASS(klass)->set_status = backend_set_status;
}

/* A device that is not there any more */

static uint64_t no_answer_read(void *opaque, hwaddr addr, unsigned size)
{
    return MAKE_64BIT_MASK(0, size * 8);
}

static void no_answer_write(void *opaque, hwaddr addr, uint64_t value,
                            unsigned size)
{
}

static const MemoryRegionOps no_answer_ops = {
    .read = no_answer_read,
    .write = no_answer_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
};

static uint32_t config_read(PCIDevice *dev, uint32_t address, int len)
{
    IfcvfTest *vf = IFCVF_TEST(dev);

    return vf->gone ? MAKE_64BIT_MASK(0, len * 8) :
        vf->config_read(dev, address, len);
}

static bool get_gone(Object *obj, Error **errp)
{
    return IFCVF_TEST(obj)->gone;
}

static void set_gone(Object *obj, bool gone, Error **errp)
{
    IfcvfTest *vf = IFCVF_TEST(obj);

    if (!qdev_is_realized(DEVICE(obj))) {
        error_setg(errp, "an IFC VF for tests can go only when it is there");
        return;
    }
    if (gone && !vf->gone) {
        virtio_bus_reset(&VIRTIO_PCI(vf)->bus);
    }
    vf->gone = gone;
    memory_region_set_enabled(&vf->no_answer, gone);
}

/* The function */

static bool set_ids(IfcvfTest *vf, Error **errp)
{
    uint8_t *config = PCI_DEVICE(vf)->config;
    uint16_t virtio_id = backend_of(vf)->device_id;

    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        if (models[i].virtio_id == virtio_id &&
            (!vf->model || strcmp(models[i].name, vf->model) == 0)) {
            pci_set_word(config + PCI_DEVICE_ID, models[i].device);
            pci_set_word(config + PCI_SUBSYSTEM_VENDOR_ID,
                         PCI_VENDOR_ID_INTEL);
            pci_set_word(config + PCI_SUBSYSTEM_ID, models[i].subsystem);
            return true;
        }
    }
    error_setg(errp, "there is no IFC VF %s of this kind", vf->model);
    return false;
}

static void add_bars(IfcvfTest *vf)
{
    VirtIOPCIProxy *proxy = VIRTIO_PCI(vf);

    memory_region_init_io(&vf->no_answer, OBJECT(vf), &no_answer_ops, vf,
                          "ifcvf-test-gone",
                          memory_region_size(&proxy->modern_bar));
    memory_region_add_subregion_overlap(&proxy->modern_bar, 0,
                                        &vf->no_answer, 2);
    memory_region_set_enabled(&vf->no_answer, false);

    if (vf->lm_size) {
        memory_region_init_io(&vf->lm, OBJECT(vf), &lm_ops, vf,
                              "ifcvf-test-lm", vf->lm_size);
        pci_register_bar(PCI_DEVICE(vf), BAR_LM,
                         PCI_BASE_ADDRESS_SPACE_MEMORY, &vf->lm);
    }
}

static void ifcvf_test_realize(VirtIOPCIProxy *proxy, Error **errp)
{
    IfcvfTest *vf = IFCVF_TEST(proxy);
    VirtIODevice *vdev = backend_of(vf);
    unsigned queues = IFCVF_TEST_GET_CLASS(vf)->prepare(vf);

    if (!ifcvf_test_fault_prepare(vf, errp)) {
        return;
    }
    if (proxy->nvectors == DEV_NVECTORS_UNSPECIFIED) {
        proxy->nvectors = queues + 1;
    }
    proxy->modern_mem_bar_idx = BAR_VIRTIO;
    proxy->msix_bar_idx = BAR_MSIX;
    virtio_add_feature(&vdev->host_features, VIRTIO_F_IOMMU_PLATFORM);
    if (!qdev_realize(DEVICE(vdev), BUS(&proxy->bus), errp) ||
        !set_ids(vf, errp)) {
        return;
    }
    add_bars(vf);
    ifcvf_test_fault_apply(vf);
    vf->config_read = PCI_DEVICE(vf)->config_read;
    PCI_DEVICE(vf)->config_read = config_read;
}

static void ifcvf_test_init(Object *obj)
{
    VirtIOPCIProxy *proxy = VIRTIO_PCI(obj);

    virtio_pci_force_virtio_1(proxy);
    proxy->flags |= VIRTIO_PCI_FLAG_PAGE_PER_VQ;
    object_property_add_bool(obj, "gone", get_gone, set_gone);
}

static const VMStateDescription no_migration = {
    .name = TYPE_IFCVF_TEST,
    .unmigratable = 1,
};

static const Property ifcvf_test_properties[] = {
    DEFINE_PROP_STRING("model", IfcvfTest, model),
    DEFINE_PROP_STRING("fault", IfcvfTest, fault),
    DEFINE_PROP_BIT("ioeventfd", VirtIOPCIProxy, flags,
                    VIRTIO_PCI_FLAG_USE_IOEVENTFD_BIT, true),
    DEFINE_PROP_UINT32("vectors", VirtIOPCIProxy, nvectors,
                       DEV_NVECTORS_UNSPECIFIED),
};

static void ifcvf_test_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);

    VIRTIO_PCI_CLASS(klass)->realize = ifcvf_test_realize;
    dc->vmsd = &no_migration;
    dc->desc = "looks like an Intel IFC VF; for tests of its driver";
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, ifcvf_test_properties);
}

/* Net */

static VirtIODevice *net_backend(IfcvfTest *vf)
{
    return VIRTIO_DEVICE(&IFCVF_TEST_NET(vf)->vdev);
}

static unsigned net_prepare(IfcvfTest *vf)
{
    VirtIONet *net = &IFCVF_TEST_NET(vf)->vdev;

    virtio_net_set_netclient_name(net, DEVICE(vf)->id,
                                  object_get_typename(OBJECT(vf)));
    return 2 * MAX(net->nic_conf.peers.queues, 1) + 1;
}

static void net_init(Object *obj)
{
    IfcvfTestNet *vf = IFCVF_TEST_NET(obj);

    virtio_instance_init_common(obj, &vf->vdev, sizeof(vf->vdev),
                                TYPE_IFCVF_TEST_NET_BACKEND);
}

static void net_class_init(ObjectClass *klass, void *data)
{
    IfcvfTestClass *vfc = IFCVF_TEST_CLASS(klass);

    vfc->backend = net_backend;
    vfc->prepare = net_prepare;
    PCI_DEVICE_CLASS(klass)->class_id = PCI_CLASS_NETWORK_ETHERNET;
}

/* Block */

static VirtIODevice *blk_backend(IfcvfTest *vf)
{
    return VIRTIO_DEVICE(&IFCVF_TEST_BLK(vf)->vdev);
}

static unsigned blk_prepare(IfcvfTest *vf)
{
    VirtIOBlkConf *conf = &IFCVF_TEST_BLK(vf)->vdev.conf;

    if (conf->num_queues == VIRTIO_BLK_AUTO_NUM_QUEUES) {
        conf->num_queues = 1;
    }
    return conf->num_queues;
}

static void blk_init(Object *obj)
{
    IfcvfTestBlk *vf = IFCVF_TEST_BLK(obj);

    virtio_instance_init_common(obj, &vf->vdev, sizeof(vf->vdev),
                                TYPE_IFCVF_TEST_BLK_BACKEND);
}

static void blk_class_init(ObjectClass *klass, void *data)
{
    IfcvfTestClass *vfc = IFCVF_TEST_CLASS(klass);

    vfc->backend = blk_backend;
    vfc->prepare = blk_prepare;
    PCI_DEVICE_CLASS(klass)->class_id = PCI_CLASS_STORAGE_SCSI;
}

static const TypeInfo ifcvf_test_types[] = {
    {
        .name = TYPE_IFCVF_TEST_NET_BACKEND,
        .parent = TYPE_VIRTIO_NET,
        .class_init = backend_class_init,
    }, {
        .name = TYPE_IFCVF_TEST_BLK_BACKEND,
        .parent = TYPE_VIRTIO_BLK,
        .class_init = backend_class_init,
    }, {
        .name = TYPE_IFCVF_TEST,
        .parent = TYPE_VIRTIO_PCI,
        .instance_size = sizeof(IfcvfTest),
        .instance_init = ifcvf_test_init,
        .class_size = sizeof(IfcvfTestClass),
        .class_init = ifcvf_test_class_init,
        .abstract = true,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { INTERFACE_CONVENTIONAL_PCI_DEVICE },
            { }
        },
    }, {
        .name = TYPE_IFCVF_TEST_NET,
        .parent = TYPE_IFCVF_TEST,
        .instance_size = sizeof(IfcvfTestNet),
        .instance_init = net_init,
        .class_init = net_class_init,
    }, {
        .name = TYPE_IFCVF_TEST_BLK,
        .parent = TYPE_IFCVF_TEST,
        .instance_size = sizeof(IfcvfTestBlk),
        .instance_init = blk_init,
        .class_init = blk_class_init,
    },
};

DEFINE_TYPES(ifcvf_test_types)
