/* int mlock2(const void *, size_t, unsigned): keep memory from being swapped out, with flags. Source: mlock(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int mlock2(const void *memory, size_t size, unsigned flags)
{
	return flags ? (int)syscall(SYS_mlock2, memory, size, flags) : mlock(memory, size);
}
