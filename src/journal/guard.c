/* The table of maps is the one piece of state of the journal that is not reached from a struct
 * journal: a signal handler has no argument to find one by. It is a fixed array of atomics, so
 * the handler may read it at any moment. A map that finds no free place is not guarded: its fault
 * ends the process without a name.
 */
#include "journal/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "journal/journal.h"
#include "journal/segment.h"

#define PLACES 4096

struct place {
	_Atomic uintptr_t start; /* 0: free; 1: being filled */
	_Atomic size_t bytes;
	_Atomic int dir;
	_Atomic uint32_t number;
	_Atomic(const char *) kind;
};

static struct place places[PLACES];

static void remember(uintptr_t start, size_t n, int dir, uint32_t number, const char *kind)
{
	for (size_t i = 0; i < PLACES; i++) {
		uintptr_t free_place = 0;

		if (!atomic_compare_exchange_strong(&places[i].start, &free_place, 1))
			continue;
		atomic_store(&places[i].bytes, n);
		atomic_store(&places[i].dir, dir);
		atomic_store(&places[i].number, number);
		atomic_store(&places[i].kind, kind);
		atomic_store(&places[i].start, start);
		return;
	}
}

static void forget(uintptr_t start)
{
	for (size_t i = 0; i < PLACES; i++) {
		if (atomic_load(&places[i].start) == start) {
			atomic_store(&places[i].start, 0);
			return;
		}
	}
}

uint8_t *guard_map(int fd, size_t n, int dir, uint32_t number, const char *kind)
{
	void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return NULL;
	remember((uintptr_t)p, n, dir, number, kind);
	return p;
}

void guard_unmap(uint8_t *p, size_t n)
{
	if (p == NULL)
		return;
	forget((uintptr_t)p);
	munmap(p, n);
}

/* What follows is called from the signal handler: async-signal-safe calls only. */

static const struct place *place_of(uintptr_t address)
{
	for (size_t i = 0; i < PLACES; i++) {
		uintptr_t start = atomic_load(&places[i].start);

		if (start > 1 && address >= start &&
			address - start < atomic_load(&places[i].bytes))
			return &places[i];
	}
	return NULL;
}

/* segment_name() without snprintf(). */
static void put_name(char out[SEGMENT_NAME_BYTES], uint32_t number, const char *kind)
{
	for (int i = 9; i >= 0; i--, number /= 10)
		out[i] = (char)('0' + number % 10);
	out[10] = '.';
	strcpy(out + 11, kind);
}

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0) {
		/* nobody left to tell */
	}
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	const struct place *p = place_of((uintptr_t)info->si_addr);
	char name[SEGMENT_NAME_BYTES];

	(void)context;
	if (p == NULL) {
		/* Not ours: the instruction faults again, with the default action. */
		signal(sig, SIG_DFL);
		return;
	}
	put_name(name, atomic_load(&p->number), atomic_load(&p->kind));
	say("isobar: error journal unreadable file=");
	say(name);
	say(": the next start leaves this segment out\n");
	put_name(name, atomic_load(&p->number), "bad");
	close(openat(atomic_load(&p->dir), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640));
	_exit(JOURNAL_EXIT_UNREADABLE);
}

void journal_guard_sigbus(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
