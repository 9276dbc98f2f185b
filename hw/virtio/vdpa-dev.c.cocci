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
//
// A start that fails was only a line in the log: the guest waited for ever, and no query had the
// reason.
//
// failed: makes it known (vdpa-fault.c): the reason in query-vhost-vdpa, DEVICE_NEEDS_RESET for the
// guest.
//
// broken: keeps the device stopped until the guest resets it.
//
// Delete these when the base reports the failure to the guest.

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

@failed@
identifier s, vdev, ret, local_err;
position p;
@@
  vhost_vdpa_device_set_status(VirtIODevice *vdev, ...)
  {
  ...
  VhostVdpaDevice *s = VHOST_VDPA_DEVICE(vdev);
  <...
  if (ret < 0) {
- error_reportf_err@p(local_err, "vhost-vdpa-device: start failed: ");
+ error_free(local_err);
+ vhost_vdpa_report_start(&s->vdpa, vdev, ret);
  }
  ...>
  }

@broken@
identifier vdev;
position p;
@@
  vhost_vdpa_device_set_status(VirtIODevice *vdev, ...)
  {
  <...
- if (!vdev->vm_running@p)
+ if (!vdev->vm_running || vdev->broken)
  { ... }
  ...>
  }
