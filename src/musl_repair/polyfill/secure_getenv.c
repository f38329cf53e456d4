/* char *secure_getenv(const char *): getenv, but NULL where the program has more rights than its caller.
 * Source: secure_getenv(3). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <stdlib.h>
#include <sys/auxv.h>

EXPORT char *secure_getenv(const char *name)
{
	return getauxval(AT_SECURE) ? NULL : getenv(name);
}
