/* ssize_t posix_getdents(int, void *, size_t, int): a folder's entries. Source: POSIX.1-2024, posix_getdents. */
#define _GNU_SOURCE
#include "polyfill.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/types.h>

EXPORT ssize_t posix_getdents(int file, void *buffer, size_t size, int flags)
{
	if (flags) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return getdents(file, buffer, size > INT_MAX ? INT_MAX : size);
}
