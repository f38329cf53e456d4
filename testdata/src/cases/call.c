/* An extension module that calls one function (-DCALLS=name): where that is to come from is the case. */

void CALLS(void);

void *PyInit__ext(void);
void *PyInit__ext(void)
{
    CALLS();
    return 0;
}
