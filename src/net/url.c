/* net/url.c - URLs of brokers and listeners
 *
 *	scheme "://" [ user [ ":" password ] "@" ] host [ ":" port ] [ path ]
 *
 * RFC 3986 with what operators really write allowed: an "@" in a password need not
 * be encoded, as the last one counts. User and password are percent-decoded.
 */
#include "net/address.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

struct scheme {
	struct view name;
	uint16_t port;
	bool tls;
	const char *path; /* when none is given */
};

static const struct scheme schemes[URL_SCHEME_COUNT] = {
	[URL_MQTT] = {VIEW("mqtt"), 1883, false, "/"},
	[URL_MQTTS] = {VIEW("mqtts"), 8883, true, "/"},
	[URL_WS] = {VIEW("ws"), 80, false, "/mqtt"},
	[URL_WSS] = {VIEW("wss"), 443, true, "/mqtt"},
	[URL_HTTP] = {VIEW("http"), 80, false, "/"},
	[URL_HTTPS] = {VIEW("https"), 443, true, "/"},
	[URL_REDIS] = {VIEW("redis"), 6379, false, "/"},
	[URL_REDISS] = {VIEW("rediss"), 6379, true, "/"},
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static bool same_letters(struct view a, struct view b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

/* Each step takes its part off *rest; gives NULL or the fault. */

static const char *parse_scheme(struct view *rest, struct url *u)
{
	const char *end = rest->n ? memmem(rest->p, rest->n, "://", 3) : NULL;
	struct view name;

	if (end == NULL)
		return "has no \"scheme://\" at the front, e.g. mqtts://host:8883";
	name = (struct view){rest->p, (size_t)(end - rest->p)};
	*rest = view_skip(*rest, name.n + 3);
	for (int i = 0; i < URL_SCHEME_COUNT; i++) {
		if (!same_letters(name, schemes[i].name))
			continue;
		u->scheme = (enum url_scheme)i;
		u->tls = schemes[i].tls;
		u->port = schemes[i].port;
		return NULL;
	}
	return "has an unknown scheme; known are mqtt, mqtts, ws, wss, http, https";
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (lower(c) >= 'a' && lower(c) <= 'f')
		return lower(c) - 'a' + 10;
	return -1;
}

/* The byte at the front of *text, "%41" as one; -1: a bad escape or NUL. */
static int decoded_byte(struct view *text)
{
	int c = (unsigned char)text->p[0], high, low;

	if (c != '%') {
		*text = view_skip(*text, 1);
		return c ? c : -1;
	}
	high = text->n > 2 ? hex_digit(text->p[1]) : -1;
	low = text->n > 2 ? hex_digit(text->p[2]) : -1;
	if (high < 0 || low < 0 || high * 16 + low == 0)
		return -1;
	*text = view_skip(*text, 3);
	return high * 16 + low;
}

static const char *decode(struct view text, char *out, size_t size)
{
	size_t n = 0;

	while (text.n) {
		int c = decoded_byte(&text);

		if (c < 0)
			return "has a \"%\" in user or password that is not followed by two "
			       "hexadecimal "
			       "digits that are not 00";
		if (n + 1 == size)
			return "has a user or password of more than 127 bytes";
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return NULL;
}

static const char *parse_credentials(struct view *authority, struct url *u)
{
	const char *at = authority->n ? memrchr(authority->p, '@', authority->n) : NULL;
	struct view password, user;
	const char *why;

	if (at == NULL)
		return NULL;
	password = (struct view){authority->p, (size_t)(at - authority->p)};
	*authority = view_skip(*authority, password.n + 1);
	user = view_cut(&password, ':');
	why = decode(user, u->user, sizeof(u->user));
	return why ? why : decode(password, u->password, sizeof(u->password));
}

static bool is_host_name(struct view host)
{
	for (size_t i = 0; i < host.n; i++) {
		char c = lower(host.p[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
			c != '.')
			return false;
	}
	return host.n > 0 && host.n <= 253; /* RFC 1035, section 2.3.4 */
}

static const char *parse_host(struct view *authority, struct url *u)
{
	struct address ignored;
	struct view host = *authority;
	const char *end;

	if (host.n && host.p[0] == '[') {
		end = memchr(host.p, ']', host.n);
		host.n = end ? (size_t)(end - host.p) + 1 : 0;
		if (end == NULL || !address_parse(host, 0, &ignored))
			return "has no IPv6 address in its brackets";
		*authority = view_skip(*authority, host.n);
		host = (struct view){host.p + 1, host.n - 2};
	} else {
		end = host.n ? memchr(host.p, ':', host.n) : NULL;
		host.n = end ? (size_t)(end - host.p) : host.n;
		if (end && memchr(end + 1, ':', authority->n - host.n - 1))
			return "has an IPv6 address without brackets; right is mqtt://[::1]:1883";
		if (host.n == 0)
			return "has no host";
		if (!is_host_name(host))
			return "has a host that is not a name of one";
		*authority = view_skip(*authority, host.n);
	}
	memcpy(u->host, host.p, host.n);
	u->host[host.n] = '\0';
	return NULL;
}

static const char *parse_port(struct view text, struct url *u)
{
	unsigned port = 0;

	if (text.n == 0)
		return NULL;
	if (text.p[0] != ':')
		return "has unexpected text behind the host";
	text = view_skip(text, 1);
	if (text.n == 0 || text.n > 5)
		return "has a port that is not a number from 0 to 65535";
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return "has a port that is not a number from 0 to 65535";
		port = port * 10 + (unsigned)(text.p[i] - '0');
	}
	if (port > 65535)
		return "has a port that is not a number from 0 to 65535";
	u->port = (uint16_t)port;
	return NULL;
}

static const char *parse_path(struct view path, struct url *u)
{
	if (path.n == 0) {
		snprintf(u->path, sizeof(u->path), "%s", schemes[u->scheme].path);
		return NULL;
	}
	if (u->scheme <= URL_MQTTS && path.n > 1)
		return "has a path, which mqtt and mqtts do not";
	if (u->scheme >= URL_REDIS && path.n > 1)
		return "has a path: a Redis Cluster has one database only";
	if (path.n >= sizeof(u->path))
		return "has a path of more than 255 bytes";
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] <= ' ' || path.p[i] >= 0x7f || path.p[i] == '#')
			return "has a character in its path that may not be there";
	memcpy(u->path, path.p, path.n);
	u->path[path.n] = '\0';
	return NULL;
}

/* The authority ends at the first '/'. */
static struct view cut_authority(struct view *rest)
{
	const char *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
	struct view authority = {rest->p, slash ? (size_t)(slash - rest->p) : rest->n};

	*rest = view_skip(*rest, authority.n);
	return authority;
}

int url_parse(struct view text, struct url *out, const char **why)
{
	struct url u = {0};
	struct view authority;
	const char *fault = parse_scheme(&text, &u);

	authority = cut_authority(&text);
	if (fault == NULL)
		fault = parse_credentials(&authority, &u);
	if (fault == NULL)
		fault = parse_host(&authority, &u);
	if (fault == NULL)
		fault = parse_port(authority, &u);
	if (fault == NULL)
		fault = parse_path(text, &u);
	if (fault) {
		*why = fault;
		return ERR_CONFIG;
	}
	*out = u;
	return 0;
}

const char *url_scheme_name(enum url_scheme scheme)
{
	return schemes[scheme].name.p;
}

void url_format(const struct url *u, char out[URL_TEXT_BYTES])
{
	bool v6 = strchr(u->host, ':') != NULL;
	bool has_path = u->scheme == URL_WS || u->scheme == URL_WSS;

	snprintf(out, URL_TEXT_BYTES, v6 ? "%s://[%s]:%u%.*s" : "%s://%s:%u%.*s",
		url_scheme_name(u->scheme), u->host, u->port,
		has_path ? (int)strcspn(u->path, "?") : 0, u->path);
}
