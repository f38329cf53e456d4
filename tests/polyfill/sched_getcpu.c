#include "harness.h"
#include <sched.h>

const long newer[] = {-1};

static void run(void *function, int old_kernel)
{
	int (*sched_getcpu_)(void) = (int (*)(void))function;
	cpu_set_t before;
	(void)old_kernel;
	CHECK(!sched_getaffinity(0, sizeof before, &before));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &before))
			continue;
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		CHECK(!sched_setaffinity(0, sizeof one, &one));
		CHECK(record("runs on", sched_getcpu_()) == cpu);
	}
	CHECK(!sched_setaffinity(0, sizeof before, &before));
}
