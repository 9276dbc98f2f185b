// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_vdpa: ioctls.
 *
 * Theory of operation
 *
 * The table below has all commands: number, direction and size (all three in the command), the
 * states in which it is allowed and the errno in the others, whether the caller has to be the
 * owner, and the handler.  vhost_vdpa_ioctl() does the common checks, in this order, so that of
 * several mistakes it always reports the same one:
 *
 *	ENODEV	the device is gone
 *	ENOTTY	no such command (a wrong size or direction makes it one)
 *	EPERM	not the owner
 *	refusal	not in this state
 *	EFAULT	the argument cannot be read
 *	ENOBUFS	no such queue
 *	...	the handler's own errors
 *	EFAULT	the result cannot be written
 *
 * Handlers see arguments in kernel memory, copied once.  Those of variable size, and those that
 * vhost.ko implements, get the user's pointer instead.
 *
 * A page of the argument may never come (FUSE, userfaultfd), and deleting the device takes vhost.mutex.
 * So page faults are disabled under that lock: a missing page makes the command fail with EFAULT there.
 * The caller releases the lock, faults the argument in and runs the command again.  A command that
 * fails with EFAULT has changed nothing: those that read an argument read all of it first, and those
 * that write a result only query.  vhost.ko's own handlers do the same.
 *
 * States come from the device status and from SUSPEND:
 *
 *	        FEATURES_OK set             DRIVER_OK set              SUSPEND
 *	DRIVER ----------------> FEATURES_OK --------------> DRIVER_OK <--------> SUSPENDED
 *	  ^                           |                          |       RESUME       |
 *	  '---------------------------'--------------------------'--------------------'  status 0
 *
 * Limits: dirty logging (SET_LOG_BASE, SET_LOG_FD) does not exist for a device, nor does giving up
 * ownership.  A device that changes its status by itself (DEVICE_NEEDS_RESET) changes no state.
 */

#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vdpa_priv.h"
#include "vdpa_trace.h"

/* Most bytes of a configuration space, and most entries of a table, that are faulted in. */
#define CONFIG_MAX  (64 << 10)
#define REGIONS_MAX 4096

/* A page that was there can be gone again, but not every time. */
#define ATTEMPTS 16

enum vhost_vdpa_state {
	VHOST_VDPA_DRIVER = BIT(0), /* or reset */
	VHOST_VDPA_FEATURES_OK = BIT(1),
	VHOST_VDPA_DRIVER_OK = BIT(2),
	VHOST_VDPA_SUSPENDED = BIT(3),
	VHOST_VDPA_ALWAYS = VHOST_VDPA_DRIVER | VHOST_VDPA_FEATURES_OK | VHOST_VDPA_DRIVER_OK |
			    VHOST_VDPA_SUSPENDED,
	VHOST_VDPA_NOT_RUNNING = VHOST_VDPA_ALWAYS & ~VHOST_VDPA_DRIVER_OK,
};

/**
 * struct vhost_vdpa_command - one ioctl; exactly one of the handlers is there
 * @cmd:	number, direction and size
 * @states:	where it is allowed
 * @refusal:	errno elsewhere
 * @owner:	only for the owner
 * @device:	about the device
 * @queue:	about one queue; the index was checked
 * @raw:	copies its argument itself
 */
struct vhost_vdpa_command {
	unsigned int cmd;
	u8 states;
	s8 refusal;
	bool owner;
	int (*device)(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg);
	int (*queue)(struct vhost_vdpa_session *s, u16 idx, union vhost_vdpa_arg *arg);
	long (*raw)(struct vhost_vdpa_session *s, unsigned int cmd, void __user *user);
};

static enum vhost_vdpa_state vhost_vdpa_session_state(struct vhost_vdpa_session *s)
{
	u8 status = s->vdpa->config->get_status(s->vdpa);

	if (status & VIRTIO_CONFIG_S_DRIVER_OK)
		return s->suspended ? VHOST_VDPA_SUSPENDED : VHOST_VDPA_DRIVER_OK;
	return status & VIRTIO_CONFIG_S_FEATURES_OK ? VHOST_VDPA_FEATURES_OK : VHOST_VDPA_DRIVER;
}

static int vhost_vdpa_get_device_id(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->number = s->vdpa->config->get_device_id(s->vdpa);
	return 0;
}

