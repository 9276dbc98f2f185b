// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What vhost_iotlb and vringh cost: one line per case, nanoseconds of CPU time per operation.
 *
 * Compiled once with our files and once with the base's; `bench` runs the two in turn.  Each case
 * is repeated for some time and the best of its repetitions is printed, the one that was disturbed
 * least.
 *
 * Limits: ratios mean something, times do not.  The interval tree under both is the shim's.
 */
#include <time.h>

#include "rig.h"

#define NUM	256
#define RANGES	100000
#define V1	BIT_ULL(VIRTIO_F_VERSION_1)

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static u64 scramble(u64 x)
{
	x *= 0x9e3779b97f4a7c15ULL;
	return x ^ x >> 32;
}

/* Best of the repetitions of @run that fit into @budget; @operations in one. */
static void report(const char *name, void (*run)(void *), void *arg, double operations,
		   double budget)
{
	double best = 1e9, end = seconds() + budget;

	do {
		double start = seconds(), took;

		run(arg);
		took = seconds() - start;
		best = min(best, took);
	} while (seconds() < end);
	printf("%s %.3f\n", name, best / operations * 1e9);
}

/* --- vhost_iotlb ----------------------------------------------------------------------------- */

struct table {
	struct vhost_iotlb iotlb;
	u64 n;
};

static void fill(struct table *t)
{
	u64 i;

	vhost_iotlb_init(&t->iotlb, UINT_MAX, 0);
	/* In no order, and not side by side. */
	for (i = 0; i < t->n; i++) {
		u64 start = (scramble(i) % (1ULL << 40)) << 13;

		vhost_iotlb_add_range(&t->iotlb, start, start + 4095, i << 12, VHOST_MAP_RW);
	}
}

static void run_lookup(void *arg)
{
	struct table *t = arg;
	u64 i;

	for (i = 0; i < 10000; i++) {
		u64 start = (scramble(i % t->n) % (1ULL << 40)) << 13;

		if (!vhost_iotlb_itree_first(&t->iotlb, start + 64, start + 127))
			abort();
	}
}

static void run_add_and_reset(void *arg)
{
	struct table *t = arg;

	fill(t);
	vhost_iotlb_reset(&t->iotlb);
}

static void run_add_and_delete(void *arg)
{
	struct table *t = arg;
	u64 i;

	fill(t);
	for (i = 0; i < t->n; i++) {
		u64 start = (scramble(i) % (1ULL << 40)) << 13;

		vhost_iotlb_del_range(&t->iotlb, start, start + 4095);
	}
}

static void bench_iotlb(void)
{
	static const struct {
		const char *name;
		u64 n;
	} lookups[] = {
		{ "iotlb-lookup-of-1", 1 }, { "iotlb-lookup-of-64", 64 },
		{ "iotlb-lookup-of-4096", 4096 }, { "iotlb-lookup-of-100000", RANGES },
	};
	struct table t = { .n = RANGES };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lookups); i++) {
		t.n = lookups[i].n;
		fill(&t);
		report(lookups[i].name, run_lookup, &t, 10000, 0.05);
		vhost_iotlb_reset(&t.iotlb);
	}
	t.n = RANGES;
	report("iotlb-add-100000-and-reset", run_add_and_reset, &t, RANGES, 0.3);
	report("iotlb-add-100000-and-delete", run_add_and_delete, &t, RANGES, 0.3);
}

/* --- vringh ---------------------------------------------------------------------------------- */

/* A chain of a readable and a writable part, of @n descriptors each. */
static void prepare(struct rig *rig, unsigned int n, unsigned int len, bool indirect)
{
	unsigned int i;

	for (i = 0; i < 2 * n; i++) {
		u64 addr = rig->base + 4096 + i * len;
		u16 flags = (i >= n ? VRING_DESC_F_WRITE : 0) |
			    (i < 2 * n - 1 ? VRING_DESC_F_NEXT : 0);

		if (indirect)
			rig_set_in_table(rig, 0, i, addr, len, flags, i + 1);
		else
			rig_set(rig, i, addr, len, flags, i + 1);
	}
	if (indirect)
		rig_set(rig, 0, rig->base, 2 * n * sizeof(struct vring_desc),
			VRING_DESC_F_INDIRECT, 0);
}

static void offer_all(struct rig *rig)
{
	unsigned int i;

	for (i = 0; i < NUM; i++)
		rig_offer(rig, 0);
}

