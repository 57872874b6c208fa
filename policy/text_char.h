/* SPDX-License-Identifier: MIT */
/*
 * text_char: classes of Unicode characters that plain text is made by.
 *
 * Thread-safe; no state.
 */
#ifndef TXM_POLICY_TEXT_CHAR_H
#define TXM_POLICY_TEXT_CHAR_H

#include <stdbool.h>
#include <stdint.h>

/* White space, of any width but none; those that do not break a line, too. */
bool text_char_is_blank(uint32_t c);

/* Controls, of the writing's direction, too, and what has no width: also what
 * templates fill the preview of a mailbox with. Not those that join. */
bool text_char_is_invisible(uint32_t c);

/* Zero width (non-)joiners: between letters of some scripts, and in emoji,
 * they have a meaning. */
bool text_char_is_joiner(uint32_t c);

/* Chinese, Japanese, Korean: two columns, and a line may be broken before. */
bool text_char_is_wide(uint32_t c);

/* Of those, the marks that must not begin a line. */
bool text_char_is_closing(uint32_t c);

#endif
