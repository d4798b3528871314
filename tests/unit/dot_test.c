/* smtp/dot as this processor runs it. */
#include "dot_cases.h"
