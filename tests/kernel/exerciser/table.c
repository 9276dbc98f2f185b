// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is expected, as data.
 *
 * Columns of ioctl_rows: opened, owned, features ok, running, suspended, not the owner, removed.
 * The argument of these cells is a good one, so what they hold is the state's own word.
 *
 * Limits: results that a device decides (which features it takes) are those of vdpa_sim_net.
 */

#include "exerciser.h"

#include <errno.h>
#include <string.h>

/* Anybody who has the file, in every state. */
#define ANYBODY	 { 0, 0, 0, 0, 0, 0, ENODEV }
/* The owner, in every state. */
#define OWNER(err) { EPERM, err, err, err, err, EPERM, ENODEV }
/* No caller, ever. */
#define NEVER	 { ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENOTTY, ENODEV }
/* The owner, while the rings do not move. */
#define RING	 { EPERM, 0, 0, EINVAL, 0, EPERM, ENODEV }

#define R(name, kind, ...) { #name, name, kind, __VA_ARGS__ }

const struct ioctl_row ioctl_rows[] = {
	R(VHOST_GET_FEATURES, PLAIN, ANYBODY),
	R(VHOST_SET_FEATURES, FEATURES, { 0, 0, EBUSY, EBUSY, EBUSY, EBUSY, ENODEV }),
	R(VHOST_SET_OWNER, NONE, { 0, EBUSY, EBUSY, EBUSY, EBUSY, EBUSY, ENODEV }),
	R(VHOST_RESET_OWNER, NONE, NEVER),
	R(VHOST_SET_MEM_TABLE, MEMORY, OWNER(0)),
	R(VHOST_SET_LOG_BASE, PLAIN, NEVER),
	R(VHOST_SET_LOG_FD, PLAIN, NEVER),
	R(VHOST_SET_VRING_NUM, RING_NUM, RING),
	R(VHOST_SET_VRING_ADDR, RING_ADDR, RING),
	R(VHOST_SET_VRING_BASE, VRING, RING),
	R(VHOST_GET_VRING_BASE, VRING, OWNER(0)),
	R(VHOST_SET_VRING_ENDIAN, VRING, OWNER(ENOTTY)),
	R(VHOST_GET_VRING_ENDIAN, VRING, OWNER(ENOTTY)),
	R(VHOST_SET_VRING_KICK, RING_FILE, OWNER(0)),
	R(VHOST_SET_VRING_CALL, RING_FILE, OWNER(0)),
	R(VHOST_SET_VRING_ERR, RING_FILE, OWNER(0)),
	R(VHOST_SET_VRING_BUSYLOOP_TIMEOUT, VRING, OWNER(0)),
	R(VHOST_GET_VRING_BUSYLOOP_TIMEOUT, VRING, OWNER(0)),
	R(VHOST_SET_BACKEND_FEATURES, BACKEND, ANYBODY),
	R(VHOST_GET_BACKEND_FEATURES, PLAIN, ANYBODY),
	R(VHOST_NET_SET_BACKEND, RING_FILE, NEVER),
	R(VHOST_VDPA_GET_DEVICE_ID, PLAIN, ANYBODY),
	R(VHOST_VDPA_GET_STATUS, PLAIN, ANYBODY),
	R(VHOST_VDPA_SET_STATUS, STATUS, ANYBODY),
	R(VHOST_VDPA_GET_CONFIG, CONFIG, ANYBODY),
	R(VHOST_VDPA_SET_CONFIG, CONFIG, ANYBODY),
	R(VHOST_VDPA_SET_VRING_ENABLE, VRING, OWNER(0)),
	R(VHOST_VDPA_GET_VRING_NUM, PLAIN, ANYBODY),
	R(VHOST_VDPA_SET_CONFIG_CALL, EVENT, ANYBODY),
	R(VHOST_VDPA_GET_IOVA_RANGE, PLAIN, ANYBODY),
	R(VHOST_VDPA_GET_CONFIG_SIZE, PLAIN, ANYBODY),
	R(VHOST_VDPA_GET_AS_NUM, PLAIN, ANYBODY),
	R(VHOST_VDPA_GET_VRING_GROUP, VRING, OWNER(0)),
	R(VHOST_VDPA_SET_GROUP_ASID, VRING, { EPERM, 0, 0, EBUSY, 0, EPERM, ENODEV }),
	R(VHOST_VDPA_SUSPEND, NONE, ANYBODY),
	{ "VHOST_VDPA_RESUME", VHOST_VDPA_RESUME, NONE, ANYBODY },
	{ "VHOST_VDPA_GET_VRING_DESC_GROUP", VHOST_VDPA_GET_VRING_DESC_GROUP, VRING, OWNER(EOPNOTSUPP) },
	R(VHOST_VDPA_GET_VQS_COUNT, PLAIN, ANYBODY),
	R(VHOST_VDPA_GET_GROUP_NUM, PLAIN, ANYBODY),
	{ "VHOST_VDPA_GET_VRING_SIZE", VHOST_VDPA_GET_VRING_SIZE, VRING, OWNER(0) },
	{ "a number beyond the last", _IO(VHOST_VIRTIO, 0x7f), NONE, NEVER },
	{ "another driver's number", _IO('x', 0x71), NONE, NEVER },
	{ NULL }
};

