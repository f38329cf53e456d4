/* An extension module with a relocation that asks for a symbol's size: in the ABI, and in no musl. */

__asm__(".data\n"
        ".global size_object\n"
        ".type size_object, @object\n"
        "size_object:\n"
        ".quad size_object@SIZE\n"
        ".size size_object, .-size_object\n");

void *PyInit__ext(void);
void *PyInit__ext(void) { return 0; }
