// SPDX-License-Identifier: GPL-2.0-or-later
//
// A device behind an IOMMU writes a piece of its ring into a page that is not its ring's.
//
// A virtio device reads and writes its rings through a MemoryRegionCache.  Behind an IOMMU that cache
// holds no pointer: each access is translated when it is made.  One that reaches into a second page
// is translated for the first only, and goes on behind that page in guest RAM, wherever the second one
// is.  (A cache is of one memory region, so what does the access looks for no other.  An IOMMU is one
// region, too, but what lies behind it is not in one piece.)
//
// Of a split ring's parts the used elements can do that: eight bytes each, the first of them four bytes
// after the start of the used ring.  A ring of 256 fits into its page.  But 10.0.13 makes every queue 1,024
// long, whatever its device asks for (virtio_add_queue).  In virtio-pci's layout the used ring then begins
// 0x840 bytes after the start of a page and crosses two borders, in the middle of element 247 and in the
// middle of element 759.  The length of such an element lands in the first four bytes of the page that
// follows in guest RAM; where it should be, there is what was there before.  And a kernel that has an
// IOMMU makes a ring of pages that need not follow each other in RAM.
//
// How it was found: two virtio-net devices of the lab's L1 that exchanged a TCP stream stopped after a
// while ("Guest moved used index from 761 to 0"), also under the ungrafted emulator, never without DMA
// translation.  In a trace of all translations, a transmit queue sends new frames until it has written
// used element 759, and from then on frames that it had sent before.  The page that ends in the middle of
// this element lies right below the queue's available ring in guest RAM: the length, zero for what was
// sent, had made the ring's index zero.  In an older log it was a descriptor's address that became zero
// (DMA write at I/O address zero).  So guest RAM changed where nobody wrote; no store of a CPU was lost.
// tests/lab/scenarios/iommu.py.
//
// read, write: what one translation is good for is accessed, the rest is translated anew.
//
// Delete this when the base translates each page; upstream would want it.
//
// Limits: single values (address_space_lduw_cached and its like) are not split: in rings they are
// aligned, and none lies across two pages.

@read@
typedef MemoryRegionCache, hwaddr;
identifier cache, addr, buf, len, mr_addr, l, mr;
expression attrs;
position p;
@@
  address_space_read_cached_slow(MemoryRegionCache *cache, hwaddr addr, void *buf, hwaddr len)
  {
  ...
- return address_space_read_continue_cached@p(attrs, buf, len, mr_addr, l, mr);
+ return address_space_read_continue_cached(attrs, buf, l, mr_addr, l, mr) |
+     (l < len ? address_space_read_cached_slow(cache, addr + l, buf + l, len - l) : MEMTX_OK);
  }

@write@
typedef MemoryRegionCache, hwaddr;
identifier cache, addr, buf, len, mr_addr, l, mr;
expression attrs;
position p;
@@
  address_space_write_cached_slow(MemoryRegionCache *cache, hwaddr addr, const void *buf, hwaddr len)
  {
  ...
- return address_space_write_continue_cached@p(attrs, buf, len, mr_addr, l, mr);
+ return address_space_write_continue_cached(attrs, buf, l, mr_addr, l, mr) |
+     (l < len ? address_space_write_cached_slow(cache, addr + l, buf + l, len - l) : MEMTX_OK);
  }
