/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The first and the only assembly of the firmware-less payload.
 *
 * Theory of operation
 * -------------------
 * The file is a 64 KiB ROM whose last byte is at 4 GiB - 1. A CPU comes out
 * of reset in real mode at offset 0xfff0 of it, with a code segment that
 * begins where the ROM does, so offsets into the file are offsets into that
 * segment (section .head is linked at its offset in the file).
 *
 *   .reset   jumps to
 *   .head    loads a GDT of flat segments, turns on protection, and copies
 *   .image   everything else, from the ROM to where it is linked, 1 MiB;
 *            clears .bss, takes a stack, and calls payload_main()
 *
 * The other CPUs are started by payload_main() at ap_start's copy in low
 * memory; each takes a number, the stack of that number, and calls
 * payload_ap_main(number).
 *
 * Interrupts are never enabled and there is no IDT: an exception is a triple
 * fault, which ends a QEMU that was started with -no-reboot.
 *
 * The descriptors have their accessed bit set: a CPU would otherwise write it,
 * and one of the GDTs is in ROM.
 *
 * Limits: ROM and copy are both below 4 GiB and nothing is paged.
 */
#define ROM_BASE        0xffff0000
#define FLAT_CODE       0x08
#define FLAT_DATA       0x10
#define CR0_PE          0x00000001
#define CR0_CACHES_OFF  0x60000000
#define STACK_SHIFT     12

    .code16
    .section .reset, "ax"
    cli
    jmp     head16
    .balign 16, 0x90

    .section .head, "ax"
    .globl  head16
head16:
    cld
    lgdtl   %cs:rom_gdt_pointer
    movl    %cr0, %eax
    andl    $~CR0_CACHES_OFF, %eax
    orl     $CR0_PE, %eax
    movl    %eax, %cr0
    ljmpl   $FLAT_CODE, $(ROM_BASE + head32)

    .code32
head32:
    movl    $FLAT_DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    $ROM_BASE, %esi
    movl    $image_begin, %edi
    movl    $image_words, %ecx
    rep movsl
    movl    $bss_begin, %edi
    movl    $bss_words, %ecx
    xorl    %eax, %eax
    rep stosl
    movl    $image32, %eax
    jmp     *%eax

    .balign 8
rom_gdt_pointer:
    .word   3 * 8 - 1
    .long   ROM_BASE + rom_gdt
    .balign 8
rom_gdt:
    .quad   0
    .quad   0x00cf9b000000ffff
    .quad   0x00cf93000000ffff

    .section .text.image32, "ax"
image32:
    lgdtl   gdt_pointer
    ljmpl   $FLAT_CODE, $1f
1:  movl    $(stacks + (1 << STACK_SHIFT)), %esp
    xorl    %ebp, %ebp
    call    payload_main
2:  hlt
    jmp     2b

ap32:
    movl    $FLAT_DATA, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    movl    $1, %eax
    lock xaddl %eax, ap_next
    cmpl    $stack_count, %eax
    jae     2b
    movl    %eax, %edx
    incl    %edx
    shll    $STACK_SHIFT, %edx
    leal    stacks(%edx), %esp
    xorl    %ebp, %ebp
    pushl   %eax
    call    payload_ap_main
3:  hlt
    jmp     3b

    /* Copied to a page below 1 MiB, which a SIPI then names. */
    .globl  ap_start, ap_end
    .code16
    .section .rodata.ap, "a"
ap_start:
    cli
    lgdtl   %cs:(ap_gdt_pointer - ap_start)
    movl    %cr0, %eax
    andl    $~CR0_CACHES_OFF, %eax
    orl     $CR0_PE, %eax
    movl    %eax, %cr0
    ljmpl   $FLAT_CODE, $ap32
    .balign 4
ap_gdt_pointer:
    .word   3 * 8 - 1
    .long   gdt
ap_end:

    .section .data.gdt, "aw"
    .balign 8
gdt:
    .quad   0
    .quad   0x00cf9b000000ffff
    .quad   0x00cf93000000ffff
gdt_pointer:
    .word   3 * 8 - 1
    .long   gdt
    .balign 4
ap_next:
    .long   1

    .section .bss.stacks, "aw", @nobits
    .balign 4096
    .set    stack_count, 32
stacks:
    .skip   stack_count << STACK_SHIFT

    .section .note.GNU-stack, "", @progbits
