// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: doorbells mapped into user space.
 *
 * Theory of operation
 *
 * Page N of the file is the notification area of queue N.  A store there is the kick, and no system
 * call is made.  Nothing is mapped by mmap() itself: pages are put in when they are touched, so
 * that one place decides, under one lock, whether the device is still there.
 *
 * Revocation: @revoked is set under notify_lock; a fault that took the lock earlier has put its page
 * in by then, and unmap_mapping_range() takes that out; one that comes later finds the flag and ends
 * in SIGBUS.  mmap() runs below mmap_lock, as faults do, and a session's mutex is taken above it:
 * hence a lock of its own.
 *
 * Limits: an area that is not exactly one page is not mapped, for the page would show its
 * neighbours.
 */

#include <linux/mm.h>
#include <linux/nospec.h>

#include "vdpa_priv.h"

/* The page frame of a queue's doorbell.  notify_lock held. */
static int vhost_vdpa_doorbell(struct vhost_vdpa_session *s, unsigned long idx, unsigned long *pfn)
{
	struct vdpa_notification_area area;

	lockdep_assert_held(&s->notify_lock);
	if (s->revoked)
		return -ENODEV;
	if (idx >= s->nvqs)
		return -EINVAL;
	if (!s->vdpa->config->get_vq_notification)
		return -EOPNOTSUPP;
	idx = array_index_nospec(idx, s->nvqs);
	area = s->vdpa->config->get_vq_notification(s->vdpa, idx);
	if (area.addr & ~PAGE_MASK)
		return -EINVAL;
	if (area.size != PAGE_SIZE)
		return -EOPNOTSUPP;
	*pfn = PHYS_PFN(area.addr);
	return 0;
}

static vm_fault_t vhost_vdpa_doorbell_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct vhost_vdpa_session *s = vma->vm_file->private_data;
	vm_fault_t done = VM_FAULT_SIGBUS;
	unsigned long pfn;

	mutex_lock(&s->notify_lock);
	if (!vhost_vdpa_doorbell(s, vma->vm_pgoff, &pfn))
		done = vmf_insert_pfn(vma, vma->vm_start, pfn);
	mutex_unlock(&s->notify_lock);
	return done;
}

static const struct vm_operations_struct vhost_vdpa_doorbell_vm_ops = {
	.fault = vhost_vdpa_doorbell_fault,
};

int vhost_vdpa_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct vhost_vdpa_session *s = file->private_data;
	unsigned long pfn;
	int err;

	mutex_lock(&s->notify_lock);
	err = s->revoked ? -ENODEV : 0;
	/* A doorbell is only written, and through a shared mapping. */
	if (!err && (vma_pages(vma) != 1 || !(vma->vm_flags & VM_SHARED) ||
		     (vma->vm_flags & (VM_READ | VM_EXEC))))
		err = -EINVAL;
	if (!err)
		err = vhost_vdpa_doorbell(s, vma->vm_pgoff, &pfn);
	mutex_unlock(&s->notify_lock);
	if (err)
		return err;

	/* A register; on x86 the address decides, and this is not looked at. */
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_flags &= ~(VM_MAYREAD | VM_MAYEXEC);
	vma->vm_flags |= VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
	vma->vm_ops = &vhost_vdpa_doorbell_vm_ops;
	return 0;
}

/* Unmap all doorbells of the session; none is mapped again. */
void vhost_vdpa_notify_revoke(struct vhost_vdpa_session *s)
{
	mutex_lock(&s->notify_lock);
	s->revoked = true;
	mutex_unlock(&s->notify_lock);
	unmap_mapping_range(s->mapping, 0, 0, 1);
}