/* Bad arguments.  All are tried by the owner, with features agreed unless what they are about says
 * otherwise; what is bad for every ioctl (pointers, sizes, directions, queue indices) is in cells.c. */

#define CHANGE(name) static void name(const struct subject *s, union argument *a)

CHANGE(num_zero)	{ a->vring.num = 0; }
CHANGE(num_three)	{ a->vring.num = 3; }
CHANGE(num_above)	{ a->vring.num = 2U * s->entries; }
CHANGE(num_64k)		{ a->vring.num = 0x10000; }
CHANGE(num_huge)	{ a->vring.num = 0x80000000; }
CHANGE(base_64k)	{ a->vring.num = 0x10000; }
CHANGE(base_all)	{ a->vring.num = 0xffffffff; }
CHANGE(desc_odd)	{ a->addr.desc_user_addr += 8; }
CHANGE(avail_odd)	{ a->addr.avail_user_addr += 1; }
CHANGE(used_odd)	{ a->addr.used_user_addr += 2; }
CHANGE(addr_flag)	{ a->addr.flags = 2; }
CHANGE(fd_closed)	{ a->file.fd = 1000000; }
CHANGE(fd_other)	{ a->file.fd = 0; }
CHANGE(fd_negative)	{ a->file.fd = -2; }
CHANGE(event_closed)	{ a->fd = 1000000; }
CHANGE(event_other)	{ a->fd = 0; }
CHANGE(event_negative)	{ a->fd = -2; }
CHANGE(group_end)	{ a->vring.index = s->groups; }
CHANGE(group_far)	{ a->vring.index = 0xffffffff; }
CHANGE(asid_end)	{ a->vring.num = s->spaces; }
CHANGE(asid_far)	{ a->vring.num = 0xffffffff; }
CHANGE(group_and_asid)	{ a->vring.index = s->groups; a->vring.num = s->spaces; }
CHANGE(status_less)	{ a->status = STATUS_ACKNOWLEDGE; }
CHANGE(feature_unknown)	{ a->bits |= 1ULL << 63; }
CHANGE(feature_zero)	{ a->bits |= 1; }
CHANGE(feature_desc)	{ a->bits |= 1ULL << VHOST_BACKEND_F_DESC_ASID; }
CHANGE(config_none)	{ a->config.head.len = 0; }
CHANGE(config_long)	{ a->config.head.len = 4096; }
CHANGE(config_endless)	{ a->config.head.len = 0xffffffff; }
CHANGE(config_beyond)	{ a->config.head.off = 4096; }
CHANGE(config_far)	{ a->config.head.off = 0xffffffff; }
CHANGE(config_wraps)	{ a->config.head.off = 4; a->config.head.len = 0xfffffffe; }

