#include "cmd/html.h"

void html_begin(FILE *out, const char *title)
{
    fprintf(out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            "<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<style>\n"
            "body { font: 14px sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #222 }\n"
            "td { padding: 2px 1em 2px 0 } h2 { margin-top: 1.5em; font-size: 16px }\n"
            "svg { max-width: 100%%; font: 11px sans-serif } rect { fill: #4477aa }\n"
            "rect.accepted, i.accepted { fill: #228833; background: #228833 }\n"
            "rect.off, i.off { fill: #cc6633; background: #cc6633 } i.sessions { background: #4477aa }\n"
            ".key i { display: inline-block; width: 10px; height: 10px; margin-left: 1em }\n"
            "pre { font: 13px monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 }\n"
            ".line { display: flex; gap: 1em } .at { color: #888; min-width: 6em } .server { padding-left: 8em }\n"
            ".gone pre { color: #aa3333; text-decoration: line-through } .ours pre { color: #228833 }\n"
            ".note { color: #666; font-style: italic } .why { color: #aa3333; white-space: nowrap }\n"
            "</style>\n</head>\n<body>\n",
            title);
}

void html_end(FILE *out)
{
    fputs("</body>\n</html>\n", out);
}

void html_text(FILE *out, const char *text, size_t most)
{
    for (; *text && most > 0; text++, most--)
        switch (*text) {
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '&':
            fputs("&amp;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        default:
            fputc(*text, out);
        }
    if (*text)
        fputs("...", out);
}
