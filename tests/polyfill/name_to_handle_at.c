#include "harness.h"
#include "handle.h"

const long newer[] = {SYS_name_to_handle_at, -1};

static void run(void *function, int old_kernel)
{
	int (*function_)(int, const char *, void *, int *, int) = (int (*)(int, const char *, void *, int *, int))function;
	static const char *const names[] = {"file", "missing", ".", "", "/", "/dev/null", "/proc/self"};
	int mount = 0;
	(void)old_kernel;
	close(open("file", O_CREAT | O_RDWR, 0600));
	for (size_t n = 0; n < sizeof names / sizeof *names; n++)
		for (unsigned size = 0; size <= 256; size = size ? 2 * size : 1)
			for (int flag = 0; flag <= 0x1000; flag = flag ? 2 * flag : 0x100) {
				struct handle handle = {.size = size};
				record(names[n], function_(AT_FDCWD, names[n], &handle, &mount, flag));
				record("size", handle.size);
				record("type", handle.type);
			}
	struct handle handle = {.size = 128};
	record("no file", function_(-1, "file", &handle, &mount, 0));
	record("no memory", function_(AT_FDCWD, "file", NULL, &mount, 0));
}
