#include "harness.h"

const long newer[] = {SYS_copy_file_range, -1};

typedef ssize_t function_type(int, off_t *, int, off_t *, size_t, unsigned);

static void run(void *function, int old_kernel)
{
	function_type *copy = (function_type *)function;
	static char data[50000], back[50000];
	int from = open("from", O_CREAT | O_TRUNC | O_RDWR, 0600), to = open("to", O_CREAT | O_TRUNC | O_RDWR, 0600);
	(void)old_kernel;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)draw();
	CHECK(write(from, data, sizeof data) == sizeof data);
	CHECK(pwrite(from, data, 100, 5000000000) == 100);
	for (int i = 0; i < 300; i++) {
		off_t out = draw() % 60000, in = i % 7 ? draw() % 60000 : 5000000000, start = in;
		lseek(from, (off_t)(draw() % 60000), SEEK_SET);
		lseek(to, (off_t)(draw() % 60000), SEEK_SET);
		size_t size = draw() % 3000;
		long done = record("copied", copy(from, i % 3 ? &in : NULL, to, i % 2 ? &out : NULL, size, 0));
		record("in", (long)(in - start));
		record("out", (long)out);
		record("from at", (long)lseek(from, 0, SEEK_CUR));
		record("to at", (long)lseek(to, 0, SEEK_CUR));
		if (i % 3 && i % 2 && done > 0) {
			CHECK(in == start + done && pread(to, back, (size_t)done, out - done) == done);
			if (start + done <= 50000)
				CHECK(!memcmp(back, data + start, (size_t)done));
		}
	}
	off_t negative = -5, zero = 0;
	record("flags", copy(from, NULL, to, NULL, 10, 1));
	record("negative", copy(from, &negative, to, NULL, 10, 0));
	record("no file", copy(-1, &zero, to, NULL, 10, 0));
	record("no memory", copy(from, (off_t *)1, to, NULL, 10, 0));
	record("itself", copy(from, &zero, from, &zero, 10, 0));
	close(from);
	close(to);
}
