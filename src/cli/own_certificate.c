/* cli/own_certificate.c - the certificate that is made where none is configured
 *
 * One pair in data_dir/self-signed for all TLS listeners without one. It is for the machine's name and the addresses
 * these listen on; one that listens on all addresses (0.0.0.0, [::]) is there under each that the machine has.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/server.h"
#include "net/self_signed.h"

#define NAMES_MOST 64u
#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"

struct names {
	char *list[NAMES_MOST];
	unsigned count;
};

static void add(struct names *n, const char *name)
{
	for (unsigned i = 0; i < n->count; i++)
		if (strcmp(n->list[i], name) == 0)
			return;
	if (n->count < NAMES_MOST)
		n->list[n->count++] = mem_text(name);
}

static void add_host_name(struct names *n)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) == 0 && name[0] &&
		name[strspn(name, HOST_CHARACTERS)] == '\0')
		add(n, name);
	else
		add(n, "localhost");
}

static bool is_useful(const struct ifaddrs *i, sa_family_t family)
{
	const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;

	if (i->ifa_addr == NULL || i->ifa_addr->sa_family != family || !(i->ifa_flags & IFF_UP))
		return false;
	return family == AF_INET || !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

static void add_interfaces(struct names *n, sa_family_t family)
{
	struct ifaddrs *all = NULL;
	char text[NI_MAXHOST];

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (is_useful(i, family) &&
			getnameinfo(i->ifa_addr,
				family == AF_INET ? sizeof(struct sockaddr_in)
						  : sizeof(struct sockaddr_in6),
				text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0)
			add(n, text);
	freeifaddrs(all);
}

static void add_listener(struct names *n, const struct config_listener *l)
{
	if (strcmp(l->url.host, "0.0.0.0") != 0 && strcmp(l->url.host, "::") != 0) {
		add(n, l->url.host);
		if (strncmp(l->url.host, "127.", 4) == 0 || strcmp(l->url.host, "::1") == 0)
			add(n, "localhost");
		return;
	}
	add(n, "localhost");
	add_interfaces(n, AF_INET); /* [::] is there under these, too */
	if (strcmp(l->url.host, "::") == 0)
		add_interfaces(n, AF_INET6);
}

int own_certificate_keep(const struct config *c, char **why)
{
	struct names names = {.count = 0};
	struct self_signed pair;
	int err = 0;

	add_host_name(&names);
	for (uint32_t i = 0; i < c->listener_count; i++)
		if (config_lacks_certificate(c, &c->listeners[i]))
			add_listener(&names, &c->listeners[i]);
	pair = (struct self_signed){
		c->own_certificate, c->own_key, (const char *const *)names.list, names.count};
	err = self_signed_keep(&pair, (int64_t)(clock_wall_ms() / 1000), why);
	for (unsigned i = 0; i < names.count; i++)
		free(names.list[i]);
	return err;
}
