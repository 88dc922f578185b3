/* The C rows of the table that this build holds and this processor runs, the fastest first. */

#include "kernels.h"

extern const struct kernels_f32 base_f32;
extern const struct kernels_f64 base_f64;

#if defined(__x86_64__)
extern const struct kernels_f32 v3_f32, v4_f32;
extern const struct kernels_f64 v3_f64, v4_f64;
#endif

const struct kernel_row *kernel_rows(void) {
    static struct kernel_row rows[4]; /* written with the same values by whoever comes first */
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    int has_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (has_v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
        rows[n++] = (struct kernel_row){"v4", &v4_f32, &v4_f64};
    if (has_v3) rows[n++] = (struct kernel_row){"v3", &v3_f32, &v3_f64};
#endif
    rows[n++] = (struct kernel_row){"base", &base_f32, &base_f64};
    rows[n] = (struct kernel_row){0, 0, 0};
    return rows;
}
