// Where a result's element lies in the source, read through a matrix (AffineStep of src/ops/program.ts): coordinates are int64 in steps of 2^-40 elements. A kernel that uses this imports
// integers before it; its Params have a matrix (row by row the lower words, and the upper ones, of x, y, z and what is added), the extents of both sides, `inner` and `source_start`.

// Whether elements outside are those at the edge.
override CLAMP: bool = false;

// Where one coordinate lies on its axis: elements p and p + 1, which may be outside, and how far from p to p + 1 in steps of 2^-24.
struct At {
  low: i32,
  rest: u32,
}
fn coordinate(lower: vec4u, upper: vec4u, position: vec3u) -> At {
  var c = add64(vec2u(lower.w, upper.w), times64(vec2u(lower.x, upper.x), bitcast<i32>(position.x)));
  c = add64(c, times64(vec2u(lower.y, upper.y), bitcast<i32>(position.y)));
  c = add64(c, times64(vec2u(lower.z, upper.z), bitcast<i32>(position.z)));
  // Rounded to 2^-24, halves up.
  c = add64(c, vec2u(0x8000u, 0u));
  return At(bitcast<i32>(c.y) >> 8u, ((c.y & 0xffu) << 16u) | (c.x >> 16u));
}

fn nearest(at: At) -> i32 {
  return at.low + bitcast<i32>(at.rest >> 23u);
}
// An element's cell is half an element to each side.
fn is_inside(at: At, extent: u32) -> bool {
  let position = nearest(at);
  return position >= 0 && position < bitcast<i32>(extent);
}
fn clamped(position: i32, extent: u32) -> u32 {
  return bitcast<u32>(clamp(position, 0, bitcast<i32>(extent) - 1));
}

// Of an element of the result: where its corners lie, and the source's element at the origin of its batch element, which may wrap below zero.
struct Place {
  x: At,
  y: At,
  z: At,
  origin: u32,
  filled: bool,
}
fn place_of(element: u32) -> Place {
  let row = element / params.inner;
  let line = row / params.length_z;
  let plane = line / params.length_y;
  let batch = plane / params.length_x;
  let position = vec3u(plane - batch * params.length_x, line - plane * params.length_y, row - line * params.length_z);
  let x = coordinate(params.lower_x, params.upper_x, position);
  let y = coordinate(params.lower_y, params.upper_y, position);
  let z = coordinate(params.lower_z, params.upper_z, position);
  let origin = batch * params.extent_x * params.extent_y * params.extent_z * params.inner + (element - row * params.inner) - params.source_start;
  let inside = is_inside(x, params.extent_x) && is_inside(y, params.extent_y) && is_inside(z, params.extent_z);
  return Place(x, y, z, origin, !CLAMP && !inside);
}
// The source's element at these positions.
fn element_at(place: Place, x: i32, y: i32, z: i32) -> u32 {
  let line = clamped(x, params.extent_x) * params.extent_y + clamped(y, params.extent_y);
  return place.origin + (line * params.extent_z + clamped(z, params.extent_z)) * params.inner;
}
