#include <stdio.h>

#include "greeting.h"

int greeting(char *buf, size_t size, const char *name) {
	return snprintf(buf, size, "hello, %s", name);
}
