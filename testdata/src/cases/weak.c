/* An extension module that calls a function if there is one, as code for several C libraries does. */

__attribute__((weak)) void nobody_has_this(void);

void *PyInit__ext(void);
void *PyInit__ext(void)
{
    if (nobody_has_this)
        nobody_has_this();
    return 0;
}
