// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random IOTLB messages against a model.
 *
 * Every message is predicted: its errno, and how much is pinned after it.  All memory mapped here is
 * one physical page, seen again and again at consecutive addresses.  No two neighbours are contiguous
 * then, so every page becomes an entry of its own, and what INVALIDATE takes out is exactly the pages
 * that it touches.  The model is therefore one bit per page and space.
 *
 * In a batch of a device that takes whole trees, what INVALIDATE takes out stays pinned until
 * BATCH_END; the model counts it.
 *
 * The sequence depends on the seed alone, which is printed; a failure names the message's number.
 *
 * Limits: faults of the device are life.c's.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOW_PAGES	64		/* the range of addresses that is fuzzed */
#define WINDOW_START	0x40000000ULL
#define SPACES_MAX	4

struct model {
	const struct subject *subject;
	bool mapped[SPACES_MAX][WINDOW_PAGES];
	unsigned int retired;
	int batch;			/* space of the open batch, or -1 */
	char *memory;
	uint64_t random;
};

static uint32_t dice(struct model *model, uint32_t sides)
{
	model->random ^= model->random << 13;
	model->random ^= model->random >> 7;
	model->random ^= model->random << 17;
	return (model->random >> 16) % sides;
}

static struct vhost_msg_v2 make_message(struct model *model)
{
	static const uint8_t types[] = {
		VHOST_IOTLB_UPDATE, VHOST_IOTLB_UPDATE, VHOST_IOTLB_UPDATE, VHOST_IOTLB_UPDATE,
		VHOST_IOTLB_INVALIDATE, VHOST_IOTLB_INVALIDATE, VHOST_IOTLB_INVALIDATE,
		VHOST_IOTLB_BATCH_BEGIN, VHOST_IOTLB_BATCH_END, VHOST_IOTLB_BATCH_END, 0, 9,
	};
	struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2 };
	uint32_t first = dice(model, WINDOW_PAGES), count = 1 + dice(model, 8);
	uint32_t offset = dice(model, 4) ? 0 : dice(model, PAGE);

	if (first + count > WINDOW_PAGES)
		count = WINDOW_PAGES - first;
	msg.asid = dice(model, model->subject->spaces);
	msg.iotlb.type = types[dice(model, sizeof(types))];
	msg.iotlb.iova = WINDOW_START + first * PAGE + offset;
	msg.iotlb.size = count * PAGE - offset;
	msg.iotlb.uaddr = (uintptr_t)model->memory + first * PAGE + offset;
	msg.iotlb.perm = 1 + dice(model, 3);
	switch (dice(model, 24)) {
	case 0:
		msg.iotlb.size = 0;
		break;
	case 1:
		msg.iotlb.size = UINT64_MAX - dice(model, 2 * PAGE);
		break;
	case 2:
		msg.iotlb.perm = dice(model, 8) << 2;
		break;
	case 3:
		msg.iotlb.uaddr += 1 + dice(model, PAGE - 1);
		break;
	case 4:
		msg.iotlb.uaddr = PAGE + offset;
		break;
	case 5:
		msg.asid += model->subject->spaces;
		break;
	case 6:
		msg.iotlb.size -= dice(model, PAGE / 2) % msg.iotlb.size;
		break;
	}
	return msg;
}

/* Which pages of the window a good range touches. */
static void touched(const struct vhost_msg_v2 *msg, uint32_t *first, uint32_t *end)
{
	*first = (msg->iotlb.iova - WINDOW_START) / PAGE;
	*end = (msg->iotlb.iova + msg->iotlb.size - 1 - WINDOW_START) / PAGE + 1;
	if (*end > WINDOW_PAGES)
		*end = WINDOW_PAGES;
}

static bool range_is_bad(const struct vhost_msg_v2 *msg)
{
	return !msg->iotlb.size || msg->iotlb.iova + (msg->iotlb.size - 1) < msg->iotlb.iova;
}

static int model_update(struct model *model, const struct vhost_msg_v2 *msg)
{
	bool *mapped = model->mapped[msg->asid];
	uint32_t first, end, i;

	if (range_is_bad(msg) || !msg->iotlb.perm || msg->iotlb.perm > VHOST_ACCESS_RW ||
	    msg->iotlb.uaddr + (msg->iotlb.size - 1) < msg->iotlb.uaddr ||
	    (msg->iotlb.uaddr ^ msg->iotlb.iova) % PAGE)
		return EINVAL;
	touched(msg, &first, &end);
	for (i = first; i < end; i++)
		if (mapped[i])
			return EEXIST;
	if (msg->iotlb.uaddr < (uintptr_t)model->memory)
		return EFAULT;
	memset(mapped + first, true, end - first);
	return 0;
}

