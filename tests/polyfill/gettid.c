#include "harness.h"
#include <sys/wait.h>

const long newer[] = {-1};

static pid_t (*gettid_)(void);

static void *thread(void *argument)
{
	pid_t id = gettid_();
	CHECK(id == syscall(SYS_gettid) && id != getpid());
	return argument;
}

static void run(void *function, int old_kernel)
{
	(void)old_kernel;
	gettid_ = (pid_t(*)(void))function;
	CHECK(gettid_() == getpid());
	for (int i = 0; i < 50; i++) {
		pthread_t other;
		CHECK(!pthread_create(&other, NULL, thread, NULL) && !pthread_join(other, NULL));
	}
	pid_t child = fork();
	if (!child)
		_exit(gettid_() != getpid());
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child);
	record("child", status);
}
