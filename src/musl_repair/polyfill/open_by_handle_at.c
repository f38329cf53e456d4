/* int open_by_handle_at(int, struct file_handle *, int): open what name_to_handle_at named.
 * Source: open_by_handle_at(2). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

EXPORT int open_by_handle_at(int mount, struct file_handle *handle, int flags)
{
	return (int)syscall(SYS_open_by_handle_at, mount, handle, flags);
}
