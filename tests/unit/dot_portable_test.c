/* smtp/dot as a processor of another family runs it. */
#undef __SSE2__
#define smtp_dot_find dot_find_portable
#include "smtp/dot.c"

#include "dot_cases.h"
