/* A test of one polyfill: PROGRAM LIBRARY FUNCTION [old-kernel], in an empty folder that it may fill.
 *
 * The function is exercised by `run` once as the library has it, once as libc has it (where it does), and what `run`
 * records must be the same. The record is printed, so that it can be compared between releases of musl too. What is
 * known beforehand is checked at once. With old-kernel the system calls in `newer` fail with ENOSYS, as on a kernel
 * that lacks them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static void run(void *function, int old_kernel);
extern const long newer[]; /* ends with -1 */

static char *log_text;
static size_t log_size;
static FILE *log_file;
static uint32_t seed;
static int is_ours; /* whether `run` has the library's function, not libc's */
static int incomparable; /* set by `run` where the two are known to differ: see functions.json */

#define CHECK(true) ((true) ? (void)0 : fail(__LINE__, #true))

static void fail(int line, const char *text)
{
	printf("line %d: not so: %s (errno %d)\n", line, text, errno);
	exit(1);
}

/* Record a result, and errno with it where the result is a failure. */
__attribute__((unused)) static long record(const char *what, long result)
{
	fprintf(log_file, "%s: %ld", what, result);
	if (result == -1)
		fprintf(log_file, " %s", strerror(errno));
	fputc('\n', log_file);
	errno = 0;
	return result;
}

__attribute__((unused)) static uint32_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void deny(long number)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	CHECK(syscall(number, -1L, 0L, 0L, 0L, 0L, 0L) == -1 && errno == ENOSYS);
}

static char *record_of(void *function, int old_kernel)
{
	log_file = open_memstream(&log_text, &log_size);
	seed = 2463534242u;
	errno = 0;
	run(function, old_kernel);
	fclose(log_file);
	return log_text;
}

int main(int count, char **arguments)
{
	CHECK(count >= 3);
	int old_kernel = count > 3;
	void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		puts(dlerror());
	CHECK(library);
	void *ours = dlsym(library, arguments[2]), *theirs = dlsym(RTLD_DEFAULT, arguments[2]);
	Dl_info where;
	CHECK(ours && ours != theirs && dladdr(ours, &where) && !strcmp(where.dli_fname, arguments[1]));
	for (int i = 0; old_kernel && newer[i] >= 0; i++)
		deny(newer[i]);
	is_ours = 1;
	char *first = record_of(ours, old_kernel);
	is_ours = 0;
	if (theirs && !incomparable) {
		char *second = record_of(theirs, old_kernel);
		if (strcmp(first, second)) {
			printf("not as libc:\n%s\nlibc:\n%s", first, second);
			return 1;
		}
	}
	puts(theirs && !incomparable ? "compared with libc" : "not compared with libc");
	fputs(first, stdout);
	return 0;
}
