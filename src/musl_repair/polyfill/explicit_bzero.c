/* void explicit_bzero(void *, size_t): clear memory, also where nothing reads it afterwards. Source: bzero(3). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <string.h>

EXPORT void explicit_bzero(void *memory, size_t size)
{
	memset(memory, 0, size);
	__asm__ volatile("" : : "r"(memory) : "memory");
}
