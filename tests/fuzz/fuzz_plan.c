/* SPDX-License-Identifier: MIT */
/*
 * A plan as JSON. What is read can be written, and what was written is read as
 * the same.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "policy/dynbuf.h"
#include "policy/json_text.h"
#include "policy/message.h"
#include "policy/outgoing.h"
#include "policy/plan.h"

/* What is written may be longer than what was read: escapes. */
#define WRITTEN_MAX (2 * PLAN_MAX)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_plan(const struct plan *p)
{
	const struct outgoing *o = p->outgoing;

	assert(o->n_recipients <= MESSAGE_RECIPIENTS_MAX);
	assert(o->html == NULL && o->route == NULL);
	for (size_t i = 0; i < o->n_recipients; i++) {
		const struct plan_recipient *r = &p->recipients[i];

		assert(o->recipients[i].name != NULL);
		assert(r->state != PLAN_REFUSED ||
		       smtp_reply_is_set(&r->reply));
		assert(plan_find(p, o->recipients[i].email) <= i);
	}
	assert(plan_find(p, "nobody@nowhere.example") == SIZE_MAX ||
	       o->n_recipients > 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_text_init();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan *p = plan_read((const char *)data, size);
	DYNBUF_AUTO first, second;

	dynbuf_init(&first, WRITTEN_MAX);
	dynbuf_init(&second, WRITTEN_MAX);
	if (p == NULL)
		return 0;
	check_plan(p);
	assert(plan_write(p, &first));
	plan_free(&p);
	p = plan_read(first.data, first.len);
	assert(p != NULL);
	assert(plan_write(p, &second));
	assert(first.len == second.len);
	assert(memcmp(first.data, second.data, first.len) == 0);
	plan_free(&p);
	return 0;
}
