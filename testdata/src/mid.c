/* The library between: needs libleaf.so.1, and is what the extensions and the programs need. */

int leaf_counter(void);
int leaf_sum(int n);

/* 42 */
int mid_answer(void);
int mid_answer(void) { return leaf_sum(8); }

int mid_counter(void);
int mid_counter(void) { return leaf_counter(); }
