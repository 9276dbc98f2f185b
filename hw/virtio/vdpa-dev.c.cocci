// SPDX-License-Identifier: GPL-2.0-or-later
//
// A monitor command about a vhost-vdpa-device that runs ends QEMU.
//
// x-query-virtio-status, x-query-virtio-queue-status and x-query-virtio-vhost-queue-status ask the
// class of a virtio device with vhost for its struct vhost_dev.  This class has no such function, and
// the null pointer is called.
//
// How it was found: tests/avocado/hostile.py, with the generic device among what is drawn by lot.
//
// class: gives it one.
//
// Delete this when the base's class has one; upstream would want it.

@class@
typedef ObjectClass, VirtIODevice;
identifier klass, data, vdc;
position p;
@@
+ static struct vhost_dev *vhost_vdpa_device_get_vhost(VirtIODevice *vdev)
+ {
+     return &VHOST_VDPA_DEVICE(vdev)->dev;
+ }
+
  vhost_vdpa_device_class_init(ObjectClass *klass, void *data)
  {
  ...
  vdc->set_status = vhost_vdpa_device_set_status@p;
+ vdc->get_vhost = vhost_vdpa_device_get_vhost;
  }
