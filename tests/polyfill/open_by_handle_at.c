#include "harness.h"
#include "handle.h"

const long newer[] = {SYS_open_by_handle_at, -1};

static void run(void *function, int old_kernel)
{
	int (*function_)(int, void *, int) = (int (*)(int, void *, int))function;
	struct handle handle = {.size = 128};
	int mount = 0, file = open("file", O_CREAT | O_RDWR, 0600), here = open(".", O_RDONLY | O_DIRECTORY);
	(void)old_kernel;
	CHECK(write(file, "abc", 3) == 3);
	int known = (int)syscall(SYS_name_to_handle_at, AT_FDCWD, "file", &handle, &mount, 0);
	record("known", known);
	int again = function_(here, &handle, O_RDONLY);
	record("opened", again < 0 ? -1 : 0);
	char back[4] = "";
	if (again >= 0)
		CHECK(read(again, back, 3) == 3 && !strcmp(back, "abc"));
	close(again);
	record("no folder", function_(-1, &handle, O_RDONLY));
	record("no memory", function_(here, NULL, O_RDONLY));
	for (unsigned size = 0; size < 256; size++) {
		struct handle wrong = {.size = size};
		int opened = function_(here, &wrong, O_RDONLY);
		record("wrong", opened < 0 ? -1 : 0);
		close(opened);
	}
	close(file);
	close(here);
}
