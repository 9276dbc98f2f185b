/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vhost_vdpa: what user space asks of a device, and how long the device takes.
 *
 *	echo 1 > /sys/kernel/tracing/events/vhost_vdpa/enable
 *	cat /sys/kernel/tracing/trace_pipe
 *
 * `ns` is the time of the whole request, with the memory that had to be faulted in and, outside of a
 * batch, with the commit; `err` what user space gets, 0 or a negative errno.  A commit gives the
 * device its mappings as a whole; a device that is told one by one has none.
 *
 * Limits: kicks and interrupts are not traced.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM vhost_vdpa

#if !defined(VHOST_VDPA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define VHOST_VDPA_TRACE_H

#include <linux/tracepoint.h>

/* These macros are laid out as structures and functions are. */
/* clang-format off */

DECLARE_EVENT_CLASS(vhost_vdpa_range_event,
	TP_PROTO(unsigned int node, u32 asid, u64 iova, u64 size, int err, u64 ns),
	TP_ARGS(node, asid, iova, size, err, ns),
	TP_STRUCT__entry(
		__field(u64, iova)
		__field(u64, size)
		__field(u64, ns)
		__field(unsigned int, node)
		__field(u32, asid)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->iova = iova;
		__entry->size = size;
		__entry->ns = ns;
		__entry->node = node;
		__entry->asid = asid;
		__entry->err = err;
	),
	TP_printk("vhost-vdpa-%u asid=%u iova=%#llx size=%#llx err=%d ns=%llu", __entry->node,
		  __entry->asid, __entry->iova, __entry->size, __entry->err, __entry->ns)
);

DEFINE_EVENT(vhost_vdpa_range_event, vhost_vdpa_map,
	TP_PROTO(unsigned int node, u32 asid, u64 iova, u64 size, int err, u64 ns),
	TP_ARGS(node, asid, iova, size, err, ns));

DEFINE_EVENT(vhost_vdpa_range_event, vhost_vdpa_unmap,
	TP_PROTO(unsigned int node, u32 asid, u64 iova, u64 size, int err, u64 ns),
	TP_ARGS(node, asid, iova, size, err, ns));

TRACE_EVENT(vhost_vdpa_commit,
	TP_PROTO(unsigned int node, u32 asid, int err, u64 ns),
	TP_ARGS(node, asid, err, ns),
	TP_STRUCT__entry(
		__field(u64, ns)
		__field(unsigned int, node)
		__field(u32, asid)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->ns = ns;
		__entry->node = node;
		__entry->asid = asid;
		__entry->err = err;
	),
	TP_printk("vhost-vdpa-%u asid=%u err=%d ns=%llu", __entry->node, __entry->asid,
		  __entry->err, __entry->ns)
);

DECLARE_EVENT_CLASS(vhost_vdpa_step_event,
	TP_PROTO(unsigned int node, int err, u64 ns),
	TP_ARGS(node, err, ns),
	TP_STRUCT__entry(
		__field(u64, ns)
		__field(unsigned int, node)
		__field(int, err)
	),
	TP_fast_assign(
		__entry->ns = ns;
		__entry->node = node;
		__entry->err = err;
	),
	TP_printk("vhost-vdpa-%u err=%d ns=%llu", __entry->node, __entry->err, __entry->ns)
);

#define VHOST_VDPA_STEP(name) \
	DEFINE_EVENT(vhost_vdpa_step_event, name, \
		TP_PROTO(unsigned int node, int err, u64 ns), \
		TP_ARGS(node, err, ns))

VHOST_VDPA_STEP(vhost_vdpa_suspend);
VHOST_VDPA_STEP(vhost_vdpa_resume);
VHOST_VDPA_STEP(vhost_vdpa_reset);

/* clang-format on */

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE vdpa_trace
#include <trace/define_trace.h>
