/* Where the loader enters a program: hands the stack that the kernel made to musl, which runs the constructors of
 * all libraries, then main, then exit.
 *
 * Ours, because the fixtures hold no code but ours. The stack pointer at the entry is out of C's reach: hence one
 * paragraph of assembly for each architecture. It passes that pointer as first argument, on an aligned stack.
 */

int main(void);
void __libc_start_main(int (*main)(void), long argc, char **argv, void (*init)(void), void (*fini)(void),
                       void (*loader_fini)(void));

__attribute__((visibility("hidden"), used, noreturn)) void start_with(long *stack);
void start_with(long *stack)
{
    __libc_start_main(main, stack[0], (char **)(stack + 1), 0, 0, 0);
    __builtin_unreachable();
}

#if defined(__arm__)
#define FUNCTION "%function"
#else
#define FUNCTION "@function"
#endif

__asm__(".text\n.global _start\n.type _start, " FUNCTION "\n_start:\n"
#if defined(__x86_64__)
        "xor %ebp, %ebp\n"
        "mov %rsp, %rdi\n"
        "and $-16, %rsp\n"
        "call start_with\n"
#elif defined(__i386__)
        "xor %ebp, %ebp\n"
        "mov %esp, %eax\n"
        "and $-16, %esp\n"
        "sub $12, %esp\n" /* with the argument, 16 bytes: the alignment at a call */
        "push %eax\n"
        "call start_with\n"
#elif defined(__aarch64__)
        "mov x29, #0\n"
        "mov x30, #0\n"
        "mov x0, sp\n"
        "and sp, x0, #-16\n"
        "b start_with\n"
#elif defined(__arm__)
        "mov fp, #0\n"
        "mov lr, #0\n"
        "mov r0, sp\n"
        "bic r1, r0, #15\n"
        "mov sp, r1\n"
        "b start_with\n"
#elif defined(__powerpc64__)
        /* Who jumps here sets r12 to this address; the table of contents (r2) is found from it. */
        "addis 2, 12, .TOC.-_start@ha\n"
        "addi 2, 2, .TOC.-_start@l\n"
        ".localentry _start, .-_start\n"
        "mr 3, 1\n"
        "clrrdi 1, 1, 4\n"
        "li 0, 0\n"
        "stdu 0, -32(1)\n" /* the smallest frame, whose back chain is null */
        "mtlr 0\n"
        "bl start_with\n"
        "nop\n"
#elif defined(__s390x__)
        "lgr %r2, %r15\n"
        "lghi %r0, -16\n"
        "ngr %r15, %r0\n"
        "aghi %r15, -160\n" /* the register save area of the called function */
        "xc 0(8, %r15), 0(%r15)\n"
        "jg start_with\n"
#elif defined(__riscv)
        "mv s0, zero\n"
        "mv ra, zero\n"
        "mv a0, sp\n"
        "andi sp, sp, -16\n"
        "tail start_with\n"
#elif defined(__loongarch__)
        "move $fp, $zero\n"
        "move $ra, $zero\n"
        "move $a0, $sp\n"
        "bstrins.d $sp, $zero, 3, 0\n"
        "b start_with\n"
#else
#error "no entry written for this architecture"
#endif
        ".size _start, .-_start\n");
