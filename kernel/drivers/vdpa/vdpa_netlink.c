// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The generic netlink family `vdpa`, which iproute2's `vdpa` tool speaks.
 *
 * Commands that describe objects differ in three ways only: how an object is found by name, how all
 * are walked, how one is put into a message.  A table of views has these; one function answers
 * single requests and one dumps.
 *
 *	request -> view->named() -> view->put() -> reply
 *	dump    -> view->next() -> view->put() -> ... until the buffer is full, then again from there
 *
 * Both hold vdpa_registry for reading from finding to putting, so that nothing that is described goes
 * away meanwhile.  A dump drops it between buffers and keeps the serial of the last one shown: an
 * object that exists all the time is shown once, one that is added or removed meanwhile may be
 * shown or not.
 *
 * Commands that change something hold vdpa_lifecycle.  They can be killed while they wait for it.
 * The family's commands run in parallel; otherwise genetlink's own mutex would be held, and most
 * other families stopped, while a driver releases a device.
 *
 * Limits: the family exists in the initial network namespace only.
 */
#include <net/genetlink.h>

#include <linux/qemu-live-uapi.h>

#include "vdpa_nlattr.h"

/* In struct netlink_callback's context: where a dump is */
struct vdpa_nl_cursor {
	u64 serial;
};

/**
 * struct vdpa_nl_view - how a kind of thing is shown
 * @answer: command number of the messages
 * @named: the subject of a request, or an error pointer
 * @next: the first one after a serial, which is moved on to it; NULL at the end
 * @put: its attributes; @info is NULL in dumps
 *
 * All are called with vdpa_registry held for reading.
 */
struct vdpa_nl_view {
	u8 answer;
	void *(*named)(struct genl_info *info);
	void *(*next)(u64 *serial);
	int (*put)(struct sk_buff *msg, void *subject, struct genl_info *info);
};

static struct genl_family vdpa_nl_family;

static void *vdpa_nl_named_mgmt(struct genl_info *info)
{
	struct nlattr *bus_attr = info->attrs[VDPA_ATTR_MGMTDEV_BUS_NAME];
	struct vdpa_nl_text bus, name;
	struct vdpa_mgmt_dev *mdev;
	int err;

	if (GENL_REQ_ATTR_CHECK(info, VDPA_ATTR_MGMTDEV_DEV_NAME))
		return ERR_PTR(-EINVAL);
	err = vdpa_nl_take_text(&name, info->attrs[VDPA_ATTR_MGMTDEV_DEV_NAME], info->extack);
	if (!err && bus_attr)
		err = vdpa_nl_take_text(&bus, bus_attr, info->extack);
	if (err)
		return ERR_PTR(err);

	mdev = vdpa_mgmt_find_locked(bus_attr ? bus.s : NULL, name.s);
	if (!mdev)
		NL_SET_ERR_MSG_MOD(info->extack, "no management device of that handle");
	return mdev ?: ERR_PTR(-ENODEV);
}

static int vdpa_nl_device_name(struct vdpa_nl_text *name, struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, VDPA_ATTR_DEV_NAME))
		return -EINVAL;
	return vdpa_nl_take_text(name, info->attrs[VDPA_ATTR_DEV_NAME], info->extack);
}

static void *vdpa_nl_named_device(struct genl_info *info)
{
	struct vdpa_nl_text name;
	struct vdpa_device *vdev;
	int err;

	err = vdpa_nl_device_name(&name, info);
	if (err)
		return ERR_PTR(err);

	vdev = vdpa_find_locked(name.s);
	if (!vdev) {
		NL_SET_ERR_MSG_MOD(info->extack, "no device of that name");
		return ERR_PTR(-ENODEV);
	}
	if (!vdev->mdev) {
		NL_SET_ERR_MSG_MOD(info->extack, "the device was not made by a management device");
		return ERR_PTR(-EINVAL);
	}
	return vdev;
}

static void *vdpa_nl_named_queue(struct genl_info *info)
{
	if (GENL_REQ_ATTR_CHECK(info, VDPA_ATTR_DEV_QUEUE_INDEX))
		return ERR_PTR(-EINVAL);
	return vdpa_nl_named_device(info);
}

static void *vdpa_nl_next_mgmt(u64 *serial)
{
	return vdpa_mgmt_next_locked(serial);
}

static void *vdpa_nl_next_device(u64 *serial)
{
	struct vdpa_device *vdev;

	while ((vdev = vdpa_next_locked(*serial))) {
		*serial = vdpa_serial(vdev);
		if (vdev->mdev)
			break;
	}
	return vdev;
}

static int vdpa_nl_show_mgmt(struct sk_buff *msg, void *subject, struct genl_info *info)
{
	return vdpa_nl_put_mgmt(msg, subject);
}

static int vdpa_nl_show_device(struct sk_buff *msg, void *subject, struct genl_info *info)
{
	return vdpa_nl_put_device(msg, subject);
}

static int vdpa_nl_show_config(struct sk_buff *msg, void *subject, struct genl_info *info)
{
	return vdpa_nl_put_config(msg, subject);
}

