/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of a kernel as iotlb.c, vringh*.c, dirty_ring_reset.h and type1_track.h need, in a process.
 *
 * Every <linux/...> header that those files name is a stub that includes this one, except for the
 * few that define the interfaces themselves, which are the base's own (check.py lists both).  Here
 * a kernel's service is the C library's of the same effect, with these changes:
 *
 *	memory		malloc(), so that AddressSanitizer watches; shim_fail_alloc makes the n-th
 *			allocation from now fail
 *	pages		a page frame number is the address in this process, shifted: "physical"
 *			memory is whatever the test has allocated; a copy beyond the page aborts
 *	a process	is this one, but only [shim_user_start, shim_user_end) of it is mapped
 *	spin locks	an atomic exchange, so that they cost something; taking one twice aborts
 *	warnings	are counted in shim_warnings
 *
 * Limits: one thread.  The interval tree is a treap (interval-tree.h), not the kernel's own.
 */
#ifndef SHIM_H
#define SHIM_H

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <asm/types.h>
#include <linux/posix_types.h>

/* --- types and the compiler ------------------------------------------------------------------ */

#define __user
#define __force
#define __bitwise
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef uint64_t u64;
typedef __u16 __le16, __be16;
typedef __u32 __le32, __be32;
typedef __u64 __le64, __be64;
typedef unsigned int gfp_t;

#define U16_MAX		UINT16_MAX
#define U64_MAX		UINT64_MAX
#define SZ_64K		0x10000
#define BIT_ULL(n)	(1ULL << (n))
#define IS_REACHABLE(option)	1
#define KERNEL_VERSION(a, b, c)	(((a) << 16) + ((b) << 8) + (c))
#ifndef LINUX_VERSION_CODE
#define LINUX_VERSION_CODE	KERNEL_VERSION(6, 1, 0)
#endif
#define KBUILD_MODNAME	"shim"

#ifndef __always_inline
#define __always_inline	inline __attribute__((always_inline))
#endif
#undef __cold
#define __cold		__attribute__((cold))
#define noinline	__attribute__((noinline))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)
#define READ_ONCE(x)	(*(const volatile __typeof__(x) *)&(x))
#define smp_load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#undef static_assert
#define static_assert(x)	_Static_assert(x, #x)

#define min(a, b)	({ __typeof__(a) shim_a = (a); __typeof__(b) shim_b = (b); \
			   shim_a < shim_b ? shim_a : shim_b; })
#define max(a, b)	({ __typeof__(a) shim_a = (a); __typeof__(b) shim_b = (b); \
			   shim_a > shim_b ? shim_a : shim_b; })
#define min_t(t, a, b)	min((t)(a), (t)(b))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))
#define struct_size(p, member, n) (sizeof(*(p)) + (n) * sizeof((p)->member[0]))
#define hweight64(x)	((unsigned int)__builtin_popcountll(x))
#define __ffs64(x)	((unsigned int)__builtin_ctzll(x))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define le16_to_cpu	le16toh
#define le32_to_cpu	le32toh
#define le64_to_cpu	le64toh
#define be16_to_cpu	be16toh
#define be32_to_cpu	be32toh
#define be64_to_cpu	be64toh
#define cpu_to_le16	htole16
#define cpu_to_le32	htole32
#define cpu_to_le64	htole64
#define cpu_to_be16	htobe16
#define cpu_to_be32	htobe32
#define cpu_to_be64	htobe64

/* --- modules, messages ----------------------------------------------------------------------- */

#define EXPORT_SYMBOL(name)	extern __typeof__(name) name
#define EXPORT_SYMBOL_GPL(name)	extern __typeof__(name) name
#define MODULE_LICENSE(text)	struct shim_nothing
#define MODULE_AUTHOR		MODULE_LICENSE
#define MODULE_DESCRIPTION	MODULE_LICENSE
#define MODULE_VERSION		MODULE_LICENSE

extern unsigned int shim_warnings, shim_messages;
#define pr_notice_ratelimited(...) ((void)shim_messages++)
#define WARN_ON(x)	({ bool shim_is = (x); shim_warnings += shim_is; unlikely(shim_is); })
#define WARN_ON_ONCE	WARN_ON

/* --- errors in pointers ---------------------------------------------------------------------- */

#define ERR_PTR(error)	((void *)(intptr_t)(error))
#define PTR_ERR(p)	((int)(intptr_t)(p))
#define IS_ERR(p)	((uintptr_t)(p) >= (uintptr_t)-4095)
#define PTR_ERR_OR_ZERO(p) (IS_ERR(p) ? PTR_ERR(p) : 0)

/* --- memory ---------------------------------------------------------------------------------- */

#define GFP_KERNEL	1U
#define GFP_ATOMIC	2U
#define __GFP_NOWARN	4U
#define GFP_KERNEL_ACCOUNT 8U

extern unsigned int shim_fail_alloc;