static int vhost_vdpa_get_status(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->status = s->vdpa->config->get_status(s->vdpa);
	return 0;
}

/* Bits are only ever added; the one way back is 0, which resets. */
static int vhost_vdpa_set_status(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	u8 old = s->vdpa->config->get_status(s->vdpa);
	u8 new = arg->status;
	int err;

	if (!new) {
		vhost_vdpa_bypass_all(s, false);
		err = vhost_vdpa_reset(s);
		if (err && (old & VIRTIO_CONFIG_S_DRIVER_OK))
			vhost_vdpa_bypass_all(s, true);
		return err;
	}
	if (old & ~new)
		return -EINVAL;
	vdpa_set_status(s->vdpa, new);
	if (new & ~old & VIRTIO_CONFIG_S_DRIVER_OK)
		vhost_vdpa_bypass_all(s, true);
	return 0;
}

static int vhost_vdpa_get_features(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->bits = s->vdpa->config->get_device_features(s->vdpa);
	return 0;
}

static int vhost_vdpa_set_features(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	return vdpa_set_features(s->vdpa, arg->bits) ? -EINVAL : 0;
}

/* Mappings outlive a reset if the platform IOMMU holds them, or if the device offers that. */
static bool vhost_vdpa_mappings_persist(struct vhost_vdpa_session *s, u64 own)
{
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(s->vdpa);

	return s->domain || (ext && ext->reset_map) ||
	       (own & BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST));
}

static u64 vhost_vdpa_backend_features_offered(struct vhost_vdpa_session *s)
{
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(s->vdpa);
	u64 own = ext && ext->get_backend_features ? ext->get_backend_features(s->vdpa) : 0;
	u64 bits = BIT_ULL(VHOST_BACKEND_F_IOTLB_MSG_V2) | BIT_ULL(VHOST_BACKEND_F_IOTLB_BATCH) |
		   BIT_ULL(VHOST_BACKEND_F_IOTLB_ASID);

	if (s->vdpa->config->suspend)
		bits |= BIT_ULL(VHOST_BACKEND_F_SUSPEND);
	if (ext && ext->resume)
		bits |= BIT_ULL(VHOST_BACKEND_F_RESUME);
	if (vhost_vdpa_mappings_persist(s, own))
		bits |= BIT_ULL(VHOST_BACKEND_F_IOTLB_PERSIST);
	return bits | (own & BIT_ULL(VHOST_BACKEND_F_ENABLE_AFTER_DRIVER_OK));
}

static int vhost_vdpa_get_backend_features(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->bits = vhost_vdpa_backend_features_offered(s);
	return 0;
}

static int vhost_vdpa_set_backend_features(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	if (arg->bits & ~vhost_vdpa_backend_features_offered(s))
		return -EOPNOTSUPP;
	s->backend_features = arg->bits;
	return 0;
}

static int vhost_vdpa_get_vring_num(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->entries = s->vdpa->config->get_vq_num_max(s->vdpa);
	return 0;
}

static int vhost_vdpa_get_config_size(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->number = s->vdpa->config->get_config_size(s->vdpa);
	return 0;
}

static int vhost_vdpa_get_vqs_count(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->number = s->nvqs;
	return 0;
}

static int vhost_vdpa_get_group_num(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->number = s->vdpa->ngroups;
	return 0;
}

static int vhost_vdpa_get_as_num(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->number = s->nas;
	return 0;
}

static int vhost_vdpa_get_iova_range(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	arg->range.first = s->range.first;
	arg->range.last = s->range.last;
	return 0;
}

/* The index is a group's, not a queue's. */
static int vhost_vdpa_set_group_asid(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	struct vdpa_device *vdpa = s->vdpa;

	if (arg->vring.index >= vdpa->ngroups || arg->vring.num >= s->nas)
		return -EINVAL;
	if (!vdpa->config->set_group_asid)
		return -EOPNOTSUPP;
	return vdpa->config->set_group_asid(vdpa,
					    array_index_nospec(arg->vring.index, vdpa->ngroups),
					    array_index_nospec(arg->vring.num, s->nas));
}

