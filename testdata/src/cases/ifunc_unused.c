/* An extension module that exports a function that the loader is to choose, and does not call it. Assembly, because the
 * compiler knows that musl does not do that, and refuses. */

__asm__(".text\n"
        ".global ifunc_unused\n"
        ".type ifunc_unused, @gnu_indirect_function\n"
        "ifunc_unused:\n"
        "lea ifunc_plain(%rip), %rax\n"
        "ret\n"
        ".size ifunc_unused, .-ifunc_unused\n");

__attribute__((visibility("hidden"), used)) void ifunc_plain(void);
void ifunc_plain(void) {}

void *PyInit__ext(void);
void *PyInit__ext(void)
{
    return 0;
}