static inline bool shim_allocation_fails(void)
{
	return unlikely(shim_fail_alloc) && !--shim_fail_alloc;
}

static inline void *kmalloc(size_t size, gfp_t gfp)
{
	return shim_allocation_fails() ? NULL : malloc(size);
}

static inline void *kzalloc(size_t size, gfp_t gfp)
{
	return shim_allocation_fails() ? NULL : calloc(1, size);
}

static inline void *krealloc_array(void *old, size_t n, size_t size, gfp_t gfp)
{
	return shim_allocation_fails() ? NULL : reallocarray(old, n, size);
}

static inline void kfree(const void *p)
{
	free((void *)p);
}

#define kvmalloc	kmalloc
#define kvfree		kfree

/* --- pages ----------------------------------------------------------------------------------- */

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1UL << PAGE_SHIFT)
#define offset_in_page(p) ((unsigned long)(p) & (PAGE_SIZE - 1))

struct page;

/* Code under test may touch a page only while it holds a lock. */
extern unsigned int shim_locks_held, shim_pages_unlocked;

static inline struct page *pfn_to_page(u64 pfn)
{
	return (struct page *)(pfn << PAGE_SHIFT);
}

static inline void *kmap_local_page(struct page *page)
{
	shim_pages_unlocked += !shim_locks_held;
	return page;
}

static inline void kunmap_local(const void *p)
{
}

static inline void memcpy_from_page(void *to, struct page *page, size_t offset, size_t len)
{
	if (offset + len > PAGE_SIZE)
		abort();
	shim_pages_unlocked += !shim_locks_held;
	memcpy(to, (char *)page + offset, len);
}

static inline void memcpy_to_page(struct page *page, size_t offset, const void *from, size_t len)
{
	if (offset + len > PAGE_SIZE)
		abort();
	shim_pages_unlocked += !shim_locks_held;
	memcpy((char *)page + offset, from, len);
}

/* --- a process's memory ---------------------------------------------------------------------- */

extern uintptr_t shim_user_start, shim_user_end;

static inline bool shim_user_has(const void *p, size_t len)
{
	uintptr_t at = (uintptr_t)p;

	return at >= shim_user_start && at <= shim_user_end && len <= shim_user_end - at;
}

static inline unsigned long copy_from_user(void *to, const void *from, size_t len)
{
	if (!shim_user_has(from, len))
		return len;
	memcpy(to, from, len);
	return 0;
}

static inline unsigned long copy_to_user(void *to, const void *from, size_t len)
{
	if (!shim_user_has(to, len))
		return len;
	memcpy(to, from, len);
	return 0;
}

#define get_user(value, p) ({						\
	bool shim_ok = shim_user_has(p, sizeof(*(p)));			\
	(value) = shim_ok ? READ_ONCE(*(p)) : 0;			\
	shim_ok ? 0 : -EFAULT; })
#define put_user(value, p) ({						\
	bool shim_ok = shim_user_has(p, sizeof(*(p)));			\
	if (shim_ok)							\
		WRITE_ONCE(*(p), (value));				\
	shim_ok ? 0 : -EFAULT; })
#define u64_to_user_ptr(address) ((void *)(uintptr_t)(address))

/* --- locks, barriers ------------------------------------------------------------------------- */

typedef struct {
	int held;
} spinlock_t;

static inline void spin_lock(spinlock_t *lock)
{
	if (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
		abort();
	shim_locks_held++;
}

static inline void spin_unlock(spinlock_t *lock)
{
	shim_locks_held--;
	if (!__atomic_exchange_n(&lock->held, 0, __ATOMIC_RELEASE))
		abort();
}

static inline void virtio_mb(bool weak)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline void virtio_rmb(bool weak)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void virtio_wmb(bool weak)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* --- lists ----------------------------------------------------------------------------------- */

struct kvec {
	void *iov_base;
	size_t iov_len;
};

struct list_head {
	struct list_head *next, *prev;
};

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head->prev = head;
}

static inline void list_add(struct list_head *item, struct list_head *after)
{
	*item = (struct list_head) { .next = after->next, .prev = after };
	item->next->prev = item;
	after->next = item;
}

static inline void list_add_tail(struct list_head *item, struct list_head *head)
{
	list_add(item, head->prev);
}

static inline void list_del(struct list_head *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	item->next = item->prev = NULL;
}

#define list_first_entry(head, type, member) container_of((head)->next, type, member)
#define list_last_entry(head, type, member)  container_of((head)->prev, type, member)
#define list_for_each_entry_safe(pos, after, head, member)				\
	for (pos = container_of((head)->next, __typeof__(*pos), member);		\
	     &pos->member != (head) &&							\
	     (after = container_of(pos->member.next, __typeof__(*pos), member), true);	\
	     pos = after)

#include "interval-tree.h"
#ifdef SHIM_FOR_BASE
#include "base.h"
#endif

#endif
