/* The rate of plain C: vectors of four floats, which every processor that matters here has, multiplied and
 * added. C has no dot products, so this is the measure for all types. */
#include "compute/limits_rates.h"

typedef float four __attribute__((vector_size(16)));

static double f32(size_t n)
{
    four w = {1, 1, 1, 1}, a = w, b = w + a, c = b + a, d = c + a, e = d + a, f = e + a, g = f + a, h = g + a;
    volatile float factor = 0.5f, one = 1;
    four x = {factor, factor, factor, factor}, y = {one, one, one, one};
    for (size_t i = 0; i < n; i++) {
        a = a * x + y;
        b = b * x + y;
        c = c * x + y;
        d = d * x + y;
        e = e * x + y;
        f = f * x + y;
        g = g * x + y;
        h = h * x + y;
    }
    a += b + c + d + e + f + g + h;
    volatile float result = a[0] + a[1] + a[2] + a[3];
    (void)result;
    return (double)n * 8 * 4 * 2;
}

const struct rates rates_portable = {"portable", f32, f32, f32};
