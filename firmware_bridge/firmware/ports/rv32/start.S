# Start-up of RV32: the stack, empty memory, and the one interrupt that is ever taken, a power cut.
    .section .text.start, "ax"
    .globl start
start:
    la      sp, port_stack_top
    la      t0, trap
    csrw    mtvec, t0
    la      t0, image_bss
    la      t1, image_bss_end
1:  bgeu    t0, t1, 2f
    sw      zero, 0(t0)
    addi    t0, t0, 4
    j       1b
2:  call    main
    call    semihost_exit

# What was interrupted is not gone back to: as if the power came back, with an empty stack.
    .align  2
trap:
    csrr    t0, mcause
    bgez    t0, 3f
    la      sp, port_stack_top
    call    port_cut_never
    la      t0, port_after_cut
    csrw    mepc, t0
    li      t0, 0x1880          # back to machine mode, with interrupts on
    csrs    mstatus, t0
    mret
3:  li      a0, 99
    call    semihost_exit

# The three instructions that a debugger or an emulator knows; none may be compressed.
    .globl port_semihost
    .align  4
    .option push
    .option norvc
port_semihost:
    slli    x0, x0, 0x1f
    ebreak
    srai    x0, x0, 7
    ret
    .option pop
