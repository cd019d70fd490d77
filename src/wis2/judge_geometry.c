/* geometry: null, a Point or a Polygon (WNM-16 to WNM-21).
 *
 * `coordinates` can be judged on the way when `type` stands before it. When it does not, they are
 * passed over and read again at the closing bracket, as a value already found well-formed.
 */
#include "wis2/judge.h"

#include "wis2/number.h"

#define POSITION_COMPARED 8u /* numbers of a position that are kept to compare ring ends */
#define RING_POSITIONS_LEAST 4u

/* The numbers of one position, as written. */
struct position {
	uint32_t count;
	bool numbers_only;
	struct view at[POSITION_COMPARED];
};

/* A reader of the coordinates alone. */
struct coordinates {
	struct judge *g;
	struct json *json;
	enum rule form; /* WNM-17 or WNM-18: of the shape */
};

static void form_broken(struct coordinates *c, const struct json_value *v, const char *reason)
{
	judge_broken(c->g, c->form, v->offset, reason);
	json_pass(c->json, v);
}

/* WNM-20: the first two numbers have limits, all are finite. */
static void check_number(struct coordinates *c, const struct json_value *number, uint32_t index)
{
	static const unsigned limits[2] = {180, 90};

	if (index < 2 && !number_within(number->raw, limits[index]))
		judge_broken(c->g, RULE_WNM_20, number->offset,
			index ? "a latitude beyond 90 degrees" : "a longitude beyond 180 degrees");
	else if (index >= 2 && !number_is_finite(number->raw))
		judge_broken(c->g, RULE_WNM_20, number->offset, "a number too large");
}

/* Reads one position; WNM-17 and WNM-18 as far as they speak of it, WNM-20, WNM-21. */
static bool read_position(struct coordinates *c, const struct json_value *v, struct position *p)
{
	struct json_value number;

	p->count = 0;
	p->numbers_only = true;
	if (v->kind != KIND_ARRAY) {
		form_broken(c, v, "a position is not an array");
		return false;
	}
	json_open(c->json);
	while (json_element(c->json) && json_value(c->json, &number)) {
		if (number.kind != KIND_NUMBER) {
			form_broken(c, &number, "a coordinate is not a number");
			p->numbers_only = false;
			continue;
		}
		check_number(c, &number, p->count);
		if (p->count < POSITION_COMPARED)
			p->at[p->count] = number.raw;
		p->count++;
	}
	if (p->count < 2 && p->numbers_only)
		judge_broken(c->g, c->form, v->offset, "a position of less than two numbers");
	if (p->count > 3)
		judge_broken(c->g, RULE_WNM_21, v->offset, "a position of more than three numbers");
	return p->numbers_only && p->count >= 2;
}

/* The last position of a ring is the first, element by element. Beyond POSITION_COMPARED elements
 * only their number is compared. */
static bool is_same_position(const struct position *a, const struct position *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count && i < POSITION_COMPARED; i++) {
		if (!number_equal(a->at[i], b->at[i]))
			return false;
	}
	return true;
}

static void read_ring(struct coordinates *c, const struct json_value *v)
{
	struct json_value element;
	struct position first = {0}, last = {0};
	uint32_t count = 0;
	bool sound = true;

	if (v->kind != KIND_ARRAY) {
		form_broken(c, v, "a ring is not an array");
		return;
	}
	json_open(c->json);
	while (json_element(c->json) && json_value(c->json, &element))
		sound &= read_position(c, &element, count++ ? &last : &first);
	if (count < RING_POSITIONS_LEAST)
		judge_broken(c->g, RULE_WNM_18, v->offset, "a ring of less than four positions");
	else if (sound && !is_same_position(&first, &last))
		judge_broken(c->g, RULE_WNM_19, v->offset, "the ring is not closed");
}

static void read_polygon(struct coordinates *c, const struct json_value *v)
{
	struct json_value ring;
	uint32_t count = 0;

	if (v->kind != KIND_ARRAY) {
		form_broken(c, v, "coordinates is not an array");
		return;
	}
	json_open(c->json);
	while (json_element(c->json) && json_value(c->json, &ring)) {
		read_ring(c, &ring);
		count++;
	}
	if (count == 0)
		judge_broken(c->g, RULE_WNM_21, v->offset, "a Polygon without rings");
}

static void read_point(struct coordinates *c, const struct json_value *v)
{
	struct position position;

	read_position(c, v, &position);
}

enum shape { SHAPE_UNKNOWN, SHAPE_POINT, SHAPE_POLYGON };

/* SHAPE_UNKNOWN while the type has not been read, too. */
static enum shape geometry_shape(struct judge *g)
{
	const struct json_value *type = judge_member(g, MEMBER_GEOMETRY_TYPE, KIND_STRING);

	if (type == NULL)
		return SHAPE_UNKNOWN;
	if (judge_text_is(g, type, VIEW("Point")))
		return SHAPE_POINT;
	return judge_text_is(g, type, VIEW("Polygon")) ? SHAPE_POLYGON : SHAPE_UNKNOWN;
}

static void read_shape(struct judge *g, enum shape shape, const struct json_value *v)
{
	struct coordinates c = {g, &g->json, shape == SHAPE_POINT ? RULE_WNM_17 : RULE_WNM_18};

	(shape == SHAPE_POINT ? read_point : read_polygon)(&c, v);
}

void judge_coordinates(struct judge *g, const struct json_value *v)
{
	enum shape shape = geometry_shape(g);

	g->coordinates_read = shape != SHAPE_UNKNOWN;
	if (g->coordinates_read)
		read_shape(g, shape, v);
	else
		json_pass(&g->json, v);
}

/* Reads the coordinates again, now that the type is known. */
static void read_coordinates_again(struct judge *g, enum shape shape)
{
	struct json_place behind = json_rewind(&g->json, &g->members[MEMBER_GEOMETRY_COORDINATES]);
	struct json_value v;

	if (json_value(&g->json, &v))
		read_shape(g, shape, &v);
	json_return(&g->json, &behind);
}

void judge_geometry(struct judge *g, const struct json_value *v)
{
	const struct json_value *type;
	enum shape shape;

	g->coordinates_read = false;
	if (!judge_object(g, GEOMETRY, v))
		return;
	type = judge_member(g, MEMBER_GEOMETRY_TYPE, KIND_STRING);
	shape = geometry_shape(g);
	if (type && shape == SHAPE_UNKNOWN)
		judge_broken(g, RULE_WNM_16, type->offset, "neither Point nor Polygon");
	if (shape == SHAPE_UNKNOWN || g->coordinates_read)
		return;
	if (g->members[MEMBER_GEOMETRY_COORDINATES].kind == KIND_NONE)
		judge_broken(g, shape == SHAPE_POINT ? RULE_WNM_17 : RULE_WNM_18, v->offset,
			"the geometry has no coordinates");
	else
		read_coordinates_again(g, shape);
}
