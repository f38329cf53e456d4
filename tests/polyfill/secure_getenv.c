#include "harness.h"

const long newer[] = {-1};

static void run(void *function, int old_kernel)
{
	char *(*secure_getenv_)(const char *) = (char *(*)(const char *))function;
	static const char *const names[] = {"PATH", "HOME", "MISSING", "", "=", "A=B"};
	(void)old_kernel;
	setenv("HOME", "there", 1);
	for (int i = 0; i < 6; i++) {
		char *value = secure_getenv_(names[i]);
		CHECK(value == getenv(names[i]));
		record(names[i], value != NULL);
	}
}
