/*
 * As much of an x86 vCPU as ignne.h looks at
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IGNNE_SHIM_CPU_H
#define IGNNE_SHIM_CPU_H

#include "hw/core/cpu.h"

#define HF2_GIF_MASK 0x01u
#define HF2_NPT_MASK 0x40u
#define HF2_IGNNE_MASK 0x80u

#endif
