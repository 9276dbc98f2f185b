// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attributes of the netlink family `vdpa`, as tables.
 *
 *	vdpa_nl_policy		the form of each attribute of a request; netlink itself checks it
 *	vdpa_config_inputs	DEV_NEW, DEV_ATTR_SET: attribute -> member of struct vdpa_dev_set_config
 *	vdpa_device_fields	DEV_GET: operation of the device -> attribute
 *	vdpa_net_fields		DEV_CONFIG_GET: bytes of a network device's configuration -> attribute
 *
 * Which fields of the configuration mean anything depends on the features that the device offers; the
 * table says so, and others are left out.
 *
 * A request is checked before the management device's driver sees it: names, ranges, that the
 * driver takes the attribute, that the requested features are offered and include those that the
 * other attributes need.
 *
 * Limits: of device classes only network devices have attributes for their configuration in 6.1's
 * uapi; others are described by their features.
 */
#include <linux/etherdevice.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "vdpa_nlattr.h"

/* Largest number of class bits that fits an attribute. */
#define VDPA_CLASS_BITS 64

#define VDPA_NAME_POLICY { .type = NLA_STRING, .len = VDPA_NAME_LEN_MAX }

const struct nla_policy vdpa_nl_policy[VDPA_ATTR_LAST + 1] = {
	[VDPA_ATTR_MGMTDEV_BUS_NAME] = VDPA_NAME_POLICY,
	[VDPA_ATTR_MGMTDEV_DEV_NAME] = VDPA_NAME_POLICY,
	[VDPA_ATTR_DEV_NAME] = VDPA_NAME_POLICY,
	[VDPA_ATTR_DEV_NET_CFG_MACADDR] = NLA_POLICY_ETH_ADDR,
	[VDPA_ATTR_DEV_NET_CFG_MAX_VQP] = { .type = NLA_U16 },
	[VDPA_ATTR_DEV_NET_CFG_MTU] = NLA_POLICY_MIN(NLA_U16, ETH_MIN_MTU),
	[VDPA_ATTR_DEV_QUEUE_INDEX] = { .type = NLA_U32 },
	[VDPA_ATTR_DEV_FEATURES] = { .type = NLA_U64 },
};

/**
 * vdpa_nl_take_text - copy a string attribute
 * @text: where to
 * @attr: passed the policy; ends with a NUL byte or not
 * @extack: gets the error
 *
 * Return: 0; -EINVAL for a string that has more behind its end
 */
int vdpa_nl_take_text(struct vdpa_nl_text *text, const struct nlattr *attr,
		      struct netlink_ext_ack *extack)
{
	const char *from = nla_data(attr);
	size_t len = nla_len(attr);

	if (len && !from[len - 1])
		len--;
	if (len >= sizeof(text->s) || memchr(from, 0, len)) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "not one string");
		return -EINVAL;
	}
	memcpy(text->s, from, len);
	text->s[len] = 0;
	return 0;
}

/* DEV_NEW and DEV_ATTR_SET: requests */

static int vdpa_take_mac(struct vdpa_dev_set_config *config, const struct nlattr *attr,
			 struct netlink_ext_ack *extack)
{
	nla_memcpy(config->net.mac, attr, ETH_ALEN);
	if (is_valid_ether_addr(config->net.mac))
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, attr, "a device's MAC address is neither zero nor a group's");
	return -EINVAL;
}

static int vdpa_take_mtu(struct vdpa_dev_set_config *config, const struct nlattr *attr,
			 struct netlink_ext_ack *extack)
{
	config->net.mtu = nla_get_u16(attr);
	return 0;
}

static int vdpa_take_max_vqp(struct vdpa_dev_set_config *config, const struct nlattr *attr,
			     struct netlink_ext_ack *extack)
{
	u16 pairs = nla_get_u16(attr);

	if (pairs < VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "a network device has one queue pair at the least");
		return -EINVAL;
	}
	if (pairs > VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX) {
		NL_SET_ERR_MSG_ATTR(extack, attr, "more queue pairs than virtio can name");
		return -ERANGE;
	}
	config->net.max_vq_pairs = pairs;
	return 0;
}

static int vdpa_take_features(struct vdpa_dev_set_config *config, const struct nlattr *attr,
			      struct netlink_ext_ack *extack)
{
	config->device_features = nla_get_u64(attr);
	return 0;
}

/**
 * struct vdpa_config_input - one thing that can be asked of a device
 * @attr:  the attribute
 * @needs: features of which the device must have one for the attribute to mean anything; 0 for none
 * @take:  copy it, check its value
 */
struct vdpa_config_input {
	u16 attr;
	u64 needs;
	int (*take)(struct vdpa_dev_set_config *config, const struct nlattr *attr,
		    struct netlink_ext_ack *extack);
};

