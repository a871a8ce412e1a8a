// The walk over a row's neighbours, which the neighbors kernels share: native/src/crystal/exact.h says what is decided, neighbor_tables.h makes the tables.
// Displacements are 64-bit integers in steps of 2^-40 Å. float32 chooses what is looked at and decides only where its error cannot matter, so it needs no guard;
// everything that a result shows is exact. A kernel that uses this imports integers before it, and names its inputs `rows`, `cells` and `atoms`.

// Whether each atom is its own neighbour in the cell where it is.
override SELF_LOOPS: bool = false;

const CELL_WORDS = 32u;
const ATOM_WORDS = 9u;
// Keys below this: two atoms in one place.
const COINCIDENT = 1024u;

// In Å, within 2^-23 of it and 2^-31.
fn angstroms(a: vec2u) -> f32 {
  return f32(bitcast<i32>(a.y)) * 0x1p-8 + f32(a.x) * 0x1p-40;
}

struct Displacement {
  x: vec2u,
  y: vec2u,
  z: vec2u,
}
fn moved(d: Displacement, cell: u32, axis: u32, n: i32) -> Displacement {
  let at = cell * CELL_WORDS + axis * 6u;
  return Displacement(
    add64(d.x, times64(vec2u(cells[at], cells[at + 1u]), n)),
    add64(d.y, times64(vec2u(cells[at + 2u], cells[at + 3u]), n)),
    add64(d.z, times64(vec2u(cells[at + 4u], cells[at + 5u]), n)),
  );
}
fn vector_of(d: Displacement) -> vec3f {
  return vec3f(angstroms(d.x), angstroms(d.y), angstroms(d.z));
}

fn add128(a: vec4u, b: vec4u) -> vec4u {
  let x = a.x + b.x;
  let x_carry = select(0u, 1u, x < a.x);
  let y = a.y + b.y;
  let y_sum = y + x_carry;
  let y_carry = select(0u, 1u, y < a.y) + select(0u, 1u, y_sum < y);
  let z = a.z + b.z;
  let z_sum = z + y_carry;
  let z_carry = select(0u, 1u, z < a.z) + select(0u, 1u, z_sum < z);
  return vec4u(x, y_sum, z_sum, a.w + b.w + z_carry);
}
// Of a component below 2^50 steps, 1,024 Å.
fn square64(a: vec2u) -> vec4u {
  let size = magnitude64(a);
  let low = wide_product(size.x, size.x);
  let mixed = wide_product(size.x, size.y);
  let high = wide_product(size.y, size.y);
  return add128(vec4u(low, high), vec4u(0u, mixed.x << 1u, (mixed.y << 1u) | (mixed.x >> 31u), mixed.y >> 31u));
}
fn square_of(d: Displacement) -> vec4u {
  return add128(add128(square64(d.x), square64(d.y)), square64(d.z));
}
// The square in steps of 2^-30 Å², rounded.
fn key_of(square: vec4u) -> vec2u {
  let sum = add128(square, vec4u(0u, 1u << 17u, 0u, 0u));
  return vec2u((sum.y >> 18u) | (sum.z << 14u), (sum.z >> 18u) | (sum.w << 14u));
}
fn is_less64(a: vec2u, b: vec2u) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// Where the walk is, and what it found: neighbours in the order of (target, image).
struct Walk {
  cell: u32,
  source: u32,
  first_atom: u32,
  // Targets to come.
  next: u32,
  end: u32,
  target_atom: u32,
  i: i32,
  j: i32,
  k: i32,
  i_end: i32,
  j_end: i32,
  k_end: i32,
  // Displacement of the target in the home cell, of the plane i, the line i j, and the point.
  home: Displacement,
  plane: Displacement,
  point: Displacement,
  limit: vec2u,
  // Squares in Å² below the first are inside, above the second outside.
  inside: f32,
  outside: f32,
  is_self: bool,
  at_limit: bool,
  coincident: bool,
}

