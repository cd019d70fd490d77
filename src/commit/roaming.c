#include "commit/roaming.h"

void roaming_take_fini(struct roaming_take *t)
{
	buf_fini(&t->key);
	buf_fini(&t->row);
	buf_fini(&t->mark);
}
