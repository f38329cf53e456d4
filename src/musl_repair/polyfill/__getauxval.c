/* unsigned long __getauxval(unsigned long): glibc's second name for getauxval, which GCC's libgcc calls on aarch64.
 * Source: getauxval(3). */
#include "polyfill.h"
#include <sys/auxv.h>

EXPORT unsigned long __getauxval(unsigned long type)
{
	return getauxval(type);
}
