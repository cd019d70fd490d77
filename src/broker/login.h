/* broker/login.h - is this who he says, and when does he hear of it
 *
 *     login_is_public --no--> login_start --> [wait] --> [hash] --> [wait] --> on_answer
 *
 * Guessing is slowed down by address (broker/addresses.h): with failed logins not forgotten, a login by
 * a secret waits before it is looked at, so that guesses neither pile up at the thread that hashes nor
 * learn from a quick answer which one was right; the answer to the first failure waits instead. Public
 * accounts with their public password, and anonymous ones, never wait: there is nothing to guess.
 *
 * Nobody is kept waiting by somebody's wait: it is a timer.
 *
 * Threads: the worker's.
 */
#ifndef BROKER_LOGIN_H
#define BROKER_LOGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/view.h"
#include "broker/account.h"

struct broker_worker;
struct login; /* one login under way */

/* Right, and nothing secret about it. */
bool login_is_public(const struct account *a, struct view password);

/* a NULL: there is no such account. Borrows the arguments for the call. on_answer comes later, never
 * inside; what is wrong counts as a failed login of the address. */
struct login *login_start(struct broker_worker *w, uint64_t address, const struct account *a,
	struct view password, void (*on_answer)(void *context, bool is_right), void *context);
/* The answer will not come, and nothing is counted. */
void login_cancel(struct login *l);

#endif
