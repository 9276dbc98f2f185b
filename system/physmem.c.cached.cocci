// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fault: a device behind an IOMMU writes a part of its ring into another page.
//
// A virtio device accesses its rings through a MemoryRegionCache.  Behind an IOMMU that cache holds no
// pointer: each access is translated when it is made.  The base translates the first page of an access that
// reaches into a second one, and continues in the page that follows in guest RAM, wherever the second page
// is.
//
// In a split ring the used elements can cross pages: eight bytes each, from four bytes after the start of
// the used ring.  A ring of 256 fits into a page, but 10.0.13 makes every queue 1,024 long (virtio_add_queue).
// In virtio-pci's layout the used ring then begins 0x840 bytes after the start of a page and crosses two
// borders, in elements 247 and 759.  The length in such an element goes to the first four bytes of the page
// that follows in guest RAM; the right place keeps its old content.  A kernel that has an IOMMU makes a ring
// of pages that need not follow each other in RAM.
//
// Seen: two virtio-net devices of the lab's L1 that exchanged a TCP stream stopped after a while ("Guest moved
// used index from 761 to 0"), with the ungrafted emulator too, never without DMA translation.  A trace of
// translations shows a transmit queue that sends frames again once it has written used element 759.  The page
// that ends in this element lies below the queue's available ring in guest RAM: the length, 0 for a sent
// frame, had set the ring's index to 0.
//
// read, write: access the bytes that one translation covers, then translate the rest.
//
// Test: tests/lab/scenarios/iommu.py.  Delete these rules when the base translates each page.
//
// Limits: single values (address_space_lduw_cached and the like) are not split; in rings they are aligned and
// do not cross a page.  The access stays in one memory region, since a cache has one.

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
