// SPDX-License-Identifier: GPL-2.0-or-later
//
// hw/virtio/virtio.c: a queue that does not exist has no ring to look up.
//
// virtio-net deletes its queues when the guest changes what it has negotiated, and leaves the rings'
// addresses behind.  A guest that then writes queue_size of such a queue has its ring, of no
// entries, looked up: address_space_cache_init() asserts that there is something, and QEMU ends.
//
// Delete this when the base does the same.  tests/avocado/hostile.py, case deleted-queue, ends QEMU
// without it.

@ num @
identifier vq, addr;
position p;
@@
  addr = vq->vring.desc;
- if (!addr@p) {
+ if (!addr || !vq->vring.num) {
    goto out_no_cache;
  }
