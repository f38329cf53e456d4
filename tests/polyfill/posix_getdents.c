#include "harness.h"
#include <dirent.h>
#include <sys/stat.h>

const long newer[] = {-1};

typedef ssize_t function_type(int, void *, size_t, int);

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void run(void *function, int old_kernel)
{
	function_type *posix_getdents_ = (function_type *)function;
	static const size_t sizes[] = {0, 1, 23, 24, 40, 280, 1000, 4096, 32768};
	static char names[400][300];
	_Alignas(struct dirent) static char buffer[32768];
	(void)old_kernel;
	mkdir("many", 0700);
	for (int i = 0; i < 200; i++) {
		char name[300] = "many/";
		for (int k = 0; k < i + 1; k++)
			name[5 + k] = (char)('a' + (i + k) % 26);
		i % 3 ? close(open(name, O_CREAT, 0600)) : mkdir(name, 0700);
	}
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
		int folder = open("many", O_RDONLY | O_DIRECTORY);
		size_t count = 0;
		ssize_t got;
		while ((got = posix_getdents_(folder, buffer, sizes[s], 0)) > 0)
			for (struct dirent *at = (void *)buffer; (char *)at < buffer + got; at = (void *)((char *)at + at->d_reclen))
				snprintf(names[count++], 300, "%c %s", at->d_type == DT_DIR ? 'd' : at->d_type == DT_REG ? 'f' : '?', at->d_name);
		record("end", got);
		qsort(names, count, 300, by_name);
		if (sizes[s] >= 280)
			CHECK(count == 202);
		for (size_t i = 0; i < count; i++)
			if (sizes[s] >= 280)
				fprintf(log_file, "%s\n", names[i]);
		lseek(folder, 0, SEEK_SET);
		record("huge", posix_getdents_(folder, buffer, (size_t)-1 >> 1, 0) > 0 || sizeof(long) == 4);
		for (int flag = 1; flag < 1 << 30; flag *= 2)
			record("flag", posix_getdents_(folder, buffer, sizeof buffer, flag));
		close(folder);
	}
	int file = open("many/b", O_CREAT | O_RDWR, 0600);
	record("no folder", posix_getdents_(file, buffer, sizeof buffer, 0));
	record("no file", posix_getdents_(-1, buffer, sizeof buffer, 0));
	close(file);
	unlink("many/b");
}