fn displacement(cell_atom: u32, source_atom: u32) -> Displacement {
  let a = cell_atom * ATOM_WORDS;
  let b = source_atom * ATOM_WORDS;
  return Displacement(
    add64(vec2u(atoms[a], atoms[a + 1u]), negated64(vec2u(atoms[b], atoms[b + 1u]))),
    add64(vec2u(atoms[a + 2u], atoms[a + 3u]), negated64(vec2u(atoms[b + 2u], atoms[b + 3u]))),
    add64(vec2u(atoms[a + 4u], atoms[a + 5u]), negated64(vec2u(atoms[b + 4u], atoms[b + 5u]))),
  );
}
// First and last index that can be inside, along a level's axis.
fn interval(cell: u32, level: u32, d: Displacement) -> vec2i {
  let at = cell * CELL_WORDS + 18u + level * 3u;
  let v = vector_of(d);
  let center = -(v.x * bitcast<f32>(cells[at]) + v.y * bitcast<f32>(cells[at + 1u]) + v.z * bitcast<f32>(cells[at + 2u]));
  let half = bitcast<f32>(cells[cell * CELL_WORDS + 27u + level]);
  return vec2i(i32(ceil(center - half)), i32(floor(center + half)));
}

fn walk_of(row: u32, limit: vec2u) -> Walk {
  var walk: Walk;
  walk.cell = rows[4u * row];
  walk.source = rows[4u * row + 1u];
  walk.next = rows[4u * row + 2u];
  walk.end = rows[4u * row + 3u];
  walk.first_atom = cells[walk.cell * CELL_WORDS + 30u];
  walk.limit = limit;
  let square = f32(limit.y) * 4.0 + f32(limit.x) * 0x1p-30;
  walk.inside = square - square * 0x1p-17 - 0x1p-24;
  walk.outside = square + square * 0x1p-17 + 0x1p-24;
  walk.i_end = -1;
  walk.j_end = -1;
  walk.k_end = -1;
  return walk;
}

// Goes on to the next neighbour whose key is at most `limit`; false when there are no more. `targets` is where the lists of targets begin in rows.
fn next_neighbor(walk: ptr<function, Walk>, targets: u32) -> bool {
  loop {
    if ((*walk).k < (*walk).k_end) {
      (*walk).k++;
      (*walk).point = moved((*walk).point, (*walk).cell, 2u, 1);
      let v = vector_of((*walk).point);
      let square = v.x * v.x + v.y * v.y + v.z * v.z;
      if (square > (*walk).outside) {
        continue;
      }
      (*walk).is_self = false;
      (*walk).at_limit = false;
      (*walk).coincident = false;
      if (square < (*walk).inside && square > 0x1p-19) {
        return true;
      }
      let image = image_of(walk);
      (*walk).is_self = (*walk).target_atom == (*walk).first_atom + (*walk).source && all(image == vec3i(0));
      let key = key_of(square_of((*walk).point));
      if (is_less64((*walk).limit, key) || ((*walk).is_self && !SELF_LOOPS)) {
        continue;
      }
      (*walk).at_limit = all(key == (*walk).limit);
      (*walk).coincident = !(*walk).is_self && key.y == 0u && key.x < COINCIDENT;
      return true;
    }
    if ((*walk).j < (*walk).j_end) {
      (*walk).j++;
      let line = moved((*walk).plane, (*walk).cell, 1u, (*walk).j);
      let points = interval((*walk).cell, 2u, line);
      // One before the first.
      (*walk).k = points.x - 1;
      (*walk).k_end = points.y;
      (*walk).point = moved(line, (*walk).cell, 2u, points.x - 1);
      continue;
    }
    if ((*walk).i < (*walk).i_end) {
      (*walk).i++;
      (*walk).plane = moved((*walk).home, (*walk).cell, 0u, (*walk).i);
      let lines = interval((*walk).cell, 1u, (*walk).plane);
      (*walk).j = lines.x - 1;
      (*walk).j_end = lines.y;
      continue;
    }
    if ((*walk).next == (*walk).end) {
      return false;
    }
    (*walk).target_atom = (*walk).first_atom + rows[targets + (*walk).next];
    (*walk).next++;
    (*walk).home = displacement((*walk).target_atom, (*walk).first_atom + (*walk).source);
    let planes = interval((*walk).cell, 0u, (*walk).home);
    (*walk).i = planes.x - 1;
    (*walk).i_end = planes.y;
  }
}

// The image of the target as the coordinates were given, before atoms were wrapped into the cell.
fn image_of(walk: ptr<function, Walk>) -> vec3i {
  let a = ((*walk).first_atom + (*walk).source) * ATOM_WORDS + 6u;
  let b = (*walk).target_atom * ATOM_WORDS + 6u;
  return vec3i((*walk).i, (*walk).j, (*walk).k) + bitcast<vec3i>(vec3u(atoms[a], atoms[a + 1u], atoms[a + 2u])) - bitcast<vec3i>(vec3u(atoms[b], atoms[b + 1u], atoms[b + 2u]));
}
