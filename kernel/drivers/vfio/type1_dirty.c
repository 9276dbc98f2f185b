// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vfio_iommu_type1: dirty bitmaps.
 *
 * Theory of operation
 *
 * What is dirty:
 *
 *	a mapping that an IOMMU has, while some group behind it does not say what it uses	all of it
 *	a mapping marked all_dirty: such a group has left, or has begun to say what it uses	all of it, once
 *	any other										what type1_track.h knows
 *
 * The interface wants a bitmap full of zeros, so only words that are not zero are written; a word
 * that two mappings share is put together before.  One that cannot be written is EFAULT, and then
 * nothing is forgotten: the next bitmap has everything again.
 *
 * Locks: container->lock.  It is held while the bitmap's own pages are faulted in.
 *
 * Limits: a bitmap of at most TYPE1_BITMAP_MAX bytes; a bit stands for the smallest page that all
 * domains know.
 */

#include <linux/sched.h>
#include <linux/uaccess.h>

#include "type1_priv.h"

#define WORDS_AT_ONCE 64

/* The last word, which is put together, and where words go. */
struct type1_writer {
	u64 __user *data;
	struct type1_dirty_word word;
};

/*
 * Write @n words, ascending, of which the first may be the one that is put together.  The last one is
 * kept, in case the next mapping begins in it.
 */
static int type1_put(struct type1_writer *writer, const struct type1_dirty_word *words,
		     unsigned int n)
{
	struct type1_dirty_word word = writer->word;
	u64 __user *data = writer->data;
	unsigned int i;

	if (!user_access_begin(data, (words[n - 1].word + 1) * sizeof(*data)))
		return -EFAULT;
	i = words[0].word == word.word;
	if (i)
		word.bits |= words[0].bits;
	for (; i < n; i++) {
		if (word.bits)
			unsafe_put_user(word.bits, data + word.word, fault);
		word = words[i];
	}
	user_access_end();
	writer->word = word;
	return 0;
fault:
	user_access_end();
	return -EFAULT;
}

static int type1_put_last(struct type1_writer *writer)
{
	if (!writer->word.bits)
		return 0;
	return put_user(writer->word.bits, writer->data + writer->word.word);
}

/* Words [@word, @end) have all bits. */
static int type1_put_ones(struct type1_writer *writer, u64 word, u64 end)
{
	static const u64 ones[512] = { [0 ... 511] = U64_MAX };
	u64 n;

	for (; word < end; word += n) {
		n = min_t(u64, end - word, ARRAY_SIZE(ones));
		if (copy_to_user(writer->data + word, ones, n * sizeof(*ones)))
			return -EFAULT;
		cond_resched();
	}
	return 0;
}

/* Bits [@first, @last]. */
static int type1_put_all(struct type1_writer *writer, u64 first, u64 last)
{
	struct type1_dirty_word head = { first / 64, U64_MAX << first % 64 };
	struct type1_dirty_word tail = { last / 64, U64_MAX >> (63 - last % 64) };
	int err;

	if (head.word == tail.word) {
		head.bits &= tail.bits;
		return type1_put(writer, &head, 1);
	}
	err = type1_put(writer, &head, 1);
	if (!err)
		err = type1_put_ones(writer, head.word + 1, tail.word);
	return err ?: type1_put(writer, &tail, 1);
}

static int type1_put_tracked(struct type1_container *c, struct type1_writer *writer,
			     const struct type1_map *map, unsigned long base, unsigned int order)
{
	struct type1_dirty_word words[WORDS_AT_ONCE];
	unsigned long index = type1_first(map);
	bool more = true;
	unsigned int n;
	int err = 0;

	while (!err && more) {
		n = type1_track_collect(&c->track, &index, type1_last(map), base, order, words,
					WORDS_AT_ONCE, &more);
		if (n)
			err = type1_put(writer, words, n);
		cond_resched();
	}
	return err;
}

static bool type1_wholly_dirty(const struct type1_container *c, const struct type1_map *map)
{
	return map->all_dirty || (c->unaware && map->in_iommu);
}

/* Write what is dirty of [@first, @last], which cuts no mapping.  The bitmap's first bit is @first. */
int type1_report(struct type1_container *c, const struct vfio_bitmap *bitmap, u64 first, u64 last)
{
	unsigned int shift = __ffs64(type1_page_size(c));
	struct type1_writer writer = {
		.data = (u64 __user *)bitmap->data,
		.word.word = U64_MAX,
	};
	struct type1_map *map;
	unsigned long index;
	int err = 0;

	type1_for_each_map(c, map, index, first >> PAGE_SHIFT, last >> PAGE_SHIFT) {
		if (type1_wholly_dirty(c, map))
			err = type1_put_all(&writer, (map->iova - first) >> shift,
					    (map->iova + (map->size - 1) - first) >> shift);
		else
			err = type1_put_tracked(c, &writer, map, first >> PAGE_SHIFT,
						shift - PAGE_SHIFT);
		if (err)
			return err;
	}
	return type1_put_last(&writer);
}

