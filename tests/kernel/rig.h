/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A ring and its driver, in each kind of memory that vringh knows.
 *
 * The driver sees one space of buffers, [0, RIG_SPACE), at address `base`.  Where its bytes really
 * are depends on the kind: in one block (kern), or cut into chunks that are shuffled and have gaps
 * between them, found through getrange (user) or through an IOTLB (iotlb, iotlb-va).  The ring
 * lies in a block of its own; for the IOTLBs at an IOVA that is mapped in two parts.
 *
 * The driver's half is rig_*(), and is careful where the device must not have to rely on it; the
 * device's half is called through the table of the kind.
 *
 * Limits: little-endian rings on a little-endian host.
 */
#ifndef RIG_H
#define RIG_H

#include <linux/vringh.h>
#include <uapi/linux/virtio_config.h>
#include "shim.h"

#define RIG_SPACE	32768
#define RIG_MAX_NUM	256
#define RIG_GAP		64
#define RIG_MAX_CHUNKS	64
#define RIG_RING_IOVA	0x7000000000ULL

struct rig;

struct rig_kind {
	const char *name;
	unsigned int chunk;
	int (*init)(struct rig *rig, u64 features, unsigned int num);
	int (*getdesc)(struct rig *rig, bool want_r, bool want_w, u16 *head);
	ssize_t (*pull)(struct rig *rig, void *dst, size_t len);
	ssize_t (*push)(struct rig *rig, const void *src, size_t len);
	void (*abandon)(struct vringh *vrh, unsigned int num);
	int (*complete)(struct vringh *vrh, u16 head, u32 len);
	int (*need_notify)(struct vringh *vrh);
	bool (*notify_enable)(struct vringh *vrh);
	void (*notify_disable)(struct vringh *vrh);
};

struct rig {
	struct vringh vrh;		/* first: getrange finds the rig by it */
	const struct rig_kind *kind;
	struct vringh_kiov riov, wiov;
	struct kvec first[2][2];	/* what they start with */

	struct vring ring;		/* the driver's view */
	u16 avail_idx;
	unsigned char *ring_memory, *memory;
	size_t ring_size;
	u64 base;
	unsigned int place[RIG_MAX_CHUNKS];	/* chunk i of the space is here */

	struct vhost_iotlb *iotlb;
	spinlock_t lock;
};

extern const struct rig_kind rig_kinds[];
extern const unsigned int rig_number_of_kinds;

void rig_start(struct rig *rig, const struct rig_kind *kind, u64 features, unsigned int num,
	       unsigned int seed);
void rig_end(struct rig *rig);

/* Bytes of the space, as the driver reads and writes them. */
void rig_poke(struct rig *rig, unsigned int offset, const void *from, size_t len);
void rig_peek(struct rig *rig, unsigned int offset, void *to, size_t len);

struct vring_desc rig_desc(u64 addr, u32 len, u16 flags, u16 next);
void rig_set(struct rig *rig, unsigned int i, u64 addr, u32 len, u16 flags, u16 next);
void rig_set_in_table(struct rig *rig, unsigned int table, unsigned int i, u64 addr, u32 len,
		      u16 flags, u16 next);
void rig_offer(struct rig *rig, u16 head);

static inline bool rig_is(const struct rig *rig, const char *kind)
{
	return !strncmp(rig->kind->name, kind, strlen(kind));
}

#endif