static int model_invalidate(struct model *model, const struct vhost_msg_v2 *msg)
{
	bool *mapped = model->mapped[msg->asid];
	uint32_t first, end, i;

	if (range_is_bad(msg))
		return EINVAL;
	touched(msg, &first, &end);
	for (i = first; i < end; i++) {
		if (mapped[i] && model->batch >= 0 && model->subject->whole_tree)
			model->retired++;
		mapped[i] = false;
	}
	return 0;
}

static int model_message(struct model *model, const struct vhost_msg_v2 *msg)
{
	if (msg->asid >= model->subject->spaces)
		return EINVAL;
	if (model->batch >= 0 && (uint32_t)model->batch != msg->asid)
		return EINVAL;
	switch (msg->iotlb.type) {
	case VHOST_IOTLB_UPDATE:
		return model_update(model, msg);
	case VHOST_IOTLB_INVALIDATE:
		return model_invalidate(model, msg);
	case VHOST_IOTLB_BATCH_BEGIN:
		model->batch = msg->asid;
		return 0;
	case VHOST_IOTLB_BATCH_END:
		model->batch = -1;
		model->retired = 0;
		return 0;
	}
	return EINVAL;
}

static long model_pinned(const struct model *model)
{
	unsigned int pages = model->retired, space, i;

	for (space = 0; space < SPACES_MAX; space++)
		for (i = 0; i < WINDOW_PAGES; i++)
			pages += model->mapped[space][i];
	return pages * (PAGE / 1024);
}

/* One page, seen WINDOW_PAGES times. */
static char *make_memory(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC), i;
	char *memory = mmap(NULL, WINDOW_PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (fd < 0 || ftruncate(fd, PAGE) || memory == MAP_FAILED)
		die("memory for fuzzing");
	for (i = 0; i < WINDOW_PAGES; i++)
		if (mmap(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 0) == MAP_FAILED)
			die("memory for fuzzing");
	close(fd);
	return memory;
}

void fuzz(struct subject *subject, uint64_t seed, unsigned int messages)
{
	struct model model = { .subject = subject, .batch = -1, .random = seed * 2654435761U + 1 };
	unsigned int i, wrong = 0, good = 0;
	int fd = subject_open(subject), got, want;
	uint64_t features = 1 << VHOST_BACKEND_F_IOTLB_MSG_V2 | 1 << VHOST_BACKEND_F_IOTLB_ASID |
		1 << VHOST_BACKEND_F_IOTLB_BATCH;
	struct vhost_msg_v2 msg;
	long pinned;

	if (subject->reference || subject->spaces > SPACES_MAX) {
		skipped("the model describes this repository's module", "random messages");
		close(fd);
		return;
	}
	model.memory = make_memory();
	if (ioctl(fd, VHOST_SET_OWNER) || ioctl(fd, VHOST_SET_BACKEND_FEATURES, &features))
		die("fuzz");
	for (i = 0; i < messages && wrong < 10; i++) {
		msg = make_message(&model);
		got = try_write(fd, &msg, sizeof(msg));
		want = model_message(&model, &msg);
		good += !want;
		pinned = i % 16 ? model_pinned(&model) : pinned_kib();
		if (got == want && pinned == model_pinned(&model))
			continue;
		wrong++;
		note("message %u: type %u space %u 0x%llx + 0x%llx: %s, got %s; pinned %ld, got %ld", i,
		     msg.iotlb.type, msg.asid, (unsigned long long)msg.iotlb.iova,
		     (unsigned long long)msg.iotlb.size, errno_name(want), errno_name(got),
		     model_pinned(&model), pinned);
	}
	ok(!wrong, "%u random messages, seed %llu, as the model has it", i, (unsigned long long)seed);
	ok(good > messages / 4, "at least a quarter of them were good ones");
	note("%u of %u were good", good, i);
	close(fd);
	ok(!pinned_kib(), "nothing is pinned afterwards");
	munmap(model.memory, WINDOW_PAGES * PAGE);
}
