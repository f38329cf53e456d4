#include "harness.h"

const long newer[] = {SYS_getrandom, -1};

static void run(void *function, int old_kernel)
{
	ssize_t (*getrandom_)(void *, size_t, unsigned) = (ssize_t(*)(void *, size_t, unsigned))function;
	static unsigned char buffer[5000], other[5000];
	incomparable = old_kernel;
	for (size_t size = 0; size < sizeof buffer; size += 1 + size / 5)
		for (unsigned flags = 0; flags < 5; flags += flags ? 3 : 1) {
			memset(buffer, 0, sizeof buffer);
			memset(other, 0, sizeof other);
			errno = 77;
			CHECK(record("got", getrandom_(buffer, size, flags)) == (long)size && errno == 0);
			CHECK(getrandom_(other, size, flags) == (ssize_t)size && (size < 16 || memcmp(buffer, other, size)));
			for (size_t k = size; k < sizeof buffer; k++)
				CHECK(!buffer[k]);
		}
	long some = getrandom_(buffer, 16, 2);
	CHECK(some > 0 && some <= 16);
	record("unknown flag", getrandom_(buffer, 16, 8));
	record("contradiction", getrandom_(buffer, 16, 6));
	record("no memory", getrandom_((void *)1, 16, 0));
}
