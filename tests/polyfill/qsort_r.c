#include "harness.h"

const long newer[] = {-1};

typedef int compare(const void *, const void *, void *);
typedef void sort(void *, size_t, size_t, compare *, void *);

typedef struct {
	size_t size, calls;
} state;

static int by_bytes(const void *a, const void *b, void *argument)
{
	state *is = argument;
	is->calls++;
	return memcmp(a, b, is->size);
}

static int by_first(const void *a, const void *b, void *argument)
{
	((state *)argument)->calls++;
	return *(const unsigned char *)a - *(const unsigned char *)b;
}

static int by_chance(const void *a, const void *b, void *argument)
{
	(void)a, (void)b, (void)argument;
	return (int)draw() % 3;
}

static void fill(unsigned char *data, size_t count, size_t size, int kind)
{
	for (size_t i = 0; i < count * size; i++) {
		size_t at = i / size;
		data[i] = (unsigned char)(kind == 0 ? draw() : kind == 1 ? at : kind == 2 ? count - at : kind == 3 ? 7 : draw() % 3);
	}
}

static void once(sort *function, size_t count, size_t size, int kind)
{
	unsigned char *room = malloc(count * size + 32), *data = room + 16;
	memset(room, 0xa5, count * size + 32);
	fill(data, count, size, kind);
	uint32_t before = 0, after = 0, hash = 5381;
	for (size_t i = 0; i < count * size; i++)
		before += data[i];
	state is = {size, 0};
	function(data, count, size, by_bytes, &is);
	size_t depth = 1;
	while ((size_t)1 << depth < count)
		depth++;
	CHECK(!is_ours || is.calls <= count * (depth + 2)); /* n log n at worst */
	for (size_t i = 1; i < count; i++)
		CHECK(memcmp(data + (i - 1) * size, data + i * size, size) <= 0);
	for (size_t i = 0; i < count * size; i++)
		after += data[i], hash = hash * 33 + data[i];
	CHECK(before == after);
	record("sorted", (long)(hash & 0x7fffffff));

	fill(data, count, size, kind);
	function(data, count, size, by_first, &is);
	for (size_t i = 1; i < count; i++)
		CHECK(data[(i - 1) * size] <= data[i * size]);
	uint32_t kept = seed;
	function(data, count, size, by_chance, &is);
	seed = kept;
	for (size_t i = 0; i < 16; i++)
		CHECK(room[i] == 0xa5 && data[count * size + i] == 0xa5);
	free(room);
}

static void run(void *function, int old_kernel)
{
	static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 24, 31, 40, 64, 257, 300};
	(void)old_kernel;
	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (int kind = 0; kind < 5; kind++) {
			for (size_t count = 0; count < 35; count++)
				once((sort *)function, count, sizes[s], kind);
			once((sort *)function, 1000 + draw() % 100, sizes[s], kind);
		}
	state is = {0, 0};
	((sort *)function)("untouched", 9, 0, by_bytes, &is);
	((sort *)function)(NULL, 0, 8, by_bytes, &is);
	record("calls for nothing", (long)is.calls);
}
