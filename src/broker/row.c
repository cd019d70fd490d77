#include "broker/row.h"

#include <stddef.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/error.h"

struct row_head {
	uint64_t checksum; /* of all that follows */
	uint32_t version;
	uint16_t first_id;
	uint16_t next_id;
	uint64_t position;
	uint64_t expiry_ms;
	uint64_t offline_ms;
	uint32_t subscription_bytes;
	uint32_t slot_bytes;
	uint32_t received_bytes;
	uint32_t key_bytes;
	uint64_t address; /* from version 3 on */
	uint64_t owner;   /* from version 4 on */
};
_Static_assert(sizeof(struct row_head) == 72, "no padding, as its bytes are stored");

static uint64_t checksum(struct view bytes)
{
	return XXH3_64bits(bytes.p + sizeof(uint64_t), bytes.n - sizeof(uint64_t));
}

void row_encode(const struct row *r, struct buf *out)
{
	struct row_head head = {
		.version = ROW_VERSION,
		.first_id = r->first_id,
		.next_id = r->next_id,
		.position = r->position,
		.expiry_ms = r->expiry_ms,
		.offline_ms = r->offline_ms,
		.subscription_bytes = (uint32_t)r->subscriptions.n,
		.slot_bytes = (uint32_t)r->slots.n,
		.received_bytes = (uint32_t)r->received.n,
		.key_bytes = (uint32_t)r->key.n,
		.address = r->address,
		.owner = r->owner,
	};
	size_t start = buf_length(out);
	struct view all;

	check(r->slots.n <= UINT16_MAX * sizeof(uint64_t));
	buf_append(out, &head, sizeof(head));
	buf_append(out, r->subscriptions.p, r->subscriptions.n);
	buf_append(out, r->slots.p, r->slots.n);
	buf_append(out, r->received.p, r->received.n);
	buf_append(out, r->key.p, r->key.n);
	buf_append(out, r->will.p, r->will.n);
	all = view_skip(buf_view(out), start);
	head.checksum = checksum(all);
	memcpy(out->data + out->start + start, &head, sizeof(head));
}

static size_t head_bytes(uint32_t version)
{
	if (version < 3)
		return offsetof(struct row_head, address);
	return version < 4 ? offsetof(struct row_head, owner) : sizeof(struct row_head);
}

/* n: bytes behind the head. */
static bool lengths_fit(const struct row_head *head, size_t n)
{
	uint64_t parts = (uint64_t)head->subscription_bytes + head->slot_bytes +
			 head->received_bytes + head->key_bytes;

	/* What stands behind the key is the will. */
	return parts <= n && (head->version > 1 || parts == n) &&
	       head->slot_bytes % sizeof(uint64_t) == 0 &&
	       head->slot_bytes <= UINT16_MAX * sizeof(uint64_t) &&
	       head->received_bytes % sizeof(uint16_t) == 0;
}

static struct view cut(struct view *rest, size_t n)
{
	struct view part = {rest->p, n};

	*rest = view_skip(*rest, n);
	return part;
}

int row_decode(struct view bytes, struct row *r)
{
	struct row_head head = {0};
	struct view rest;
	size_t n = head_bytes(1);

	if (bytes.n < n)
		return ERR_CORRUPT;
	memcpy(&head, bytes.p, n);
	if (head.checksum != checksum(bytes))
		return ERR_CORRUPT;
	if (head.version == 0 || head.version > ROW_VERSION)
		return ERR_VERSION;
	n = head_bytes(head.version);
	if (bytes.n < n || !lengths_fit(&head, bytes.n - n))
		return ERR_CORRUPT;
	memcpy(&head, bytes.p, n);
	rest = view_skip(bytes, n);
	*r = (struct row){
		.position = head.position,
		.expiry_ms = head.expiry_ms,
		.offline_ms = head.offline_ms,
		.address = head.address,
		.owner = (uint32_t)head.owner,
		.first_id = head.first_id,
		.next_id = head.next_id,
	};
	r->subscriptions = cut(&rest, head.subscription_bytes);
	r->slots = cut(&rest, head.slot_bytes);
	r->received = cut(&rest, head.received_bytes);
	r->key = cut(&rest, head.key_bytes);
	r->will = rest;
	return 0;
}
