#include "harness.h"

const long newer[] = {-1};

static void run(void *function, int old_kernel)
{
	void *(*reallocarray_)(void *, size_t, size_t) = (void *(*)(void *, size_t, size_t))function;
	(void)old_kernel;
	for (int i = 0; i < 2000; i++) {
		size_t count = draw() % 300, size = draw() % 300;
		if (i % 3 == 0)
			count = (size_t)-1 >> draw() % (8 * sizeof count);
		if (i % 5 == 0)
			size = (size_t)-1 >> draw() % (8 * sizeof size);
		unsigned long long limit = 1 << 24;
		int over = size && count > (size_t)-1 / size;
		if (!over && (unsigned long long)count * size > limit && count * size < (size_t)-1 / 2)
			continue; /* whether there is so much memory is not the question */
		char *old = malloc(10);
		memcpy(old, "unchanged", 10);
		errno = 0;
		char *new = reallocarray_(i % 2 ? old : NULL, count, size);
		int error = errno;
		record("made", new != NULL || count * size == 0);
		if (!new && count * size) {
			CHECK(error == ENOMEM && !strcmp(old, "unchanged"));
		} else if (over) {
			CHECK(!new && error == ENOMEM);
		} else if (i % 2 && count * size >= 10) {
			CHECK(!strcmp(new, "unchanged"));
		}
		if (new && count * size)
			memset(new, 1, count * size);
		if (!(i % 2) || (!new && count * size) || over)
			free(old);
		free(new);
	}
}
