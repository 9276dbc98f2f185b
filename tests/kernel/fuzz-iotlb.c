// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vhost_iotlb with any sequence of calls: a libFuzzer target.
 *
 * After each call the table must be in order, as many as it says and no more than its limit, and
 * nothing must be left of a range that was deleted.
 *
 * Limits: what remains mapped is compared with a model in test-iotlb.c, not here.
 */
#include <linux/vhost_iotlb.h>
#include "shim.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* One byte: near the bottom, the middle or the top of 2^64. */
static u64 address(unsigned char byte)
{
	static const u64 base[] = { 0, 1ULL << 63, U64_MAX - 63, 0x1000 };

	return base[byte >> 6] + (byte & 63);
}

static void check(struct vhost_iotlb *t)
{
	struct vhost_iotlb_map *map;
	unsigned int n = 0;
	u64 before = 0;

	for (map = vhost_iotlb_itree_first(t, 0, U64_MAX); map;
	     map = vhost_iotlb_itree_next(map, 0, U64_MAX)) {
		must(map->start >= before && map->last >= map->start);
		must(map->size == map->last - map->start + 1);
		before = map->start;
		n++;
	}
	must(n == t->nmaps && n <= t->limit);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct vhost_iotlb *t;

	if (size < 1)
		return 0;
	t = vhost_iotlb_alloc(data[0] >> 1 & 31, data[0] & 1 ? VHOST_IOTLB_FLAG_RETIRE : 0);
	for (data++, size--; size >= 3; data += 3, size -= 3) {
		u64 start = address(data[1]), last = address(data[2]);

		switch (data[0] & 7) {
		case 0 ... 3:
			vhost_iotlb_add_range_ctx(t, start, last, start << 12, data[0] >> 6,
						  data[0] & 8 ? t : NULL);
			break;
		case 4 ... 6:
			shim_fail_alloc = data[0] & 8 ? 1 : 0;
			vhost_iotlb_del_range(t, start, last);
			shim_fail_alloc = 0;
			must(last < start || !vhost_iotlb_itree_first(t, start, last));
			break;
		default:
			vhost_iotlb_reset(t);
		}
		check(t);
	}
	vhost_iotlb_free(t);
	return 0;
}
