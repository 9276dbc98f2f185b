// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rings in each kind of memory; see rig.h.
 *
 * Limits: chunks are cut where the kind says, not at random, so that a failure repeats.
 */
#include <sanitizer/asan_interface.h>

#include "rig.h"

#define RIG_IOVA	0x123456000ULL

static struct rig *rig_of(struct vringh *vrh)
{
	return container_of(vrh, struct rig, vrh);
}

/* Where byte @offset of the space is in this process. */
static unsigned char *byte_at(struct rig *rig, unsigned int offset)
{
	unsigned int chunk = rig->kind->chunk;

	if (!chunk)
		return rig->memory + offset;
	return rig->memory + rig->place[offset / chunk] * (chunk + RIG_GAP) + offset % chunk;
}

static unsigned int chunks(const struct rig_kind *kind)
{
	return kind->chunk ? (RIG_SPACE + kind->chunk - 1) / kind->chunk : 1;
}

static unsigned int chunk_length(const struct rig_kind *kind, unsigned int i)
{
	return min(kind->chunk, RIG_SPACE - i * kind->chunk);
}

void rig_poke(struct rig *rig, unsigned int offset, const void *from, size_t len)
{
	while (len--) {
		*byte_at(rig, offset++) = *(const unsigned char *)from;
		from = (const char *)from + 1;
	}
}

void rig_peek(struct rig *rig, unsigned int offset, void *to, size_t len)
{
	while (len--) {
		*(unsigned char *)to = *byte_at(rig, offset++);
		to = (char *)to + 1;
	}
}

/* --- kern ------------------------------------------------------------------------------------ */

static struct vringh_kiov *wanted(struct vringh_kiov *iov, bool is)
{
	return is ? iov : NULL;
}

static int kern_init(struct rig *rig, u64 features, unsigned int num)
{
	rig->base = (uintptr_t)rig->memory;
	return vringh_init_kern(&rig->vrh, features, num, true, rig->ring.desc, rig->ring.avail,
				rig->ring.used);
}

static int kern_getdesc(struct rig *rig, bool want_r, bool want_w, u16 *head)
{
	return vringh_getdesc_kern(&rig->vrh, wanted(&rig->riov, want_r),
				   wanted(&rig->wiov, want_w), head, GFP_KERNEL);
}

static ssize_t kern_pull(struct rig *rig, void *dst, size_t len)
{
	return vringh_iov_pull_kern(&rig->riov, dst, len);
}

static ssize_t kern_push(struct rig *rig, const void *src, size_t len)
{
	return vringh_iov_push_kern(&rig->wiov, src, len);
}

/* --- user ------------------------------------------------------------------------------------ */

static bool user_getrange(struct vringh *vrh, u64 addr, struct vringh_range *range)
{
	struct rig *rig = rig_of(vrh);
	unsigned int chunk = rig->kind->chunk, i;

	if (addr < rig->base || addr - rig->base >= RIG_SPACE)
		return false;
	i = (addr - rig->base) / chunk;
	range->start = rig->base + i * chunk;
	range->end_incl = range->start + chunk_length(rig->kind, i) - 1;
	range->offset = (uintptr_t)byte_at(rig, i * chunk) - range->start;
	return true;
}

static int user_init(struct rig *rig, u64 features, unsigned int num)
{
	rig->base = 0x1000;
	return vringh_init_user(&rig->vrh, features, num, true, rig->ring.desc, rig->ring.avail,
				rig->ring.used);
}

static int user_getdesc(struct rig *rig, bool want_r, bool want_w, u16 *head)
{
	return vringh_getdesc_user(&rig->vrh, (struct vringh_iov *)wanted(&rig->riov, want_r),
				   (struct vringh_iov *)wanted(&rig->wiov, want_w), user_getrange,
				   head);
}

static ssize_t user_pull(struct rig *rig, void *dst, size_t len)
{
	return vringh_iov_pull_user((struct vringh_iov *)&rig->riov, dst, len);
}

