/* interval.c - see interval.h. */
#include "core/interval.h"

#include <math.h>

/* The interval of a share near 0 or 1 stays inside 0..1, which the normal approximation does not. */
void hone_wilson(int64_t k, int64_t n, double *low, double *high)
{
    /* the 97.5 % point of the normal distribution: a 95 % interval, two-sided (Wilson 1927) */
    const double z = 1.959963984540054;
    *low = 0;
    *high = 1;
    if (n <= 0) return;
    double p = (double)k / (double)n, m = (double)n;
    double middle = (p + z * z / (2 * m)) / (1 + z * z / m);
    double half = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m));
    *low = fmax(0, middle - half);
    *high = fmin(1, middle + half);
}

/* Made of the two Wilson intervals: each side takes the distances that lie on it. */
void hone_newcombe(int64_t k1, int64_t n1, int64_t k2, int64_t n2, double *low, double *high)
{
    double l1, u1, l2, u2, p1 = (double)k1 / (double)n1, p2 = (double)k2 / (double)n2, d = p1 - p2;
    hone_wilson(k1, n1, &l1, &u1);
    hone_wilson(k2, n2, &l2, &u2);
    *low = d - sqrt((p1 - l1) * (p1 - l1) + (u2 - p2) * (u2 - p2));
    *high = d + sqrt((u1 - p1) * (u1 - p1) + (p2 - l2) * (p2 - l2));
}
