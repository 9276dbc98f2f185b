// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Livepatch: the reset of dirty_ring_reset.h in place of the running kernel's.
 *
 * Loading the module replaces kvm_dirty_ring_reset() of kvm.ko, under running guests;
 * /sys/kernel/livepatch/kvm_dirty_ring_livepatch/enabled takes 0, and then the module can be
 * unloaded.  Both resets leave a ring in the same state, so a guest may meet one after the other.
 *
 * What it changes: entries of a ring are protected 64 pages at a time, whatever their order, and
 * are given back only once no TLB has their pages as writable.  On Linux 6.17 and newer that mends
 * a fault: its reset clears the flags first, and forgets up to 64 pages when a signal is pending.
 *
 * Two functions of kvm.ko that it calls are not exported, or to kvm.ko's own family only.  A probe
 * that is removed at once says where they are, each time kvm.ko is patched, which is when it is
 * loaded if this module was there before.  Static calls make direct calls of them, as branch
 * tracking (CONFIG_X86_KERNEL_IBT) wants it.
 *
 * Limits: no tracepoint kvm_dirty_ring_reset, which is inside kvm.ko.  The caller flushes the TLBs
 * once more.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kprobes.h>
#include <linux/kvm_host.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/static_call.h>

#define DIRTY_RING_LP_PROTECT "kvm_arch_mmu_enable_log_dirty_pt_masked"
#define DIRTY_RING_LP_FLUSH   "kvm_flush_remote_tlbs"

/* What the static calls call until kvm.ko is patched: never. */
static void dirty_ring_lp_no_protect(struct kvm *kvm, struct kvm_memory_slot *slot, gfn_t base,
				     unsigned long mask)
{
}

static void dirty_ring_lp_no_flush(struct kvm *kvm)
{
}

DEFINE_STATIC_CALL(dirty_ring_lp_kvm_protect, dirty_ring_lp_no_protect);
DEFINE_STATIC_CALL(dirty_ring_lp_kvm_flush, dirty_ring_lp_no_flush);

#define DIRTY_RING_KVM_PROTECT static_call(dirty_ring_lp_kvm_protect)
#define DIRTY_RING_KVM_FLUSH   static_call(dirty_ring_lp_kvm_flush)
#include "dirty_ring_kvm.h"

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 17, 0)
static int dirty_ring_lp_reset(struct kvm *kvm, struct kvm_dirty_ring *ring, int *nr_entries_reset)
{
	*nr_entries_reset += dirty_ring_kvm_reset(kvm, ring);
	return fatal_signal_pending(current) ? -EINTR : 0;
}
#else
static int dirty_ring_lp_reset(struct kvm *kvm, struct kvm_dirty_ring *ring)
{
	return dirty_ring_kvm_reset(kvm, ring);
}
#endif

/* Where a function of kvm.ko begins, or NULL. */
static void *dirty_ring_lp_find(const char *name)
{
	struct kprobe where = { .symbol_name = name };
	int ret = register_kprobe(&where);

	if (ret) {
		pr_err_ratelimited("%s: not found (%d)\n", name, ret);
		return NULL;
	}
	unregister_kprobe(&where);
	return where.addr;
}

static int dirty_ring_lp_pre_patch(struct klp_object *object)
{
	void *protect = dirty_ring_lp_find("kvm:" DIRTY_RING_LP_PROTECT);
	void *flush = dirty_ring_lp_find("kvm:" DIRTY_RING_LP_FLUSH);

	if (!protect || !flush)
		return -ENOENT;
	static_call_update(dirty_ring_lp_kvm_protect, protect);
	static_call_update(dirty_ring_lp_kvm_flush, flush);
	return 0;
}

static struct klp_func dirty_ring_lp_funcs[] = {
	{ .old_name = "kvm_dirty_ring_reset", .new_func = dirty_ring_lp_reset }, {}
};

static struct klp_object dirty_ring_lp_objects[] = {
	{
		.name = "kvm",
		.funcs = dirty_ring_lp_funcs,
		.callbacks = { .pre_patch = dirty_ring_lp_pre_patch },
	},
	{}
};

static struct klp_patch dirty_ring_lp_patch = {
	.mod = THIS_MODULE,
	.objs = dirty_ring_lp_objects,
};

static int __init dirty_ring_lp_init(void)
{
	return klp_enable_patch(&dirty_ring_lp_patch);
}
module_init(dirty_ring_lp_init);

/* A livepatch has to have one; the patch is disabled by sysfs before. */
static void __exit dirty_ring_lp_exit(void)
{
}
module_exit(dirty_ring_lp_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("KVM dirty ring: a reset that scales and loses no page");
MODULE_INFO(livepatch, "Y");
