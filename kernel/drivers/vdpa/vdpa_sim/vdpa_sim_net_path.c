// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The way of a frame through a simulated NIC.
 *
 *	transmit queue of pair n           receive queue of pair n
 *	  [vnet header][frame ........]      [vnet header][.......... room .....]
 *	        |          |                       ^             ^
 *	        +-- peek --+--> accept? ---------- write         | one copy
 *	                   +-------------------------------------+
 *
 * The NIC is its own wire: it receives the frames that it sends, as from a wire that echoes.  A
 * pair is served by its unit's worker alone, so pairs do not wait for each other; filters are read
 * under net->sem, which only the control queue and the administrator take for writing.
 *
 * A frame has one of these fates, each counted:
 *
 *	received		requests and bytes of both queues
 *	refused by a filter	requests of the transmit queue, net->filtered
 *	no receive buffer	drops of the receive queue: a NIC does not wait for its driver
 *	buffer too short	errors of the receive queue; the buffer stays with the device
 *	no good frame		errors of the transmit queue (too short, too long, not mapped)
 *	link down		drops of the transmit queue
 *
 * The transmit buffer goes back to the driver in each of these cases.
 *
 * A frame without its checksum (VIRTIO_NET_HDR_F_NEEDS_CSUM) is passed on as it is to a driver that
 * negotiated that, and otherwise gets its checksum here: only in this case is the whole frame read.
 *
 * Limits: no segmentation offloads and no merged receive buffers.
 */
#include <linux/slab.h>
#include <net/checksum.h>

#include "vdpa_sim_net.h"

#define FRAME_MAX 65550		 /* bytes without vnet header */
#define PEEK_LEN  (ETH_HLEN + 4) /* addresses, and a VLAN tag */

/* A frame on its way. */
struct vdpa_sim_net_frame {
	struct vdpa_sim_cursor from; /* behind the vnet header */
	struct virtio_net_hdr_v1 head;
	size_t len; /* without vnet header */
	u8 start[PEEK_LEN];
};

enum vdpa_sim_net_fate {
	VDPA_SIM_NET_DELIVER,
	VDPA_SIM_NET_FILTERED,
	VDPA_SIM_NET_BAD,
	VDPA_SIM_NET_DROP,
};

static size_t vdpa_sim_net_head_len(const struct vdpa_sim_net *net)
{
	return vdpa_sim_has(&net->sim, VIRTIO_F_VERSION_1) ? sizeof(struct virtio_net_hdr_v1)
							   : sizeof(struct virtio_net_hdr);
}

static enum vdpa_sim_net_fate vdpa_sim_net_classify(struct vdpa_sim_net *net,
						    struct vdpa_sim_queue *tx,
						    struct vdpa_sim_net_frame *frame)
{
	size_t len = vdpa_sim_iov_bytes(&tx->in);
	size_t head = vdpa_sim_net_head_len(net);
	struct vdpa_sim_cursor peek;
	size_t seen;

	if (len < head + ETH_HLEN || len > head + FRAME_MAX)
		return VDPA_SIM_NET_BAD;
	if (net->link_down || vdpa_sim_fault(&net->sim, VDPA_SIM_FAULT_DATA))
		return VDPA_SIM_NET_DROP;
	frame->len = len - head;
	seen = min_t(size_t, frame->len, PEEK_LEN);
	vdpa_sim_cursor_init(&frame->from, tx, &tx->in);
	if (vdpa_sim_read(&frame->from, &frame->head, head))
		return VDPA_SIM_NET_BAD;
	peek = frame->from;
	if (vdpa_sim_read(&peek, frame->start, seen))
		return VDPA_SIM_NET_BAD;
	if (frame->head.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return VDPA_SIM_NET_BAD;
	return vdpa_sim_net_rules_accept(&net->rules, frame->start, seen) ? VDPA_SIM_NET_DELIVER
									  : VDPA_SIM_NET_FILTERED;
}

/* The frame with its checksum filled in, for the caller to kfree(); an error pointer if it lies. */
static u8 *vdpa_sim_net_checksummed(struct vdpa_sim_net_frame *frame)
{
	size_t start = le16_to_cpu((__force __le16)frame->head.csum_start);
	size_t offset = start + le16_to_cpu((__force __le16)frame->head.csum_offset);
	__sum16 sum;
	u8 *data;
	int ret;

	if (start >= frame->len || offset + sizeof(sum) > frame->len)
		return ERR_PTR(-EINVAL);
	data = kmalloc(frame->len, GFP_KERNEL);
	if (!data)
		return ERR_PTR(-ENOMEM);
	ret = vdpa_sim_read(&frame->from, data, frame->len);
	if (ret) {
		kfree(data);
		return ERR_PTR(ret);
	}
	sum = csum_fold(csum_partial(data + start, frame->len - start, 0));
	if (!sum)
		sum = CSUM_MANGLED_0;
	memcpy(data + offset, &sum, sizeof(sum));
	return data;
}

/* Header and frame into the receive buffer. */
static int vdpa_sim_net_put_frame(struct vdpa_sim_net *net, struct vdpa_sim_queue *rx,
				  struct vdpa_sim_net_frame *frame, const u8 *flat)
{
	struct virtio_net_hdr_v1 head = {
		.num_buffers = (__force __virtio16)cpu_to_le16(1),
	};
	struct vdpa_sim_cursor to;
	int ret;