static ssize_t user_push(struct rig *rig, const void *src, size_t len)
{
	return vringh_iov_push_user((struct vringh_iov *)&rig->wiov, src, len);
}

/* --- IOTLB ----------------------------------------------------------------------------------- */

static void fill_iotlb(struct rig *rig)
{
	unsigned int half = rig->ring_size / 2 & ~15U, i;
	u64 ring = (uintptr_t)rig->ring_memory;

	rig->iotlb = vhost_iotlb_alloc(1024, 0);
	vhost_iotlb_add_range(rig->iotlb, RIG_RING_IOVA, RIG_RING_IOVA + half - 1, ring,
			      VHOST_MAP_RW);
	vhost_iotlb_add_range(rig->iotlb, RIG_RING_IOVA + half,
			      RIG_RING_IOVA + rig->ring_size - 1, ring + half, VHOST_MAP_RW);
	for (i = 0; i < chunks(rig->kind); i++) {
		unsigned int offset = i * rig->kind->chunk;
		u64 start = rig->base + offset;

		vhost_iotlb_add_range(rig->iotlb, start,
				      start + chunk_length(rig->kind, i) - 1,
				      (uintptr_t)byte_at(rig, offset), VHOST_MAP_RW);
	}
	vringh_set_iotlb(&rig->vrh, rig->iotlb, &rig->lock);
}

static void *ring_iova(struct rig *rig, void *at)
{
	return (void *)(uintptr_t)(RIG_RING_IOVA + ((unsigned char *)at - rig->ring_memory));
}

static int iotlb_init(struct rig *rig, u64 features, unsigned int num)
{
	rig->base = RIG_IOVA;
	fill_iotlb(rig);
	return vringh_init_iotlb(&rig->vrh, features, num, true, ring_iova(rig, rig->ring.desc),
				 ring_iova(rig, rig->ring.avail), ring_iova(rig, rig->ring.used));
}

static int iotlb_getdesc(struct rig *rig, bool want_r, bool want_w, u16 *head)
{
	return vringh_getdesc_iotlb(&rig->vrh, wanted(&rig->riov, want_r),
				    wanted(&rig->wiov, want_w), head, GFP_KERNEL);
}

static ssize_t iotlb_pull(struct rig *rig, void *dst, size_t len)
{
	return vringh_iov_pull_iotlb(&rig->vrh, &rig->riov, dst, len);
}

static ssize_t iotlb_push(struct rig *rig, const void *src, size_t len)
{
	return vringh_iov_push_iotlb(&rig->vrh, &rig->wiov, src, len);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
static int iotlb_va_init(struct rig *rig, u64 features, unsigned int num)
{
	rig->base = RIG_IOVA;
	fill_iotlb(rig);
	return vringh_init_iotlb_va(&rig->vrh, features, num, true,
				    ring_iova(rig, rig->ring.desc),
				    ring_iova(rig, rig->ring.avail),
				    ring_iova(rig, rig->ring.used));
}
#endif

#define RING_FUNCTIONS(kind)					\
	.abandon = vringh_abandon_##kind,			\
	.complete = vringh_complete_##kind,			\
	.need_notify = vringh_need_notify_##kind,		\
	.notify_enable = vringh_notify_enable_##kind,		\
	.notify_disable = vringh_notify_disable_##kind

const struct rig_kind rig_kinds[] = {
	{
		.name = "kern", .chunk = 0, .init = kern_init, .getdesc = kern_getdesc,
		.pull = kern_pull, .push = kern_push, RING_FUNCTIONS(kern),
	}, {
		.name = "user", .chunk = 1000, .init = user_init, .getdesc = user_getdesc,
		.pull = user_pull, .push = user_push, RING_FUNCTIONS(user),
	}, {
		.name = "iotlb", .chunk = 2999, .init = iotlb_init, .getdesc = iotlb_getdesc,
		.pull = iotlb_pull, .push = iotlb_push, RING_FUNCTIONS(iotlb),
	},
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	{
		.name = "iotlb-va", .chunk = 2999, .init = iotlb_va_init,
		.getdesc = iotlb_getdesc, .pull = iotlb_pull, .push = iotlb_push,
		RING_FUNCTIONS(iotlb),
	},
#endif
};
const unsigned int rig_number_of_kinds = ARRAY_SIZE(rig_kinds);

/* --- the driver ------------------------------------------------------------------------------ */

static void shuffle(unsigned int *place, unsigned int n, unsigned int seed)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		place[i] = i;
	for (i = n; i > 1; i--) {
		unsigned int j, swap = place[i - 1];

		seed = seed * 1103515245 + 12345;
		j = (seed >> 16) % i;
		place[i - 1] = place[j];
		place[j] = swap;
	}
}

