/* SPDX-License-Identifier: MIT */
#include "snake_case.h"

#include <stddef.h>
#include <string.h>

bool
is_snake_case(const char *s)
{
	size_t n;

	for (;; s += n + 1) {
		n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789");
		if (n == 0)
			return false;
		if (s[n] != '_')
			return s[n] == '\0';
	}
}
