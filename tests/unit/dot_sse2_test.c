/* smtp/dot as a processor without AVX2 runs it. */
#define __builtin_cpu_supports(feature) false
#define smtp_dot_find                   dot_find_sse2
#include "smtp/dot.c"

#include "dot_cases.h"