#define VDPA_MQ_FEATURES (BIT_ULL(VIRTIO_NET_F_MQ) | BIT_ULL(VIRTIO_NET_F_RSS))

static const struct vdpa_config_input vdpa_config_inputs[] = {
	{ VDPA_ATTR_DEV_NET_CFG_MACADDR, BIT_ULL(VIRTIO_NET_F_MAC), vdpa_take_mac },
	{ VDPA_ATTR_DEV_NET_CFG_MTU, BIT_ULL(VIRTIO_NET_F_MTU), vdpa_take_mtu },
	/* a device without these features has one pair */
	{ VDPA_ATTR_DEV_NET_CFG_MAX_VQP, 0, vdpa_take_max_vqp },
	{ VDPA_ATTR_DEV_FEATURES, 0, vdpa_take_features },
};

/**
 * vdpa_nl_take_config - read the attributes of a request
 * @config: filled
 * @attrs: the request's attributes by type
 * @extack: gets the error
 *
 * Return: 0; -EINVAL or -ERANGE for a value that no device can have
 */
int vdpa_nl_take_config(struct vdpa_dev_set_config *config, struct nlattr *const *attrs,
			struct netlink_ext_ack *extack)
{
	const struct vdpa_config_input *input;
	size_t i;
	int err;

	memset(config, 0, sizeof(*config));
	for (i = 0; i < ARRAY_SIZE(vdpa_config_inputs); i++) {
		input = &vdpa_config_inputs[i];
		if (!attrs[input->attr])
			continue;
		err = input->take(config, attrs[input->attr], extack);
		if (err)
			return err;
		config->mask |= BIT_ULL(input->attr);
	}
	return 0;
}

static int vdpa_check_input(const struct vdpa_config_input *input,
			    const struct vdpa_dev_set_config *config,
			    const struct vdpa_mgmt_dev *mdev, const struct nlattr *attr,
			    struct netlink_ext_ack *extack)
{
	bool chosen = config->mask & BIT_ULL(VDPA_ATTR_DEV_FEATURES);

	if (!(mdev->config_attr_mask & BIT_ULL(input->attr))) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "the management device does not take this attribute");
		return -EOPNOTSUPP;
	}
	if (chosen && input->needs && !(config->device_features & input->needs)) {
		NL_SET_ERR_MSG_ATTR(extack, attr,
				    "device_features lacks what this attribute needs");
		return -EINVAL;
	}
	return 0;
}

/**
 * vdpa_nl_check_config - does that management device take these attributes
 * @config: from vdpa_nl_take_config()
 * @mdev: the management device
 * @attrs: the request's attributes, to point at the one that is wrong
 * @extack: gets the error
 *
 * Return: 0, -EOPNOTSUPP for an attribute that @mdev does not take, -EINVAL for features that it does
 * not offer or that contradict another attribute
 */
int vdpa_nl_check_config(const struct vdpa_dev_set_config *config, const struct vdpa_mgmt_dev *mdev,
			 struct nlattr *const *attrs, struct netlink_ext_ack *extack)
{
	const struct vdpa_config_input *input;
	size_t i;
	int err;

	for (i = 0; i < ARRAY_SIZE(vdpa_config_inputs); i++) {
		input = &vdpa_config_inputs[i];
		if (!(config->mask & BIT_ULL(input->attr)))
			continue;
		err = vdpa_check_input(input, config, mdev, attrs[input->attr], extack);
		if (err)
			return err;
	}
	if (config->device_features & ~mdev->supported_features) {
		NL_SET_ERR_MSG_ATTR(extack, attrs[VDPA_ATTR_DEV_FEATURES],
				    "the management device does not offer all of device_features");
		return -EINVAL;
	}
	return 0;
}

/* Answers */

static int vdpa_put_number(struct sk_buff *msg, u16 attr, unsigned int width, u64 value)
{
	switch (width) {
	case sizeof(u16):
		return nla_put_u16(msg, attr, value);
	case sizeof(u32):
		return nla_put_u32(msg, attr, value);
	default:
		return nla_put_u64_64bit(msg, attr, value, VDPA_ATTR_PAD);
	}
}

static int vdpa_put_handle(struct sk_buff *msg, const struct vdpa_mgmt_dev *mdev)
{
	const struct bus_type *bus = mdev->device->bus;
	int err = 0;

	if (bus)
		err = nla_put_string(msg, VDPA_ATTR_MGMTDEV_BUS_NAME, bus->name);
	return err ?: nla_put_string(msg, VDPA_ATTR_MGMTDEV_DEV_NAME, dev_name(mdev->device));
}

static u64 vdpa_classes(const struct virtio_device_id *ids)
{
	u64 classes = 0;

	for (; ids && ids->device; ids++)
		if (ids->device < VDPA_CLASS_BITS)
			classes |= BIT_ULL(ids->device);
	return classes;
}

