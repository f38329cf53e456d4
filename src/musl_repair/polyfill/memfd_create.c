/* int memfd_create(const char *, unsigned): a file that is in memory only. Source: memfd_create(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int memfd_create(const char *name, unsigned flags)
{
	return (int)syscall(SYS_memfd_create, name, flags);
}
