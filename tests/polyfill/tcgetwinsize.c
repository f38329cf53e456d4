#include "harness.h"
#include <sys/ioctl.h>
#include <termios.h>

const long newer[] = {-1};

static void run(void *function, int old_kernel)
{
	int (*tcgetwinsize_)(int, struct winsize *) = (int (*)(int, struct winsize *))function;
	struct winsize set = {0}, got;
	int terminal = posix_openpt(O_RDWR | O_NOCTTY), null = open("/dev/null", O_RDWR), set_by, got_by;
	(void)old_kernel;
	CHECK(terminal >= 0 && null >= 0);
	for (int i = 0; i < 200; i++) {
		set = (struct winsize){draw() & 0xffff, draw() & 0xffff, draw() & 0xffff, draw() & 0xffff};
		memset(&got, 0x55, sizeof got);
		set_by = ioctl(terminal, (int)TIOCSWINSZ, &set);
		got_by = tcgetwinsize_(terminal, &got);
		CHECK(!set_by && !got_by && !memcmp(&set, &got, sizeof set));
		record("rows", got.ws_row);
	}
	record("no terminal", tcgetwinsize_(null, &set));
	record("no file", tcgetwinsize_(-1, &set));
	record("no memory", tcgetwinsize_(terminal, NULL));
	close(terminal);
	close(null);
}