/**
 * vdpa_nl_put_mgmt - describe a management device
 * @msg: to which the attributes are added
 * @mdev: the management device
 */
int vdpa_nl_put_mgmt(struct sk_buff *msg, const struct vdpa_mgmt_dev *mdev)
{
	const struct {
		u16 attr;
		u16 width;
		u64 value;
	} fields[] = {
		{ VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES, sizeof(u64), vdpa_classes(mdev->id_table) },
		{ VDPA_ATTR_DEV_MGMTDEV_MAX_VQS, sizeof(u32), mdev->max_supported_vqs },
		{ VDPA_ATTR_DEV_SUPPORTED_FEATURES, sizeof(u64), mdev->supported_features },
	};
	int err = vdpa_put_handle(msg, mdev);
	size_t i;

	for (i = 0; !err && i < ARRAY_SIZE(fields); i++)
		err = vdpa_put_number(msg, fields[i].attr, fields[i].width, fields[i].value);
	return err;
}

static u64 vdpa_get_id(struct vdpa_device *vdev)
{
	return vdev->config->get_device_id(vdev);
}

static u64 vdpa_get_vendor(struct vdpa_device *vdev)
{
	return vdev->config->get_vendor_id(vdev);
}

static u64 vdpa_get_nvqs(struct vdpa_device *vdev)
{
	return vdev->nvqs;
}

static u64 vdpa_get_most(struct vdpa_device *vdev)
{
	return vdev->config->get_vq_num_max(vdev);
}

static u64 vdpa_get_least(struct vdpa_device *vdev)
{
	return vdev->config->get_vq_num_min ? vdev->config->get_vq_num_min(vdev) : 1;
}

static const struct vdpa_device_field {
	u16 attr;
	u16 width;
	u64 (*get)(struct vdpa_device *vdev);
} vdpa_device_fields[] = {
	{ VDPA_ATTR_DEV_ID, sizeof(u32), vdpa_get_id },
	{ VDPA_ATTR_DEV_VENDOR_ID, sizeof(u32), vdpa_get_vendor },
	{ VDPA_ATTR_DEV_MAX_VQS, sizeof(u32), vdpa_get_nvqs },
	{ VDPA_ATTR_DEV_MAX_VQ_SIZE, sizeof(u16), vdpa_get_most },
	{ VDPA_ATTR_DEV_MIN_VQ_SIZE, sizeof(u16), vdpa_get_least },
};

/* Name and class: the first attributes of each answer about a device */
static int vdpa_put_identity(struct sk_buff *msg, struct vdpa_device *vdev)
{
	return nla_put_string(msg, VDPA_ATTR_DEV_NAME, dev_name(&vdev->dev))
		       ?: nla_put_u32(msg, VDPA_ATTR_DEV_ID, vdpa_get_id(vdev));
}

/**
 * vdpa_nl_put_device - describe a device
 * @msg: to which the attributes are added
 * @vdev: the device; has a management device
 */
int vdpa_nl_put_device(struct sk_buff *msg, struct vdpa_device *vdev)
{
	const struct vdpa_device_field *field;
	size_t i;
	int err;

	err = vdpa_put_handle(msg, vdev->mdev)
		      ?: nla_put_string(msg, VDPA_ATTR_DEV_NAME, dev_name(&vdev->dev));
	for (i = 0; !err && i < ARRAY_SIZE(vdpa_device_fields); i++) {
		field = &vdpa_device_fields[i];
		err = vdpa_put_number(msg, field->attr, field->width, field->get(vdev));
	}
	return err;
}

/**
 * struct vdpa_net_field - one field of a network device's configuration
 * @attr:   the attribute
 * @at:     its place in struct virtio_net_config
 * @bytes:  its length; 0 for a little-endian 16-bit number
 * @needs:  features of which the device must offer one for the field to mean anything
 */
struct vdpa_net_field {
	u16 attr;
	u16 at;
	u16 bytes;
	u64 needs;
};

static const struct vdpa_net_field vdpa_net_fields[] = {
	{ VDPA_ATTR_DEV_NET_CFG_MACADDR, offsetof(struct virtio_net_config, mac), ETH_ALEN,
	  BIT_ULL(VIRTIO_NET_F_MAC) },
	{ VDPA_ATTR_DEV_NET_STATUS, offsetof(struct virtio_net_config, status), 0,
	  BIT_ULL(VIRTIO_NET_F_STATUS) },
	{ VDPA_ATTR_DEV_NET_CFG_MAX_VQP, offsetof(struct virtio_net_config, max_virtqueue_pairs), 0,
	  VDPA_MQ_FEATURES },
	{ VDPA_ATTR_DEV_NET_CFG_MTU, offsetof(struct virtio_net_config, mtu), 0,
	  BIT_ULL(VIRTIO_NET_F_MTU) },
};

