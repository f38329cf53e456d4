#include "harness.h"

const long newer[] = {-1};

static pthread_barrier_t barrier;
static char wanted[20];

static void *thread(void *argument)
{
	prctl(PR_SET_NAME, wanted);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return argument;
}

static void draw_name(void)
{
	size_t length = draw() % 16;
	for (size_t i = 0; i < length; i++)
		wanted[i] = (char)(1 + draw() % 255);
	wanted[length] = 0;
}

static void run(void *function, int old_kernel)
{
	int (*getname)(pthread_t, char *, size_t) = (int (*)(pthread_t, char *, size_t))function;
	char name[64];
	(void)old_kernel;
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 200; i++) {
		pthread_t other;
		size_t size = i % 4 ? 16 + draw() % 48 : draw() % 20;
		draw_name();
		for (char *at = wanted; *at; at++)
			if (*at == '\n' || *at == '\\') /* /proc shows them otherwise, but so it does for musl */
				*at = 'n';
		CHECK(!pthread_create(&other, NULL, thread, NULL));
		pthread_barrier_wait(&barrier);
		memset(name, 'x', sizeof name);
		int error = getname(other, name, size);
		record("other", error);
		CHECK(error == (size < 16 ? ERANGE : 0) && (error || !strcmp(name, wanted)));
		pthread_barrier_wait(&barrier);
		pthread_join(other, NULL);

		prctl(PR_SET_NAME, wanted);
		memset(name, 'x', sizeof name);
		error = getname(pthread_self(), name, size);
		record("own", error);
		CHECK(error == (size < 16 ? ERANGE : 0) && (error || !strcmp(name, wanted)));
	}
	for (int i = 0; i < 3; i++) {
		/* A thread that has ended and is not joined. */
		pthread_t other;
		pthread_barrier_init(&barrier, NULL, 1);
		CHECK(!pthread_create(&other, NULL, thread, NULL));
		for (int tries = 0; tries < 200 && getname(other, name, sizeof name) == 0; tries++)
			usleep(10000);
		record("ended", getname(other, name, sizeof name));
		pthread_join(other, NULL);
	}
}
