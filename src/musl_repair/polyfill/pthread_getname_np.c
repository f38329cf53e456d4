/* int pthread_getname_np(pthread_t, char *, size_t): the name of a thread. Source: pthread_setname_np(3). */
#define _GNU_SOURCE
#include "polyfill.h"
#include "thread_name.h"
#include <sys/prctl.h>

EXPORT int pthread_getname_np(pthread_t thread, char *name, size_t size)
{
	if (size < NAME_SIZE)
		return ERANGE;
	if (pthread_equal(thread, pthread_self()))
		return prctl(PR_GET_NAME, (unsigned long)name, 0UL, 0UL, 0UL) ? errno : 0;

	pid_t id;
	int error = thread_id(thread, &id);
	if (error)
		return error;
	int file = open_name(id, O_RDONLY);
	if (file < 0)
		return errno;
	long length = syscall(SYS_read, file, name, size);
	if (length < 0)
		error = errno;
	else
		name[length ? length - 1 : 0] = 0; /* in place of the newline */
	syscall(SYS_close, file);
	return error;
}
