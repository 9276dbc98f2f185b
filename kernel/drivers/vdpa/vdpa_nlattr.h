/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attributes of the netlink family `vdpa`: put into a message and read from one.  The put functions
 * return 0 or -EMSGSIZE (or the device's errno); attributes that they have written stay in the
 * message for the caller to cancel.  All are called with vdpa_registry held.
 */
#ifndef QEMU_LIVE_VDPA_NLATTR_H
#define QEMU_LIVE_VDPA_NLATTR_H

#include <net/netlink.h>
#include <uapi/linux/vdpa.h>

#include "vdpa_core.h"

#define VDPA_ATTR_LAST (VDPA_ATTR_MAX - 1)

extern const struct nla_policy vdpa_nl_policy[VDPA_ATTR_LAST + 1];

/* A string attribute as a C string. */
struct vdpa_nl_text {
	char s[VDPA_NAME_LEN_MAX + 1];
};

int vdpa_nl_take_text(struct vdpa_nl_text *text, const struct nlattr *attr,
		      struct netlink_ext_ack *extack);
int vdpa_nl_take_config(struct vdpa_dev_set_config *config, struct nlattr *const *attrs,
			struct netlink_ext_ack *extack);
int vdpa_nl_check_config(const struct vdpa_dev_set_config *config, const struct vdpa_mgmt_dev *mdev,
			 struct nlattr *const *attrs, struct netlink_ext_ack *extack);

int vdpa_nl_put_mgmt(struct sk_buff *msg, const struct vdpa_mgmt_dev *mdev);
int vdpa_nl_put_device(struct sk_buff *msg, struct vdpa_device *vdev);
int vdpa_nl_put_config(struct sk_buff *msg, struct vdpa_device *vdev);
int vdpa_nl_put_vstats(struct sk_buff *msg, struct vdpa_device *vdev, u32 queue,
		       struct netlink_ext_ack *extack);

#endif
