// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The control queue of a simulated NIC.
 *
 * A request is read as a whole, answered by vdpa_sim_net_rules.c, and completed with one byte of
 * answer.  It takes effect between two batches of frames of any pair, because it holds net->sem for
 * writing.
 *
 * Limits: a command of more than VDPA_SIM_NET_COMMAND_MAX bytes is refused.
 */
#include <linux/mm.h>
#include <linux/slab.h>

#include "vdpa_sim_net.h"

#define VDPA_SIM_NET_COMMAND_MAX SZ_64K

static u8 vdpa_sim_net_run_command(struct vdpa_sim_net *net, const u8 *command, size_t len)
{
	u16 pairs = net->rules.pairs;
	u8 answer;

	down_write(&net->sem);
	answer = vdpa_sim_net_rules_command(&net->rules, command, len);
	up_write(&net->sem);
	if (net->rules.pairs != pairs)
		vdpa_sim_kick_all(&net->sim);
	return answer;
}

static u8 vdpa_sim_net_read_and_run(struct vdpa_sim_net *net, struct vdpa_sim_queue *vq)
{
	size_t len = vdpa_sim_iov_bytes(&vq->in);
	struct vdpa_sim_cursor cur;
	u8 answer = VIRTIO_NET_ERR;
	u8 *command;

	if (!len || len > VDPA_SIM_NET_COMMAND_MAX)
		return VIRTIO_NET_ERR;
	command = kvmalloc(len, GFP_KERNEL);
	if (!command)
		return VIRTIO_NET_ERR;
	vdpa_sim_cursor_init(&cur, vq, &vq->in);
	if (!vdpa_sim_read(&cur, command, len))
		answer = vdpa_sim_net_run_command(net, command, len);
	kvfree(command);
	return answer;
}

/* A command without room for its answer is not run: the driver could not learn its result. */
static void vdpa_sim_net_serve_one(struct vdpa_sim_net *net, struct vdpa_sim_queue *vq)
{
	u8 answer = VIRTIO_NET_ERR;
	struct vdpa_sim_cursor cur;
	u32 written = 0;

	vq->stats.requests++;
	vdpa_sim_cursor_init(&cur, vq, &vq->out);
	if (vdpa_sim_iov_bytes(&vq->out) >= sizeof(answer)) {
		answer = vdpa_sim_net_read_and_run(net, vq);
		if (!vdpa_sim_write(&cur, &answer, sizeof(answer)))
			written = sizeof(answer);
	}
	if (answer == VIRTIO_NET_OK)
		net->commands.good++;
	else
		net->commands.bad++;
	vdpa_sim_queue_complete(vq, written);
}

bool vdpa_sim_net_serve_ctrl(struct vdpa_sim_net *net, struct vdpa_sim_queue *vq)
{
	int i;

	if (!vq->active || !vdpa_sim_has(&net->sim, VIRTIO_NET_F_CTRL_VQ))
		return false;
	vdpa_sim_queue_disable_kicks(vq);
	for (i = 0; i < VDPA_SIM_BATCH; i++) {
		if (vdpa_sim_queue_fetch(vq, &vq->in, &vq->out) <= 0)
			return !vdpa_sim_queue_enable_kicks(vq);
		vdpa_sim_net_serve_one(net, vq);
	}
	return true;
}
