#include "harness.h"

const long newer[] = {-1};

static void run(void *function, int old_kernel)
{
	void (*explicit_bzero_)(void *, size_t) = (void (*)(void *, size_t))function;
	unsigned char data[600];
	(void)old_kernel;
	for (int i = 0; i < 2000; i++) {
		size_t from = draw() % 300, size = draw() % 300;
		memset(data, 0xff, sizeof data);
		explicit_bzero_(data + from, size);
		for (size_t k = 0; k < sizeof data; k++)
			CHECK(data[k] == (k >= from && k < from + size ? 0 : 0xff));
	}
	record("done", 0);
}
