/* int membarrier(int, int): a memory barrier on other processors. Source: membarrier(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int membarrier(int command, int flags)
{
	return (int)syscall(SYS_membarrier, command, flags);
}
