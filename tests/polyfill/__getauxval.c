#include "harness.h"
#include <sys/auxv.h>

const long newer[] = {-1};

static void run(void *function, int old_kernel)
{
	unsigned long (*getauxval_)(unsigned long) = (unsigned long (*)(unsigned long))function;
	(void)old_kernel;
	for (unsigned long type = 0; type < 100; type++) {
		errno = 0;
		unsigned long value = getauxval(type);
		int error = errno;
		errno = 0;
		CHECK(getauxval_(type) == value && errno == error);
		record("known", !error);
	}
}
