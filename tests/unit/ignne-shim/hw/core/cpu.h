/*
 * As much of QEMU's CPUs and their work queues as ignne.h calls
 *
 * The test is the machine: it says which thread is the owner's, and runs what was queued.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IGNNE_SHIM_HW_CORE_CPU_H
#define IGNNE_SHIM_HW_CORE_CPU_H

#include <stdbool.h>
#include <stdint.h>

typedef struct CPUX86State {
    volatile uint32_t hflags2; /* volatile: each access is made, as between translated blocks */
} CPUX86State;

typedef struct CPUState {
    CPUX86State env;
} CPUState;

typedef union {
    int host_int;
} run_on_cpu_data;

typedef void (*run_on_cpu_func)(CPUState *cpu, run_on_cpu_data data);

#define RUN_ON_CPU_HOST_INT(value) ((run_on_cpu_data){.host_int = (value)})
#define qatomic_read(pointer) __atomic_load_n(pointer, __ATOMIC_RELAXED)

static inline CPUX86State *cpu_env(CPUState *cpu)
{
    return &cpu->env;
}

static inline CPUState *env_cpu(CPUX86State *env)
{
    return (CPUState *)env;
}

bool qemu_cpu_is_self(CPUState *cpu);
void async_run_on_cpu(CPUState *cpu, run_on_cpu_func func, run_on_cpu_data data);

#endif