const struct bad_row bad_rows[] = {
	{ "VHOST_SET_VRING_NUM", "no entries", num_zero, EINVAL },
	{ "VHOST_SET_VRING_NUM", "three entries", num_three, EINVAL },
	{ "VHOST_SET_VRING_NUM", "twice the maximum", num_above, EINVAL },
	{ "VHOST_SET_VRING_NUM", "65536 entries", num_64k, EINVAL },
	{ "VHOST_SET_VRING_NUM", "2^31 entries", num_huge, EINVAL },
	{ "VHOST_SET_VRING_BASE", "65536", base_64k, EINVAL },
	{ "VHOST_SET_VRING_BASE", "2^32 - 1", base_all, EINVAL },
	{ "VHOST_SET_VRING_ADDR", "descriptors not at 16 bytes", desc_odd, EINVAL },
	{ "VHOST_SET_VRING_ADDR", "available ring at an odd address", avail_odd, EINVAL },
	{ "VHOST_SET_VRING_ADDR", "used ring not at 4 bytes", used_odd, EINVAL },
	{ "VHOST_SET_VRING_ADDR", "unknown flag", addr_flag, EOPNOTSUPP },
	{ "VHOST_SET_VRING_KICK", "no such file", fd_closed, EBADF },
	{ "VHOST_SET_VRING_KICK", "no eventfd", fd_other, EINVAL },
	{ "VHOST_SET_VRING_KICK", "file -2", fd_negative, EBADF },
	{ "VHOST_SET_VRING_CALL", "no such file", fd_closed, EBADF },
	{ "VHOST_SET_VRING_CALL", "no eventfd", fd_other, EINVAL },
	{ "VHOST_SET_VRING_CALL", "file -2", fd_negative, EBADF },
	{ "VHOST_SET_VRING_ERR", "no such file", fd_closed, EBADF },
	{ "VHOST_SET_VRING_ERR", "no eventfd", fd_other, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG_CALL", "no such file", event_closed, EBADF },
	{ "VHOST_VDPA_SET_CONFIG_CALL", "no eventfd", event_other, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG_CALL", "file -2", event_negative, EBADF },
	{ "VHOST_VDPA_SET_GROUP_ASID", "first group that is not there", group_end, EINVAL },
	{ "VHOST_VDPA_SET_GROUP_ASID", "group 2^32 - 1", group_far, EINVAL },
	{ "VHOST_VDPA_SET_GROUP_ASID", "first space that is not there", asid_end, EINVAL },
	{ "VHOST_VDPA_SET_GROUP_ASID", "space 2^32 - 1", asid_far, EINVAL },
	{ "VHOST_VDPA_SET_GROUP_ASID", "neither is there", group_and_asid, EINVAL },
	{ "VHOST_VDPA_SET_STATUS", "a bit taken back", status_less, EINVAL },
	{ "VHOST_SET_BACKEND_FEATURES", "bit 63", feature_unknown, EOPNOTSUPP },
	{ "VHOST_SET_BACKEND_FEATURES", "bit 0", feature_zero, EOPNOTSUPP },
	{ "VHOST_SET_BACKEND_FEATURES", "DESC_ASID", feature_desc, EOPNOTSUPP },
	{ "VHOST_VDPA_GET_CONFIG", "no bytes", config_none, EINVAL },
	{ "VHOST_VDPA_GET_CONFIG", "more bytes than there are", config_long, EINVAL },
	{ "VHOST_VDPA_GET_CONFIG", "2^32 - 1 bytes", config_endless, EINVAL },
	{ "VHOST_VDPA_GET_CONFIG", "offset behind the end", config_beyond, EINVAL },
	{ "VHOST_VDPA_GET_CONFIG", "offset 2^32 - 1", config_far, EINVAL },
	{ "VHOST_VDPA_GET_CONFIG", "offset and length wrap", config_wraps, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG", "no bytes", config_none, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG", "more bytes than there are", config_long, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG", "2^32 - 1 bytes", config_endless, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG", "offset behind the end", config_beyond, EINVAL },
	{ "VHOST_VDPA_SET_CONFIG", "offset and length wrap", config_wraps, EINVAL },
	{ NULL }
};

/* Messages.  The one that CHANGE starts from maps the page of the arena behind what reach() has
 * mapped, at the address behind that; so changed, it leaves nothing mapped when it fails. */

#define MESSAGE(name) static void name(const struct subject *s, struct vhost_msg_v2 *m)
#define WHOLE sizeof(struct vhost_msg_v2)

MESSAGE(as_it_is)	{ }
MESSAGE(type_0)		{ m->type = 0; }
MESSAGE(type_3)		{ m->type = 3; }
MESSAGE(iotlb_0)	{ m->iotlb.type = 0; }
MESSAGE(iotlb_miss)	{ m->iotlb.type = VHOST_IOTLB_MISS; }
MESSAGE(iotlb_fail)	{ m->iotlb.type = VHOST_IOTLB_ACCESS_FAIL; }
MESSAGE(iotlb_7)	{ m->iotlb.type = 7; }
MESSAGE(iotlb_255)	{ m->iotlb.type = 255; }
MESSAGE(asid_behind)	{ m->asid = s->spaces; }
MESSAGE(asid_max)	{ m->asid = 0xffffffff; }
MESSAGE(perm_none)	{ m->iotlb.perm = 0; }
MESSAGE(perm_unknown)	{ m->iotlb.perm = 4; }
MESSAGE(perm_more)	{ m->iotlb.perm = 0xff; }
MESSAGE(size_0)		{ m->iotlb.size = 0; }
MESSAGE(iova_wraps)	{ m->iotlb.iova = -PAGE; m->iotlb.size = 2 * PAGE; }
MESSAGE(iova_all)	{ m->iotlb.iova = 1ULL << 40; m->iotlb.size = -(1ULL << 40) + PAGE; }
MESSAGE(uaddr_wraps)	{ m->iotlb.uaddr = -PAGE; m->iotlb.size = 2 * PAGE; }
MESSAGE(size_max)	{ m->iotlb.iova = 0; m->iotlb.uaddr = 0; m->iotlb.size = UINT64_MAX; }
MESSAGE(uaddr_hole)	{ m->iotlb.uaddr = PAGE; }
MESSAGE(uaddr_kernel)	{ m->iotlb.uaddr = 0xffff888000000000; }
MESSAGE(offsets_differ)	{ m->iotlb.uaddr += 16; m->iotlb.size = PAGE / 2; }
MESSAGE(code_writable)	{ m->iotlb.uaddr = (uintptr_t)bad_rows & -PAGE; }
MESSAGE(overlap_same)	{ m->iotlb.iova = IOVA_BASE; }
MESSAGE(overlap_end)	{ m->iotlb.iova -= PAGE; m->iotlb.size = 2 * PAGE; }
MESSAGE(overlap_around)	{ m->iotlb.iova = IOVA_BASE - PAGE; m->iotlb.size = ARENA_SIZE;
			  m->iotlb.uaddr = (uintptr_t)s->arena; }
MESSAGE(overlap_byte)	{ m->iotlb.iova -= 1; m->iotlb.uaddr -= 1; m->iotlb.size = 1; }
MESSAGE(drop_0)		{ m->iotlb.type = VHOST_IOTLB_INVALIDATE; m->iotlb.size = 0; }
MESSAGE(drop_0_at_0)	{ drop_0(s, m); m->iotlb.iova = 0; }
MESSAGE(drop_wraps)	{ m->iotlb.type = VHOST_IOTLB_INVALIDATE; iova_wraps(s, m); }
MESSAGE(drop_nothing)	{ m->iotlb.type = VHOST_IOTLB_INVALIDATE; }
MESSAGE(drop_elsewhere)	{ m->iotlb.type = VHOST_IOTLB_INVALIDATE; m->asid = s->spaces - 1; }
MESSAGE(drop_asid)	{ m->iotlb.type = VHOST_IOTLB_INVALIDATE; m->asid = s->spaces; }
MESSAGE(begin_asid)	{ m->iotlb.type = VHOST_IOTLB_BATCH_BEGIN; m->asid = s->spaces; }
MESSAGE(end_alone)	{ m->iotlb.type = VHOST_IOTLB_BATCH_END; }

const struct message_row message_rows[] = {
	{ "UPDATE of one page", as_it_is, WHOLE, 0 },
	{ "UPDATE without the padding at its end", as_it_is, 40, 0 },
	{ "no bytes at all", as_it_is, 0, EINVAL },
	{ "3 bytes", as_it_is, 3, EINVAL },
	{ "8 bytes", as_it_is, 8, EINVAL },
	{ "39 bytes", as_it_is, 39, EINVAL },
	{ "message type 0", type_0, WHOLE, EINVAL },
	{ "message type 3", type_3, WHOLE, EINVAL },
	{ "IOTLB type 0", iotlb_0, WHOLE, EINVAL },
	{ "IOTLB type MISS", iotlb_miss, WHOLE, EINVAL },
	{ "IOTLB type ACCESS_FAIL", iotlb_fail, WHOLE, EINVAL },
	{ "IOTLB type 7", iotlb_7, WHOLE, EINVAL },
	{ "IOTLB type 255", iotlb_255, WHOLE, EINVAL },
	{ "UPDATE in the first space that is not there", asid_behind, WHOLE, EINVAL },
	{ "UPDATE in space 2^32 - 1", asid_max, WHOLE, EINVAL },
	{ "UPDATE without access", perm_none, WHOLE, EINVAL },
	{ "UPDATE with access 4", perm_unknown, WHOLE, EINVAL },
	{ "UPDATE with access 255", perm_more, WHOLE, EINVAL },
	{ "UPDATE of nothing", size_0, WHOLE, EINVAL },
	{ "UPDATE over the end of addresses", iova_wraps, WHOLE, EINVAL },
	{ "UPDATE of 2^64 - 2^40 bytes, and one page over the end", iova_all, WHOLE, EINVAL },
	{ "UPDATE of memory over the end of addresses", uaddr_wraps, WHOLE, EINVAL },
	{ "UPDATE of 2^64 - 1 bytes", size_max, WHOLE, EINVAL },
	{ "UPDATE of memory that is not there", uaddr_hole, WHOLE, EFAULT },
	{ "UPDATE of the kernel's memory", uaddr_kernel, WHOLE, EFAULT },
	{ "UPDATE with different offsets in the page", offsets_differ, WHOLE, EINVAL },
	{ "UPDATE, writable, of memory that is not", code_writable, WHOLE, EFAULT },
	{ "UPDATE of what is mapped", overlap_same, WHOLE, EEXIST },
	{ "UPDATE over the end of what is mapped", overlap_end, WHOLE, EEXIST },
	{ "UPDATE around what is mapped", overlap_around, WHOLE, EEXIST },
	{ "UPDATE of one byte of a mapped page", overlap_byte, WHOLE, EEXIST },
	{ "INVALIDATE of nothing", drop_0, WHOLE, EINVAL },
	{ "INVALIDATE of nothing at address 0", drop_0_at_0, WHOLE, EINVAL },
	{ "INVALIDATE over the end of addresses", drop_wraps, WHOLE, EINVAL },
	{ "INVALIDATE of what is not mapped", drop_nothing, WHOLE, 0 },
	{ "INVALIDATE in a space that has no mapping", drop_elsewhere, WHOLE, 0 },
	{ "INVALIDATE in the first space that is not there", drop_asid, WHOLE, EINVAL },
	{ "BATCH_BEGIN in the first space that is not there", begin_asid, WHOLE, EINVAL },
	{ "BATCH_END without a beginning", end_alone, WHOLE, 0 },
	{ NULL }
};

static const char all_efault[] = "every error of a message becomes EFAULT there";
static const char owner_first[] = "numbers that it does not know are taken for queue ioctls";
static const char not_checked[] = "not checked there";

#define UNKNOWN(name)							\
	{ name, "opened", EPERM, owner_first },				\
	{ name, "not the owner", EPERM, owner_first }

/* The first that fits counts. */
const struct difference differences[] = {
	UNKNOWN("VHOST_RESET_OWNER"),
	{ "VHOST_RESET_OWNER", "*", EFAULT, owner_first },
	UNKNOWN("VHOST_NET_SET_BACKEND"),
	UNKNOWN("a number beyond the last"),
	{ "a number beyond the last", "*", EFAULT, owner_first },
	UNKNOWN("another driver's number"),
	{ "another driver's number", "*", EFAULT, owner_first },
	{ "VHOST_SET_VRING_NUM", "running", 0, "the size of a moving ring can be changed there" },
	{ "VHOST_VDPA_SET_GROUP_ASID", "running", 0,
	  "the space of a moving ring can be changed there" },
	{ "VHOST_VDPA_SET_GROUP_ASID", "group 2^32 - 1", ENOBUFS,
	  "the group is compared with the number of queues first" },
	{ "UPDATE without access", "message", 0, not_checked },
	{ "UPDATE with access 4", "message", 0, not_checked },
	{ "UPDATE with access 255", "message", 0, not_checked },
	{ "UPDATE with different offsets in the page", "message", 0,
	  "other memory than the one named is mapped there" },
	{ "INVALIDATE of nothing", "message", 0, not_checked },
	{ "INVALIDATE of nothing at address 0", "message", 0,
	  "taken for a range up to the last address: everything is unmapped there" },
	{ "INVALIDATE over the end of addresses", "message", 0, not_checked },
	{ "INVALIDATE in a space that has no mapping", "message", EFAULT,
	  "a space is not there before it is used" },
	{ "BATCH_END that the device refuses", "message", 0, "the device's error is dropped there" },
	{ "message", "EINVAL", EFAULT, all_efault },
	{ "message", "EEXIST", EFAULT, all_efault },
	{ "message", "EPERM", EFAULT, all_efault },
	{ NULL }
};
