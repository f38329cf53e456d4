/* An extension module that is marked as needing x86-64-v3, as -march=x86-64-v3 -z x86-64-v3 of GNU's tools mark it.
 * The section is not called .note.gnu.property: lld throws those away. */

__asm__(".section .note.isa, \"a\", @note\n"
        ".balign 8\n"
        ".long 4, 16, 5\n" /* sizes of name and content; NT_GNU_PROPERTY_TYPE_0 */
        ".asciz \"GNU\"\n"
        ".long 0xc0008002, 4, 4, 0\n" /* GNU_PROPERTY_X86_ISA_1_NEEDED: GNU_PROPERTY_X86_ISA_1_V3 */
        ".text\n");

void *PyInit__ext(void);
void *PyInit__ext(void) { return 0; }