static int vhost_vdpa_set_config_call(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	struct vdpa_callback cb = { .callback = vhost_vdpa_signal_raise, .private = &s->config };
	struct eventfd_ctx *ctx;
	int err = vhost_vdpa_signal_from_fd(arg->fd, &ctx);

	if (err)
		return err;
	ctx = vhost_vdpa_signal_swap(&s->config, ctx);
	if (ctx)
		eventfd_ctx_put(ctx);
	s->vdpa->config->set_config_cb(s->vdpa, &cb);
	return 0;
}

/* A device that does not run has nothing to suspend, nor to resume. */
static int vhost_vdpa_suspend(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	u64 start = ktime_get_ns();
	int err;

	if (!s->vdpa->config->suspend)
		return -EOPNOTSUPP;
	if (vhost_vdpa_session_state(s) != VHOST_VDPA_DRIVER_OK)
		return 0;
	err = s->vdpa->config->suspend(s->vdpa);
	if (!err)
		s->suspended = true;
	trace_vhost_vdpa_suspend(vhost_vdpa_number(s), err, ktime_get_ns() - start);
	return err;
}

static int vhost_vdpa_resume(struct vhost_vdpa_session *s, union vhost_vdpa_arg *arg)
{
	const struct vdpa_ext_ops *ext = vdpa_get_ext_ops(s->vdpa);
	u64 start = ktime_get_ns();
	int err;

	if (!ext || !ext->resume)
		return -EOPNOTSUPP;
	if (vhost_vdpa_session_state(s) != VHOST_VDPA_SUSPENDED)
		return 0;
	down_write(&s->vdpa->cf_lock);
	err = ext->resume(s->vdpa);
	up_write(&s->vdpa->cf_lock);
	if (!err)
		s->suspended = false;
	trace_vhost_vdpa_resume(vhost_vdpa_number(s), err, ktime_get_ns() - start);
	return err;
}

/* Read the header of a configuration access; returns a buffer, for the caller to free. */
static void *vhost_vdpa_config_range(struct vhost_vdpa_session *s,
				     struct vhost_vdpa_config __user *user,
				     struct vhost_vdpa_config *range)
{
	size_t size = s->vdpa->config->get_config_size(s->vdpa);
	void *buf;

	if (copy_from_user(range, user, sizeof(*range)))
		return ERR_PTR(-EFAULT);
	if (!range->len || range->off > size || range->len > size - range->off)
		return ERR_PTR(-EINVAL);
	buf = kvzalloc(range->len, GFP_KERNEL_ACCOUNT);
	return buf ?: ERR_PTR(-ENOMEM);
}

static long vhost_vdpa_get_config(struct vhost_vdpa_session *s, unsigned int cmd, void __user *user)
{
	struct vhost_vdpa_config range;
	void *buf = vhost_vdpa_config_range(s, user, &range);
	long err;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	vdpa_get_config(s->vdpa, range.off, buf, range.len);
	err = copy_to_user(user + sizeof(range), buf, range.len) ? -EFAULT : 0;
	kvfree(buf);
	return err;
}

static long vhost_vdpa_set_config(struct vhost_vdpa_session *s, unsigned int cmd, void __user *user)
{
	struct vhost_vdpa_config range;
	void *buf = vhost_vdpa_config_range(s, user, &range);
	long err;

	if (IS_ERR(buf))
		return PTR_ERR(buf);
	err = copy_from_user(buf, user + sizeof(range), range.len) ? -EFAULT : 0;
	if (!err)
		vdpa_set_config(s->vdpa, range.off, buf, range.len);
	kvfree(buf);
	return err;
}

static long vhost_vdpa_by_vhost_device(struct vhost_vdpa_session *s, unsigned int cmd,
				       void __user *user)
{
	return vhost_dev_ioctl(&s->vhost, cmd, user);
}

static long vhost_vdpa_by_vhost_vring(struct vhost_vdpa_session *s, unsigned int cmd,
				      void __user *user)
{
	return vhost_vring_ioctl(&s->vhost, cmd, user);
}

#define ANY	      .states = VHOST_VDPA_ALWAYS
#define ONLY(st, err) .states = (st), .refusal = -(err)
#define OWNED	      .owner = true

