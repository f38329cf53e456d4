/* An extension module whose thread-local variable has a fixed place: there is none for what dlopen loads. */

extern __thread int tls_count;
__thread __attribute__((tls_model("initial-exec"))) int tls_count;

void *PyInit__ext(void);
void *PyInit__ext(void)
{
    tls_count++;
    return 0;
}