static int vdpa_nl_show_vstats(struct sk_buff *msg, void *subject, struct genl_info *info)
{
	return vdpa_nl_put_vstats(msg, subject, nla_get_u32(info->attrs[VDPA_ATTR_DEV_QUEUE_INDEX]),
				  info->extack);
}

static const struct vdpa_nl_view vdpa_nl_views[] = {
	[VDPA_CMD_MGMTDEV_GET] = {
		VDPA_CMD_MGMTDEV_NEW, vdpa_nl_named_mgmt, vdpa_nl_next_mgmt, vdpa_nl_show_mgmt,
	},
	[VDPA_CMD_DEV_GET] = {
		VDPA_CMD_DEV_NEW, vdpa_nl_named_device, vdpa_nl_next_device, vdpa_nl_show_device,
	},
	[VDPA_CMD_DEV_CONFIG_GET] = {
		VDPA_CMD_DEV_CONFIG_GET, vdpa_nl_named_device, vdpa_nl_next_device,
		vdpa_nl_show_config,
	},
	[VDPA_CMD_DEV_VSTATS_GET] = {	/* no dump: it is about one queue */
		VDPA_CMD_DEV_VSTATS_GET, vdpa_nl_named_queue, NULL, vdpa_nl_show_vstats,
	},
};

/* One whole message, or none of it. */
static int vdpa_nl_put_message(struct sk_buff *msg, const struct vdpa_nl_view *view, void *subject,
			       u32 portid, u32 seq, int flags, struct genl_info *info)
{
	void *header;
	int err;

	header = genlmsg_put(msg, portid, seq, &vdpa_nl_family, flags, view->answer);
	if (!header)
		return -EMSGSIZE;
	err = view->put(msg, subject, info);
	if (err)
		genlmsg_cancel(msg, header);
	else
		genlmsg_end(msg, header);
	return err;
}

static int vdpa_nl_get(struct sk_buff *skb, struct genl_info *info)
{
	const struct vdpa_nl_view *view = &vdpa_nl_views[info->genlhdr->cmd];
	struct sk_buff *msg;
	void *subject;
	int err;

	msg = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!msg)
		return -ENOMEM;

	down_read(&vdpa_registry);
	subject = view->named(info);
	err = PTR_ERR_OR_ZERO(subject);
	if (!err)
		err = vdpa_nl_put_message(msg, view, subject, info->snd_portid, info->snd_seq, 0,
					  info);
	up_read(&vdpa_registry);

	if (!err)
		return genlmsg_reply(msg, info);
	nlmsg_free(msg);
	return err;
}

static int vdpa_nl_dump(struct sk_buff *skb, struct netlink_callback *cb)
{
	const struct vdpa_nl_view *view = &vdpa_nl_views[genl_dumpit_info(cb)->op.cmd];
	struct vdpa_nl_cursor *cursor = (void *)cb->ctx;
	u64 serial = cursor->serial;
	void *subject;
	int err = 0;

	BUILD_BUG_ON(sizeof(*cursor) > sizeof(cb->ctx));

	down_read(&vdpa_registry);
	while ((subject = view->next(&serial))) {
		err = vdpa_nl_put_message(skb, view, subject, NETLINK_CB(cb->skb).portid,
					  cb->nlh->nlmsg_seq, NLM_F_MULTI, NULL);
		if (err)
			break;
		cursor->serial = serial;
	}
	up_read(&vdpa_registry);

	/* A full buffer is sent and the dump continues; an error is returned if nothing was put. */
	return err && !skb->len ? err : skb->len;
}

static int vdpa_nl_add_locked(struct vdpa_mgmt_dev *mdev, const char *name,
			      const struct vdpa_dev_set_config *config, struct genl_info *info)
{
	int err;

	lockdep_assert_held(&vdpa_lifecycle);
	err = vdpa_nl_check_config(config, mdev, info->attrs, info->extack);
	return err ?: mdev->ops->dev_add(mdev, name, config);
}

/* The management device stays when vdpa_registry is released: vdpa_lifecycle is held. */
static void *vdpa_nl_find_for_add(const char *name, struct genl_info *info)
{
	void *found;

	down_read(&vdpa_registry);
	found = vdpa_nl_named_mgmt(info);
	if (!IS_ERR(found) && vdpa_find_locked(name)) {
		NL_SET_ERR_MSG_MOD(info->extack, "there is a device of that name");
		found = ERR_PTR(-EEXIST);
	}
	up_read(&vdpa_registry);
	return found;
}

