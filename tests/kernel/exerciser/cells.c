// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Walks the tables of table.c and prints them.
 *
 * Every cell of the ioctl table has a session of its own, brought into the state anew: a cell that
 * changes the device is no other cell's concern.  Bad arguments share a session, which is compared
 * before and after: what fails must not change anything.
 *
 * Some mistakes can be made with every ioctl and are tried with every one: pointers to nothing, to
 * the kernel, and to the last byte before nothing; a size and a direction that are not the command's;
 * indices of queues that are not there.
 *
 * Limits: a state that refuses is met before an argument is looked at, so bad arguments are tried in
 * one state that does not.
 */

#define _GNU_SOURCE
#include "exerciser.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static int event = -1;

static const struct difference *find_difference(const char *name, const char *what)
{
	const struct difference *d;

	for (d = differences; d->name; d++)
		if (!strcmp(d->name, name) && (!strcmp(d->what, "*") || !strcmp(d->what, what)))
			return d;
	return NULL;
}

/* What to expect of the implementation at hand. */
static int expected(const struct subject *subject, const char *name, const char *what, int ours)
{
	const struct difference *d = subject->reference ? find_difference(name, what) : NULL;

	return d ? d->expect : ours;
}

static const struct ioctl_row *find_row(const char *name)
{
	const struct ioctl_row *row;

	for (row = ioctl_rows; row->name; row++)
		if (!strcmp(row->name, name))
			return row;
	die("the table has no %s", name);
}

/* A good argument. */
static void fill(const struct subject *subject, int fd, const struct ioctl_row *row,
		 union argument *arg)
{
	memset(arg, 0, sizeof(*arg));
	switch (row->kind) {
	case FEATURES:
		try_ioctl(fd, VHOST_GET_FEATURES, &arg->bits);
		break;
	case BACKEND:
		try_ioctl(fd, VHOST_GET_BACKEND_FEATURES, &arg->bits);
		break;
	case STATUS:
		try_ioctl(fd, VHOST_VDPA_GET_STATUS, &arg->status);
		arg->status |= STATUS_SETUP;
		break;
	case CONFIG:
		arg->config.head.len = 4;
		break;
	case RING_NUM:
		arg->vring.num = RING_ENTRIES;
		break;
	case RING_ADDR:
		arg->addr.desc_user_addr = IOVA_BASE;
		arg->addr.avail_user_addr = IOVA_BASE + PAGE;
		arg->addr.used_user_addr = IOVA_BASE + 2 * PAGE;
		break;
	case RING_FILE:
		arg->file.fd = event;
		break;
	case EVENT:
		arg->fd = event;
		break;
	default:
		break;
	}
}

/* As another process; its errno is its exit status. */
static int try_as_other(int fd, unsigned long cmd, void *arg)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(try_ioctl(fd, cmd, arg));
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		die("waitpid");
	return WEXITSTATUS(status);
}

static void check(const struct subject *subject, int got, int ours, const char *name,
		  const char *what)
{
	int want = expected(subject, name, what, ours);

	ok(got == want, "%s, %s: %s%s%s", name, what, errno_name(want),
	   got == want ? "" : ", got ", got == want ? "" : errno_name(got));
}

static void walk_cell(const struct subject *subject, const struct ioctl_row *row, enum state state)
{
	int fd = reach(subject, state);
	union argument arg;
	int got;

	fill(subject, fd, row, &arg);
	if (state == OTHER)
		got = try_as_other(fd, row->cmd, &arg);
	else
		got = try_ioctl(fd, row->cmd, row->kind == NONE ? NULL : &arg);
	check(subject, got, row->expect[state], row->name, state_names[state]);
	close(fd);
}

void walk_ioctls(struct subject *subject)
{
	const struct ioctl_row *row;
	int state;

	event = eventfd(0, EFD_CLOEXEC);
	if (event < 0)
		die("eventfd");
	for (row = ioctl_rows; row->name; row++)
		for (state = OPENED; state < REMOVED; state++)
			walk_cell(subject, row, state);
}

/* The state in which a row's bad arguments are tried. */
static enum state trial_state(const struct ioctl_row *row)
{
	return row->expect[FEATURES_OK] ? OWNED : FEATURES_OK;
}

static void walk_pointers(const struct subject *subject, int fd, const struct ioctl_row *row)
{
	char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *kernel = (void *)0xffff888000001000UL;

	if (page == MAP_FAILED || munmap(page + PAGE, PAGE))
		die("mmap");
	check(subject, try_ioctl(fd, row->cmd, NULL), EFAULT, row->name, "a pointer to nothing");
	check(subject, try_ioctl(fd, row->cmd, kernel), EFAULT, row->name, "a pointer to the kernel");
	if (_IOC_SIZE(row->cmd) > 1)
		check(subject, try_ioctl(fd, row->cmd, page + PAGE - 1), EFAULT, row->name,
		      "one byte of the argument is there");
	munmap(page, PAGE);
}

