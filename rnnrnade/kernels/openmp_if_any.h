/* OpenMP where the compiler has it, one thread where not. */
#ifndef RNNRNADE_OPENMP_IF_ANY_H
#define RNNRNADE_OPENMP_IF_ANY_H
#ifdef _OPENMP
#include <omp.h>
enum { HAS_OPENMP = 1 };
#else
enum { HAS_OPENMP = 0 };
static inline int omp_get_num_threads(void) { return 1; }
static inline int omp_get_thread_num(void) { return 0; }
static inline int omp_get_max_threads(void) { return 1; }
#endif
#endif
