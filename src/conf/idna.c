#include "conf/idna.h"

#include <idn2.h>
#include <stdlib.h>

size_t idna_to_ascii(struct span domain, uint8_t *out, size_t room)
{
    enum { DOMAIN_BYTES_MAX = 1020 }; /* 255 characters of at most four octets */
    char text[DOMAIN_BYTES_MAX + 1], *ascii = NULL;
    if (domain.len == 0 || domain.len > DOMAIN_BYTES_MAX || memchr(domain.ptr, '\0', domain.len))
        return 0;
    memcpy(text, domain.ptr, domain.len);
    text[domain.len] = '\0';
    if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return 0;
    struct span form = span_of(ascii);
    size_t len = form.len <= room ? form.len : 0;
    memcpy(out, form.ptr, len);
    idn2_free(ascii);
    return len;
}