	if (!flat && frame->head.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		head.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		head.csum_start = frame->head.csum_start;
		head.csum_offset = frame->head.csum_offset;
	}
	vdpa_sim_cursor_init(&to, rx, &rx->out);
	ret = vdpa_sim_write(&to, &head, vdpa_sim_net_head_len(net));
	if (ret)
		return ret;
	return flat ? vdpa_sim_write(&to, flat, frame->len)
		    : vdpa_sim_copy(&to, &frame->from, frame->len);
}

static bool vdpa_sim_net_wants_checksum(const struct vdpa_sim_net *net,
					const struct vdpa_sim_net_frame *frame)
{
	return frame->head.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	       !(net->rules.offloads & BIT_ULL(VIRTIO_NET_F_GUEST_CSUM));
}

static int vdpa_sim_net_put_any_frame(struct vdpa_sim_net *net, struct vdpa_sim_queue *rx,
				      struct vdpa_sim_net_frame *frame)
{
	u8 *flat;
	int ret;

	if (likely(!vdpa_sim_net_wants_checksum(net, frame)))
		return vdpa_sim_net_put_frame(net, rx, frame, NULL);
	flat = vdpa_sim_net_checksummed(frame);
	if (IS_ERR(flat))
		return PTR_ERR(flat);
	ret = vdpa_sim_net_put_frame(net, rx, frame, flat);
	kfree(flat);
	return ret;
}

/* The frame is one to be received: into a buffer, if there is one that fits. */
static void vdpa_sim_net_deliver(struct vdpa_sim_net *net, struct vdpa_sim_queue *rx,
				 struct vdpa_sim_queue *tx, struct vdpa_sim_net_frame *frame)
{
	size_t need = vdpa_sim_net_head_len(net) + frame->len;

	if (!rx->active || vdpa_sim_queue_fetch(rx, NULL, &rx->out) <= 0) {
		rx->stats.drops++;
		return;
	}
	if (unlikely(vdpa_sim_iov_bytes(&rx->out) < need)) {
		rx->stats.errors++;
		vdpa_sim_queue_abandon(rx);
		return;
	}
	if (unlikely(vdpa_sim_net_put_any_frame(net, rx, frame))) {
		rx->stats.errors++;
		vdpa_sim_queue_complete(rx, 0);
		return;
	}
	rx->stats.requests++;
	rx->stats.bytes += frame->len;
	tx->stats.bytes += frame->len;
	vdpa_sim_queue_complete(rx, need);
}

static void vdpa_sim_net_forward(struct vdpa_sim_net *net, struct vdpa_sim_queue *rx,
				 struct vdpa_sim_queue *tx)
{
	struct vdpa_sim_net_frame frame;

	tx->stats.requests++;
	switch (vdpa_sim_net_classify(net, tx, &frame)) {
	case VDPA_SIM_NET_DELIVER:
		vdpa_sim_net_deliver(net, rx, tx, &frame);
		break;
	case VDPA_SIM_NET_FILTERED:
		net->filtered++;
		break;
	case VDPA_SIM_NET_DROP:
		tx->stats.drops++;
		break;
	case VDPA_SIM_NET_BAD:
		tx->stats.errors++;
		break;
	}
	vdpa_sim_queue_complete(tx, 0);
}

/* A batch of frames; true when there may be more. */
bool vdpa_sim_net_serve_pair(struct vdpa_sim_net *net, struct vdpa_sim_queue *rx,
			     struct vdpa_sim_queue *tx)
{
	bool more = true;
	int i;

	down_read(&net->sem);
	if (!tx->active || tx->unit->idx >= net->rules.pairs) {
		up_read(&net->sem);
		return false;
	}
	if (rx->active)
		vdpa_sim_queue_disable_kicks(rx);
	vdpa_sim_queue_disable_kicks(tx);
	for (i = 0; i < VDPA_SIM_BATCH; i++) {
		if (vdpa_sim_queue_fetch(tx, &tx->in, NULL) <= 0) {
			more = !vdpa_sim_queue_enable_kicks(tx);
			break;
		}
		vdpa_sim_net_forward(net, rx, tx);
		cond_resched();
	}
	up_read(&net->sem);
	return more;
}
