/* source/pace.c - see the header */
#include "source/pace.h"

#define MICRO 1000000u

void bucket_init(struct bucket *b, uint32_t rate, uint64_t now_ms)
{
	*b = (struct bucket){.rate = rate, .level_micro = (uint64_t)rate * MICRO, .at_ms = now_ms};
}

bool bucket_take(struct bucket *b, uint64_t now_ms)
{
	uint64_t most = (uint64_t)b->rate * MICRO;
	uint64_t passed;

	if (b->rate == 0)
		return true;
	passed = now_ms > b->at_ms ? now_ms - b->at_ms : 0;
	if (passed >= 1000)
		b->level_micro = most;
	else
		b->level_micro += passed * b->rate * (MICRO / 1000);
	if (b->level_micro > most)
		b->level_micro = most;
	b->at_ms = now_ms;
	if (b->level_micro < MICRO)
		return false;
	b->level_micro -= MICRO;
	return true;
}

void bucket_give_back(struct bucket *b, uint32_t n)
{
	if (b->rate)
		b->level_micro += (uint64_t)n * MICRO;
}

uint64_t bucket_wait_ms(const struct bucket *b)
{
	uint64_t missing = b->level_micro < MICRO ? MICRO - b->level_micro : 0;
	uint64_t per_ms = (uint64_t)b->rate * (MICRO / 1000);

	return per_ms == 0 ? 0 : (missing + per_ms - 1) / per_ms;
}

bool poison_strike(struct poison *p, uint64_t fingerprint, uint64_t position)
{
	bool same = p->strikes && (p->fingerprint == fingerprint || p->position == position);

	p->strikes = same ? p->strikes + 1 : 1;
	p->fingerprint = fingerprint;
	p->position = position;
	if (p->strikes < POISON_STRIKES)
		return false;
	p->strikes = 0;
	return true;
}