/* The gaps between chunks are poisoned: AddressSanitizer reports an access. */
static void poison_gaps(struct rig *rig, bool on)
{
	unsigned int i;

	for (i = 0; rig->kind->chunk && i < chunks(rig->kind); i++) {
		unsigned char *gap = byte_at(rig, i * rig->kind->chunk) +
				     chunk_length(rig->kind, i);

		if (on)
			ASAN_POISON_MEMORY_REGION(gap, RIG_GAP);
		else
			ASAN_UNPOISON_MEMORY_REGION(gap, RIG_GAP);
	}
}

void rig_start(struct rig *rig, const struct rig_kind *kind, u64 features, unsigned int num,
	       unsigned int seed)
{
	*rig = (struct rig) { .kind = kind };
	shuffle(rig->place, chunks(kind), seed);
	rig->memory = calloc(1, chunks(kind) * ((kind->chunk ?: RIG_SPACE) + RIG_GAP));
	poison_gaps(rig, true);
	rig->ring_size = vring_size(num, 4);
	rig->ring_memory = aligned_alloc(16, (rig->ring_size + 15) & ~15UL);
	memset(rig->ring_memory, 0, rig->ring_size);
	vring_init(&rig->ring, num, rig->ring_memory, 4);
	vringh_kiov_init(&rig->riov, rig->first[0], ARRAY_SIZE(rig->first[0]));
	vringh_kiov_init(&rig->wiov, rig->first[1], ARRAY_SIZE(rig->first[1]));
	if (kind->init(rig, features, num))
		abort();
}

void rig_end(struct rig *rig)
{
	if (rig->lock.held)
		abort();
	vringh_kiov_cleanup(&rig->riov);
	vringh_kiov_cleanup(&rig->wiov);
	vhost_iotlb_free(rig->iotlb);
	poison_gaps(rig, false);
	free(rig->memory);
	free(rig->ring_memory);
}

struct vring_desc rig_desc(u64 addr, u32 len, u16 flags, u16 next)
{
	return (struct vring_desc) {
		.addr = htole64(addr), .len = htole32(len), .flags = htole16(flags),
		.next = htole16(next),
	};
}

void rig_set(struct rig *rig, unsigned int i, u64 addr, u32 len, u16 flags, u16 next)
{
	rig->ring.desc[i] = rig_desc(addr, len, flags, next);
}

/* Descriptor @i of an indirect table at offset @table of the space. */
void rig_set_in_table(struct rig *rig, unsigned int table, unsigned int i, u64 addr, u32 len,
		      u16 flags, u16 next)
{
	struct vring_desc desc = rig_desc(addr, len, flags, next);

	rig_poke(rig, table + i * sizeof(desc), &desc, sizeof(desc));
}

void rig_offer(struct rig *rig, u16 head)
{
	rig->ring.avail->ring[rig->avail_idx++ & (rig->ring.num - 1)] = htole16(head);
	rig->ring.avail->idx = htole16(rig->avail_idx);
}
