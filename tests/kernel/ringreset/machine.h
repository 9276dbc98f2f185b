/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtual machine of a program's own, with dirty rings and without QEMU.
 *
 * Its guest is 32-bit code without paging.  Slot 0 has code and a table and is not logged; slot 1,
 * from LOGGED on, is.  Every vCPU has a ring.
 *
 * Limits: AMD or Intel; die() ends the program.
 */
#ifndef TESTS_KERNEL_RINGRESET_MACHINE_H
#define TESTS_KERNEL_RINGRESET_MACHINE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096ul
#define LOW_SIZE	(4ul << 20)
#define CODE		0x1000ul
#define TABLE		0x10000ul
#define LOGGED		0x40000000ul
#define MAX_VCPUS	64

struct machine {
	int kvm, vm, vcpus[MAX_VCPUS];
	struct kvm_run *run[MAX_VCPUS];
	uint8_t *low;
	struct kvm_dirty_gfn *ring[MAX_VCPUS];
	uint32_t size;		/* entries of a ring */
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static int must(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

static void *map(size_t size, int fd, off_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void add_slot(struct machine *m, uint32_t slot, uint64_t gpa, void *memory, uint64_t size,
		     uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	must(ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static void flat(struct kvm_segment *segment, uint8_t type)
{
	*segment = (struct kvm_segment) {
		.limit = 0xffffffff, .selector = 8, .type = type, .present = 1, .db = 1, .s = 1,
		.g = 1,
	};
}

/* Has vCPU @n begin at CODE, in flat 32-bit mode, with @esi and @edi. */
static void set_registers(struct machine *m, int n, uint32_t esi, uint32_t edi)
{
	struct kvm_regs regs = { .rip = CODE, .rsi = esi, .rdi = edi, .rflags = 2 };
	struct kvm_sregs sregs;

	must(ioctl(m->vcpus[n], KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	flat(&sregs.cs, 11);
	flat(&sregs.ds, 3);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.cr0 |= 1;
	must(ioctl(m->vcpus[n], KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(m->vcpus[n], KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* Makes a machine with @pages logged pages, @vcpus vCPUs, rings of @entries, and this code. */
static void begin(struct machine *m, uint32_t entries, uint64_t pages, int vcpus,
		  const uint8_t *code, size_t code_size)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING,
				      .args = { entries * sizeof(struct kvm_dirty_gfn) } };
	size_t run_size;

	m->size = entries;
	m->kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	m->vm = must(ioctl(m->kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(m->vm, KVM_ENABLE_CAP, &cap), "KVM_CAP_DIRTY_LOG_RING");
	m->low = map(LOW_SIZE, -1, 0);
	memcpy(m->low + CODE, code, code_size);
	add_slot(m, 0, 0, m->low, LOW_SIZE, 0);
	add_slot(m, 1, LOGGED, map(pages * PAGE, -1, 0), pages * PAGE, KVM_MEM_LOG_DIRTY_PAGES);
	run_size = must(ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	for (int i = 0; i < vcpus; i++) {
		m->vcpus[i] = must(ioctl(m->vm, KVM_CREATE_VCPU, i), "KVM_CREATE_VCPU");
		m->run[i] = map(run_size, m->vcpus[i], 0);
		m->ring[i] = map(entries * sizeof(*m->ring[0]), m->vcpus[i],
				 KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	}
}

#endif
