/* int sched_getcpu(void): the processor that the calling thread runs on. Source: sched_getcpu(3), getcpu(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int sched_getcpu(void)
{
	unsigned processor;
	return syscall(SYS_getcpu, &processor, NULL, NULL) ? -1 : (int)processor;
}
