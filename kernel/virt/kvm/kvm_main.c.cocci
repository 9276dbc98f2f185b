// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: rings of up to DIRTY_RING_MAX_ENTRIES entries (dirty_ring_limits.h), and no second TLB flush.
//
// header, most: the capability says how large a ring may be, and larger ones are refused.
// flush: kvm_dirty_ring_reset() has flushed the TLBs before it gives entries back.
//
// Delete these rules when the base does the same.

@header@
position p;
@@
  #include "kvm_mm.h"@p
+ #include "dirty_ring_limits.h"

@most@
position p;
@@
- KVM_DIRTY_RING_MAX_ENTRIES@p
+ DIRTY_RING_MAX_ENTRIES

@flush@
identifier cleared, kvm;
position p;
@@
  static int kvm_vm_ioctl_reset_dirty_pages(struct kvm *kvm)
  {
  ...
- if (cleared)
- 	kvm_flush_remote_tlbs@p(kvm);
  ...
  }
