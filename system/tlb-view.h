/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory map that a vCPU's TLB was filled from.
 *
 * TCG's TLB entry of a device names it by an index into the table of sections
 * of the flat view that was current when the entry was filled.  The index
 * means something in that view only, so it has to be looked up in that view,
 * until the TLB has been flushed:
 *
 *     BQL holder, any thread       vCPU's thread
 *     ----------------------       -------------
 *     new view is published        TLB hit: index of the old view, in the old view
 *     work is queued, CPU kicked       "
 *                                  tlb_view_follow(): takes the new, drops the old
 *                                  the TLB is flushed
 *                                  TLB miss: filled from the new view
 *
 * Each address space of each CPU has a FlatView pointer, which holds a
 * reference.
 *
 * Threads: tlb_view_follow() and tlb_view_dispatch() are called by the CPU's
 * own thread, or before it runs; tlb_view_drop() after its last block.  So the
 * pointer needs no lock.  The reference keeps the view and its sections;
 * without it they would be good only as long as the vCPU stays in the RCU read
 * section in which it filled the entry.
 *
 * Limits: a vCPU sees its own changes at the end of the translated block; an
 * access to a device ends the block.  Sections behind an IOMMU region of the
 * CPU's (no x86 machine has one) are in the view of another address space, and
 * are as they were.
 */
#ifndef SYSTEM_TLB_VIEW_H
#define SYSTEM_TLB_VIEW_H

#include "exec/memory-internal.h"

/**
 * tlb_view_dispatch: the table that indices in the TLB belong to
 * @view: the view that the TLB is filled from, or %NULL if there was none yet
 * @as:   the address space, whose current view is used then
 */
static inline AddressSpaceDispatch *tlb_view_dispatch(FlatView *view, AddressSpace *as)
{
    return view ? flatview_to_dispatch(view) : address_space_to_dispatch(as);
}

/**
 * tlb_view_drop: the TLB is not used any more
 * @view: what holds the view; %NULL afterwards
 */
static inline void tlb_view_drop(FlatView **view)
{
    if (*view) {
        flatview_unref(*view);
        *view = NULL;
    }
}

/**
 * tlb_view_follow: fill the TLB from the address space as it is now
 * @view: what holds the view
 * @as:   the address space
 *
 * The caller flushes the TLB before the next translated block.
 */
static inline void tlb_view_follow(FlatView **view, AddressSpace *as)
{
    FlatView *now = address_space_get_flatview(as);

    tlb_view_drop(view);
    *view = now;
}

#endif
