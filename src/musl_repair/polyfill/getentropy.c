/* int getentropy(void *, size_t): up to 256 random bytes, all or none.
 * Source: POSIX.1-2024, getentropy; getentropy(3). */
#define _GNU_SOURCE
#include "polyfill.h"
#include "random.h"

EXPORT int getentropy(void *buffer, size_t size)
{
	if (size > 256) {
		errno = EIO;
		return -1;
	}
	for (char *at = buffer; size;) {
		ssize_t got = random_bytes(at, size, 0);
		if (got < 0 && errno != EINTR)
			return -1;
		if (got > 0) {
			at += got;
			size -= (size_t)got;
		}
	}
	return 0;
}
