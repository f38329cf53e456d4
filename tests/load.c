/* Loads a file as Python loads an extension module: load API FILE.
 *
 * API is a library that stands for the interpreter: its names are there for all. Prints the files that are in the
 * process then, each on a line of its own, or what the loader says against it. Linked as probe.c is.
 */

enum { NOW = 2, GLOBAL = 256 };

struct loaded {
    void *address;
    const char *name;
};

int puts(const char *text);
void *dlopen(const char *file, int mode);
char *dlerror(void);
int dl_iterate_phdr(int (*each)(struct loaded *file, unsigned long size, void *rest), void *rest);

static int print(struct loaded *file, unsigned long size, void *rest)
{
    (void)size;
    (void)rest;
    puts(file->name);
    return 0;
}

int main(int count, char **words)
{
    if (count != 3 || !dlopen(words[1], NOW | GLOBAL) || !dlopen(words[2], NOW)) {
        puts(count == 3 ? dlerror() : "usage: load API FILE");
        return 1;
    }
    return dl_iterate_phdr(print, 0);
}
