/* A library as an extension module is one: loaded by dlopen, needs libmid.so.2 and names of musl.
 *
 * It is not Python's: whatever dlopens it can call ext_answer(), which is 42.
 */

#include <stdlib.h>
#include <string.h>

int mid_answer(void);

int ext_answer(void);
int ext_answer(void)
{
    const char *extra = getenv("TESTDATA_EXTRA");
    void *room = malloc(16);
    int usable = room != NULL;

    free(room);
    return usable ? mid_answer() + (extra ? (int)strlen(extra) : 0) : -1;
}
