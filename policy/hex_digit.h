/* SPDX-License-Identifier: MIT */
/*
 * hex_digit: what a hexadecimal digit stands for, in either case; -1 when it is
 * none. In a header, for a body is decoded with it.
 */
#ifndef TXM_POLICY_HEX_DIGIT_H
#define TXM_POLICY_HEX_DIGIT_H

static inline int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
