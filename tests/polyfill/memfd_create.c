#include "harness.h"
#include <sys/stat.h>

const long newer[] = {SYS_memfd_create, -1};

static void run(void *function, int old_kernel)
{
	int (*memfd_create_)(const char *, unsigned) = (int (*)(const char *, unsigned))function;
	char name[300];
	(void)old_kernel;
	for (size_t length = 0; length < 299; length += 1 + length / 9 * (length < 240)) {
		memset(name, 'n', length);
		name[length] = 0;
		for (unsigned flags = 0; flags < 4; flags++) {
			int file = memfd_create_(name, flags);
			record("made", file < 0 ? -1 : 0);
			if (file < 0)
				continue;
			char back[4] = "";
			record("flags", fcntl(file, F_GETFD));
			record("seals", fcntl(file, F_GET_SEALS));
			CHECK(write(file, "abc", 3) == 3 && pread(file, back, 3, 0) == 3 && !strcmp(back, "abc"));
			close(file);
		}
	}
	record("unknown flag", memfd_create_("x", 1u << 25));
	record("no memory", memfd_create_((const char *)1, 0));
}