/* Each kind has its own loop, so that its functions are called as a device calls them. */
#define DEFINE_RUNS(KIND, GETDESC, PULL, PUSH)						\
static void run_desc_##KIND(void *arg)							\
{											\
	struct rig *rig = arg;								\
	unsigned int done = 0;								\
	u16 head;									\
											\
	offer_all(rig);									\
	for (; GETDESC > 0; done++)							\
		vringh_complete_##KIND(&rig->vrh, head, 0);				\
	if (done != NUM || vringh_need_notify_##KIND(&rig->vrh) != 1)			\
		abort();								\
}											\
											\
static void run_data_##KIND(void *arg)							\
{											\
	static unsigned char packet[8192];						\
	struct rig *rig = arg;								\
	unsigned int done = 0;								\
	u16 head;									\
											\
	offer_all(rig);									\
	for (; GETDESC > 0; done++) {							\
		ssize_t n = PULL;							\
											\
		if (n <= 0 || PUSH != n)						\
			abort();							\
		vringh_complete_##KIND(&rig->vrh, head, n);				\
	}										\
	if (done != NUM)								\
		abort();								\
}											\
struct shim_nothing

static bool whole_range(struct vringh *vrh, u64 addr, struct vringh_range *range)
{
	struct rig *rig = container_of(vrh, struct rig, vrh);

	range->start = rig->base;
	range->end_incl = rig->base + RIG_SPACE - 1;
	range->offset = (uintptr_t)rig->memory - rig->base;
	return addr >= range->start && addr <= range->end_incl;
}

DEFINE_RUNS(kern, vringh_getdesc_kern(&rig->vrh, &rig->riov, &rig->wiov, &head, GFP_KERNEL),
	    vringh_iov_pull_kern(&rig->riov, packet, sizeof(packet)),
	    vringh_iov_push_kern(&rig->wiov, packet, sizeof(packet)));
DEFINE_RUNS(user, vringh_getdesc_user(&rig->vrh, (struct vringh_iov *)&rig->riov,
				      (struct vringh_iov *)&rig->wiov, whole_range, &head),
	    vringh_iov_pull_user((struct vringh_iov *)&rig->riov, packet, sizeof(packet)),
	    vringh_iov_push_user((struct vringh_iov *)&rig->wiov, packet, sizeof(packet)));
DEFINE_RUNS(iotlb, vringh_getdesc_iotlb(&rig->vrh, &rig->riov, &rig->wiov, &head, GFP_KERNEL),
	    vringh_iov_pull_iotlb(&rig->vrh, &rig->riov, packet, sizeof(packet)),
	    vringh_iov_push_iotlb(&rig->vrh, &rig->wiov, packet, sizeof(packet)));

static const struct {
	const char *name;
	unsigned int kind;
	void (*run)(void *arg);
	unsigned int n, len;
	bool indirect;
} cases[] = {
	{ "vringh-kern-2-descriptors", 0, run_desc_kern, 1, 64, false },
	{ "vringh-kern-16-descriptors", 0, run_desc_kern, 8, 64, false },
	{ "vringh-kern-16-indirect", 0, run_desc_kern, 8, 64, true },
	{ "vringh-kern-1500-bytes", 0, run_data_kern, 1, 1500, false },
	{ "vringh-user-2-descriptors", 1, run_desc_user, 1, 64, false },
	{ "vringh-user-16-descriptors", 1, run_desc_user, 8, 64, false },
	{ "vringh-user-16-indirect", 1, run_desc_user, 8, 64, true },
	{ "vringh-user-1500-bytes", 1, run_data_user, 1, 1500, false },
	{ "vringh-iotlb-2-descriptors", 2, run_desc_iotlb, 1, 64, false },
	{ "vringh-iotlb-16-descriptors", 2, run_desc_iotlb, 8, 64, false },
	{ "vringh-iotlb-16-indirect", 2, run_desc_iotlb, 8, 64, true },
	{ "vringh-iotlb-1500-bytes", 2, run_data_iotlb, 1, 1500, false },
};

static void bench_vringh(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig_kind kind = rig_kinds[cases[i].kind];
		struct rig rig;

		if (!strcmp(kind.name, "user"))
			kind.chunk = RIG_SPACE;		/* as whole_range() has it */
		rig_start(&rig, &kind, V1, NUM, 5);
		prepare(&rig, cases[i].n, cases[i].len, cases[i].indirect);
		report(cases[i].name, cases[i].run, &rig, NUM, 0.05);
		rig_end(&rig);
	}
}

int main(void)
{
	bench_iotlb();
	bench_vringh();
	return 0;
}
