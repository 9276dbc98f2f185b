/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the base's own iotlb.c and vringh.c need beyond shim.h, for the comparison with them.
 *
 * An iov_iter is a list of runs of bytes and copies each with one memcpy(), which is less work
 * than the kernel's: where that matters, the base is shown better than it is.
 *
 * Limits: only what those two files call.
 */
#ifndef SHIM_BASE_H
#define SHIM_BASE_H

#define __printf(a, b)		__attribute__((format(printf, a, b)))
#define BUG_ON(x)		do { if (x) abort(); } while (0)
#define BUILD_BUG_ON(x)		static_assert(!(x))
#define KERN_NOTICE		""
#define DEFAULT_RATELIMIT_INTERVAL 0
#define DEFAULT_RATELIMIT_BURST	0
#define DEFINE_RATELIMIT_STATE(name, interval, burst) int name
#define __ratelimit(state)	((*(state))++, 0)
#define printk			printf
#define vprintk			vprintf

#define kmalloc_array(n, size, gfp) krealloc_array(NULL, n, size, gfp)
#define kmap_atomic(page)	kmap_local_page(page)
#define kunmap_atomic(p)	kunmap_local(p)

struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len, bv_offset;
};

struct iov_iter {
	const struct bio_vec *vec;
	unsigned int n;
};

#define ITER_SOURCE	0
#define ITER_DEST	1

static inline void iov_iter_bvec(struct iov_iter *iter, unsigned int way,
				 const struct bio_vec *vec, unsigned long n, size_t bytes)
{
	iter->vec = vec;
	iter->n = n;
}

static inline size_t copy_from_iter(void *to, size_t bytes, struct iov_iter *iter)
{
	size_t done = 0, part;

	for (; iter->n && done < bytes; iter->n--, iter->vec++, done += part) {
		part = min((size_t)iter->vec->bv_len, bytes - done);
		memcpy((char *)to + done, (char *)iter->vec->bv_page + iter->vec->bv_offset, part);
	}
	return done;
}

static inline size_t copy_to_iter(const void *from, size_t bytes, struct iov_iter *iter)
{
	size_t done = 0, part;

	for (; iter->n && done < bytes; iter->n--, iter->vec++, done += part) {
		part = min((size_t)iter->vec->bv_len, bytes - done);
		memcpy((char *)iter->vec->bv_page + iter->vec->bv_offset, (char *)from + done, part);
	}
	return done;
}

#endif
