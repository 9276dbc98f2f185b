/*
 * A PCI function that looks like an Intel IFC VF: what its two files share
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Limits: see ifcvf-test-pci.c.
 */
#ifndef HW_VIRTIO_IFCVF_TEST_PCI_H
#define HW_VIRTIO_IFCVF_TEST_PCI_H

#include "hw/virtio/virtio-pci.h"
#include "qom/object.h"

#define TYPE_IFCVF_TEST "x-ifcvf-test-base"
OBJECT_DECLARE_TYPE(IfcvfTest, IfcvfTestClass, IFCVF_TEST)

/* Room of the live-migration BAR; queues that it has registers for. */
#define IFCVF_TEST_LM_SIZE 0x1000
#define IFCVF_TEST_LM_QUEUES 64

/* A register that does not do what the device under it would have it do. */
typedef struct IfcvfStuckRegister {
    MemoryRegion mr;
    uint32_t value;
    bool counts;            /* one more at every read */
} IfcvfStuckRegister;

struct IfcvfTest {
    VirtIOPCIProxy parent_obj;

    char *model;            /* which product's IDs */
    char *fault;            /* what is wrong with it; NULL: nothing */

    MemoryRegion lm;        /* BAR 4 */
    uint32_t lm_size;
    uint32_t restore[IFCVF_TEST_LM_QUEUES];
    uint64_t restore_set;   /* bit q: restore[q] waits for the queue */

    IfcvfStuckRegister stuck;
    MemoryRegion no_answer; /* over the virtio BAR while the device is gone */
    bool gone;
    PCIConfigReadFunc *config_read;
};

struct IfcvfTestClass {
    VirtioPCIClass parent_class;
    VirtIODevice *(*backend)(IfcvfTest *vf);
    /* Before the back end is realized: how many queues it will have. */
    unsigned (*prepare)(IfcvfTest *vf);
};

/*
 * ifcvf_test_fault_prepare: faults that must be there before BARs are
 * ifcvf_test_fault_apply: faults in the finished function
 *
 * Do nothing for a VF without a fault.  Of both, the first sets @errp when
 * there is no fault of that name.
 */
bool ifcvf_test_fault_prepare(IfcvfTest *vf, Error **errp);
void ifcvf_test_fault_apply(IfcvfTest *vf);

#endif
