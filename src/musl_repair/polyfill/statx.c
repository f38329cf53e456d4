/* int statx(int, const char *, int, unsigned, struct statx *): what the kernel knows of a file.
 * Source: statx(2), stat(2).
 *
 * The kernel has it since 4.11. On an older one the basic fields come from fstatat, asked by the system call and into
 * the kernel's own structure: on 32-bit architectures musl's fstatat changed with musl 1.2.0. */
#define _GNU_SOURCE
#include "polyfill.h"
#include <asm/stat.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifdef SYS_newfstatat
typedef struct stat kernel_stat;
enum { FSTATAT = SYS_newfstatat };
#else
typedef struct stat64 kernel_stat;
enum { FSTATAT = SYS_fstatat64 };
#endif

/* Seconds are signed, though some of the kernel's structures have them in unsigned fields. */
#define TIMESTAMP(of, name) \
	((struct statx_timestamp){.tv_sec = (long)(of)->name, .tv_nsec = (unsigned)(of)->name##_nsec})

static int fallback(int folder, const char *path, int flags, struct statx *result)
{
	kernel_stat got;
	if (syscall(FSTATAT, folder, path, &got, flags))
		return -1;
	*result = (struct statx){
		.stx_mask = STATX_BASIC_STATS,
		.stx_blksize = (unsigned)got.st_blksize,
		.stx_nlink = (unsigned)got.st_nlink,
		.stx_uid = got.st_uid,
		.stx_gid = got.st_gid,
		.stx_mode = (unsigned short)got.st_mode,
		.stx_ino = got.st_ino,
		.stx_size = (unsigned long long)got.st_size,
		.stx_blocks = (unsigned long long)got.st_blocks,
		.stx_atime = TIMESTAMP(&got, st_atime),
		.stx_ctime = TIMESTAMP(&got, st_ctime),
		.stx_mtime = TIMESTAMP(&got, st_mtime),
		.stx_rdev_major = (unsigned)major(got.st_rdev),
		.stx_rdev_minor = (unsigned)minor(got.st_rdev),
		.stx_dev_major = (unsigned)major(got.st_dev),
		.stx_dev_minor = (unsigned)minor(got.st_dev),
	};
	return 0;
}

EXPORT int statx(int folder, const char *restrict path, int flags, unsigned mask, struct statx *restrict result)
{
	int before = errno;
	int status = (int)syscall(SYS_statx, folder, path, flags, mask, result);
	if (!status || errno != ENOSYS)
		return status;
	int sync = flags & AT_STATX_SYNC_TYPE;
	if (mask & STATX__RESERVED || sync == AT_STATX_SYNC_TYPE) {
		errno = EINVAL;
		return -1;
	}
	errno = before;
	return fallback(folder, path, flags & ~AT_STATX_SYNC_TYPE, result);
}
