/*
 * What can be wrong with an IFC VF
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * A driver reads from the device where in its BARs things are, how many there
 * are and how far apart, and then goes there.  Each fault is one lie of that
 * kind, told by a field of a capability or by a register of the common
 * configuration; tests plug one VF for each and see the driver refuse it, or
 * live with it.  The lies are a table: name, field, value.  A name can have
 * several lines.
 *
 * Capabilities lie in configuration space, so a line there just overwrites.
 * Registers are code of virtio-pci, so a line there puts a region of its own
 * over the register.
 *
 * Limits: one register fault at a time.
 */
#include "qemu/osdep.h"

#include "hw/pci/pci.h"
#include "ifcvf-test-pci.h"
#include "qapi/error.h"
#include "standard-headers/linux/virtio_pci.h"

typedef enum IfcvfFaultPlace {
    IN_CAPABILITY,      /* which: VIRTIO_PCI_CAP_*; at: offset in it */
    IN_COMMON_CFG,      /* at: offset in the common configuration */
    COUNTING,           /* the same, and value goes up at every read */
    IN_LM_SIZE,         /* value: size of BAR 4; 0: no such BAR */
} IfcvfFaultPlace;

typedef struct IfcvfFault {
    const char *name;
    IfcvfFaultPlace place;
    uint8_t which;
    uint8_t at;
    uint8_t size;
    uint32_t value;
} IfcvfFault;

#define CAPABILITY(name, which, field, size, value) \
    { name, IN_CAPABILITY, VIRTIO_PCI_CAP_ ## which ## _CFG, \
      offsetof(struct virtio_pci_notify_cap, field), size, value }
#define REGISTER(name, field, value) \
    { name, IN_COMMON_CFG, 0, \
      offsetof(struct virtio_pci_common_cfg, field), \
      sizeof_field(struct virtio_pci_common_cfg, field), value }

static const IfcvfFault faults[] = {
    CAPABILITY("no-common", COMMON, cap.cfg_type, 1, 0x7f),
    CAPABILITY("no-notify", NOTIFY, cap.cfg_type, 1, 0x7f),
    CAPABILITY("no-isr", ISR, cap.cfg_type, 1, 0x7f),
    CAPABILITY("no-device", DEVICE, cap.cfg_type, 1, 0x7f),
    CAPABILITY("bar-number", COMMON, cap.bar, 1, 6),
    CAPABILITY("bar-absent", COMMON, cap.bar, 1, 3),
    CAPABILITY("cap-len", NOTIFY, cap.cap_len, 1, 8),
    CAPABILITY("cap-loop", DEVICE, cap.cap_next, 1, 0),
    CAPABILITY("common-beyond", COMMON, cap.offset, 4, 0x7ffff000),
    CAPABILITY("common-wraps", COMMON, cap.offset, 4, 0xfffff000),
    CAPABILITY("common-wraps", COMMON, cap.length, 4, 0x00002000),
    CAPABILITY("common-short", COMMON, cap.length, 4, 16),
    CAPABILITY("common-odd", COMMON, cap.offset, 4, 2),
    CAPABILITY("isr-empty", ISR, cap.length, 4, 0),
    CAPABILITY("device-short", DEVICE, cap.length, 4, 5),
    CAPABILITY("notify-short", NOTIFY, cap.length, 4, 2),
    CAPABILITY("notify-far", NOTIFY, notify_off_multiplier, 4, 0x80000000),
    CAPABILITY("notify-odd", NOTIFY, notify_off_multiplier, 4, 3),
    REGISTER("notify-off", queue_notify_off, 0xffff),
    REGISTER("queues-none", num_queues, 0),
    REGISTER("queues-many", num_queues, 0xffff),
    REGISTER("queue-size-zero", queue_size, 0),
    REGISTER("queue-size-odd", queue_size, 0xfffd),
    REGISTER("no-vector", queue_msix_vector, 0xffff),
    REGISTER("status-stuck", device_status, 0x0f),
    { "generation", COUNTING, 0,
      offsetof(struct virtio_pci_common_cfg, config_generation), 1, 0 },
    { "lm-none", IN_LM_SIZE, .value = 0 },
    { "lm-short", IN_LM_SIZE, .value = 0x20 },
};

static uint64_t stuck_read(void *opaque, hwaddr addr, unsigned size)
{
    IfcvfStuckRegister *reg = opaque;

    if (reg->counts) {
        reg->value++;
    }
    return reg->value >> (addr * 8);
}

static void stuck_write(void *opaque, hwaddr addr, uint64_t value,
                        unsigned size)
{
}

static const MemoryRegionOps stuck_ops = {
    .read = stuck_read,
    .write = stuck_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
};

static uint8_t find_capability(PCIDevice *dev, uint8_t which)
{
    uint8_t pos = pci_get_byte(dev->config + PCI_CAPABILITY_LIST);

    for (; pos; pos = pci_get_byte(dev->config + pos + PCI_CAP_LIST_NEXT)) {
        if (pci_get_byte(dev->config + pos) == PCI_CAP_ID_VNDR &&
            pci_get_byte(dev->config + pos + VIRTIO_PCI_CAP_CFG_TYPE) ==
            which) {
            return pos;
        }
    }
    return 0;
}

static void apply_in_capability(IfcvfTest *vf, const IfcvfFault *fault)
{
    PCIDevice *dev = PCI_DEVICE(vf);
    uint8_t pos = find_capability(dev, fault->which);
    /* The one "next" fault makes a loop: the capability follows itself. */
    uint32_t value = fault->at == PCI_CAP_LIST_NEXT ? pos : fault->value;

    g_assert(pos);
    for (unsigned i = 0; i < fault->size; i++) {
        dev->config[pos + fault->at + i] = value >> (i * 8);
    }
}

static void apply_in_common_cfg(IfcvfTest *vf, const IfcvfFault *fault)
{
    VirtIOPCIProxy *proxy = VIRTIO_PCI(vf);

    vf->stuck.value = fault->value;
    vf->stuck.counts = fault->place == COUNTING;
    memory_region_init_io(&vf->stuck.mr, OBJECT(vf), &stuck_ops, &vf->stuck,
                          "ifcvf-test-stuck", fault->size);
    memory_region_add_subregion_overlap(&proxy->modern_bar,
                                        proxy->common.offset + fault->at,
                                        &vf->stuck.mr, 1);
}

bool ifcvf_test_fault_prepare(IfcvfTest *vf, Error **errp)
{
    bool found = !vf->fault;

    vf->lm_size = IFCVF_TEST_LM_SIZE;
    for (size_t i = 0; vf->fault && i < ARRAY_SIZE(faults); i++) {
        if (strcmp(faults[i].name, vf->fault) == 0) {
            found = true;
            if (faults[i].place == IN_LM_SIZE) {
                vf->lm_size = faults[i].value;
            }
        }
    }
    if (!found) {
        error_setg(errp, "an IFC VF for tests has no fault called %s",
                   vf->fault);
    }
    return found;
}

void ifcvf_test_fault_apply(IfcvfTest *vf)
{
    for (size_t i = 0; vf->fault && i < ARRAY_SIZE(faults); i++) {
        const IfcvfFault *fault = &faults[i];

        if (strcmp(fault->name, vf->fault)) {
            continue;
        }
        switch (fault->place) {
        case IN_CAPABILITY:
            apply_in_capability(vf, fault);
            break;
        case IN_COMMON_CFG:
        case COUNTING:
            apply_in_common_cfg(vf, fault);
            break;
        case IN_LM_SIZE:
            break;
        }
    }
}
