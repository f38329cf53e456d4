/* void *reallocarray(void *, size_t, size_t): realloc for a number of elements. Source: POSIX.1-2024, realloc. */
#include "polyfill.h"
#include <errno.h>
#include <stdlib.h>

EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, total);
}
