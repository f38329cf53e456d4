/* A library that has relative relocations and no others: with DT_RELR it has no DT_REL or DT_RELA at all.
 *
 * onlyrelr_sum() is 10, read through relocated pointers.
 */

#define HIDDEN __attribute__((visibility("hidden")))

extern HIDDEN int onlyrelr_numbers[4];
HIDDEN int onlyrelr_numbers[4] = {1, 2, 3, 4};

/* Hidden, not static: the compiler must believe that somebody changes it, or it reads it itself. */
extern HIDDEN int *onlyrelr_pointers[4];
HIDDEN int *onlyrelr_pointers[4] = {
    &onlyrelr_numbers[0],
    &onlyrelr_numbers[1],
    &onlyrelr_numbers[2],
    &onlyrelr_numbers[3],
};

int onlyrelr_sum(void);
int onlyrelr_sum(void)
{
    int total = 0;

    for (int i = 0; i < 4; i++)
        total += *onlyrelr_pointers[i];
    return total;
}
