/* A stub of musl's libc: the names that the fixtures bind to, and no code behind them.
 *
 * It is what the fixtures are linked against, and it stands for the loader in the demo sysroots.
 * Nothing ever runs it. The two names by which musl's loader knows a second libc are here
 * (ldso/dynlink.c load_library: __libc_start_main, stdin), and so are names that came with musl
 * 1.2.2 (gettid), 1.2.3 (qsort_r) and 1.2.5 (preadv2, pwritev2, statx) and none that came later:
 * whoever dates this libc by its exports must find 1.2.5.
 */

#define STUB(name) void name(void); void name(void) {}

char **environ;
void *stdin;
void *stdout;
void *stderr;

STUB(__libc_start_main)
STUB(dlopen)
STUB(dlsym)
STUB(exit)
STUB(free)
STUB(getenv)
STUB(gettid)
STUB(malloc)
STUB(memcpy)
STUB(memset)
STUB(preadv2)
STUB(printf)
STUB(puts)
STUB(pwritev2)
STUB(qsort_r)
STUB(statx)
STUB(strlen)

/* What a thread-local variable in the general-dynamic model calls, which the architectures spell differently. */
STUB(__tls_get_addr)
#if defined(__i386__)
STUB(___tls_get_addr)
#elif defined(__s390x__)
STUB(__tls_get_offset)
#endif

/* The 32-bit architectures older than 1.2.0 got new names when time_t became 64 bits wide. */
#if defined(__i386__) || defined(__arm__)
STUB(__clock_gettime64)
STUB(__dlsym_time64)
#endif
