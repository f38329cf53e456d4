/* An extension module with a function that the loader is to choose. Assembly, because the compiler knows that musl does
 * not do that, and refuses. */

__asm__(".text\n"
        ".global ifunc_chosen\n"
        ".type ifunc_chosen, @gnu_indirect_function\n"
        "ifunc_chosen:\n"
        "lea ifunc_plain(%rip), %rax\n"
        "ret\n"
        ".size ifunc_chosen, .-ifunc_chosen\n");

__attribute__((visibility("hidden"), used)) void ifunc_plain(void);
void ifunc_plain(void) {}

void ifunc_chosen(void);

void *PyInit__ext(void);
void *PyInit__ext(void)
{
    ifunc_chosen();
    return 0;
}
