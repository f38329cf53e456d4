#include "harness.h"

const long newer[] = {SYS_getrandom, -1};

static void run(void *function, int old_kernel)
{
	int (*getentropy_)(void *, size_t) = (int (*)(void *, size_t))function;
	unsigned char buffer[300], other[300];
	incomparable = old_kernel;
	for (size_t size = 0; size < sizeof buffer; size++) {
		memset(buffer, 0, sizeof buffer);
		memset(other, 0, sizeof other);
		record("got", getentropy_(buffer, size));
		CHECK(getentropy_(other, size) == (size > 256 ? -1 : 0));
		CHECK(size < 16 || size > 256 || memcmp(buffer, other, size));
		for (size_t k = size > 256 ? 0 : size; k < sizeof buffer; k++)
			CHECK(!buffer[k]);
	}
	record("no memory", getentropy_((void *)1, 16));
	record("far too much", getentropy_(buffer, (size_t)-1));
}