static bool is_known(unsigned long cmd)
{
	const struct ioctl_row *row;

	for (row = ioctl_rows; row->name; row++)
		if (row->cmd == cmd)
			return true;
	return false;
}

/* A command with one part of it changed; not if that makes it another one. */
static void walk_variant(const struct subject *subject, int fd, unsigned long cmd, const char *name,
			 const char *what)
{
	union argument arg = {};
	int want = ENOTTY, got;

	if (is_known(cmd))
		return;
	got = try_ioctl(fd, cmd, &arg);
	ok(got == want, "%s, %s: %s%s%s", name, what, errno_name(want),
	   got == want ? "" : ", got ", got == want ? "" : errno_name(got));
}

static void walk_variants(const struct subject *subject, int fd, const struct ioctl_row *row)
{
	unsigned int dir = _IOC_DIR(row->cmd), nr = _IOC_NR(row->cmd), size = _IOC_SIZE(row->cmd);

	walk_variant(subject, fd, _IOC(dir, VHOST_VIRTIO, nr, size + 1), row->name, "one byte more");
	if (size)
		walk_variant(subject, fd, _IOC(dir, VHOST_VIRTIO, nr, size - 1), row->name,
			     "one byte less");
	walk_variant(subject, fd, _IOC(dir ^ (_IOC_READ | _IOC_WRITE), VHOST_VIRTIO, nr, size),
		     row->name, "another direction");
}

static void walk_index(const struct subject *subject, int fd, const struct ioctl_row *row)
{
	union argument arg;

	fill(subject, fd, row, &arg);
	arg.vring.index = subject->vqs;
	check(subject, try_ioctl(fd, row->cmd, &arg), ENOBUFS, row->name,
	      "first queue that is not there");
	arg.vring.index = 0xffffffff;
	check(subject, try_ioctl(fd, row->cmd, &arg), ENOBUFS, row->name, "queue 2^32 - 1");
}

static bool is_about_queue(const struct ioctl_row *row)
{
	return (row->kind == VRING || row->kind == RING_NUM || row->kind == RING_ADDR ||
		row->kind == RING_FILE) && row->cmd != VHOST_VDPA_SET_GROUP_ASID;
}

/* What can be wrong with any ioctl. */
static void walk_common(const struct subject *subject, const struct ioctl_row *row)
{
	bool never = row->expect[OWNED] == ENOTTY;
	int fd = reach(subject, trial_state(row));
	uint8_t before = status_of(fd);

	if (!never && _IOC_TYPE(row->cmd) == VHOST_VIRTIO) {
		if (row->kind != NONE)
			walk_pointers(subject, fd, row);
		walk_variants(subject, fd, row);
		if (is_about_queue(row))
			walk_index(subject, fd, row);
		ok(status_of(fd) == before, "%s: bad arguments changed nothing", row->name);
	}
	close(fd);
}

static void walk_bad(const struct subject *subject, const struct bad_row *bad)
{
	const struct ioctl_row *row = find_row(bad->name);
	int fd = reach(subject, trial_state(row));
	uint8_t before = status_of(fd);
	union argument arg;

	fill(subject, fd, row, &arg);
	bad->change(subject, &arg);
	check(subject, try_ioctl(fd, row->cmd, &arg), bad->expect, bad->name, bad->what);
	if (status_of(fd) != before)
		ok(false, "%s, %s: changed nothing", bad->name, bad->what);
	close(fd);
}

void walk_bad_arguments(struct subject *subject)
{
	const struct ioctl_row *row;
	const struct bad_row *bad;

	for (row = ioctl_rows; row->name; row++)
		walk_common(subject, row);
	for (bad = bad_rows; bad->name; bad++)
		walk_bad(subject, bad);
}

static struct vhost_msg_v2 good_message(const struct subject *subject)
{
	struct vhost_msg_v2 msg = { .type = VHOST_IOTLB_MSG_V2 };

	msg.iotlb.iova = IOVA_BASE + IOVA_SIZE;
	msg.iotlb.size = PAGE;
	msg.iotlb.uaddr = (uintptr_t)subject->arena + IOVA_SIZE;
	msg.iotlb.perm = VHOST_ACCESS_RW;
	msg.iotlb.type = VHOST_IOTLB_UPDATE;
	return msg;
}

/* Errors of parsing are the same everywhere; later ones the reference makes one of. */
static int message_expected(const struct subject *subject, const struct message_row *row, int ours)
{
	if (subject->reference && (row->size < 40 || strstr(row->what, "message type") ||
				   !strcmp(row->what, "UPDATE of nothing")))
		return ours;
	if (subject->reference && find_difference(row->what, "message"))
		return find_difference(row->what, "message")->expect;
	return expected(subject, "message", errno_name(ours), ours);
}

