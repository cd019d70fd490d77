/* broker/password.h - checks hashed passwords off the workers
 *
 * crypt(3) takes tens of milliseconds by design; a thread does it and posts the answer.
 */
#ifndef BROKER_PASSWORD_H
#define BROKER_PASSWORD_H

#include <stdbool.h>

#include "base/view.h"
#include "net/loop.h"

struct passwords;      /* the thread and its queue; starts at the first question */
struct password_check; /* one question under way */

struct passwords *passwords_new(void);
/* The loops no longer run; answers that have not been given are dropped. */
void passwords_free(struct passwords *p);

/* Copies password and hash. on_answer comes on the loop. */
struct password_check *password_start(struct passwords *p, struct loop *l, struct view password,
	const char *hash, void (*on_answer)(void *context, bool matches), void *context);

/* The answer will not come. Loop's thread. */
void password_cancel(struct password_check *c);

#endif
