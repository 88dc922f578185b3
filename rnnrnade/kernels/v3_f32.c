/* x86-64-v3: AVX2 and FMA. */
#if defined(__x86_64__)
#define TARGET "avx2,fma,bmi,bmi2"
#define REAL_BITS 32
#define VECTOR_BYTES 32
#define TABLE v3_f32
#include "template.h"
#endif
