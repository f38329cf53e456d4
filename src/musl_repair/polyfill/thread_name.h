/* The name of another thread, by way of /proc: prctl only knows the calling thread's.
 * Source: proc_pid_comm(5), pthread_getcpuclockid(3). */
#ifndef THREAD_NAME_H
#define THREAD_NAME_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NAME_SIZE = 16 }; /* the kernel's TASK_COMM_LEN, with the NUL */

/* Give a thread's id in the kernel. No older musl tells it, but the number of a thread's processor clock is made of it
 * by the kernel's rule for such clocks: all but the lowest three bits are the complement of the id. */
static inline int thread_id(pthread_t thread, pid_t *id)
{
	clockid_t clock;
	int error = pthread_getcpuclockid(thread, &clock);
	if (!error)
		*id = ~(clock >> 3);
	return error;
}

/* Open the file of a thread's name; -1 with errno. By plain system calls: the callers are no cancellation points. */
static inline int open_name(pid_t id, int flags)
{
	static const char before[] = "/proc/self/task/", after[] = "/comm";
	char path[sizeof before + sizeof after + 3 * sizeof id];
	char digits[3 * sizeof id];
	unsigned rest = (unsigned)id, count = 0;
	char *end = path;
	for (const char *from = before; *from; from++)
		*end++ = *from;
	do
		digits[count++] = (char)('0' + rest % 10);
	while (rest /= 10);
	while (count)
		*end++ = digits[--count];
	for (const char *from = after; *from; from++)
		*end++ = *from;
	*end = 0;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

#endif
