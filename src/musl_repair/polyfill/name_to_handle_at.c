/* int name_to_handle_at(int, const char *, struct file_handle *, int *, int): a lasting name of a file.
 * Source: open_by_handle_at(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int name_to_handle_at(int folder, const char *path, struct file_handle *handle, int *mount, int flags)
{
	return (int)syscall(SYS_name_to_handle_at, folder, path, handle, mount, flags);
}
