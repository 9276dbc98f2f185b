/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exerciser of /dev/vhost-vdpa-N: what its files share.
 *
 *	main.c		options, the order of things
 *	tap.c		results
 *	subject.c	the device under test, brought into every state
 *	table.c		what is expected, as data: ioctls by states, bad arguments, messages
 *	cells.c		walks the tables, prints them
 *	life.c		what is no single call: processes, threads, pinned memory, removal, faults
 *	fuzz.c		random IOTLB messages against a model
 *	kinds.c		devices of kinds that the simulator is not
 *
 * Limits: the device of all but kinds.c has to be the simulated network card of our vdpa_sim_net.
 */
#ifndef EXERCISER_H
#define EXERCISER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../../linux-headers/linux/qemu-live-uapi.h"

#define STATUS_ACKNOWLEDGE	0x01
#define STATUS_DRIVER		0x02
#define STATUS_DRIVER_OK	0x04
#define STATUS_FEATURES_OK	0x08
#define STATUS_SETUP		(STATUS_ACKNOWLEDGE | STATUS_DRIVER)

/* Everything that the exerciser maps is in here. */
#define ARENA_PAGES	64UL
#define PAGE		4096UL
#define ARENA_SIZE	(ARENA_PAGES * PAGE)
#define IOVA_BASE	0x100000UL	/* reach() maps the arena's first half here, in space 0 */
#define IOVA_SIZE	(ARENA_SIZE / 2)
#define RING_ENTRIES	16

enum state {
	OPENED,			/* open, without an owner */
	OWNED,
	FEATURES_OK,
	RUNNING,		/* DRIVER_OK */
	SUSPENDED,
	OTHER,			/* running; the caller is not the owner */
	REMOVED,		/* the device went while it was open */
	STATES
};

extern const char *const state_names[STATES];

struct subject {
	const char *mgmt;	/* management device that makes the device */
	const char *name;	/* of the device */
	bool reference;		/* the kernel's own vhost_vdpa, not ours */
	bool whole_tree;	/* the device takes mappings as a whole tree */
	char node[64];
	void *arena;
	uint32_t vqs;
	uint32_t groups;
	uint32_t spaces;
	uint16_t entries;
};

/* An argument, and where the ioctl shall find it. */
union argument {
	uint8_t bytes[64];
	uint8_t status;
	uint32_t number;
	int fd;
	uint64_t bits;
	struct vhost_vring_state vring;
	struct vhost_vring_file file;
	struct vhost_vring_addr addr;
	struct {
		struct vhost_vdpa_config head;
		uint8_t bytes[16];
	} config;
};

enum kind {
	NONE,			/* no argument */
	PLAIN,			/* zeroes will do, or it is only written */
	FEATURES,
	BACKEND,
	STATUS,
	CONFIG,
	VRING,			/* struct vhost_vring_state, queue 0 */
	RING_NUM,
	RING_ADDR,
	RING_FILE,
	EVENT,			/* an eventfd's number */
	MEMORY,
};

/* An ioctl, and the errno expected in every state. */
struct ioctl_row {
	const char *name;
	unsigned long cmd;
	enum kind kind;
	short expect[STATES];
};

/* A bad argument; CHANGE starts from a good one. */
struct bad_row {
	const char *name;
	const char *what;
	void (*change)(const struct subject *subject, union argument *arg);
	short expect;
};

/* An IOTLB message; CHANGE starts from an UPDATE that would do. */
struct message_row {
	const char *what;
	void (*change)(const struct subject *subject, struct vhost_msg_v2 *msg);
	size_t size;
	short expect;
};

/* Where the kernel's own vhost_vdpa is known to differ; "*" stands for everything. */
struct difference {
	const char *name;
	const char *what;
	short expect;
	const char *why;
};

extern const struct ioctl_row ioctl_rows[];
extern const struct bad_row bad_rows[];
extern const struct message_row message_rows[];
extern const struct difference differences[];

/* tap.c */
void ok(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));
void skipped(const char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
int tap_end(void);
const char *errno_name(int err);

/* subject.c */
void subject_add(struct subject *subject);
void subject_learn(struct subject *subject);
void subject_remove(struct subject *subject);
bool subject_exists(const struct subject *subject);
int subject_open(const struct subject *subject);
int reach(const struct subject *subject, enum state state);
int try_ioctl(int fd, unsigned long cmd, void *arg);
int try_write(int fd, const void *msg, size_t size);
int try_map(int fd, uint32_t asid, uint64_t iova, uint64_t size, const void *memory, uint8_t perm);
int try_unmap(int fd, uint32_t asid, uint64_t iova, uint64_t size);
int try_batch(int fd, uint32_t asid, uint8_t type);
uint8_t status_of(int fd);
long pinned_kib(void);
void inject(const struct subject *subject, const char *point, int times);

/* cells.c */
void walk_ioctls(struct subject *subject);
void walk_bad_arguments(struct subject *subject);
void walk_messages(struct subject *subject);
void walk_removed(struct subject *subject);
void print_markdown(void);

/* life.c */
void walk_life(struct subject *subject);

/* fuzz.c */
void fuzz(struct subject *subject, uint64_t seed, unsigned int messages);

/* kinds.c */
void walk_files(struct subject *subject);
void walk_platform(struct subject *subject);

#endif
