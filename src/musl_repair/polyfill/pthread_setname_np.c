/* int pthread_setname_np(pthread_t, const char *): name a thread. Source: pthread_setname_np(3). */
#define _GNU_SOURCE
#include "polyfill.h"
#include "thread_name.h"
#include <string.h>
#include <sys/prctl.h>

EXPORT int pthread_setname_np(pthread_t thread, const char *name)
{
	size_t length = strnlen(name, NAME_SIZE);
	if (length == NAME_SIZE)
		return ERANGE;
	if (pthread_equal(thread, pthread_self()))
		return prctl(PR_SET_NAME, (unsigned long)name, 0UL, 0UL, 0UL) ? errno : 0;

	pid_t id;
	int error = thread_id(thread, &id);
	if (error)
		return error;
	int file = open_name(id, O_WRONLY);
	if (file < 0)
		return errno;
	if (syscall(SYS_write, file, name, length) < 0)
		error = errno;
	syscall(SYS_close, file);
	return error;
}
