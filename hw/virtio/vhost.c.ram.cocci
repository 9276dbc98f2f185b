// SPDX-License-Identifier: GPL-2.0-or-later
//
// A ring that vhost maps is RAM.
//
// vhost maps the three areas of each queue when a device starts, and unmaps
// them when it stops.  It maps other memory than RAM as a bounce buffer, which
// unmapping writes to where the guest's address leads.  If that is this
// device's own device_status, the device is stopped while it is being stopped:
// the same areas are unmapped twice, and QEMU ends in address_space_unmap().
// From the guest's write of device_status the reentrancy guard keeps that away;
// not when the monitor stops the machine, a migration ends, or the link is set
// down.
//
// No backend can use a bounce buffer for a ring: what it writes would get to the guest when the device
// stops.  So vhost does not map a ring outside of RAM, and the device does not
// start.
//
// How it was found: by reading, after the control queue's answers had led to device_status
// (vdpa-guest-mem.c).
//
// Delete this when the base refuses rings that are no RAM; upstream would want it.

@header@
position p;
@@
  #include "hw/virtio/vhost.h"@p
+ #include "hw/virtio/vhost-ram.h"

@map@
identifier addr, plen, is_write;
position p;
@@
  vhost_memory_map(..., hwaddr addr, hwaddr *plen, bool is_write)
  {
  <...
- return cpu_physical_memory_map@p(addr, plen, is_write);
+ return vhost_map_ram(addr, plen, is_write);
  ...>
  }
