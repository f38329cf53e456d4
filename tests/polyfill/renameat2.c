#include "harness.h"
#include <sys/stat.h>

const long newer[] = {SYS_renameat2, -1};

typedef int function_type(int, const char *, int, const char *, unsigned);

static void run(void *function, int old_kernel)
{
	function_type *renameat2_ = (function_type *)function;
	static const char *const names[] = {"a", "b", "c", "folder", "folder/d", "missing/e", "full", ""};
	static const unsigned flags[] = {0, 0, 1, 2, 3, 4, 1u << 30};
	char fresh[] = "runXXXXXX";
	CHECK(mkdtemp(fresh) && !chdir(fresh));
	int here = open(".", O_RDONLY | O_DIRECTORY);
	(void)old_kernel;
	for (int i = 0; i < 500; i++) {
		close(open("a", O_CREAT | O_RDWR, 0600));
		mkdir("folder", 0700);
		mkdir("full", 0700);
		close(open("full/x", O_CREAT | O_RDWR, 0600));
		const char *old = names[draw() % 8], *new = names[draw() % 8];
		unsigned flag = flags[draw() % 7];
		int from = i % 50 == 49 ? -1 : here, to = i % 3 ? AT_FDCWD : here;
		fprintf(log_file, "%s %s %x ", old, new, flag);
		record("rename", renameat2_(from, old, to, new, flag));
		for (int k = 0; k < 7; k++) {
			struct stat st;
			fputc(lstat(names[k], &st) ? '-' : S_ISDIR(st.st_mode) ? 'd' : 'f', log_file);
		}
		fputc('\n', log_file);
	}
	close(here);
	CHECK(!chdir(".."));
}
