/* ssize_t preadv2(int, const struct iovec *, int, off_t, int): read into several buffers, with flags.
 * Source: preadv2(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

EXPORT ssize_t preadv2(int file, const struct iovec *parts, int count, off_t offset, int flags)
{
	if (flags) {
		/* The kernel takes the offset as two longs on every architecture, the low half first. */
		long low = (long)offset, high = (long)(offset >> 32);
		return syscall(SYS_preadv2, (long)file, parts, (long)count, low, high, flags);
	}
	return offset == -1 ? readv(file, parts, count) : preadv(file, parts, count, offset);
}
