/* int renameat2(int, const char *, int, const char *, unsigned): rename, with flags. Source: rename(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int renameat2(int old_folder, const char *old, int new_folder, const char *new, unsigned flags)
{
	if (!flags)
		return renameat(old_folder, old, new_folder, new);
	return (int)syscall(SYS_renameat2, old_folder, old, new_folder, new, flags);
}
