/* A program that needs libmid.so.2, prints 42 and returns 0 (1 where the answer is another). */

#include <stdio.h>

int mid_answer(void);

int main(void)
{
    int answer = mid_answer();

    printf("%d\n", answer);
    return answer != 42;
}
