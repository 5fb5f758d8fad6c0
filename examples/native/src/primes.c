/* Prints how many primes there are below its argument. */
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
  long below = count > 1 ? strtol(arguments[1], NULL, 10) : 0;
  if (below < 0 || below > 10000000) return 2;
  char *composite = calloc(below + 1, 1);
  if (composite == NULL) return 3;
  long primes = 0;
  for (long number = 2; number < below; number++) {
    if (composite[number]) continue;
    primes++;
    for (long multiple = number * number; multiple < below; multiple += number) composite[multiple] = 1;
  }
  printf("%ld\n", primes);
  free(composite);
  return 0;
}
