#include "harness.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

const long newer[] = {SYS_statx, -1};

typedef int function_type(int, const char *, int, unsigned, struct statx *);

static int old;

static void compare(const struct statx *x, const struct stat *st)
{
	CHECK((x->stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	CHECK(x->stx_mode == st->st_mode && x->stx_nlink == st->st_nlink && x->stx_uid == st->st_uid);
	CHECK(x->stx_gid == st->st_gid && x->stx_ino == st->st_ino && x->stx_size == (uint64_t)st->st_size);
	CHECK(x->stx_blocks == (uint64_t)st->st_blocks && x->stx_blksize == (uint32_t)st->st_blksize);
	CHECK(x->stx_atime.tv_sec == st->st_atim.tv_sec && x->stx_atime.tv_nsec == (uint32_t)st->st_atim.tv_nsec);
	CHECK(x->stx_mtime.tv_sec == st->st_mtim.tv_sec && x->stx_mtime.tv_nsec == (uint32_t)st->st_mtim.tv_nsec);
	CHECK(x->stx_ctime.tv_sec == st->st_ctim.tv_sec && x->stx_ctime.tv_nsec == (uint32_t)st->st_ctim.tv_nsec);
	CHECK(x->stx_dev_major == major(st->st_dev) && x->stx_dev_minor == minor(st->st_dev));
	/* On an old kernel musl leaves these empty. */
	if (!old || is_ours)
		CHECK(x->stx_rdev_major == major(st->st_rdev) && x->stx_rdev_minor == minor(st->st_rdev));
}

static void one(function_type *statx_, int folder, const char *path, int flags)
{
	struct statx x;
	struct stat st;
	memset(&x, 0x55, sizeof x);
	int status = statx_(folder, path, flags, STATX_BASIC_STATS, &x);
	record(path, status);
	if (!status && !fstatat(folder, path, &st, flags & ~0x6000)) {
		compare(&x, &st);
		fprintf(log_file, "%o %lld\n", x.stx_mode, S_ISREG(st.st_mode) ? (long long)x.stx_mtime.tv_sec : 0);
	}
}

static void run(void *function, int old_kernel)
{
	function_type *statx_ = (function_type *)function;
	old = old_kernel;
	static const char *const paths[] = {
		"file", "folder", "link", "dangling", "pipe", "/dev/null", "/dev/tty", "missing", "file/below", "", ".",
		"/proc/self", "loop",
	};
	int file = open("file", O_CREAT | O_RDWR, 0640), here = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(file >= 0 && here >= 0 && !ftruncate(file, 5000000000));
	mkdir("folder", 0751);
	mkfifo("pipe", 0600);
	(void)!symlink("file", "link");
	(void)!symlink("missing", "dangling");
	(void)!symlink("loop", "loop");
	static const long long times[] = {0, 1, 1000000000, 2147483647, -1, -100000};
	for (size_t t = 0; t < sizeof times / sizeof *times; t++) {
		struct timespec at[2] = {{.tv_sec = times[t], .tv_nsec = 123456789}, {.tv_sec = times[t], .tv_nsec = 999999999}};
		CHECK(!utimensat(AT_FDCWD, "file", at, 0));
		for (size_t p = 0; p < sizeof paths / sizeof *paths; p++) {
			one(statx_, AT_FDCWD, paths[p], 0);
			one(statx_, here, paths[p], AT_SYMLINK_NOFOLLOW);
			one(statx_, -1, paths[p], 0);
			one(statx_, file, paths[p], AT_NO_AUTOMOUNT);
			one(statx_, file, paths[p], AT_EMPTY_PATH);
		}
	}
	struct statx x;
	record("unknown flag", statx_(here, "file", 1 << 29, STATX_BASIC_STATS, &x));
	if (!old_kernel) { /* else it is not the kernel that reads and writes */
		record("no path", statx_(here, (const char *)1, 0, STATX_BASIC_STATS, &x));
		record("no memory", statx_(here, "file", 0, STATX_BASIC_STATS, (struct statx *)1));
	}
	if (!old_kernel || is_ours) {
		/* On an old kernel musl's differs: see functions.json. */
		CHECK(!statx_(here, "file", 0x2000, STATX_BASIC_STATS, &x) && !statx_(here, "file", 0x4000, 0, &x));
		CHECK(statx_(here, "file", 0x6000, STATX_BASIC_STATS, &x) == -1 && errno == EINVAL);
		CHECK(statx_(here, "file", 0, 0x80000000u, &x) == -1 && errno == EINVAL);
		errno = 77;
		CHECK(!statx_(here, "file", 0, STATX_BASIC_STATS, &x) && errno == 77);
	}
	close(file);
	close(here);
}
