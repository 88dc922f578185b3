/* x86-64-v4: AVX-512. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi,bmi2,prefer-vector-width=512")
#define REAL_BITS 64
#define VECTOR_BYTES 64
#define TABLE v4_f64
#include "template.h"
#endif
