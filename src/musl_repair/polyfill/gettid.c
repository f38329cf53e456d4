/* pid_t gettid(void): the calling thread's id. Source: gettid(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/syscall.h>
#include <unistd.h>

EXPORT pid_t gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}