static int vdpa_put_net_field(struct sk_buff *msg, const struct vdpa_net_field *field,
			      const void *config)
{
	const void *from = config + field->at;

	if (field->bytes)
		return nla_put(msg, field->attr, field->bytes, from);
	return nla_put_u16(msg, field->attr, le16_to_cpup(from));
}

static int vdpa_put_net_config_locked(struct sk_buff *msg, struct vdpa_device *vdev, u64 features)
{
	struct virtio_net_config config;
	size_t i;
	int err = 0;

	vdpa_read_config_locked(vdev, 0, &config, sizeof(config));
	for (i = 0; !err && i < ARRAY_SIZE(vdpa_net_fields); i++)
		if (features & vdpa_net_fields[i].needs)
			err = vdpa_put_net_field(msg, &vdpa_net_fields[i], &config);
	return err;
}

static bool vdpa_negotiated_locked(struct vdpa_device *vdev)
{
	return vdev->config->get_status(vdev) & VIRTIO_CONFIG_S_FEATURES_OK;
}

static int vdpa_put_negotiated_locked(struct sk_buff *msg, struct vdpa_device *vdev)
{
	return vdpa_put_number(msg, VDPA_ATTR_DEV_NEGOTIATED_FEATURES, sizeof(u64),
			       vdev->config->get_driver_features(vdev));
}

static int vdpa_put_config_locked(struct sk_buff *msg, struct vdpa_device *vdev)
{
	u64 features = vdev->config->get_device_features(vdev);
	int err;

	lockdep_assert_held(&vdev->cf_lock);
	err = vdpa_put_number(msg, VDPA_ATTR_VDPA_DEV_SUPPORTED_FEATURES, sizeof(u64), features);
	if (!err && vdpa_negotiated_locked(vdev))
		err = vdpa_put_negotiated_locked(msg, vdev);
	if (!err && vdpa_get_id(vdev) == VIRTIO_ID_NET)
		err = vdpa_put_net_config_locked(msg, vdev, features);
	return err;
}

/**
 * vdpa_nl_put_config - describe a device's features and configuration
 * @msg: to which the attributes are added
 * @vdev: the device
 */
int vdpa_nl_put_config(struct sk_buff *msg, struct vdpa_device *vdev)
{
	int err;

	down_read(&vdev->cf_lock);
	err = vdpa_put_identity(msg, vdev) ?: vdpa_put_config_locked(msg, vdev);
	up_read(&vdev->cf_lock);
	return err;
}

/* The attributes from which iproute2 learns the kind of queue, and then the vendor's own. */
static int vdpa_put_vstats_locked(struct sk_buff *msg, struct vdpa_device *vdev, u32 queue,
				  struct netlink_ext_ack *extack)
{
	__le16 pairs;
	int err;

	vdpa_read_config_locked(vdev, offsetof(struct virtio_net_config, max_virtqueue_pairs),
				&pairs, sizeof(pairs));
	err = nla_put_u16(msg, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, le16_to_cpu(pairs)) ?:
	      vdpa_put_negotiated_locked(msg, vdev) ?:
	      nla_put_u32(msg, VDPA_ATTR_DEV_QUEUE_INDEX, queue);
	return err ?: vdev->config->get_vendor_vq_stats(vdev, queue, msg, extack);
}

/**
 * vdpa_nl_put_vstats - a queue's statistics in the vendor's own words
 * @msg: to which the attributes are added
 * @vdev: the device
 * @queue: index of the queue, unchecked
 * @extack: gets the error
 *
 * Return: 0, -EOPNOTSUPP where there are none, -ERANGE for no such queue, -EAGAIN before features have
 * been negotiated (queues have no role before), -EMSGSIZE, or the device's errno
 */
int vdpa_nl_put_vstats(struct sk_buff *msg, struct vdpa_device *vdev, u32 queue,
		       struct netlink_ext_ack *extack)
{
	int err;

	if (!vdev->config->get_vendor_vq_stats || vdpa_get_id(vdev) != VIRTIO_ID_NET) {
		NL_SET_ERR_MSG_MOD(extack, "this device keeps no vendor statistics");
		return -EOPNOTSUPP;
	}
	if (queue >= vdev->nvqs) {
		NL_SET_ERR_MSG_MOD(extack, "the device has no queue of that index");
		return -ERANGE;
	}

	down_read(&vdev->cf_lock);
	if (vdpa_negotiated_locked(vdev)) {
		err = vdpa_put_identity(msg, vdev)
			      ?: vdpa_put_vstats_locked(msg, vdev, queue, extack);
	} else {
		NL_SET_ERR_MSG_MOD(extack, "no driver has negotiated features yet");
		err = -EAGAIN;
	}
	up_read(&vdev->cf_lock);
	return err;
}