static const struct vhost_vdpa_command vhost_vdpa_commands[] = {
	{ VHOST_GET_FEATURES, ANY, .device = vhost_vdpa_get_features },
	{ VHOST_SET_FEATURES, ONLY(VHOST_VDPA_DRIVER, EBUSY), .device = vhost_vdpa_set_features },
	{ VHOST_SET_OWNER, ANY, .raw = vhost_vdpa_by_vhost_device },
	{ VHOST_SET_MEM_TABLE, ANY, OWNED, .raw = vhost_vdpa_by_vhost_device },
	{ VHOST_SET_VRING_NUM, ONLY(VHOST_VDPA_NOT_RUNNING, EINVAL), OWNED,
	  .queue = vhost_vdpa_vring_set_num },
	{ VHOST_SET_VRING_ADDR, ONLY(VHOST_VDPA_NOT_RUNNING, EINVAL), OWNED,
	  .queue = vhost_vdpa_vring_set_addr },
	{ VHOST_SET_VRING_BASE, ONLY(VHOST_VDPA_NOT_RUNNING, EINVAL), OWNED,
	  .queue = vhost_vdpa_vring_set_base },
	{ VHOST_GET_VRING_BASE, ANY, OWNED, .queue = vhost_vdpa_vring_get_base },
	{ VHOST_SET_VRING_ENDIAN, ANY, OWNED, .raw = vhost_vdpa_by_vhost_vring },
	{ VHOST_GET_VRING_ENDIAN, ANY, OWNED, .raw = vhost_vdpa_by_vhost_vring },
	{ VHOST_SET_VRING_KICK, ANY, OWNED, .raw = vhost_vdpa_by_vhost_vring },
	{ VHOST_SET_VRING_CALL, ANY, OWNED, .queue = vhost_vdpa_vring_set_call },
	{ VHOST_SET_VRING_ERR, ANY, OWNED, .raw = vhost_vdpa_by_vhost_vring },
	{ VHOST_SET_VRING_BUSYLOOP_TIMEOUT, ANY, OWNED, .raw = vhost_vdpa_by_vhost_vring },
	{ VHOST_GET_VRING_BUSYLOOP_TIMEOUT, ANY, OWNED, .raw = vhost_vdpa_by_vhost_vring },
	{ VHOST_SET_BACKEND_FEATURES, ANY, .device = vhost_vdpa_set_backend_features },
	{ VHOST_GET_BACKEND_FEATURES, ANY, .device = vhost_vdpa_get_backend_features },
	{ VHOST_VDPA_GET_DEVICE_ID, ANY, .device = vhost_vdpa_get_device_id },
	{ VHOST_VDPA_GET_STATUS, ANY, .device = vhost_vdpa_get_status },
	{ VHOST_VDPA_SET_STATUS, ANY, .device = vhost_vdpa_set_status },
	{ VHOST_VDPA_GET_CONFIG, ANY, .raw = vhost_vdpa_get_config },
	{ VHOST_VDPA_SET_CONFIG, ANY, .raw = vhost_vdpa_set_config },
	{ VHOST_VDPA_SET_VRING_ENABLE, ANY, OWNED, .queue = vhost_vdpa_vring_enable },
	{ VHOST_VDPA_GET_VRING_NUM, ANY, .device = vhost_vdpa_get_vring_num },
	{ VHOST_VDPA_SET_CONFIG_CALL, ANY, .device = vhost_vdpa_set_config_call },
	{ VHOST_VDPA_GET_IOVA_RANGE, ANY, .device = vhost_vdpa_get_iova_range },
	{ VHOST_VDPA_GET_CONFIG_SIZE, ANY, .device = vhost_vdpa_get_config_size },
	{ VHOST_VDPA_GET_AS_NUM, ANY, .device = vhost_vdpa_get_as_num },
	{ VHOST_VDPA_GET_VRING_GROUP, ANY, OWNED, .queue = vhost_vdpa_vring_get_group },
	{ VHOST_VDPA_SET_GROUP_ASID, ONLY(VHOST_VDPA_NOT_RUNNING, EBUSY), OWNED,
	  .device = vhost_vdpa_set_group_asid },
	{ VHOST_VDPA_SUSPEND, ANY, .device = vhost_vdpa_suspend },
	{ VHOST_VDPA_RESUME, ANY, .device = vhost_vdpa_resume },
	{ VHOST_VDPA_GET_VRING_DESC_GROUP, ANY, OWNED, .queue = vhost_vdpa_vring_get_desc_group },
	{ VHOST_VDPA_GET_VQS_COUNT, ANY, .device = vhost_vdpa_get_vqs_count },
	{ VHOST_VDPA_GET_GROUP_NUM, ANY, .device = vhost_vdpa_get_group_num },
	{ VHOST_VDPA_GET_VRING_SIZE, ANY, OWNED, .queue = vhost_vdpa_vring_get_size },
};

