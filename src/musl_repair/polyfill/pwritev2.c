/* ssize_t pwritev2(int, const struct iovec *, int, off_t, int): write from several buffers, with flags.
 * Source: pwritev2(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

EXPORT ssize_t pwritev2(int file, const struct iovec *parts, int count, off_t offset, int flags)
{
	if (flags) {
		/* The kernel takes the offset as two longs on every architecture, the low half first. */
		long low = (long)offset, high = (long)(offset >> 32);
		return syscall(SYS_pwritev2, (long)file, parts, (long)count, low, high, flags);
	}
	return offset == -1 ? writev(file, parts, count) : pwritev(file, parts, count, offset);
}