void type1_set_dirty(struct type1_container *c, struct type1_map *map, bool dirty)
{
	c->dirty_maps += dirty - map->all_dirty;
	map->all_dirty = dirty;
}

static void type1_set_all(struct type1_container *c, u64 first, u64 last, bool dirty)
{
	struct type1_map *map;
	unsigned long index;

	type1_for_each_map(c, map, index, first >> PAGE_SHIFT, last >> PAGE_SHIFT)
		type1_set_dirty(c, map, dirty);
}

/* The process has the bitmap for [@first, @last]. */
static void type1_reported(struct type1_container *c, u64 first, u64 last)
{
	type1_track_reported(&c->track, first >> PAGE_SHIFT, last >> PAGE_SHIFT);
	if (c->dirty_maps)
		type1_set_all(c, first, last, false);
}

/* Everything that the IOMMU has may have been written, and it will not be known which pages were. */
void type1_dirty_all(struct type1_container *c)
{
	if (c->track.on)
		type1_set_all(c, 0, U64_MAX, true);
}

/* Is the bitmap long enough for @size bytes, and is a bit what this interface allows? */
bool type1_bitmap_fits(const struct vfio_bitmap *bitmap, u64 size)
{
	u64 bits;

	if (!is_power_of_2(bitmap->pgsize) || !bitmap->size || bitmap->size > TYPE1_BITMAP_MAX)
		return false;
	bits = size >> __ffs64(bitmap->pgsize);
	return bits && bits <= bitmap->size * 8 && ALIGN(bits, 64) / 8 <= bitmap->size &&
	       access_ok((void __user *)bitmap->data, bitmap->size);
}

static int type1_get(struct type1_container *c, const struct vfio_iommu_type1_dirty_bitmap_get *get)
{
	u64 page = type1_page_size(c), last = get->iova + (get->size - 1);
	int err;

	if (!c->track.on || get->bitmap.pgsize != page || !get->size ||
	    !IS_ALIGNED(get->iova | get->size, page) || type1_bisects(c, get->iova, last))
		return -EINVAL;
	err = type1_report(c, &get->bitmap, get->iova, last);
	if (!err)
		type1_reported(c, get->iova, last);
	return err;
}

static long type1_get_bitmap(struct type1_container *c, unsigned long arg, u32 argsz)
{
	unsigned long head = offsetofend(struct vfio_iommu_type1_dirty_bitmap, flags);
	struct vfio_iommu_type1_dirty_bitmap_get get;
	int err;

	if (argsz < head + sizeof(get))
		return -EINVAL;
	if (copy_from_user(&get, (void __user *)(arg + head), sizeof(get)))
		return -EFAULT;
	if (get.iova + get.size < get.iova || !type1_bitmap_fits(&get.bitmap, get.size))
		return -EINVAL;
	mutex_lock(&c->lock);
	err = type1_get(c, &get);
	mutex_unlock(&c->lock);
	return err;
}

static void type1_stop(struct type1_container *c)
{
	type1_track_stop(&c->track);
	if (c->dirty_maps)
		type1_set_all(c, 0, U64_MAX, false);
}

/* VFIO_IOMMU_DIRTY_PAGES: start, stop, or get a bitmap. */
long type1_dirty_pages(struct type1_container *c, unsigned long arg)
{
	unsigned long head = offsetofend(struct vfio_iommu_type1_dirty_bitmap, flags);
	struct vfio_iommu_type1_dirty_bitmap dirty;

	if (!c->v2)
		return -EACCES;
	if (copy_from_user(&dirty, (void __user *)arg, head))
		return -EFAULT;
	if (dirty.argsz < head)
		return -EINVAL;
	switch (dirty.flags) {
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
		mutex_lock(&c->lock);
		type1_track_start(&c->track);
		mutex_unlock(&c->lock);
		return 0;
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
		mutex_lock(&c->lock);
		if (c->track.on)
			type1_stop(c);
		mutex_unlock(&c->lock);
		return 0;
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
		return type1_get_bitmap(c, arg, dirty.argsz);
	default:
		return -EINVAL;
	}
}