static const struct vhost_vdpa_command *vhost_vdpa_command_find(unsigned int cmd)
{
	const struct vhost_vdpa_command *c;

	for (c = vhost_vdpa_commands; c < vhost_vdpa_commands + ARRAY_SIZE(vhost_vdpa_commands);
	     c++)
		if (c->cmd == cmd)
			return c;
	return NULL;
}

static int vhost_vdpa_command_call(struct vhost_vdpa_session *s, const struct vhost_vdpa_command *c,
				   union vhost_vdpa_arg *arg)
{
	u32 idx = arg->vring.index;
	int err;

	if (c->device)
		return c->device(s, arg);
	if (idx >= s->nvqs)
		return -ENOBUFS;
	/* The whole structure is written back, with the index as it came. */
	err = c->queue(s, array_index_nospec(idx, s->nvqs), arg);
	arg->vring.index = idx;
	return err;
}

static long vhost_vdpa_command_run(struct vhost_vdpa_session *s, const struct vhost_vdpa_command *c,
				   void __user *user)
{
	unsigned int size = _IOC_SIZE(c->cmd);
	union vhost_vdpa_arg arg = {};
	long err;

	if (c->owner) {
		err = vhost_dev_check_owner(&s->vhost);
		if (err)
			return err;
	}
	if (!(c->states & vhost_vdpa_session_state(s)))
		return c->refusal;
	if (c->raw)
		return c->raw(s, c->cmd, user);
	if (WARN_ON_ONCE(size > sizeof(arg)))
		return -EINVAL;
	if ((_IOC_DIR(c->cmd) & _IOC_WRITE) && copy_from_user(&arg, user, size))
		return -EFAULT;
	err = vhost_vdpa_command_call(s, c, &arg);
	if (!err && (_IOC_DIR(c->cmd) & _IOC_READ) && copy_to_user(user, &arg, size))
		err = -EFAULT;
	return err;
}

/* The bytes of the user's memory that a command may touch; 0 if their number cannot be read. */
static size_t vhost_vdpa_argument_size(unsigned int cmd, void __user *user)
{
	struct vhost_vdpa_config range;
	struct vhost_memory table;

	switch (cmd) {
	case VHOST_VDPA_GET_CONFIG:
	case VHOST_VDPA_SET_CONFIG:
		if (copy_from_user(&range, user, sizeof(range)))
			return 0;
		return sizeof(range) + min_t(u32, range.len, CONFIG_MAX);
	case VHOST_SET_MEM_TABLE:
		if (copy_from_user(&table, user, sizeof(table)))
			return 0;
		return struct_size(&table, regions, min_t(u32, table.nregions, REGIONS_MAX));
	default:
		return _IOC_SIZE(cmd);
	}
}

/* Fault in the argument's pages.  Without any lock; false if that fails. */
static bool vhost_vdpa_fault_in(unsigned int cmd, void __user *user)
{
	size_t size = vhost_vdpa_argument_size(cmd, user);

	if (!size || fault_in_readable(user, size))
		return false;
	return !(_IOC_DIR(cmd) & _IOC_READ) || !fault_in_safe_writeable(user, size);
}

/* One attempt; EFAULT where a page is not there. */
static long vhost_vdpa_ioctl_once(struct vhost_vdpa_session *s, const struct vhost_vdpa_command *c,
				  void __user *user)
{
	long err;

	if (mutex_lock_killable(&s->vhost.mutex))
		return -EINTR;
	pagefault_disable();
	if (!s->vdpa)
		err = -ENODEV;
	else
		err = c ? vhost_vdpa_command_run(s, c, user) : -ENOTTY;
	pagefault_enable();
	mutex_unlock(&s->vhost.mutex);
	return err;
}

long vhost_vdpa_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct vhost_vdpa_command *c = vhost_vdpa_command_find(cmd);
	void __user *user = (void __user *)arg;
	int tries = ATTEMPTS;
	long err;

	do
		err = vhost_vdpa_ioctl_once(file->private_data, c, user);
	while (err == -EFAULT && --tries && vhost_vdpa_fault_in(cmd, user));
	return err;
}