static int vdpa_nl_add(struct sk_buff *skb, struct genl_info *info)
{
	struct vdpa_dev_set_config config;
	struct vdpa_mgmt_dev *mdev;
	struct vdpa_nl_text name;
	int err;

	err = vdpa_nl_device_name(&name, info)
		      ?: vdpa_nl_take_config(&config, info->attrs, info->extack);
	if (err)
		return err;
	if (!vdpa_name_valid(name.s)) {
		NL_SET_ERR_MSG_ATTR(info->extack, info->attrs[VDPA_ATTR_DEV_NAME],
				    "a name is of printable ASCII without spaces and slashes");
		return -EINVAL;
	}

	if (mutex_lock_killable(&vdpa_lifecycle))
		return -EINTR;
	mdev = vdpa_nl_find_for_add(name.s, info);
	err = IS_ERR(mdev) ? PTR_ERR(mdev) : vdpa_nl_add_locked(mdev, name.s, &config, info);
	mutex_unlock(&vdpa_lifecycle);
	return err;
}

/* As with additions, the device that was found stays. */
static int vdpa_nl_del(struct sk_buff *skb, struct genl_info *info)
{
	struct vdpa_device *vdev;
	int err;

	if (mutex_lock_killable(&vdpa_lifecycle))
		return -EINTR;

	down_read(&vdpa_registry);
	vdev = vdpa_nl_named_device(info);
	up_read(&vdpa_registry);

	err = PTR_ERR_OR_ZERO(vdev);
	if (!err)
		vdev->mdev->ops->dev_del(vdev->mdev, vdev);
	mutex_unlock(&vdpa_lifecycle);
	return err;
}

static int vdpa_nl_set_locked(struct vdpa_device *vdev, const struct vdpa_ext_mgmt_ops *ops,
			      const struct vdpa_dev_set_config *config, struct genl_info *info)
{
	int err;

	lockdep_assert_held(&vdpa_lifecycle);
	if (!ops || !ops->dev_set_attr) {
		NL_SET_ERR_MSG_MOD(info->extack, "the management device cannot change its devices");
		return -EOPNOTSUPP;
	}
	err = vdpa_nl_check_config(config, vdev->mdev, info->attrs, info->extack);
	return err ?: ops->dev_set_attr(vdev->mdev, vdev, config);
}

/* As with deletions, device and management device stay. */
static int vdpa_nl_set(struct sk_buff *skb, struct genl_info *info)
{
	const struct vdpa_ext_mgmt_ops *ops = NULL;
	struct vdpa_dev_set_config config;
	struct vdpa_device *vdev;
	int err;

	err = vdpa_nl_take_config(&config, info->attrs, info->extack);
	if (err)
		return err;
	if (!config.mask) {
		NL_SET_ERR_MSG_MOD(info->extack, "no attribute to change");
		return -EINVAL;
	}

	if (mutex_lock_killable(&vdpa_lifecycle))
		return -EINTR;
	down_read(&vdpa_registry);
	vdev = vdpa_nl_named_device(info);
	if (!IS_ERR(vdev))
		ops = vdpa_mgmt_ext_ops_locked(vdev->mdev);
	up_read(&vdpa_registry);

	err = IS_ERR(vdev) ? PTR_ERR(vdev) : vdpa_nl_set_locked(vdev, ops, &config, info);
	mutex_unlock(&vdpa_lifecycle);
	return err;
}

static const struct genl_ops vdpa_nl_ops[] = {
	{ .cmd = VDPA_CMD_MGMTDEV_GET, .doit = vdpa_nl_get, .dumpit = vdpa_nl_dump },
	{ .cmd = VDPA_CMD_DEV_NEW, .doit = vdpa_nl_add, .flags = GENL_ADMIN_PERM },
	{ .cmd = VDPA_CMD_DEV_DEL, .doit = vdpa_nl_del, .flags = GENL_ADMIN_PERM },
	{ .cmd = VDPA_CMD_DEV_GET, .doit = vdpa_nl_get, .dumpit = vdpa_nl_dump },
	{ .cmd = VDPA_CMD_DEV_CONFIG_GET, .doit = vdpa_nl_get, .dumpit = vdpa_nl_dump },
	{ .cmd = VDPA_CMD_DEV_VSTATS_GET, .doit = vdpa_nl_get, .flags = GENL_ADMIN_PERM },
	{ .cmd = QEMU_LIVE_VDPA_CMD_DEV_ATTR_SET, .doit = vdpa_nl_set, .flags = GENL_ADMIN_PERM },
};

static struct genl_family vdpa_nl_family __ro_after_init = {
	.name = VDPA_GENL_NAME,
	.version = VDPA_GENL_VERSION,
	.module = THIS_MODULE,
	.parallel_ops = true,
	.maxattr = VDPA_ATTR_LAST,
	.policy = vdpa_nl_policy,
	.ops = vdpa_nl_ops,
	.n_ops = ARRAY_SIZE(vdpa_nl_ops),
	/* Reserved fields and unknown flags of these commands are ignored, as ever. */
	.resv_start_op = VDPA_CMD_DEV_VSTATS_GET + 1,
};

/**
 * vdpa_netlink_start - begin to answer
 *
 * Return: 0 or a negative errno
 */
int __init vdpa_netlink_start(void)
{
	return genl_register_family(&vdpa_nl_family);
}

/**
 * vdpa_netlink_stop - no command runs and none begins when this returns
 */
void vdpa_netlink_stop(void)
{
	genl_unregister_family(&vdpa_nl_family);
}
