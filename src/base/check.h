/* base/check.h - guards of our own invariants, kept in release builds
 *
 * Input never trips a check: what a peer sends is judged and refused.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

/* Prints the place to stderr and aborts. */
_Noreturn void check_failed(const char *what, const char *file, int line);

#define check(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__))

#endif
