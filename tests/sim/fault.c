#include "fault.h"

#include <stdarg.h>
#include <stdio.h>

void fault_note(struct fault *fault, const char *format, ...)
{
    va_list args;
    if (fault->text[0])
        return;
    va_start(args, format);
    vsnprintf(fault->text, sizeof fault->text, format, args);
    va_end(args);
}
