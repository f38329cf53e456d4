#include "harness.h"

const long newer[] = {SYS_membarrier, -1};

static void run(void *function, int old_kernel)
{
	int (*membarrier_)(int, int) = (int (*)(int, int))function;
	(void)old_kernel;
	record("what there is", membarrier_(0, 0));
	record("all", membarrier_(1, 0));
	record("registration", membarrier_(1 << 4, 0));
	if (!old_kernel) /* there musl's differs: see functions.json */
		record("expedited", membarrier_(1 << 3, 0));
	record("unknown command", membarrier_(1 << 29, 0));
	for (int flag = 1; flag < 1 << 30; flag *= 2)
		record("unknown flag", membarrier_(1, flag));
}
