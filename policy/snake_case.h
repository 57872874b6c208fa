/* SPDX-License-Identifier: MIT */
/*
 * snake_case: how Flexmail wants tags and the keys of metadata.
 */
#ifndef TXM_POLICY_SNAKE_CASE_H
#define TXM_POLICY_SNAKE_CASE_H

#include <stdbool.h>

/* Small letters (ASCII) and digits, in parts with one '_' between. */
bool is_snake_case(const char *s);

#endif
