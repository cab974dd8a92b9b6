#ifndef GREETING_H
#define GREETING_H

#include <stddef.h>

/* Writes the greeting for a name to buf, always terminated; returns how long it is without the end of the buffer. */
int greeting(char *buf, size_t size, const char *name);

#endif
