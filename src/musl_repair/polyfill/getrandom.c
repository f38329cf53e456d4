/* ssize_t getrandom(void *, size_t, unsigned): random bytes. Source: getrandom(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include "random.h"

EXPORT ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
	return random_bytes(buffer, size, flags);
}