static void walk_message(const struct subject *subject, int fd, const struct message_row *row)
{
	struct vhost_msg_v2 msg = good_message(subject);
	long before = pinned_kib();
	int got, want = message_expected(subject, row, row->expect);

	row->change(subject, &msg);
	got = try_write(fd, &msg, row->size);
	ok(got == want, "message: %s: %s%s%s", row->what, errno_name(want),
	   got == want ? "" : ", got ", got == want ? "" : errno_name(got));
	if (want)
		ok(pinned_kib() == before, "message: %s: pins nothing", row->what);
	else if (msg.iotlb.type == VHOST_IOTLB_UPDATE)
		ok(!try_unmap(fd, msg.asid, msg.iotlb.iova, msg.iotlb.size) && pinned_kib() == before,
		   "message: %s: and back", row->what);
}

void walk_messages(struct subject *subject)
{
	const struct message_row *row;
	struct vhost_msg_v2 msg = good_message(subject);
	int fd = reach(subject, FEATURES_OK);

	for (row = message_rows; row->what; row++)
		walk_message(subject, fd, row);
	close(fd);

	fd = reach(subject, OPENED);
	ok(try_write(fd, &msg, sizeof(msg)) == expected(subject, "message", "EPERM", EPERM),
	   "message: without an owner");
	ok(try_write(fd, (void *)0xffff888000000000, sizeof(msg)) == EFAULT,
	   "message: at the kernel's address");
	close(fd);
}

/* A device that went: one removal, and then every ioctl on what was left open. */
void walk_removed(struct subject *subject)
{
	struct vhost_msg_v2 msg = good_message(subject);
	const struct ioctl_row *row;
	union argument arg = {};
	void *map;
	int fd;

	if (subject->reference) {
		skipped("removal waits there until the file is closed", "device removed");
		return;
	}
	fd = reach(subject, RUNNING);
	subject_remove(subject);
	ok(!subject_exists(subject), "removal does not wait for the file to be closed");
	for (row = ioctl_rows; row->name; row++)
		check(subject, try_ioctl(fd, row->cmd, &arg), row->expect[REMOVED], row->name,
		      state_names[REMOVED]);
	ok(try_write(fd, &msg, sizeof(msg)) == ENODEV, "message, device removed: ENODEV");
	ok(try_write(fd, NULL, 1) == ENODEV, "a bad message, device removed: ENODEV");
	map = mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0);
	ok(map == MAP_FAILED && errno == ENODEV, "mmap, device removed: ENODEV");
	ok(!pinned_kib(), "nothing is pinned after the removal");
	ok(subject_open(subject) < 0, "the node cannot be opened again");
	close(fd);
	subject_add(subject);
}

/* The same tables for readers. */
void print_markdown(void)
{
	const struct ioctl_row *row;
	const struct bad_row *bad;
	const struct message_row *message;
	const struct difference *d;
	int state;

	printf("## Every ioctl in every state\n\n| ioctl | number |");
	for (state = 0; state < STATES; state++)
		printf(" %s |", state_names[state]);
	printf("\n| --- | --- |");
	for (state = 0; state < STATES; state++)
		printf(" --- |");
	for (row = ioctl_rows; row->name; row++) {
		printf("\n| %s | 0x%02lx |", row->name, (unsigned long)_IOC_NR(row->cmd));
		for (state = 0; state < STATES; state++)
			printf(" %s |", errno_name(row->expect[state]));
	}
	printf("\n\n## Bad arguments\n\n| ioctl | what is wrong | errno |\n| --- | --- | --- |\n");
	printf("| all that take a pointer | to nothing, to the kernel, to too little | EFAULT |\n");
	printf("| all | another size or direction | ENOTTY |\n");
	printf("| all about one queue | no such queue | ENOBUFS |\n");
	for (bad = bad_rows; bad->name; bad++)
		printf("| %s | %s | %s |\n", bad->name, bad->what, errno_name(bad->expect));
	printf("\n## Messages\n\n| message | errno |\n| --- | --- |\n");
	for (message = message_rows; message->what; message++)
		printf("| %s | %s |\n", message->what, errno_name(message->expect));
	printf("| any, by a process that is not the owner | EPERM |\n");
	printf("| any, device removed | ENODEV |\n");
	printf("\n## Where vhost_vdpa of kernel 6.12 differs\n\n| what | where | there | why |\n"
	       "| --- | --- | --- | --- |\n");
	for (d = differences; d->name; d++)
		printf("| %s | %s | %s | %s |\n", d->name, d->what, errno_name(d->expect), d->why);
}
