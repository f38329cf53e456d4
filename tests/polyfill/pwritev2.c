#include "harness.h"
#include <sys/uio.h>

const long newer[] = {SYS_pwritev2, -1};

typedef ssize_t function_type(int, const struct iovec *, int, off_t, int);

static void look(int file)
{
	static char buffer[100000];
	uint32_t hash = 5381;
	long got = (long)pread(file, buffer, sizeof buffer, 0);
	for (long i = 0; i < got; i++)
		hash = hash * 33 + (unsigned char)buffer[i];
	record("content", (long)(hash & 0x7fffffff));
	record("position", (long)lseek(file, 0, SEEK_CUR));
}

static void run(void *function, int old_kernel)
{
	function_type *pwritev2_ = (function_type *)function;
	static const long long offsets[] = {0, 1, 100, 4095, 4096, 20000, -1, -1, -2};
	static const int flags[] = {0, 0, 0, RWF_DSYNC, RWF_SYNC, RWF_APPEND, 0x40000000};
	(void)old_kernel;
	for (int append = 0; append < 2; append++) {
		int file = open("out", O_CREAT | O_TRUNC | O_RDWR | (append ? O_APPEND : 0), 0600);
		for (int i = 0; i < 300; i++) {
			char buffers[4][200];
			struct iovec parts[4];
			for (int k = 0; k < 4; k++) {
				for (int n = 0; n < 200; n++)
					buffers[k][n] = (char)draw();
				parts[k] = (struct iovec){buffers[k], draw() % 200};
			}
			long long at = offsets[draw() % 9];
			int flag = flags[draw() % 7], count = (int)(draw() % 5);
			record("written", pwritev2_(file, parts, count, at, flag));
			look(file);
		}
		struct iovec far = {"far away", 8};
		char back[9] = "";
		if (!append) {
			for (int flag = 0; flag <= RWF_DSYNC; flag += RWF_DSYNC) {
				long done = record("far", pwritev2_(file, &far, 1, 6000000000 + flag * 16, flag));
				CHECK(done == -1 || (pread(file, back, 8, 6000000000 + flag * 16) == 8 && !strcmp(back, "far away")));
			}
		}
		struct iovec bad = {(void *)1, 10};
		for (int flag = 0; flag <= RWF_DSYNC; flag += RWF_DSYNC) {
			record("no file", pwritev2_(-1, &far, 1, 0, flag));
			record("no memory", pwritev2_(file, &bad, 1, 0, flag));
			record("negative count", pwritev2_(file, &far, -1, 0, flag));
		}
		close(file);
	}
}
