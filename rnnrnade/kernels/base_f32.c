/* Any processor: 16-byte vectors (SSE2 on x86-64, NEON on ARM). */
#define REAL_BITS 32
#define VECTOR_BYTES 16
#define TABLE base_f32
#include "template.h"
