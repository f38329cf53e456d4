#include "harness.h"

const long newer[] = {-1};

static pthread_barrier_t barrier;
static char seen[20];

static void *thread(void *argument)
{
	pthread_barrier_wait(&barrier);
	prctl(PR_GET_NAME, seen);
	return argument;
}

static void run(void *function, int old_kernel)
{
	int (*setname)(pthread_t, const char *) = (int (*)(pthread_t, const char *))function;
	(void)old_kernel;
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 200; i++) {
		pthread_t other;
		char name[24] = {0};
		size_t length = draw() % 20;
		for (size_t k = 0; k < length; k++)
			name[k] = (char)(1 + draw() % 255);
		int wanted = length > 15 ? ERANGE : 0;
		CHECK(!pthread_create(&other, NULL, thread, NULL));
		int error = setname(other, name);
		record("other", error);
		pthread_barrier_wait(&barrier);
		pthread_join(other, NULL);
		CHECK(error == wanted && (error || !strcmp(seen, name)));
		error = setname(pthread_self(), name);
		record("own", error);
		prctl(PR_GET_NAME, seen);
		CHECK(error == wanted && (error || !strcmp(seen, name)));
	}
}
