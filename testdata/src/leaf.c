/* A library whose every answer is read through pointers that the loader has to relocate.
 *
 * leaf_sum(n) is n * (n + 1) / 2 + 6 for 0 <= n <= 50, so leaf_sum(8) is 42. If one relocation is missing,
 * it crashes or is wrong; if the constructor did not run, it is 6 too small.
 * Linked without and with DT_RELR.
 */

#include <stddef.h>
#include <stdlib.h>

#define HIDDEN __attribute__((visibility("hidden")))

/* 50 rows of three pointers: 150 consecutive words to relocate, more than two bitmaps of a 64-bit DT_RELR
 * and more than four of a 32-bit one. */
#define TEN(row, tens)                                                                            \
    row(tens, 0) row(tens, 1) row(tens, 2) row(tens, 3) row(tens, 4)                              \
    row(tens, 5) row(tens, 6) row(tens, 7) row(tens, 8) row(tens, 9)
#define FIFTY(row) TEN(row, 0) TEN(row, 1) TEN(row, 2) TEN(row, 3) TEN(row, 4)

/* The leading 1 keeps 08 and 09 from being octal numbers. */
#define INDEX(tens, ones) (1##tens##ones - 100)
#define NUMBER(tens, ones) (ones % 2 ? -1 : 1) * (INDEX(tens, ones) + 1),
#define ROW(tens, ones) {&leaf_numbers[INDEX(tens, ones)], ones % 2 ? leaf_take : leaf_add, "leaf-" #tens #ones},

struct row {
    const int *number;
    int (*step)(int, int);
    const char *name;
};

static int leaf_add(int total, int number) { return total + number; }
static int leaf_take(int total, int number) { return total - number; }

static const int leaf_numbers[] = {FIFTY(NUMBER)};
static const struct row leaf_rows[] = {FIFTY(ROW)};

/* Hidden, not static: the compiler must believe that somebody changes them, or it reads them itself. */
extern HIDDEN int leaf_zero;
HIDDEN int leaf_zero = 0;

/* Words to relocate that are further apart than one bitmap reaches: each needs an address of its own. */
struct island {
    int *zero;
    size_t sea[70];
};
extern HIDDEN struct island leaf_islands[4];
HIDDEN struct island leaf_islands[4] = {{&leaf_zero, {0}}, {&leaf_zero, {0}}, {&leaf_zero, {0}}, {&leaf_zero, {0}}};

/* Every third word to relocate: bitmaps with holes. The 1s in the holes are not to be touched. */
struct tooth {
    int *zero;
    size_t gap[2];
};
#define TOOTH(tens, ones) {&leaf_zero, {1, 1}},
extern HIDDEN struct tooth leaf_comb[50];
HIDDEN struct tooth leaf_comb[50] = {FIFTY(TOOTH)};

/* A symbol that another library may take over, reached by a pointer in data and through the GOT; and a pointer in
 * data to a function of musl. */
extern int leaf_public;
int leaf_public = 0;
extern int *leaf_public_pointer;
int *leaf_public_pointer = &leaf_public;
extern void *(*leaf_allocate)(size_t);
void *(*leaf_allocate)(size_t) = malloc;

/* Volatile: else the compiler runs the constructor itself. */
static volatile int leaf_bonus;

__attribute__((constructor)) static void leaf_start(void) { leaf_bonus = 6; }

int leaf_sum(int n);
int leaf_sum(int n)
{
    int total = leaf_bonus + leaf_public + *leaf_public_pointer;

    for (int i = 0; i < n; i++)
        total = leaf_rows[i].step(total, *leaf_rows[i].number) + (leaf_rows[i].name[0] - 'l');
    for (int i = 0; i < 4; i++)
        total += *leaf_islands[i].zero;
    for (int i = 0; i < 50; i++)
        total += *leaf_comb[i].zero + (int)(leaf_comb[i].gap[0] - leaf_comb[i].gap[1]);
    return total;
}

const char *leaf_name(int i);
const char *leaf_name(int i) { return leaf_rows[i].name; }

/* One thread-local variable that is exported, so its relocation names a symbol, and one that is not. */
extern __thread int leaf_count;
__thread __attribute__((tls_model("global-dynamic"))) int leaf_count = 40;
static __thread __attribute__((tls_model("global-dynamic"))) int leaf_step = 1;

/* 41 at the first call in each thread, then 43, 46, ... */
int leaf_counter(void);
int leaf_counter(void)
{
    leaf_count += leaf_step++;
    return leaf_count;
}
