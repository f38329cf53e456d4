/* void qsort_r(void *, size_t, size_t, int (*)(const void *, const void *, void *), void *): sort with an argument for
 * the comparison. Source: POSIX.1-2024, qsort.
 *
 * A heapsort that goes down to a leaf first and then up again, so that it compares about n log2 n times at worst, uses
 * no memory but the array, and stays inside it whatever the comparison says. */
#include "polyfill.h"
#include <stddef.h>

typedef int compare_function(const void *, const void *, void *);
typedef unsigned long word __attribute__((may_alias, aligned(1)));

typedef struct {
	char *base;
	size_t size;
	compare_function *compare;
	void *argument;
} array;

static void swap(const array *all, size_t i, size_t j)
{
	char *a = all->base + i * all->size, *b = all->base + j * all->size;
	size_t left = all->size;
	for (; left >= sizeof(word); left -= sizeof(word), a += sizeof(word), b += sizeof(word)) {
		word kept = *(word *)a;
		*(word *)a = *(word *)b;
		*(word *)b = kept;
	}
	for (; left; left--, a++, b++) {
		char kept = *a;
		*a = *b;
		*b = kept;
	}
}

static int compare(const array *all, size_t i, size_t j)
{
	return all->compare(all->base + i * all->size, all->base + j * all->size, all->argument);
}

/* Make a heap of the first `count` elements below `root`, where all but the root are in order. */
static void sift(const array *all, size_t root, size_t count)
{
	size_t at = root;
	while (at < (count - 1) / 2) { /* has two children; no overflow: 2 * at + 2 < count + 1 */
		size_t right = 2 * at + 2;
		at = compare(all, right, right - 1) > 0 ? right : right - 1;
	}
	if (2 * at + 2 == count)
		at = 2 * at + 1;
	while (at > root && compare(all, root, at) > 0)
		at = (at - 1) / 2;
	for (; at > root; at = (at - 1) / 2)
		swap(all, root, at);
}

EXPORT void qsort_r(void *base, size_t count, size_t size, compare_function *function, void *argument)
{
	if (count < 2 || !size)
		return;
	const array all = {base, size, function, argument};
	for (size_t root = count / 2; root--;)
		sift(&all, root, count);
	for (size_t last = count - 1; last; last--) {
		swap(&all, 0, last);
		sift(&all, 0, last);
	}
}
