/*
 * KVM dirty ring: calls to KVM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Theory of operation
 *
 * KVM_RESET_DIRTY_RINGS goes to the VM file descriptor directly, not through
 * kvm_vm_ioctl(): kvm_vm_ioctl() waits while a memory topology change inhibits
 * ioctls, and the change itself waits until all batches are published.  The ioctl
 * touches no guest memory and checks slots under the kernel's own lock, so it
 * needs no inhibition.
 *
 * Limits: rings of vCPUs that were unplugged stay mapped, as their file
 * descriptors stay open.
 */
#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include "qemu/error-report.h"
#include "qemu/host-utils.h"
#include "qemu/timer.h"
#include "qapi/error.h"
#include "hw/core/cpu.h"
#include "system/kvm.h"
#include "system/kvm_int.h"
#include "trace.h"
#include "dirty-ring-state.h"

/* Entries of a ring whose size the user leaves open; 1 MiB. */
#define DEFAULT_ENTRIES 65536

int kvm_dirty_ring_kernel_reset(void *opaque)
{
    KVMState *s = opaque;
    int64_t start = get_clock();
    int ret = ioctl(s->vmfd, KVM_RESET_DIRTY_RINGS, 0);

    ret = ret < 0 ? -errno : ret;
    trace_kvm_dirty_ring_reset(ret, (get_clock() - start) / SCALE_US);
    return ret;
}

/* Returns KVM's capability for rings, or 0; *@max_bytes is the largest ring. */
static unsigned int rings_capability(KVMState *s, int *max_bytes)
{
    static const unsigned int caps[] = {
        KVM_CAP_DIRTY_LOG_RING,
        KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
    };

    for (int i = 0; i < ARRAY_SIZE(caps); i++) {
        *max_bytes = kvm_vm_check_extension(s, caps[i]);
        if (*max_bytes > 0) {
            return caps[i];
        }
    }
    return 0;
}

/*
 * Architectures that write guest memory outside of any vCPU (arm64, saving
 * its interrupt tables) log those pages in a bitmap beside the rings.
 */
static int rings_enable_backup_bitmap(KVMState *s)
{
    int ret;

    if (kvm_vm_check_extension(s, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP) <= 0) {
        return 0;
    }
    ret = kvm_vm_enable_cap(s, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, 0);
    if (ret < 0) {
        error_report("KVM dirty ring: cannot enable the backup bitmap: %s",
                     strerror(-ret));
        return ret;
    }
    s->kvm_dirty_ring_with_bitmap = true;
    return 0;
}

uint32_t kvm_dirty_ring_kernel_default_size(KVMState *s)
{
    int max_bytes;

    /* Without rings, kvm_dirty_ring_kernel_enable() says so. */
    return rings_capability(s, &max_bytes)
           ? MIN(DEFAULT_ENTRIES,
                 pow2floor(max_bytes / sizeof(struct kvm_dirty_gfn)))
           : DEFAULT_ENTRIES;
}

int kvm_dirty_ring_kernel_enable(KVMState *s, uint32_t size)
{
    uint64_t bytes = (uint64_t)size * sizeof(struct kvm_dirty_gfn);
    int max_bytes, ret;
    unsigned int capability = rings_capability(s, &max_bytes);

    if (!capability) {
        warn_report("KVM dirty ring: not offered by this kernel, "
                    "using the dirty bitmap");
        return 0;
    }
    if (bytes > max_bytes) {
        error_report("KVM dirty ring: dirty-ring-size=%" PRIu32
                     " is too large, this kernel allows at most %zu entries",
                     size, max_bytes / sizeof(struct kvm_dirty_gfn));
        return -EINVAL;
    }
    ret = kvm_vm_enable_cap(s, capability, 0, bytes);
    if (ret < 0) {
        error_report("KVM dirty ring: the kernel refuses dirty-ring-size=%"
                     PRIu32 ": %s; try a larger one, such as 4096",
                     size, strerror(-ret));
        return ret;
    }
    s->kvm_dirty_ring_size = size;
    s->kvm_dirty_ring_bytes = bytes;
    return rings_enable_backup_bitmap(s);
}

struct kvm_dirty_gfn *kvm_dirty_ring_kernel_map(CPUState *cpu, Error **errp)
{
    off_t offset = qemu_real_host_page_size() * KVM_DIRTY_LOG_PAGE_OFFSET;
    void *entries = mmap(NULL, kvm_state->kvm_dirty_ring_bytes,
                         PROT_READ | PROT_WRITE, MAP_SHARED, cpu->kvm_fd,
                         offset);

    if (entries == MAP_FAILED) {
        error_setg_errno(errp, errno,
                         "KVM dirty ring: cannot map the ring of vCPU %d",
                         cpu->cpu_index);
        return NULL;
    }
    return entries;
}

bool kvm_dirty_ring_kernel_get_backup(KVMSlot *slot)
{
    struct kvm_dirty_log log = {
        .slot = kvm_dirty_ring_slot_word(slot),
        .dirty_bitmap = slot->dirty_bmap,
    };
    int ret = kvm_vm_ioctl(kvm_state, KVM_GET_DIRTY_LOG, &log);

    if (ret < 0 && ret != -ENOENT) {
        error_report_once("KVM dirty ring: cannot read the backup bitmap of "
                          "slot %d: %s", slot->slot, strerror(-ret));
    }
    return ret >= 0;
}
