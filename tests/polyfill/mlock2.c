#include "harness.h"
#include <sys/mman.h>

const long newer[] = {SYS_mlock2, -1};

static void run(void *function, int old_kernel)
{
	int (*mlock2_)(const void *, size_t, unsigned) = (int (*)(const void *, size_t, unsigned))function;
	char *memory = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	(void)old_kernel;
	for (unsigned flags = 0; flags < 4; flags++) {
		record("whole", mlock2_(memory, 0x10000, flags));
		record("part", mlock2_(memory + 5, 100, flags));
		record("nothing", mlock2_(memory, 0, flags));
		munlock(memory, 0x10000);
	}
	munmap(memory, 0x10000);
	record("unmapped", mlock2_(memory, 0x1000, 0));
	record("unmapped, on fault", mlock2_(memory, 0x1000, 1));
}
