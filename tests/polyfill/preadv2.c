#include "harness.h"
#include <sys/uio.h>

const long newer[] = {SYS_preadv2, -1};

typedef ssize_t function_type(int, const struct iovec *, int, off_t, int);

static void run(void *function, int old_kernel)
{
	function_type *preadv2_ = (function_type *)function;
	static const long long offsets[] = {0, 1, 100, 4095, 4096, 65000, 70000, -1, -2, 5000000000, 5000000003, 8589934592};
	static const int flags[] = {0, 0, 0, RWF_HIPRI, RWF_NOWAIT, 0x40000000};
	char data[70000];
	int file = open("data", O_CREAT | O_TRUNC | O_RDWR, 0600);
	(void)old_kernel;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (char)draw();
	CHECK(write(file, data, sizeof data) == sizeof data && pwrite(file, "far away", 8, 5000000000) == 8);
	for (int i = 0; i < 1000; i++) {
		long long at = offsets[draw() % (sizeof offsets / sizeof *offsets)];
		char buffers[4][3000];
		struct iovec parts[4];
		int count = (int)(draw() % 5);
		memset(buffers, 0, sizeof buffers);
		for (int k = 0; k < 4; k++)
			parts[k] = (struct iovec){buffers[k], draw() % 3000};
		if (at == -1)
			lseek(file, draw() % 70000, SEEK_SET);
		off_t before = lseek(file, 0, SEEK_CUR);
		long got = record("read", preadv2_(file, parts, count, at, flags[draw() % 6]));
		record("position", (long)lseek(file, 0, SEEK_CUR));
		long long from = at == -1 ? before : at;
		for (int k = 0; got > 0 && k < count && from + got <= 70000; k++) {
			size_t length = (size_t)got < parts[k].iov_len ? (size_t)got : parts[k].iov_len;
			CHECK(!memcmp(buffers[k], data + from, length));
			from += (long long)length;
			got -= (long)length;
		}
		if (at == 5000000003 && got > 0 && parts[0].iov_len > 5)
			CHECK(!memcmp(buffers[0], " away", 5));
	}
	struct iovec bad = {(void *)1, 10}, good = {data, 10};
	for (int flag = 0; flag <= RWF_HIPRI; flag += RWF_HIPRI) {
		record("no file", preadv2_(-1, &good, 1, 0, flag));
		record("no memory", preadv2_(file, &bad, 1, 0, flag));
		record("negative count", preadv2_(file, &good, -1, 0, flag));
		record("too many", preadv2_(file, &good, 1025, 0, flag));
		int ends[2];
		CHECK(!pipe2(ends, O_NONBLOCK) && write(ends[1], "abc", 3) == 3);
		record("pipe", preadv2_(ends[0], &good, 1, -1, flag));
		record("pipe with offset", preadv2_(ends[0], &good, 1, 5, flag));
		record("empty pipe", preadv2_(ends[0], &good, 1, -1, flag));
		close(ends[0]);
		close(ends[1]);
	}
	close(file);
}
