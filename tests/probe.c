/* Calls functions of libraries, as a program that dlopens them does: probe LIBRARY FUNCTION ARGUMENT ...
 *
 * Prints each answer on a line of its own. Linked as a library with an entry point, which musl's loader runs like a
 * program; its names are musl's.
 */

int printf(const char *form, ...);
int atoi(const char *text);
void *dlopen(const char *file, int mode);
void *dlsym(void *library, const char *name);
char *dlerror(void);

int main(int count, char **words)
{
    for (int i = 1; i + 2 < count; i += 3) {
        void *library = dlopen(words[i], 2 /* RTLD_NOW */);
        int (*function)(int) = library ? (int (*)(int))dlsym(library, words[i + 1]) : 0;

        if (!function) {
            printf("%s\n", dlerror());
            return 1;
        }
        printf("%d\n", function(atoi(words[i + 2])));
    }
    return 0;
}
