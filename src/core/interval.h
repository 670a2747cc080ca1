/* interval.h - 95 % intervals of shares of hits, so that no accuracy is printed as more certain than it is. */
#ifndef HONE_CORE_INTERVAL_H
#define HONE_CORE_INTERVAL_H

#include <stdint.h>

/* Wilson's score interval of k hits in n (z = 1.959964; Wilson 1927). n 0 gives 0..1. */
void hone_wilson(int64_t k, int64_t n, double *low, double *high);
/* Newcombe's interval of p1 - p2 from k1 of n1 and k2 of n2, n > 0, independent samples (hybrid score, method 10 of
 * Newcombe 1998). */
void hone_newcombe(int64_t k1, int64_t n1, int64_t k2, int64_t n2, double *low, double *high);

#endif
