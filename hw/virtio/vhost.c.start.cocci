// SPDX-License-Identifier: GPL-2.0-or-later
//
// A start of a vhost device that fails keeps no file descriptor.
//
// vhost_dev_start() opens an eventfd for masked configuration interrupts.  vhost_dev_stop() closes it;
// a start that fails later does not, and the next start opens another one.  So each start that fails
// for want of descriptors leaves one less.
//
// How it was found: by reading; tests/avocado/startfail.py counts descriptors.
//
// notifier: closes it where the start is undone.
//
// Delete this when the base does so; upstream would want it.

@notifier@
identifier hdev;
position p;
@@
  vhost_dev_start(struct vhost_dev *hdev, ...)
  {
  <...
+ event_notifier_cleanup(&hdev->vqs[VHOST_QUEUE_NUM_CONFIG_INR].masked_config_notifier);
  vhost_log_put@p(hdev, false);
  ...>
  }
