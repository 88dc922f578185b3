/* x86-64-v4: AVX-512. */
#if defined(__x86_64__)
#define TARGET "avx512f,avx512vl,avx512bw,avx512dq,avx512cd,avx2,fma,bmi,bmi2"
#define REAL_BITS 32
#define VECTOR_BYTES 64
#define TABLE v4_f32
#include "template.h"
#endif
