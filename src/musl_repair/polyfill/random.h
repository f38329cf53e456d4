/* Random bytes from the kernel. Source: getrandom(2), random(4). */
#ifndef RANDOM_H
#define RANDOM_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline int open_device(const char *path, int flags)
{
	int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | flags, 0L);
	if (file < 0)
		errno = ENOSYS; /* no way is left: what the system call said */
	return file;
}

/* Wait until the kernel's pool is filled, which /dev/urandom does not do. */
static inline int wait_for_pool(int may_block)
{
	struct pollfd random = {.fd = open_device("/dev/random", 0), .events = POLLIN};
	if (random.fd < 0)
		return -1;
	/* Zero in either layout of struct timespec, and the kernel may write to it; not poll, which newer architectures
	 * lack. */
	struct timespec at_once = {0};
	int ready = (int)syscall(SYS_ppoll, &random, 1, may_block ? NULL : &at_once, NULL, 8UL);
	int error = errno;
	syscall(SYS_close, random.fd);
	errno = ready ? error : EAGAIN;
	return ready > 0 ? 0 : -1;
}

/* For kernels before 3.17, which have no getrandom. */
static inline ssize_t random_from_device(void *buffer, size_t size, unsigned flags)
{
	if (flags & ~(unsigned)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)
	    || (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE)) {
		errno = EINVAL;
		return -1;
	}
	if (!(flags & (GRND_RANDOM | GRND_INSECURE)) && wait_for_pool(!(flags & GRND_NONBLOCK)))
		return -1;
	int nonblock = flags & GRND_NONBLOCK ? O_NONBLOCK : 0;
	int file = flags & GRND_RANDOM ? open_device("/dev/random", nonblock) : open_device("/dev/urandom", 0);
	if (file < 0)
		return -1;
	long got = syscall(SYS_read, file, buffer, size);
	int error = errno;
	syscall(SYS_close, file);
	errno = error;
	return got;
}

static inline ssize_t random_bytes(void *buffer, size_t size, unsigned flags)
{
	int before = errno;
	long got = syscall(SYS_getrandom, buffer, size, flags);
	if (got >= 0 || errno != ENOSYS)
		return got;
	errno = before;
	return random_from_device(buffer, size, flags);
}

#endif
