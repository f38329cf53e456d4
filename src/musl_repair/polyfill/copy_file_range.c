/* ssize_t copy_file_range(int, off_t *, int, off_t *, size_t, unsigned): copy inside the kernel.
 * Source: copy_file_range(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/types.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags)
{
	return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}
