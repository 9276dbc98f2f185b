// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vringh with a driver that writes anything: a libFuzzer target.
 *
 * The input is read as: kind of memory, size of the ring, then descriptors for the ring and for
 * the space that indirect tables lie in, then what the device does.  A descriptor takes fewer
 * bytes when its address is a good one, so that chains get long before they get wrong.
 *
 * Nothing may be touched that is not the ring's or the space's (AddressSanitizer), no lock stay
 * held, no warning be given, and a chain that is said to be good has to be one.
 *
 * Limits: not for kernel memory, whose addresses are trusted.
 */
#include "rig.h"

struct input {
	const unsigned char *at;
	size_t left;
};

static u64 take(struct input *in, unsigned int bytes)
{
	u64 value = 0;

	while (bytes--) {
		value = value << 8 | (in->left ? *in->at : 0);
		in->at += !!in->left;
		in->left -= !!in->left;
	}
	return value;
}

static struct vring_desc take_desc(struct input *in, u64 base)
{
	unsigned int control = take(in, 1);
	u16 flags = control >> 1 & 7;
	u64 addr;
	u32 len;

	if (control & 1) {
		addr = base + take(in, 2);
		len = flags & VRING_DESC_F_INDIRECT ? 16 * take(in, 1) : take(in, 1);
	} else {
		addr = take(in, 8);
		len = take(in, 4);
	}
	return rig_desc(addr, len, flags, take(in, 1));
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_list(const struct vringh_kiov *iov)
{
	must(iov->used <= (iov->max_num & ~VRINGH_IOV_ALLOCATED));
	must(!iov->i && !iov->consumed);
}

static void act(struct rig *rig, struct input *in)
{
	static unsigned char buffer[4096];
	unsigned int how = take(in, 1);
	bool want_r = how & 3, want_w = !(how & 1);
	u16 head;
	int ret;

	ret = rig->kind->getdesc(rig, want_r, want_w, &head);
	must(ret <= 1);
	must(ret == 1 ? head < rig->ring.num : head <= rig->ring.num);
	if (ret == 1) {
		/* One that was not asked for is as the last chain left it. */
		if (want_r)
			check_list(&rig->riov);
		if (want_w)
			check_list(&rig->wiov);
		rig->kind->pull(rig, buffer, take(in, 2) & 4095);
		rig->kind->push(rig, buffer, take(in, 2) & 4095);
		if (how & 4)
			rig->kind->complete(&rig->vrh, head, 1);
	}
	if (how & 8)
		rig->kind->need_notify(&rig->vrh);
	if (how & 16)
		rig->kind->notify_enable(&rig->vrh);
	if (how & 32)
		rig->kind->abandon(&rig->vrh, 1);
	if (how & 64)
		rig->ring.avail->idx = take(in, 2);
	must(!rig->lock.held && !shim_warnings);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct input in = { data, size };
	unsigned int control = take(&in, 1), num = 1 << (control >> 1 & 3), tables, i;
	u64 features = BIT_ULL(VIRTIO_F_VERSION_1);
	struct rig rig;

	if (control & 8)
		features |= BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
	rig_start(&rig, &rig_kinds[1 + (control & 1)], features, num, 3);
	for (i = 0; i < num; i++) {
		rig.ring.desc[i] = take_desc(&in, rig.base);
		rig_offer(&rig, take(&in, 1));
	}
	tables = take(&in, 1) & 31;
	for (i = 0; i < tables; i++) {
		struct vring_desc desc = take_desc(&in, rig.base);

		rig_poke(&rig, i * sizeof(desc), &desc, sizeof(desc));
	}
	for (i = 0; i < 20 && in.left; i++)
		act(&rig, &in);
	rig_end(&rig);
	return 0;
}
